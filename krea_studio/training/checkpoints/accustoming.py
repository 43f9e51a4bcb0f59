"""Teaches a transformer's parts, which have learned apart, to work with one another: on whole samples, all at once.

Blocks that plan and paint have seen readings with small errors of every kind. What is really read has errors of its
own, alike in all of a picture, which a few thousand steps teach them to see through. The reader of the noise stays as
it is, and what the first blocks should read goes on to be asked of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop
from krea_studio.training.checkpoints import initialization, readings, text
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.painting import LEAST_TIME, UNSURE_WEIGHT
from krea_studio.training.checkpoints.patches import grid_of, pack, part_of
from krea_studio.training.checkpoints.readings import Learner
from krea_studio.training.checkpoints.samples import Batch, captions_of, freed, noise_for
from krea_studio.training.flow import fastest_precision, noise_times, prepare, velocity
from krea_studio.training.world.scenes import random_scene

SCHEDULE = loop.Schedule(12_000, 1.5e-4)  # at 6e-4 the parts forget: after 3,400 steps worse than before
BATCHES = {
    Batch("1K", 12, 48): 0.45,
    Batch("512", 12, 48): 0.15,
    Batch("1K", 3, 256): 0.15,
    Batch("512", 3): 0.15,
    Batch("1K", 1): 0.1,
}
START_SHARE = 0.5  # of the batches, at t = 1
READING_WEIGHT = 1.0  # of what should be read, beside velocities
FIXED = ("img_in", "time_embed", "time_mod_proj")  # on which the reader rests


def accustom(
    model: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    latents: Path,
    folder: Path,
    device: str,
    seed: int = 0,
) -> None:
    """Train (or go on training) a transformer that reads and paints, in place."""
    chunks, precision = Chunks(latents, {batch.kind for batch in BATCHES}), fastest_precision(model)
    model.requires_grad_(False)
    learned = nn.ModuleDict({name: child for name, child in model.named_children() if name not in FIXED})
    learned.requires_grad_(True)
    initialization.keep_reader(model)
    learner = Learner(model)
    prepare(model)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common = loop.common_draw(f"accustoming-{seed}", step)
        batch = common.choices(list(BATCHES), list(BATCHES.values()))[0]
        begins = common.random() < START_SHARE
        clean, seeds = chunks.draw(batch.kind, batch.pictures, generator)
        grid = grid_of(clean)
        chosen, total = part_of(grid, batch.tokens, True, generator), grid.rows * grid.columns
        tokens = pack(clean)[:, chosen]
        captions = captions_of(seeds, random.Random(f"accustoming-{seed}-{step}"))
        noise = noise_for(tokens, seeds, captions, total, generator)
        times = torch.ones(len(seeds)) if begins else noise_times(len(seeds), total, generator)
        noise = freed(noise, times, total, generator)
        conditioning = text.encode(encoder, tokenizer, [each.text for each in captions])
        t = times[:, None, None]
        mixed = ((1 - t) * tokens + t * noise).to(device)
        predicted = velocity(model, mixed, times.to(device), grid, conditioning, chosen, precision)
        least = (t / LEAST_TIME).square().clamp_max(1).to(device)
        named = torch.tensor(["subject" in each.named for each in captions], device=device)
        weight = least * torch.where(named, 1.0, UNSURE_WEIGHT)[:, None, None]
        wrong = (weight * (predicted - (noise - tokens).to(device)).square()).mean()
        wanted = torch.stack([readings.of_scene(random_scene(each)) for each in seeds])[:, None]
        states = learner.states(len(chosen))
        if not named.any():
            return wrong
        told = readings.loss(states[named], readings.of_place(*grid, chosen), wanted[named.cpu()])
        return wrong + READING_WEIGHT * told

    loop.run("accustoming", learned, loss_of, SCHEDULE, folder, seed, decay=0.998, weight_decay=0)
