"""Ties the noise that a run begins with to the scene that it should end in.

Rectified flow may pair noise and pictures as it likes, as long as the noise alone is standard normal (Liu et al. 2022,
arXiv 2209.03003). Here a few means over all of a picture's noise say what no caption says. So the first step already
knows the whole picture, and what would be a blurred mean becomes something to compute. A number that the noise says is
one such mean: over the tokens, of a token's 96 numbers by a pattern of its own, times the root of the tokens' number.

Said are the scene's layout, by the sign of a number each, and each attribute that the caption leaves open, by the angle
of a pair of them, of which each value has a sector. Neither changes with the means' size, which depends on how many
tokens there are. What a caption names is independent of the noise. A mean is what attention reads at once, wherever a
token is; where only some of a picture's tokens are trained on, theirs is made to be the mean that all of them have.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import torch

from krea_studio.training.checkpoints import architecture
from krea_studio.training.world.captions import ATTRIBUTES
from krea_studio.training.world.scenes import GRADES, LAYOUT_NAMES, Layout, Scene

NUMBERS = len(LAYOUT_NAMES) + 2 * len(ATTRIBUTES)  # those of the layout, and two for each attribute


CHANNELS = (1, 3, 0)  # of the latents, which have least of the patterns
WAVES = ((3, 3), (3, 1), (1, 3), (2, 3), (3, 2), (1, 1), (2, 1), (1, 2))  # down and across, by how often they turn


def _patterns() -> torch.Tensor:
    """A unit vector for each number, (20, 96), orthogonal to one another, those of the layout first.

    Checkered in both directions over a token's 4 × 4 cells. Pictures have so little of these that their own means are
    not heard beside the noise's until the end of a run: 0.04 to 0.5 of its deviation, those of the layout at most 0.12.
    """
    waves = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]]) / 2
    found = torch.zeros(NUMBERS, architecture.LATENT_CHANNELS, 4, 4)
    for k in range(NUMBERS):
        down, across = WAVES[k % len(WAVES)]
        found[k, CHANNELS[k // len(WAVES)]] = torch.outer(waves[down], waves[across])
    return found.flatten(1)


PATTERNS = _patterns()


def read(noise: torch.Tensor, total: int) -> torch.Tensor:
    """What noise tokens (…, n, 96) say that stand for `total` tokens: (…, 20)."""
    return noise.mean(-2) @ PATTERNS.to(noise).T * total**0.5


def say(noise: torch.Tensor, total: int, wanted: torch.Tensor) -> torch.Tensor:
    """The noise tokens (…, n, 96) moved, all alike, so that they say the numbers (…, 20)."""
    shift = (wanted - read(noise, total)) / total**0.5
    return noise + (shift @ PATTERNS.to(noise))[..., None, :]


def silent(tokens: torch.Tensor) -> torch.Tensor:
    """Clean tokens (…, n, 96), all of a picture's or a part, without what their mean has of the patterns."""
    return say(tokens, 1, tokens.new_zeros(NUMBERS))


def numbers_of(scene: Scene, named: Collection[str], generator: torch.Generator) -> torch.Tensor:
    """What noise has to say for a scene whose caption names some attributes: (20,).

    Standard normal for scenes that are drawn evenly; for what is named, random numbers.
    """
    u = torch.tensor([getattr(scene.layout, name) for name in LAYOUT_NAMES], dtype=torch.float64)
    layout = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)).float()
    pairs = torch.randn(len(ATTRIBUTES), 2, generator=generator)
    within = torch.rand(len(ATTRIBUTES), generator=generator).tolist()
    for k, (name, values) in enumerate(ATTRIBUTES.items()):
        if name not in named:
            angle = 2 * math.pi * (_index(scene, name) + within[k]) / len(values)
            pairs[k] = pairs[k].norm() * torch.tensor([math.cos(angle), math.sin(angle)])
    return torch.cat([layout, pairs.flatten()])


def sectors(pairs: torch.Tensor) -> torch.Tensor:
    """Which value of each attribute the noise says by pairs of numbers (…, 16): its number (…, 8)."""
    counts = torch.tensor([len(values) for values in ATTRIBUTES.values()], device=pairs.device)
    across, up = pairs.unflatten(-1, (len(ATTRIBUTES), 2)).unbind(-1)
    turned = torch.atan2(up, across) / (2 * math.pi) % 1
    return (turned * counts).long().minimum(counts - 1)


def scene_of(noise: torch.Tensor, scene: Scene, named: Collection[str]) -> Scene:
    """The scene that a run from all of this noise (n, 96) should end in: `named` as in `scene`, the rest as it says."""
    layout, pairs = read(noise.double(), len(noise)).split([len(LAYOUT_NAMES), 2 * len(ATTRIBUTES)])
    unnamed = {}
    for (name, values), index in zip(ATTRIBUTES.items(), sectors(pairs).tolist(), strict=True):
        if name not in named:
            unnamed[name] = GRADES[index] if isinstance(getattr(scene, name), float) else values[index]
    ways = dict(zip(LAYOUT_NAMES, torch.special.ndtr(layout).tolist(), strict=True))
    return replace(scene, **unnamed, layout=Layout(**ways))


def _index(scene: Scene, attribute: str) -> int:
    value = getattr(scene, attribute)
    return GRADES.index(value) if isinstance(value, float) else ATTRIBUTES[attribute].index(value)
