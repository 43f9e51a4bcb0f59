"""The transformers that a LoRA can be for: the layers of every known checkpoint, by name and shape, without weights.

A checkpoint on this machine says its shape in its config; the published ones are known by heart, so that a laptop
without them can tell what a file was made for. Layers come from the real class, built without memory. Base weights are
read only where somebody asks for a layer's.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import Krea2Transformer2DModel
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from torch import nn

from krea_studio.engine.checkpoints.table import CHECKPOINTS, Checkpoint, supplier
from krea_studio.errors import Unavailable

# transformer/config.json of krea/Krea-2-Raw and krea/Krea-2-Turbo, which is also what diffusers 0.42.1 has for
# defaults of Krea2Transformer2DModel; rotary embeddings and norms have no linear layers and are left out.
PUBLISHED = {
    "in_channels": 64,
    "num_layers": 28,
    "attention_head_dim": 128,
    "num_attention_heads": 48,
    "num_key_value_heads": 12,
    "intermediate_size": 16384,
    "timestep_embed_dim": 256,
    "text_hidden_dim": 2560,
    "num_text_layers": 12,
    "text_num_attention_heads": 20,
    "text_num_key_value_heads": 20,
    "text_intermediate_size": 6912,
    "num_layerwise_text_blocks": 2,
    "num_refiner_text_blocks": 2,
}
_PART = "transformer"


@dataclass(frozen=True)
class Architecture:
    """The transformer of one checkpoint: each linear layer's (out, in), and where its weights are, None where not here.

    Two checkpoints with equal `layers` take the same LoRAs.
    """

    checkpoint: Checkpoint
    layers: Mapping[str, tuple[int, int]] = field(repr=False)
    folder: Path | None

    @property
    def name(self) -> str:
        return self.checkpoint.name

    @property
    def label(self) -> str:
        return self.checkpoint.label

    def names(self, text: str) -> bool:
        """Whether a text, such as a file's statement of its base, names this checkpoint."""
        known = (self.name, self.label, self.checkpoint.source, Path(self.checkpoint.source).name)
        return text.strip().casefold() in {name.casefold() for name in known}

    def weight(self, layer: str, most_values: int | None = None) -> torch.Tensor:
        """The layer's own weight, (out, in), or as many of its first rows as have `most_values` values.

        Raises Unavailable where the checkpoint's weights are not on this machine or are damaged.
        """
        key = f"{layer}.weight"
        if key not in self._files:
            raise Unavailable(f"The weights of {self.label} are not on this machine — download the checkpoint first")
        try:
            with safe_open(self._files[key], framework="pt") as tensors:
                rows = tensors.get_slice(key)
                width = rows.get_shape()[1]
                return rows[:] if most_values is None else rows[: max(most_values // width, 1)]
        except (SafetensorError, OSError) as error:
            raise Unavailable(
                f"{self._files[key]} cannot be read ({error}) — copy or download the checkpoint again"
            ) from None

    @property
    def has_weights(self) -> bool:
        """Whether `weight` can read its layers on this machine."""
        return all(f"{layer}.weight" in self._files for layer in self.layers)

    @cached_property
    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder else ():
            try:
                with safe_open(path, framework="pt") as tensors:
                    found |= dict.fromkeys(tensors.keys(), path)
            except (SafetensorError, OSError):
                continue  # whoever needs a layer of it is told that the layer is not here
        return found


def architectures(checkpoints: Iterable[Checkpoint] = tuple(CHECKPOINTS.values())) -> tuple[Architecture, ...]:
    """The architectures of these checkpoints, without those of which nothing is known on this machine."""
    found = []
    for checkpoint in checkpoints:
        folder = _folder(checkpoint)
        config = _config(folder)
        if config is None and CHECKPOINTS.get(checkpoint.name) == checkpoint and checkpoint.folder is None:
            config = PUBLISHED
        if config is not None:
            found.append(Architecture(checkpoint, _layers(json.dumps(config, sort_keys=True)), folder))
    return tuple(found)


def linear_layers(transformer: nn.Module) -> dict[str, tuple[int, int]]:
    """The (out, in) of each linear layer, also of one that carries adapters, under the stock name."""
    return {
        name.replace(".base_layer", ""): tuple(module.weight.shape)
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name
    }


def _folder(checkpoint: Checkpoint) -> Path | None:
    holder = supplier(checkpoint, _PART)
    if holder.folder is not None:
        return holder.folder / _PART
    cached = try_to_load_from_cache(holder.source, f"{_PART}/config.json")
    return Path(cached).parent if isinstance(cached, str) else None


def _config(folder: Path | None) -> dict[str, Any] | None:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8")) if folder else None
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) and config.get("_class_name") == "Krea2Transformer2DModel" else None


@lru_cache(maxsize=32)
def _layers(config: str) -> dict[str, tuple[int, int]]:
    with torch.device("meta"):
        return linear_layers(Krea2Transformer2DModel.from_config(json.loads(config)))
