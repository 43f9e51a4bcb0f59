"""Pages of pictures, one picture, and what is not there."""

import re

import pytest

from krea_studio.library.history.history import PAGE
from krea_studio.library.store import Library
from krea_studio.services import Services
from krea_studio.ui.history.address import Address
from krea_studio.ui.history.view import GONE
from tests.ui.create.driving import BROWSER, kept
from tests.ui.history.conftest import Tab, made

HOSTILE = "<img src=x onerror=alert(1)>"


def shots(tab: Tab, part: str = "grid") -> list[str]:
    return re.findall(r'<li data-picture="(\w+)">', tab[part])


def link(tab: Tab, part: str, rel: str) -> str:
    found = re.search(rf'href="([^"]+)" rel="{rel}"', tab[part])
    return found[1].replace("&amp;", "&") if found else ""


@pytest.fixture
def many(library: Library) -> list[str]:
    """The ids of pictures of more than two pages, newest first."""
    return [made(library, 0.001 * k).id for k in range(1, 2 * PAGE + 6)][::-1]


def test_pages_are_gone_through_and_back(tab: Tab, many: list[str]) -> None:
    tab.go("?tab=history")
    assert shots(tab) == many[:PAGE] and not link(tab, "pages", "prev")
    second = link(tab, "pages", "next")
    tab.go(second)
    assert shots(tab) == many[PAGE : 2 * PAGE]
    tab.go(link(tab, "pages", "next"))
    assert shots(tab) == many[2 * PAGE :] and not link(tab, "pages", "next")
    tab.go(link(tab, "pages", "prev"))
    assert shots(tab) == many[PAGE : 2 * PAGE]
    tab.go(link(tab, "pages", "prev"))
    assert shots(tab) == many[:PAGE] and not link(tab, "pages", "prev")
    assert f"{len(many)} pictures" in tab["count"]


def test_new_pictures_move_no_page_and_a_short_one_is_filled(tab: Tab, many: list[str], library: Library) -> None:
    tab.go("?tab=history")
    second = link(tab, "pages", "next")
    newest = made(library, 1)
    assert shots(tab.go(second)) == many[PAGE : 2 * PAGE]
    tab.go(link(tab, "pages", "prev"))
    assert shots(tab) == many[:PAGE] and link(tab, "pages", "prev")
    tab.go(link(tab, "pages", "prev"))
    assert shots(tab) == [newest.id, *many[: PAGE - 1]]


def test_pictures_stand_under_their_days(tab: Tab, library: Library) -> None:
    made(library, 0), made(library, 1), made(library, 1.1)
    days = re.findall(r"<h3>(.*?) <span>(.*?)</span>", tab.go("?tab=history")["grid"])
    assert days == [("Saturday, 21 November 2026", "2 pictures"), ("Friday, 20 November 2026", "1 picture")]


def test_a_search_shows_what_it_found_and_says_so(tab: Tab, library: Library) -> None:
    fox, whale = made(library, 1, prompt="a fox"), made(library, 2, prompt="a whale", variant="medium")
    assert shots(tab.go("?tab=history&words=fox")) == [fox.id]
    assert "1 picture" in tab["count"] and "Show all" in tab["count"]
    assert tab["find_words"] == "fox" and tab["find_variant"] == "" and tab["find_starred"] is False
    assert shots(tab.go("?tab=history&variant=medium")) == [whale.id]
    assert "1 picture · Medium" in tab["count"] and tab["find_variant"] == "medium"
    tab.go("?tab=history&words=owl")
    assert shots(tab) == [] and "No picture is like that" in tab["grid"] and "0 pictures" in tab["count"]


def test_what_is_wrong_in_an_address_stands_beneath_its_control(tab: Tab, library: Library) -> None:
    made(library, 1)
    tab.go("?tab=history&since=soon&words=fox")
    assert "Since is &#x27;soon&#x27; — give a day such as" in tab["refused_since"] and tab.sees("refused_since")
    assert not tab.sees("refused_words") and shots(tab) == [] and tab["find_since"] == "soon"
    assert not tab.go("?tab=history&words=fox").sees("refused_since")


def test_a_picture_has_its_recipe_and_the_ones_beside_it(tab: Tab, library: Library) -> None:
    old, middle, new = (made(library, k, prompt=f"a fox, number {k}", intensity=20 * k) for k in (1, 2, 3))
    tab.go(f"?tab=history&words=fox&picture={middle.id}")
    assert tab.sees("picture_screen") and not tab.sees("list_screen")
    assert "a fox, number 2" in tab["recipe"] and "intensity +40" in tab["recipe"] and middle.path.name in tab["recipe"]
    assert Address.of(link(tab, "picture", "prev")) == Address({"words": "fox"}, picture=new.id)
    assert Address.of(link(tab, "picture", "next")) == Address({"words": "fox"}, picture=old.id)
    assert Address.of(link(tab, "picture", "up")) == Address({"words": "fox"})
    assert tab["shown_ids"] == [middle.id] and tab["selected"] == 0


def test_back_leads_to_a_page_with_the_picture(tab: Tab, many: list[str]) -> None:
    """Also where it was gone to from another page, picture by picture."""
    for place in (3, PAGE + 3):
        tab.go(f"?tab=history&picture={many[place]}")
        assert many[place] in shots(tab.go(link(tab, "picture", "up")))


def test_a_picture_that_is_not_there_or_somebody_else_s_is_told(services: Services, library: Library, tab: Tab) -> None:
    theirs, removed = made(library, 1, owner="browser-" + "f" * 32), made(library, 2)
    removed.path.unlink()
    stranger = Tab(services, shared=True, browser=BROWSER)
    for where, picture in ((stranger, theirs.id), (tab, removed.id), (tab, "0" * 16), (tab, "../x")):
        where.go(f"?tab=history&picture={picture}")
        assert GONE in where.notice and where.sees("list_screen") and where.address == "?tab=history"
    assert shots(stranger) == [] and shots(tab) == [theirs.id]


def test_strangers_find_their_own_alone(services: Services, library: Library) -> None:
    mine = made(library, 1, owner=f"browser-{BROWSER}")
    made(library, 2, owner="browser-" + "f" * 32), made(library, 3)
    stranger = Tab(services, shared=True, browser=BROWSER)
    assert shots(stranger.go("?tab=history")) == [mine.id]
    assert "1 picture" in stranger["count"]
    assert shots(Tab(services, shared=True).go("?tab=history")) == []


def test_prompts_and_filters_are_text(tab: Tab, library: Library) -> None:
    record = made(library, 1, prompt=HOSTILE)
    for address in (
        Address(),
        Address(picture=record.id),
        Address({"words": HOSTILE}),
        Address({"style": HOSTILE, "since": HOSTILE}),
    ):
        tab.go(address.query)
        assert not [part for part, value in tab.values.items() if "<img src=x" in str(value) and "find" not in part]


def test_an_empty_library_says_how_to_begin(tab: Tab) -> None:
    assert "What you make appears here" in tab.go("?tab=history")["grid"]


def test_other_tabs_are_named_too(tab: Tab) -> None:
    for address, selected in (("?tab=styles", "styles"), ("", "create"), ("?tab=nowhere", "create")):
        assert tab.handlers.went(tab.visitor, "", address) == {"tabs": {"__type__": "update", "selected": selected}}


def test_today_has_a_name(tab: Tab, library: Library) -> None:
    kept(library)
    assert re.findall(r"<h3>(.*?) <span>(.*?)</span>", tab.go("?tab=history")["grid"]) == [("Today", "1 picture")]
