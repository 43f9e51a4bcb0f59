"""Pictures that are dropped on the tab: what is taken in, and what is told of every other file."""

import errno
import time
from pathlib import Path

import pytest

from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.services import Services
from krea_studio.ui.create.panels.references import NOTHING_CAME
from krea_studio.ui.history.bring_in import BROUGHT, REPORT, BringIn
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import shown_of, timer_of
from tests.library.foreign.builders import comfyui, graph
from tests.library.test_folder_import import own
from tests.ui.create.driving import BROWSER
from tests.ui.history.conftest import Tab
from tests.ui.history.test_view import shots

LIMIT_SECONDS = 60.0


def brought(bringing: BringIn, tab: Tab, *files: Path) -> Tab:
    """Drop files and look until all is told."""
    update = bringing.bring(tab.visitor, tab.browser, [str(path) for path in files])
    assert update["dropped"] is None
    tab.takes(update, "bring")
    limit, known = time.monotonic() + LIMIT_SECONDS, []
    while tab.values[timer_of(BROUGHT)]["active"]:
        assert time.monotonic() < limit
        tab.takes(bringing.follow(tab.visitor, tab.browser, tab.address, known), "follow")
        known = tab[shown_of(BROUGHT)]
        time.sleep(0.02)
    return tab


def test_files_come_in_and_each_is_told(services: Services, library: Library, tab: Tab, tmp_path: Path) -> None:
    bringing = BringIn(services, Visitors(shared=False))
    mine, broken = own(tmp_path / "up" / "a.png"), tmp_path / "up" / "<b>.png"
    broken.write_bytes(b"no picture")
    theirs = comfyui(tmp_path / "up" / "c.png", graph())
    tab.go("?tab=history")
    brought(bringing, tab, mine, broken, theirs)
    (record,) = library.recent(9)
    assert shots(tab) == [record.id]
    report = tab[REPORT]
    assert "1 taken in, 1 left out, 1 of another tool" in report
    assert "&lt;b&gt;.png" in report and "<b>" not in report and str(tmp_path) not in report
    brought(bringing, tab, mine)
    assert "1 here already" in tab[REPORT] and len(library.recent(9)) == 1


def test_an_open_picture_stays_open(services: Services, library: Library, tab: Tab, tmp_path: Path) -> None:
    bringing = BringIn(services, Visitors(shared=False))
    brought(bringing, tab.go("?tab=history"), own(tmp_path / "a.png"))
    (record,) = library.recent(9)
    tab.go(f"?tab=history&picture={record.id}")
    brought(bringing, tab, own(tmp_path / "b.png", seed=8))
    assert tab.sees("picture_screen") and "1 taken in" in tab[REPORT]


def test_they_are_the_visitor_s_own(services: Services, library: Library, tmp_path: Path) -> None:
    stranger = Tab(services, shared=True, browser=BROWSER)
    brought(BringIn(services, Visitors(shared=True)), stranger.go("?tab=history"), own(tmp_path / "a.png"))
    assert [record.owner for record in library.recent(9)] == [f"browser-{BROWSER}"]
    assert library.recent(9, Person("browser-" + "f" * 32)) == []


def test_nothing_is_told_to_be_nothing(services: Services, tab: Tab) -> None:
    tab.takes(BringIn(services, Visitors(shared=False)).bring(tab.visitor, "", None), "bring")
    assert NOTHING_CAME in tab[REPORT]


def test_a_library_that_cannot_be_written_is_told(
    services: Services, library: Library, tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = own(tmp_path / "a.png")
    tab.go("?tab=history")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("krea_studio.library.store.whole", full)
    brought(BringIn(services, Visitors(shared=False)), tab, picture)
    assert "is full" in tab[REPORT] and library.recent(9) == []
