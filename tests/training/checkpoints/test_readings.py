"""What the first blocks are to read: it tells places, sizes and scenes apart, and asks only for what can be told."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.training.checkpoints import architecture, readings
from krea_studio.training.world.captions import ATTRIBUTES
from krea_studio.training.world.scenes import LAYOUT_NAMES, Layout, random_scene

seeds = st.integers(0, 2**40)


def states_that_tell(place: torch.Tensor, scenes: list) -> torch.Tensor:
    width = architecture.transformer(layers=1).img_in.out_features
    states = torch.randn(len(scenes), len(place), width)
    told = slice(readings.FIRST, readings.FIRST + readings.COUNT)
    for each, scene in zip(states, scenes, strict=True):
        each[:, told] = torch.cat([place, readings.of_scene(scene).expand(len(place), -1)], 1)
    return states


def test_waves_tell_every_place_of_the_largest_grids_apart():
    places = torch.cartesian_prod(torch.arange(48), torch.arange(48))
    told = readings.waves(places)
    assert told.shape == (48 * 48, readings.PLACE_NUMBERS)
    assert torch.pdist(told).min() > 0.3


@given(st.integers(2, 48), st.integers(2, 48), st.integers(2, 48), st.integers(2, 48))
def test_a_place_is_read_alike_in_every_size_and_sizes_are_told_apart(rows, columns, others, other_columns):
    chosen = torch.tensor([columns + 1])  # the second of the second row
    here, there = readings.of_place(rows, columns, chosen), readings.of_place(others, other_columns, chosen * 0)
    same = readings.of_place(others, other_columns, torch.tensor([other_columns + 1]))
    assert torch.equal(here[:, : readings.PLACE_NUMBERS], same[:, : readings.PLACE_NUMBERS])
    apart = (here - there)[:, readings.PLACE_NUMBERS :].abs().max() > 0.01
    assert apart == ((rows, columns) != (others, other_columns))


@given(seeds, seeds)
def test_scenes_that_are_drawn_differently_are_read_differently(seed, other):
    one, two = random_scene(seed), random_scene(other)
    drawn = [
        (*(getattr(scene, name) for name in ATTRIBUTES), *(scene.layout.way(name) for name in LAYOUT_NAMES))
        for scene in (one, two)
    ]
    assert (drawn[0] == drawn[1]) == torch.equal(readings.of_scene(one), readings.of_scene(two))


def wanted(scenes):
    """What is to be read of scenes, (scenes, 1, 54)."""
    return torch.stack([readings.of_scene(scene) for scene in scenes])[:, None]


def test_who_reads_rightly_is_not_wrong_and_who_reads_another_scene_is():
    scenes, place = [random_scene(3), random_scene(4)], readings.of_place(4, 6, torch.tensor([0, 5, 23]))
    states = states_that_tell(place, scenes)
    assert readings.loss(states, place, wanted(scenes)) < 1e-12
    turned = Layout(**{name: 1 - getattr(scenes[0].layout, name) for name in LAYOUT_NAMES})
    assert readings.loss(states, place, wanted([replace(scenes[0], layout=turned), scenes[1]])) > 0.1
    assert readings.loss(states, place, wanted(scenes[::-1])) > 0.1
    assert readings.loss(states, readings.of_place(4, 6, torch.tensor([1, 5, 23])), wanted(scenes)) > 1e-3


def test_of_a_scene_that_nothing_tells_of_the_mean_is_right():
    """Better than any one scene, over all that it might be."""
    many, place = [random_scene(seed) for seed in range(40)], readings.of_place(4, 6, torch.arange(24))
    guess = states_that_tell(place, many[:1])
    first = readings.FIRST + readings.PLACE_NUMBERS + readings.SIZE_NUMBERS

    def wrong(told: torch.Tensor) -> float:
        guess[..., first : first + readings.SCENE_NUMBERS] = told
        return sum(readings.loss(guess, place, wanted([scene])).item() for scene in many)

    mean = torch.stack([readings.of_scene(scene) for scene in many]).mean(0)
    assert wrong(mean) < min(wrong(readings.of_scene(scene)) for scene in many[:10])


def test_everything_that_is_read_has_room_in_a_state():
    width = architecture.transformer(layers=1).img_in.out_features
    assert width > readings.FIRST + readings.COUNT


def test_attention_turns_by_what_the_waves_of_places_are_sums_of():
    """On every axis of the largest grids, up to a small error, with weights that noise does not drown."""
    config = architecture.transformer(layers=1).config
    size = config.axes_dims_rope[1]
    turns = config.rope_theta ** (-torch.arange(0, size, 2) / size)
    places = torch.arange(48)
    angles = places[:, None] * turns
    basis = torch.cat([torch.ones(48, 1), angles.sin(), angles.cos()], 1)
    wanted = readings.waves(torch.stack([places, places], 1))[:, : readings.PLACE_NUMBERS // 2]
    kept = basis.T @ basis / 48 + 0.01 * torch.eye(basis.shape[1])
    weights = torch.linalg.solve(kept, basis.T @ wanted / 48)
    assert (basis @ weights - wanted).square().mean(0).max() < 0.03
