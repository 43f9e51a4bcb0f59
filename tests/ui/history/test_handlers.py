"""What is done to pictures: stars, the bin and the way back, moodboards, zips; and what goes wrong."""

import errno
import re
import zipfile
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from krea_studio.errors import StorageError
from krea_studio.library.history import bin as bin_module
from krea_studio.library.history.history import PAGE
from krea_studio.library.history.search import Search
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.services import Services
from krea_studio.ui.create.actions import REPORTED
from krea_studio.ui.history.address import Address
from krea_studio.ui.history.handlers import NO_BOARD, NOTHING_PICKED
from krea_studio.ui.history.view import GONE
from tests.ui.create.driving import BROWSER, board, run
from tests.ui.history.conftest import Tab, made
from tests.ui.history.test_view import shots


def controls(**changed: Any) -> dict[str, Any]:
    """What the filters hold, with changes."""
    return {
        **{f"find_{field}": "" for field in Search.model_fields},
        **{"find_with_references": False, "find_starred": False},
        **{f"find_{field}": value for field, value in changed.items()},
    }


def look_for(tab: Tab, **changed: Any) -> dict[str, Any]:
    update = tab.handlers.filtered(tab.visitor, tab.browser, tab.address, **controls(**changed))
    tab.takes(update, "filtered")
    return update


def test_a_filter_leads_to_the_first_page_of_what_is_found(tab: Tab, library: Library) -> None:
    fox, whale = made(library, 1), made(library, 2, prompt="a whale", aspect_ratio="16:9")
    tab.go(f"?tab=history&after={fox.key}")
    look_for(tab, words="whale", aspect_ratio="16:9")
    assert tab.address == "?tab=history&words=whale&aspect_ratio=16%3A9" and shots(tab) == [whale.id]
    assert shots(tab.go(tab.address)) == [whale.id]


def test_a_filter_that_is_refused_changes_nothing_else(tab: Tab, library: Library) -> None:
    record = made(library, 1)
    tab.go("?tab=history")
    look_for(tab, until="tomorrow")
    assert "Until is &#x27;tomorrow&#x27; — give a day" in tab["refused_until"]
    assert tab.address == "?tab=history" and shots(tab) == [record.id]
    look_for(tab)
    assert not tab.sees("refused_until")


def test_a_box_that_is_left_as_it_was_leaves_the_place(tab: Tab, library: Library) -> None:
    old, new = made(library, 1), made(library, 2)
    tab.go(f"?tab=history&words=fox&after={new.key}")
    update = look_for(tab, words="fox")
    assert "address" not in update and "grid" not in update and shots(tab) == [old.id]


def test_stars_are_given_and_taken(tab: Tab, library: Library) -> None:
    first, second = made(library, 1), made(library, 2)
    tab.go("?tab=history").do("star", first)
    assert library.get(first.id).starred and tab["grid"].count("★") == 1
    tab.do("star", first, second)
    assert all(record.starred for record in library.recent(9))
    tab.do("star", first, second)
    assert not any(record.starred for record in library.recent(9))
    tab.go(f"?tab=history&picture={first.id}").do("star", first)
    assert tab["star"] == "★ Starred"


def test_a_report_is_noted_for_who_runs_the_studio(tab: Tab, library: Library) -> None:
    record = made(library, 1)
    tab.go(f"?tab=history&picture={record.id}").do("report", record)
    assert REPORTED in tab.notice and [each.picture for each in library.reports.all()] == [record.id]
    assert GONE in tab.do("report", "gone").notice


def test_a_deleted_picture_can_be_had_back_at_once(tab: Tab, library: Library) -> None:
    first, second, third = (made(library, k) for k in (1, 2, 3))
    tab.go("?tab=history").do("delete", first, third)
    assert shots(tab) == [second.id] and "2 pictures moved to the bin" in tab.notice and tab.sees("undo")
    assert not first.path.exists()
    tab.do("undo", deleted=tab["deleted"])
    assert shots(tab) == [third.id, second.id, first.id] and "2 pictures restored" in tab.notice
    assert not tab.sees("undo") and first.path.exists()


def test_where_the_open_picture_is_deleted_the_one_beside_it_is_opened(tab: Tab, library: Library) -> None:
    old, middle, new = (made(library, k) for k in (1, 2, 3))
    tab.go(f"?tab=history&words=fox&picture={middle.id}").do("delete", middle)
    assert Address.of(tab.address) == Address({"words": "fox"}, picture=old.id)
    tab.do("undo", deleted=tab["deleted"])
    assert Address.of(tab.address).picture == middle.id
    tab.go(f"?tab=history&picture={old.id}").do("delete", old)
    assert Address.of(tab.address).picture == middle.id
    tab.do("delete", middle).do("delete", new)
    assert tab.address == "?tab=history" and tab.sees("list_screen")


def test_runs_and_create_forget_a_deleted_picture(tab: Tab, services: Services) -> None:
    updates = run(tab.create, tab.visitor, batch=2)
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    tab.go("?tab=history").do("delete", ids[0])
    assert [record.id for each in services.runs.of() for record in each.finished] == [ids[1]]
    update = tab.create.refreshed(tab.visitor, "", ids)
    assert update["shown_ids"] == [ids[1]] and update["recent_ids"] == [ids[1]]
    tab.do("undo", deleted=tab["deleted"])
    assert "gallery" not in tab.create.refreshed(tab.visitor, "", [ids[1]])


def test_the_bin_shows_restores_and_is_emptied(tab: Tab, library: Library) -> None:
    first, second, third = (made(library, k) for k in (1, 2, 3))
    tab.go("?tab=history").do("delete", first, second, third).go("?tab=history&bin=true")
    assert tab.sees("bin_screen") and tab["bin_grid"].count("data:image/jpeg;base64,/9j/") == 3
    assert "3 pictures" in tab["bin_head"]
    tab.do("restore", second)
    assert library.get(second.id) and tab["bin_grid"].count("<img") == 2 and tab.sees("bin_screen")
    tab.do("ask_empty")
    assert tab.sees("confirm") and "Remove 2 pictures for good?" in tab["confirm_text"]
    assert tab.takes(tab.handlers.keep_bin(), "keep_bin").sees("confirm") is False
    tab.do("empty")
    assert "2 pictures removed for good" in tab.notice and "The bin is empty" in tab["bin_grid"]
    assert not tab.sees("confirm") and library.bin.records() == []


def test_a_full_bin_has_pages(tab: Tab, library: Library) -> None:
    records = [made(library, k) for k in range(PAGE + 2)]
    tab.go("?tab=history").do("delete", *records).go("?tab=history&bin=true")
    deleted_last_first = [record.id for record in library.bin.records()]
    assert binned(tab) == deleted_last_first[:PAGE] and "Newer" not in tab["bin_pages"]
    tab.go(link(tab, "Older"))
    assert binned(tab) == deleted_last_first[PAGE:] and "Older" not in tab["bin_pages"]
    last = tab.address
    assert binned(tab.go(link(tab, "Newer"))) == deleted_last_first[:PAGE]
    tab.go(last).do("restore", *deleted_last_first[PAGE:])
    assert binned(tab) == deleted_last_first[:PAGE] and tab["bin_pages"] == ""


def binned(tab: Tab) -> list[str]:
    return re.findall(r'data-restore="(\w+)"', tab["bin_grid"])


def link(tab: Tab, name: str) -> str:
    """The address of the page beside the bin's page that is shown."""
    found = re.search(rf'href="([^"]+)"[^>]*>[^<]*{name}', tab["bin_pages"])
    assert found
    return unescape(found[1])


def test_the_bin_is_everybody_s_own(services: Services, library: Library, tab: Tab) -> None:
    mine = made(library, 1, owner=f"browser-{BROWSER}")
    theirs = made(library, 2, owner="browser-" + "f" * 32)
    stranger = Tab(services, shared=True, browser=BROWSER)
    stranger.go("?tab=history").do("delete", mine, theirs)
    assert library.get(theirs.id) and "1 picture moved" in stranger.notice
    stranger.do("star", theirs)
    assert GONE in stranger.notice and not library.get(theirs.id).starred
    tab.go("?tab=history").do("delete", theirs)
    stranger.go("?tab=history&bin=true")
    assert f'data-restore="{mine.id}"' in stranger["bin_grid"] and theirs.id not in stranger["bin_grid"]
    stranger.do("restore", theirs)
    assert "There is no picture" in stranger.notice and not library.get(theirs.id)
    stranger.do("empty")
    assert [record.id for record in library.bin.records()] == [theirs.id]


def test_nothing_of_the_bin_is_given_out_by_its_name(library: Library) -> None:
    record = made(library, 1)
    deleted = library.bin.delete(record.id)
    assert not library.shows(deleted.path) and not library.shows(deleted.thumbnail)


def test_a_full_disk_is_told_and_nothing_is_lost(tab: Tab, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made(library, 1), made(library, 2)
    moved = bin_module.move

    def move(path: Path, target: Path) -> None:
        if path == second.path:
            raise OSError(errno.ENOSPC, "No space left on device")
        moved(path, target)

    monkeypatch.setattr(bin_module, "move", move)
    tab.go("?tab=history").do("delete", first, second)
    assert "1 of 2 are done. The disk that holds" in tab.notice and tab.sees("undo")
    assert tab["deleted"] == [first.id] and shots(tab) == [second.id] and second.path.is_file()
    tab.do("delete", second)
    assert "is full" in tab.notice and not tab.sees("undo") and library.get(second.id)


@pytest.mark.parametrize("handler", ["star", "delete", "zip"])
def test_without_a_picture_that_is_there_nothing_is_done(tab: Tab, library: Library, handler: str) -> None:
    record = made(library, 1)
    tab.go("?tab=history").do(handler, picked=[])
    assert NOTHING_PICKED in tab.notice
    record.path.unlink()
    tab.do(handler, record)
    assert GONE in tab.notice


def test_pictures_join_a_moodboard(tab: Tab, services: Services) -> None:
    board(services, "Dusk")
    records = [made(services.library, k) for k in (1, 2)]
    tab.go("?tab=history")
    assert ("Dusk", "Dusk") in tab.values["board"]["choices"]
    tab.do("add_to_board", *records, board="Dusk")
    assert "«Dusk» has 2 pictures now" in tab.notice
    tab.do("add_to_board", *records, board="")
    assert NO_BOARD in tab.notice
    stranger = Tab(services, shared=True, browser=BROWSER)
    mine = made(services.library, 3, owner=f"browser-{BROWSER}")
    stranger.do("add_to_board", mine, board="Dusk")
    assert "sign in first" in stranger.notice and len(services.library.moodboards.get("Dusk").images) == 2


def test_a_zip_has_the_files_as_they_are(tab: Tab, library: Library) -> None:
    first, second, other = made(library, 1), made(library, 2), made(library, 3, owner="ada")
    tab.go("?tab=history").do("zip", first, second)
    with zipfile.ZipFile(tab["zip_file"]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            record.path.name: record.path.read_bytes() for record in (first, second)
        }
    stranger = Tab(tab.create.services, shared=True, browser=BROWSER)
    stranger.do("zip", other)
    assert GONE in stranger.notice and not stranger["zip_file"]


def test_a_zip_that_cannot_be_written_is_told(tab: Tab, library: Library, tmp_path: Path) -> None:
    record = made(library, 1)
    (tmp_path / "gradio").mkdir(exist_ok=True)
    (tmp_path / "gradio" / "exports").write_text("in the way")
    tab.go("?tab=history").do("zip", record)
    assert "cannot be written" in tab.notice and not tab["zip_file"]


def test_records_that_cannot_be_read_are_a_notice(tab: Tab, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise StorageError("The records are damaged — move the file away")

    made(library, 1, owner=Person("ada").id)
    monkeypatch.setattr(library.records, "select", fails)
    tab.go("?tab=history")
    assert "The records are damaged" in tab.notice
