"""Keys of LoRA-like files that the studio cannot use: which kind of adapter, or which other model, they tell of.

A refusal says what a file is, not only that it is unknown. Keys are those that peft 0.21 and LyCORIS 4.1 write, and
what peft wrote before. Knows names only.
"""

import re
from collections.abc import Iterable

# Kinds by how the last names of a key begin, in peft's own letters; what is more telling comes first.
TUNERS = {
    "adamss_": "AdaMSS",
    "beft_": "BEFT",
    "boft_": "BOFT as peft writes it",
    "bone_": "Bone",
    "c3a_": "C3A",
    "deft_": "DEFT",
    "delora_": "DeLoRA",
    "fourierft_": "FourierFT",
    "frod_": "FRoD",
    "glora_": "GLoRA as peft writes it",
    "gralora_": "GraLoRA",
    "hira_": "HiRA",
    "hra_": "HRA",
    "ia3_": "IA³",
    "internal_xlora_classifier": "X-LoRA",
    "lily_": "Lily",
    "ln_tuning_": "LN tuning, changes of norms",
    "lora_diag": "KaSA",
    "lora_E": "AdaLoRA",
    "lora_embedding_": "LoRA of an embedding",
    "lora_monteclora": "MonteCLoRA",
    "lora_velora": "VeLoRA",
    "miss_": "MiSS",
    "oft_": "OFT as peft writes it",
    "osf_": "OSF",
    "peanut_": "PEANuT",
    "poly_": "Poly",
    "prompt_embeddings": "prompt tuning",
    "psoft_": "PSOFT",
    "pvera_": "PVeRA",
    "randlora_": "RandLoRA",
    "road_": "RoAd",
    "shadow_": "ShadowPEFT",
    "shira_": "SHiRA",
    "supertuning_": "SuperTuning",
    "tinylora_": "TinyLoRA",
    "trainable_tokens_": "trainable tokens",
    "unilora_": "UniLoRA",
    "vblora_": "VB-LoRA",
    "vera_": "VeRA",
    "waveft_": "WaveFT",
}
_KINDS = (
    *((name, re.compile(rf"(?:^|\.){begin}")) for begin, name in TUNERS.items()),
    # AdaLoRA's matrices have no `.weight`, which its other keys tell too late.
    ("AdaLoRA", re.compile(r"\.lora_[AB](?:\.(?!weight$)[^.]+)?$")),
    ("IA³", re.compile(r"\.on_input$")),
    ("T-LoRA", re.compile(r"\.(?:[pq]_layer\.weight|lambda_layer)$")),
    ("a Tucker core, which is made for convolutions", re.compile(r"\.(?:lokr_t[12]|hada_t[12]|lora_mid\.|bm\.weight)")),
    ("changes of norms", re.compile(r"\.[wb]_norm$|norm\w*\.diff$|\.scale\.diff$")),
    ("weights that are set, not changed", re.compile(r"\.(?:set_weight|reshape_weight)$")),
)

# Other models by the names of their layers; the first that is found counts, so what is more telling comes first.
_MODELS = tuple(
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


def kind(key: str) -> str | None:
    """The kind of adapter that has keys of this name and cannot be used; None where the name tells of none."""
    return next((name for name, pattern in _KINDS if pattern.search(key)), None)


def made_for(keys: Iterable[str]) -> str | None:
    """The model of another family that has layers of these names; None where the names tell of none."""
    text = "\n".join(keys)
    return next((model for model, pattern in _MODELS if pattern.search(text)), None)
