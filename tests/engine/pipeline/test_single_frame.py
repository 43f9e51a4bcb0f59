"""Decoding in tiles gives the pixels of decoding as a whole."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLQwenImage

from krea_studio.engine.pipeline import single_frame
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder, reach_and_scale


@pytest.fixture
def decoder() -> SingleFrameDecoder:
    torch.manual_seed(0)
    return SingleFrameDecoder(AutoencoderKLQwenImage(base_dim=16))


@torch.no_grad()
@pytest.mark.parametrize("tile_cells", [8, 16, 64])
def test_tiles_have_the_pixels_of_the_whole(
    decoder: SingleFrameDecoder, monkeypatch: pytest.MonkeyPatch, tile_cells: int
) -> None:
    monkeypatch.setattr(single_frame, "TILE_CELLS", tile_cells)
    latents = torch.randn(1, 16, 29, 18)
    whole, tiled = decoder(latents), decoder(latents, tiled=True)
    assert tiled.shape == (1, 3, 29 * 8, 18 * 8)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_pixel_sees_as_far_as_is_said_and_no_farther(decoder: SingleFrameDecoder) -> None:
    local = decoder.layers[decoder.whole_layers :]
    reach, scale = reach_and_scale(local)
    assert (reach, scale) == (13, 8)
    seen = torch.randn(1, 64, 1, 40)
    plain = local(seen)
    for distance, changes in ((reach, True), (reach + 1, False)):
        other = seen.clone()
        other[..., distance] += 1e3  # the first cell's pixels are that far away, and less
        assert (local(other)[..., :scale] != plain[..., :scale]).any() == changes


def test_tiles_of_a_shipped_decoder_make_the_same_picture(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_frame, "TILE_CELLS", 8)
    loaded = load("turbo")
    latents = torch.randn(1, loaded.pipeline.vae.config.z_dim, 24, 16, generator=torch.Generator().manual_seed(0))
    whole, tiled = (loaded.decoder.picture(latents, tiled=each) for each in (False, True))
    assert whole.tobytes() == tiled.tobytes()
