"""Axes as they stand on the page: read by the axes' own parser, refused beside their box, written back."""

import pytest

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.axes import KINDS, read_axis
from krea_studio.recipe.request import parse_request
from krea_studio.ui.sweep.asked import NO_AXIS, NO_VALUES, Misplaced, Row, example, rows_of, rows_with, sweep_of

REQUEST = parse_request(
    {
        "prompt": "a fox in the snow",
        "seed": 3,
        "batch": 4,
        "styles": [{"name": "Ink"}],
        "style_references": [{"image": "0" * 32}],
        "moodboard": {"name": "Dusk"},
    }
)


def row(axis: str, what: str, values: str, which: str = "") -> Row:
    return Row(axis, what, which, values)


def sweep(*rows: Row, most: int = 100, request: object = REQUEST) -> object:
    return sweep_of(request, rows, (), most)


@pytest.mark.parametrize("what", KINDS)
def test_the_example_of_every_axis_can_be_drawn(what: str) -> None:
    found = sweep(row("x", what, example(what)))
    assert found.size > 1 and found.axes[0].what == what
    assert found.request.batch == 1, "a sweep draws one picture of each combination"


def test_a_sweep_comes_back_as_it_was_written() -> None:
    axes = (read_axis("words", "fox → cat,owl"), read_axis("style-weight.Ink", "0,0.5"), read_axis("seed", "1:3"))
    written = rows_with(axes)
    assert written["x_values"] == "fox → cat, owl" and written["y_which"] == "Ink" and written["z_what"] == "seed"
    assert sweep(*rows_of(written)).axes == axes
    assert rows_of(rows_with(axes[:1])) == [row("x", "words", "fox → cat, owl")]


def test_an_axis_that_is_as_a_sheet_has_it_knows_more_than_its_text() -> None:
    kept = read_axis("style", "none,Neon")
    known = kept.model_copy(update={"values": ("none", kept.values[1].model_copy(update={"identity": "a" * 32}))})
    as_it_was, changed = row("x", "style", "none, Neon"), row("x", "style", "Neon, none")
    assert sweep_of(REQUEST, [as_it_was], [known], 9).axes == (known,)
    assert sweep_of(REQUEST, [changed], [known], 9).axes == (read_axis("style", "Neon,none"),)


@pytest.mark.parametrize(
    ("rows", "axis", "told"),
    [
        ([row("x", "intensity", "0:10:0")], "x", "with step 0"),
        ([row("x", "intensity", "0,300")], "x", "Intensity 300: Intensity is 300"),
        ([row("x", "seed", "1,2"), row("z", "seed", "3,4")], "z", "Seed is on two axes"),
        ([row("x", "seed", "1,2"), row("y", "seed", "1,1"), row("z", "steps", "1")], "y", "Seed"),
        ([row("y", "words", "whale → owl")], "y", "The prompt does not say 'whale'"),
        ([row("x", "seed", "1"), row("y", "reference", "0,1", "3")], "y", "There is no style reference '3'"),
        ([row("x", "seed", "1"), row("z", "style-weight", "0,1", "Neon")], "z", "The request has no style 'Neon'"),
        ([row("x", "steps", "")], "x", NO_VALUES),
        ([row("x", "seed", "1:1000000")], "x", "of 1,000,000 values, of at most 10,000"),
    ],
)
def test_what_is_wrong_with_an_axis_is_said_beside_it(rows: list[Row], axis: str, told: str) -> None:
    with pytest.raises(Misplaced) as refused:
        sweep(*rows)
    assert told in refused.value.message and refused.value.axis == axis


def test_what_is_wrong_with_all_is_said_of_all() -> None:
    hundred = [row("x", "seed", "1:100"), row("y", "intensity", "-50:49"), row("z", "complexity", "-50:49")]
    random = REQUEST.model_copy(update={"random_mode": True})
    for rows, most, request, told in (
        ([], 100, REQUEST, NO_AXIS),
        (hundred, 100, REQUEST, "100 × 100 × 100 = 1,000,000 pictures, of at most 10,000"),
        ([row("x", "seed", "1:101")], 100, REQUEST, "101 pictures, of at most 100 — take fewer values, or allow as"),
        ([row("x", "seed", "1:3")], 100, random, "Random mode is on"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            sweep(*rows, most=most, request=request)
        assert told in refused.value.message and not isinstance(refused.value, Misplaced)
    assert sweep(row("x", "seed", "1:101"), most=10_000).size == 101
