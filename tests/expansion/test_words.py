"""Words of a text: forms of one word are one root, names are told by capitals, quoted text is found and left whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.expansion.words import (
    is_english,
    masked,
    names,
    quoted,
    root,
    sentence_ends,
    sentences,
    word_count,
    words,
)


@pytest.mark.parametrize(
    "forms",
    ["run runs running", "dance dances danced dancing", "fly flies flying", "city cities", "leaf leaves", "box boxes",
     "glass glasses", "cosy cozy", "harbour harbors", "colour color colours colored", "grey gray",
     "hop hops hopping hopped", "chase chasing chases",
     "child children", "paint painting painted", "woman women", "candle candles"],
)  # fmt: skip
def test_forms_of_a_word_have_one_root(forms: str) -> None:
    assert len({root(word) for word in forms.split()}) == 1


@pytest.mark.parametrize(
    "pair", ["painter painting", "fox box", "house horse", "king ring", "red reed", "cat car", "sea see"]
)
def test_different_words_have_different_roots(pair: str) -> None:
    one, other = pair.split()
    assert root(one) != root(other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('a sign "OPEN" here', ["OPEN"]),
        ("“ein” und „zwei“ und «drei» und »vier«", ["ein", "zwei", "drei", "vier"]),
        ("看板「開店」と『本』", ["開店", "本"]),
        ("a 'small' dog's bowl and the dogs' house", ["small"]),
        ("'don't stop' she said", ["don't stop"]),
        ('a board 12" x 14" says "SALE"', ["SALE"]),
        ('it says "HELLO\nWORLD" and “one\ntwo”', ["HELLO\nWORLD", "one\ntwo"]),
        ("rock'n'roll in the '90s", []),
        ('an open " mark', []),
        ("“She said ‘no’ twice”", ["She said ‘no’ twice"]),
        ("", []),
    ],
)
def test_quoted_text_is_found(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in quoted(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A fox. A wolf! Snow", ["A fox.", "A wolf!", "Snow"]),
        (
            "Dr. Who and Mrs. Hale met J. Doe in St. Ives. It rained.",
            ["Dr. Who and Mrs. Hale met J. Doe in St. Ives.", "It rained."],
        ),
        ('A sign "Stop. Go." and a dog. End', ['A sign "Stop. Go." and a dog.', "End"]),
        ('It says "Go." The dog goes.', ['It says "Go."', "The dog goes."]),
        ("f/1.8 at 3.5 metres", ["f/1.8 at 3.5 metres"]),
        ("雪。狐！", ["雪。", "狐！"]),
        ("Well... no.", ["Well...", "no."]),
        ("", []),
    ],
)
def test_sentences_end_where_they_end(text: str, found: list[str]) -> None:
    assert sentences(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A fox like Wes Anderson's", ["Wes", "Anderson's"]),
        ("Art Deco and Bauhaus in Japanese light", []),
        ("Light: Warm and low (Quiet)", []),
        ("A and I", []),
    ],
)
def test_names_are_told_by_capitals(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "a fox",
        "fox",
        "tags, only, here",
        "El Capitan at dusk",
        "a café by the Seine",
        "film noir in Paris",
        "",
        "7",
        "die-cut paper",
        "Los Angeles",
        "Las Vegas strip",
        "Le Mans",
        "El Greco",
        "Vincent van Gogh",
        "a portrait of Ludwig van Beethoven",
        "Rio de Janeiro carnival",
        "a cat in Berlin",
    ],
)
def test_english_is_english(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "ein Fuchs im Schnee",
        "un renard dans la neige",
        "un zorro en el bosque",
        "een vos in het bos",
        "eine Katze in Rom",
        "un gatto in cucina",
        "Katze am Fenster",
        "Hund in der Stadt",
        "una gata",
        "лиса",
        "狐狸",
        "שועל",
    ],
)
def test_other_languages_are_not(text: str) -> None:
    assert not is_english(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a fox - in snow", 5), ("雪地里的狐狸", 3), ("三只猫, two cats", 4), ("แมวในสวน", 2), ("  ", 0)],
)
def test_words_are_counted_in_scripts_without_spaces_too(text: str, count: int) -> None:
    assert word_count(text) == count


@given(st.text("ab .,!?\"'“”‘’«»「」\n", max_size=80) | st.text(max_size=60))
def test_nothing_is_lost_between_sentences(text: str) -> None:
    assert len(masked(text)) == len(text)
    assert all(0 < end <= len(text) for end in sentence_ends(text))
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
    assert words(" ".join(sentences(text))) == words(text)
