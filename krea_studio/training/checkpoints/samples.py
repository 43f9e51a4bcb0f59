"""What a transformer learns to read: kinds of batches, captions written anew each time, and noise that fits them.

Rectified flow as in Krea 2: x_t = (1 − t)·x + t·noise, the model predicts noise − x. The noise is coupled to the scene
(`coupling`), so that at t = 1, where a run begins, there is one right answer. Some of the samples on the way have noise
of their own, as pictures have that a person trains a style on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from krea_studio.training.checkpoints import coupling
from krea_studio.training.world.captions import ATTRIBUTES, Caption, caption
from krea_studio.training.world.scenes import LAYOUT_NAMES, random_scene

UNCONDITIONAL_SHARE = 0.06
WHOLE_SHARE = 0.3  # of the captions, which leave nothing open
OPEN_SHARE = 0.25  # of the captions, which leave all but the subject to the noise
INDEPENDENT_SHARE = 0.15  # of the samples below `INDEPENDENT_BELOW` that have noise of their own
INDEPENDENT_BELOW = 0.8


@dataclass(frozen=True)
class Batch:
    """One kind of batch: pictures of a latent class, how many, and of how many of their tokens (None for all).

    Parts of pictures show more of them in the same time; whole ones show how many tokens there will be.
    """

    kind: str
    pictures: int
    tokens: int | None = None


def captions_of(seeds: list[int], draw: random.Random, unconditional: float = UNCONDITIONAL_SHARE) -> list[Caption]:
    """Captions of the seeds' scenes: some empty, some that name everything or the subject alone, the others by chance."""
    found = []
    for seed in seeds:
        kind, always, never = draw.random(), (), ()
        if kind > 1 - WHOLE_SHARE:
            always = tuple(ATTRIBUTES)
        elif kind < unconditional + OPEN_SHARE:
            always, never = ("subject",), tuple(name for name in ATTRIBUTES if name != "subject")
        found.append(Caption("", {}) if kind < unconditional else caption(random_scene(seed), draw, always, never))
    return found


def noise_for(
    tokens: torch.Tensor, seeds: list[int], captions: list[Caption], total: int, generator: torch.Generator
) -> torch.Tensor:
    """Noise for clean tokens (batch, n, 96) of pictures of `total` tokens, coupled where the caption names a subject.

    Without a subject it says random things: that is what guidance and negative prompts subtract, which should point at
    what is common to many pictures, not at one.
    """
    noise = torch.randn(tokens.shape, generator=generator)
    wanted = torch.randn(len(tokens), coupling.NUMBERS, generator=generator)
    for k, (seed, words) in enumerate(zip(seeds, captions, strict=True)):
        if "subject" in words.named:
            wanted[k] = coupling.numbers_of(random_scene(seed), words.named, generator)
    return coupling.say(noise, total, wanted)


def freed(noise: torch.Tensor, times: torch.Tensor, total: int, generator: torch.Generator) -> torch.Tensor:
    """The noise, of some samples below `INDEPENDENT_BELOW` another one, which says nothing of the scene."""
    free = (times < INDEPENDENT_BELOW) & (torch.rand(len(times), generator=generator) < INDEPENDENT_SHARE)
    other = torch.randn(noise.shape, generator=generator)
    other = coupling.say(other, total, torch.randn(len(times), coupling.NUMBERS, generator=generator))
    return torch.where(free[:, None, None], other, noise)


def said(numbers: torch.Tensor) -> torch.Tensor:
    """What there is to be read (…, 54) where noise says numbers (…, 20), of every attribute and the layout."""
    layout, pairs = numbers.split([len(LAYOUT_NAMES), 2 * len(ATTRIBUTES)], -1)
    found = [
        F.one_hot(sector, len(values)).float()
        for values, sector in zip(ATTRIBUTES.values(), coupling.sectors(pairs).unbind(-1), strict=True)
    ]
    return torch.cat([*found, layout.sign()], -1)


def as_said(scenes: torch.Tensor, captions: Sequence[Caption], numbers: torch.Tensor) -> torch.Tensor:
    """What there is to be read (pictures, n, 54) of `scenes` (pictures, 1, 54), had their noise said `numbers`.

    What a caption names is the scene's; where it names no subject, noise says nothing.
    """
    found, at = said(numbers), 0
    for name, values in ATTRIBUTES.items():
        each = slice(at, at + len(values))
        at += len(values)
        for k, words in enumerate(captions):
            if name in words.named or "subject" not in words.named:
                found[k, :, each] = scenes[k, :, each]
    for k, words in enumerate(captions):
        if "subject" not in words.named:
            found[k, :, at:] = scenes[k, :, at:]
    return found
