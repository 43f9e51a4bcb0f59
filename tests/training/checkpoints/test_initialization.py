"""How the transformer begins."""

from __future__ import annotations

import pytest
import torch

from krea_studio.training import flow
from krea_studio.training.checkpoints import (
    architecture,
    coupling,
    initialization,
    patches,
)


@pytest.mark.parametrize("grid", [flow.Grid(16, 16), flow.Grid(21, 49)])
@pytest.mark.parametrize("part", [None, 128])
def test_the_reader_gives_every_token_what_the_noise_says(grid, part):
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    texts = torch.randn(60, 12, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(60, 12).bool()
    initialization.install_reader(model, texts)
    total, count = grid.rows * grid.columns, coupling.NUMBERS
    chosen = patches.part_of(grid, part, True, torch.Generator().manual_seed(1))
    said = torch.randn(24, count)
    noise = coupling.say(torch.randn(24, len(chosen), 96), total, said)
    heads: list[torch.Tensor] = []
    attention = model.transformer_blocks[0].attn
    attention.to_out[0].register_forward_pre_hook(lambda module, inputs: heads.append(inputs[0]))
    with torch.no_grad():
        conditioning = texts[0][:24], texts[1][:24]
        flow.velocity(model, noise, torch.ones(24), grid, conditioning, chosen, torch.float32)
    found = heads[0][:, 12:, 3 * 64 : 3 * 64 + count]
    for k in range(count):
        correlation = torch.corrcoef(torch.stack([found[..., k].mean(1), said[:, k]]))[0, 1]
        assert correlation > (0.7 if part else 0.9)
    assert found.std(1).mean() < 0.1 * found.std()  # alike in all tokens


def test_a_settled_model_carries_its_noise_through():
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
    tokens, grid = torch.randn(2, 96, 96), flow.Grid(8, 12)
    embeds = torch.randn(2, 9, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH)
    with torch.no_grad():
        predicted = flow.velocity(
            model, tokens, torch.ones(2), grid, (embeds, torch.ones(2, 9).bool()), precision=torch.float32
        )
    assert torch.corrcoef(torch.stack([predicted.flatten(), tokens.flatten()]))[0, 1] > 0.9
