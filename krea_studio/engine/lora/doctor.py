"""The doctor for styles: says what a LoRA file is and whether it works here, and writes it in the one form that loads.

diffusers and peft load some files as nothing and some as noise without a word. So no style goes into a transformer
before every key of its file is accounted for, its values are numbers, and its effect is not zero. What is accepted can
be written anew: plain LoRA matrices under diffusers' names, which other tools read too. Files are read layer by layer.
Does not load anything into a pipeline (`adapters` does) and keeps no list of styles.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from krea_studio.direction.speed import guessed
from krea_studio.direction.styles import refused
from krea_studio.engine.controls.adapters import PREFIX
from krea_studio.engine.lora import factors
from krea_studio.engine.lora.bases import base_of
from krea_studio.engine.lora.factors import MOST_LEFT_OUT, Factors, Misfit
from krea_studio.engine.lora.files import MOST_BYTES, LoraFile, opened, plain_line, require_plain
from krea_studio.engine.lora.layers import Architecture
from krea_studio.engine.lora.reading import LoraReading, Shapes, misfit
from krea_studio.engine.lora.report import Diagnosis, Effect, Stated
from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.files import whole
from krea_studio.validation import shown

# To say how large a change is, so many of a layer's values are enough; whole layers only for small checkpoints.
_COMPARED_VALUES = 2**20
# A style that changes the weights by more than themselves was not meant so. One that changes them by 8 % moves pixels
# by some dozens of their 255 steps, so what changes them by less than the least moves none.
_LARGE_EFFECT, _LEAST_EFFECT = 1.0, 1e-5


def diagnose(path: Path, architectures: Sequence[Architecture]) -> Diagnosis:
    """What the file is, what it is for among these architectures, and what is wrong with it.

    What is wrong with the file is among the diagnosis' problems. Raises InvalidRequest only where there is no plain
    file, StorageError where it may not be read, and Unavailable where the weights of a checkpoint are damaged.
    """
    found = Diagnosis(path, require_plain(path))
    try:
        with opened(path) as file:
            return _examined(found, file, architectures)
    except InvalidRequest as error:
        # The problem is a phrase behind the file's name, which the message begins with.
        name = f"{shown(path.name)} "
        told = f"it {error.message.removeprefix(name)}" if error.message.startswith(name) else error.message
        return replace(found, problems=(*found.problems, told))


def write(found: Diagnosis, path: Path, metadata: Mapping[str, str]) -> None:
    """Write an accepted file's change as a plain LoRA, whole or not at all, with this metadata.

    Keys are `transformer.{layer}.lora_A.weight`, (rank, in), and `….lora_B.weight`, (out, rank); alpha is the rank.
    Layers that change nothing are left out. What the file said of itself goes along under the studio's names, where
    `metadata` does not say it anew. Values are half precision: with both sides of a layer made equally large that is as
    fine as any 16-bit file and half the size of a 32-bit one, whose pictures it gives within 1/255.
    Raises InvalidRequest where the diagnosis refused the file or it was changed since, StorageError where `path` cannot
    be written.
    """
    if not found.accepted:
        raise refused(found.path.name, found.problems)
    state: dict[str, torch.Tensor] = {}
    with opened(found.path) as file:
        reading = LoraReading(file, found.fits[0].layers)
        if reading.problems or misfit(reading.shapes, found.fits[0].layers):
            raise InvalidRequest(f"{shown(found.path.name)} was changed after it was looked at — look at it again")
        for layer in reading.shapes:
            try:
                change = _change(reading, layer, found.base)
            except Misfit as error:
                raise InvalidRequest(f"{shown(found.path.name)} cannot be used: {layer!r}, {error}") from None
            if change.norm:
                state[f"{PREFIX}{layer}.lora_A.weight"] = change.down.contiguous()
                state[f"{PREFIX}{layer}.lora_B.weight"] = change.up.contiguous()
    if not state:
        raise InvalidRequest(f"{shown(found.path.name)} was changed after it was looked at — look at it again")
    try:
        with whole(path) as temporary:
            save_file(state, temporary, {"format": "pt", **found.stated.metadata, **metadata})
    except (OSError, SafetensorError) as error:
        # safetensors has an error of its own for a full disk.
        reason = getattr(error, "strerror", None) or plain_line(str(error), 200)
        raise StorageError(
            f"{shown(str(path))} cannot be written ({reason}) — check the folder and the free space"
        ) from None


@dataclass(frozen=True)
class _Change:
    """What is kept of one layer's change once its matrices are let go."""

    layer: str
    rank: int
    alpha: float | None
    norm: float
    lost: float
    values: int


def _examined(found: Diagnosis, file: LoraFile, architectures: Sequence[Architecture]) -> Diagnosis:
    reading = LoraReading(file, {layer for architecture in architectures for layer in architecture.layers})
    problems = list(reading.problems)
    stated = Stated.read(file.metadata)
    found = replace(
        found,
        stated=stated,
        speed=guessed(file.path.name, stated.name, file.metadata),
        formats=reading.match.formats,
        kinds=tuple(dict.fromkeys(reading.kind(layer) for layer in reading.shapes)),
        dtypes=tuple(dict.fromkeys(stored.dtype for stored in file.tensors.values() if stored.shape)),
        modules=_modules(reading.shapes),
        matched=reading.match.matched,
        dropped=reading.match.dropped,
        unmatched=reading.match.unmatched,
    )
    if not problems:
        found = replace(found, fits=_fits(reading.shapes, architectures, found.stated))
        if not found.fits:
            problems.append(_fits_none(reading.shapes, architectures))
    if problems:
        return replace(found, problems=tuple(problems))
    base, told = base_of(reading, found.fits, found.stated)
    if told and base is None:
        return replace(found, problems=(told,))
    changes, problems = _changes(reading, base)
    return _concluded(replace(found, base=base, notes=(told,) if told else ()), changes, problems)


def _fits(shapes: Shapes, architectures: Sequence[Architecture], stated: Stated) -> tuple[Architecture, ...]:
    """Those that have all of the file's layers: the one that the file names, otherwise those with the fewest layers.

    A style for few blocks would load into a deeper transformer of the same width too, and do something else there.
    """
    able = [architecture for architecture in architectures if misfit(shapes, architecture.layers) is None]
    named = [architecture for architecture in able if architecture.names(stated.base_model)]
    fewest = min(named or able, key=lambda architecture: len(architecture.layers), default=None)
    return tuple(architecture for architecture in able if fewest and architecture.layers == fewest.layers)


def _fits_none(shapes: Shapes, architectures: Sequence[Architecture]) -> str:
    """In what the nearest architecture differs."""
    nearest = max(
        architectures, key=lambda a: sum(a.layers.get(layer) == shape for layer, shape in shapes.items()), default=None
    )
    if nearest is None:
        return "it fits no checkpoint, because none is known here — restore the embedded ones"
    return (
        f"it has Krea 2's layer names, but fits no known checkpoint: in {nearest.label} "
        f"{misfit(shapes, nearest.layers)} — use one that was trained on a checkpoint that this studio runs"
    )


def _change(reading: LoraReading, layer: str, base: Architecture | None) -> Factors:
    """One layer's change as it is written: in half precision. Raises Misfit where it cannot be."""
    change = factors.balanced(reading.factors(layer, base.weight if base else None))
    half = replace(change, down=change.down.half(), up=change.up.half())
    if not half.finite:
        raise Misfit("the LoRA holds values that are too large for half precision")
    return half


def _changes(reading: LoraReading, base: Architecture | None) -> tuple[list[_Change], list[str]]:
    """Every layer's change, and one line for all layers of which it could not be made out."""
    changes, wrong = [], {}
    for layer in reading.shapes:
        try:
            change = _change(reading, layer, base)
            changes.append(
                _Change(
                    layer, change.rank, reading.alpha(layer), change.norm, change.lost,
                    change.down.numel() + change.up.numel(),
                )
            )  # fmt: skip
        except Misfit as error:
            wrong[layer] = str(error)
    if not wrong:
        return changes, []
    first, why = next(iter(wrong.items()))
    others = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
    return changes, [f"{first!r}{others} cannot be used: {why} — get it again, or ask for a plain LoRA"]


def _concluded(found: Diagnosis, changes: Sequence[_Change], problems: list[str]) -> Diagnosis:
    whole = math.hypot(*(math.hypot(change.norm, change.lost) for change in changes))
    left_out = math.hypot(*(change.lost for change in changes)) / whole if whole else 0.0
    effect = _effect(changes, [found.base] if found.base else found.fits)
    if not problems and not whole:
        problems.append("it does nothing: all its changes are zero — it was saved before it was trained")
    elif not problems and (share := _largest_share(changes, effect, found.fits[0])) < _LEAST_EFFECT:
        problems.append(
            f"it does next to nothing: no layer changes by more than {share:.1e} of its weights, of at least "
            f"{_LEAST_EFFECT:.0e} — it was scaled down or hardly trained; get it again"
        )
    if left_out > MOST_LEFT_OUT:
        problems.append(
            f"it is no LoRA but a {' and '.join(found.kinds)}, and two matrices of rank {factors.EXACT_RANK} "
            f"would leave out {left_out:.0%} of it, of at most {MOST_LEFT_OUT:.0%} — ask for a LoRA version"
        )
    size_bytes = 2 * sum(change.values for change in changes)
    if size_bytes > MOST_BYTES:
        problems.append(
            f"as a plain LoRA it would have {size_bytes:,} bytes, of at most {MOST_BYTES:,} — ask for a smaller one"
        )
    alphas = [change.alpha for change in changes if change.alpha is not None]
    return replace(
        found,
        ranks=(min(c.rank for c in changes), max(c.rank for c in changes)) if changes else None,
        alphas=(min(alphas), max(alphas)) if alphas else None,
        effect=effect,
        left_out=left_out,
        notes=tuple(_notes(found, changes, left_out, effect)),
        problems=tuple(problems),
    )


def _effect(changes: Sequence[_Change], fits: Sequence[Architecture]) -> Effect | None:
    if not changes:
        return None
    beside = next((architecture for architecture in fits if architecture.has_weights), None)
    if beside is None:
        return Effect(max(c.norm for c in changes), sum(c.norm for c in changes) / len(changes))
    shares = []
    for change in changes:
        out, width = beside.layers[change.layer]
        rows = beside.weight(change.layer, _COMPARED_VALUES).float()
        if norm := float(rows.norm()) * math.sqrt(out * width / rows.numel()):
            shares.append(change.norm / norm)
    return Effect(max(shares), sum(shares) / len(shares), beside.label) if shares else None


def _largest_share(changes: Sequence[_Change], effect: Effect | None, fit: Architecture) -> float:
    """The largest change of a layer as a share of its weights; where these are not here, as if each row had norm 1."""
    if effect is not None and effect.relative_to:
        return effect.largest
    return max(change.norm / math.sqrt(fit.layers[change.layer][0]) for change in changes)


def _notes(found: Diagnosis, changes: Sequence[_Change], left_out: float, effect: Effect | None) -> Iterator[str]:
    for reason, count in Counter(found.dropped.values()).items():
        yield f"{count:,} keys are left out: {reason}"
    yield from found.notes
    if left_out:
        yield f"two matrices leave out {left_out:.1%} of its change"
    still = sum(not change.norm for change in changes)
    if still and still < len(changes):
        yield f"{still:,} of its {len(changes):,} layers change nothing"
    if all(c.alpha is None for c in changes) and any("peft" in words for words in found.formats):
        yield "it states no alpha, so it counts as the rank; peft keeps it in adapter_config.json"
    if effect is not None and effect.relative_to and effect.largest > _LARGE_EFFECT:
        yield f"it changes a layer by {effect.largest:.0%} of its weights — start at a small weight"
    named = [architecture for architecture in found.fits if architecture.names(found.stated.base_model)]
    if found.stated.base_model and not named:
        yield f"it says that it was trained on {shown(found.stated.base_model)}"


def _modules(shapes: Shapes) -> dict[str, int]:
    """How many layers of each kind: names without the numbers of blocks, such as `attn.to_q`."""
    kinds = (re.sub(r"(_blocks)\.\d+", r"\1", layer).removeprefix("transformer_blocks.") for layer in shapes)
    return dict(Counter(kinds))
