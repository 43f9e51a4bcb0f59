"""A picture is drawn at the sigmas that its shot names, whatever the checkpoint's scheduler makes of its own."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.pipeline.sigmas import stock_sigmas
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.sigmas import turbo_sigmas
from krea_studio.settings import Settings
from tests.engine.conftest import small_plan

OWN = (0.99, 0.8, 0.25)


def drawn(loaded, shot):
    told = []
    image = Drawing(Settings()).picture(loaded, shot, {}.__getitem__, tell=told.append)
    assert told[-1].step == shot.steps
    return np.asarray(image, np.int16)


@pytest.mark.parametrize("variant", ["turbo", "medium"])
def test_the_scheduler_ends_up_with_the_sigmas_of_the_shot(load, variant):
    loaded = load(variant)
    (shot,) = small_plan(variant=variant, steps=None, sigmas=OWN, guidance_scale=0.0).shots
    drawn(loaded, shot)
    assert loaded.pipeline.scheduler.sigmas.tolist() == pytest.approx([*OWN, 0.0], abs=1e-6)
    assert loaded.pipeline.scheduler.timesteps.tolist() == pytest.approx([1000 * each for each in OWN], abs=1e-3)


def test_turbos_sigmas_draw_what_turbo_draws_by_itself(load):
    loaded = load("turbo")
    plain, named = (small_plan(steps=4, sigmas=own).shots[0] for own in (None, turbo_sigmas(4)))
    assert np.abs(drawn(loaded, plain) - drawn(loaded, named)).max() <= 1


def test_they_are_a_bare_call_with_what_is_shifted_back(load):
    loaded = load("medium")
    (shot,) = small_plan(variant="medium", steps=2, sigmas=(1.0, 0.6), guidance_scale=0.0).shots
    bare = loaded.pipeline(
        prompt=shot.prompt,
        width=shot.width,
        height=shot.height,
        sigmas=stock_sigmas(loaded.pipeline, shot.sigmas, shot.width, shot.height),
        guidance_scale=0.0,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
    ).images[0]
    assert np.abs(drawn(loaded, shot) - np.asarray(bare, np.int16)).max() <= 1


def test_a_scheduler_that_makes_others_of_them_is_refused(load):
    pipeline = load("medium").pipeline
    stock = pipeline.scheduler
    try:
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(stock.config, shift_terminal=0.1)
        with pytest.raises(InvalidRequest, match="Sigmas is 1, 0.6, but the checkpoint's scheduler has shift_terminal"):
            stock_sigmas(pipeline, (1.0, 0.6), 192, 128)
    finally:
        pipeline.scheduler = stock
