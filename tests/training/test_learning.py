"""The parts that learn: the shared loop, the closed-form encoder, the stages' arithmetic."""

from __future__ import annotations

import pytest
import torch
from diffusers import Krea2Pipeline
from torch import nn

from krea_studio.training import architecture, autoencoder, coupling, denoiser, distill, initialization, loop
from krea_studio.training.captions import Caption
from krea_studio.training.world import random_scene


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


def test_a_schedule_that_cools_late_begins_alike_whatever_its_length():
    short, long = (loop.Schedule(steps, 1.0, warmup=10, cooling=0.4) for steps in (1000, 2000))
    assert [short.at(k) for k in range(600)] == [long.at(k) for k in range(600)]
    assert short.at(599) == 1.0 and short.at(999) == pytest.approx(0.05, abs=0.001)


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
    assert torch.equal(denoiser.unpack(stock, denoiser.Grid(3, 5)), latents)


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
    assert count[1] >= 1.7 * count[0]


def test_turbo_trains_on_the_levels_that_it_will_run():
    scheduler = architecture.scheduler()
    scheduler.set_timesteps(sigmas=[1 - k / 8 for k in range(8)], mu=distill.SHIFT)
    assert torch.allclose(scheduler.sigmas, torch.tensor(distill.noise_levels()), atol=1e-6)


def test_times_on_the_way_lean_to_noise_as_pictures_grow():
    drawn = [denoiser.noise_times(20_000, tokens, torch.Generator().manual_seed(0)) for tokens in (64, 256, 1024)]
    assert all(times.min() > 0.0 and times.max() < 1.0 for times in drawn)
    assert drawn[0].mean() < drawn[1].mean() < drawn[2].mean()


@pytest.mark.parametrize("spread", [True, False])
def test_a_part_of_the_tokens_is_spread_or_a_window(spread):
    grid = denoiser.Grid(20, 30)
    for seed in range(20):
        chosen = denoiser.part_of(grid, 100, spread, torch.Generator().manual_seed(seed))
        assert len(chosen) == len(set(chosen.tolist())) and 90 <= len(chosen) <= 100
        rows, columns = chosen // 30, chosen % 30
        if spread:
            assert {0, 29, 570, 599} <= set(chosen.tolist())
        else:
            assert (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) <= len(chosen)
    assert denoiser.part_of(grid, None, spread, torch.Generator()).tolist() == list(range(600))


def test_a_part_is_predicted_at_its_own_places():
    """With one token for company, the corner, a token's prediction depends on where it says it is."""
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium").eval()
    conditioning = torch.randn(1, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(1, 5).bool()
    tokens, times, grid = torch.randn(1, 600, 96), torch.tensor([0.7]), denoiser.Grid(20, 30)
    with torch.no_grad():
        chosen = torch.arange(600)
        whole = denoiser.velocity(model, tokens, times, grid, conditioning, precision=torch.float32)
        same = denoiser.velocity(model, tokens, times, grid, conditioning, chosen, torch.float32)
        moved = denoiser.velocity(model, tokens, times, grid, conditioning, chosen.flip(0), torch.float32)
    assert torch.equal(whole, same) and (whole - moved).abs().max() > 1e-3


def test_noise_is_coupled_only_where_the_caption_names_a_subject():
    captions = [Caption("a fox", {"subject": "fox"}), Caption("autumn colors", {"palette": "autumn"}), Caption("", {})]
    noise = denoiser.noise_for(torch.zeros(3, 100, 96), [1, 2, 3], captions, 100, torch.Generator().manual_seed(0))
    scenes = [random_scene(seed) for seed in (1, 2, 3)]
    read = [coupling.scene_of(each, scene, {"subject"}) for each, scene in zip(noise, scenes, strict=True)]
    likeness = [abs(a.layout.far - b.layout.far) for a, b in zip(read, scenes, strict=True)]
    assert likeness[0] < 1e-3 < min(likeness[1:])


def test_the_fastest_precision_is_the_weights_own_unless_they_are_whole():
    model = architecture.transformer("mini-medium")
    assert denoiser.fastest_precision(model) in (torch.float32, torch.bfloat16)
    assert denoiser.fastest_precision(model.to(torch.bfloat16)) == torch.bfloat16


@pytest.mark.parametrize("grid", [denoiser.Grid(16, 16), denoiser.Grid(21, 49)])
@pytest.mark.parametrize("part", [None, 128])
def test_the_reader_gives_every_token_what_the_noise_says(grid, part):
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    texts = torch.randn(60, 12, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(60, 12).bool()
    initialization.install_reader(model, texts)
    total, count = grid.rows * grid.columns, coupling.NUMBERS
    chosen = denoiser.part_of(grid, part, True, torch.Generator().manual_seed(1))
    said = torch.randn(24, count)
    noise = coupling.say(torch.randn(24, len(chosen), 96), total, said)
    heads: list[torch.Tensor] = []
    attention = model.transformer_blocks[0].attn
    attention.to_out[0].register_forward_pre_hook(lambda module, inputs: heads.append(inputs[0]))
    with torch.no_grad():
        conditioning = texts[0][:24], texts[1][:24]
        denoiser.velocity(model, noise, torch.ones(24), grid, conditioning, chosen, torch.float32)
    found = heads[0][:, 12:, 3 * 64 : 3 * 64 + count]
    for k in range(count):
        correlation = torch.corrcoef(torch.stack([found[..., k].mean(1), said[:, k]]))[0, 1]
        assert correlation > (0.7 if part else 0.9)
    assert found.std(1).mean() < 0.1 * found.std()  # alike in all tokens


def test_a_settled_model_carries_its_noise_through():
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
    tokens, grid = torch.randn(2, 96, 96), denoiser.Grid(8, 12)
    embeds = torch.randn(2, 9, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH)
    with torch.no_grad():
        predicted = denoiser.velocity(
            model, tokens, torch.ones(2), grid, (embeds, torch.ones(2, 9).bool()), precision=torch.float32
        )
    assert torch.corrcoef(torch.stack([predicted.flatten(), tokens.flatten()]))[0, 1] > 0.9


def test_processes_that_train_together_take_the_same_kind_of_batch(monkeypatch):
    monkeypatch.setattr(loop, "place", lambda: (0, 2))
    drawn = [denoiser.common_draw("places", number).random() for number in range(40)]
    assert drawn[::2] == drawn[1::2] and len(set(drawn)) == 20
