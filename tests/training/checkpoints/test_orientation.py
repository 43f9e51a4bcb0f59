"""The first blocks learn to read: where a token is, and which scene is wanted."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.training import flow, loop
from krea_studio.training.checkpoints import (
    architecture,
    coupling,
    initialization,
    orientation,
    readings,
    samples,
    text,
)
from krea_studio.training.world.captions import ATTRIBUTES, caption
from krea_studio.training.world.scenes import random_scene


def test_a_learner_reads_the_tokens_that_it_is_given():
    torch.manual_seed(0)
    learner = readings.Learner(architecture.transformer(layers=readings.BLOCKS))
    grid, chosen = flow.Grid(8, 12), torch.tensor([0, 11, 40, 95])
    words = torch.randn(2, 9, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(2, 9).bool()
    flow.velocity(learner.model, torch.randn(2, 4, 96), torch.ones(2), grid, words, chosen, torch.float32)
    states = learner.states(4)
    assert states.shape == (2, 4, 256)
    wanted = torch.stack([readings.of_scene(random_scene(seed)) for seed in (3, 4)])[:, None]
    loss = readings.loss(states, readings.of_place(8, 12, chosen), wanted)
    loss.backward()
    assert learner.model.transformer_blocks[0].ff.down.weight.grad is not None


@pytest.fixture(scope="module")
def reader():
    folder = ASSETS / "mini-medium"
    encoder = Qwen3VLModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval().requires_grad_(False)
    return encoder, PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")


def test_learning_goes_on_where_it_was_and_ends_in_the_model(tmp_path, reader, monkeypatch):
    monkeypatch.setattr(orientation, "BATCHES", {samples.Batch("1K", 2, 6): 0.5, samples.Batch("512", 1): 0.5})
    monkeypatch.setattr(orientation, "SCHEDULE", loop.Schedule(2, 1e-3))
    monkeypatch.setattr(orientation, "LISTENER_CAPTIONS", 100)
    monkeypatch.setattr(orientation, "prepare", lambda model, first: None)  # compiling takes longer than all else here
    for name, seed in (("1K", 10_000_000), ("512", 20_000_000)):
        chunk = {"latents": torch.randn(3, 6, 16, 24).half(), "seeds": torch.tensor([seed, seed + 1, seed + 2])}
        torch.save(chunk, tmp_path / f"{name}-0000.pt")

    def installed() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = architecture.transformer("mini-medium")
        initialization.settle(model)
        orientation.install(model, *reader, tmp_path, tmp_path / "work", "cpu")
        return model.state_dict()

    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
    before, first, second = model.state_dict(), installed(), installed()
    # What other blocks share has not changed, and neither have these, but for the attention that carries the look on.
    later = [f"transformer_blocks.{k}." for k in range(readings.BLOCKS, 7)]
    same = ("img_in", "time_", "final_layer", f"{later[0]}ff", f"{later[0]}scale_shift_table", *later[1:])
    assert all(torch.equal(first[name], before[name]) for name in before if name.startswith(same))
    learned = [name for name in before if name.startswith(("transformer_blocks.0.ff", "txt_in"))]
    assert learned and not any(torch.equal(first[name], before[name]) for name in learned if "weight" in name)
    assert all(torch.equal(first[name], second[name]) for name in before)


@pytest.mark.parametrize("grid", [flow.Grid(8, 6), flow.Grid(32, 32)])
def test_a_transformer_that_has_learned_nothing_hears_what_captions_name(reader, grid):
    """Most of it, since its listener is set in closed form; in every token alike, however many there are."""
    torch.manual_seed(0)
    model = architecture.transformer(layers=readings.BLOCKS)
    initialization.settle(model)
    captions = [caption(random_scene(12_000_000 + k), random.Random(k)) for k in range(320)]
    embeds, valid = text.encode(*reader, [each.text for each in captions])
    named = torch.stack([orientation._named(each) for each in captions])
    initialization.install_reader(model, (embeds[:100], valid[:100]))
    initialization.install_listener(model, (embeds[:300], valid[:300]), named[:300])
    told: list[torch.Tensor] = []
    model.transformer_blocks[0].attn.register_forward_hook(lambda attention, given, found: told.append(found))
    total = grid.rows * grid.columns
    noise = torch.randn(20, total, 96)
    with torch.no_grad():
        flow.velocity(model, noise, torch.ones(20), grid, (embeds[300:], valid[300:]), precision=torch.float32)
    end = readings.FIRST + readings.COUNT
    heard = told[0][:, -total:, end - readings.SCENE_NUMBERS : end]
    right = []
    for words, numbers in zip(captions[300:], heard.mean(1), strict=True):
        parts = dict(zip(ATTRIBUTES, numbers.split(readings.SCENE_PARTS), strict=False))
        right += [ATTRIBUTES[name][int(parts[name].argmax())] == value for name, value in words.named.items()]
    assert sum(right) > 0.6 * len(right) > 36  # by chance it would be one in six; more captions make it nearly all
    assert heard.std(1).mean() < 0.2 * heard.std()


def test_tokens_are_told_apart_what_the_noise_would_tell_them_alike():
    torch.manual_seed(0)
    model = architecture.transformer(layers=readings.BLOCKS)
    initialization.settle(model)
    words = torch.randn(60, 9, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(60, 9).bool()
    initialization.install_reader(model, words)
    prompter, learner, grid = orientation._Prompter(model), readings.Learner(model), flow.Grid(8, 12)
    said = torch.randn(4, 1, coupling.NUMBERS).expand(-1, 96, -1)
    noise = torch.randn(4, 96, 96)

    def states(noise: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            flow.velocity(model, noise, torch.ones(4), grid, (words[0][:4], words[1][:4]), precision=torch.float32)
        return learner.states(96)

    prompter.prompt(said / 96**0.5, torch.ones(4))
    told = states(noise)
    prompter.cease()
    # The tokens' own noise is the same but for what all of them say, which is little of each.
    wrong = (states(coupling.say(noise, 96, said[:, 0])) - told).square().mean()
    assert wrong < 0.1 * (states(noise) - told).square().mean()
