"""What the transformer learns on."""

from __future__ import annotations

import torch
from diffusers import Krea2Pipeline

from krea_studio.training import loop
from krea_studio.training.checkpoints import (
    architecture,
    coupling,
    denoiser,
)
from krea_studio.training.world.captions import Caption
from krea_studio.training.world.scenes import random_scene


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


def test_noise_is_coupled_only_where_the_caption_names_a_subject():
    captions = [Caption("a fox", {"subject": "fox"}), Caption("autumn colors", {"palette": "autumn"}), Caption("", {})]
    noise = denoiser.noise_for(torch.zeros(3, 100, 96), [1, 2, 3], captions, 100, torch.Generator().manual_seed(0))
    scenes = [random_scene(seed) for seed in (1, 2, 3)]
    read = [coupling.scene_of(each, scene, {"subject"}) for each, scene in zip(noise, scenes, strict=True)]
    likeness = [abs(a.layout.far - b.layout.far) for a, b in zip(read, scenes, strict=True)]
    assert likeness[0] < 1e-3 < min(likeness[1:])


def test_processes_that_train_together_take_the_same_kind_of_batch(monkeypatch):
    monkeypatch.setattr(loop, "place", lambda: (0, 2))
    drawn = [loop.common_draw("places", number).random() for number in range(40)]
    assert drawn[::2] == drawn[1::2] and len(set(drawn)) == 20


def test_turbo_trains_on_the_levels_that_it_will_run():
    scheduler = architecture.scheduler()
    scheduler.set_timesteps(sigmas=[1 - k / 8 for k in range(8)], mu=denoiser.TURBO_SHIFT)
    assert torch.allclose(scheduler.sigmas, torch.tensor(denoiser.turbo_levels()), atol=1e-6)
