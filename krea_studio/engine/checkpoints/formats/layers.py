"""How a file stores each parameter of a model: its number format, and what lies beside it that belongs to it.

What lies beside a layer (scales, a statement of its format) is taken aside before anything is renamed and joined to its
layer by the whole name. A format is decided layer by layer: by the layer's own statement (`comfy_quant`), by the file's
(`_quantization_metadata`), else by the number format and the shapes. Formats are ComfyUI's and ggml's; the layouts are
described in comfy-kitchen. What is not known is refused by its name, never guessed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any

from krea_studio.engine.checkpoints.formats.containers import Container, Stored
from krea_studio.errors import Unavailable
from krea_studio.validation import shown

PLAIN = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLOAT8 = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
SCALED = " scaled"
INT8, ROTATED, MXFP8, NVFP4 = "int8", "int8 convrot", "mxfp8", "nvfp4"
GGML = {
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "IQ4_XS"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
}
BLOCK = {MXFP8: 32, NVFP4: 16}
"""Values along a row that share a scale."""
READ_INSTEAD = "get the same model as bf16, fp8_scaled, int8_convrot, mxfp8, nvfp4 or GGUF"

# What stands beside a layer's weight → which part of it that is; empty for what only other programs' kernels use.
_BESIDE = {
    "weight_scale": "scale",
    "scale_weight": "scale",
    "weight_scale_2": "scale_2",
    "comfy_quant": "statement",
    "input_scale": "",
    "scale_input": "",
}
_ALONE = ("scaled_fp8",)  # says of a whole file what its scales say too
# What a layer may be said to be → the number formats of its values.
_STATED = {
    "float8_e4m3fn": ("F8_E4M3",),
    "float8_e5m2": ("F8_E5M2",),
    "int8_tensorwise": ("I8",),
    MXFP8: ("F8_E4M3",),
    NVFP4: ("U8",),
}
_MOST_STATEMENT_BYTES = 10_000
_ROTATION = 256


@dataclass(frozen=True)
class Weight:
    """One parameter as a file stores it: its `format`, its `shape` in numbers, and its tensors' names in the file.

    `keys` has `values`, and what the format needs beside them: `scale`, `scale_2`. `group` is the length of a rotation.
    """

    format: str
    shape: tuple[int, ...]
    keys: Mapping[str, str]
    group: int = 0

    @property
    def packed(self) -> bool:
        """Whether it is stored in another form than as plain numbers of 16 bits or more."""
        return self.format not in PLAIN.values()


@dataclass(frozen=True)
class Weights:
    """The parameters of one model in a file, by the model's own names; every tensor is in exactly one place.

    `left_out` has the tensors that are not needed, each with the reason; `unknown` those that nothing accounts for.
    """

    stored: Mapping[str, Weight] = field(repr=False)
    left_out: Mapping[str, str]
    unknown: tuple[str, ...]

    @property
    def formats(self) -> dict[str, int]:
        """How many parameters are stored in which format, the most frequent first."""
        return dict(Counter(weight.format for weight in self.stored.values()).most_common())


def weights_in(
    container: Container, names: Iterable[str], rename: Callable[[str], str | None], unused: Mapping[str, str]
) -> Weights:
    """How the tensors `names` of a file are a model's parameters; `rename` tells a parameter's name, None for none.

    `unused` has tensors that are known to mean nothing, with the reason. Raises Unavailable for a format that is not
    read here, or tensors that contradict one another.
    """
    beside: dict[str, dict[str, str]] = {}
    own, left_out = [], {}
    for name in names:
        module, _, leaf = name.rpartition(".")
        if name in unused or leaf in _ALONE:
            left_out[name] = unused.get(name, "the scales say the same")
        elif leaf not in _BESIDE:
            own.append(name)
        elif not _BESIDE[leaf]:
            left_out[name] = "it is for activations in 8 bits"
        elif _BESIDE[leaf] in beside.setdefault(module, {}):
            raise _refused(container, f"{shown(module)} has two tensors for its {_BESIDE[leaf]}")
        else:
            beside[module][_BESIDE[leaf]] = name
    stated = _statements(container)
    stored: dict[str, Weight] = {}
    unknown = []
    for name in own:
        module, _, leaf = name.rpartition(".")
        parameter = rename(name)
        parts: Mapping[str, str] = {}
        said: Mapping[str, Any] = {}
        if leaf == "weight":
            parts = beside.pop(module, {})
            said = _statement(container, module, parts, stated)
        if parameter is None:
            unknown += [name, *parts.values()]
        elif parameter in stored:
            raise _refused(container, f"{shown(name)} is there twice, under two names")
        else:
            stored[parameter] = _weight(container, name, parts, said)
    unknown += [name for parts in beside.values() for name in parts.values()]
    return Weights(stored, left_out, tuple(unknown))


def _weight(container: Container, name: str, parts: Mapping[str, str], stated: Mapping[str, Any]) -> Weight:
    values = container.tensors[name]
    said, scale = stated.get("format"), container.tensors.get(parts.get("scale", ""))
    if said is not None and (not isinstance(said, str) or said not in _STATED):
        raise _refused(container, f"{shown(name)} is stored as {shown(said)}, which is not read here")
    if said is not None and values.kind not in _STATED[said]:
        raise _refused(container, f"{shown(name)} is said to be {said} and holds {values.kind}")
    form, shape, needs = _form(container, name, values, scale, said or "", parts)
    group = 0
    if form == INT8 and stated.get("convrot"):
        form, group = ROTATED, stated.get("convrot_groupsize", _ROTATION)
        if type(group) is not int or group not in (4, 16, 64, 256, 1024) or len(shape) != 2 or shape[1] % group:
            raise _refused(container, f"{shown(name)} has the shape {shape} and is rotated by {shown(group)}")
    spare = parts.keys() - needs - {"statement"}
    if spare:
        raise _refused(
            container, f"{shown(parts[min(spare)])} lies beside {shown(name)}, which is stored as {form} without it"
        )
    return Weight(form, shape, {"values": name, **{part: parts[part] for part in needs}}, group)


def _form(
    container: Container,
    name: str,
    values: Stored,
    scale: Stored | None,
    said: str,
    parts: Mapping[str, str],
) -> tuple[str, tuple[int, ...], set[str]]:
    """The format, the shape in numbers, and what beside the values it needs."""
    kind, shape = values.kind, values.shape
    if kind in PLAIN:
        return PLAIN[kind], shape, set()
    if container.kind == "gguf":
        if kind not in GGML:
            raise _refused(container, f"{shown(name)} is stored as {kind}, which is not read here")
        return kind, shape, set()
    if kind in FLOAT8 and scale is None and said != MXFP8:
        return FLOAT8[kind], shape, set()
    rows = shape[0] if len(shape) > 1 else 1
    if kind in FLOAT8 and (said == MXFP8 or (not said and scale is not None and _is_block_scale(shape, scale))):
        _require_blocks(container, name, shape, scale, MXFP8, ("U8", "F8_E8M0"))
        return MXFP8, shape, {"scale"}
    if kind in FLOAT8 or kind == "I8":
        what = f"{FLOAT8[kind]}{SCALED}" if kind in FLOAT8 else INT8
        if scale is None or scale.kind not in PLAIN or prod(scale.shape) not in (1, rows):
            found = "none" if scale is None else f"{scale.kind} of the shape {scale.shape}"
            raise _refused(container, f"{shown(name)} needs a scale, one or one a row, and has {found}")
        if kind == "I8" and not said and "convrot" in f"{container.path.name} {container.metadata}".lower():
            raise _refused(container, f"{shown(name)} is int8 without a word on whether it is rotated")
        return what, shape, {"scale"}
    if kind == "U8" and said == NVFP4 and len(shape) == 2:
        whole = (shape[0], 2 * shape[1])
        _require_blocks(container, name, whole, scale, NVFP4, ("F8_E4M3", "U8"))
        second = container.tensors.get(parts.get("scale_2", ""))
        if second is None or second.kind != "F32" or prod(second.shape) != 1:
            raise _refused(container, f"{shown(name)} is nvfp4 and lacks its weight_scale_2")
        return NVFP4, whole, {"scale", "scale_2"}
    if kind == "U8" and "scale_2" in parts:
        raise _refused(container, f"{shown(name)} is in ModelOpt's nvfp4 layout, which is not read here")
    raise _refused(container, f"{shown(name)} is stored as {kind} without a word on its format")


def _is_block_scale(shape: tuple[int, ...], scale: Stored) -> bool:
    return scale.kind in ("U8", "F8_E8M0") and len(shape) == 2


def _require_blocks(
    container: Container, name: str, shape: tuple[int, ...], scale: Stored | None, form: str, kinds: tuple[str, ...]
) -> None:
    """Refuse block scales that are not as many as the tiles of 128 rows by 4 blocks need."""
    block = BLOCK[form]
    whole = len(shape) == 2 and not shape[1] % block
    if whole and scale is not None and scale.kind in kinds:
        tiles = -(-shape[0] // 128) * -(-shape[1] // block // 4)
        if prod(scale.shape) == 512 * tiles:
            return
    found = "none" if scale is None else f"{scale.kind} of the shape {scale.shape}"
    raise _refused(container, f"{shown(name)} is {form} and needs a scale for each {block} values, and has {found}")


def _statement(
    container: Container, module: str, parts: Mapping[str, str], stated: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What is said of a layer's format: by itself, else by the file, whose names may lack a prefix or have one."""
    if "statement" in parts:
        name = parts["statement"]
        if container.tensors[name].bytes > _MOST_STATEMENT_BYTES:
            raise _refused(container, f"{shown(name)} is too long for a statement of a format")
        return _object(container, container.read(name).rstrip(b"\0 ").decode("utf-8", "replace"), name)
    names = module.split(".")
    found = next((stated[key] for k in range(len(names)) if (key := ".".join(names[k:])) in stated), None)
    if found is None:
        found = stated.get(f"model.diffusion_model.{module}", stated.get(f"diffusion_model.{module}", {}))
    if not isinstance(found, dict):
        raise _refused(container, f"the file's statement of {shown(module)} is {shown(found)}")
    return found


def _statements(container: Container) -> Mapping[str, Any]:
    text = container.metadata.get("_quantization_metadata")
    layers = {} if text is None else _object(container, text, "_quantization_metadata").get("layers", {})
    return layers if isinstance(layers, dict) else {}


def _object(container: Container, text: str, what: str) -> Mapping[str, Any]:
    found = _parsed(text)
    if found is None:
        raise _refused(container, f"{shown(what)} says {shown(text)}, which is no statement of a format")
    return found


@lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refused(container: Container, reason: str) -> Unavailable:
    return Unavailable(f"{container.path} cannot be used: {reason} — {READ_INSTEAD}")
