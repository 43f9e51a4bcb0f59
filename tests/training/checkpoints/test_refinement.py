"""Later blocks learn to paint from what the first ones really read."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.training import loop
from krea_studio.training.checkpoints import architecture, initialization, readings, refinement, samples


@pytest.fixture(scope="module")
def reader():
    folder = ASSETS / "mini-medium"
    encoder = Qwen3VLModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval().requires_grad_(False)
    return encoder, PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")


@pytest.mark.parametrize("checkpoint", ["mini-medium", "mini-large"])
def test_what_reads_stays_and_what_paints_learns(checkpoint, reader, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "SCHEDULE", loop.Schedule(3, 1e-3))
    monkeypatch.setattr(refinement, "prepare", lambda model: None)  # compiling takes longer than all else here
    chunk = {"latents": torch.randn(3, 6, 16, 24).half(), "seeds": torch.tensor([10_000_000, 10_000_001, 10_000_002])}
    torch.save(chunk, tmp_path / "1K-0000.pt")
    batches = {samples.Batch("1K", 2, 6): 0.5, samples.Batch("1K", 1): 0.5}

    def refined() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], int]:
        torch.manual_seed(0)
        model = architecture.transformer("mini-medium")
        initialization.settle(model)
        model = initialization.expanded(model) if checkpoint == "mini-large" else model
        before = {name: value.clone() for name, value in model.state_dict().items()}
        refinement.refine(model, *reader, batches, tmp_path, tmp_path / "work", "cpu")
        assert all(parameter.requires_grad for parameter in model.parameters())
        return before, model.state_dict(), readings.blocks_of(model)

    before, after, first = refined()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    later = [f"transformer_blocks.{k}." for k in range(first, 12)]
    assert any(name.startswith(f"{later[0]}ff") for name in changed) and "final_layer.linear.weight" in changed
    assert all(name.startswith((*later, "final_layer")) and ".attn." not in name for name in changed)
    assert all(torch.equal(value, refined()[1][name]) for name, value in list(after.items())[:40])
