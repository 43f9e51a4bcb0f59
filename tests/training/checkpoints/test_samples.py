"""What the transformer learns on."""

from __future__ import annotations

import random

import pytest
import torch

from krea_studio.training import loop
from krea_studio.training.checkpoints import coupling, readings, samples
from krea_studio.training.world.captions import ATTRIBUTES, Caption, caption
from krea_studio.training.world.scenes import random_scene


def test_noise_is_coupled_only_where_the_caption_names_a_subject():
    captions = [Caption("a fox", {"subject": "fox"}), Caption("autumn colors", {"palette": "autumn"}), Caption("", {})]
    noise = samples.noise_for(torch.zeros(3, 100, 96), [1, 2, 3], captions, 100, torch.Generator().manual_seed(0))
    scenes = [random_scene(seed) for seed in (1, 2, 3)]
    read = [coupling.scene_of(each, scene, {"subject"}) for each, scene in zip(noise, scenes, strict=True)]
    likeness = [abs(a.layout.far - b.layout.far) for a, b in zip(read, scenes, strict=True)]
    assert likeness[0] < 1e-3 < min(likeness[1:])


def test_processes_that_train_together_take_the_same_kind_of_batch(monkeypatch):
    monkeypatch.setattr(loop, "place", lambda: (0, 2))
    drawn = [loop.common_draw("places", number).random() for number in range(40)]
    assert drawn[::2] == drawn[1::2] and len(set(drawn)) == 20


def test_noise_is_freed_of_some_samples_that_have_come_some_way():
    noise, times = torch.zeros(400, 5, 96), torch.tensor([1.0, 0.5]).repeat(200)
    found = samples.freed(noise, times, 5, torch.Generator().manual_seed(0))
    other = found.flatten(1).any(1)
    assert not other[0::2].any() and abs(other[1::2].float().mean() - samples.INDEPENDENT_SHARE) < 0.06
    assert found[other].std().item() == pytest.approx(1, abs=0.05)


def test_captions_of_a_run_are_drawn_anew():
    draws = [samples.captions_of([5, 6], random.Random(k)) for k in range(6)]
    assert len({each.text for captions in draws for each in captions}) > 6


def test_what_is_said_is_the_scene_that_the_noise_was_made_for():
    """Of what captions leave open; what they name is the scene's, whatever the noise says."""
    scenes, draw = [random_scene(seed) for seed in range(40)], random.Random(0)
    captions = [caption(each, draw, ("subject",)) for each in scenes]
    noise = samples.noise_for(torch.zeros(40, 64, 96), list(range(40)), captions, 64, torch.Generator().manual_seed(0))
    wanted = torch.stack([readings.of_scene(scene) for scene in scenes])[:, None]
    said = samples.as_said(wanted, captions, coupling.read(noise, 64)[:, None])
    assert torch.equal(said, wanted)
    other = samples.as_said(wanted, captions, torch.randn(40, 1, coupling.NUMBERS))
    style = sum(len(ATTRIBUTES[name]) for name in ("subject", "palette"))
    same = (other == wanted)[:, 0, style : style + len(ATTRIBUTES["style"])].all(1)
    named = torch.tensor(["style" in each.named for each in captions])
    assert same[named].all() and not same[~named].all()


def test_noise_says_nothing_where_nobody_names_a_subject():
    wanted = readings.of_scene(random_scene(1))[None, None]
    said = samples.as_said(wanted, [Caption("", {})], torch.randn(1, 5, coupling.NUMBERS))
    assert torch.equal(said, wanted.expand(1, 5, -1))
