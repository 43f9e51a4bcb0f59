"""Makes mini-turbo of mini-medium: eight steps without guidance that end in the right picture.

Noise and picture are a known pair (`coupling`), so no teacher is needed: the student goes down from noise by its own
steps, and at one of Turbo's eight noise levels learns the straight step from where it really is to where the picture
is. So each step mends what the ones before it got wrong, and eight passes work as one deep network. Where there is no
pair (a caption without a subject) and in part of the others, states lie on the straight way between noise and picture.
"""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import flow, loop
from krea_studio.training.checkpoints import text
from krea_studio.training.checkpoints.denoiser import Batch, captions_of, noise_for
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.patches import grid_of, pack, part_of
from krea_studio.training.flow import velocity

STEPS = 8
SHIFT = 1.15  # the published Turbo's fixed mu
ON_POLICY_SHARE = 0.8
UNCONDITIONAL_SHARE = 0.02
STAGE_STEPS = 2500
PEAK = 8e-4
BATCHES = {Batch("1K", 1): 0.6, Batch("512", 4): 0.4}


def noise_levels() -> list[float]:
    """The nine noise levels of an eight-step Turbo run, from 1 to 0."""
    return flow.noise_levels(STEPS, SHIFT)


def train(
    student: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    latents: Path,
    folder: Path,
    device: str,
    steps: int = STAGE_STEPS,
    seed: int = 0,
    batches: dict[Batch, float] = BATCHES,
) -> None:
    """Train (or go on training) the student in place; it starts as a copy of mini-medium's transformer."""
    chunks = Chunks(latents, {batch.kind for batch in batches})
    levels, precision = noise_levels(), flow.fastest_precision(student)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common = loop.common_draw(f"turbo-{seed}", step)
        batch, index = common.choices(list(batches), list(batches.values()))[0], common.randrange(STEPS)
        clean, seeds = chunks.draw(batch.kind, batch.pictures, generator)
        grid = grid_of(clean)
        chosen = part_of(grid, batch.tokens, index == 0, generator)
        clean = pack(clean)[:, chosen]
        captions = captions_of(seeds, random.Random(f"turbo-{seed}-{step}"), UNCONDITIONAL_SHARE)
        noise = noise_for(clean, seeds, captions, grid.rows * grid.columns, generator)
        conditioning = text.encode(encoder, tokenizer, [c.text for c in captions])
        clean, x = clean.to(device), noise.to(device)
        paired = torch.tensor(["subject" in c.named for c in captions])
        own = (paired & (torch.rand(len(seeds), generator=generator) < ON_POLICY_SHARE)).to(device)[:, None, None]
        between = (1 - levels[index]) * clean + levels[index] * x
        with torch.no_grad():
            for here, there in pairwise(levels[: index + 1]):
                times = torch.full((len(x),), here, device=device)
                x = x + (there - here) * velocity(student, x, times, grid, conditioning, chosen, precision)
        x = torch.where(own, x, between)
        times = torch.full((len(x),), levels[index], device=device)
        predicted = velocity(student, x, times, grid, conditioning, chosen, precision)
        return F.mse_loss(predicted, (x - clean) / levels[index])

    loop.run("turbo", student, loss_of, loop.Schedule(steps, PEAK, warmup=30), folder, seed, decay=0.99)
