"""What mini-turbo itself makes: latents of whole runs, beside the renderer's pictures that they should end in.

The decoder learns on these to put right what the transformer gets slightly wrong (`autoencoder.polish`).
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training import flow, loop
from krea_studio.training.checkpoints import architecture, patches, samples, text
from krea_studio.training.world.captions import ATTRIBUTES, caption
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene

PICTURES = 240
TURBO_STEPS = 8
TURBO_SHIFT = 1.15  # the published Turbo's fixed mu
FIRST_SEED = 6_000_000


@torch.no_grad()
def build(
    model: Krea2Transformer2DModel, encoder: Qwen3VLModel, tokenizer: PreTrainedTokenizerFast, folder: Path, device: str
) -> None:
    """Draw `PICTURES` scenes in eight steps, of which every fourth at 512, and write what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    rank, processes = loop.place()
    levels, precision, ratios = (
        flow.noise_levels(TURBO_STEPS, TURBO_SHIFT),
        flow.fastest_precision(model),
        list(ASPECT_RATIOS),
    )
    for number in range(rank, PICTURES, processes):
        path = folder / f"{number:04d}.pt"
        if path.exists():
            continue
        scene, generator = random_scene(FIRST_SEED + number), torch.Generator().manual_seed(FIRST_SEED + number)
        # All is named: a picture of another scene would teach the decoder nothing.
        words = caption(scene, random.Random(f"own-{scene.seed}"), always=tuple(ATTRIBUTES))
        width, height = size_of(ratios[number % len(ratios)], "512" if number % 4 == 3 else "1K")
        grid = flow.Grid(height // architecture.PIXELS_PER_TOKEN, width // architecture.PIXELS_PER_TOKEN)
        clean = torch.zeros(1, grid.rows * grid.columns, model.config.in_channels)
        x = samples.noise_for(clean, [scene.seed], [words], grid.rows * grid.columns, generator).to(device)
        conditioning = text.encode(encoder, tokenizer, [words.text])
        velocity_of = partial(flow.velocity, model, grid=grid, conditioning=conditioning, precision=precision)
        x = flow.walk(x, levels, velocity_of)
        picture = render(scene, width, height)
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(height, width, 3)
        torch.save({"latents": patches.unpack(x.cpu(), grid)[0].half(), "picture": pixels}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
