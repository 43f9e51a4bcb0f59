"""A request takes what its fields say and refuses everything else in one line."""

import json
import math
import sys
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import (
    GenerationRequest,
    StyleReference,
    bounds,
    choices,
    clean_text,
    default,
    help_text,
    label,
    parse_request,
)
from tests.strategies import any_data, anything, valid_data


def refused(data: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(data)
    message = caught.value.message
    assert len(message.splitlines()) == 1 and message.isprintable()
    assert " — " in message
    return message


@given(any_data | anything)
def test_any_data_is_a_request_or_one_clear_line(data: Any) -> None:
    try:
        assert isinstance(parse_request(data), GenerationRequest)
    except InvalidRequest as error:
        assert len(error.message.splitlines()) == 1
        assert len(error.message) < 1000
        error.message.encode("utf-8")


def test_a_text_loses_what_no_keyboard_types() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1))).replace("\r", "")
    typed = "".join(c for c in everything if c in "\n\t" or category(c) != "Cc")
    assert clean_text(f"x{everything}x") == f"x{typed}x"
    assert clean_text(" a\r\nb\rc\x00 ") == "a\nb\nc" and clean_text(None) is None


@given(valid_data)
def test_json_round_trip(data: dict[str, Any]) -> None:
    request = parse_request(data)
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request
    assert parse_request(json.loads(json.dumps(request.model_dump(mode="json")))) == request


@given(valid_data)
def test_a_request_is_frozen_and_hashable(data: dict[str, Any]) -> None:
    request = parse_request(data)
    assert hash(request) == hash(parse_request(data))
    with pytest.raises(Exception, match="frozen"):
        request.prompt = "another"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "Prompt is missing — give a text of 1 to 10,000 characters"),
        ({"prompt": " \n\t\0"}, "Prompt is empty — give a text of 1 to 10,000 characters"),
        ({"prompt": "x" * 20_000}, "Prompt has 20,000 characters — give a text of 1 to 10,000 characters"),
        ({"prompt": "half \udc80"}, "Prompt is not valid Unicode (half of a surrogate pair) — paste the text again"),
        ({"prompt": 7}, "Prompt is 7 — give a text of 1 to 10,000 characters"),
        ({"seed": -1}, "Seed is -1 — give a whole number from 0 to 4294967295, or leave it empty"),
        ({"seed": 2**32}, "Seed is 4294967296 — give a whole number from 0 to 4294967295, or leave it empty"),
        ({"seed": True}, "Seed is True — give a whole number from 0 to 4294967295, or leave it empty"),
        ({"seed": "7"}, "Seed is '7' — give a whole number from 0 to 4294967295, or leave it empty"),
        ({"batch": 5}, "Batch is 5 — give a whole number from 1 to 4"),
        ({"intensity": 2.0}, "Intensity is 2.0 — give a whole number from -100 to 100"),
        ({"movement": math.nan}, "Movement is nan — give a whole number from -100 to 100"),
        ({"guidance_scale": math.nan}, "Guidance scale is nan — give a number from 0 to 20, or leave it empty"),
        ({"guidance_scale": math.inf}, "Guidance scale is inf — give a number from 0 to 20, or leave it empty"),
        ({"guidance_scale": True}, "Guidance scale is True — give a number from 0 to 20, or leave it empty"),
        (
            {"sigmas": [1, 0.5, 0.5]},
            "Sigmas is [1, 0.5, 0.5] — let each be 0.0001 or more below the one before; 0.5 is behind 0.5",
        ),
        ({"sigmas": [1.2, 0.5]}, "Sigmas, number 1 is 1.2 — give a number from 0.001 to 1"),
        ({"sigmas": [1.0, 0.0]}, "Sigmas, number 2 is 0.0 — give a number from 0.001 to 1"),
        ({"sigmas": [1.0, math.nan]}, "Sigmas, number 2 is nan — give a number from 0.001 to 1"),
        ({"sigmas": ["much"]}, "Sigmas, number 1 is 'much' — give a number from 0.001 to 1"),
        (
            {"sigmas": [1.0, 0.5], "steps": 3},
            "Sigmas is [1.0, 0.5] — give 3 of them, as many as there are steps, or change the steps to 2",
        ),
        ({"variant": "huge"}, "Variant is 'huge' — choose one of medium, large, turbo"),
        (
            {"aspect_ratio": "5:3"},
            "Aspect ratio is '5:3' — choose one of 1:1, 4:3, 3:2, 16:9, 2.35:1, 4:5, 2:3, 9:16",
        ),
        ({"random_mode": 1}, "Random mode is 1 — give true or false"),
        ({"spread": 0}, "Spread is 0 — give a whole number from 1 to 200"),
        (
            {"locked_sliders": ["movement", "colour"]},
            "Locked sliders, number 2 is 'colour' — choose one of intensity, complexity, movement",
        ),
        ({"style_references": [{"image": "a" * 32}] * 5}, "Style references has 5 entries — give a list of at most 4"),
        (
            {"style_references": [{"image": "a" * 32}, {"image": "b" * 32, "strength": 9}]},
            "Style references, number 2, strength is 9 — give a number from -2 to 2",
        ),
        ({"moodboard": {"name": ""}}, "Moodboard, name is empty — give a text of 1 to 200 characters"),
        ({"moodboard": 7}, "Moodboard is 7 — give an object with name and strength and content, or leave it empty"),
        (
            {"styles": [{"name": "a", "power": 3}]},
            "'power' is not a field of Styles, number 1 — use only name, weight, trigger, identity",
        ),
    ],
)
def test_refusals_name_field_value_and_what_is_allowed(data: dict[str, Any], message: str) -> None:
    whole = data if not data or "prompt" in data else {"prompt": "a fox", **data}
    assert refused(whole) == message


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    message = refused({"prompt": "a fox", "cfg": 7})
    assert message.startswith("'cfg' is not a field of a request — use only prompt, negative_prompt, variant")


def test_a_long_value_is_shortened() -> None:
    assert len(refused({"prompt": "a fox", "variant": "turbo" * 1000})) < 160
    assert "bits" in refused({"prompt": "a fox", "seed": 10**5000})


@pytest.mark.parametrize(
    "prompt", ["🦊🏽‍🚀 at dusk", "ثعلب عند الغروب", "\u202bשועל\u202c", "狐\tand\nthe moon", "a\u0301"]
)
def test_emoji_and_other_writing_stay_as_they_are(prompt: str) -> None:
    assert parse_request({"prompt": prompt}).prompt == prompt


def test_control_characters_and_outer_space_are_removed() -> None:
    assert parse_request({"prompt": "  a\0 fox\x1b[31m\r\nat dusk \x85"}).prompt == "a fox[31m\nat dusk"
    assert parse_request({"prompt": "x" * 10_000 + "  "}).prompt == "x" * 10_000


def test_words_of_the_command_line_can_stand_in_for_labels() -> None:
    with pytest.raises(InvalidRequest, match="^--count is 9 — "):
        parse_request({"prompt": "a fox", "batch": 9}, name=lambda field: {"batch": "--count"}[field])


@pytest.mark.parametrize("field", GenerationRequest.model_fields)
def test_every_field_has_label_help_and_default(field: str) -> None:
    assert label(field)[0].isupper()
    assert len(help_text(field)) > 10
    if field != "prompt":
        assert getattr(parse_request({"prompt": "a fox"}), field) == default(field)


def test_bounds_and_choices_come_from_the_fields() -> None:
    assert bounds("seed") == (0, 2**32 - 1)
    assert bounds("prompt") == (1, 10_000)
    assert bounds("style_references") == (0, 4)
    assert bounds("strength", StyleReference) == (-2, 2)
    assert choices("creativity") == ("raw", "low", "medium", "high")
