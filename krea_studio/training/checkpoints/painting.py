"""Teaches a transformer's later blocks to paint, token by token, from what the first blocks will have read of it.

In two parts, which learn apart and at once. Some blocks plan: they turn a token's place and the scene into what lies
where in it (`world.regions`), whatever its colours and style. The others paint: they turn that and the scene's look
into the token's latents, in all places alike. Each is a small thing to learn, which the whole is not: after as many
minutes its error is ten times as large. Then they learn together.

The first blocks' attention is not needed for it, and what they read is given with small errors, as theirs will be, or
in some tokens not at all, so that what nobody tells becomes a mean picture. The velocity follows from the picture in
closed form (`initialization.settle`), so there is little to learn about times. Attention of the later blocks stays
silent but for what `initialization.install_look` gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F

from krea_studio.training import loop
from krea_studio.training.checkpoints import readings
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.patches import grid_of, pack
from krea_studio.training.flow import noise_times
from krea_studio.training.world import regions
from krea_studio.training.world.scenes import random_scene

PLANNING = 3  # of the blocks
PLANNED = slice(readings.FIRST, readings.FIRST + regions.COUNT)  # where in a state a plan comes
PLANS = loop.Schedule(30_000, 2e-3, cooling=0.6)
PAINTS = loop.Schedule(32_000, 2e-3, cooling=0.6)
TOGETHER = loop.Schedule(20_000, 1e-3)
RICH = loop.Schedule(10_000, 1e-3)
KINDS = {"1K": 0.75, "512": 0.25}
RICH_KINDS = {"1K rich": 0.75, "512 rich": 0.25}
TOKENS = 512  # of each step and process: of pictures of one size
DETAIL_WEIGHT = 2.0  # how much more often tokens are seen in which there is as much as in all on the average
READING_ERROR, PLAN_ERROR = 0.03, 0.03
REST_WEIGHT = 0.1  # of what planning blocks do to the other numbers of a state
PLAN_WEIGHT = 0.3  # of plans beside pictures, where both are learned
START_SHARE = 0.5  # of the steps, at t = 1
LEAST_TIME = 0.3  # below it, velocities count less: there a small error of a state is a large one of theirs
UNTOLD_SHARE = 0.04  # of the tokens, of which nothing of the scene is read
OPEN_SHARE = 0.06  # of the tokens, of which a third of what tells of the scene is not read
UNSURE_WEIGHT = 0.25  # of both in the loss, since most of theirs nobody could know


class Planner(nn.Module):
    """The planning blocks of a transformer without their attention."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.blocks = _without_attention(model, readings.BLOCKS, readings.BLOCKS + PLANNING)

    def forward(self, states: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """States (groups, n, width), at times that modulate by (groups, 1, 6, width), with their plans."""
        for block in self.blocks:
            states = block(states, modulation)
        return states


class Painter(nn.Module):
    """The painting blocks of a transformer without their attention, and its last layer."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.blocks = _without_attention(model, readings.BLOCKS + PLANNING, len(model.transformer_blocks))
        self.final_layer = model.final_layer

    def forward(self, states: torch.Tensor, modulation: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """Velocities (groups, n, 96) of planned states, at times embedded as (groups, 1, width)."""
        for block in self.blocks:
            states = block(states, modulation)
        return self.final_layer(states, embedded)


class Later(nn.Module):
    """All of a transformer after the blocks that read, without attention."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.planner, self.painter = Planner(model), Painter(model)
        self._model = [model]  # not a part

    def forward(self, states: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocities (groups, n, 96) of states (groups, n, width) at times (groups,), and the states' plans."""
        modulation, embedded = _at(self._model[0], times)
        planned = self.planner(states, modulation)
        return self.painter(planned, modulation, embedded), planned[..., PLANNED]


class _Block(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.ff, self.norm2, self.scale_shift_table = block.ff, block.norm2, block.scale_shift_table

    def forward(self, states: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        _, _, _, scale, shift, gate = (modulation + self.scale_shift_table).unbind(-2)
        return states + gate * self.ff((1 + scale) * self.norm2(states) + shift)


def _without_attention(model: Krea2Transformer2DModel, first: int, end: int) -> nn.ModuleList:
    return nn.ModuleList(_Block(block) for block in model.transformer_blocks[first:end])


def _at(model: Krea2Transformer2DModel, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What times (groups,) modulate by, (groups, 1, 6, width), and their embeddings, (groups, 1, width)."""
    embedded = model.time_embed(times, dtype=torch.float32)
    return model.time_mod_proj(F.gelu(embedded, approximate="tanh")).unflatten(-1, (6, -1)), embedded


class Drawn(NamedTuple):
    """Tokens (n, 96) of pictures of one size, of `total` tokens each; what is read (n, 126) and planned (n, 71) of them."""

    tokens: torch.Tensor
    read: torch.Tensor
    plan: torch.Tensor
    total: int


class Tokens:
    """Every token of some classes of latents, those with much in them more often."""

    def __init__(self, latents: Path, kinds: Mapping[str, float] = KINDS) -> None:
        self._shares = kinds
        self._kinds: dict[str, list[tuple[torch.Tensor, ...]]] = {}
        for kind, chunks in Chunks(latents, kinds).chunks.items():
            self._kinds[kind] = []
            for chunk in chunks:
                grid, tokens = grid_of(chunk["latents"]), pack(chunk["latents"])
                place = readings.of_place(*grid, torch.arange(grid.rows * grid.columns))
                read = torch.stack([readings.of_scene(random_scene(seed)) for seed in chunk["seeds"].tolist()])
                detail = tokens.float().unflatten(-1, (-1, 16)).std(-1).mean(-1).flatten().double()
                upto = (1 + DETAIL_WEIGHT * detail / detail.mean()).cumsum(0)
                self._kinds[kind].append((tokens, place, read, chunk["plans"], upto))

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        share = float(torch.rand((), generator=generator))
        kind = next(kind for kind, upto in _running(self._shares).items() if share < upto)
        chunks = self._kinds[kind]
        tokens, place, scenes, plans, upto = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        at = torch.rand(count, generator=generator, dtype=torch.float64) * upto[-1]
        picked = torch.searchsorted(upto, at).clamp_max(len(upto) - 1)
        pictures, numbers = picked // len(place), picked % len(place)
        read = torch.cat([place[numbers], scenes[pictures]], 1)
        return Drawn(tokens[pictures, numbers].float(), read, plans[pictures, numbers].float(), len(place))

    @property
    def mean(self) -> torch.Tensor:
        """What is read of a scene that nothing tells of, (54,)."""
        return torch.cat([scenes for chunks in self._kinds.values() for _, _, scenes, *_ in chunks]).mean(0)


def _running(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares as the sums up to each of them, of which the last is more than 1."""
    found, upto = {}, 0.0
    for name, share in shares.items():
        upto += share
        found[name] = upto
    return found | {name: 1.01}


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


def entered(model: Krea2Transformer2DModel, noise: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """States (…, width) of noise (…, 96) of which the first blocks have read so much, (…, 126)."""
    states = model.img_in(noise)
    places = slice(readings.FIRST, readings.FIRST + readings.COUNT)
    return torch.cat([states[..., : places.start], read, states[..., places.stop :]], -1)


def plan(model: Krea2Transformer2DModel, latents: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Train (or go on training) a settled transformer's planning blocks in place."""
    planner, tokens = Planner(model).to(device), Tokens(latents)
    mean, run = tokens.mean, torch.compile(planner, dynamic=False)
    modulation, _ = _at(model, torch.ones(1, device=device))
    modulation = modulation.detach()

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        drawn = tokens.draw(TOKENS, generator)
        read, sure = hidden(drawn.read, mean, generator)
        read = read + READING_ERROR * torch.randn(read.shape, generator=generator)
        noise = torch.randn(drawn.tokens.shape, generator=generator)
        with torch.no_grad():
            states = entered(model, noise.to(device), read.to(device))
        left = run(states[None], modulation)[0]
        weight = torch.where(sure, 1.0, UNSURE_WEIGHT)[:, None].to(device)
        wrong = (weight * (left[:, PLANNED] - drawn.plan.to(device)).square()).mean()
        return wrong + REST_WEIGHT * _beside(left, states)

    loop.run("planning", planner, loss_of, PLANS, folder, seed, decay=0.998)


def _beside(left: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """How much else than plans changed in states."""
    before, after = slice(PLANNED.start), slice(PLANNED.stop, None)
    return F.mse_loss(left[:, before], states[:, before]) + F.mse_loss(left[:, after], states[:, after])


def paint(model: Krea2Transformer2DModel, latents: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Train (or go on training) a settled transformer's painting blocks and last layer in place, from right plans."""
    painter, tokens = Painter(model).to(device), Tokens(latents)
    run = torch.compile(painter, dynamic=False)
    modulation, embedded = (each.detach() for each in _at(model, torch.ones(1, device=device)))

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        drawn = tokens.draw(TOKENS, generator)
        read = drawn.read + READING_ERROR * torch.randn(drawn.read.shape, generator=generator)
        planned = drawn.plan + PLAN_ERROR * torch.randn(drawn.plan.shape, generator=generator)
        noise = torch.randn(drawn.tokens.shape, generator=generator).to(device)
        with torch.no_grad():
            read = torch.cat([planned, read[:, regions.COUNT :]], 1)
            states = entered(model, noise, read.to(device))
        predicted = run(states[None], modulation, embedded)[0]
        return F.mse_loss(predicted, noise - drawn.tokens.to(device))

    loop.run("painting", painter, loss_of, PAINTS, folder, seed, decay=0.998)


def join(model: Krea2Transformer2DModel, latents: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Train (or go on training) blocks that plan and blocks that paint together, in place."""
    _join("joining", model, Tokens(latents), TOGETHER, folder, device, seed)


def enrich(model: Krea2Transformer2DModel, latents: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Train (or go on training) these blocks of a transformer that paints on rich pictures, in place."""
    _join("enriching", model, Tokens(latents, RICH_KINDS), RICH, folder, device, seed)


def _join(
    name: str,
    model: Krea2Transformer2DModel,
    tokens: Tokens,
    schedule: loop.Schedule,
    folder: Path,
    device: str,
    seed: int,
) -> None:
    later = Later(model).to(device)
    mean, run = tokens.mean, torch.compile(later, dynamic=False)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        begins = loop.common_draw(f"{name}-{seed}", step).random() < START_SHARE
        drawn = tokens.draw(TOKENS, generator)
        read, sure = hidden(drawn.read, mean, generator)
        read = read + READING_ERROR * torch.randn(read.shape, generator=generator)
        noise = torch.randn(drawn.tokens.shape, generator=generator)
        times = torch.ones(1) if begins else noise_times(1, drawn.total, generator)
        mixed = (1 - times) * drawn.tokens + times * noise
        with torch.no_grad():
            states = entered(model, mixed.to(device), read.to(device))
        predicted, planned = run(states[None], times.to(device))
        weight = torch.where(sure, 1.0, UNSURE_WEIGHT)[:, None].to(device)
        least = float((times / LEAST_TIME).square().clamp_max(1))
        wrong = (weight * (predicted[0] - (noise - drawn.tokens).to(device)).square()).mean() * least
        return wrong + PLAN_WEIGHT * (weight * (planned[0] - drawn.plan.to(device)).square()).mean()

    loop.run(name, later, loss_of, schedule, folder, seed, decay=0.998)
