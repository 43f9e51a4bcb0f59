"""In what pictures differ: only that, in words."""

import pytest

from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import parse_request
from krea_studio.ui.compare.differences import NOT_TOLD, TOLD, differences


def recipe(checkpoint: str = "mini", **fields: object) -> Recipe:
    request = parse_request({"prompt": "a fox", "resolution": "512", "seed": 7, **fields})
    return plan(request, request.seed).shots[0].recipe(checkpoint)


def board(image: str) -> dict[str, object]:
    return {"name": "Dusk", "strength": 0.5, "content": {"representatives": [{"image": image * 32, "share": 1}]}}


def test_every_field_of_a_recipe_is_told_or_follows_from_one_that_is() -> None:
    assert sorted((*TOLD, *NOT_TOLD)) == sorted(Recipe.model_fields)


def test_what_is_the_same_is_not_told() -> None:
    assert differences([recipe(), recipe(), recipe()]) == []
    assert differences([recipe()]) == differences([]) == []


@pytest.mark.parametrize(
    ("first", "second", "row"),
    [
        ({}, {"intensity": -40}, ("Intensity", ["0", "−40"])),
        ({}, {"prompt": "an owl"}, ("Prompt", ["a fox", "an owl"])),
        ({}, {"checkpoint": "other"}, ("Checkpoint", ["mini", "other"])),
        (
            {"style_references": [{"image": "a" * 32, "strength": 0.5}]},
            {"style_references": [{"image": "b" * 32, "strength": 0.5}]},
            ("Style references", ["aaaaaaaa at 50 %", "bbbbbbbb at 50 %"]),
        ),
        ({}, {"moodboard": board("a")}, ("Moodboard", ["none", "«Dusk» at 50 %"])),
        (
            {"moodboard": board("a")},
            {"moodboard": board("b")},
            ("Moodboard", ["«Dusk» at 50 % (A)", "«Dusk» at 50 % (B)"]),
        ),
        (
            {"styles": [{"name": "Neon", "identity": "a" * 32, "weight": 0.8}]},
            {},
            ("Styles", ["style Neon 80 %", "none"]),
        ),
        ({"steps": 3}, {"steps": 4}, ("Steps", ["3", "4"])),
    ],
)
def test_what_differs_is_told_in_words(first: dict, second: dict, row: tuple[str, list[str]]) -> None:
    assert differences([recipe(**first), recipe(**second)]) == [row]


def test_a_variant_brings_its_own_steps_and_guidance() -> None:
    assert differences([recipe(), recipe(variant="medium"), recipe()]) == [
        ("Variant", ["Turbo", "Medium", "Turbo"]),
        ("Steps", ["8", "28", "8"]),
        ("Guidance scale", ["0", "4.5", "0"]),
    ]
