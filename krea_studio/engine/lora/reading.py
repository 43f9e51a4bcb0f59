"""A LoRA file read as a change of certain layers: every key matched, every shape checked, layer by layer into factors.

The one place where a file's keys meet a transformer. The doctor asks it what is wrong with a file; what puts adapters
into a pipeline asks it for matrices that can go in as they are. What does not depend on values is checked from the
header alone; values are read one layer at a time.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch

from krea_studio.engine.lora import factors, formats, strangers
from krea_studio.engine.lora.config import LoraConfig
from krea_studio.engine.lora.factors import WHOLE, Factors, Misfit
from krea_studio.engine.lora.files import FLOATS, NUMBERS, LoraFile, opened
from krea_studio.errors import InvalidRequest
from krea_studio.validation import shown

Shapes = Mapping[str, tuple[int, int | None]]
"""The (out, in) of layers by name; no `in` where a file does not tell it."""
Weights = Callable[[str], torch.Tensor]
"""Gives a layer's own weight, (out, in)."""

_KERNELS = (
    "down", "up", "w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "h1_a", "h1_b", "h2_a", "h2_b", "a1", "a2", "b1", "b2",
    "diff", "magnitude", "rescale",
)  # fmt: skip
MATRICES = (*_KERNELS, "rotations")


class LoraReading:
    """What a file does to the layers of a transformer, as far as its header tells.

    `match` says what each key means, `shapes` has the (out, in) of each layer that it changes, `problems` the reasons,
    in words, why the file cannot be used; empty where its names and shapes are in order.
    """

    def __init__(self, file: LoraFile, layers: Iterable[str]) -> None:
        layers = frozenset(layers)
        self.file = file
        self.match = formats.match(file.tensors, layers)
        self.shapes: dict[str, tuple[int, int | None]] = {}
        self.problems: list[str] = []
        self._places: dict[str, tuple[str, slice]] = {}  # by layer: what it is a part of in the file, and its rows
        if not file.tensors:
            self.problems.append("it is empty — get it again")
        if self.match.unmatched:
            other = strangers.made_for(self.match.unmatched)
            if other:
                self.problems.append(f"it is made for {other}, not for Krea 2 — use one that was trained on Krea 2")
            else:
                self.problems.append(formats.why_unmatched(self.match, layers))
        elif file.tensors and not self.match.layers:
            self.problems.append("it changes no layer of Krea 2's transformer — give a LoRA for the transformer")
        if problem := file.config_problem or self._config.problem:
            self.problems.append(problem)
        for stored in sorted(self.match.layers, key=lambda stored: -len(formats.fused(stored))):
            try:
                self._place(stored)
            except Misfit as misfit:
                self.problems.append(f"{shown(stored)} cannot be used: {misfit} — get it again")
        if self._config.dora and not any("magnitude" in keys for keys in self.match.layers.values()):
            self.problems.append("its config says that it is a DoRA, but its magnitudes are not in it — get it again")

    def kind(self, layer: str) -> str:
        """The kind of a layer's change, with `DoRA` where the layer has magnitudes, and how it began."""
        kind = factors.kind_of(self._keys(layer))
        kind = f"{kind} with DoRA" if self.decomposed(layer) else kind
        return f"{kind}, begun as {begun}" if (begun := self.begun(layer)) else kind

    def decomposed(self, layer: str) -> bool:
        """Whether the layer is a DoRA."""
        return "magnitude" in self._keys(layer)

    def begun(self, layer: str) -> str:
        """As what the layer began that was taken off the weights then, such as `PiSSA`; empty where nothing was."""
        return self._config.beginning[0] if self._config.beginning and "down" in self._keys(layer) else ""

    def needs_weights(self, layer: str) -> bool:
        """Whether the layer's change is only known with the weights that it changes."""
        return bool(self.begun(layer)) or factors.needs_weights(self._keys(layer))

    def read(self, layer: str, part: str) -> torch.Tensor:
        """The values of one part, for all layers fused with this one. Raises Misfit where some are no numbers."""
        return self._read(self._places[layer][0], part)

    def alpha(self, layer: str) -> float | None:
        """The alpha of a layer: its key's, or what the file's config states; None where nothing does.

        Raises Misfit where it is no number, or the config is not understood.
        """
        stored, keys = self._places[layer][0], self._keys(layer)
        if "rotations" in keys:
            return None  # theirs is a bound
        return float(self._read(stored, "alpha")) if "alpha" in keys else self._config.alpha(stored)

    def weight(self, layer: str, weights: Weights) -> torch.Tensor:
        """The weight, (out, in), that a layer's change is of: its own, or that of all layers fused with it."""
        parts = [weights(part) for part in formats.fused(self._places[layer][0])]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def beginning(self, layer: str, weights: Weights) -> Factors:
        """What a layer that has `begun` took off its weight, or off that of all layers fused with it."""
        assert self._config.beginning is not None
        weight, parts = self.weight(layer, weights).float(), self._shapes(self._places[layer][0])
        return self._config.beginning[1](weight, parts["down"][0], self._scale(layer))

    def factors(self, layer: str, weights: Weights | None = None) -> Factors:
        """The change of one layer at weight 1; `weights` gives the layers' own, for what `needs_weights`.

        Raises Misfit where values are no numbers, overflow, or change what a LoRA cannot (a bias).
        """
        stored, rows = self._places[layer]
        keys = self.match.layers[stored]
        if "bias" in keys and self._read(stored, "bias").any():
            raise Misfit("it changes the layer's bias, which a LoRA cannot")
        wanted = (*MATRICES, "alpha") if "rotations" in keys else MATRICES
        parts = {part: self._read(stored, part) for part in wanted if part in keys}
        if weights is None and self.needs_weights(layer):
            raise Misfit(f"it is a {self.kind(layer)}, which needs the checkpoint's weights")
        begun = self.beginning(layer, weights) if weights is not None and self.begun(layer) else None
        base = (lambda: self.weight(layer, weights)) if weights is not None else None
        change = factors.factors(parts, self._scale(layer), base, rows, begun)
        if not change.finite:
            raise Misfit("the LoRA holds values that are too large")
        return change

    def _scale(self, layer: str) -> float:
        stored, keys = self._places[layer][0], self._keys(layer)
        shapes = self._shapes(stored)
        whole_rank: float | None = None
        if self.match.settings and "w2" in keys:
            whole_rank = max(shapes["w2"])
        elif factors.rank_of(shapes) is None:
            whole_rank = self._config.rank(stored)
        return factors.scale_of(shapes, self.alpha(layer), self._config.root, whole_rank)

    def _keys(self, layer: str) -> Mapping[str, str]:
        return self.match.layers[self._places[layer][0]]

    def _read(self, stored: str, part: str) -> torch.Tensor:
        key = self.match.layers[stored][part]
        if (kind := self.file.tensors[key].dtype) not in NUMBERS:
            raise Misfit(f"{part} is stored as {kind}, which is not known here")
        tensor = self.file.read(key).reshape(self._shapes(stored)[part])
        # Eight-bit floats can do nothing but be converted.
        tensor = tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1 else tensor
        if not tensor.isfinite().all():
            raise Misfit(f"the LoRA holds values that are no numbers ({part})")
        return tensor

    def _place(self, stored: str) -> None:
        """Find out which rows of what is stored are whose. Raises Misfit where its shapes are not in order."""
        keys = self.match.layers[stored]
        if set(keys) <= {"bias", "alpha"} and "bias" in keys and not self._read(stored, "bias").any():
            return self._drop(stored, "changes of biases that are zero")
        shape = self._shape(stored)
        parts = formats.fused(stored)
        if stored in self._places and self._idle(stored):
            # LyCORIS wraps the layers that its trainer fused too, and what nobody has called has not changed.
            return self._drop(stored, "not trained, beside fused layers")
        for part, rows in zip(parts, _rows(parts, shape), strict=True):
            if part in self._places:
                raise Misfit(f"{part!r} comes twice, here and in {self._places[part][0]!r}")
            out = rows.stop - rows.start if rows.stop is not None else shape[0]
            self.shapes[part], self._places[part] = (out, shape[1]), (stored, rows)

    def _idle(self, stored: str) -> bool:
        """Whether a change is nothing because one of the matrices that are multiplied is."""
        keys = self.match.layers[stored]
        return factors.kind_of(keys) in ("LoRA", "LoKr", "LoHa") and any(
            not self._read(stored, part).any() for part in keys if part in _KERNELS and part != "magnitude"
        )

    def _drop(self, stored: str, reason: str) -> None:
        layers = {layer: keys for layer, keys in self.match.layers.items() if layer != stored}
        dropped = dict.fromkeys(self.match.layers[stored].values(), reason)
        self.match = replace(self.match, layers=layers, dropped={**self.match.dropped, **dropped})

    def _shape(self, stored: str) -> tuple[int, int | None]:
        shapes = self._shapes(stored)
        for part, key in self.match.layers[stored].items():
            kind = self.file.tensors[key].dtype
            if part in MATRICES and kind not in FLOATS:
                raise Misfit(f"{part} is stored as {kind}, not as floating-point numbers")
        if "alpha" in shapes and math.prod(shapes["alpha"]) != 1:
            raise Misfit("its alpha is not a single number")
        return factors.shape_of(shapes)

    def _shapes(self, stored: str) -> dict[str, tuple[int, ...]]:
        """The shape of each part; kernels of one pixel, (r, in, 1, 1), are the matrices that they are."""
        shapes = {part: self.file.tensors[key].shape for part, key in self.match.layers[stored].items()}
        return {
            part: shape[:2] if part in _KERNELS and len(shape) > 2 and set(shape[2:]) == {1} else shape
            for part, shape in shapes.items()
        }

    @cached_property
    def _config(self) -> LoraConfig:
        original = any(formats.ORIGINAL_NAMES in words for words in self.match.formats)
        return LoraConfig(self.file.config, self.match.layers, original)


def misfit(shapes: Shapes, layers: Mapping[str, tuple[int, int]]) -> str | None:
    """What is wrong for a transformer with these layers (name → (out, in)) with the first that does not fit it."""
    for layer, shape in shapes.items():
        if layer not in layers:
            return f"{layer!r} is not there"
        for here, there in zip(layers[layer], shape, strict=True):
            if there is not None and here != there:
                return f"{layer!r} is {here:,} wide here and {there:,} there"
    return None


def _rows(parts: tuple[str, ...], shape: tuple[int, int | None]) -> list[slice]:
    """Which rows of a change (out, in) are whose: queries and gates are as many as there are inputs, the others share
    the rest. Raises Misfit where they cannot.
    """
    if len(parts) == 1:
        return [WHOLE]
    out, width = shape
    square = [part.endswith(("attn.to_q", "attn.to_gate")) for part in parts]
    rest = out - sum(square) * (width or 0)
    share, over = divmod(rest, len(parts) - sum(square))
    if (any(square) and width is None) or share <= 0 or over:
        raise Misfit(f"{out:,} rows do not part into {', '.join(parts)} of a transformer that is {width or 0:,} wide")
    ends = [0]
    for is_square in square:
        ends.append(ends[-1] + (width if is_square and width else share))
    return [slice(start, end) for start, end in pairwise(ends)]


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
            foreign = reading.match.unmatched or not reading.problems
            raise InvalidRequest(
                f"The LoRA {path} {'is of another architecture' if foreign else 'cannot be used'}: {wrong[0]}"
            )
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
