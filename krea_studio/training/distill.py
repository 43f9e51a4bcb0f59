"""Distils mini-turbo from mini-medium: eight steps without guidance instead of 28 with it.

For a state on one of Turbo's eight noise levels the teacher, guided, integrates to the next level in small steps; the
student learns the one straight step that ends at the same place (progressive distillation, Salimans and Ho 2022,
arXiv 2202.00512, with guidance folded in as in Meng et al. 2023, arXiv 2210.03142). States come from the student's own
way down from noise, so it learns where it will really be.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop, text
from krea_studio.training.denoiser import captions_of, grid_of, pack, velocity
from krea_studio.training.latents import Chunks

STEPS = 8
SHIFT = 1.15  # the published Turbo's fixed mu
GUIDANCE = 2.5
TEACHER_STEPS = 2  # within one step of the student
ON_POLICY_SHARE = 0.5
STAGE_STEPS = 450
PEAK = 5e-4
KINDS = {"256": 0.4, "512": 0.3, "1K": 0.3}
BATCH_OF = {80: 12, 300: 4, 1200: 1}


def noise_levels() -> list[float]:
    """The nine noise levels of an eight-step Turbo run, from 1 to 0, as the scheduler computes them."""
    shift = math.exp(SHIFT)
    return [shift / (shift + 1 / (1 - k / STEPS) - 1) for k in range(STEPS)] + [0.0]


def train(
    student: Krea2Transformer2DModel,
    teacher: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    latents: Path,
    folder: Path,
    device: str,
    steps: int = STAGE_STEPS,
    seed: int = 0,
) -> None:
    """Train (or go on training) the student in place; it starts as a copy of the teacher."""
    chunks = Chunks(latents, KINDS)
    levels = noise_levels()

    @torch.no_grad()
    def guided_end(x: torch.Tensor, first: float, last: float, grid, conditioning, empty) -> torch.Tensor:
        """Where the guided teacher arrives at level `last` from `x` at level `first`."""
        path = torch.linspace(first, last, TEACHER_STEPS + 1).tolist()
        for here, there in zip(path, path[1:], strict=False):
            times = torch.full((len(x),), here, device=device)
            with_prompt = velocity(teacher, x, times, grid, conditioning)
            without = velocity(teacher, x, times, grid, empty)
            x = x + (there - here) * (with_prompt + GUIDANCE * (with_prompt - without))
        return x

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        clean, seeds, stride = chunks.draw(BATCH_OF, generator)
        grid = grid_of(clean, stride)
        tokens = pack(clean).to(device)
        prompts = captions_of(seeds, random.Random(f"distill-{seed}-{step}"), unconditional=0.02)
        conditioning = text.encode(encoder, tokenizer, prompts)
        empty = text.encode(encoder, tokenizer, [""] * len(seeds))
        index = int(torch.randint(STEPS, (), generator=generator))
        x = torch.randn(tokens.shape, generator=generator).to(device)
        if torch.rand((), generator=generator) < ON_POLICY_SHARE:
            with torch.no_grad():
                for k in range(index):
                    times = torch.full((len(x),), levels[k], device=device)
                    x = x + (levels[k + 1] - levels[k]) * velocity(student, x, times, grid, conditioning)
        else:
            x = (1 - levels[index]) * tokens + levels[index] * x
        end = guided_end(x, levels[index], levels[index + 1], grid, conditioning, empty)
        target = (end - x) / (levels[index + 1] - levels[index])
        times = torch.full((len(x),), levels[index], device=device)
        return F.mse_loss(velocity(student, x, times, grid, conditioning), target)

    loop.run("turbo", student, loss_of, loop.Schedule(steps, PEAK, warmup=10), folder, seed, decay=0.99)
