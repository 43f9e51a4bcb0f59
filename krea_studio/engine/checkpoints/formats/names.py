"""What the layouts call things: Krea's own names of a transformer's parameters, other models, other kinds of files.

Krea's own code (krea-ai/krea-2, `mmdit.py`) and diffusers' `Krea2Transformer2DModel` call the same parameters
differently, and every program puts a prefix of its own before them. Knows names only: no tensors, no shapes, no files.
"""

import re
from collections.abc import Iterable, Mapping

# Of layers, diffusers' name → Krea's own.
ORIGINAL_STEMS = {"transformer_blocks.": "blocks.", "text_fusion.": "txtfusion."}
ORIGINAL_LEAVES = {
    "attn.to_q": "attn.wq",
    "attn.to_k": "attn.wk",
    "attn.to_v": "attn.wv",
    "attn.to_out.0": "attn.wo",
    "attn.to_gate": "attn.gate",
    "ff.gate": "mlp.gate",
    "ff.up": "mlp.up",
    "ff.down": "mlp.down",
}
ORIGINAL_ALONE = {
    "img_in": "first",
    "time_embed.linear_1": "tmlp.0",
    "time_embed.linear_2": "tmlp.2",
    "time_mod_proj": "tproj.1",
    "txt_in.linear_1": "txtmlp.1",
    "txt_in.linear_2": "txtmlp.3",
    "text_fusion.projector": "txtfusion.projector",
    "final_layer.linear": "last.linear",
}
# Of norms, whose parameter is `scale` there and `weight` in diffusers.
_NORM_LEAVES = {
    "attn.norm_q": "attn.qknorm.qnorm",
    "attn.norm_k": "attn.qknorm.knorm",
    "norm1": "prenorm",
    "norm2": "postnorm",
}
_NORMS_ALONE = {"txt_in.norm": "txtmlp.0", "final_layer.norm": "last.norm"}
_TABLES = {"mod.lin": "scale_shift_table"}
_FINAL_TABLE = ("last.modulation.lin", "final_layer.scale_shift_table")

_LAYERS = {original: name for name, original in (ORIGINAL_ALONE | _NORMS_ALONE).items()}
_LEAVES = {original: name for name, original in (ORIGINAL_LEAVES | _NORM_LEAVES).items()}
_BLOCK = re.compile(r"(blocks|txtfusion\.layerwise_blocks|txtfusion\.refiner_blocks)\.(\d{1,4})\.(.+)")
_STOCK_BLOCK = re.compile(r"((?:transformer_blocks|text_fusion\.(?:layerwise|refiner)_blocks)\.\d{1,4})\.(.+)")

# By either of these a file is known for Krea 2's transformer; what stands before it is the prefix of all its names.
MARKS = {"txtfusion.projector.weight": True, "text_fusion.projector.weight": False}
# In Krea's own file and those made of it: beside the model, and read by nothing.
UNUSED = ("last.up.weight", "last.down.weight")

# Of Wan's autoencoder, Wan's name → diffusers'; what is not here is called the same.
_DECODER_LEAVES = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_DECODER_STEMS = {
    "downsamples": "down_blocks",
    "middle.0": "mid_block.resnets.0",
    "middle.1": "mid_block.attentions.0",
    "middle.2": "mid_block.resnets.1",
}
_DECODER_ALONE = {"conv1": "conv_in", "head.0": "norm_out", "head.2": "conv_out"}
_DECODER_ENDS = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
_UPSAMPLE = re.compile(r"upsamples\.(\d{1,4})\.(.+)")

# Patterns are looked for in all names at once, a line each, which is many times quicker than one name after the other.
_LORA = re.compile(r"[._](?:lora_|lokr_|hada_|oft_|dora_scale)|^lora_|\.diff(?:_b)?$", re.MULTILINE)
# Other models by names of their parameters; the first that is found counts.
_FAMILIES = tuple(
    (family, re.compile(pattern, re.MULTILINE))
    for family, pattern in (
        ("Chroma", r"distilled_guidance_layer"),
        ("FLUX", r"double_blocks\.\d+\.(?:img|txt)_|single_transformer_blocks\.\d"),
        ("Stable Diffusion 3", r"joint_blocks\.\d"),
        ("SDXL", r"conditioner\.embedders\."),
        ("Stable Diffusion", r"(?:input|output|middle)_blocks?\.\d|down_blocks\.\d+\.attentions"),
        ("Qwen-Image", r"transformer_blocks\.\d+\.(?:img|txt)_(?:mlp|mod)"),
        ("Wan", r"blocks\.\d+\.(?:self|cross)_attn\."),
        ("Z-Image or Lumina", r"(?:noise|context)_refiner\.\d"),
        ("LTX-Video or PixArt", r"transformer_blocks\.\d+\.attn[12]\."),
        ("a CLIP or T5 text encoder", r"text_model\.encoder\.|encoder\.block\.\d+\.layer\."),
        ("llama.cpp, whose text encoders are not read here", r"blk\.\d+\.(?:attn|ffn)_"),
        ("a language model that is no Qwen3-VL", r"layers\.\d+\.(?:self_attn|mlp)\."),
        ("another model's image decoder", r"decoder\.(?:up|up_blocks|mid)[._]"),
    )
)
# Engines' own formats, each with a name that only it has.
_FOREIGN = tuple(
    (name, re.compile(pattern, re.MULTILINE))
    for name, pattern in (
        ("SVDQuant", r"\.svdq_l[12]$"),
        ("SDNQ", r"\.svd_(?:up|down)$|\.zero_point$"),
        ("Nunchaku", r"to_qkv_gate\.|\.(?:smooth_factor|wscales|wtscale|proj_down|proj_up)(?:_orig)?$|\.qweight$"),
        ("ModelOpt AWQ", r"\.pre_quant_scale$"),
        ("bitsandbytes", r"\.absmax$|\.quant_map$|\.quant_state\."),
        ("QuantFunc", r"quantfunc"),
        ("OrbitQuant", r"orbit"),
    )
)


def parameter_name(original: str) -> str | None:
    """diffusers' name of a transformer's parameter, from Krea's own; None for a name that is in no table.

    `blocks.0.attn.wq.weight` → `transformer_blocks.0.attn.to_q.weight`.
    """
    if original == _FINAL_TABLE[0]:
        return _FINAL_TABLE[1]
    block = _BLOCK.fullmatch(original)
    stem, rest = "", original
    if block:
        stem = f"{block[1]}.{block[2]}.".replace("txtfusion.", "text_fusion.")
        stem = f"transformer_{stem}" if block[1] == "blocks" else stem
        rest = block[3]
        if rest in _TABLES and block[1] == "blocks":
            return stem + _TABLES[rest]
    module, _, parameter = rest.rpartition(".")
    layer = (_LEAVES if block else _LAYERS).get(module)
    norms = _NORM_LEAVES if block else _NORMS_ALONE
    if layer is None or (parameter == "scale") != (layer in norms):
        return None
    return f"{stem}{layer}.{'weight' if parameter == 'scale' else parameter}"


def original_parameter(name: str) -> str:
    """Krea's own name of a transformer's parameter, from diffusers'; the inverse of `parameter_name`.

    Raises KeyError for a name that is in no table.
    """
    if name == _FINAL_TABLE[1]:
        return _FINAL_TABLE[0]
    layer, _, parameter = name.rpartition(".")
    alone, norm = ORIGINAL_ALONE | _NORMS_ALONE, "scale" if parameter == "weight" else parameter
    if layer in alone:
        return f"{alone[layer]}.{norm if layer in _NORMS_ALONE else parameter}"
    block = _STOCK_BLOCK.fullmatch(name)
    if block is None:
        raise KeyError(name)
    stem, rest = block[1].replace("transformer_blocks", "blocks").replace("text_fusion", "txtfusion"), block[2]
    table = {ours: original for original, ours in _TABLES.items()}
    if rest in table:
        return f"{stem}.{table[rest]}"
    layer = rest.rpartition(".")[0]
    if layer in _NORM_LEAVES:
        return f"{stem}.{_NORM_LEAVES[layer]}.{norm}"
    return f"{stem}.{ORIGINAL_LEAVES[layer]}.{parameter}"


def transformer_prefix(names: Iterable[str]) -> tuple[str, bool] | None:
    """What stands before each of a transformer's names, and whether those are Krea's own; None for no Krea 2."""
    for name in names:
        for mark, original in MARKS.items():
            if name.endswith(mark) and (len(name) == len(mark) or name[-len(mark) - 1] == "."):
                return name.removesuffix(mark), original
    return None


def encoder_prefixes(names: Iterable[str]) -> Mapping[str, str] | None:
    """What stands before the names of a Qwen3-VL text encoder → what stands there in `Qwen3VLModel`; None for no such.

    Its language model is recognised by the norms of its queries, which other encoders lack.
    """
    mark, tower = "layers.0.self_attn.q_norm.weight", "visual.patch_embed.proj.weight"
    names = list(names)
    language = next((name.removesuffix(mark) for name in names if name.endswith(mark)), None)
    if language is None:
        return None
    prefixes = {language: "language_model."}
    vision = next((name.removesuffix(tower) for name in names if name.endswith(tower)), None)
    if vision is not None:
        prefixes[f"{vision}visual."] = "visual."
    # Of two that both fit, the longer one is meant: `model.` and `model.visual.`.
    return dict(sorted(prefixes.items(), key=lambda pair: -len(pair[0])))


def decoder_prefix(names: Iterable[str]) -> str | None:
    """What stands before the names of a Wan or Qwen-Image autoencoder, in ComfyUI's layout or diffusers'; else None."""
    marks = ("decoder.middle.0.residual.0.gamma", "decoder.mid_block.resnets.0.norm1.gamma")
    return next((name.removesuffix(mark) for name in names for mark in marks if name.endswith(mark)), None)


def decoder_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers' names of an autoencoder's parameters, from Wan's; names that are diffusers' already stay.

    Wan numbers the layers of the decoder through, and diffusers begins anew after each that enlarges.
    """
    names = list(names)
    if any("mid_block" in name for name in names):
        return {name: name for name in names}
    ups = (re.fullmatch(r"decoder\.upsamples\.(\d{1,4})\.resample\..+", name) for name in names)
    enlarging = sorted({int(up[1]) for up in ups if up})
    return {name: _decoder_name(name, enlarging) for name in names}


def _decoder_name(name: str, enlarging: list[int]) -> str:
    side, _, rest = name.partition(".")
    if side in _DECODER_ENDS:
        return f"{_DECODER_ENDS[side]}.{rest}"
    module, _, leaf = rest.rpartition(".")
    if module in _DECODER_ALONE:
        return f"{side}.{_DECODER_ALONE[module]}.{leaf}"
    if up := _UPSAMPLE.fullmatch(rest):
        number = int(up[1])
        block = sum(each < number for each in enlarging)
        begin = enlarging[block - 1] + 1 if block else 0
        place = "upsamplers.0" if number in enlarging else f"resnets.{number - begin}"
        rest = f"up_blocks.{block}.{place}.{up[2]}"
    for old, new in _DECODER_STEMS.items():
        if rest.startswith(f"{old}."):
            rest = new + rest[len(old) :]
    for old, new in _DECODER_LEAVES.items():
        rest = rest.replace(f".{old}.", f".{new}.")
    return f"{side}.{rest}"


def is_lora(names: Iterable[str]) -> bool:
    """Whether these are the names of a LoRA's matrices."""
    return _LORA.search("\n".join(names)) is not None


def foreign_format(names: Iterable[str], metadata: Mapping[str, str]) -> str | None:
    """The engine whose own format this is, where a name or the file's word for itself says so."""
    lines = "\n".join(names)
    if any(key.startswith("comfy.gguf.quant.") for key in metadata):
        return "Q8_CR"
    stated = " ".join(f"{key} {value[:200]}" for key, value in metadata.items() if "quant" in key.lower())
    for name, pattern in _FOREIGN:
        if pattern.search(lines) or re.search(rf"\b{re.escape(name)}\b", stated, re.IGNORECASE):
            return name
    return None


def family(names: Iterable[str]) -> str | None:
    """The other model whose names these are; None where it is not known."""
    lines = "\n".join(names)
    return next((name for name, pattern in _FAMILIES if pattern.search(lines)), None)
