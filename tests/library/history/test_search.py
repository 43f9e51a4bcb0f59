"""A search says in one line what is wrong with it, and its days are a person's own."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.library.history.search import Search, moment_of, parse_search, time_of
from tests.strategies import anything


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own time is that of Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def day(*when: int) -> int:
    return moment_of(datetime(*when, tzinfo=UTC))


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        ({"variant": "tiny"}, "Variant is 'tiny' — choose one of medium, large, turbo, or leave it empty"),
        ({"creativity": 1}, "Creativity is 1 — choose one of raw, low, medium, high, or leave it empty"),
        ({"starred": "yes"}, "Starred is 'yes' — give true or false"),
        ({"style": ""}, "Style is empty — give a text of 1 to 200 characters, or leave it empty"),
        ({"words": "x" * 1001}, "Words has 1,001 characters — give a text of 0 to 1,000 characters"),
        ({"words": "\ud800"}, "Words is not valid Unicode (half of a surrogate pair) — paste the text again"),
        ({"since": "last week"}, "Since is 'last week' — give a day such as 2026-11-29, or a time such as "),
        ({"until": 20261129}, "Until is 20261129 — give a day such as 2026-11-29, or a time such as "),
        ({"since": "2026-02-30"}, "Since is '2026-02-30' — give a day"),
        ({"until": "9999-12-31"}, "Until is '9999-12-31' — give a year from 1971 to 9998"),
        ({"owner": "ada"}, "'owner' is not a field of a search — use only words, variant, "),
        ([], "[] is not a search — give an object with words, variant, "),
    ],
)
def test_a_refusal_is_one_line_that_names_the_value(data: Any, refusal: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_search(data)
    assert caught.value.message.startswith(refusal) and "\n" not in caught.value.message


def test_a_command_line_has_its_own_words_for_fields() -> None:
    with pytest.raises(InvalidRequest, match="--variant is 'tiny'"):
        parse_search({"variant": "tiny"}, name=lambda field: f"--{field}")


@given(st.dictionaries(st.sampled_from([*Search.model_fields]) | st.text(max_size=5), anything, max_size=5))
def test_anything_is_a_search_or_refused(data: dict[str, Any]) -> None:
    try:
        first, last = parse_search(data).moments
    except InvalidRequest as error:
        assert "\n" not in error.message
    else:
        assert isinstance(first, int) and isinstance(last, int)


def test_a_search_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Search().words = "fox"


def test_it_comes_back_from_json() -> None:
    search = parse_search({"words": " a fox ", "since": "2026-01-02", "until": "2026-01-02T03:04:05+01:00"})
    assert search.words == "a fox" and search.since == date(2026, 1, 2)
    assert parse_search(search.model_dump(mode="json")) == search


def test_a_day_is_the_whole_of_it_by_the_machine_s_own_time(berlin: None) -> None:
    summer = parse_search({"since": "2026-07-01", "until": "2026-07-01"}).moments
    assert summer == (day(2026, 6, 30, 22) - 1, day(2026, 7, 1, 22))
    first, last = parse_search({"since": "2026-10-25", "until": "2026-10-25"}).moments
    assert time_of(last) - time_of(first + 1) == timedelta(hours=25), "summer time ends on that day"


def test_a_time_is_the_machine_s_own_or_that_of_its_zone(berlin: None) -> None:
    same = [
        parse_search({"since": at, "until": at}).moments
        for at in ("2026-07-01T12:00", "2026-07-01T10:00Z", "2026-07-01T06:00-04:00")
    ]
    assert same == [(day(2026, 7, 1, 10) - 1, day(2026, 7, 1, 10) + 1)] * 3


@given(st.integers(-(10**15), 10**17))
def test_a_moment_is_a_time_to_the_microsecond(moment: int) -> None:
    assert moment_of(time_of(moment)) == moment
