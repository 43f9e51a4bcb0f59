"""Words are found whatever script, case and accents they are written in."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.library.history.words import words_of

anything = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Fox, at night!", ["a", "fox", "at", "night"]),
        ("Füchse im SCHNEE, Straße", ["fuchse", "im", "schnee", "strasse"]),
        ("İstanbul ΣΊΣΥΦΟΣ ё", ["istanbul", "σισυφοσ", "е"]),
        ("ﬁne ｆｏｘ ½", ["fine", "fox", "1", "2"]),
        ("red-fox's 3.5_x", ["red", "fox", "s", "3", "5", "x"]),
        ("红色的狐狸 3D狐", ["红", "色", "的", "狐", "狸", "3d", "狐"]),
        ("がか ガ ｶﾞ", ["が", "か", "ガ", "ガ"]),
        ("붉은 여우", ["붉", "은", "여", "우"]),
        ("किताब पढ़ना", ["किताब", unicodedata.normalize("NFC", "पढ़ना")]),
        ("كِتَاب كتاب", ["كتاب", "كتاب"]),
        ("🦊👩🏽‍🚀 fox❤️", ["🦊", "👩", "🏽", "🚀", "fox", "❤"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("\ud800 \0 * \" ' ()", []),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_what_stands_above_thai_letters_is_kept() -> None:
    assert "".join(words_of("สีแดงที่")) == "สีแดงที่"


@given(anything)
def test_a_word_has_nothing_that_splits_it_again(text: str) -> None:
    for word in words_of(text):
        assert words_of(word) == [word]
        assert not word.isascii() or (word.isalnum() and word == word.lower())


@given(anything, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_the_way_of_writing_makes_no_difference(text: str, form: str) -> None:
    assert words_of(unicodedata.normalize(form, text)) == words_of(text)


@given(anything, anything)
def test_texts_with_a_space_between_them_have_the_words_of_both(one: str, other: str) -> None:
    assert words_of(f"{one} {other}") == words_of(one) + words_of(other)
