"""Controls say what the request's fields say, and those to come are disabled with their reason."""

import pytest

from krea_studio.recipe.pending import PENDING_CONTROLS
from krea_studio.recipe.request import SEED_LIMIT, SLIDERS, bounds, choices, default, help_text, label
from krea_studio.ui import controls


@pytest.mark.parametrize("field", SLIDERS)
def test_a_slider_has_the_fields_range_and_texts(field: str) -> None:
    slider = controls.slider(field)
    assert (slider.minimum, slider.maximum) == bounds(field)
    assert (slider.label, slider.info, slider.value) == (label(field), help_text(field), default(field))


def test_choices_are_those_of_the_field() -> None:
    assert [value for _, value in controls.choice("creativity").choices] == list(choices("creativity"))


@pytest.mark.parametrize("field", PENDING_CONTROLS)
def test_what_is_to_come_is_disabled_and_says_why(field: str) -> None:
    assert PENDING_CONTROLS[field].split(".")[0] in controls.reason(field).value
    if field in ("style_references", "moodboard", "styles"):
        control = controls.unavailable(field)
        assert control.interactive is False
        assert control.placeholder == PENDING_CONTROLS[field]


def test_a_reason_is_said_once_for_several_controls() -> None:
    text = controls.reason("styles", "styles").value
    assert text.count(PENDING_CONTROLS["styles"]) == 1


def test_a_working_control_has_no_reason() -> None:
    assert controls.reason("prompt").visible is False
    assert controls.text("prompt").interactive is True


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
