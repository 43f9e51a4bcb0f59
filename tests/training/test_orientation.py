"""The first blocks learn to read: where a token is, and which scene is wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.training import architecture, denoiser, orientation
from krea_studio.training.captions import ATTRIBUTES, value_of
from krea_studio.training.world import LAYOUT_NAMES, Layout, random_scene


def oriented() -> orientation.Oriented:
    torch.manual_seed(0)
    return orientation.Oriented(architecture.transformer(layers=orientation.BLOCKS))


def test_waves_tell_every_place_of_the_largest_grids_apart():
    grid = denoiser.Grid(48, 48)
    told = orientation.waves(grid, torch.arange(48 * 48))
    assert told.shape == (48 * 48, 4 * len(orientation.FREQUENCIES))
    assert torch.pdist(told).min() > 0.3


def test_waves_are_those_of_the_places_chosen():
    grid = denoiser.Grid(5, 9)
    whole = orientation.waves(grid, torch.arange(45))
    chosen = torch.tensor([44, 3, 17])
    assert torch.equal(orientation.waves(grid, chosen), whole[chosen])


def test_who_reads_a_scene_rightly_is_not_surprised():
    learner, scenes = oriented(), [random_scene(3), random_scene(4)]
    states = torch.zeros(2, 7, learner.ways.in_features)
    for each, scene in zip(states, scenes, strict=True):
        # A number of the state for each thing that can be read, and readers that look at theirs.
        at = 0
        for name, reader in learner.attributes.items():
            reader.weight.data.zero_()
            reader.bias.data.zero_()
            reader.weight.data[:, at : at + len(ATTRIBUTES[name])] = 30 * torch.eye(len(ATTRIBUTES[name]))
            each[:, at + ATTRIBUTES[name].index(value_of(scene, name))] = 1
            at += len(ATTRIBUTES[name])
        learner.ways.weight.data.zero_()
        learner.ways.bias.data.zero_()
        for k, name in enumerate(LAYOUT_NAMES):
            learner.ways.weight.data[k, at + k] = 30
            each[:, at + k] = scene.layout.way(name)
    assert learner.scene_loss(states, scenes) < 1e-3
    turned = Layout(**{name: 1 - getattr(scenes[0].layout, name) for name in LAYOUT_NAMES})
    assert learner.scene_loss(states, [replace(scenes[0], layout=turned), scenes[1]]) > 1
    assert learner.scene_loss(states.flip(0), scenes) > 1


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
    orientation.install(model, *reader, tmp_path, "cpu", steps=2)
    first = model.transformer_blocks[0].ff.down.weight.detach().clone()
    again = architecture.transformer("mini-medium")
    orientation.install(again, *reader, tmp_path, "cpu", steps=2)
    assert torch.equal(again.transformer_blocks[0].ff.down.weight, first)
    # Only the first blocks have learned; the others are as they were drawn, but for the noise's own numbers.
    rows = model.config.in_channels
    assert torch.equal(model.transformer_blocks[-1].ff.down.weight[rows:], last[rows:])
