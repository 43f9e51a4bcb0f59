"""What an engine cannot do is known by the control that asks for it, and only by that."""

from typing import Any

import pytest

from krea_studio.engine.abilities import Abilities, Ability
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import GenerationRequest, parse_request

REFERENCE = {"image": "a" * 32}
USED: dict[str, Any] = {
    "movement": -3,
    "steps": 3,
    "guidance_scale": 2.0,
    "style_references": [REFERENCE],
    "moodboard": {"name": "Dusk"},
    "styles": [{"name": "Ink"}],
}


def shot(**fields: Any) -> Shot:
    return Shot.of(parse_request({"prompt": "a fox", **fields}), 1)


@pytest.mark.parametrize("control", USED)
def test_a_control_that_does_not_work_is_refused_where_it_is_used(control: str) -> None:
    abilities = Abilities(controls={control: Ability(reason="Its file is gone — copy it again")})
    title = GenerationRequest.model_fields[control].title
    with pytest.raises(Unavailable, match=f"^{title} does not work here. Its file is gone — copy it again$"):
        abilities.require([shot(), shot(**{control: USED[control]})])
    others = {name: value for name, value in USED.items() if name != control}
    abilities.require([shot(), shot(**others)])


def test_a_variant_that_does_not_run_is_refused_whatever_is_asked() -> None:
    with pytest.raises(Unavailable, match="^No weights — download them$"):
        Abilities("No weights — download them").require([shot()])


BEYOND = {
    "intensity": ((-50, 50), 60, "^Intensity is 60, and works from −50 to 50 here"),
    "steps": ((1, 12), 13, "^Steps is 13, and works from 1 to 12 here"),
    "guidance_scale": ((0, 4.5), 4.6, "^Guidance scale is 4.6, and works from 0 to 4.5 here"),
    "style_references": ((0, 1), [REFERENCE] * 2, "^Style references has 2 entries, and works from 0 to 1 here"),
}


@pytest.mark.parametrize("control", BEYOND)
def test_a_value_beyond_the_range_is_refused_by_value_and_range(control: str) -> None:
    bounds, value, words = BEYOND[control]
    abilities = Abilities(controls={control: Ability(by="a way", bounds=bounds)})
    with pytest.raises(InvalidRequest, match=f"{words} — choose"):
        abilities.require([shot(), shot(**{control: value})])
    within = [REFERENCE] if control == "style_references" else bounds[1]
    abilities.require([shot(), shot(**{control: within})])


def test_what_has_no_effect_is_in_every_range() -> None:
    abilities = Abilities(controls={"intensity": Ability(bounds=(10, 50)), "style_references": Ability(bounds=(1, 2))})
    abilities.require([shot()])


def test_a_control_that_is_not_named_works() -> None:
    assert Abilities().of("movement") == Ability()
    Abilities().require([shot(**USED)])


def test_mechanisms_are_those_of_the_controls_that_work() -> None:
    abilities = Abilities(
        controls={"intensity": Ability(by="slider LoRA"), "movement": Ability(reason="Damaged."), "styles": Ability()}
    )
    assert abilities.mechanisms() == {"intensity": "slider LoRA"}
