"""Controls say what the request's fields say."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.recipe.request import SEED_LIMIT, SLIDERS, bounds, choices, default, help_text, label
from krea_studio.ui import controls


@pytest.mark.parametrize("field", SLIDERS)
def test_a_slider_has_the_fields_range_and_texts(field: str) -> None:
    slider = controls.slider(field)
    assert (slider.minimum, slider.maximum) == bounds(field)
    assert (slider.label, slider.info, slider.value) == (label(field), help_text(field), default(field))


def test_choices_are_those_of_the_field() -> None:
    assert [value for _, value in controls.choice("creativity").choices] == list(choices("creativity"))


@pytest.mark.parametrize(
    ("text", "number"),
    [("", None), ("  ", None), (None, None), ("7", 7), (" 7 ", 7), ("2.5", 2.5), ("-1", -1), ("seven", "seven")],
)
def test_numbers_are_read_from_their_boxes(text: str | None, number: object) -> None:
    read = controls.read_number(text)
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize("number", [None, 0, 7, 4.5, SEED_LIMIT - 1])
def test_numbers_survive_their_boxes(number: float | None) -> None:
    assert controls.read_number(controls.number_text(number)) == number


@given(st.decimals(-2, 2, places=6) | st.decimals(-2, 2, places=2))
def test_strengths_survive_their_sliders(strength: Decimal) -> None:
    assert controls.strength_of(controls.percent(float(strength))) == float(strength)
    assert controls.percent(float(strength)) == float(100 * strength), "no digits that nobody gave"
