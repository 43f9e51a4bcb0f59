"""Latents as tokens, and parts of them."""

from __future__ import annotations

import pytest
import torch
from diffusers import Krea2Pipeline

from krea_studio.training import flow
from krea_studio.training.checkpoints import (
    patches,
)


def test_tokens_are_packed_as_the_pipeline_packs_them():
    latents = torch.randn(2, 6, 12, 20)
    stock = Krea2Pipeline._pack_latents(type("P", (), {"patch_size": 4})(), latents, 2, 6, 12, 20)
    assert torch.equal(patches.pack(latents), stock)
    assert patches.grid_of(latents) == flow.Grid(3, 5)
    assert torch.equal(patches.unpack(stock, flow.Grid(3, 5)), latents)


@pytest.mark.parametrize("spread", [True, False])
def test_a_part_of_the_tokens_is_spread_or_a_window(spread):
    grid = flow.Grid(20, 30)
    for seed in range(20):
        chosen = patches.part_of(grid, 100, spread, torch.Generator().manual_seed(seed))
        assert len(chosen) == len(set(chosen.tolist())) and 90 <= len(chosen) <= 100
        rows, columns = chosen // 30, chosen % 30
        if spread:
            assert {0, 29, 570, 599} <= set(chosen.tolist())
        else:
            assert (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) <= len(chosen)
    assert patches.part_of(grid, None, spread, torch.Generator()).tolist() == list(range(600))
