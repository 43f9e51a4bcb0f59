"""The closed-form encoder, and how the decoder begins."""

from __future__ import annotations

import pytest
import torch

from krea_studio.training.checkpoints import (
    architecture,
    autoencoder,
)


@pytest.fixture(scope="module")
def basis():
    """Components of a few pictures: enough to test the arithmetic on."""
    torch.manual_seed(0)
    blocks = torch.cat([autoencoder._blocks(autoencoder.pixels_of(k)[None], 8).flatten(0, 2) for k in (0, 1)]).double()
    mean = blocks.mean(0)
    quarters = autoencoder._quarters(blocks - mean)
    _, leading = autoencoder._leading(quarters.flatten(0, 1), 32)
    kept = autoencoder._unquartered(quarters @ leading @ leading.T)
    deviations, components = autoencoder._leading(kept, architecture.LATENT_CHANNELS)
    return autoencoder.Basis(mean.float(), components.float(), deviations.float(), leading.float())


def test_the_stock_encoder_computes_the_projection(basis):
    vae = architecture.autoencoder()
    autoencoder.set_encoder(vae, basis)
    picture = autoencoder.pixels_of(7)[None, :128, :192]
    x = picture.permute(0, 3, 1, 2).float().div(127.5).sub(1).unsqueeze(2)
    with torch.no_grad():
        latents = vae.encode(x).latent_dist.mode()[:, :, 0]
    expected = basis.project(picture) * basis.scale.view(1, -1, 1, 1)
    assert latents.shape == (1, 6, 16, 24)
    assert (latents - expected).abs().max() < 0.005 * expected.abs().max()


def test_the_decoder_starts_as_interpolated_colours(basis):
    vae = architecture.autoencoder()
    autoencoder.set_decoder_start(vae, basis)
    picture = autoencoder.pixels_of(7)[None, :128, :128]
    with torch.no_grad():
        decoded = vae.decode((basis.project(picture) * basis.scale.view(1, -1, 1, 1)).unsqueeze(2)).sample[:, :, 0]
    x = picture.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    coarse = torch.nn.functional.avg_pool2d(x, 8)
    assert (torch.nn.functional.avg_pool2d(decoded, 8) - coarse).abs().mean() < 0.1


def test_quarters_of_a_block_can_be_put_together_again():
    blocks = torch.randn(5, 192)
    assert torch.equal(autoencoder._unquartered(autoencoder._quarters(blocks)), blocks)
