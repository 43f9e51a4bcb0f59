"""Names of the layouts: every parameter of Krea's own layout and of Wan's decoder is one of the stock class's."""

import pytest
import torch
from safetensors.torch import load_file

from krea_studio.engine.checkpoints.formats import names
from krea_studio.engine.checkpoints.formats.configs import published_shapes
from tests.model_files import MEDIUM, comfy_decoder, native, transformer_state


def test_every_own_name_becomes_the_stock_one() -> None:
    published = {name: torch.empty(0) for name in published_shapes()}
    for state in (published, transformer_state()):
        own = list(native(state))
        assert [names.parameter_name(name) for name in own] == list(state)
        assert names.transformer_prefix(f"net.{name}" for name in own) == ("net.", True)
        assert names.transformer_prefix(state) == ("", False)


@pytest.mark.parametrize(
    "name",
    ["blocks.0.attn.wx.weight", "blocks.0.prenorm.weight", "first.scale", "tmlp.1.weight", "blocks.x.mod.lin", ""],
)
def test_a_name_in_no_table_stays_unknown(name: str) -> None:
    assert names.parameter_name(name) is None


def test_the_decoders_layers_are_counted_as_diffusers_does() -> None:
    stock = load_file(MEDIUM / "vae" / "diffusion_pytorch_model.safetensors")
    renamed = names.decoder_names(comfy_decoder())
    assert set(renamed.values()) == set(stock) and len(renamed) == len(stock)
    assert names.decoder_names(stock) == {name: name for name in stock}
    assert renamed["decoder.upsamples.3.shortcut.weight"] == "decoder.up_blocks.1.resnets.0.conv_shortcut.weight"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("double_blocks.0.img_attn.qkv.weight", "FLUX"),
        ("model.diffusion_model.input_blocks.0.0.weight", "Stable Diffusion"),
        ("transformer_blocks.0.img_mlp.net.0.proj.weight", "Qwen-Image"),
        ("blocks.0.self_attn.q.weight", "Wan"),
        ("blk.0.attn_q.weight", "llama.cpp, whose text encoders are not read here"),
        ("something.else", None),
    ],
)
def test_other_models_are_known_by_their_names(name: str, family: str | None) -> None:
    assert names.family([name, "other.weight"]) == family


def test_a_path_is_no_prefix() -> None:
    assert names.transformer_prefix(["mytxtfusion.projector.weight"]) is None


def test_every_parameter_has_a_name_of_kreas_own_and_comes_back() -> None:
    own = {name: names.original_parameter(name) for name in published_shapes()}
    assert list(own.values()) == list(native({name: torch.empty(0) for name in own}))
    assert [names.parameter_name(original) for original in own.values()] == list(own)
    with pytest.raises(KeyError):
        names.original_parameter("transformer_blocks.0.attn.to_r.weight")
