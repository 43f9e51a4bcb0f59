"""What a single file of weights is, by its header: which models it holds, in which formats, and what it lacks.

Takes under a second, reads no weights, and needs no torch. A file holds a transformer, a text encoder or an image
decoder, or several of them with a prefix each. LoRAs, other models and engines' own formats are refused by name, with
what to get instead. Raw and Turbo have the same tensors: which of them a file is, only its name can hint at.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from krea_studio.engine.checkpoints.formats import names as layouts
from krea_studio.engine.checkpoints.formats.configs import Shapes, published_shapes
from krea_studio.engine.checkpoints.formats.containers import Container, open_container
from krea_studio.engine.checkpoints.formats.layers import READ_INSTEAD, Weights, weights_in
from krea_studio.errors import Unavailable
from krea_studio.validation import shown

SUFFIXES = (".safetensors", ".gguf")
TRANSFORMER, TEXT_ENCODER, DECODER = "transformer", "text_encoder", "vae"
_VARIANTS = (("turbo", r"turbo|tdm|distill|[48]step"), ("medium", r"raw|base|medium"))
_HEAD = "a head that writes, which is the embedding here"
_UNUSED = "Krea's own code does not use it"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A file that holds models of Krea 2: its `parts` by the names that a checkpoint has for them.

    `prefixes` has what stands before a part's names in the file, `others` the tensors outside of all parts. The same
    object as long as the file is unchanged.
    """

    container: Container
    parts: Mapping[str, Weights]
    prefixes: Mapping[str, str]
    others: tuple[str, ...]

    @property
    def path(self) -> Path:
        return self.container.path

    @property
    def variant(self) -> str | None:
        """`turbo` or `medium` (which Raw runs), guessed from the file's name; None where it gives no hint or two."""
        hints = [variant for variant, words in _VARIANTS if re.search(words, self.path.stem.lower())]
        return hints[0] if len(hints) == 1 else None

    def bytes_in_memory(self, part: str, value_bytes: int, within: str = "") -> int:
        """What a part takes when packed layers stay packed and all others have `value_bytes` a number.

        Of parameters whose names begin with `within`.
        """
        total = 0
        for name, weight in self.parts[part].stored.items():
            if not name.startswith(within):
                continue
            kept = weight.packed and len(weight.shape) == 2
            stored = sum(self.container.tensors[key].bytes for key in weight.keys.values())
            total += stored if kept else prod(weight.shape) * value_bytes
        return total

    def largest_packed(self, part: str) -> int:
        """How many numbers the largest layer of a part has that stays packed; 0 where none does."""
        layers = (weight for weight in self.parts[part].stored.values() if weight.packed and len(weight.shape) == 2)
        return max((prod(layer.shape) for layer in layers), default=0)


def model_file(path: Path) -> ModelFile:
    """What the file is. Raises Unavailable, with what to get instead, for what is no model of Krea 2 or unreadable."""
    return _of(open_container(path))


@lru_cache(maxsize=64)
def _of(container: Container) -> ModelFile:
    path, names = container.path, list(container.tensors)
    if not names:
        raise Unavailable(f"{path} holds no tensors — get the file again")
    if shard := re.search(r"-\d{5}-of-(\d{5})$", path.stem):
        raise Unavailable(f"{path} is one of {int(shard[1])} shards — name the checkpoint's folder, or one whole file")
    if layouts.is_lora(names):
        raise Unavailable(f"{path} is a LoRA, not a checkpoint — load it as a style, and name the model that it is for")
    if foreign := layouts.foreign_format(names, container.metadata):
        raise Unavailable(f"{path} is in the format {foreign}, which only its own engine reads — {READ_INSTEAD}")
    parts, prefixes = {}, {}
    for part, find in _PARTS.items():
        if found := find(container, names):
            prefix, taken, rename, unused = found
            parts[part], prefixes[part] = weights_in(container, taken, rename, unused), prefix
            gone = set(taken)
            names = [name for name in names if name not in gone]
    if not parts:
        family = layouts.family(names)
        known = f"is made for {family}, not for Krea 2"
        what = known if family else f"holds no model that is known here (first {shown(names[0])})"
        raise Unavailable(f"{path} {what} — give a Krea 2 transformer, its Qwen3-VL text encoder or its image decoder")
    if not sees(parts) and TEXT_ENCODER in parts and "vl" not in f"{prefixes[TEXT_ENCODER]}{path.name}".lower():
        raise Unavailable(
            f"{path} has a text encoder without a vision tower and is not called Qwen3-VL: a plain Qwen3 has the same "
            "shapes and would be read as noise — get qwen3vl_4b_bf16.safetensors or qwen3vl_4b_fp8_scaled.safetensors"
        )
    return ModelFile(container, parts, prefixes, tuple(names))


def sees(parts: Mapping[str, Weights]) -> bool:
    """Whether the text encoder among these parts has a vision tower."""
    return TEXT_ENCODER in parts and any(name.startswith("visual.") for name in parts[TEXT_ENCODER].stored)


def differing(stored: Weights, shapes: Shapes) -> str | None:
    """How a transformer in a file differs from one of these shapes, in words; None where it fits.

    What a single table of numbers may be flattened to does not count.
    """
    missing = [name for name in shapes if name not in stored.stored]
    spare = [name for name in stored.stored if name not in shapes]
    for name, shape in shapes.items():
        weight = stored.stored.get(name)
        if weight is not None and not fits(name, weight.shape, shape):
            return f"{name} has the shape {weight.shape} and not {shape}"
    if spare:
        return f"it has {len(spare)} parameters too many, first {spare[0]}"
    if missing:
        return f"it lacks {len(missing)} of {len(shapes)} parameters, first {missing[0]}"
    return None


def fits(name: str, stored: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a parameter of `shape` may be stored in the shape `stored`; some converters flatten the small tables."""
    if stored == shape:
        return True
    table = name.endswith(("scale_shift_table", "projector.weight"))
    return table and prod(stored) == prod(shape) and len(stored) < len(shape)


def report(path: Path, shapes: Mapping[str, Shapes] | None = None) -> dict[str, Any]:
    """What a file is, as data: `refused` has the reason where it cannot be loaded, and is empty otherwise.

    `shapes` has those of further transformers that the file may be of, by name.
    """
    facts: dict[str, Any] = {"file": str(path), "bytes": 0, "lora": False, "refused": ""}
    try:
        container = open_container(path)
        facts |= {"bytes": container.bytes, "lora": layouts.is_lora(container.tensors)}
        found = model_file(path)
    except Unavailable as error:
        return facts | {"refused": error.message}
    facts |= {"container": found.container.kind, "variant_guess": found.variant, "parts": {}}
    facts["other_tensors"] = len(found.others)
    for part, weights in found.parts.items():
        facts["parts"][part] = {
            "prefix": found.prefixes[part],
            "tensors": len(weights.stored),
            "formats": weights.formats,
            "left_out": dict(weights.left_out),
        }
        known = {"Krea 2": published_shapes(), **(shapes or {})}
        reasons = {name: differing(weights, each) for name, each in known.items()} if part == TRANSFORMER else {}
        facts["parts"][part]["model"] = next((name for name, reason in reasons.items() if reason is None), None)
        if reason := unknown(found, part):
            facts["refused"] = f"{path} cannot be used: {reason} — {GET_AGAIN}"
        elif reasons and None not in reasons.values():
            nearest = max(known, key=lambda name: _likeness(weights, known[name]))
            facts["refused"] = f"{path} cannot be used: it is no {nearest}: {reasons[nearest]} — {GET_AGAIN}"
    return facts


def _likeness(stored: Weights, shapes: Shapes) -> int:
    """How many parameters of these shapes are there."""
    return sum(name in stored.stored and stored.stored[name].shape == shape for name, shape in shapes.items())


GET_AGAIN = "get the file again, or set KREA_STUDIO_BASE to the checkpoint folder that it was made from"


def unknown(file: ModelFile, part: str) -> str | None:
    """Which tensors of a part nothing accounts for, in words; None where there are none."""
    left = file.parts[part].unknown
    return f"{len(left)} of its tensors belong to nothing, first {shown(left[0])}" if left else None


Found = tuple[str, list[str], Callable[[str], str | None], Mapping[str, str]]


def _transformer(container: Container, names: Iterable[str]) -> Found | None:
    """What stands before a transformer's names, those names, what they are in diffusers, and which mean nothing."""
    if not (found := layouts.transformer_prefix(names)):
        return None
    prefix, original = found
    taken = [name for name in names if name.startswith(prefix) and not _of_other_part(name, prefix)]
    unused = {prefix + name: _UNUSED for name in layouts.UNUSED if original}

    def rename(name: str) -> str | None:
        own = name.removeprefix(prefix)
        return layouts.parameter_name(own) if original else own

    return prefix, taken, rename, unused


def _text_encoder(container: Container, names: Iterable[str]) -> Found | None:
    prefixes = layouts.encoder_prefixes(names)
    if prefixes is None:
        return None

    def rename(name: str) -> str | None:
        return next((new + name.removeprefix(old) for old, new in prefixes.items() if name.startswith(old)), None)

    language = next(old for old, new in prefixes.items() if new == "language_model.")
    root = language.removesuffix("language_model.").removesuffix("model.")
    head = next((name for name in names if name.endswith("lm_head.weight")), "")
    taken = [name for name in names if name.startswith((*prefixes, root)) or name == head]
    return root, taken, rename, {head: _HEAD}


def _decoder(container: Container, names: Iterable[str]) -> Found | None:
    prefix = layouts.decoder_prefix(names)
    if prefix is None:
        return None
    taken = [name for name in names if name.startswith(prefix)]
    stock = layouts.decoder_names(name.removeprefix(prefix) for name in taken)
    return prefix, taken, lambda name: stock.get(name.removeprefix(prefix)), {}


def _of_other_part(name: str, prefix: str) -> bool:
    return not prefix and name.startswith(("text_encoders.", "vae.", "first_stage_model."))


# The transformer last: without a prefix, all names that are left are its own.
_PARTS: Mapping[str, Callable[[Container, Iterable[str]], Found | None]] = {
    DECODER: _decoder,
    TEXT_ENCODER: _text_encoder,
    TRANSFORMER: _transformer,
}
