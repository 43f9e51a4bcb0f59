"""What the tab and the places on Create give of another's style, whatever a browser says: nothing until shared."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from krea_studio.direction.styles import StyleCard, StyleFacts
from krea_studio.library.store import Library
from krea_studio.people import member
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.create.panels.styles import TRIGGERS, USUAL_WEIGHT, WEIGHTS, StylesPanel
from krea_studio.ui.history import filters
from krea_studio.ui.styles.handlers import StyleHandlers
from krea_studio.ui.visitors import Visitors
from tests.doubles import write_style
from tests.ui.conftest import PageEngine, signed_in

HIDDEN, WORDS = "Hidden Dusk", "hidden words"
ADA, BEN, CLEO = signed_in("ada"), signed_in("ben"), signed_in("cleo", admin=True)
PLACES: dict[str, Any] = {**dict.fromkeys(WEIGHTS, USUAL_WEIGHT), **dict.fromkeys(TRIGGERS, True)}


@pytest.fixture
def services(engine: PageEngine, library: Library) -> Iterator[Services]:
    services = services_over(Settings(library=library.folder, sign_in="accounts"), library, engine, engine)
    yield services
    services.runs.close()


@pytest.fixture
def handlers(services: Services) -> StyleHandlers:
    return StyleHandlers(services, Visitors(shared=True))


@pytest.fixture
def panel(services: Services) -> StylesPanel:
    return StylesPanel(services, Visitors(shared=True))


@pytest.fixture
def card(library: Library, tmp_path: Path) -> StyleCard:
    """A style of ada's, with a cover."""
    styles = library.styles.of(member("ada"))
    with styles.incoming() as path:
        styles.keep(write_style(path), HIDDEN, StyleFacts(trigger=WORDS, suggested_prompt=WORDS))
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    return styles.set_cover(HIDDEN, tmp_path / "red.png")


def kept(library: Library) -> dict[str, bytes]:
    found = (path for path in library.styles.folder.iterdir() if path.suffix in (".json", ".png", ".safetensors"))
    return {path.name: path.read_bytes() for path in found}


def placed(card: StyleCard) -> list[dict[str, Any]]:
    """What a page would remember that had the style chosen."""
    return [{"identity": card.identity, "name": "x", "words": "x", "own": True}]


BY_OPEN_STYLE = [
    name
    for name, method in inspect.getmembers(StyleHandlers, inspect.isfunction)
    if not name.startswith("_") and {"open_style", "visitor"} <= set(inspect.signature(method).parameters)
]


@pytest.mark.parametrize("name", BY_OPEN_STYLE)
@pytest.mark.parametrize("visitor", [BEN, CLEO], ids=lambda visitor: visitor.username)
def test_another_s_style_is_not_shown_or_changed(
    handlers: StyleHandlers, library: Library, card: StyleCard, name: str, visitor: Any, tmp_path: Path
) -> None:
    method, before = getattr(handlers, name), kept(library)
    given = {"visitor": visitor, "browser": "", "open_style": card.identity, "search": "", "show": "all"}
    given |= {"new_name": "Mine", "team": True, "cover_file": str(tmp_path / "red.png"), "imports_shown": []}
    given |= {"shown_ids": [], "selected": 0, "chosen_styles": placed(card), "variant": "turbo"}
    parameters = inspect.signature(method).parameters
    texts: dict[str, Any] = {"trigger": "mine"} if name == "saved" else PLACES
    if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        texts = {}
    update = method(**{each: given[each] for each in parameters if each in given}, **texts)
    update.pop("open_style", None)
    assert HIDDEN not in repr(update) and WORDS not in repr(update)
    cover = library.styles.of(member("ada")).cover(card)
    assert cover and cover.name not in repr(update)
    assert kept(library) == before


def test_places_that_name_it_tell_nothing_of_it(panel: StylesPanel, library: Library, card: StyleCard) -> None:
    chosen = placed(card)
    told = [
        panel.refresh(BEN, chosen, "turbo", **PLACES),
        panel.note(BEN, chosen, "turbo", **PLACES),
        panel.try_prompt(0, BEN, chosen),
        panel.use_speed(0, BEN, chosen),
        panel.add(BEN, HIDDEN.upper(), [], "turbo", **PLACES),
    ]
    assert HIDDEN not in repr(told) and WORDS not in repr(told)
    assert panel.try_prompt(0, ADA, chosen) == {"prompt": WORDS}
    assert HIDDEN in panel.refresh(ADA, [], "turbo", **PLACES)["add_style"]["choices"]
    for visitor, named in ((ADA, True), (BEN, False)):
        assert (HIDDEN in filters.names_of("style", library, member(visitor.username))) is named


def test_a_recipe_that_has_it_says_that_it_is_not_there(panel: StylesPanel, library: Library, card: StyleCard) -> None:
    recipe = parse_request({"prompt": "a fox", "styles": [{"name": "As told", "identity": card.identity}]})
    update, told = panel.recall(recipe, member("ben"))
    assert update["chosen_styles"] == [] and HIDDEN not in repr(update)
    assert told == [
        "Style «As told» is not among your styles, or those shared with the team, and is left out: import it, or ask "
        "who has it to share it."
    ]
    library.styles.of(member("ada")).share(HIDDEN)
    update, told = panel.recall(recipe, member("ben"))
    assert [each["name"] for each in update["chosen_styles"]] == [HIDDEN]


def test_the_box_shares_and_ends_it_and_says_whose_a_style_is(
    handlers: StyleHandlers, library: Library, card: StyleCard
) -> None:
    shared = handlers.shared(ADA, card.identity, True, "", "all")["team"]
    assert (shared["value"], shared["interactive"], shared["label"]) == (True, True, "Share with the team")
    opened = handlers.refreshed(BEN, card.identity, "", "all")
    assert (opened["team"]["interactive"], opened["team"]["label"]) == (False, "Shared by ada")
    assert not opened["manage"]["visible"] and not opened["save"]["visible"] and opened["use"]["visible"]
    assert handlers.refreshed(CLEO, card.identity, "", "all")["delete"]["visible"]
    handlers.shared(ADA, card.identity, False, "", "all")
    assert HIDDEN not in repr(handlers.refreshed(BEN, card.identity, "", "all"))


def test_what_is_everybody_s_is_said_to_be_and_a_page_without_accounts_has_no_box(
    services: Services, library: Library
) -> None:
    with library.styles.incoming() as path:
        card = library.styles.keep(write_style(path), "For all", StyleFacts())
    box = StyleHandlers(services, Visitors(shared=True)).refreshed(BEN, card.identity, "", "all")["team"]
    assert (box["value"], box["interactive"], box["label"], box["visible"]) == (True, False, "Everybody's", True)
    alone = replace(services, settings=Settings(library=library.folder))
    nobody = SimpleNamespace(username=None, session_hash="one")
    own = StyleHandlers(alone, Visitors(shared=False)).refreshed(nobody, card.identity, "", "all")
    assert not own["team"]["visible"]
