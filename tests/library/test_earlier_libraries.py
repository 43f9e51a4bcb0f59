"""A library that an earlier studio made opens with all that is in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.library.history.search import parse_search
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.records import Records
from krea_studio.library.schema import MIGRATIONS
from krea_studio.library.store import Library
from krea_studio.recipe.request import SLIDERS

EARLIER = Path(__file__).parents[1] / "libraries"


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Library]:
    """Of November 2026, before recipes had a type: two pictures of mini-turbo, a moodboard, a style."""
    library = Library(shutil.copytree(EARLIER / "2026-11", tmp_path / "earlier"))
    yield library
    library.close()


def test_its_pictures_are_there_with_their_recipes(earlier: Library) -> None:
    second, first = earlier.recent(9)
    assert (first.recipe.seed, second.recipe.seed) == (7, 11)
    for record in (first, second):
        with Image.open(record.path) as picture:
            assert picture.size == (record.recipe.width, record.recipe.height)
        assert record.thumbnail != record.path and record.owner == "local" and record.seconds > 0
        assert read_recipe(record.path) == record.recipe
        assert record.recipe.checkpoint == "mini-turbo"


def test_what_bent_a_picture_is_known(earlier: Library) -> None:
    recipe = earlier.recent(1)[0].recipe
    assert recipe.expansion.writer == "phrasebook" and recipe.prompt == "neon sign of a whale at sea"
    assert recipe.exploration.seed == 5 and recipe.exploration.values() == recipe.slider_values
    assert recipe.slider_mechanisms.keys() == {slider for slider in SLIDERS if recipe.slider_values[slider]}
    (reference,) = recipe.style_references
    assert earlier.references.read(reference.image)
    assert recipe.moodboard.content == earlier.moodboards.get("Dusk").content()
    assert [style.name for style in recipe.styles] == ["Woodcut"]
    assert recipe.request().batch == 1


def test_its_boards_and_styles_are_there(earlier: Library) -> None:
    assert earlier.moodboards.names() == ["Dusk"]
    assert len(earlier.moodboards.read(earlier.moodboards.get("Dusk"))) == 2
    (card,) = earlier.styles.cards()
    assert card.name == "Linocut" and earlier.styles.path(card.identity).is_file()


def test_it_has_runs_from_now_on(earlier: Library) -> None:
    header = (EARLIER / "2026-11" / "records.sqlite3").read_bytes()[:100]
    assert int.from_bytes(header[60:64], "big") == 1, "its schema, where SQLite's format has it"
    with earlier.records.transaction() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("SELECT * FROM run").fetchall() == []
    assert len(earlier.recent(9)) == 2


def test_its_pictures_are_found_by_all_that_made_them(earlier: Library) -> None:
    second, first = earlier.recent(9)
    for search in ({"words": "neon WHALE"}, {"style": "woodcut"}, {"moodboard": "dusk"}, {"with_references": True}):
        assert earlier.history.page(parse_search(search)).records == [second]
    assert earlier.history.page(parse_search({"variant": "turbo"})).records == [second, first]


def test_lost_records_come_back_from_its_pictures(earlier: Library) -> None:
    kept = [record.recipe for record in earlier.recent(9)]
    earlier.close()
    for file in earlier.folder.glob("records.sqlite3*"):
        file.unlink()
    again = Library(earlier.folder)
    assert again.checked(30)
    assert {recipe.seed: recipe for recipe in kept} == {each.recipe.seed: each.recipe for each in again.recent(9)}
    again.close()
    assert Records(earlier.records.database).count() == 2
