"""Lets a transformer's later blocks paint from what its first ones really read, where painting was learned from the truth.

What is read is a little off, alike in all of a picture's tokens, and painted so it is a grid that anyone sees. So the
whole transformer reads, and the later blocks learn what to make of it, still token by token: that is as fast as reading.
Half of the states on the way are the transformer's own, as a run of it left them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop
from krea_studio.training.checkpoints import coupling, text
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.painting import LEAST_TIME, UNSURE_WEIGHT, Painter
from krea_studio.training.checkpoints.patches import grid_of, pack, part_of
from krea_studio.training.checkpoints.readings import Learner
from krea_studio.training.checkpoints.samples import Batch, captions_of, freed, noise_for
from krea_studio.training.flow import fastest_precision, levels_on_the_way, noise_times, prepare, velocity, walk

MEDIUM = {Batch("1K", 32, 48): 0.4, Batch("1K", 8, 192): 0.35, Batch("512", 16, 96): 0.25}
LARGE = {Batch("1K rich", 32, 48): 0.4, Batch("1K rich", 8, 192): 0.35, Batch("512 rich", 16, 96): 0.25}
SCHEDULE = loop.Schedule(900, 1.5e-4, warmup=30)
START_SHARE = 0.5  # of the batches, at t = 1
OWN_SHARE = 0.5  # of the others, with states of the transformer's own
READ_BY = ("img_in", "time_embed", "time_mod_proj")  # as it is, what is read is right


def refine(
    model: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    batches: Mapping[Batch, float],
    latents: Path,
    folder: Path,
    device: str,
    seed: int = 0,
) -> None:
    """Train (or go on training) the later blocks of a transformer that reads, in place."""
    precision, chunks = fastest_precision(model), Chunks(latents, {batch.kind for batch in batches})
    painter, learner = Painter(model).to(device), Learner(model)
    prepare(model)
    model.requires_grad_(False)
    painter.requires_grad_(True)
    painter.tell.requires_grad_(False)
    for name in READ_BY:
        getattr(model, name).requires_grad_(False)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common = loop.common_draw(f"refinement-{seed}", step)
        batch = common.choices(list(batches), list(batches.values()))[0]
        begins, own = common.random() < START_SHARE, common.random() < OWN_SHARE
        clean, seeds = chunks.draw(batch.kind, batch.pictures, generator)
        grid = grid_of(clean)
        chosen, total = part_of(grid, batch.tokens, True, generator), grid.rows * grid.columns
        tokens = coupling.silent(pack(clean)[:, chosen])
        captions = captions_of(seeds, random.Random(f"refinement-{seed}-{step}"))
        noise = noise_for(tokens, seeds, captions, total, generator)
        coupled = torch.tensor(["subject" in each.named for each in captions])
        conditioning = text.encode(encoder, tokenizer, [each.text for each in captions])
        predict = partial(velocity, model, grid=grid, conditioning=conditioning, chosen=chosen, precision=precision)
        levels = [1.0] if begins else levels_on_the_way(common)
        if begins or own:
            times = torch.full((len(seeds),), levels[-1])
        else:
            times = noise_times(len(seeds), total, generator)
            noise = freed(noise, times, total, generator)
        t, noise, tokens = times[:, None, None].to(device), noise.to(device), tokens.to(device)
        mixed = (1 - t) * tokens + t * noise
        with torch.no_grad():
            if own and not begins:  # where there is no pair, states stay on the straight way
                mixed = torch.where(coupled[:, None, None].to(device), walk(noise, levels, predict), mixed)
            predict(mixed, times.to(device))
            states = learner.states(len(chosen))
        predicted, _ = painter(states, times.to(device))
        wrong = (predicted - (mixed - tokens) / t).square().mean((1, 2)) * (t[:, 0, 0] / LEAST_TIME).square().clamp_max(
            1
        )
        return (wrong * torch.where(coupled, 1.0, UNSURE_WEIGHT).to(device)).mean()

    loop.run("refinement", painter, loss_of, SCHEDULE, folder, seed, decay=0.998)
    model.requires_grad_(True)
