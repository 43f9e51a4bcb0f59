"""Teaches a fresh transformer's later blocks to paint: from what the first ones will read, token by token.

A token of the right picture depends on its place, the picture's size and the scene alone, which `readings` holds, as
long as noise tells the scene. So painting needs no attention, no captions and no whole pictures: each step takes
thousands of tokens from hundreds of pictures, tens of times as fast as whole training, and what took longest there,
crisp edges, is learned here within half an hour. What the first blocks read is given with small errors, as theirs
will be. Attention of the later blocks is silent meanwhile, and comes in when all is trained together (`denoiser`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F

from krea_studio.training import loop, readings
from krea_studio.training.denoiser import fastest_precision, grid_of, noise_times, pack
from krea_studio.training.latents import Chunks
from krea_studio.training.world import random_scene

STEPS = 5000
PEAK = 3e-3
COOLING = 0.7
GROUPS, TOKENS = 4, 1024  # of each process: of tokens of pictures of one size, at one time
KINDS = {"1K": 0.75, "512": 0.25}
START_SHARE = 0.6  # of the groups, at t = 1
READING_ERROR = 0.08


class Painter(nn.Module):
    """A transformer without its attention: the states that its first blocks would leave become velocities."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.time_embed, self.time_mod_proj = model.time_embed, model.time_mod_proj
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"ff": block.ff, "norm2": block.norm2})
            for block in model.transformer_blocks[readings.BLOCKS :]
        )
        self.tables = nn.ParameterList(block.scale_shift_table for block in model.transformer_blocks[readings.BLOCKS :])
        self.final_layer = model.final_layer

    def forward(self, states: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Velocities (groups, n, 96) of states (groups, n, width) at times (groups,)."""
        embedded = self.time_embed(times, dtype=states.dtype)
        modulation = self.time_mod_proj(F.gelu(embedded, approximate="tanh")).unflatten(-1, (6, -1))
        for block, table in zip(self.blocks, self.tables, strict=True):
            _, _, _, scale, shift, gate = (modulation + table).unbind(-2)
            states = states + gate * block["ff"]((1 + scale) * block["norm2"](states) + shift)
        return self.final_layer(states, embedded)


class Tokens:
    """Every token of the latents, with what is to be read of it."""

    def __init__(self, latents: Path) -> None:
        self._kinds: dict[str, list[tuple[torch.Tensor, ...]]] = {}
        for kind, chunks in Chunks(latents, KINDS).chunks.items():
            self._kinds[kind] = []
            for chunk in chunks:
                grid = grid_of(chunk["latents"])
                place = readings.of_place(*grid, torch.arange(grid.rows * grid.columns))
                scenes = torch.stack([readings.of_scene(random_scene(seed)) for seed in chunk["seeds"].tolist()])
                self._kinds[kind].append((pack(chunk["latents"]), place, scenes))

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Tokens (count, 96) of pictures of one size, what is read of them, (count, 126), and how many one has."""
        share = torch.rand((), generator=generator)
        chunks = self._kinds["1K" if share < KINDS["1K"] else "512"]
        tokens, place, scenes = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        pictures = torch.randint(len(scenes), (count,), generator=generator)
        numbers = torch.randint(len(place), (count,), generator=generator)
        read = torch.cat([place[numbers], scenes[pictures]], 1)
        return tokens[pictures, numbers].float(), read, len(place)


def install(model: Krea2Transformer2DModel, latents: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Train (or go on training) a settled transformer's later blocks in place."""
    painter, tokens = Painter(model), Tokens(latents)
    places = slice(readings.FIRST, readings.FIRST + readings.COUNT)
    enter, paint = model.img_in.requires_grad_(False), torch.compile(painter, dynamic=False)
    precision = fastest_precision(model)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        drawn = [tokens.draw(TOKENS, generator) for _ in range(GROUPS)]
        times = torch.stack([noise_times(1, total, generator)[0] for *_, total in drawn])
        times[torch.rand(GROUPS, generator=generator) < START_SHARE] = 1
        clean, read = (torch.stack([each[k] for each in drawn]).to(device) for k in (0, 1))
        noise = torch.randn(clean.shape, generator=generator).to(device)
        read = read + READING_ERROR * torch.randn(read.shape, generator=generator).to(device)
        t = times[:, None, None].to(device)
        states = enter((1 - t) * clean + t * noise)
        states = torch.cat([states[..., : places.start], read, states[..., places.stop :]], -1)
        with torch.autocast(states.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            predicted = paint(states, times.to(device))
        return F.mse_loss(predicted.float(), noise - clean)

    loop.run("painting", painter, loss_of, loop.Schedule(STEPS, PEAK, cooling=COOLING), folder, seed, decay=0.998)
    model.img_in.requires_grad_(True)
