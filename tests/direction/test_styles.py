"""Cards are found by what people know of them, and a recipe's styles are told as they were."""

import pytest
from pydantic import ValidationError

from krea_studio.direction.styles import (
    OFFICIAL,
    SHIPPED,
    StyleCard,
    found,
    hub_source,
    matches,
    not_here,
    official_of,
    other_styles,
    rank_words,
    size_words,
    styles_text,
)
from krea_studio.recipe.request import StyleChoice


def card(name: str, number: int, **facts: object) -> StyleCard:
    return StyleCard(name=name, identity=f"{number:032x}", bytes=number, **facts)


CARDS = [
    card("Woodcut", 1, trigger="woodcut print", made_for=("Mini Medium", "Mini Turbo"), source=SHIPPED),
    card("Äther", 2, trigger="soft blur", stated_base="krea-2-raw", source="file aether.safetensors", favourite=True),
    card("Ink", 3, made_for=("Krea 2 Raw", "Krea 2 Turbo"), source=hub_source("krea/Krea-2-LoRA-darkbrush", "f" * 40)),
]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["Woodcut", "Äther", "Ink"]),
        ({"text": "ÄTHER"}, ["Äther"]),
        ({"text": "print medium"}, ["Woodcut"]),
        ({"text": "krea-2"}, ["Äther", "Ink"]),
        ({"text": "aether.safetensors"}, ["Äther"]),
        ({"text": "woodcut blur"}, []),
        ({"favourites": True}, ["Äther"]),
        ({"favourites": True, "text": "woodcut"}, []),
        ({"base": "Mini Turbo"}, ["Woodcut"]),
        ({"base": "krea-2-raw"}, ["Äther"]),
        ({"base": "Mini"}, []),
    ],
)
def test_cards_are_found_by_what_people_know_of_them(asked: dict, names: list[str]) -> None:
    assert [each.name for each in found(CARDS, **asked)] == names


def test_ranks_and_sizes_in_words() -> None:
    assert rank_words((4, 8), (4.0, 4.0)) == "4 to 8, alpha 4"
    assert (rank_words((16, 16), None), rank_words(None, (4, 4))) == ("16", "")
    assert [size_words(count) for count in (300, 12_340_000, 1_500_000_000)] == ["0.3 kB", "12.3 MB", "1.5 GB"]


def test_the_official_ones_are_listed_until_they_are_here() -> None:
    assert len(OFFICIAL) == 9
    assert len({each.trigger for each in OFFICIAL.values()}) == 9
    assert [each.name for each in not_here(CARDS)] == [name for name in OFFICIAL if name != "darkbrush"]
    assert official_of("KREA/krea-2-lora-Darkbrush") is OFFICIAL["darkbrush"]
    assert official_of("krea/Krea-2-LoRA-coolblue") is None
    assert [each.name for each in OFFICIAL.values() if matches(each, "style monochrome")] == ["darkbrush", "dotmatrix"]


def chosen(name: str, weight: float, identity: str | None = None) -> StyleChoice:
    return StyleChoice(name=name, weight=weight, identity=identity)


@pytest.mark.parametrize(
    ("styles", "text"),
    [
        ([], ""),
        ([("woodcut", 0.8)], "style woodcut 80 %"),
        ([("a:3", 1.0), ("ink", 0.0), ("b", -0.5)], "styles a:3 100 %, b −50 %"),
    ],
)
def test_a_caption_tells_the_styles_that_had_an_effect(styles: list[tuple[str, float]], text: str) -> None:
    assert styles_text([chosen(*style) for style in styles]) == text


def test_a_recipe_without_styles_has_none_to_tell_of() -> None:
    assert styles_text(()) == other_styles((), CARDS) == ""


def test_weights_that_are_not_here_are_told() -> None:
    styles = [
        chosen("Renamed", 1.0, CARDS[0].identity),
        chosen("ink", 0.5, "e" * 32),
        chosen("gone", 0.5, "f" * 32),
        chosen("off", 0.0, "d" * 32),
    ]
    told = other_styles(styles, CARDS)
    assert told.startswith("Style «ink» is another file here than the one that drew this picture; Style «gone» is not")
    assert "Renamed" not in told and "off" not in told
    assert other_styles(styles[:1], CARDS) == ""


@pytest.mark.parametrize(
    "wrong",
    [{"trigger": "x" * 201}, {"made_for": "Mini Turbo"}, {"bytes": -1}, {"identity": "../../x"}, {"name": ""}],
)
def test_a_card_takes_no_nonsense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StyleCard(**{"name": "x", "identity": "0" * 32, "bytes": 1} | wrong)
