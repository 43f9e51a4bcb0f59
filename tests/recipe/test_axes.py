"""Axes as people write them: lists, ranges, words and styles; what is no axis is refused by its name."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.axes import KINDS, MOST_VALUES, Axis, parse_axis, read_axis, values_text
from krea_studio.recipe.request import StyleChoice


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("intensity=-100:100:50", (-100, -50, 0, 50, 100)),
        ("intensity=100:-100:-100", (100, 0, -100)),
        ("intensity = −20, 0 , 20", (-20, 0, 20)),
        ("seed=1:4", (1, 2, 3, 4)),
        ("seed=4:1", (4, 3, 2, 1)),
        ("steps=4,8,10:12", (4, 8, 10, 11, 12)),
        ("guidance=0:1:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("moodboard=0:1:.3", (0.0, 0.3, 0.6, 0.9)),
        ("aspect-ratio=1:1,16:9", ("1:1", "16:9")),
        ("Aspect_Ratio=4:3", ("4:3",)),
        ("creativity=raw,high", ("raw", "high")),
        ("words=fox,cat,owl", ("fox", "cat", "owl")),
        ("words=fox → cat, owl", ("fox", "cat", "owl")),
        ('words="red, green",blue', ("red, green", "blue")),
        ("style=Neon,none", (StyleChoice(name="Neon"), "none")),
        ("style=Neon:0.5,A:B", (StyleChoice(name="Neon", weight=0.5), StyleChoice(name="A:B"))),
    ],
)
def test_an_axis_is_read(text: str, values: tuple) -> None:
    axis = parse_axis(text)
    assert axis.values == values
    assert [type(value) for value in axis.values] == [type(value) for value in values]
    assert Axis.model_validate_json(axis.model_dump_json()) == axis


@pytest.mark.parametrize(
    ("name", "text", "written"),
    [
        ("intensity", "-100:100:100", "-100, 0, 100"),
        ("guidance", "0:1:.5", "0, 0.5, 1"),
        ("words", "fox,cat,owl", "fox → cat, owl"),
        ("words", '"red, green" → "so-called ""blue""",x', '"red, green" → "so-called ""blue""", x'),
        ("style", "none,Neon:-.5,A:B", "none, Neon:-0.5, A:B"),
        ("style-weight.A=B", "0,1", "0, 1"),
    ],
)
def test_values_are_written_as_they_are_read(name: str, text: str, written: str) -> None:
    axis = read_axis(name, text)
    assert values_text(axis) == written and read_axis(name, written) == axis


def test_which_one_is_meant_is_part_of_its_name() -> None:
    assert (parse_axis("style-weight.Stained glass=0,1").which, parse_axis("reference.2=0,1").which) == (
        "Stained glass",
        "2",
    )
    assert parse_axis("words=fox,owl").which == "fox"
    assert parse_axis("style-weight.Neon=0,1").name == "Style weight of Neon"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("intensity", "'intensity' is no axis — write NAME=VALUES, with one of variant, seed, intensity"),
        ("vibrance=1,2", "'vibrance=1,2' is no axis — write NAME=VALUES"),
        ("seed.2=1,2", "'seed.2' is no axis — write seed=VALUES"),
        ("intensity=", "Intensity has no values — write intensity=VALUES, with commas between them"),
        ("intensity=,,", "Intensity has no values"),
        ("intensity=1:10:0", "Intensity has the range '1:10:0' with step 0 — give a step, such as 10"),
        ("intensity=1:10:-1", "Intensity has the range '1:10:-1', which leads away from its end — turn the step"),
        ("intensity=high", "Intensity is 'high' — give whole numbers, or a range of them as START:STOP:STEP"),
        ("steps=4.5", "Steps is '4.5' — give whole numbers"),
        ("guidance=nan", "Guidance scale is 'nan' — give numbers"),
        ("guidance=0:inf", "Guidance scale is '0:inf' — give numbers"),
        ("guidance=0:1:1e-9", "of 1,000,000,001 values, of at most 10,000 — give a larger step"),
        ("seed=0:99999999999", "of 100,000,000,000 values, of at most 10,000"),
        ("seed=1e99", "Seed is '1e99' — give whole numbers"),
        ("variant=huge", "Variant is 'huge' — choose from"),
        ("style=Neon:9", "Weight is 9.0 — give a number from -2 to 2"),
    ],
)
def test_what_is_no_axis_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_axis(text)
    assert told in refused.value.message and "\n" not in refused.value.message


@pytest.mark.parametrize(
    "given_",
    [
        {"what": "words", "which": "fox", "values": [1]},
        {"what": "seed", "values": ["one"]},
        {"what": "seed", "values": [True]},
        {"what": "seed", "values": [1.5]},
        {"what": "style", "values": ["Neon"]},
        {"what": "intensity", "values": []},
    ],
)
def test_an_axis_holds_what_its_setting_takes(given_: dict) -> None:
    with pytest.raises(ValueError):
        Axis.model_validate(given_)


@given(st.text(max_size=60))
def test_whatever_is_written_is_an_axis_or_is_refused(text: str) -> None:
    for name in KINDS:
        try:
            axis = parse_axis(f"{name}={text}")
        except InvalidRequest as error:
            assert "\n" not in error.message
        else:
            assert 1 <= len(axis.values) <= MOST_VALUES
            assert all(axis.text(place) for place in range(len(axis.values)))


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(1, 300))
def test_a_range_goes_by_its_step_and_not_beyond_its_end(start: int, stop: int, step: int) -> None:
    step = step if stop >= start else -step
    values = parse_axis(f"intensity={start}:{stop}:{step}").values
    assert values[0] == start and all(b - a == step for a, b in pairwise(values))
    assert 0 <= abs(Decimal(stop) - Decimal(str(values[-1]))) < abs(step)
