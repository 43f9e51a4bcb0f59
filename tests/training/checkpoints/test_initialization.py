"""How the transformer begins."""

from __future__ import annotations

import pytest
import torch
from diffusers import Krea2Pipeline

from krea_studio.engine.cache import ByteCache
from krea_studio.engine.controls.reference_attention import Reference, attending
from krea_studio.engine.pipeline.prompts import PromptEmbedding
from krea_studio.training import flow, loop
from krea_studio.training.checkpoints import (
    architecture,
    coupling,
    initialization,
    patches,
    readings,
)


@pytest.mark.parametrize("grid", [flow.Grid(16, 16), flow.Grid(21, 49)])
@pytest.mark.parametrize("part", [None, 128])
def test_the_reader_gives_every_token_what_the_noise_says(grid, part):
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
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
        assert correlation > 0.95
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


@pytest.mark.parametrize("time", [1.0, 0.9, 0.5, 0.2, 0.05])
def test_a_settled_model_ends_in_the_same_picture_from_every_time(time):
    """Of a picture that its states tell, by one step; whatever these hold in the places where nothing is told."""
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
    assert not model.time_mod_proj.weight.any()
    embedded = model.time_embed(torch.tensor([time, 1.0]), torch.float32)
    states = torch.randn(2, 40, 256)
    states[..., initialization.NOTHING] = 0
    states[1] = states[0]
    with torch.no_grad():
        here, first = model.final_layer(states, embedded)
    assert torch.allclose(here * time, first, rtol=0.01, atol=1e-3)


def test_a_look_goes_from_one_picture_to_another_that_attends_to_it():
    torch.manual_seed(0)
    model = architecture.transformer("mini-medium")
    initialization.settle(model)
    look, grid = readings.places_of_look(), flow.Grid(8, 12)
    with torch.no_grad():
        model.img_in.weight[look] = 0.2 * torch.randn(len(look), 96)  # what a reader would find in a token
    learner = readings.Learner(model)
    picture, other = (torch.randn(1, 96, 96) + torch.randn(96) for _ in range(2))
    empty = torch.randn(1, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(1, 5).bool()

    def told(tokens: torch.Tensor) -> torch.Tensor:
        positions = grid.positions(5, tokens.device)
        with torch.no_grad():
            model(
                hidden_states=tokens,
                encoder_hidden_states=empty[0],
                timestep=torch.full((1,), 0.001),
                position_ids=positions,
                encoder_attention_mask=empty[1],
            )
        return learner.states(96)[0, :, look].mean(0)

    before, seen = told(picture), learner.states(96)[0]
    initialization.install_look(model, seen)
    own, others = told(picture), told(other)
    assert (own - before).square().mean() < 0.01 * before.square().mean()
    reference = Reference("other", other, grid.rows, grid.columns, 1.0)
    with attending(model, [reference], PromptEmbedding(*empty), 8, ByteCache(2**28)):
        moved = told(picture)
    way = others - own
    assert 0.5 < (moved - own) @ way / (way @ way) < 1


def test_a_large_model_begins_as_the_medium_one():
    torch.manual_seed(0)
    medium = architecture.transformer("mini-medium").eval()
    large = initialization.expanded(medium).eval()
    tokens, times = torch.randn(1, 6, 96), torch.tensor([0.4])
    embeds = torch.randn(1, 5, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH)
    positions = Krea2Pipeline.prepare_position_ids(5, 2, 3, torch.device("cpu"))
    with torch.no_grad():
        a, b = (m(tokens, embeds, times, positions, return_dict=False)[0] for m in (medium, large))
    assert (a - b).abs().max() < 1e-5
    count = [sum(p.numel() for p in m.parameters()) for m in (medium, large)]
    assert count[1] >= 1.2 * count[0]


def test_what_is_heard_is_what_the_reader_brings():
    """Whatever the texts are, and however many tokens."""
    torch.manual_seed(0)
    model = architecture.transformer(layers=readings.BLOCKS)
    initialization.settle(model)
    texts = torch.randn(60, 12, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(60, 12).bool()
    initialization.install_reader(model, texts)
    grid = flow.Grid(16, 16)
    chosen = patches.part_of(grid, 48, True, torch.Generator().manual_seed(1))
    noise = coupling.say(torch.randn(20, len(chosen), 96), 256, torch.randn(20, coupling.NUMBERS))
    seen = []
    model.transformer_blocks[0].norm2.register_forward_pre_hook(lambda norm, states: seen.append(states[0]))
    with torch.no_grad():
        flow.velocity(model, noise, torch.ones(20), grid, (texts[0][:20], texts[1][:20]), chosen, torch.float32)
        entered = model.img_in(noise)
    heard = (initialization.heard(entered, coupling.read(noise, 256)[:, None] / 16) - entered).flatten(0, 1)
    found = (seen[0][:, 12:] - entered).flatten(0, 1)
    at = slice(initialization.HEARD, initialization.HEARD + coupling.NUMBERS)
    assert torch.corrcoef(torch.stack([heard[:, at].flatten(), found[:, at].flatten()]))[0, 1] > 0.9
    assert (heard[:, at] * found[:, at]).sum() / heard[:, at].square().sum() == pytest.approx(1, abs=0.15)


def test_training_leaves_the_reader_as_it_is():
    torch.manual_seed(0)
    model = architecture.transformer(layers=readings.BLOCKS)
    initialization.settle(model)
    texts = torch.randn(60, 12, len(architecture.TEXT_TAPS), architecture.TEXT_WIDTH), torch.ones(60, 12).bool()
    initialization.install_reader(model, texts)
    initialization.keep_reader(model)
    for part in (model.img_in, model.time_embed, model.time_mod_proj, model.txt_in, model.text_fusion):
        part.requires_grad_(False)
    grid, said = flow.Grid(8, 12), torch.randn(6, coupling.NUMBERS)
    noise = coupling.say(torch.randn(6, 96, 96), 96, said)
    seen = []
    model.transformer_blocks[0].norm2.register_forward_pre_hook(lambda norm, states: seen.append(states[0].detach()))

    def heard() -> torch.Tensor:
        seen.clear()
        flow.velocity(model, noise, torch.ones(6), grid, (texts[0][:6], texts[1][:6]), precision=torch.float32)
        return seen[0][:, 12:, initialization.HEARD : initialization.HEARD + coupling.NUMBERS]

    values = model.transformer_blocks[0].attn.to_v.weight.detach().clone()
    before, optimizer = heard(), loop.Optimizer(model, weight_decay=0)
    for _ in range(3):
        predicted = flow.velocity(
            model, noise, torch.ones(6), grid, (texts[0][:6], texts[1][:6]), precision=torch.float32
        )
        (predicted - 1).square().mean().backward()
        optimizer.step(1e-2)
    assert (heard() - before).square().mean() < 1e-4 * before.square().mean()
    assert not torch.equal(model.transformer_blocks[0].attn.to_v.weight, values)
