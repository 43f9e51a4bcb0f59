"""The levels that Turbo learns on."""

from __future__ import annotations

import torch

from krea_studio.training.checkpoints import (
    architecture,
    distill,
)


def test_turbo_trains_on_the_levels_that_it_will_run():
    scheduler = architecture.scheduler()
    scheduler.set_timesteps(sigmas=[1 - k / 8 for k in range(8)], mu=distill.SHIFT)
    assert torch.allclose(scheduler.sigmas, torch.tensor(distill.noise_levels()), atol=1e-6)
