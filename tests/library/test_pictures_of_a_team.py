"""To whom the pictures of moodboards, references and covers are given, also where their names are known."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.direction.styles import StyleFacts
from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person, member
from krea_studio.recipe.request import parse_request
from krea_studio.services import services_over
from krea_studio.settings import Settings
from krea_studio.studio import Studio
from tests.doubles import ScriptedEngine, write_style

ADA, BEN, CLEO = member("ada"), member("ben"), member("cleo", admin=True)
STRANGER = Person("browser-0123456789abcdef0123456789abcdef")
BOARD = "Secret Dusk"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "look.png")
    return tmp_path / "look.png"


@pytest.fixture
def image(library: Library, file: Path) -> str:
    """The only picture of a board of ada's."""
    boards = library.moodboards.of(ADA)
    boards.create(BOARD)
    (image,) = boards.add(BOARD, [file]).images
    return image


@pytest.fixture
def studio(library: Library) -> Iterator[Studio]:
    engine = ScriptedEngine()
    services = services_over(Settings(library=library.folder), library, engine, engine)
    yield services.studio
    services.runs.close()


def given_to(library: Library, image: str) -> list[str]:
    path = library.references.path(image)
    return [person.id for person in (ADA, BEN, CLEO) if library.shows(path, person)]


def test_a_picture_of_a_board_is_given_to_those_for_whom_the_board_is_there(library: Library, image: str) -> None:
    assert given_to(library, image) == ["ada"]
    library.moodboards.of(ADA).share(BOARD)
    assert given_to(library, image) == ["ada", "ben", "cleo"]
    library.moodboards.of(ADA).share(BOARD, False)
    assert given_to(library, image) == ["ada"]


@pytest.mark.parametrize(
    "leave", [lambda boards, image: boards.remove(BOARD, image), lambda boards, image: boards.delete(BOARD)]
)
def test_it_stays_its_owner_s_when_it_leaves_the_board(
    library: Library, image: str, leave: Callable[..., object]
) -> None:
    leave(library.moodboards.of(ADA), image)
    assert given_to(library, image) == ["ada"]


def test_who_brings_the_same_picture_is_given_it(library: Library, image: str, file: Path) -> None:
    assert library.references.add(file, person=BEN) == image
    assert given_to(library, image) == ["ada", "ben"]


def test_what_is_everybody_s_stays_so(library: Library, file: Path) -> None:
    image = library.references.add(file)
    library.references.add(file, person=ADA)
    assert given_to(library, image) == ["ada", "ben", "cleo"]
    assert all(library.shows(library.references.path(image), person) for person in (STRANGER, LOCAL))


def test_its_id_does_not_bring_it_onto_a_board_or_into_a_picture(library: Library, studio: Studio, image: str) -> None:
    library.moodboards.of(BEN).create("Mine")
    gone = f"The reference picture {image} is not in the library any more"
    with pytest.raises(InvalidRequest, match=gone):
        library.moodboards.of(BEN).add_references("Mine", [image])
    request = parse_request({"prompt": "a fox", "style_references": [{"image": image}]})
    with pytest.raises(InvalidRequest, match=gone):
        studio.begin(request, BEN)
    assert studio.begin(request, ADA).plan.shots


def test_the_cover_of_a_style_is_given_to_those_for_whom_the_style_is_there(library: Library, file: Path) -> None:
    styles = library.styles.of(ADA)
    with styles.incoming() as path:
        styles.keep(write_style(path), "Secret", StyleFacts())
    cover = styles.cover(styles.set_cover("Secret", file))
    assert cover and library.shows(cover, ADA) and not library.shows(cover, BEN) and not library.shows(cover, CLEO)
    styles.share("Secret")
    assert library.shows(cover, BEN)


def test_a_style_of_another_does_not_draw_by_its_name_or_its_weights(library: Library, studio: Studio) -> None:
    styles = library.styles.of(ADA)
    with styles.incoming() as path:
        card = styles.keep(write_style(path), "Secret", StyleFacts(trigger="hidden words"))
    asked = [
        parse_request({"prompt": "a fox", "styles": [{"name": "Secret", **weights}]})
        for weights in ({}, {"identity": card.identity})
    ]
    for request in asked:
        with pytest.raises(InvalidRequest) as told:
            studio.begin(request, BEN)
        assert "hidden words" not in told.value.message
        assert studio.begin(request, ADA).plan.shots[0].styles[0].trigger == "hidden words"
    styles.share("Secret")
    for request in asked:
        assert studio.begin(request, BEN).plan.shots[0].styles[0].identity == card.identity
