"""What an engine cannot do is known by the control that asks for it, and only by that."""

from typing import Any

import pytest

from krea_studio.engine.abilities import Abilities, Ability
from krea_studio.errors import Unavailable
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import GenerationRequest, parse_request

REFERENCE = {"image": "a" * 32}
USED: dict[str, Any] = {
    "movement": -3,
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


def test_a_control_that_is_not_named_works() -> None:
    assert Abilities().of("movement") == Ability()
    Abilities().require([shot(**USED)])


def test_mechanisms_are_those_of_the_controls_that_work() -> None:
    abilities = Abilities(
        controls={"intensity": Ability(by="slider LoRA"), "movement": Ability(reason="Damaged."), "styles": Ability()}
    )
    assert abilities.mechanisms() == {"intensity": "slider LoRA"}
