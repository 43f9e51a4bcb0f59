"""What cannot be used is named as what it is: every tuner that peft has, and LyCORIS's own kinds."""

import pytest
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.engine.lora import strangers
from krea_studio.engine.lora.formats import match, why_unmatched
from krea_studio.engine.lora.layers import architectures

LAYERS = tuple(architectures([CHECKPOINTS["krea-2-raw"]])[0].layers)
LAYER = "transformer_blocks.0.attn.to_q"
READ = {"lora_", "hada_", "lokr_"}


def prefixes() -> dict[str, str]:
    """How keys begin, by peft's own word, of each of its tuners that bends layers."""
    found = {kind.value: getattr(tuner, "prefix", "") for kind, tuner in PEFT_TYPE_TO_TUNER_MAPPING.items()}
    return {kind: prefix for kind, prefix in found.items() if isinstance(prefix, str) and prefix and prefix not in READ}


@pytest.mark.parametrize(("kind", "prefix"), prefixes().items())
def test_every_tuner_of_peft_that_is_not_read_is_named(kind: str, prefix: str) -> None:
    key = f"base_model.model.{LAYER}.{prefix}x"
    found = match([key], LAYERS)
    assert list(found.unmatched) == [key]
    told = why_unmatched(found, LAYERS)
    assert "cannot be turned into a LoRA here" in told and "trained on Krea 2" not in told
    assert strangers.kind(key) is not None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"base_model.model.{LAYER}.lora_A", "AdaLoRA"),
        (f"base_model.model.{LAYER}.lora_B.default", "AdaLoRA"),
        (f"base_model.model.{LAYER}.lora_E", "AdaLoRA"),
        (f"base_model.model.{LAYER}.bone_block", "Bone"),
        ("base_model.vera_A", "VeRA"),
        (f"base_model.model.{LAYER}.pvera_lambda_b", "PVeRA"),
        (f"base_model.model.{LAYER}.glora_A.Xd", "GLoRA as peft writes it"),
        (f"base_model.model.{LAYER}.oft_R.weight", "OFT as peft writes it"),
        ("lycoris_transformer_blocks_0_attn_to_q.on_input", "IA³"),
        ("lycoris_transformer_blocks_0_attn_to_q.lambda_layer", "T-LoRA"),
        ("lycoris_transformer_blocks_0_attn_to_q.hada_t1", "Tucker"),
        ("diffusion_model.img_in.reshape_weight", "set, not changed"),
    ],
)
def test_kinds_by_their_keys(key: str, words: str) -> None:
    assert words in (strangers.kind(key) or "")


@pytest.mark.parametrize(
    "end", ["lora_A.weight", "lora_B.default.weight", "lora_down.weight", "alpha", "diff", "dora_scale"]
)
def test_no_key_of_a_lora_is_taken_for_another_kind(end: str) -> None:
    assert all(strangers.kind(f"transformer.{layer}.{end}") is None for layer in LAYERS)
