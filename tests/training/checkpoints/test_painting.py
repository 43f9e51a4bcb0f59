"""Later blocks learn to plan and to paint, token by token, as they will within the whole model."""

from __future__ import annotations

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
from krea_studio.training.world import regions
from krea_studio.training.world.scenes import random_scene

SIZES = {"1K": (24, 16), "512": (8, 12), "1K rich": (16, 16), "512 rich": (8, 8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A chunk of random latents of each class."""
    folder = tmp_path_factory.mktemp("latents")
    for name, (height, width) in SIZES.items():
        seeds = latents.seeds_of_chunk(latents.CLASSES[name], 0)[:5]
        chunk = {
            "latents": torch.randn(5, 6, height, width).half(),
            "plans": torch.rand(5, height * width // 16, regions.COUNT).half(),
            "seeds": torch.tensor(seeds),
        }
        torch.save(chunk, folder / f"{name.replace(' ', '-')}-0000.pt")
    return folder


def settled(checkpoint: str = "mini-medium"):
    torch.manual_seed(0)
    model = architecture.transformer(checkpoint)
    initialization.settle(model)
    return model


def test_tokens_come_with_what_is_read_and_planned_of_them(folder):
    tokens, generator = painting.Tokens(folder), torch.Generator().manual_seed(1)
    chunks = latents.Chunks(folder, {"1K", "512"}).chunks
    seen = set()
    for _ in range(12):
        drawn = tokens.draw(7, generator)
        kind = {24: "1K", 6: "512"}[drawn.total]
        seen.add(kind)
        chunk = chunks[kind][0]
        packed, grid = patches.pack(chunk["latents"]), patches.grid_of(chunk["latents"])
        place = readings.of_place(*grid, torch.arange(drawn.total))
        scenes = [readings.of_scene(random_scene(seed)) for seed in chunk["seeds"].tolist()]
        for token, read, plan in zip(drawn.tokens, drawn.read, drawn.plan, strict=True):
            picture, number = next(
                (k, n) for k in range(5) for n in range(drawn.total) if torch.equal(packed[k, n].float(), token)
            )
            assert torch.equal(read, torch.cat([place[number], scenes[picture]]))
            assert torch.equal(plan, chunk["plans"][picture, number].float())
    assert seen == {"1K", "512"}


def test_tokens_with_more_in_them_are_seen_more_often(tmp_path):
    """Half of the tokens here are of one colour, which is what most of a poster is."""
    flat = torch.zeros(4, 6, 16, 16)
    flat[..., 8:] = torch.randn(4, 6, 16, 8)
    for name in ("1K", "512"):
        seeds = torch.tensor(latents.seeds_of_chunk(latents.CLASSES[name], 0)[:4])
        chunk = {"latents": flat.half(), "plans": torch.rand(4, 16, regions.COUNT).half(), "seeds": seeds}
        torch.save(chunk, tmp_path / f"{name}-0000.pt")
    drawn = painting.Tokens(tmp_path).draw(4000, torch.Generator().manual_seed(0))
    plain = float((drawn.tokens == 0).all(1).float().mean())
    assert plain == pytest.approx(1 / (2 + 2 * painting.DETAIL_WEIGHT), abs=0.02)


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


def test_what_plans_and_paints_is_the_model_behind_its_first_blocks():
    """Whose attention is silent as yet, so that states become the same velocities in both."""
    model, states = settled(), []
    model.transformer_blocks[readings.BLOCKS - 1].register_forward_hook(
        lambda block, given, left: states.append(left[:, -12:])
    )
    for block in model.transformer_blocks[readings.BLOCKS :]:
        torch.nn.init.normal_(block.ff.down.weight, std=0.05)
    words = torch.randn(2, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(2, 5).bool()
    tokens, times = torch.randn(2, 12, 96), torch.tensor([1.0, 0.6])
    with torch.no_grad():
        whole = flow.velocity(model, tokens, times, flow.Grid(3, 4), words, precision=torch.float32)
        painted, planned = painting.Later(model)(states[0], times)
    assert torch.allclose(whole, painted, atol=1e-5) and planned.shape == (2, 12, regions.COUNT)


LATER = {
    "plan": ("transformer_blocks.2.", "transformer_blocks.3.", "transformer_blocks.4."),
    "paint": ("transformer_blocks.5.", "transformer_blocks.6.", "final_layer."),
}
LATER["join"] = LATER["enrich"] = LATER["plan"] + LATER["paint"]


@pytest.mark.parametrize("stage", LATER)
def test_a_stage_goes_on_where_it_was_and_changes_only_what_it_teaches(stage, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(painting, "TOKENS", 16)
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)  # takes longer than all else here
    for name in ("PLANS", "PAINTS", "TOGETHER", "RICH"):
        monkeypatch.setattr(painting, name, loop.Schedule(2, 1e-3))
    model, again = settled(), settled()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    getattr(painting, stage)(model, folder, tmp_path, "cpu")
    after = model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name.split(".ff.")[0] + "." for name in changed if ".ff." in name} == {
        each for each in LATER[stage] if each != "final_layer."
    }
    assert all(name.startswith(LATER[stage]) and ".attn." not in name for name in changed)
    getattr(painting, stage)(again, folder, tmp_path, "cpu")
    assert all(torch.equal(again.state_dict()[name], after[name]) for name in changed)


def test_large_begins_as_medium_and_paints_with_more_blocks():
    medium = settled()
    for block in medium.transformer_blocks:
        torch.nn.init.normal_(block.ff.down.weight, std=0.05)
    large = initialization.expanded(medium)
    words = torch.randn(2, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(2, 5).bool()
    tokens, grid = torch.randn(2, 12, 96), flow.Grid(3, 4)
    with torch.no_grad():
        found = [
            flow.velocity(each, tokens, torch.ones(2), grid, words, precision=torch.float32) for each in (medium, large)
        ]
    assert torch.allclose(*found, atol=1e-5)
    parts = [painting.Later(each) for each in (medium, large)]
    assert [len(each.planner.blocks) for each in parts] == [3, 3]
    assert len(parts[1].painter.blocks) > len(parts[0].painter.blocks)


def test_latents_are_what_pictures_are_made_of(tmp_path, monkeypatch):
    """A chunk that is there is not made again."""
    basis = autoencoder.Basis(torch.zeros(192), torch.eye(192)[:, :6], torch.ones(6), torch.eye(48)[:, :32])
    kind = latents.Class("512", "512", 1, 2, 20_000_000)
    latents.build(basis, kind, tmp_path)
    path = tmp_path / "512-0000.pt"
    made = torch.load(path, weights_only=True)
    assert made["latents"].shape == (2, 6, 64, 64) and made["seeds"].tolist() == latents.seeds_of_chunk(kind, 0)
    assert made["plans"].shape == (2, 256, regions.COUNT)
    torch.save({"latents": made["latents"] * 0, "seeds": made["seeds"]}, path)
    latents.build(basis, kind, tmp_path)
    assert not torch.load(path, weights_only=True)["latents"].any()
