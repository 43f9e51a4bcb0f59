"""The address says what is shown, whoever wrote it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.library.history.search import Search
from krea_studio.ui.history.address import Address, tab_of

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "words": WORDS,
        "style": WORDS,
        "variant": st.sampled_from(["turbo", "medium"]),
        "starred": st.just(True),
        "since": st.dates().map(str),
    },
)
KEYS = st.none() | st.integers(0, 10**18 - 1)


@given(WANTED, KEYS, KEYS, st.text("0123456789abcdef", max_size=16), st.booleans())
def test_an_address_names_what_it_was_made_of(wanted, after, before, picture, in_bin) -> None:
    address = Address(wanted, after, before, picture, in_bin)
    assert Address.of(address.query) == address
    assert tab_of(address.query) == "history"


@given(st.text() | st.text("?&=%afterb1tuewods"))
def test_any_text_is_an_address(query: str) -> None:
    found = Address.of(query)
    assert Address.of(found.query) == found
    tab_of(query)


@pytest.mark.parametrize("key", ["-1", "1.5", "x", "9" * 19, "١٢", ""])
def test_what_is_no_key_begins_at_the_newest(key: str) -> None:
    assert Address.of(f"?after={key}&before={key}") == Address()


def test_a_search_is_checked_field_by_field() -> None:
    address = Address.of("?variant=huge&since=soon&words=fox&starred=maybe&aspect_ratio=1:1")
    assert set(address.refusals) == {"variant", "since", "starred"}
    assert address.refusals["variant"].startswith("Variant is 'huge' — choose one of")
    assert Address.of("?words=fox&starred=true&other=1").search == Search(words="fox", starred=True)


def test_too_many_fields_are_none() -> None:
    assert Address.of("&".join(f"words={k}" for k in range(1000))) == Address()
