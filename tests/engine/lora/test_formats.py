"""Names of layers in LoRA files: each spelling means one layer, and no key goes unaccounted for."""

import pytest
from diffusers.loaders.single_file_utils import convert_krea2_transformer_checkpoint_to_diffusers
from hypothesis import given, settings
from hypothesis import strategies as st

from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.engine.lora.formats import fused, match, original_name, why_unmatched
from krea_studio.engine.lora.layers import architectures
from krea_studio.engine.lora.strangers import made_for

LAYERS = tuple(architectures([CHECKPOINTS["krea-2-raw"]])[0].layers)


def test_original_names_are_those_that_diffusers_converts() -> None:
    original = {f"{original_name(layer)}.weight": layer for layer in LAYERS}
    assert len(original) == len(LAYERS)
    converted = convert_krea2_transformer_checkpoint_to_diffusers(dict(original))
    assert converted == {f"{layer}.weight": layer for layer in LAYERS}


@settings(max_examples=25)
@given(
    layers=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=8, unique=True),
    original=st.booleans(),
    prefix=st.sampled_from(["transformer.", "diffusion_model.", "base_model.model.", "", "lora_unet_", "lycoris_"]),
    strangers=st.lists(st.text(min_size=1, max_size=30), max_size=4, unique=True),
)
def test_every_spelling_means_its_layer_and_every_key_is_accounted_for(
    layers: list[str], original: bool, prefix: str, strangers: list[str]
) -> None:
    def spelled(layer: str) -> str:
        name = original_name(layer) if original else layer
        return prefix + (name.replace(".", "_") if prefix in ("lora_unet_", "lycoris_") else name)

    parts = {"lora_down.weight": "down", "lora_up.weight": "up", "alpha": "alpha"}
    keys = [f"{spelled(layer)}.{end}" for layer in layers for end in parts] + strangers
    found = match(keys, LAYERS)
    assert set(found.layers) == set(layers)
    assert all(set(found.layers[layer]) == set(parts.values()) for layer in layers)
    assert set(found.unmatched) | set(found.dropped) | set(found.settings) == set(strangers)
    assert found.matched + len(found.dropped) + len(found.unmatched) == len(keys)
    assert len(found.formats) == 1


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("lora_A.weight", "down"),
        ("lora_A.default.weight", "down"),
        ("lora_B.style_1.weight", "up"),
        ("lora.down.weight", "down"),
        ("lora_linear_layer.up.weight", "up"),
        ("dora_scale", "magnitude"),
        ("lora_magnitude_vector", "magnitude"),
        ("lora_magnitude_vector.default", "magnitude"),
        ("lora_magnitude_vector.default.weight", "magnitude"),
        ("lokr_w2_a", "w2_a"),
        ("diff", "diff"),
        ("diff_b", "bias"),
        ("lora_B.bias", "bias"),
    ],
)
def test_what_a_tensor_is(key: str, part: str) -> None:
    layer = "transformer_blocks.3.attn.to_out.0"
    assert match([f"transformer.{layer}.{key}"], LAYERS).layers == {layer: {part: f"transformer.{layer}.{key}"}}


def test_two_adapters_in_one_file_are_not_taken_for_one() -> None:
    keys = [f"transformer.img_in.lora_{side}.{name}.weight" for name in ("first", "second") for side in "AB"]
    found = match(keys, LAYERS)
    assert list(found.unmatched) == keys[2:]
    assert "come twice" in why_unmatched(found, LAYERS)


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight", "SDXL"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "SDXL"),
        ("unet.down_blocks.2.attentions.1.transformer_blocks.7.attn1.to_q.lora_A.weight", "SDXL"),
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight", "Stable Diffusion 1 or 2"),
        ("transformer.single_transformer_blocks.9.attn.to_q.lora_A.weight", "FLUX"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "FLUX"),
        ("diffusion_model.single_blocks.0.linear1.lora_B.weight", "FLUX"),
        ("diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight", "Stable Diffusion 3"),
        ("transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight", "Qwen-Image"),
        ("transformer_blocks.59.img_mlp.net.2.lora_A.weight", "Qwen-Image"),
        ("diffusion_model.blocks.0.cross_attn.k.lora_down.weight", "Wan"),
        ("lora_unet_layers_0_attention_qkv.alpha", "Z-Image or Lumina"),
        ("transformer.transformer_blocks.0.attn1.to_k.lora_A.weight", "LTX-Video or PixArt"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "a language model"),
    ],
)
def test_loras_of_other_models_are_named(key: str, model: str) -> None:
    found = match([key], LAYERS)
    assert not found.layers
    assert made_for([*found.unmatched, *found.dropped]) == model


def test_no_layer_of_krea_2_is_taken_for_another_model() -> None:
    for layer in LAYERS:
        for name in (layer, original_name(layer)):
            for key in (f"transformer.{name}.lora_A.weight", f"lora_unet_{name.replace('.', '_')}.alpha"):
                assert made_for([key]) is None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("diffusion_model.blocks.0.attn.wq.lokr_t2", "Tucker"),
        ("diffusion_model.blocks.0.prenorm.diff", "changes of norms"),
        ("diffusion_model.blocks.0.attn.wq.weight", "looks like the weights of a model"),
        ("diffusion_model.blocks.0.mod.lin.lora_A.weight", "match no layer of Krea 2"),
        ("transformer.blocks.0.attn.to_q.lora_A.weight", "match no layer of Krea 2"),
        ("transformer.transformer_blocks.0.attn.to_q.tomorrow_A", "in a way that is not known here ('transformer."),
        ("module.blocks.0.attn.wq.lora_C.weight", "in a way that is not known here"),
        ("lora_unet_blocks_0_attn_wq.some.thing", "in a way that is not known here"),
        ("x\x1b[2J" * 200, "match no layer of Krea 2"),
    ],
)
def test_why_a_key_cannot_be_used(key: str, words: str) -> None:
    found = match([key], LAYERS)
    assert list(found.unmatched) == [key]
    told = why_unmatched(found, LAYERS)
    assert words in told and " — " in told
    assert told.isprintable() and len(told) < 400


@pytest.mark.parametrize(
    "prefix",
    [
        "module.", "_orig_mod.", "transformer._orig_mod.", "transformer.module.", "transformer._fsdp_wrapped_module.",
        "transformer.base_model.model.", "base_model.model.transformer._orig_mod.module.", "dit.", "pipe.dit.", "net.",
        "model.diffusion_model.", "base_model.model.base_model.model.", "module._checkpoint_wrapped_module.", "unet.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("layer", ["transformer_blocks.3.attn.to_out.0", "text_fusion.projector"])
def test_names_are_found_behind_all_that_wraps_them(prefix: str, layer: str) -> None:
    for name in (layer, original_name(layer)):
        found = match([f"{prefix}{name}.lora_A.weight"], LAYERS)
        assert list(found.layers) == [layer]
        assert f"({prefix}…)" in found.formats[0]


@pytest.mark.parametrize(
    "name",
    [
        "transformer.transformer_blocks.3._orig_mod.attn.to_q",
        "transformer_blocks.3._fsdp_wrapped_module._checkpoint_wrapped_module.attn.to_q",
        "diffusion_model.blocks.3.module.attn.wq",
        "lora_unet__orig_mod_blocks_3_attn_wq",
        "lycoris_module_transformer_blocks_3__orig_mod_attn_to_q",
        "lora_unet_diffusion_model_blocks_3_attn_wq",
    ],
)
def test_wrapped_blocks_are_found_too(name: str) -> None:
    assert list(match([f"{name}.lora_down.weight"], LAYERS).layers) == ["transformer_blocks.3.attn.to_q"]


@pytest.mark.parametrize(
    "name", ["transformer.module", "module.module.", "base_model.model.blocks", "transformer.x.img_in"]
)
def test_wrappers_around_no_layer_are_no_layer(name: str) -> None:
    found = match([f"{name}.lora_A.weight"], LAYERS)
    assert not found.layers and len(found.unmatched) == 1


@pytest.mark.parametrize(
    ("name", "layer", "parts"),
    [
        ("transformer.transformer_blocks.3.attn.to_qkv", "transformer_blocks.3.attn.to_qkv", "to_q to_k to_v"),
        ("lora_unet_blocks_3_attn_wqkv", "transformer_blocks.3.attn.wqkv", "to_q to_k to_v"),
        (
            "diffusion_model.txtfusion.refiner_blocks.1.attn.qkv",
            "text_fusion.refiner_blocks.1.attn.qkv",
            "to_q to_k to_v",
        ),
        ("base_model.model.transformer_blocks.3.attn.to_kv", "transformer_blocks.3.attn.to_kv", "to_k to_v"),
        ("lycoris_transformer_blocks_3_ff_gate_up", "transformer_blocks.3.ff.gate_up", "gate up"),
        ("transformer.img_in", "img_in", "img_in"),
    ],
)
def test_fused_layers_are_told_by_their_names(name: str, layer: str, parts: str) -> None:
    assert list(match([f"{name}.lora_A.weight"], LAYERS).layers) == [layer]
    assert " ".join(part.rsplit(".", 1)[-1] for part in fused(layer)) == parts
    assert all(part in LAYERS for part in fused(layer))


@pytest.mark.parametrize("key", ["base_model.model.img_in.weight", "txt_in.linear_1.bias", "base_model.model.x.weight"])
def test_whole_layers_beside_a_lora_are_told(key: str) -> None:
    """As peft saves `modules_to_save`, or biases that were trained."""
    found = match([f"base_model.model.img_in.lora_{side}.weight" for side in "AB"] + [key], LAYERS)
    assert "it sets whole layers too, such as '" in why_unmatched(found, LAYERS)
