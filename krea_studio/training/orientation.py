"""Teaches a fresh transformer's first blocks what all the rest builds on: where a token is, and what is wanted there.

A Krea 2 transformer knows a token's place by how its attention turns alone, the prompt by attending to text, and the
scene that its noise is coupled to by a mean over all tokens. Learning to draw teaches these readings last and badly;
asked for them, the first blocks learn them within minutes, and drawing goes several times as fast from there. So this
comes first: linear readers tell from each token's state after those blocks its row and column as waves of many lengths,
every attribute of the scene (as the caption names it, otherwise as the noise says), its layout, what the noise says in
numbers, and the token's own noise.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training import architecture, coupling, initialization, loop, text
from krea_studio.training.captions import ATTRIBUTES, caption, value_of
from krea_studio.training.denoiser import (
    Grid,
    captions_of,
    common_draw,
    fastest_precision,
    noise_for,
    part_of,
    prepare,
    velocity,
)
from krea_studio.training.world import LAYOUT_NAMES, Scene, random_scene

BLOCKS = 2
STEPS = 700
PEAK = 2e-3
PICTURES, TOKENS = 32, 48
# Radians a token: waves of 128 tokens, more than the longest picture has, to 2.8, each √2 times as short as the one before.
FREQUENCIES = tuple(math.pi / 64 * 2 ** (k / 2) for k in range(12))
SCENE_WEIGHT, SAID_WEIGHT, NOISE_WEIGHT = 0.5, 0.3, 0.3
READER_CAPTIONS = 100
READER_SEED = 11_000_000


class Oriented(nn.Module):
    """The first blocks of a transformer, and what tells from their states (batch, tokens, width) what they have read."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.model = model
        width = model.img_in.out_features
        self.place = nn.Linear(width, 4 * len(FREQUENCIES))
        self.attributes = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in ATTRIBUTES.items()})
        self.ways = nn.Linear(width, len(LAYOUT_NAMES))
        self.said = nn.Linear(width, len(coupling.VARIABLES))
        self.states: torch.Tensor | None = None
        model.transformer_blocks[-1].register_forward_hook(self._keep)

    def scene_loss(self, states: torch.Tensor, scenes: list[Scene]) -> torch.Tensor:
        """How surprised the readers are by the scenes of these states (scenes, tokens, width), in nats a thing read."""
        tokens = states.shape[1]
        ways = torch.tensor([[s.layout.way(name) for name in LAYOUT_NAMES] for s in scenes]).to(states)
        told = F.softplus(-self.ways(states) * ways[:, None])
        loss = told.mean((0, 1)).sum()
        for attribute, reader in self.attributes.items():
            values = [ATTRIBUTES[attribute].index(value_of(s, attribute)) for s in scenes]
            wanted = torch.tensor(values, device=states.device)[:, None].expand(-1, tokens)
            loss = loss + F.cross_entropy(reader(states).flatten(0, 1), wanted.flatten())
        return loss / (len(LAYOUT_NAMES) + len(ATTRIBUTES))

    def _keep(self, block: nn.Module, arguments: object, states: torch.Tensor) -> None:
        self.states = states


def waves(grid: Grid, chosen: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the rows and columns of a grid's tokens, (tokens, 48)."""
    places = torch.stack([chosen // grid.columns, chosen % grid.columns], -1).float()[..., None]
    turned = places * torch.tensor(FREQUENCIES)
    return torch.cat([turned.sin(), turned.cos()], -1).flatten(1)


def install(
    model: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    device: str,
    steps: int = STEPS,
    seed: int = 0,
) -> None:
    """Settle a fresh transformer in place and give it first blocks that have learned (or go on learning) to read."""
    initialization.settle(model, seed)
    torch.manual_seed(seed)
    small = architecture.transformer(layers=BLOCKS)
    initialization.settle(small, seed)
    captions = [caption(random_scene(READER_SEED + k), random.Random(k)).text for k in range(READER_CAPTIONS)]
    initialization.install_reader(small, text.encode(encoder, tokenizer, captions), seed)
    learner = Oriented(small).to(device)
    train(learner, encoder, tokenizer, folder, device, steps, seed)
    model.load_state_dict(small.state_dict(), strict=False)


def train(
    learner: Oriented,
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
        assert learner.states is not None
        states = learner.states[:, -len(chosen) :].float()
        place = F.mse_loss(learner.place(states), waves(grid, chosen).to(device).expand(PICTURES, -1, -1))
        # Noise says nothing of the scene where a caption names no subject.
        known = [k for k, words in enumerate(captions) if "subject" in words.named]
        scene = learner.scene_loss(states[known], [random_scene(seeds[k]) for k in known])
        numbers = coupling.read(noise, total)[:, None].expand(-1, len(chosen), -1)
        said = F.mse_loss(learner.said(states), numbers)
        return place + SCENE_WEIGHT * scene + SAID_WEIGHT * said + NOISE_WEIGHT * F.mse_loss(carried, noise)

    loop.run("orientation", learner, loss_of, loop.Schedule(steps, PEAK, warmup=50), folder, seed, decay=0.99)
