from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLQwenImage
from PIL import Image

from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.pipeline.savings import Savings, applied
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder, SingleFrameEncoder, _Attention
from krea_studio.settings import Settings
from tests.engine.conftest import small_plan

CASES = {
    "turbo": {"variant": "turbo", "steps": 3},
    "guidance": {"variant": "medium", "steps": 2, "guidance_scale": 4.5},
    "guidance with a negative prompt": {
        "variant": "medium",
        "steps": 2,
        "guidance_scale": 2.0,
        "negative_prompt": "a much longer text than the prompt itself has, about a grey sky over a wall",
    },
}


def stock(loaded, shot):
    """A bare call of the stock pipeline with the shot's arguments."""
    image = loaded.pipeline(
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        width=shot.width,
        height=shot.height,
        num_inference_steps=shot.steps,
        guidance_scale=shot.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
    ).images[0]
    return np.asarray(image, np.int16)


def drawn(loaded, shot, savings):
    drawing = Drawing(Settings(), savings)
    return np.asarray(drawing.picture(loaded, shot, {}.__getitem__), np.int16)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_savings_change_rounding_and_nothing_else(load, case):
    loaded, shot = load(case["variant"]), small_plan(**case).shots[0]
    bare = stock(loaded, shot)
    assert np.abs(drawn(loaded, shot, Savings()) - bare).max() <= 1
    for name in vars(Savings()):
        assert np.abs(drawn(loaded, shot, Savings(**{name: False})) - bare).max() <= 1
        assert np.abs(drawn(loaded, shot, Savings(**{**vars(Savings.none()), name: True})) - bare).max() <= 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_without_savings_it_is_the_bare_pipeline_bit_for_bit(load, case):
    loaded, shot = load(case["variant"]), small_plan(**case).shots[0]
    bare = stock(loaded, shot)
    drawn(loaded, shot, Savings())
    assert (stock(loaded, shot) == bare).all(), "the savings left something behind in the stock pipeline"
    assert (drawn(loaded, shot, Savings.none()) == bare).all()


def test_the_transformer_is_as_before_after_an_exception(load):
    transformer = load("turbo").pipeline.transformer
    before = {name: dict(vars(module)) for name, module in transformer.named_modules()}
    hooks = dict(transformer._forward_pre_hooks)
    with pytest.raises(ZeroDivisionError), applied(transformer, Savings()):
        assert vars(transformer.txt_in) != before["txt_in"]
        raise ZeroDivisionError
    assert {name: dict(vars(module)) for name, module in transformer.named_modules()} == before
    assert dict(transformer._forward_pre_hooks) == hooks


def test_text_is_fused_once_for_each_branch(load):
    loaded, calls = load("medium"), []
    hook = loaded.pipeline.transformer.text_fusion.layerwise_blocks[0].register_forward_hook(
        lambda *ignored: calls.append(1)
    )
    shot = small_plan(variant="medium", steps=4, guidance_scale=3.0).shots[0]
    drawn(loaded, shot, Savings())
    assert len(calls) == 2
    drawn(loaded, shot, Savings(text_once=False))
    assert len(calls) == 2 + 8
    hook.remove()


CONFIGURATIONS = {
    "embedded": dict(base_dim=8, dim_mult=[1, 1, 2, 4, 4], num_res_blocks=1, temperal_downsample=[False] * 4),
    "published": dict(base_dim=8, dim_mult=[1, 2, 4, 4], num_res_blocks=2, temperal_downsample=[False, True, True]),
    "smallest": dict(base_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True]),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_single_frame_is_decoded_as_the_video_decoder_does(configuration):
    torch.manual_seed(0)
    mean, std = torch.randn(16).tolist(), (torch.rand(16) + 0.5).tolist()
    vae = AutoencoderKLQwenImage(**configuration, z_dim=16, latents_mean=mean, latents_std=std).eval()
    for name, parameter in vae.named_parameters():
        if "gamma" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    latents = torch.randn(2, 16, 6, 10)
    with torch.no_grad():
        scaled = latents * torch.tensor(std).view(1, -1, 1, 1) + torch.tensor(mean).view(1, -1, 1, 1)
        expected = vae.decode(scaled[:, :, None]).sample[:, :, 0] / 2 + 0.5
        found = SingleFrameDecoder(vae)(latents)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4
    scale = vae.spatial_compression_ratio
    assert SingleFrameDecoder(vae).picture(latents[:1]).size == (10 * scale, 6 * scale)


def test_an_attention_that_adds_nothing_is_left_out(load: Any) -> None:
    vae = deepcopy(load("turbo").pipeline.vae)
    (attention,) = vae.decoder.mid_block.attentions
    calls: list[object] = []
    latents = torch.randn(1, vae.config.z_dim, 6, 10, generator=torch.Generator().manual_seed(2))
    for silent in (False, True):
        if silent:
            for parameter in attention.proj.parameters():
                parameter.data.zero_()
        decoder, calls = SingleFrameDecoder(vae), []
        (layer,) = (each for each in decoder.layers if isinstance(each, _Attention))
        layer.to_qkv.register_forward_hook(lambda *_, calls=calls: calls.append(None))
        with torch.no_grad():
            expected = vae.decode((latents * decoder.std + decoder.mean)[:, :, None]).sample[:, :, 0]
            found = decoder(latents)
        assert (found - (expected / 2 + 0.5).clamp(0, 1)).abs().max() < 1e-4
        assert len(calls) == (0 if silent else 1)


def test_a_single_frame_is_encoded_as_the_stock_vae_does(load: Any) -> None:
    vae = load("turbo").pipeline.vae
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8))
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None, :, None] / 127.5 - 1
    encoder = SingleFrameEncoder(vae)
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mode()[:, :, 0]
    assert ((encoder(picture) * encoder.std + encoder.mean) - expected).abs().max() < 1e-4
