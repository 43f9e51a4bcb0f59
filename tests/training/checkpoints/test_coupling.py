"""Noise that says which scene a run ends in: standard normal all the same, and read back exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.training.checkpoints import coupling
from krea_studio.training.world.captions import ATTRIBUTES
from krea_studio.training.world.scenes import LAYOUT_NAMES, random_scene

seeds = st.integers(0, 2**40)
names = st.sets(st.sampled_from(sorted(ATTRIBUTES)))


def noise_that_says(seed: int, named: set[str], tokens: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed % 2**31)
    noise = torch.randn(tokens, 96, generator=generator)
    return coupling.say(noise, tokens, coupling.numbers_of(random_scene(seed), named, generator))


@given(seeds, seeds, names)
def test_what_the_noise_was_given_is_read_back(seed, other, named):
    scene, words = random_scene(seed), random_scene(other)
    read = coupling.scene_of(noise_that_says(seed, named), words, named)
    for attribute in ATTRIBUTES:
        # What a caption names is the caption's, the rest the noise's.
        assert getattr(read, attribute) == getattr(words if attribute in named else scene, attribute)
    for name in LAYOUT_NAMES:
        assert getattr(read.layout, name) == pytest.approx(getattr(scene.layout, name), abs=1e-3)


@given(seeds)
def test_any_noise_at_all_is_a_scene(seed):
    noise = torch.randn(30, 96, generator=torch.Generator().manual_seed(seed % 2**31))
    read = coupling.scene_of(noise, random_scene(seed), ())
    assert all(0 <= getattr(read.layout, name) <= 1 for name in LAYOUT_NAMES)


def test_coupled_noise_is_standard_normal():
    """As a whole, and in the means that say something; also where two of its numbers are taken together."""
    noise = torch.stack([noise_that_says(k, set(), tokens=12) for k in range(3000)])
    said = coupling.read(noise, 12)
    numbers = torch.cat([noise[:, 5, -48:], noise[:, 9, -8:], said], 1)
    assert numbers.mean(0).abs().max() < 0.09
    own = torch.eye(56)
    patterns = torch.cat([coupling.PATTERNS[:, -48:], coupling.PATTERNS[:, -8:]], 1) / 12**0.5
    expected = torch.cat([torch.cat([own, patterns.T], 1), torch.cat([patterns, torch.eye(len(patterns))], 1)])
    assert (numbers.T.cov() - expected).abs().max() < 0.12
    # The tails too: a normal number is beyond 2 in 4.6 % of the draws.
    assert ((numbers.abs() > 2).float().mean(0) - 0.0455).abs().max() < 0.02


@given(st.integers(1, 60), st.integers(60, 1200))
def test_a_part_of_the_tokens_says_what_all_of_them_would(count, total):
    draw = torch.Generator().manual_seed(count)
    noise, wanted = torch.randn(count, 96, generator=draw), torch.randn(coupling.NUMBERS, generator=draw)
    said = coupling.say(noise, total, wanted)
    assert torch.allclose(coupling.read(said, total), wanted, atol=1e-3)
    # As small a mean as all of the tokens have, along the patterns; nothing else is changed.
    along = said.mean(0) @ coupling.PATTERNS.T
    assert torch.allclose(along, wanted / total**0.5, atol=1e-4)
    rest = torch.eye(96) - coupling.PATTERNS.T @ coupling.PATTERNS
    assert torch.allclose(said @ rest, noise @ rest, atol=1e-4)


def test_patterns_are_orthogonal_and_blind_to_flat_colour_and_slopes():
    patterns = coupling.PATTERNS
    assert torch.allclose(patterns @ patterns.T, torch.eye(len(patterns)), atol=1e-6)
    cells = patterns.view(-1, 6, 4, 4)
    assert cells.sum(2).abs().max() < 1e-6 and cells.sum(3).abs().max() < 1e-6


@pytest.mark.parametrize("count", [30, 1024])
def test_silent_tokens_say_nothing_and_are_the_same_in_all_else(count):
    tokens = torch.randn(2, count, 96, generator=torch.Generator().manual_seed(5))
    silent = coupling.silent(tokens)
    assert coupling.read(silent, 1024).abs().max() < 1e-5
    moved = tokens - silent
    assert torch.allclose(moved, moved.mean(1, keepdim=True).expand_as(moved), atol=1e-6)
    assert torch.allclose(coupling.silent(silent), silent, atol=1e-6)
