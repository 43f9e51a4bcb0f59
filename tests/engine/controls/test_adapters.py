"""Adapters that are on together: a mix bends a layer as its parts do, and keeps nothing of the weights before."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from krea_studio.engine.controls import adapters

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


def test_an_adapter_that_could_not_be_loaded_leaves_the_others_off(
    layer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after pictures of references, which switch adapters off and on again: the new one's layers were left on."""
    answer, pipeline = layer
    transformer = pipeline.transformer
    before = answer({})
    answer({"first": 1.0})
    path = tmp_path / "new.safetensors"
    name = f"{adapters.PREFIX}transformer_blocks.4.ff.up"
    out, width = transformer.transformer_blocks[4].ff.up.weight.shape
    save_file({f"{name}.lora_A.weight": torch.ones(2, width), f"{name}.lora_B.weight": torch.ones(out, 2)}, path)

    def full(*given: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr("peft.set_peft_model_state_dict", full)
        with pytest.raises(RuntimeError):
            adapters.ensure_loaded(pipeline, "new", path)
    assert "new" not in transformer.peft_config
    assert not any("new" in bent.lora_A for bent in transformer.modules() if isinstance(bent, LoraLayer))
    with adapters.switched_off(transformer):
        pass
    assert (answer({}) == before).all()


def test_what_was_on_is_on_again_and_nothing_else(layer: Any) -> None:
    answer, pipeline = layer
    before, bent = answer({}), answer({"first": 1.0})
    chosen = pipeline.transformer.transformer_blocks[1].attn.to_q
    tokens = torch.randn(1, 7, before.shape[-1])
    with torch.no_grad(), adapters.weighted(pipeline.transformer, {"first": 1.0}):
        on = chosen(tokens)
        with adapters.switched_off(pipeline.transformer):
            assert (chosen(tokens) == chosen.base_layer(tokens)).all()
        assert (chosen(tokens) == on).all() and (on != chosen.base_layer(tokens)).any()
    assert (answer({}) == before).all() and (bent != before).any()


def test_weights_that_cannot_be_set_leave_everything_off(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, pipeline = layer
    before = answer({})

    def half_done(names: Any, weights: Any) -> None:
        pipeline.transformer.enable_lora()
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline.transformer, "set_adapters", half_done)
        with pytest.raises(RuntimeError):
            answer({"first": 1.0})
    assert (answer({}) == before).all()
