"""What the tab gives of another's moodboard, whatever a browser says is open: nothing until it is shared."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from krea_studio.library.store import Library
from krea_studio.people import member
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.moodboards.handlers import MoodboardHandlers
from krea_studio.ui.moodboards.words import NO_WORDS
from krea_studio.ui.visitors import Visitors
from tests.doubles import picture
from tests.runs.conftest import shot_of
from tests.ui.conftest import PageEngine, signed_in

HIDDEN = "Hidden Dusk"
ADA, BEN, CLEO = signed_in("ada"), signed_in("ben"), signed_in("cleo", admin=True)
OTHERS = {"kept_words": None, "chosen": "", "keywords": "mine", "team": True, "looks": ["0"], "board_name": "Mine"}
BY_OPEN_BOARD = [
    name
    for name, method in inspect.getmembers(MoodboardHandlers, inspect.isfunction)
    if not name.startswith("_") and {"open_board", "visitor"} <= set(inspect.signature(method).parameters)
]


@pytest.fixture
def handlers(engine: PageEngine, library: Library) -> Any:
    settings = Settings(library=library.folder, sign_in="accounts")
    services: Services = services_over(settings, library, engine, engine)
    yield MoodboardHandlers(services, Visitors(shared=True))
    services.runs.close()


@pytest.fixture
def image(library: Library, tmp_path: Path) -> str:
    path = tmp_path / "look.png"
    picture(shot_of()).save(path)
    library.moodboards.of(member("ada")).create(HIDDEN)
    (image,) = library.moodboards.of(member("ada")).add(HIDDEN, [path]).images
    return image


def kept(library: Library) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in library.moodboards.folder.glob("*.json")}


def call(handlers: MoodboardHandlers, name: str, visitor: Any, image: str, tmp_path: Path) -> dict[str, Any]:
    given = {**OTHERS, "visitor": visitor, "open_board": HIDDEN, "boards": HIDDEN, "selected_image": image}
    given |= {"look_ids": [image], "dropped": [str(tmp_path / "look.png")], "archive": str(tmp_path / "none.zip")}
    given |= {"analyses_shown": [], "imports_shown": []}
    parameters = inspect.signature(getattr(handlers, name)).parameters
    texts: dict[str, Any] = {}
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):  # words that were typed
        texts = {**NO_WORDS, "keywords": "mine"}
    if name == "refreshed":
        texts |= {"kept_words": None, "chosen": ""}
    return getattr(handlers, name)(**{each: given[each] for each in parameters if each in given}, **texts)


@pytest.mark.parametrize("name", BY_OPEN_BOARD)
@pytest.mark.parametrize("visitor", [BEN, CLEO], ids=lambda visitor: visitor.username)
def test_another_s_board_is_not_shown_or_changed(
    handlers: MoodboardHandlers, library: Library, image: str, name: str, visitor: Any, tmp_path: Path
) -> None:
    before = kept(library)
    update = call(handlers, name, visitor, image, tmp_path)
    update.pop("notice", None)  # which says the name that was asked for
    assert image not in repr(update) and HIDDEN not in repr(update)
    assert {place: content for place, content in kept(library).items() if place in before} == before


def test_the_box_shares_and_ends_it_and_says_whose_a_board_is(
    handlers: MoodboardHandlers, library: Library, image: str
) -> None:
    shared = handlers.share(ADA, HIDDEN, True)["team"]
    assert (shared["value"], shared["interactive"], shared["label"]) == (True, True, "Share with the team")
    opened = handlers.choose(BEN, HIDDEN, "", None, "", **NO_WORDS)
    assert opened["boards"]["choices"] == [HIDDEN] and opened["image_ids"] == [image]
    assert (opened["team"]["interactive"], opened["team"]["label"]) == (False, "Shared by ada")
    assert not opened["rename"]["interactive"] and not opened["delete"]["interactive"]
    assert handlers.choose(CLEO, HIDDEN, "", None, "", **NO_WORDS)["team"]["interactive"]
    handlers.share(ADA, HIDDEN, False)
    assert "There is no moodboard" in handlers.choose(BEN, HIDDEN, "", None, "", **NO_WORDS)["notice"]["value"]
