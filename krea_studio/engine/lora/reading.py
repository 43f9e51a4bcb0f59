"""A LoRA file read as a change of certain layers: every key matched, every shape checked, layer by layer into factors.

The one place where a file's keys meet a transformer. The doctor asks it what is wrong with a file; what puts adapters
into a pipeline asks it for matrices that can go in as they are. What does not depend on values is checked from the
header alone; values are read one layer at a time.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import torch

from krea_studio.engine.lora import factors, formats
from krea_studio.engine.lora.config import LoraConfig
from krea_studio.engine.lora.factors import Factors, Misfit
from krea_studio.engine.lora.files import FLOATS, LoraFile, opened
from krea_studio.errors import InvalidRequest
from krea_studio.validation import shown

MATRICES = ("down", "up", "w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "diff", "magnitude")


class LoraReading:
    """What a file does to the layers of a transformer, as far as its header tells.

    `match` says what each key means, `shapes` has the (out, in) of each layer that it changes, `problems` the reasons,
    in words, why the file cannot be used; empty where its names and shapes are in order.
    """

    def __init__(self, file: LoraFile, layers: Iterable[str]) -> None:
        self.file = file
        self.match = formats.match(file.tensors, layers)
        self.shapes: dict[str, tuple[int, int]] = {}
        self.problems: list[str] = []
        if not file.tensors:
            self.problems.append("it is empty — get it again")
        if self.match.unmatched:
            other = formats.made_for(self.match.unmatched)
            if other:
                self.problems.append(f"it is made for {other}, not for Krea 2 — use one that was trained on Krea 2")
            else:
                self.problems.append(formats.why_unmatched(self.match.unmatched, self.match.layers))
        elif file.tensors and not self.match.layers:
            self.problems.append("it changes no layer of Krea 2's transformer — give a LoRA for the transformer")
        for layer in self.match.layers:
            try:
                self.shapes[layer] = self._shape(layer)
            except Misfit as misfit:
                self.problems.append(f"{shown(layer)} cannot be used: {misfit} — get it again")

    def kind(self, layer: str) -> str:
        """`LoRA`, `LoKr` or `full difference`, with `DoRA` where the layer has magnitudes."""
        kind = factors.kind_of(self.match.layers[layer])
        return f"{kind} with DoRA" if self.decomposed(layer) else kind

    def decomposed(self, layer: str) -> bool:
        """Whether the layer is a DoRA, which needs the weights that it changes."""
        return "magnitude" in self.match.layers[layer]

    def read(self, layer: str, part: str) -> torch.Tensor:
        """The values of one part. Raises Misfit where some are no numbers."""
        tensor = self.file.read(self.match.layers[layer][part])
        # Eight-bit floats can do nothing but be converted.
        tensor = tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1 else tensor
        if not tensor.isfinite().all():
            raise Misfit(f"the LoRA holds values that are no numbers ({part})")
        return tensor

    def alpha(self, layer: str) -> float | None:
        """The alpha of a layer: its key's, or what the file's config states; None where nothing does.

        Raises Misfit where it is no number, or the config is not understood.
        """
        if "alpha" in self.match.layers[layer]:
            return float(self.read(layer, "alpha"))
        return self._config.alpha(layer)

    def factors(self, layer: str, base: Callable[[], torch.Tensor] | None = None) -> Factors:
        """The change of one layer at weight 1; `base` gives the layer's own weight, which DoRA needs.

        Raises Misfit where values are no numbers, overflow, or change what a LoRA cannot (a bias).
        """
        keys = self.match.layers[layer]
        if "bias" in keys and self.read(layer, "bias").any():
            raise Misfit("it changes the layer's bias, which a LoRA cannot")
        parts = {part: self.read(layer, part) for part in MATRICES if part in keys}
        shapes, whole_rank = self._shapes(layer), None
        if self.match.settings and "w2" in parts:
            whole_rank = max(parts["w2"].shape)
        elif factors.rank_of(shapes) is None:
            whole_rank = self._config.rank(layer)
        scale = factors.scale_of(shapes, self.alpha(layer), self._config.root, whole_rank)
        change = factors.factors(parts, scale, base)
        if not change.finite:
            raise Misfit("the LoRA holds values that are too large")
        return change

    def _shape(self, layer: str) -> tuple[int, int]:
        shapes = self._shapes(layer)
        for part, key in self.match.layers[layer].items():
            kind = self.file.tensors[key].dtype
            if part in MATRICES and kind not in FLOATS:
                raise Misfit(f"{part} is stored as {kind}, not as floating-point numbers")
        if "alpha" in shapes and shapes["alpha"] not in ((), (1,)):
            raise Misfit("its alpha is not a single number")
        return factors.shape_of(shapes)

    def _shapes(self, layer: str) -> dict[str, tuple[int, ...]]:
        return {part: self.file.tensors[key].shape for part, key in self.match.layers[layer].items()}

    @cached_property
    def _config(self) -> LoraConfig:
        original = any(formats.ORIGINAL_NAMES in words for words in self.match.formats)
        return LoraConfig(self.file.config, self.match.layers, original)


def misfit(shapes: Mapping[str, tuple[int, int]], layers: Mapping[str, tuple[int, int]]) -> str | None:
    """What is wrong for a transformer with these layers (name → (out, in)) with the first that does not fit it."""
    for layer, shape in shapes.items():
        if layer not in layers:
            return f"{layer!r} is not there"
        for here, there in zip(layers[layer], shape, strict=True):
            if here != there:
                return f"{layer!r} is {here:,} wide here and {there:,} there"
    return None


def load(path: Path, layers: Mapping[str, tuple[int, int]]) -> dict[str, torch.Tensor]:
    """The matrices of a LoRA for a transformer with these layers (name → (out, in)), under peft's names.

    `{layer}.lora_A.weight` is (rank, in), `{layer}.lora_B.weight` (out, rank); they are all of the file's effect at
    weight 1. Raises InvalidRequest where the file is of another architecture, damaged, holds values that are no
    numbers, or needs a conversion that only the doctor makes; StorageError where it may not be read.
    """
    state = {}
    with opened(path) as file:
        reading = LoraReading(file, layers)
        wrong = list(reading.problems)
        if other := misfit(reading.shapes, layers):
            wrong.append(f"{other} — use one that was trained on this checkpoint or its base")
        if wrong:
            raise InvalidRequest(f"The LoRA {path} is of another architecture: {wrong[0]}")
        for layer in reading.shapes:
            try:
                change = reading.factors(layer)
            except Misfit as error:
                raise InvalidRequest(
                    f"The LoRA {path} cannot be used: {layer!r}, {error} — get or train it again"
                ) from None
            if change.lost:
                raise InvalidRequest(
                    f"The LoRA {path} is no plain LoRA but a {reading.kind(layer)} ({layer!r}) — "
                    "write it anew with the doctor's help, or ask for a plain LoRA"
                )
            state[f"{layer}.lora_A.weight"], state[f"{layer}.lora_B.weight"] = change.down, change.up
    return state
