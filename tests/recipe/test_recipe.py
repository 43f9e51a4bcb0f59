"""A recipe leads back to its shot, whichever schema it was written in, and is checked as a stranger's."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.errors import InvalidRequest
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.recipe import recipe as room
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Recipe, Shot
from krea_studio.recipe.request import SLIDERS, GenerationRequest, parse_request
from tests.strategies import any_data, anything, ready_data, seeds

EXPLORATION_SEED = 7
EARLIER = sorted((Path(__file__).parents[1] / "libraries" / "2026-11").glob("*-*-*/*.png"))
FACTS = ("width", "height", "exploration", "checkpoint", "weights", "slider_mechanisms", "reference_mechanism")
RANDOM_FIELDS = {"random_mode", "locked_sliders", "spread", "exploration_seed"}


@given(ready_data, seeds)
def test_a_recipe_leads_back_to_its_shot(data: dict[str, Any], seed: int) -> None:
    for shot in plan(parse_request(data), seed, EXPLORATION_SEED).shots:
        recipe = shot.recipe("mini-turbo", slider_mechanisms=dict.fromkeys(shot.sliders, "by"))
        told = json.loads(json.dumps(recipe.as_json()))
        assert Recipe.from_json(told) == recipe
        request = recipe.request()
        assert plan(request, request.seed).shots == (shot.model_copy(update={"exploration": None}),)
        assert told["slider_mechanisms"].keys() == {slider for slider in SLIDERS if told[slider]}
        assert told["checkpoint"] == "mini-turbo"


def test_sigmas_are_in_a_recipe_only_where_it_has_its_own() -> None:
    own = Shot.of(GenerationRequest(prompt="a fox", sigmas=(1.0, 0.9, 0.7)), 7).recipe("mini-turbo")
    assert own.steps == 3 and own.as_json()["sigmas"] == [1.0, 0.9, 0.7]
    assert own.request().sigmas == (1.0, 0.9, 0.7)
    assert "sigmas" not in Shot.of(GenerationRequest(prompt="a fox"), 7).recipe("mini-turbo").as_json()
    with pytest.raises(InvalidRequest, match="give 4 of them"):
        Recipe.from_json({**own.as_json(), "steps": 4})


def test_what_a_request_and_a_recipe_share_has_one_name() -> None:
    shared = set(GenerationRequest.model_fields) - {"batch", *RANDOM_FIELDS}
    assert set(Recipe.model_fields) - shared == set(FACTS)
    assert set(Shot.model_fields) < set(Recipe.model_fields)


AROUND = dict.fromkeys(SLIDERS, 0)


def drawn(**fields: Any) -> dict[str, Any]:
    return {"seed": 7, "number": 0, "spread": 200, "locked": [], "around": AROUND} | fields


class TestFromJson:
    recipe: ClassVar = {"schema_version": 1, "prompt": "a fox", "seed": 3, "checkpoint": "mini-turbo", "batch": 4}

    def test_is_one_image_of_that_seed(self) -> None:
        request = Recipe.from_json(self.recipe).request()
        assert (request.batch, request.seed) == (1, 3)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"cfg": 7}, "'cfg' is not a field"),
            ({"random_mode": True}, "'random_mode' is not a field"),
            ({"seed": None}, "has no seed"),
            ({"seed": 2**40}, "Seed is 1099511627776"),
            ({"schema_version": 3}, "schema version 3, this studio reads 1 to 2"),
            ({"weights": "not an identity"}, "Weights is 'not an identity'"),
            ({"schema_version": 0}, "schema version 0"),
            ({"schema_version": True}, "schema version True"),
            ({"width": 1000}, "(1000, 1024)"),
            ({"expansion": {"text": ""}}, "Expanded prompt, text is empty"),
            ({"prompt": ""}, "Prompt is empty"),
            ({"checkpoint": 7}, "Checkpoint is 7"),
            ({"slider_mechanisms": ["by"]}, "Slider mechanisms is ['by']"),
            ({"exploration": {"seed": -1}}, "Exploration, seed is -1"),
            ({"slider_mechanisms": {"intensity": 5}}, "Slider mechanisms, intensity is 5 — give a text of 0 to 200"),
            ({"slider_mechanisms": {"warp": "by"}}, "Slider mechanisms is {'warp': 'by'} — name only intensity, "),
            ({"slider_mechanisms": {"intensity": "\ud800"}}, "Slider mechanisms, intensity is not valid Unicode"),
            ({"reference_mechanism": 5}, "Reference mechanism is 5 — give a text of 0 to 200 characters"),
            ({"reference_mechanism": "\ud800"}, "Reference mechanism is not valid Unicode"),
            ({"reference_mechanism": "x" * 201}, "Reference mechanism has 201 characters"),
            ({"height": "tall"}, "(1024, 'tall')"),
            ({"exploration": drawn(number=2**40)}, "Exploration, number is 1099511627776 — give a whole number from 0"),
            ({"exploration": drawn(spread=201)}, "Exploration, spread is 201 — give a whole number from 1 to 200"),
            ({"exploration": drawn(locked=["warp"])}, "Exploration, locked, number 1 is 'warp' — choose one of intens"),
            ({"exploration": drawn(around={"intensity": 1})}, "{'intensity': 1} — give a value for each of intensity"),
            ({"exploration": drawn(around=AROUND | {"movement": 101})}, "'movement' is 101 — give a whole number from"),
        ],
    )
    def test_refuses_what_it_cannot_draw_again(self, change: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            Recipe.from_json(self.recipe | change)
        assert words in caught.value.message

    @given(anything | any_data)
    def test_hostile_recipes_end_in_one_line(self, recipe: Any) -> None:
        for candidate in (recipe, self.recipe | recipe if isinstance(recipe, dict) else recipe):
            try:
                Recipe.from_json(candidate)
            except InvalidRequest as error:
                assert len(error.message.splitlines()) == 1

    @given(st.sampled_from(FACTS), anything)
    def test_hostile_facts_end_in_one_line(self, fact: str, value: Any) -> None:
        try:
            Recipe.from_json(self.recipe | {fact: value})
        except InvalidRequest as error:
            assert len(error.message.splitlines()) == 1

    @given(st.text(st.characters(exclude_categories=()), max_size=20))
    def test_any_prompt_text_is_drawn_or_refused(self, prompt: str) -> None:
        try:
            Recipe.from_json(self.recipe | {"prompt": prompt})
        except InvalidRequest as error:
            assert error.message.startswith("Prompt ")


class TestUpgrades:
    def test_the_pictures_of_earlier_studios_are_there(self) -> None:
        assert len(EARLIER) == 2

    @pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.name)
    def test_a_picture_of_an_earlier_studio_is_the_same_shot_in_the_next_schema(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        today = read_recipe(path)

        # What a next schema might do: another name for a field, a unit changed, one that is new.
        def m001(recipe: dict[str, Any]) -> dict[str, Any]:
            recipe["checkpoint"] = recipe.pop("checkpoint").upper()
            return recipe

        monkeypatch.setattr(room, "UPGRADES", [*room.UPGRADES, m001])
        tomorrow = read_recipe(path)
        assert tomorrow == today.model_copy(update={"checkpoint": today.checkpoint.upper()})
        assert tomorrow.request() == today.request()
        assert Recipe.from_json(tomorrow.as_json()) == tomorrow
        assert tomorrow.as_json()["schema_version"] == 3

    @pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.name)
    def test_a_picture_of_before_weights_were_named_is_one_of_the_first(self, path: Path) -> None:
        recipe = read_recipe(path)
        assert recipe.weights == room.FIRST_WEIGHTS[recipe.checkpoint]
        assert Recipe.from_json(recipe.as_json() | {"weights": None}).weights is None

    def test_each_step_is_taken_once_and_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def adds(word: str) -> Any:
            return lambda recipe: {**recipe, "prompt": f"{recipe['prompt']} {word}"}

        monkeypatch.setattr(room, "UPGRADES", [adds("two"), adds("three")])
        written = {"prompt": "one", "seed": 3}
        prompts = [Recipe.from_json({**written, "schema_version": version}).prompt for version in (1, 2, 3)]
        assert prompts == ["one two three", "one three", "one"]
        with pytest.raises(InvalidRequest, match="schema version 4, this studio reads 1 to 3"):
            Recipe.from_json({**written, "schema_version": 4})
