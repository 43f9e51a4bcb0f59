"""Blocks with fewer passes compute what stock ones do, and leave everything else to these."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_krea2 import Krea2AttnProcessor

from krea_studio.engine.pipeline.passes import InPlace, fewer_passes


class Inputs:
    """What a transformer reads: three text tokens, of which one may be masked, and six of the picture, twice."""

    def __init__(self, transformer: Any) -> None:
        draw = torch.Generator().manual_seed(3)
        config = transformer.config
        self.tokens = torch.randn(2, 6, config.in_channels, generator=draw)
        self.text = torch.randn(2, 3, config.num_text_layers, config.text_hidden_dim, generator=draw)
        self.mask = torch.tensor([[True, True, True], [True, False, True]])
        self.positions = torch.zeros(9, 3)
        self.positions[3:, 1:] = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))

    def through(self, transformer: Any, masked: bool = True) -> torch.Tensor:
        mask = self.mask if masked else None
        times = torch.tensor([0.3, 0.9])
        return transformer(
            self.tokens, self.text, times, self.positions, encoder_attention_mask=mask, return_dict=False
        )[0]


@pytest.mark.parametrize("masked", [True, False])
def test_the_function_is_the_same(load: Any, masked: bool) -> None:
    transformer = load("medium").pipeline.transformer
    inputs = Inputs(transformer)
    with torch.no_grad():
        stock = inputs.through(transformer, masked)
        with fewer_passes(transformer, InPlace()):
            fewer = inputs.through(transformer, masked)
        after = inputs.through(transformer, masked)
    assert not torch.equal(stock, fewer), "another way rounds otherwise"
    assert (stock - fewer).abs().max() < 1e-4 * stock.abs().max()
    assert torch.equal(stock, after)
    assert all(type(block.attn.processor) is Krea2AttnProcessor for block in transformer.transformer_blocks)
    assert all("forward" not in vars(block) | vars(block.ff) for block in transformer.transformer_blocks)


def test_gradients_and_other_formats_take_the_stock_way(load: Any) -> None:
    transformer = load("medium").pipeline.transformer
    inputs = Inputs(transformer)
    inputs.tokens.requires_grad_()
    stock = inputs.through(transformer)
    with fewer_passes(transformer, InPlace()):
        fewer = inputs.through(transformer)
        assert torch.equal(stock, fewer)
        fewer.sum().backward()
    assert inputs.tokens.grad is not None
    halved = deepcopy(transformer).to(torch.bfloat16)
    inputs.tokens, inputs.text = (each.detach().to(torch.bfloat16) for each in (inputs.tokens, inputs.text))
    with torch.no_grad():
        expected = inputs.through(halved)
        with fewer_passes(halved, InPlace()):
            assert torch.equal(inputs.through(halved), expected)


def test_another_attention_stays(load: Any) -> None:
    transformer = load("medium").pipeline.transformer
    block = transformer.transformer_blocks[0]

    class Own(Krea2AttnProcessor):
        pass

    own = Own()
    block.attn.set_processor(own)
    try:
        with fewer_passes(transformer, InPlace()):
            assert block.attn.processor is own
        assert block.attn.processor is own
    finally:
        block.attn.set_processor(Krea2AttnProcessor())
