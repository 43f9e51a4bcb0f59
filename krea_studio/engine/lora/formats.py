"""How LoRA files for Krea 2 spell the names of layers: which key means which part of which layer, in which format.

Every trainer writes the same few matrices under keys of its own. A key is a container's prefix, a layer's name (as
diffusers or as Krea's own code has it, with dots or underscores), and what the tensor is. Layers are looked up, never
guessed: what is in no table stays unmatched and is told, because a key that is silently left out is a style that
silently does less. Knows names only: no tensors, no shapes, no files.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from krea_studio.engine.checkpoints.formats.names import ORIGINAL_ALONE, ORIGINAL_LEAVES, ORIGINAL_STEMS
from krea_studio.validation import shown

DIFFUSERS_NAMES, ORIGINAL_NAMES = "diffusers names", "original Krea names"

# Prefixes with what writes them; the first that leaves a layer's name counts. ComfyUI finds the names behind them in
# the same way (comfy/lora.py, model_lora_keys_unet).
_CONTAINERS = (
    ("base_model.model.transformer.", "peft"),
    ("base_model.model.diffusion_model.", "peft"),
    ("base_model.model.", "peft"),
    ("model.diffusion_model.", "ComfyUI"),
    ("diffusion_model.", "ComfyUI"),
    ("transformer.", "diffusers"),
    ("lora_unet__", "kohya / musubi"),
    ("lora_unet_", "kohya / musubi"),
    ("lora_transformer_", "OneTrainer"),
    ("lycoris_", "LyCORIS"),
    ("", "no prefix"),
)

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
        "diff": r"diff",
        "bias": r"diff_b|lora_B(?:\.[^.]+)?\.bias",
    }.items()
)
# The factor that musubi's LoKr was made with. Its presence tells whose convention the scale follows.
LOKR_FACTOR = "lokr_factor"

_TEXT_ENCODER = re.compile(r"(?:base_model\.model\.)?(?:lora_te\d?_|text_encoders?(?:_\d)?\.|conditioner\.)")

_UNSUPPORTED = (
    ("LoHa", r"\.hada_"),
    ("OFT", r"\.oft_"),
    ("BOFT", r"\.boft_"),
    ("IA³", r"\.ia3_|\.on_input$"),
    ("GLoRA", r"\.[ab][12]\.weight$"),
    ("LoKr with a Tucker core, which is made for convolutions", r"\.lokr_t[12]$"),
    ("LoRA with a Tucker core, which is made for convolutions", r"\.lora_mid\."),
    ("changes of norms", r"\.[wb]_norm$|norm\w*\.diff$|\.scale\.diff$"),
)
_FUSED = re.compile(r"qkv|to_kv|gate_up")

# Other models by the names of their layers; the first that is found counts, so what is more telling comes first.
_OTHER_MODELS = tuple(
    (model, re.compile(pattern))
    for model, pattern in (
        (
            "SDXL",
            r"lora_te2_|text_encoder_2\.|lora_unet_(?:in|out)put_blocks_|blocks?[._].*transformer_blocks[._][1-9]",
        ),
        ("Stable Diffusion 1 or 2", r"(?:down|up)_blocks[._]\d+[._]|mid_block[._]|lora_te_text_model"),
        ("Chroma", r"distilled_guidance_layer"),
        ("FLUX", r"single_transformer_blocks[._]|double_blocks[._]\d+[._](?:img|txt)_|single_blocks[._]\d+[._]"),
        ("Stable Diffusion 3", r"joint_blocks[._]|lora_te3_"),
        ("Qwen-Image", r"transformer_blocks[._]\d+[._](?:(?:img|txt)_(?:mlp|mod)|attn[._]add_[qkv]_proj)"),
        ("Wan", r"blocks[._]\d+[._](?:self|cross)_attn[._]"),
        ("Z-Image or Lumina", r"(?:layers|(?:noise|context)_refiner)[._]\d+[._](?:attention|feed_forward|adaLN)"),
        ("LTX-Video or PixArt", r"transformer_blocks[._]\d+[._]attn[12][._]"),
        ("a language model", r"layers[._]\d+[._](?:self_attn|mlp)[._]"),
    )
)


@dataclass(frozen=True)
class Match:
    """What the keys of a file mean; every key is in exactly one place.

    `layers` has for each layer, under its diffusers name, the key of each part (`down`, `up`, `alpha`, `magnitude`,
    `w1` … `w2_b`, `diff`, `bias`); `settings` the keys that are about the whole file; `dropped` those that are left out
    on purpose, each with the reason; `unmatched` all others. `formats` are the formats found, in words.
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


def made_for(keys: Iterable[str]) -> str | None:
    """The model of another family that has layers of these names; None where the names tell of none."""
    text = "\n".join(keys)
    return next((model for model, pattern in _OTHER_MODELS if pattern.search(text)), None)


def why_unmatched(unmatched: Sequence[str], known: Iterable[str]) -> str:
    """Why these keys cannot be used, in words for a person, with the first of them; `known` are the matched layers."""
    for words, pattern in _UNSUPPORTED:
        key = next((key for key in unmatched if re.search(pattern, key)), None)
        if key is not None:
            return f"it uses {words} ({shown(key)}), which cannot be turned into a LoRA here — ask for a LoRA version"
    fused = next((key for key in unmatched if _FUSED.search(key)), None)
    if fused is not None:
        return (
            f"{shown(fused)} is for layers that its trainer had fused; Krea 2 has them apart — "
            "save it with unfused layers, or ask its author to"
        )
    first = f"{len(unmatched):,} of its keys match no layer of Krea 2, the first is {shown(unmatched[0])}"
    names = _spellings(frozenset(known))
    if any(_meaning(key, names)[0] is not None for key in unmatched):
        return f"some of its layers come twice, such as {shown(unmatched[0])} — ask for a file with one adapter in it"
    if all(key.endswith((".weight", ".bias")) and "lora" not in key for key in unmatched):
        return f"{first}; it looks like the weights of a model, not like a LoRA — give a LoRA"
    return f"{first} — use a LoRA that was trained on Krea 2"


def _meaning(key: str, names: Mapping[str, tuple[str, str]]) -> tuple[str | None, str, str]:
    """Layer, part and format of a key; no layer where it is in no table."""
    for part, pattern in _PARTS:
        ended = pattern.fullmatch(key)
        if ended is None:
            continue
        name = ended["name"]
        for prefix, writer in _CONTAINERS:
            spelled = name.removeprefix(prefix)
            if name.startswith(prefix) and spelled in names:
                layer, naming = names[spelled]
                return layer, part, f"{writer} ({prefix}…), {naming}" if prefix else f"{writer}, {naming}"
    return None, "", ""


@lru_cache(maxsize=16)
def _spellings(layers: frozenset[str]) -> dict[str, tuple[str, str]]:
    """Every way to spell each layer → the layer and whose names they are."""
    found = {}
    for layer in sorted(layers):
        for name, naming in ((original_name(layer), ORIGINAL_NAMES), (layer, DIFFUSERS_NAMES)):
            found[name] = found[name.replace(".", "_")] = (layer, naming)
    return found
