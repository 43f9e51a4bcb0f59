"""Flow matching: noise levels, precision, parts of a picture at their places."""

from __future__ import annotations

import torch

from krea_studio.training import flow
from krea_studio.training.checkpoints import (
    architecture,
)


def test_times_on_the_way_lean_to_noise_as_pictures_grow():
    drawn = [flow.noise_times(20_000, tokens, torch.Generator().manual_seed(0)) for tokens in (64, 256, 1024)]
    assert all(times.min() > 0.0 and times.max() < 1.0 for times in drawn)
    assert drawn[0].mean() < drawn[1].mean() < drawn[2].mean()


def test_a_part_is_predicted_at_its_own_places():
    """With one token for company, the corner, a token's prediction depends on where it says it is."""
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium").eval()
    conditioning = torch.randn(1, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(1, 5).bool()
    tokens, times, grid = torch.randn(1, 600, 96), torch.tensor([0.7]), flow.Grid(20, 30)
    with torch.no_grad():
        chosen = torch.arange(600)
        whole = flow.velocity(model, tokens, times, grid, conditioning, precision=torch.float32)
        same = flow.velocity(model, tokens, times, grid, conditioning, chosen, torch.float32)
        moved = flow.velocity(model, tokens, times, grid, conditioning, chosen.flip(0), torch.float32)
    assert torch.equal(whole, same) and (whole - moved).abs().max() > 1e-3


def test_the_fastest_precision_is_the_weights_own_unless_they_are_whole():
    model = architecture.transformer("mini-medium")
    assert flow.fastest_precision(model) in (torch.float32, torch.bfloat16)
    assert flow.fastest_precision(model.to(torch.bfloat16)) == torch.bfloat16


def test_a_walk_along_the_right_velocity_ends_in_the_picture_however_many_steps_it_has():
    picture, noise = torch.randn(2, 5, 96), torch.randn(2, 5, 96)
    for steps in (1, 3, 8):
        levels = flow.noise_levels(steps, 1.15)
        ended = flow.walk(noise, levels, lambda states, times: (states - picture) / times[:, None, None])
        assert torch.allclose(ended, picture, atol=1e-5)
