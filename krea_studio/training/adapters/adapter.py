"""What trainings of LoRAs share: a checkpoint loaded whole, an adapter while it learns, prompts encoded, a file.

The adapter is put into the stock transformer, learns in float32 whatever the transformer computes in, and is taken out
again; the transformer is then as it was. Knows nothing of what is learned: that is `slider` and `style`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from krea_studio.engine.checkpoints.device import choose_device, choose_precision, room
from krea_studio.engine.checkpoints.manager import LoadedPipeline, PipelineManager
from krea_studio.engine.checkpoints.table import Checkpoint
from krea_studio.engine.controls.adapters import PREFIX
from krea_studio.engine.pipeline.prompts import count_tokens
from krea_studio.errors import StorageError, Unavailable
from krea_studio.files import make_folder, whole, write_error
from krea_studio.licence import Licence
from krea_studio.settings import Settings


def load(checkpoint: Checkpoint, settings: Settings) -> LoadedPipeline:
    """The checkpoint on the settings' device, whole. Raises Unavailable where it does not fit, as the manager does."""
    device = choose_device(settings.device)
    manager = PipelineManager(room(settings.memory_budget_gb, device), Licence(settings.library))
    precision = choose_precision(settings.precision, device)
    loaded = manager.get(checkpoint, precision, device, lambda event: print(event.what, flush=True), lambda: None)
    if loaded.plan.placement != "resident":
        raise Unavailable(
            f"{checkpoint.label} does not fit on {device} as a whole, which training needs — use a larger device"
        )
    return loaded


@contextmanager
def learning(
    transformer: Krea2Transformer2DModel, name: str, rank: int, alpha: float, layers: str | Sequence[str], seed: int
) -> Iterator[nn.ParameterDict]:
    """A new adapter in the transformer, alone switched on, while the context lasts: its parameters, in float32.

    Adapters that were there before are switched off after it. `layers` is a regular expression of whole layer names, or
    a list of such names. On CUDA, activations are computed again where gradients need them.
    """
    transformer.requires_grad_(False)
    torch.manual_seed(seed)
    chosen = layers if isinstance(layers, str) else list(layers)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # the others stay, switched off
        transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen), adapter_name=name)
    try:
        transformer.set_adapters(name)
        transformer.enable_lora()
        weights = {key: p for key, p in transformer.named_parameters() if f".{name}." in key}
        for parameter in weights.values():
            parameter.data = parameter.data.float()
        if transformer.device.type == "cuda":
            transformer.enable_gradient_checkpointing()
        yield nn.ParameterDict({key.replace(".", "/"): parameter for key, parameter in weights.items()})
    finally:
        if transformer.is_gradient_checkpointing:
            transformer.disable_gradient_checkpointing()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=f"Adapter {name} was active")
            transformer.delete_adapters(name)
        if getattr(transformer, "peft_config", {}):
            transformer.disable_lora()


def tensors_of(transformer: Krea2Transformer2DModel, name: str, strength: float = 1.0) -> dict[str, torch.Tensor]:
    """The adapter's matrices in half precision under diffusers' names, to be used without an alpha.

    What alpha / rank multiplies is put into the second matrix of each pair, and so is `strength`: weight 1 is then that
    much of what was learned.
    """
    config = transformer.peft_config[name]
    found = {}
    for key, tensor in get_peft_model_state_dict(transformer, adapter_name=name).items():
        gain = strength * config.lora_alpha / config.r if ".lora_B." in key else 1.0
        found[PREFIX + key] = (tensor.detach().cpu() * gain).half().contiguous()
    return found


def require_writable(folder: Path) -> None:
    """Make a folder where there is none. Raises StorageError where it cannot be made or written: before a training."""
    try:
        make_folder(folder)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_error(error, folder, "The folder") from None


def write(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write an adapter with its metadata; the file is there whole or not at all.

    Raises StorageError where it cannot be written, such as on a full disk.
    """
    try:
        with whole(path) as temporary:
            save_file(dict(tensors), temporary, {"format": "pt", **metadata})
    except OSError as error:
        raise write_error(error, path, "The file") from None
    except SafetensorError as error:
        # Its own error for a full disk, without a number.
        raise StorageError(
            f"The file {path} cannot be written ({error}) — free some space, or name a file on another disk"
        ) from None


def prompt_length(pipeline: Krea2Pipeline, prompts: Sequence[str]) -> int:
    """The pipeline's `max_sequence_length` for these prompts, without more padding than they need."""
    longest = max(count_tokens(pipeline, prompt) for prompt in prompts)
    return longest + pipeline.prompt_template_encode_num_suffix_tokens


@torch.no_grad()
def encoded(pipeline: Krea2Pipeline, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states (batch, tokens, taps, width) and which of them are valid (batch, tokens)."""
    return pipeline.get_text_hidden_states(prompts, max_sequence_length=prompt_length(pipeline, prompts))
