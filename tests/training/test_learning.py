"""The parts that learn: the shared loop, the closed-form encoder, the stages' arithmetic."""

from __future__ import annotations

import pytest
import torch
from diffusers import Krea2Pipeline
from torch import nn

from krea_studio.training import architecture, autoencoder, denoiser, distill, loop


def loss_on(module: nn.Module):
    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(16, 4, generator=generator)
        return (module(x) - x.sum(1, keepdim=True)).pow(2).mean()

    return loss_of


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(4, 1)


def test_the_loop_learns(tmp_path):
    module = small()
    loop.run("sum", module, loss_on(module), loop.Schedule(300, 0.05, warmup=10), tmp_path, decay=0.9)
    assert torch.allclose(module.weight, torch.ones(1, 4), atol=0.02)


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    class Interrupted(Exception):
        pass

    whole = small()
    loop.run("whole", whole, loss_on(whole), loop.Schedule(40, 0.05, warmup=5), tmp_path / "whole")

    broken, steps = small(), []
    plain = loss_on(broken)

    def until(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == 25 and not steps:
            steps.append(step)
            raise Interrupted
        return plain(step, generator)

    schedule = loop.Schedule(40, 0.05, warmup=5)
    with pytest.raises(Interrupted):
        loop.run("broken", broken, until, schedule, tmp_path / "broken", save_every_seconds=0)
    fresh = small()
    plain = loss_on(fresh)
    loop.run("broken", fresh, until, schedule, tmp_path / "broken")
    assert torch.equal(whole.weight, fresh.weight) and torch.equal(whole.bias, fresh.bias)


def test_a_schedule_rises_then_falls_to_a_twentieth():
    schedule = loop.Schedule(1000, 1.0, warmup=100)
    rates = [schedule.at(k) for k in range(1000)]
    assert max(rates) == rates[99] == pytest.approx(1.0, abs=0.01)
    assert all(a >= b for a, b in zip(rates[100:], rates[101:], strict=False))
    assert rates[-1] == pytest.approx(0.05, abs=0.001)


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


def test_tokens_are_packed_as_the_pipeline_packs_them():
    latents = torch.randn(2, 6, 12, 20)
    stock = Krea2Pipeline._pack_latents(type("P", (), {"patch_size": 4})(), latents, 2, 6, 12, 20)
    assert torch.equal(denoiser.pack(latents), stock)
    assert denoiser.grid_of(latents) == denoiser.Grid(3, 5)


def test_a_large_model_begins_as_the_medium_one():
    torch.manual_seed(0)
    medium = architecture.transformer("mini-medium").eval()
    large = denoiser.expanded(medium).eval()
    tokens, times = torch.randn(1, 6, 96), torch.tensor([0.4])
    embeds = torch.randn(1, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH)
    positions = Krea2Pipeline.prepare_position_ids(5, 2, 3, torch.device("cpu"))
    with torch.no_grad():
        a, b = (m(tokens, embeds, times, positions, return_dict=False)[0] for m in (medium, large))
    assert (a - b).abs().max() < 1e-5
    count = [sum(p.numel() for p in m.parameters()) for m in (medium, large)]
    assert count[1] >= 2 * count[0]


def test_turbo_trains_on_the_levels_that_it_will_run():
    scheduler = architecture.scheduler()
    scheduler.set_timesteps(sigmas=[1 - k / 8 for k in range(8)], mu=distill.SHIFT)
    assert torch.allclose(scheduler.sigmas, torch.tensor(distill.noise_levels()), atol=1e-6)


def test_training_looks_where_the_layout_is_decided():
    for tokens in (64, 256, 1024):
        first, later = (denoiser.noise_times(20_000, tokens, torch.Generator().manual_seed(0), x) for x in (1.0, 0.0))
        for times in (first, later):
            assert times.min() > 0.0 and times.max() == 1.0
            assert 0.12 < (times == 1.0).float().mean() < 0.18
        assert 0.4 < (first > 0.9).float().mean() < 0.55
        assert (first > 0.9).float().mean() > 1.4 * (later > 0.9).float().mean()


def test_tokens_that_stand_for_larger_squares_sit_in_their_middle():
    plain = denoiser.Grid(4, 6).positions(3, torch.device("cpu"))
    assert torch.equal(plain, Krea2Pipeline.prepare_position_ids(3, 4, 6, torch.device("cpu")).float())
    spread = denoiser.Grid(2, 3, stride=2).positions(3, torch.device("cpu"))
    assert torch.equal(spread[:3], plain[:3])
    squares = plain[3:].view(2, 2, 3, 2, 3).mean((1, 3)).reshape(6, 3)
    assert torch.equal(spread[3:], squares)
