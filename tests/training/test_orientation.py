"""The first blocks learn to be read: where a token is, and which scene is wanted."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.training import architecture, coupling, denoiser, orientation
from krea_studio.training.captions import ATTRIBUTES, value_of
from krea_studio.training.readers import FREQUENCIES, Readers, waves
from krea_studio.training.world import LAYOUT_NAMES, Layout, random_scene

WIDTH = 256


def right_readers(scenes, tokens: int = 7) -> tuple[Readers, torch.Tensor]:
    """Readers that look at a number of the state for each thing that can be read, and states that have these."""
    readers, states = Readers(WIDTH), torch.zeros(len(scenes), tokens, WIDTH)
    for reader in (*readers.attributes.values(), readers.ways):
        reader.weight.data.zero_()
        reader.bias.data.zero_()
    at = 0
    for name, reader in readers.attributes.items():
        count = len(ATTRIBUTES[name])
        reader.weight.data[:, at : at + count] = 30 * torch.eye(count)
        for each, scene in zip(states, scenes, strict=True):
            each[:, at + ATTRIBUTES[name].index(value_of(scene, name))] = 1
        at += count
    for k, name in enumerate(LAYOUT_NAMES):
        readers.ways.weight.data[k, at + k] = 30
        for each, scene in zip(states, scenes, strict=True):
            each[:, at + k] = scene.layout.way(name)
    return readers, states


def test_waves_tell_every_place_of_the_largest_grids_apart():
    places = torch.cartesian_prod(torch.arange(48), torch.arange(48))
    told = waves(places)
    assert told.shape == (48 * 48, 4 * len(FREQUENCIES))
    assert torch.pdist(told).min() > 0.3
    assert torch.equal(told[[5, 900]], waves(places[[5, 900]]))


def test_who_reads_a_scene_rightly_is_not_surprised():
    scenes = [random_scene(3), random_scene(4)]
    readers, states = right_readers(scenes)
    assert readers.scene_loss(states, scenes) < 1e-3
    turned = Layout(**{name: 1 - getattr(scenes[0].layout, name) for name in LAYOUT_NAMES})
    assert readers.scene_loss(states, [replace(scenes[0], layout=turned), scenes[1]]) > 1
    assert readers.scene_loss(states.flip(0), scenes) > 1


def test_a_scene_that_nothing_tells_of_is_not_asked_for():
    scenes = [random_scene(3), random_scene(4)]
    readers, states = right_readers(scenes)
    places, said = torch.cartesian_prod(torch.arange(7), torch.arange(1)), torch.zeros(2, len(coupling.VARIABLES))
    both = readers.loss(states, places, scenes, said)
    wrong = readers.loss(states, places, [scenes[0], random_scene(5)], said)
    unasked = readers.loss(states, places, [scenes[0], None], said)
    assert wrong > both + 0.3 and abs(float(unasked - both)) < 1e-3
    assert readers.loss(states, places, [None, None], said) < wrong


def test_a_learner_reads_the_tokens_that_it_is_given():
    torch.manual_seed(0)
    learner = denoiser.Learner(architecture.transformer(layers=denoiser.READ_BLOCKS))
    grid, chosen = denoiser.Grid(8, 12), torch.tensor([0, 11, 40, 95])
    words = torch.randn(2, 9, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(2, 9).bool()
    denoiser.velocity(learner.model, torch.randn(2, 4, 96), torch.ones(2), grid, words, chosen, torch.float32)
    captions = denoiser.captions_of([3, 4], random.Random(1))
    loss = learner.reading_loss(grid, chosen, [3, 4], captions, torch.zeros(2, len(coupling.VARIABLES)))
    loss.backward()
    assert learner.forms is None and learner.model.transformer_blocks[0].ff.down.weight.grad is not None


@pytest.fixture(scope="module")
def reader():
    folder = ASSETS / "mini-medium"
    encoder = Qwen3VLModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval().requires_grad_(False)
    return encoder, PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")


def test_learning_goes_on_where_it_was_and_ends_in_the_model(tmp_path, reader, monkeypatch):
    monkeypatch.setattr(orientation, "PICTURES", 2)
    monkeypatch.setattr(orientation, "TOKENS", 6)
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    last = model.transformer_blocks[-1].ff.down.weight.detach().clone()
    readers = orientation.install(model, *reader, tmp_path, "cpu", steps=2)
    first = model.transformer_blocks[0].ff.down.weight.detach().clone()
    again = architecture.transformer("mini-medium")
    same = orientation.install(again, *reader, tmp_path, "cpu", steps=2)
    assert torch.equal(again.transformer_blocks[0].ff.down.weight, first)
    assert torch.equal(readers.place.weight, same.place.weight)
    # Only the first blocks have learned; the others are as they were drawn, but for the noise's own numbers.
    rows = model.config.in_channels
    assert torch.equal(model.transformer_blocks[-1].ff.down.weight[rows:], last[rows:])
