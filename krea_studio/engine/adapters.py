"""LoRA adapters inside a stock transformer: checked before they touch it, kept, and switched on for one picture.

Once loaded an adapter stays, switched off: a later picture only sets weights. Switched off, every layer computes what
it computed before the adapter came, bit for bit. peft and diffusers do the work; they accept some wrong files without
a word, so every key is accounted for here first.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from krea_studio.errors import Unavailable

PREFIX = "transformer."
_SIDES = {".lora_A.weight": 1, ".lora_B.weight": 0}  # which dimension of each side faces the layer


def ensure_loaded(pipeline: Krea2Pipeline, name: str, path: Path, offloaded: bool = False) -> None:
    """Put the LoRA of `path` into the pipeline's transformer as adapter `name`, switched off, unless it is there.

    Raises Unavailable, with the transformer as it was, when the file cannot be read, is of another architecture, or
    holds values that are no numbers.
    """
    transformer = pipeline.transformer
    if name in getattr(transformer, "peft_config", {}):
        return
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise Unavailable(f"The LoRA {path} cannot be read ({error}) — copy or train it again") from None
    state = _checked(tensors, transformer, path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several adapters are the point
        transformer.load_lora_adapter(
            state, prefix=None, adapter_name=name, **({"_pipeline": pipeline} if offloaded else {})
        )
    transformer.disable_lora()


@contextmanager
def weighted(transformer: Krea2Transformer2DModel, weights: Mapping[str, float]) -> Iterator[None]:
    """The named adapters, each at its weight (any sign), while the context lasts; with none, nothing at all."""
    if not weights:
        yield
        return
    transformer.set_adapters(list(weights), list(weights.values()))
    transformer.enable_lora()
    try:
        yield
    finally:
        transformer.disable_lora()


def _checked(tensors: Mapping[str, torch.Tensor], transformer: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    layers = {
        name.replace(".base_layer", ""): module
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name
    }
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        side = next((side for side in _SIDES if key.endswith(side)), None)
        layer = key.removeprefix(PREFIX).removesuffix(side or "")
        if side is None or layer not in layers:
            raise _another_architecture(path, f"it has {key!r}, which matches no layer here")
        sides.setdefault(layer, {})[side] = tensor
    if not sides:
        raise _another_architecture(path, "it is empty")
    for layer, pair in sides.items():
        if len(pair) < len(_SIDES) or len({pair[side].shape[1 - facing] for side, facing in _SIDES.items()}) > 1:
            raise _another_architecture(path, f"the two sides of {layer!r} do not fit each other")
        for side, facing in _SIDES.items():
            width = layers[layer].weight.shape[facing]
            if pair[side].shape[facing] != width:
                raise _another_architecture(path, f"{layer!r} is {width} wide here and {pair[side].shape[facing]} there")
            if not pair[side].isfinite().all():
                raise Unavailable(f"The LoRA {path} holds values that are no numbers ({layer}) — train it again")
    return {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()}


def _another_architecture(path: Path, how: str) -> Unavailable:
    return Unavailable(
        f"The LoRA {path} is of another architecture: {how} — use one that was trained on this checkpoint or its base"
    )
