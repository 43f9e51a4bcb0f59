"""What is known of ComfyUI's nodes: which of their inputs means what, by the names of their classes.

Sources: `nodes.py` and `comfy_extras/` of ComfyUI, and the published nodes of the Impact, Efficiency, WAS, KJ, rgthree,
Comfyroll and pysssss packs.
"""

import re
from collections.abc import Iterator
from typing import Any

from krea_studio.library.foreign.comfyui_graph import Link, Node
from krea_studio.library.foreign.settings import Lora, file_stem, real, text_of

SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
EFFICIENT = ("KSampler (Efficient)", "KSampler Adv. (Efficient)", "KSampler SDXL (Eff.)")
LIKE_A_SAMPLER = frozenset(("steps", "cfg", "positive", "negative", "latent_image"))
"""The inputs that make another node be read as a sampler, which is told."""

DECODERS = frozenset(("VAEDecode", "VAEDecodeTiled", "LatentUpscale", "LatentUpscaleBy"))
LATENTS = ("latent_image", "latent", "samples", "latents")
CONDITIONINGS = ("conditioning", "conditioning_to", "conditioning_1", "conditioning_2", "conditioning_from")
SIDED = frozenset(
    ("ControlNetApplyAdvanced", "ControlNetApplySD3", "ControlNetInpaintingAliMamaApply", "InpaintModelConditioning")
)
SIDES = ("positive", "negative")
"""What nodes that take both hand on, by slot."""
TEXTS = {
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": ("text_g", "text_l"),
    "CLIPTextEncodeSDXLRefiner": ("text",),
    "CLIPTextEncodeFlux": ("t5xxl", "clip_l"),
    "CLIPTextEncodeSD3": ("t5xxl", "clip_g", "clip_l"),
    "CLIPTextEncodeHiDream": ("t5xxl", "llama", "clip_g", "clip_l"),
    "CLIPTextEncodeLumina2": ("user_prompt", "system_prompt"),
    "CLIPTextEncodePixArtAlpha": ("text",),
    "TextEncodeQwenImageEdit": ("prompt",),
    "TextEncodeQwenImageEditPlus": ("prompt",),
    "BNK_CLIPTextEncodeAdvanced": ("text",),
    "smZ CLIPTextEncode": ("text",),
    "ImpactWildcardEncode": ("populated_text",),
}
"""The texts that a node encodes: the first is the prompt, what others say otherwise is told."""
VALUES = {
    **dict.fromkeys(("PrimitiveInt", "PrimitiveFloat", "PrimitiveString", "PrimitiveStringMultiline"), "value"),
    **dict.fromkeys(("INTConstant", "FloatConstant"), "value"),
    **dict.fromkeys(("StringConstant", "StringConstantMultiline", "String Literal"), "string"),
    **dict.fromkeys(("ShowText|pysssss", "CR Text"), "text"),
    **dict.fromkeys(("Seed (rgthree)", "CR Seed", "easy seed"), "seed"),
    "ImpactWildcardProcessor": "populated_text",
    "Reroute": "",
}
"""The input that a node hands on as it is; an empty name stands for its only one."""
JOINED = {
    "StringConcatenate": (("string_a", "string_b"), "delimiter"),
    "JoinStrings": (("string1", "string2"), "delimiter"),
    "CR Text Concatenate": (("text1", "text2"), "separator"),
}
"""Nodes that join texts: which, and what stands between them."""
MODEL_NAMES = ("ckpt_name", "unet_name", "model_name", "model_path", "gguf_name")
LORA_INPUTS = ("lora", "strength", "model_str")
"""How the names of a LoRA's inputs begin."""
LORA_INPUT = re.compile(r"lora_name|lora(?:_name)?_(?P<number>\d{1,3})")
LORA_STRENGTHS = ("strength_model", "strength", "lora_strength")


def loras_of(node: Node) -> Iterator[Lora]:
    """The LoRAs that a node applies to a model, those at 0 left out.

    One as ComfyUI's own loaders have it, `lora_01` with `strength_01` as in stacks, or objects with `on`, `lora` and
    `strength` as in rgthree's Power Lora Loader.
    """
    for name, value in node.inputs.items():
        found = LORA_INPUT.fullmatch(name)
        if found and isinstance(value, dict):
            file, weight = text_of(value.get("lora")), value.get("strength") if value.get("on", True) else 0
        elif found and isinstance(value, str):
            file, weight = value, _strength(node, found["number"])
        else:
            continue
        if file not in ("", "None") and real(weight) != 0:
            yield Lora(file_stem(file), None if isinstance(weight, Link) else weight)


def _strength(node: Node, number: str | None) -> Any:
    names = (f"strength_{number}", f"model_str_{number}", f"lora_wt_{number}") if number else LORA_STRENGTHS
    return next((node.inputs[name] for name in names if name in node.inputs), 1)
