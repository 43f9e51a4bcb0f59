"""Teaches a fresh transformer's later blocks to paint: from what the first ones will read, token by token.

A token of the right picture depends on its place, the picture's size and the scene alone, which `readings` holds, as
long as noise tells the scene. So painting needs no attention, no captions and no whole pictures: each step takes
thousands of tokens from hundreds of pictures, tens of times as fast as whole training, and what took longest there,
crisp edges, is learned here within half an hour. What the first blocks read is given with small errors, as theirs
will be, or not at all, so that what nobody tells becomes a mean picture. Where a run has come some way, half of the
states are the painter's own, as it left them on its way down, so that each step mends what those before it got wrong.
The lands' edges, which bend most, are asked for as numbers too: how far below each a token is. Attention of the later
blocks stays silent but for what `initialization.install_look` gives it. In the end they learn on what is really read
(`refinement`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F

from krea_studio.training import loop
from krea_studio.training.checkpoints import architecture, readings
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.patches import grid_of, pack
from krea_studio.training.flow import Grid, fastest_precision, levels_on_the_way, noise_times, walk
from krea_studio.training.world.composition import LANDS, ridges, unit_of
from krea_studio.training.world.scenes import Scene, random_scene

SCHEDULE = loop.Schedule(32_000, 2e-3, cooling=0.375)
KINDS = {"1K": 0.75, "512": 0.25}
GROUPS, TOKENS = 4, 1024  # of each process: of tokens of pictures of one size, at one time
START_SHARE = 0.35  # of the steps, at t = 1
OWN_SHARE = 0.55  # of the others, with states of the painter's own
LEAST_TIME = 0.3  # below it, velocities count less: there a small error of a state is a large one of theirs
READING_ERROR = 0.08
UNTOLD_SHARE = 0.08  # of the tokens, of which nothing of the scene is read
OPEN_SHARE = 0.12  # of the tokens, of which a third of what tells of the scene is not read
UNSURE_WEIGHT = 0.25  # of both in the loss, since most of theirs nobody could know


class Painter(nn.Module):
    """A transformer without its attention: the states that its first blocks would leave become velocities.

    Of the lands' edges (`edges_below`) tell the states after its first block, roughly, and after the second.
    """

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.time_embed, self.time_mod_proj = model.time_embed, model.time_mod_proj
        later = model.transformer_blocks[readings.blocks_of(model) :]
        self.blocks = nn.ModuleList(nn.ModuleDict({"ff": block.ff, "norm2": block.norm2}) for block in later)
        self.tables = nn.ParameterList(block.scale_shift_table for block in later)
        self.final_layer = model.final_layer
        width = model.img_in.out_features
        self.tell = nn.ModuleList([nn.Linear(width, 2 * LANDS), nn.Linear(width, LANDS)])

    def forward(self, states: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocities (groups, n, 96) of states (groups, n, width) at times (groups,), and what is told of edges."""
        embedded = self.time_embed(times, dtype=states.dtype)
        modulation = self.time_mod_proj(F.gelu(embedded, approximate="tanh")).unflatten(-1, (6, -1))
        told = []
        for k, (block, table) in enumerate(zip(self.blocks, self.tables, strict=True)):
            _, _, _, scale, shift, gate = (modulation + table).unbind(-2)
            states = states + gate * block["ff"]((1 + scale) * block["norm2"](states) + shift)
            if k < len(self.tell):
                told.append(self.tell[k](states))
        return self.final_layer(states, embedded), torch.cat(told, -1)


def edges_of(scene: Scene, grid: Grid) -> torch.Tensor:
    """Where a scene's lands begin in every column of a grid, and how fast they fall to the right: in tokens, (6, columns)."""
    side = architecture.PIXELS_PER_TOKEN
    width, height = grid.columns * side, grid.rows * side
    tokens = unit_of(width, height) / side
    at = np.arange(grid.columns) + 0.5
    found = []
    for ridge in ridges(scene, width, height):
        left, middle, right = (np.interp(at + shift, *ridge.T * tokens) for shift in (-0.5, 0.0, 0.5))
        found += [middle, right - left]
    return torch.from_numpy(np.stack(found)).float()


def edges_below(edges: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """What is to be told of tokens in `rows` (n,) by their columns' edges (n, 6), (n, 9).

    For each land the eighth of the distance that a token is below its edge, and how that falls; then half of the
    distance, of close ones.
    """
    middle, falls = edges[:, 0::2], edges[:, 1::2]
    below = rows[:, None] + 0.5 - middle
    return torch.cat([below / 8, falls, (below / 2).clamp(-1.5, 1.5)], 1)


class Tokens:
    """Every token of the latents, with what is to be read of it."""

    def __init__(self, latents: Path) -> None:
        self._kinds: dict[str, list[tuple[torch.Tensor, ...]]] = {}
        for kind, chunks in Chunks(latents, KINDS).chunks.items():
            self._kinds[kind] = []
            for chunk in chunks:
                grid = grid_of(chunk["latents"])
                place = readings.of_place(*grid, torch.arange(grid.rows * grid.columns))
                scenes = [random_scene(seed) for seed in chunk["seeds"].tolist()]
                read = torch.stack([readings.of_scene(scene) for scene in scenes])
                edges = torch.stack([edges_of(scene, grid) for scene in scenes])
                self._kinds[kind].append((pack(chunk["latents"]), place, read, edges))

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        """Tokens (count, 96) of pictures of one size, what is read of them, (count, 126), what is to be told of edges,
        (count, 9), and how many tokens a picture has."""
        share = torch.rand((), generator=generator)
        chunks = self._kinds["1K" if share < KINDS["1K"] else "512"]
        tokens, place, scenes, edges = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        pictures = torch.randint(len(scenes), (count,), generator=generator)
        numbers = torch.randint(len(place), (count,), generator=generator)
        read = torch.cat([place[numbers], scenes[pictures]], 1)
        columns = edges.shape[-1]
        told = edges_below(edges[pictures, :, numbers % columns], numbers // columns)
        return tokens[pictures, numbers].float(), read, told, len(place)

    @property
    def mean(self) -> torch.Tensor:
        """What is read of a scene that nothing tells of, (54,)."""
        return torch.cat([scenes for chunks in self._kinds.values() for _, _, scenes, _ in chunks]).mean(0)


def hidden(read: torch.Tensor, mean: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """What is read of tokens (…, 126), of some of them with the mean (54,) for what tells of the scene or for a part of
    it; and of which tokens all is read, (…)."""
    shape, parts = read.shape[:-1], len(readings.SCENE_PARTS)
    kind = torch.rand((*shape, 1), generator=generator)
    missing = torch.rand((*shape, parts), generator=generator) < 1 / 3
    missing = (kind < UNTOLD_SHARE) | (missing & (kind < UNTOLD_SHARE + OPEN_SHARE))
    wide = missing.repeat_interleave(torch.tensor(readings.SCENE_PARTS), -1)
    place, scene = read.split([read.shape[-1] - len(mean), len(mean)], -1)
    return torch.cat([place, torch.where(wide, mean, scene)], -1), ~missing.any(-1)


def install(model: Krea2Transformer2DModel, latents: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Train (or go on training) a settled transformer's later blocks in place."""
    painter, tokens = Painter(model).to(device), Tokens(latents)
    places = slice(readings.FIRST, readings.FIRST + readings.COUNT)
    enter, paint = model.img_in.requires_grad_(False), torch.compile(painter, dynamic=False)
    precision = fastest_precision(model)

    mean = tokens.mean

    def painted(states: torch.Tensor, read: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        entered = enter(states)
        entered = torch.cat([entered[..., : places.start], read, entered[..., places.stop :]], -1)
        with torch.autocast(entered.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            predicted, told = paint(entered, times)
        return predicted.float(), told.float()

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common = loop.common_draw(f"painting-{seed}", step)
        drawn = [tokens.draw(TOKENS, generator) for _ in range(GROUPS)]
        clean, read, edges = (torch.stack([each[k] for each in drawn]) for k in (0, 1, 2))
        read, sure = hidden(read, mean, generator)
        read = read + READING_ERROR * torch.randn(read.shape, generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        clean, read, edges, sure, noise = (each.to(device) for each in (clean, read, edges, sure, noise))
        if common.random() < START_SHARE:
            times, states = torch.ones(GROUPS, device=device), noise
        elif common.random() < OWN_SHARE:
            levels = levels_on_the_way(common)
            states = walk(noise, levels, lambda states, times: painted(states, read, times)[0])
            times = torch.full((GROUPS,), levels[-1], device=device)
        else:
            times = torch.cat([noise_times(1, total, generator) for *_, total in drawn]).to(device)
            states = (1 - times[:, None, None]) * clean + times[:, None, None] * noise
        t = times[:, None, None]
        predicted, told = painted(states, read, times)
        wrong = (predicted - (states - clean) / t).square().mean(-1) * (t[..., 0] / LEAST_TIME).square().clamp_max(1)
        weight = torch.where(sure, 1.0, UNSURE_WEIGHT)
        return (wrong * weight).mean() + ((told - edges).square().mean(-1) * sure).mean()

    loop.run("painting", painter, loss_of, SCHEDULE, folder, seed, decay=0.998)
    model.img_in.requires_grad_(True)
