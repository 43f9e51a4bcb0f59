"""What sliders mean, as data: contrasts that differ in their poles alone, starting points within the range."""

import json
from typing import Any

import pytest

from krea_studio.direction.sliders import (
    POLES,
    SMALL_WORLD_POLES,
    STARTING_POINTS,
    contrasts,
    other_mechanisms,
    signed,
    values_text,
)
from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.recipe.exploration import Exploration
from krea_studio.recipe.recipe import Recipe, Shot
from krea_studio.recipe.request import SLIDERS, parse_request

VOCABULARY = json.loads((ASSETS / "vocabulary.json").read_text("utf-8"))


@pytest.mark.parametrize("vocabulary", [None, VOCABULARY], ids=["any model", "small world"])
@pytest.mark.parametrize("slider", SLIDERS)
def test_a_contrast_is_one_scene_with_either_pole(slider: str, vocabulary: dict | None) -> None:
    found = contrasts(slider, vocabulary, 60)
    assert found == contrasts(slider, vocabulary, 60)
    poles = (POLES if vocabulary is None else SMALL_WORLD_POLES)[slider]
    for contrast in found:
        scene = contrast.neutral
        pair = contrast.negative.removeprefix(f"{scene}, "), contrast.positive.removeprefix(f"{scene}, ")
        assert pair in poles
        assert not any(f", {pole}" in f"{scene}, " for pair in poles for pole in pair)
    assert len({contrast.neutral for contrast in found}) > 40
    others = [
        pole
        for other in SLIDERS
        if other != slider
        for pair in (POLES if vocabulary is None else SMALL_WORLD_POLES)[other]
        for pole in pair
    ]
    named = sum(any(pole in contrast.neutral for pole in others) for contrast in found)
    assert 15 <= named <= 45


def test_the_small_world_s_poles_are_its_own_words() -> None:
    from krea_studio.training.world.captions import GRADE_WORDS

    known = {"intensity": "vividness", "complexity": "density", "movement": "motion"}
    for slider, attribute in known.items():
        lowest, highest = GRADE_WORDS[attribute][0], GRADE_WORDS[attribute][-1]
        assert all(low in lowest and high in highest for low, high in SMALL_WORLD_POLES[slider])


def test_starting_points_are_values_of_the_sliders() -> None:
    for point in STARTING_POINTS:
        assert point.values.keys() == set(SLIDERS)
        assert all(-100 <= value <= 100 for value in point.values.values())
    assert sum(point.random_mode for point in STARTING_POINTS) == 1


def recipe_of(exploration: Exploration | None = None, **fields: Any) -> Recipe:
    return Shot.of(parse_request({"prompt": "a fox", **fields}), 1, exploration).recipe("mini-turbo")


def test_another_mechanism_is_told() -> None:
    by = {"intensity": "slider LoRA 12ab", "movement": "text direction 99"}
    recipe = recipe_of().model_copy(update={"slider_mechanisms": by})
    here = {"intensity": "slider LoRA", "complexity": "slider LoRA", "movement": "slider LoRA"}
    assert other_mechanisms(recipe, here) == (
        "movement worked by text direction 99 there, by slider LoRA here: expect a different picture."
    )
    assert other_mechanisms(recipe, {**here, "movement": "text direction"}) == ""
    assert other_mechanisms(recipe_of(), here) == ""


def test_values_are_told_with_their_sign() -> None:
    assert [signed(value) for value in (60, 0, -20)] == ["+60", "0", "−20"]
    assert values_text(recipe_of()) == ""
    assert values_text(recipe_of(intensity=5, movement=-7)) == "intensity +5, complexity 0, movement −7"
    locked = Exploration(seed=1, number=0, spread=9, locked=SLIDERS, around=dict.fromkeys(SLIDERS, 0))
    assert values_text(recipe_of(locked)) == "intensity 0, complexity 0, movement 0"
