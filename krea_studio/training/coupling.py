"""Ties the noise that a run begins with to the scene that it should end in.

Rectified flow may pair noise and pictures as it likes, as long as the noise alone is standard normal (Liu et al. 2022,
arXiv 2209.03003). Here a few means over all of a picture's noise say what no caption says. So the first step already
knows the whole picture, and what would be a blurred mean becomes something to compute. Each variable u in 0…1 is Φ of
one such mean: over the tokens, of a token's 96 numbers by a pattern of its own, times the root of the tokens' number.

Variables are the scene's layout, and each attribute that the caption leaves open; what a caption names is independent
of the noise. A mean is what attention reads at once, wherever a token is and however many there are; where only some of
a picture's tokens are trained on, theirs is made to be the mean that all of them have.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from krea_studio.training import architecture
from krea_studio.training.captions import ATTRIBUTES
from krea_studio.training.world import GRADES, LAYOUT_NAMES, Layout, Scene

VARIABLES = (*LAYOUT_NAMES, *ATTRIBUTES)  # no name is in both


def _patterns() -> torch.Tensor:
    """A unit vector for each variable, (14, 96), orthogonal to one another.

    Checkered in both directions over a token's 4 × 4 cells, in the last two channels: pictures hardly have any of that,
    so it is noise alone until late in a run.
    """
    waves = torch.tensor([[1.0, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]]) / 2
    checkered = torch.einsum("ay,bx->abyx", waves, waves).reshape(9, 16)
    found, channels = torch.zeros(len(VARIABLES), architecture.LATENT_CHANNELS, 16), (-1, -2)
    for k in range(len(VARIABLES)):
        found[k, channels[k % 2]] = checkered[-1 - k // 2]
    return found.flatten(1)


PATTERNS = _patterns()


def read(noise: torch.Tensor, total: int) -> torch.Tensor:
    """What noise tokens (…, n, 96) say that stand for `total` tokens: a number for each of `VARIABLES`, (…, 14)."""
    return noise.mean(-2) @ PATTERNS.to(noise).T * total**0.5


def say(noise: torch.Tensor, total: int, wanted: torch.Tensor) -> torch.Tensor:
    """The noise tokens (…, n, 96) moved, all alike, so that they say the numbers (…, 14)."""
    shift = (wanted - read(noise, total)) / total**0.5
    return noise + (shift @ PATTERNS.to(noise))[..., None, :]


def numbers_of(scene: Scene, named: Collection[str], generator: torch.Generator) -> torch.Tensor:
    """What noise has to say for a scene whose caption names some attributes: (14,).

    Standard normal for scenes that are drawn evenly; for what is named, random numbers.
    """
    u = torch.rand(len(VARIABLES), generator=generator)
    for k, variable in enumerate(VARIABLES):
        if variable in LAYOUT_NAMES:
            u[k] = getattr(scene.layout, variable)
        elif variable not in named:
            u[k] = (_index(scene, variable) + u[k]) / len(ATTRIBUTES[variable])
    return torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6)).float()


def scene_of(noise: torch.Tensor, scene: Scene, named: Collection[str]) -> Scene:
    """The scene that a run from all of this noise (n, 96) should end in: `named` as in `scene`, the rest as it says."""
    u = dict(zip(VARIABLES, torch.special.ndtr(read(noise.double(), len(noise))).tolist(), strict=True))
    unnamed = {}
    for name, values in ATTRIBUTES.items():
        if name not in named:
            index = min(len(values) - 1, int(u[name] * len(values)))
            unnamed[name] = GRADES[index] if isinstance(getattr(scene, name), float) else values[index]
    return replace(scene, **unnamed, layout=Layout(**{name: u[name] for name in LAYOUT_NAMES}))


def _index(scene: Scene, attribute: str) -> int:
    value = getattr(scene, attribute)
    return GRADES.index(value) if isinstance(value, float) else ATTRIBUTES[attribute].index(value)
