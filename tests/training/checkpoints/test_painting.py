"""Later blocks learn to paint token by token, as they will paint within the whole model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from krea_studio.training import flow, loop
from krea_studio.training.checkpoints import (
    architecture,
    autoencoder,
    initialization,
    latents,
    painting,
    patches,
    readings,
)
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two chunks of random latents, one of each class."""
    folder = tmp_path_factory.mktemp("latents")
    for name, (height, width) in {"1K": (24, 16), "512": (8, 12)}.items():
        seeds = latents.seeds_of_chunk(latents.CLASSES[name], 0)[:5]
        torch.save(
            {"latents": torch.randn(5, 6, height, width).half(), "seeds": torch.tensor(seeds)},
            folder / f"{name}-0000.pt",
        )
    return folder


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
    return model


def test_tokens_come_with_what_is_read_of_them(folder):
    tokens, generator = painting.Tokens(folder), torch.Generator().manual_seed(1)
    chunks = latents.Chunks(folder, {"1K", "512"}).chunks
    seen = set()
    for _ in range(12):
        found, read, told, total = tokens.draw(7, generator)
        kind = {24: "1K", 6: "512"}[total]
        seen.add(kind)
        chunk = chunks[kind][0]
        packed, grid = patches.pack(chunk["latents"]), patches.grid_of(chunk["latents"])
        place = readings.of_place(*grid, torch.arange(total))
        scenes = [readings.of_scene(random_scene(seed)) for seed in chunk["seeds"].tolist()]
        for token, seen_of, edges in zip(found, read, told, strict=True):
            picture, number = next(
                (k, n) for k in range(5) for n in range(total) if torch.equal(packed[k, n].float(), token)
            )
            assert torch.equal(seen_of, torch.cat([place[number], scenes[picture]]))
            row, column = divmod(number, grid.columns)
            of_column = painting.edges_of(random_scene(int(chunk["seeds"][picture])), grid)[:, column]
            assert torch.equal(edges, painting.edges_below(of_column[None], torch.tensor([row]))[0])
    assert seen == {"1K", "512"}


def test_of_some_tokens_a_scene_is_not_read_or_only_in_part():
    read, mean = torch.randn(20_000, readings.COUNT), torch.randn(readings.SCENE_NUMBERS)
    found, sure = painting.hidden(read, mean, torch.Generator().manual_seed(0))
    place = readings.COUNT - readings.SCENE_NUMBERS
    assert torch.equal(found[:, :place], read[:, :place]) and torch.equal(found[sure], read[sure])
    untold = (found[:, place:] == mean).all(1)
    assert untold.float().mean() == pytest.approx(painting.UNTOLD_SHARE, abs=0.01)
    assert (~sure).float().mean() == pytest.approx(painting.UNTOLD_SHARE + painting.OPEN_SHARE, abs=0.02)
    parts = (found[:, place:] == mean).split(readings.SCENE_PARTS, 1)
    assert all(torch.equal(part.all(1), part.any(1)) for part in parts)


def test_a_painter_is_the_model_behind_its_first_blocks(model):
    """Whose attention is silent as yet, so that states become the same velocities in both."""
    states: list[torch.Tensor] = []
    model.transformer_blocks[readings.BLOCKS - 1].register_forward_hook(
        lambda block, given, left: states.append(left[:, -12:])
    )
    for block in model.transformer_blocks[readings.BLOCKS :]:
        torch.nn.init.normal_(block.ff.down.weight, std=0.05)
    words = torch.randn(2, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(2, 5).bool()
    tokens, times = torch.randn(2, 12, 96), torch.tensor([1.0, 0.6])
    with torch.no_grad():
        whole = flow.velocity(model, tokens, times, flow.Grid(3, 4), words, precision=torch.float32)
        painted, _ = painting.Painter(model)(states[0], times)
    assert torch.allclose(whole, painted, atol=1e-5)


@pytest.mark.parametrize("size", [(1024, 1024), (1568, 672), (448, 576)])
def test_edges_are_where_pictures_change(size):
    """In a flat picture, a land's colour begins where its edge is told to be."""
    scene = replace(random_scene(11), style="flat", setting="mountains", density=0.0, motion=0.0, sky="clear")
    grid = flow.Grid(size[1] // 32, size[0] // 32)
    levels = np.asarray(render(scene, *size), np.int16)
    column = grid.columns - 1  # beside the subject
    middle = painting.edges_of(scene, grid)[0, column].item() * 32
    x = column * 32 + 16
    assert np.abs(levels[round(middle) - 6, x] - levels[round(middle) + 6, x]).max() > 8
    assert np.abs(levels[round(middle) - 6, x] - levels[round(middle) - 12, x]).max() < 8


def test_painting_goes_on_where_it_was_and_changes_only_what_paints(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(painting, "TOKENS", 16)
    monkeypatch.setattr(painting, "SCHEDULE", loop.Schedule(2, 1e-3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    painting.install(model, folder, tmp_path, "cpu")
    after = model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert (
        any(name.startswith("transformer_blocks.2.ff") for name in changed) and "final_layer.linear.weight" in changed
    )
    assert not any(
        name.startswith(("transformer_blocks.0", "transformer_blocks.1", "text", "img_in")) for name in changed
    )
    assert not any(".attn." in name for name in changed)
    assert all(parameter.requires_grad for parameter in model.parameters())
    again = architecture.transformer("mini-medium")
    initialization.settle(again)
    painting.install(again, folder, tmp_path, "cpu")
    painted = [name for name in changed if "norm" not in name]
    assert all(torch.equal(again.state_dict()[name], after[name]) for name in painted)


def test_latents_are_what_pictures_are_made_of(tmp_path, monkeypatch):
    """A chunk that is there is not made again."""
    basis = autoencoder.Basis(torch.zeros(192), torch.eye(192)[:, :6], torch.ones(6), torch.eye(48)[:, :32])
    kind = latents.Class("512", "512", 1, 2, 20_000_000)
    latents.build(basis, kind, tmp_path)
    path = tmp_path / "512-0000.pt"
    made = torch.load(path, weights_only=True)
    assert made["latents"].shape == (2, 6, 64, 64) and made["seeds"].tolist() == latents.seeds_of_chunk(kind, 0)
    torch.save({"latents": made["latents"] * 0, "seeds": made["seeds"]}, path)
    latents.build(basis, kind, tmp_path)
    assert not torch.load(path, weights_only=True)["latents"].any()
