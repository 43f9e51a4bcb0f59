"""What a shot attends to: nothing at zero, no order, one bound for all; and how it is told."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.direction.references import (
    BOARD_STRENGTH,
    MECHANISM,
    MOST_STRENGTH,
    attended_pictures,
    known_words,
    other_mechanism,
    references_text,
)
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import parse_request
from tests.strategies import boards, ready

A, B, C = ("a" * 32, "b" * 32, "c" * 32)
VOCABULARY = {"how vivid": ["muted", "natural colors"], "palette": ["sunset colors"], "examples": ["a dusty rose"]}


def shot(references: list[dict[str, Any]] = [], moodboard: dict[str, Any] | None = None) -> Shot:  # noqa: B006
    request = parse_request({"prompt": "a fox", "style_references": references, "moodboard": moodboard})
    return plan(request, 1).shots[0]


def board(strength: float, **shares: float) -> dict[str, Any]:
    representatives = [{"image": digit * 32, "share": share} for digit, share in shares.items()]
    return {"name": "b", "strength": strength, "content": {"representatives": representatives}}


@given(ready["style_references"], st.none() | boards(required_content=True), st.randoms(use_true_random=False))
def test_order_never_matters_and_the_bound_always_holds(
    references: list[dict[str, Any]], moodboard: dict[str, Any] | None, draw: random.Random
) -> None:
    found = attended_pictures(shot(references, moodboard))
    shuffled = references[:]
    draw.shuffle(shuffled)
    assert attended_pictures(shot(shuffled, moodboard)) == found
    assert sum(abs(each.strength) for each in found) <= MOST_STRENGTH + 1e-9
    assert all(each.strength for each in found)


def test_nothing_is_attended_to_at_zero() -> None:
    assert attended_pictures(shot([{"image": A, "strength": 0.0}], board(0.0, b=1.0))) == ()


def test_the_same_picture_counts_once_with_the_sum() -> None:
    (once,) = attended_pictures(shot([{"image": A, "strength": 0.5}, {"image": A, "strength": 0.25}]))
    assert (once.image, once.strength) == (A, 0.75)
    assert attended_pictures(shot([{"image": A, "strength": 0.5}, {"image": A, "strength": -0.5}])) == ()


def test_a_moodboard_shares_its_strength_out() -> None:
    found = attended_pictures(shot([{"image": A, "strength": 0.2}], board(0.5, a=0.75, c=0.25)))
    assert [(each.image, each.of_board) for each in found] == [(A, False), (A, True), (C, True)]
    strengths = [each.strength for each in found]
    assert strengths == pytest.approx([0.2, 0.375 * BOARD_STRENGTH, 0.125 * BOARD_STRENGTH])


def test_a_small_world_gets_only_words_that_it_knows() -> None:
    words = ("muted colors", "dusty rose", "warm colors", "Sunset")
    assert known_words(words, VOCABULARY) == ("muted colors", "Sunset")
    assert known_words(words, None) == words


def test_references_are_told_in_one_line() -> None:
    told = shot([{"image": A, "strength": 0.5}, {"image": B, "strength": -0.4}], board(0.35, c=1.0)).recipe("c")
    assert references_text(told) == "style references at 50 %, −40 %, moodboard «b» at 35 %"
    assert references_text(shot().recipe("c")) == ""


def test_another_mechanism_is_told() -> None:
    plain, here, there = (
        shot().recipe("c", reference_mechanism=by) for by in (None, MECHANISM, "reference attention 0")
    )
    assert other_mechanism(plain) == other_mechanism(here) == ""
    assert "by reference attention 0 there" in other_mechanism(there)
