"""Adapters that are on together: a mix bends a layer as its parts do, and keeps nothing of the weights before."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from krea_studio.engine import adapters

NAMES = ("first", "second", "third")


@pytest.fixture
def layer(
    load: Callable[[str], Any], tmp_path: Path
) -> Iterator[tuple[Callable[[Mapping[str, float]], torch.Tensor], Any]]:
    """The answer of a layer of mini-turbo to fixed tokens, with three random LoRAs of different rank."""
    pipeline = load("turbo").pipeline
    chosen = pipeline.transformer.transformer_blocks[1].attn.to_q
    width = getattr(chosen, "base_layer", chosen).weight.shape[1]
    draw = torch.Generator().manual_seed(0)
    for rank, name in enumerate(NAMES, start=2):
        sides = {"A": torch.randn(rank, width, generator=draw), "B": torch.randn(width, rank, generator=draw) / 50}
        path = tmp_path / f"{name}.safetensors"
        save_file(
            {f"{adapters.PREFIX}transformer_blocks.1.attn.to_q.lora_{s}.weight": t for s, t in sides.items()}, path
        )
        adapters.ensure_loaded(pipeline, name, path)
    tokens = torch.randn(1, 7, width, generator=draw)

    @torch.no_grad()
    def answer(weights: Mapping[str, float]) -> torch.Tensor:
        with adapters.weighted(pipeline.transformer, weights):
            return pipeline.transformer.transformer_blocks[1].attn.to_q(tokens)

    yield answer, pipeline
    pipeline.transformer.delete_adapters(
        [name for name in pipeline.transformer.peft_config if name.split("+")[0] in NAMES]
    )


def test_a_mix_does_what_its_adapters_do_together(layer: Any) -> None:
    answer, pipeline = layer
    weights = {"first": 0.7, "second": -1.3, "third": 0.2}
    before, apart = answer({}), answer(weights)
    assert (apart - before).abs().max() > 0.01
    adapters.ensure_mixed(pipeline, NAMES)
    assert torch.allclose(answer(weights), apart, atol=1e-5)
    other = answer(dict.fromkeys(NAMES, 1.0))
    assert (other - apart).abs().max() > 0.01
    assert (answer(dict(reversed(weights.items()))) == answer(weights)).all()
    assert (answer({}) == before).all()


def test_fewer_adapters_than_were_mixed_are_on_alone(layer: Any) -> None:
    answer, pipeline = layer
    before = answer({"first": 0.5, "third": 0.5})
    adapters.ensure_mixed(pipeline, NAMES)
    assert (answer({"first": 0.5, "third": 0.5}) == before).all()
