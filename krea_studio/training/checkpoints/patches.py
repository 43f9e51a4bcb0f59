"""Latents as the transformer's tokens, and a part of a picture's tokens to learn from."""

from __future__ import annotations

import torch

from krea_studio.training.checkpoints import architecture
from krea_studio.training.flow import Grid


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(batch, 6, h, w) → tokens (batch, h·w / 16, 96), in the pipeline's order."""
    b, c, h, w = latents.shape
    p = architecture.PATCH_SIZE
    return latents.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p)


def unpack(tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Tokens (batch, n, 96) of a grid → (batch, 6, h, w), the inverse of `pack`."""
    p, c = architecture.PATCH_SIZE, architecture.LATENT_CHANNELS
    x = tokens.view(len(tokens), grid.rows, grid.columns, c, p, p).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(len(tokens), c, grid.rows * p, grid.columns * p)


def grid_of(latents: torch.Tensor) -> Grid:
    """The grid of latents (batch, 6, h, w)."""
    return Grid(latents.shape[2] // architecture.PATCH_SIZE, latents.shape[3] // architecture.PATCH_SIZE)


def part_of(grid: Grid, count: int | None, spread: bool, generator: torch.Generator) -> torch.Tensor:
    """Numbers of about `count` tokens of a grid; all of them where `count` is None or as many.

    From all over the picture, with its four corners, by which its size can be told; or those of one window.
    """
    total = grid.rows * grid.columns
    if count is None or count >= total:
        return torch.arange(total)
    if spread:
        corners = torch.tensor([0, grid.columns - 1, total - grid.columns, total - 1])
        return torch.cat([corners, torch.randperm(total, generator=generator)[: count - len(corners)]]).unique()
    rows = min(grid.rows, round(count**0.5))
    columns = min(grid.columns, count // rows)
    top = int(torch.randint(grid.rows - rows + 1, (), generator=generator))
    left = int(torch.randint(grid.columns - columns + 1, (), generator=generator))
    return (torch.arange(top, top + rows)[:, None] * grid.columns + torch.arange(left, left + columns)).flatten()
