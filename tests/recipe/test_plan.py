"""The plan is a function of request and seed, and a seed is a picture."""

from typing import Any

import pytest
from hypothesis import given
from pydantic import TypeAdapter

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.recipe import Shot, guidance_of, with_triggers
from krea_studio.recipe.request import SEED_LIMIT, SLIDERS, GenerationRequest, StyleChoice, parse_request
from tests.strategies import ready_data, seeds, valid_data

EXPLORATION_SEED = 7


@given(ready_data, seeds)
def test_same_request_and_seed_same_plan(data: dict[str, Any], seed: int) -> None:
    first, second = (plan(parse_request(data), seed, EXPLORATION_SEED) for _ in range(2))
    assert first == second
    assert len(first.shots) == first.asked.batch
    for shot in first.shots:
        assert shot.width % 32 == 0 and shot.height % 32 == 0
        assert shot.steps >= 1 and shot.guidance_scale >= 0


@given(ready_data, seeds)
def test_each_shot_of_a_batch_is_that_seed_alone(data: dict[str, Any], seed: int) -> None:
    request = parse_request({**data, "random_mode": False})
    for k, shot in enumerate(plan(request, seed).shots):
        alone = plan(request.model_copy(update={"batch": 1}), (seed + k) % SEED_LIMIT).shots[0]
        assert alone == shot


@given(ready_data, seeds)
def test_a_plan_can_be_sent_as_text(data: dict[str, Any], seed: int) -> None:
    resolved, wire = plan(parse_request(data), seed, EXPLORATION_SEED), TypeAdapter(GenerationPlan)
    assert wire.validate_json(wire.dump_json(resolved)) == resolved


@given(valid_data, seeds)
def test_what_a_plan_cannot_be_made_of_is_refused_never_ignored(data: dict[str, Any], seed: int) -> None:
    request = parse_request(data)
    board = request.moodboard
    reasons = {
        "raw creativity draws the prompt as it is": request.expansion is not None and request.creativity == "raw",
        "has no content": bool(board and board.strength and not board.content),
        "needs a guidance scale above 0": bool(request.negative_prompt and not guidance_of(request)),
        "has no weights": any(style.weight and not style.identity for style in request.styles),
    }
    if any(reasons.values()):
        with pytest.raises(InvalidRequest) as caught:
            plan(request, seed, EXPLORATION_SEED)
        assert any(words in caught.value.message for words, holds in reasons.items() if holds)
    else:
        assert plan(request, seed, EXPLORATION_SEED).shots


@pytest.mark.parametrize("prompt", ["a pink fox", "an inkwell"])
def test_trigger_words_within_other_words_are_none(prompt: str) -> None:
    assert with_triggers(prompt, [StyleChoice(name="Ink", trigger="ink")]) == f"{prompt}, ink"
    assert with_triggers("a fox, INK", [StyleChoice(name="Ink", trigger="ink")]) == "a fox, INK"


def test_weights_are_chosen_once_by_whatever_names() -> None:
    styles = [{"name": "Woodcut", "identity": "0" * 32}, {"name": "Linocut", "identity": "0" * 32}]
    with pytest.raises(InvalidRequest, match="^Style 'Linocut' is chosen more than once"):
        plan(GenerationRequest(prompt="a fox", styles=styles), 1)


def test_a_style_is_chosen_once() -> None:
    styles = [{"name": "Woodcut", "identity": "0" * 32}, {"name": "woodcut", "identity": "1" * 32}]
    with pytest.raises(InvalidRequest, match="^Style 'woodcut' is chosen more than once — choose it once"):
        plan(parse_request({"prompt": "a fox", "styles": styles}), 1)


@pytest.mark.parametrize(
    ("fields", "guided"),
    [
        ({}, False),
        ({"guidance_scale": 0.5}, True),
        ({"variant": "medium"}, True),
        ({"variant": "large", "guidance_scale": 0}, False),
    ],
)
def test_a_negative_prompt_needs_guidance(fields: dict[str, Any], guided: bool) -> None:
    request = parse_request({"prompt": "a fox", "negative_prompt": "rain", **fields})
    if guided:
        assert plan(request, 1).shots[0].negative_prompt == "rain"
    else:
        with pytest.raises(InvalidRequest, match="^The negative prompt needs a guidance scale above 0 — raise"):
            plan(request, 1)


@pytest.mark.parametrize("seed", [-1, SEED_LIMIT, True, 1.0, "1", None])
def test_a_seed_out_of_range_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidRequest, match="^Seed is "):
        plan(parse_request({"prompt": "a fox"}), seed)


def test_random_mode_needs_a_seed_and_something_to_vary() -> None:
    with pytest.raises(InvalidRequest, match="^Exploration seed is None"):
        plan(parse_request({"prompt": "a fox", "random_mode": True}), 1)
    with pytest.raises(InvalidRequest, match="all sliders are locked — unlock one"):
        plan(parse_request({"prompt": "a fox", "random_mode": True, "locked_sliders": list(SLIDERS)}), 1, 1)


def test_the_request_s_own_exploration_seed_comes_first() -> None:
    request = parse_request({"prompt": "a fox", "random_mode": True, "exploration_seed": 3})
    assert plan(request, 1, 9) == plan(request, 1, 10)


def test_variants_bring_their_own_steps_and_guidance() -> None:
    resolved = {
        variant: plan(parse_request({"prompt": "a fox", "variant": variant}), 1).shots[0]
        for variant in ("medium", "large", "turbo")
    }
    assert {name: (shot.steps, shot.guidance_scale) for name, shot in resolved.items()} == {
        "medium": (28, 4.5),
        "large": (28, 4.5),
        "turbo": (8, 0.0),
    }
    own = plan(parse_request({"prompt": "a fox", "variant": "medium", "steps": 5, "guidance_scale": 0}), 1).shots[0]
    assert (own.steps, own.guidance_scale) == (5, 0.0)


def shot_with(**fields: Any) -> Shot:
    return plan(parse_request({"prompt": "a fox", **fields}), 1).shots[0]


def test_the_model_reads_the_expansion_where_there_is_one() -> None:
    request = parse_request({"prompt": "a fox"})
    assert plan(request, 1).shots[0].conditioning_prompt is request.prompt
    expanded = shot_with(creativity="low", expansion={"text": "a red fox in snow"})
    assert expanded.conditioning_prompt == "a red fox in snow"
    assert expanded.prompt == "a fox"


@pytest.mark.parametrize(
    ("prompt", "style", "read"),
    [
        ("a fox", {"trigger": "woodcut print"}, "a fox, woodcut print"),
        ("a fox.", {"trigger": "woodcut print"}, "a fox, woodcut print"),
        ("a Woodcut Print of a fox", {"trigger": "woodcut print"}, "a Woodcut Print of a fox"),
        ("a fox", {"trigger": "woodcut print", "weight": -0.5}, "a fox"),
        ("a fox", {"trigger": "woodcut print", "weight": 0.0}, "a fox"),
        ("a fox", {"trigger": ""}, "a fox"),
    ],
)
def test_trigger_words_stand_after_the_prompt(prompt: str, style: dict[str, Any], read: str) -> None:
    shot = shot_with(prompt=prompt, styles=[{"name": "woodcut", "identity": "0" * 32, **style}])
    assert shot.conditioning_prompt == read
    assert shot.prompt == prompt
    assert shot.style_weights == ({"0" * 32: shot.styles[0].weight} if shot.styles[0].weight else {})


def test_seeds_go_round_at_the_limit() -> None:
    shots = plan(parse_request({"prompt": "a fox", "batch": 3}), SEED_LIMIT - 2).shots
    assert [shot.seed for shot in shots] == [SEED_LIMIT - 2, SEED_LIMIT - 1, 0]
