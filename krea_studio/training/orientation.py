"""Teaches a fresh transformer's first blocks what all the rest builds on: where a token is, and what is wanted there.

A Krea 2 transformer knows a token's place by how its attention turns alone, the prompt by attending to text, and the
scene that its noise is coupled to by a mean over all tokens. Learning to draw teaches these readings last and badly;
asked for them (`readers`), the first blocks learn them within minutes. So this comes first: every attribute of the
scene, as the caption names it, otherwise as the noise says, its layout, and rows and columns are read from each token's
state, which carries its noise on. Drawing goes on asking for them, because it would unlearn them.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training import architecture, coupling, initialization, loop, text
from krea_studio.training.captions import caption
from krea_studio.training.denoiser import (
    READ_BLOCKS,
    Grid,
    Learner,
    captions_of,
    common_draw,
    fastest_precision,
    noise_for,
    part_of,
    prepare,
    velocity,
)
from krea_studio.training.readers import Readers
from krea_studio.training.world import random_scene

STEPS = 700
PEAK = 2e-3
PICTURES, TOKENS = 32, 48
NOISE_WEIGHT = 0.3
READER_CAPTIONS = 100
READER_SEED = 11_000_000


def install(
    model: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    device: str,
    steps: int = STEPS,
    seed: int = 0,
) -> Readers:
    """Settle a fresh transformer in place and give it first blocks that have learned (or go on learning) to be read.

    Returns the readers.
    """
    initialization.settle(model, seed)
    torch.manual_seed(seed)
    small = architecture.transformer(layers=READ_BLOCKS)
    initialization.settle(small, seed)
    captions = [caption(random_scene(READER_SEED + k), random.Random(k)).text for k in range(READER_CAPTIONS)]
    initialization.install_reader(small, text.encode(encoder, tokenizer, captions), seed)
    learner = Learner(small).to(device)
    train(learner, encoder, tokenizer, folder, device, steps, seed)
    model.load_state_dict(small.state_dict(), strict=False)
    return learner.readers


def train(
    learner: Learner,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    device: str,
    steps: int = STEPS,
    seed: int = 0,
) -> None:
    """Train (or go on training) the readers and the blocks that they read from."""
    precision, ratios = fastest_precision(learner.model), list(ASPECT_RATIOS)
    prepare(learner.model)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common, draw = common_draw(f"orientation-{seed}", step), random.Random(f"orientation-{seed}-{step}")
        side = architecture.PIXELS_PER_TOKEN
        width, height = size_of(common.choice(ratios), "1K" if common.random() < 0.7 else "512")
        grid = Grid(height // side, width // side)
        chosen, total = part_of(grid, TOKENS, True, generator), grid.rows * grid.columns
        seeds = [draw.randrange(10**9) for _ in range(PICTURES)]
        captions = captions_of(seeds, draw)
        noise = noise_for(torch.zeros(PICTURES, len(chosen), 96), seeds, captions, total, generator).to(device)
        conditioning = text.encode(encoder, tokenizer, [c.text for c in captions])
        times = torch.ones(PICTURES, device=device)
        carried = velocity(learner.model, noise, times, grid, conditioning, chosen, precision)
        read = learner.reading_loss(grid, chosen, seeds, captions, coupling.read(noise, total))
        return read + NOISE_WEIGHT * F.mse_loss(carried, noise)

    loop.run("orientation", learner, loss_of, loop.Schedule(steps, PEAK, warmup=50), folder, seed, decay=0.99)
