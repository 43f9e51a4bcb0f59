"""The check of files against rows holds up nobody, ends with the library, and finds what has no row."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from krea_studio.errors import StorageError
from krea_studio.library import check
from krea_studio.library.records import Record
from krea_studio.library.store import RECORDS_FILE, Library
from tests.library.test_store import files, opened, save, shot_of


@pytest.fixture
def lost(library: Library) -> Iterator[list[Record]]:
    """Pictures of two days whose rows are lost; the library is closed."""
    saved = [save(library, shot_of(seed)) for seed in range(6)]
    library.close()
    for file in library.folder.glob(f"{RECORDS_FILE}*"):
        file.unlink()
    other = library.folder / "2026-01-02"
    other.mkdir()
    for record in saved[3:]:
        record.path.rename(other / record.path.name)
    yield saved


class Slow:
    """Reading recipes takes until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened, read = threading.Event(), threading.Event(), check.read_recipe

        def slow(path: Path) -> Any:
            self.reached.set()
            assert self.opened.wait(60)
            return read(path)

        monkeypatch.setattr(check, "read_recipe", slow)


def ids(records: list[Record]) -> set[str]:
    return {record.id for record in records}


def test_nobody_waits_for_it(library: Library, lost: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    again = Library(library.folder)
    assert slow.reached.wait(60) and not again.checked(0)
    new = save(again)
    assert again.recent(9) == [new] and again.history.star(new.id).starred
    again.bin.delete(new.id)
    slow.opened.set()
    assert again.checked(60)
    assert ids(again.recent(9)) == ids(lost) and ids(again.bin.records()) == {new.id}
    again.close()


def test_it_ends_with_the_library_and_goes_on_at_the_next_opening(
    library: Library, lost: list[Record], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(check, "AT_ONCE", 2)
        slow = Slow(patch)
        again = Library(library.folder)
        assert slow.reached.wait(60)
        closing = threading.Thread(target=again.close)
        closing.start()
        slow.opened.set()
        closing.join(60)
        assert again.checked(0) and not closing.is_alive()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
    with_rest = opened(library.folder)
    assert ids(with_rest.recent(9)) == ids(lost) and with_rest.records.count() == 6
    with_rest.close()


def test_it_ends_soon(library: Library, lost: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    slow, known = Slow(monkeypatch), check.read_recipe
    monkeypatch.setattr(check, "read_recipe", lambda path: (read.append(path), known(path))[1])
    again = Library(library.folder)
    assert slow.reached.wait(60)
    threading.Timer(0.2, slow.opened.set).start()
    again.close()
    assert len(read) == 1, "the picture that it was at, and no other"


def test_a_folder_that_cannot_be_listed_is_told_and_left_out(
    library: Library, lost: list[Record], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scandir = os.scandir

    def refuse(folder: Path) -> Any:
        if Path(folder).name == "2026-01-02":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    again = opened(library.folder)
    assert ids(again.recent(9)) == ids(lost[:3])
    assert "2026-01-02 is left out" in caplog.text
    again.close()


def test_a_bin_that_cannot_be_tidied_is_told_and_holds_up_nothing(
    library: Library, lost: list[Record], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("The bin cannot be changed now")

    monkeypatch.setattr("krea_studio.library.history.bin.Bin.tidy", fail)
    again = opened(library.folder)
    assert ids(again.recent(9)) == ids(lost)
    assert "The bin cannot be changed now" in caplog.text
    again.close()


def test_a_check_that_finds_nothing_writes_nothing(library: Library) -> None:
    record = save(library)
    library.bin.delete(save(library).id)
    library.close()
    before = {name: (library.folder / name).stat().st_mtime_ns for name in files(library.folder)}
    again = opened(library.folder)
    assert again.recent(9) == [record]
    again.close()
    assert {name: (library.folder / name).stat().st_mtime_ns for name in files(library.folder)} == before
