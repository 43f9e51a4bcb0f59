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
from safetensors import SafetensorError, safe_open
from torch import nn

from krea_studio.engine.checkpoints.formats.configs import published_config
from krea_studio.engine.checkpoints.formats.layers import Weight
from krea_studio.engine.checkpoints.formats.loading import unpacked_weight
from krea_studio.engine.checkpoints.formats.model_file import ModelFile, model_file
from krea_studio.engine.checkpoints.table import CHECKPOINTS, Checkpoint, config_folder, part_folder, supplier
from krea_studio.errors import Unavailable

_PART = "transformer"


@dataclass(frozen=True)
class Architecture:
    """The transformer of one checkpoint: each linear layer's (out, in), and where its weights are, None where not here.

    They are in a folder or a single file. Two checkpoints with equal `layers` take the same LoRAs.
    """

    checkpoint: Checkpoint
    layers: Mapping[str, tuple[int, int]] = field(repr=False)
    place: Path | None

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
        if self._file is not None and key in self._stored:
            rows, columns = self.layers[layer]
            most_rows = rows if most_values is None else max(most_values // columns, 1)
            return unpacked_weight(self._file, self._stored[key], most_rows)
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
        return all(f"{layer}.weight" in (self._stored or self._files) for layer in self.layers)

    @property
    def _stored(self) -> Mapping[str, Weight]:
        """The parameters of a single file."""
        return self._file.parts[_PART].stored if self._file else {}

    @property
    def _file(self) -> ModelFile | None:
        return model_file(self.place) if self.place is not None and self.place.is_file() else None

    @cached_property
    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in sorted(self.place.glob("*.safetensors")) if self.place else ():
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
        holder = supplier(checkpoint, _PART)
        place = part_folder(holder, _PART)
        config = _config(config_folder(holder, _PART) if holder.places else place)
        if config is None and CHECKPOINTS.get(checkpoint.name) == checkpoint and checkpoint.folder is None:
            config = published_config()
        if config is not None:
            found.append(Architecture(checkpoint, _layers(json.dumps(config, sort_keys=True)), place))
    return tuple(found)


def linear_layers(transformer: nn.Module) -> dict[str, tuple[int, int]]:
    """The (out, in) of each linear layer, also of one that carries adapters, under the stock name."""
    return {
        name.replace(".base_layer", ""): (module.out_features, module.in_features)
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name
    }


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
