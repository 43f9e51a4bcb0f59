"""How LoRA files for Krea 2 spell the names of layers: which key means which part of which layer, in which format.

Every trainer writes the same few matrices under keys of its own. A key is a container's prefix, a layer's name (as
diffusers or as Krea's own code has it, with dots or underscores), and what the tensor is. Layers are looked up, never
guessed: what is in no table stays unmatched and is told, because a key that is silently left out is a style that
silently does less. Knows names only: no tensors, no shapes, no files. `strangers` knows the names of other kinds.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from krea_studio.engine.checkpoints.formats.names import ORIGINAL_ALONE, ORIGINAL_LEAVES, ORIGINAL_STEMS
from krea_studio.engine.lora import strangers
from krea_studio.validation import shown

DIFFUSERS_NAMES, ORIGINAL_NAMES = "diffusers names", "original Krea names"

# Layers that trainers compute as one, in the order in which the rows of their weights follow one another. diffusers'
# `fuse_qkv_projections`, which SimpleTuner turns on by a setting, writes `to_qkv`; the other names say their order too.
_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
FUSED = {
    "attn.to_qkv": _QKV,
    "attn.qkv": _QKV,
    "attn.wqkv": _QKV,
    "attn.to_qkv_gate": (*_QKV, "attn.to_gate"),
    "attn.to_kv": _QKV[1:],
    "attn.wkv": _QKV[1:],
    "ff.gate_up": ("ff.gate", "ff.up"),
    "mlp.gate_up": ("ff.gate", "ff.up"),
}

# Prefixes with what writes them. They may stand behind one another; the first says who wrote the file. ComfyUI finds
# the names behind them in the same way (comfy/lora.py, model_lora_keys_unet).
CONTAINERS = (
    ("base_model.model.", "peft"),
    ("diffusion_model.", "ComfyUI"),
    ("model.", "ComfyUI"),
    ("transformer.", "diffusers"),
    ("pipe.", "DiffSynth"),
    ("dit.", "DiffSynth"),
    ("net.", "a training script"),
    ("unet.", "a training script"),
    ("lora_unet__", "kohya / musubi"),
    ("lora_unet_", "kohya / musubi"),
    ("lora_transformer_", "OneTrainer"),
    ("lycoris_", "LyCORIS"),
    ("diffusion_model_", "ComfyUI"),
)
_MOST_CONTAINERS = 8
# What PyTorch puts into the names of modules that it compiles, shards, copies to several devices or recomputes.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_WRAPPED = re.compile(rf"(?<![^._])(?:{'|'.join(WRAPPERS)})[._]")

# How a key ends → what the tensor is. `.default` and the like are names of adapters, as peft has them in memory.
_PARTS = tuple(
    (part, re.compile(rf"(?P<name>.+?)\.(?:{ending})"))
    for part, ending in {
        "down": r"lora_A(?:\.[^.]+)?\.weight|lora[_.]down\.weight|lora_linear_layer\.down\.weight",
        "up": r"lora_B(?:\.[^.]+)?\.weight|lora[_.]up\.weight|lora_linear_layer\.up\.weight",
        "alpha": r"alpha",
        "magnitude": r"dora_scale|lora_magnitude_vector(?:\.[^.]+)??(?:\.weight)?",
        "w1": r"lokr_w1",
        "w1_a": r"lokr_w1_a",
        "w1_b": r"lokr_w1_b",
        "w2": r"lokr_w2",
        "w2_a": r"lokr_w2_a",
        "w2_b": r"lokr_w2_b",
        "h1_a": r"hada_w1_a",
        "h1_b": r"hada_w1_b",
        "h2_a": r"hada_w2_a",
        "h2_b": r"hada_w2_b",
        "a1": r"a1\.weight",
        "a2": r"a2\.weight",
        "b1": r"b1\.weight",
        "b2": r"b2\.weight",
        "rotations": r"oft_blocks",
        "rescale": r"rescale",
        "diff": r"diff",
        "bias": r"diff_b|lora_B(?:\.[^.]+)?\.bias",
    }.items()
)
# The factor that musubi's LoKr was made with. Its presence tells whose convention the scale follows.
LOKR_FACTOR = "lokr_factor"
# So many unmatched keys are looked at closely, for what they could have meant.
_MOST_EXPLAINED = 100

_TEXT_ENCODER = re.compile(r"(?:base_model\.model\.)?(?:lora_te\d?_|text_encoders?(?:_\d)?\.|conditioner\.)")


@dataclass(frozen=True)
class Match:
    """What the keys of a file mean; every key is in exactly one place.

    `layers` has for each layer, under its diffusers name or a fused one's, the key of each part (`down`, `up`, `alpha`,
    `magnitude`, `w1` … `w2_b`, `diff`, `bias` and others); `settings` the keys that are about the whole file; `dropped`
    those that are left out on purpose, each with the reason; `unmatched` all others. `formats` are the formats found,
    in words.
    """

    layers: Mapping[str, Mapping[str, str]]
    settings: Sequence[str]
    dropped: Mapping[str, str]
    unmatched: Sequence[str]
    formats: Sequence[str]

    @property
    def matched(self) -> int:
        """Number of keys that have an effect on what is loaded."""
        return sum(len(parts) for parts in self.layers.values()) + len(self.settings)


def original_name(layer: str) -> str:
    """A layer's name in Krea's own code, from diffusers': `transformer_blocks.0.attn.to_q` → `blocks.0.attn.wq`.

    A name that is in no table comes back as it is.
    """
    if layer in ORIGINAL_ALONE:
        return ORIGINAL_ALONE[layer]
    for stem, original in ORIGINAL_STEMS.items():
        layer = original + layer.removeprefix(stem) if layer.startswith(stem) else layer
    for leaf, original in ORIGINAL_LEAVES.items():
        layer = layer.removesuffix(leaf) + original if layer.endswith("." + leaf) else layer
    return layer


def fused(layer: str) -> tuple[str, ...]:
    """The layers whose rows are those of a fused one, in their order; of any other layer it alone."""
    for leaf, parts in FUSED.items():
        if layer.endswith("." + leaf):
            return tuple(layer.removesuffix(leaf) + part for part in parts)
    return (layer,)


def match(keys: Iterable[str], layers: Iterable[str]) -> Match:
    """What each key means, for a transformer that has these layers (diffusers names)."""
    names = _spellings(frozenset(layers))
    found: dict[str, dict[str, str]] = {}
    settings: list[str] = []
    dropped: dict[str, str] = {}
    unmatched: list[str] = []
    formats: dict[str, None] = {}
    for key in keys:
        layer, part, words = _meaning(key, names)
        if layer is not None and part not in found.get(layer, {}):
            found.setdefault(layer, {})[part] = key
            formats[words] = None
        elif layer is None and key == LOKR_FACTOR:
            settings.append(key)
        elif layer is None and _TEXT_ENCODER.match(key):
            dropped[key] = "for a text encoder, which no style of this studio bends"
        else:
            unmatched.append(key)
    return Match(found, settings, dropped, unmatched, tuple(formats))


def why_unmatched(found: Match, layers: Iterable[str]) -> str:
    """Why the unmatched keys of a file cannot be used, in words for a person, with the first of them."""
    unmatched, names = found.unmatched, _spellings(frozenset(layers))
    for key in unmatched:
        if kind := strangers.kind(key):
            return f"it uses {kind} ({shown(key)}), which cannot be turned into a LoRA here — ask for a LoRA version"
    first = f"{len(unmatched):,} of its keys match no layer of Krea 2, the first is {shown(unmatched[0])}"
    if any(_meaning(key, names)[0] is not None for key in unmatched):
        return f"some of its layers come twice, such as {shown(unmatched[0])} — ask for a file with one adapter in it"
    if all(key.endswith((".weight", ".bias")) and "lora" not in key for key in unmatched):
        if found.layers:
            return f"it sets whole layers too, such as {shown(unmatched[0])}, which a LoRA cannot — ask for it without"
        return f"{first}; it looks like the weights of a model, not like a LoRA — give a LoRA"
    for key in unmatched[:_MOST_EXPLAINED]:
        if any(_spelled(key[: dot.start()], names) for dot in re.finditer(r"\.", key)):
            return (
                f"it changes a layer of Krea 2 in a way that is not known here ({shown(key)}) — ask for a LoRA version"
            )
    return f"{first} — use a LoRA that was trained on Krea 2"


def _meaning(key: str, names: Mapping[str, tuple[str, str]]) -> tuple[str | None, str, str]:
    """Layer, part and format of a key; no layer where it is in no table."""
    for part, pattern in _PARTS:
        ended = pattern.fullmatch(key)
        if ended is not None and (found := _spelled(ended["name"], names)):
            layer, words = found
            return layer, part, words
    return None, "", ""


def _spelled(name: str, names: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    """Layer and format of a name behind any containers and wrappers; None where it is in no table."""
    writer, rest = "", (bare := _WRAPPED.sub("", name))
    for _ in range(_MOST_CONTAINERS):
        container = next(((prefix, who) for prefix, who in CONTAINERS if rest.startswith(prefix)), None)
        if rest in names or container is None:
            break
        writer = writer or container[1]
        rest = rest.removeprefix(container[0])
    if rest not in names:
        return None
    layer, naming = names[rest]
    prefix = (name if name.endswith(rest) else bare).removesuffix(rest)
    return layer, f"{writer or 'PyTorch'} ({prefix}…), {naming}" if prefix else f"no prefix, {naming}"


@lru_cache(maxsize=16)
def _spellings(layers: frozenset[str]) -> dict[str, tuple[str, str]]:
    """Every way to spell each layer, and each that could be fused of them → the layer and whose names they are."""
    whole = {
        f"{layer.removesuffix(parts[0])}{leaf}"
        for leaf, parts in FUSED.items()
        for layer in layers
        if layer.endswith("." + parts[0])
    }
    found = {}
    for layer in (*sorted(whole), *sorted(layers)):
        for name, naming in ((original_name(layer), ORIGINAL_NAMES), (layer, DIFFUSERS_NAMES)):
            found[name] = found[name.replace(".", "_")] = (layer, naming)
    return found
