"""Under every plan the pictures are the same, and whoever only visits the device leaves it."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Krea2Transformer2DModel
from diffusers.hooks.group_offloading import ModuleGroup
from diffusers.pipelines import pipeline_utils
from torch import nn

from krea_studio.engine.checkpoints import manager as managers
from krea_studio.engine.checkpoints import placing
from krea_studio.engine.checkpoints.memory import Decision, Plan
from krea_studio.engine.checkpoints.placing import Guest
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.pipeline import single_frame
from krea_studio.engine.pipeline.savings import Savings
from krea_studio.settings import Settings
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene
from tests.doubles import PlainFiles
from tests.engine.conftest import pictures, small_plan, stop_after_a_step
from tests.engine.controls.test_references import WOODCUT, png

PLANS = [
    Plan("encoder aside", "beside", tiled=True),
    Plan("encoder aside", "instead"),
    Plan("encoder aside", "never"),
    Plan("offload"),
    Plan("streamed", "beside"),
    Plan("streamed", "never"),
]
# On a CPU blocks are computed in a way of their own, past the hooks of those that are streamed.
STOCK_BLOCKS = Savings(fewer_passes=False)


def planned(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> LocalEngine:
    """An engine on this CPU that plans so, whatever there is room for."""
    # Model offload wants an accelerator, unless it is told of one.
    monkeypatch.setattr(pipeline_utils, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(managers, "decide", lambda loaded, *_: Decision(plan, tuple(loaded)))
    monkeypatch.setattr(managers, "held", lambda *_: plan)
    return LocalEngine(Settings(previews=False))


def stock_blocks(studio: LocalEngine) -> LocalEngine:
    studio._models().savings = STOCK_BLOCKS
    return studio


FILES = PlainFiles({str(k) * 32: png(render(random_scene(k), 96, 96)) for k in (1,)}, dict([WOODCUT]))
REFERENCES = [{"image": image, "strength": 0.5} for image in FILES.pictures]
SMALL = {"width": 96, "height": 64, "steps": 2}
ASKED = {
    "plain": small_plan(**SMALL),
    "controls": small_plan(**SMALL, intensity=60, complexity=-40, movement=80, style_references=REFERENCES),
    "style": small_plan(**SMALL, styles=[{"identity": WOODCUT[0], "name": "Woodcut", "weight": 0.8}]),
}


@pytest.fixture(scope="module")
def resident() -> dict[str, list[np.ndarray]]:
    """What is drawn where all stays on the device."""
    studio = stock_blocks(LocalEngine(Settings(previews=False)))
    return {name: pictures(studio, asked, FILES) for name, asked in ASKED.items()}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.placement}, {plan.visit}")
def test_pictures_and_controls_are_the_same_under_every_plan(
    monkeypatch: pytest.MonkeyPatch, resident: dict[str, list[np.ndarray]], plan: Plan
) -> None:
    monkeypatch.setattr(single_frame, "TILE_CELLS", 8)
    studio = stock_blocks(planned(monkeypatch, plan))
    for name, asked in ASKED.items():
        found = pictures(studio, asked, FILES)
        assert all((one == other).all() for one, other in zip(found, resident[name], strict=True)), name
    # What a control left behind changes nothing, nor does a stop in the middle.
    stop_after_a_step(studio, ASKED["controls"], FILES)
    found = pictures(studio, ASKED["plain"], FILES)
    assert all((one == other).all() for one, other in zip(found, resident["plain"], strict=True))


def test_an_encoder_that_is_aside_comes_for_new_prompts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[str] = []
    for name in ("come", "leave"):
        original = getattr(Guest, name)

        def spied(guest: Guest, name: str = name, original: Any = original) -> None:
            if guest.present == (name == "leave"):
                moves.append(f"{type(guest._model).__name__} {name}s")
            original(guest)

        monkeypatch.setattr(Guest, name, spied)
    encoder, drawer = "Qwen3VLModel", "Krea2Transformer2DModel"
    studio = planned(monkeypatch, Plan("encoder aside", "beside"))
    pictures(studio, small_plan(**SMALL, batch=2))
    assert moves == [f"{encoder} comes", f"{encoder} leaves"]
    pictures(studio, small_plan(**SMALL, seed=9))
    assert len(moves) == 2, "the prompt is known"
    moves.clear()
    studio = planned(monkeypatch, Plan("encoder aside", "instead"))
    for prompt in ("a fox in the snow", "an owl in the snow"):
        pictures(studio, small_plan(**SMALL, prompt=prompt))
    drawn = [f"{encoder} leaves", f"{drawer} comes"]
    assert moves == [f"{encoder} comes", *drawn, f"{encoder} comes", f"{drawer} leaves", *drawn]


def test_a_guest_leaves_its_weights_where_they_are() -> None:
    class Elsewhere(Guest):
        """Its device is another place in main memory."""

        def _there(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor.data.clone()

    model = nn.Linear(3, 2).requires_grad_(False)
    home = model.weight.data_ptr()
    guest = Elsewhere(model, "cpu")
    model(torch.zeros(1, 3))
    there = model.weight.data_ptr()
    assert guest.present and there != home
    # What joined the model meanwhile goes with it.
    model.register_buffer("later", torch.ones(2))
    guest.come()
    assert model.weight.data_ptr() == there
    guest.leave()
    assert model.weight.data_ptr() == home and model.later.tolist() == [1, 1]


def test_streamed_blocks_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[tuple[str, str]] = []
    for name in ("onload_", "offload_"):
        original = getattr(ModuleGroup, name)

        def spied(group: ModuleGroup, name: str = name, original: Any = original) -> None:
            moves.append((name, type(group.modules[0]).__name__))
            original(group)

        monkeypatch.setattr(ModuleGroup, name, spied)
    drawer = Krea2Transformer2DModel(
        num_layers=3, attention_head_dim=8, num_attention_heads=2, num_key_value_heads=1, intermediate_size=16,
        axes_dims_rope=(2, 2, 4), text_hidden_dim=8, text_num_attention_heads=1, text_num_key_value_heads=1,
        text_intermediate_size=8, num_text_layers=2, in_channels=4, timestep_embed_dim=8,
    )  # fmt: skip
    placing.stream(drawer, "cpu")
    moves.clear()
    with torch.no_grad():
        drawer(
            hidden_states=torch.zeros(1, 4, 4), encoder_hidden_states=torch.zeros(1, 3, 2, 8),
            timestep=torch.zeros(1), position_ids=torch.zeros(7, 3),
        )  # fmt: skip
    block, others = "Krea2TransformerBlock", "Linear"
    assert moves == [("onload_", others), *3 * [("onload_", block), ("offload_", block)], ("offload_", others)]
