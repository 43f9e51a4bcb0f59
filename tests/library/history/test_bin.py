"""What is deleted is out of sight and can come back; nothing is lost on the way, whoever dies, and nothing is twice."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.history import bin as module
from krea_studio.library.history.search import Search
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import Person
from tests.library.test_store import files, opened, save, shot_of

ROOT = Path(__file__).parents[3]
ADA, EVE = Person("ada"), Person("eve")


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def state(library: Library, record: Record) -> str:
    """Where a picture is by rows and files alike: shown, in the bin, gone; anything else fails."""
    shown = library.folder / record.path.parent.name / record.path.name
    binned = library.folder / "bin" / record.path.parent.name / record.path.name
    listed = (record.id in ids(library.recent(99)), record.id in ids(library.bin.records()))
    found = record.id in ids(library.history.page(Search(words="fox")).records)
    counted = sum(library.history.counts().values())
    assert found == listed[0] == (library.get(record.id) is not None) and counted == library.records.count()
    assert library.is_deleted(record.id) == (not listed[0])
    states = {
        (True, False, True, False): "shown",
        (False, True, False, True): "in the bin",
        (False, False, False, False): "gone",
    }
    return states[(*listed, shown.is_file(), binned.is_file())]


def test_a_deleted_picture_is_out_of_sight_and_comes_back_as_it_was(library: Library) -> None:
    kept, record = save(library), library.history.star(save(library, owner="ada").id)
    content, before = record.path.read_bytes(), files(library.folder)
    deleted = library.bin.delete(record.id, ADA)
    assert deleted.path == library.folder / "bin" / record.path.relative_to(library.folder)
    assert deleted.path.read_bytes() == content and deleted.thumbnail.suffix == ".jpg" and deleted.deleted_at
    assert state(library, record) == "in the bin" and library.bin.records(ADA) == [deleted]
    assert not library.shows(record.path) and not library.shows(deleted.path)
    assert library.recent(9) == [kept] and library.records.count() == 1
    assert library.history.page(Search(starred=True)).records == []
    assert library.bin.restore(record.id, ADA) == record == library.get(record.id)
    assert state(library, record) == "shown" and record.path.read_bytes() == content
    assert library.recent(9) == [record, kept] and library.history.page(Search(starred=True)).records == [record]
    assert files(library.folder) - {"bin/lock.sqlite3"} == before


def test_the_bin_is_last_deleted_first_and_each_person_s_own(library: Library) -> None:
    saved = [save(library, owner=owner) for owner in ("ada", "eve", "ada")]
    for record in (saved[2], saved[0], saved[1]):
        library.bin.delete(record.id)
    assert ids(library.bin.records(ADA)) == [saved[0].id, saved[2].id]
    assert ids(library.bin.records()) == [saved[1].id, saved[0].id, saved[2].id]
    assert library.bin.empty(ADA) == 2 and ids(library.bin.records()) == [saved[1].id]


@pytest.mark.parametrize("picture", ["0" * 16, "../../etc/passwd", "", "' OR 1 --", "\ud800"])
def test_ids_that_name_no_picture(library: Library, picture: str) -> None:
    save(library)
    assert library.get(picture) is None and not library.is_deleted(picture)
    for change in (library.bin.delete, library.bin.restore, library.history.star):
        with pytest.raises(InvalidRequest, match=r"^There is no picture .* — "):
            change(picture)


def test_what_one_may_not_see_one_may_not_delete_or_restore(library: Library) -> None:
    record = save(library, owner="ada")
    with pytest.raises(InvalidRequest, match=f"^There is no picture '{record.id}' here — choose one"):
        library.bin.delete(record.id, EVE)
    assert state(library, record) == "shown"
    library.bin.delete(record.id, ADA)
    for change in (library.bin.delete, library.bin.restore):
        with pytest.raises(InvalidRequest, match=f"^There is no picture '{record.id}' "):
            change(record.id, EVE)
    assert library.bin.empty(EVE) == 0 and state(library, record) == "in the bin"


def test_twice_is_told(library: Library) -> None:
    record = save(library)
    library.bin.delete(record.id)
    with pytest.raises(InvalidRequest, match="is in the bin already — restore it"):
        library.bin.delete(record.id)
    library.bin.restore(record.id)
    with pytest.raises(InvalidRequest, match="in the bin — it keeps pictures for 30 days"):
        library.bin.restore(record.id)
    assert state(library, record) == "shown"


def test_a_picture_whose_file_is_gone_is_told(library: Library) -> None:
    first, second = save(library), save(library)
    first.path.unlink()
    with pytest.raises(InvalidRequest, match="is gone, so there is nothing to delete"):
        library.bin.delete(first.id)
    library.bin.delete(second.id).path.unlink()
    with pytest.raises(InvalidRequest, match="is gone, so it cannot be restored"):
        library.bin.restore(second.id)
    assert library.recent(9) == library.bin.records() == []
    assert library.bin.empty() == 1, "its row goes all the same"


def test_a_picture_without_a_thumbnail_is_deleted_and_restored(library: Library) -> None:
    record = save(library)
    record.thumbnail.unlink()
    assert library.bin.delete(record.id).thumbnail.suffix == ".png"
    assert library.bin.restore(record.id) == record and record.thumbnail == record.path


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("step", ["folder", "replace", "sync"])
def test_what_cannot_be_moved_is_told_and_stays_where_it_is(
    library: Library, monkeypatch: pytest.MonkeyPatch, code: int, step: str
) -> None:
    record = save(library)
    library.bin.delete(record.id)
    library.bin.restore(record.id)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    target = {"folder": (module, "make_folder"), "replace": (os, "replace"), "sync": ("krea_studio.files._sync",)}[step]
    words = "is full — free some space" if code == errno.ENOSPC else os.strerror(code)
    for change, before in ((library.bin.delete, "shown"), (library.bin.restore, "in the bin")):
        with monkeypatch.context() as patch:
            patch.setattr(*target, fail)
            with pytest.raises(StorageError, match=words):
                change(record.id)
        assert state(library, record) == before
        if before == "shown":
            library.bin.delete(record.id)


def test_a_full_database_deletes_nothing(library: Library) -> None:
    saved = [save(library, shot_of(seed)) for seed in range(30)]
    with library.records.transaction() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    told = 0
    for record in saved:
        try:
            library.bin.delete(record.id)
        except StorageError as error:
            told += 1
            assert "is full — free some space" in error.message
            assert state(library, record) == "shown"
        else:
            assert state(library, record) == "in the bin"
    assert told and len(library.recent(99) + library.bin.records()) == 30


def test_a_full_database_restores_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    record = save(library)
    deleted = library.bin.delete(record.id)

    def full(*_: object) -> None:
        raise StorageError("The disk is full")

    monkeypatch.setattr(library.records, "restore", full)
    with pytest.raises(StorageError, match="The disk is full"):
        library.bin.restore(record.id)
    assert state(library, record) == "in the bin" and library.bin.records() == [deleted]
    assert deleted.thumbnail.suffix == ".jpg"


def test_a_thumbnail_that_cannot_be_moved_holds_nothing_up(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record, move = save(library), module.move

    def only_pictures(path: Path, target: Path) -> None:
        if path.suffix == ".jpg":
            raise OSError(errno.EIO, "broken")
        move(path, target)

    monkeypatch.setattr(module, "move", only_pictures)
    deleted = library.bin.delete(record.id)
    assert state(library, record) == "in the bin" and "stays where it is" in caplog.text
    monkeypatch.undo()
    assert library.bin.empty() == 1
    assert files(library.folder) == {name for name in files(library.folder) if "sqlite3" in name}, "none is left"
    assert deleted.path.parent.parent.is_dir() and not deleted.path.parent.exists()


def age(library: Library, record: Record, days: float) -> None:
    """Let a picture have been deleted so long ago."""
    library.records.delete(record, datetime.now(UTC) - timedelta(days=days))


def test_after_thirty_days_it_is_gone_for_good_at_the_next_opening(library: Library) -> None:
    saved = [save(library) for _ in range(3)]
    for record, days in zip(saved, (29.9, 30.1, 400), strict=True):
        library.bin.delete(record.id)
        age(library, record, days)
    library.close()
    with closing(opened(library.folder)) as again:
        assert [state(again, record) for record in saved] == ["in the bin", "gone", "gone"]
        assert ids(again.bin.records()) == [saved[0].id]
        assert len([name for name in files(again.folder) if name.endswith(("png", "jpg"))]) == 2


@pytest.mark.parametrize("way", [os.replace, shutil.copy])
def test_a_picture_that_was_moved_back_by_hand_is_restored(library: Library, way: Callable[..., Any]) -> None:
    record = save(library)
    before = {name for name in files(library.folder) if "sqlite3" not in name}
    way(library.bin.delete(record.id).path, record.path)
    library.close()
    with closing(opened(library.folder)) as again:
        assert state(again, record) == "shown" and again.recent(9) == [record]
        assert {name for name in files(again.folder) if "sqlite3" not in name} == before


def test_a_picture_that_was_put_back_by_hand_is_a_picture_again(library: Library) -> None:
    record = save(library)
    content = record.path.read_bytes()
    library.bin.delete(record.id)
    library.bin.empty()
    assert state(library, record) == "gone"
    library.close()
    record.path.write_bytes(content)
    with closing(opened(library.folder)) as again:
        assert state(again, record) == "shown"


def test_emptying_takes_more_than_fit_into_one_transaction(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    for seed in range(5):
        library.bin.delete(save(library, shot_of(seed)).id)
    kept = save(library)
    assert library.bin.empty() == 5 and library.bin.empty() == 0
    assert library.recent(9) == [kept]


def test_a_file_that_cannot_be_removed_keeps_its_row(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    record = save(library)
    library.bin.delete(record.id)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "not allowed")

    with monkeypatch.context() as patch:
        patch.setattr(module, "remove", refuse)
        with pytest.raises(StorageError, match="not allowed"):
            library.bin.empty()
    assert state(library, record) == "in the bin"


def test_a_picture_that_others_are_drawn_from_stays_with_them(library: Library) -> None:
    record = save(library)
    reference = library.references.add(record.path)
    library.moodboards.create("Foxes")
    library.moodboards.add("Foxes", [record.path])
    content = library.references.read(reference)
    library.bin.delete(record.id)
    library.bin.empty()
    assert library.references.read(reference) == content
    assert library.moodboards.read(library.moodboards.get("Foxes")) == {reference: content}


def test_where_the_records_are_lost_the_bin_is_still_the_bin(library: Library) -> None:
    kept, deleted = save(library), save(library)
    library.bin.delete(deleted.id)
    library.close()
    for file in library.folder.glob("records.sqlite3*"):
        file.unlink()
    with closing(opened(library.folder)) as again:
        assert (state(again, kept), state(again, deleted)) == ("shown", "in the bin")
        (found,) = again.bin.records()
        assert found.deleted_at and datetime.now(UTC) - found.deleted_at < timedelta(hours=1)
        assert again.bin.restore(deleted.id).recipe == deleted.recipe
        assert state(again, deleted) == "shown"


KILLED = """
import os, sys
from krea_studio import files
from krea_studio.library import records
from krea_studio.library.history import bin
from krea_studio.library.store import Library

library = Library(sys.argv[1])
library.checked()
{patch}
{act}
os._exit(1)
"""
DIE = {
    "before the row": "records.Records.{row} = lambda *_: os._exit(9)",
    "before the move": "bin._move = lambda *_: os._exit(9)",
    "before the thumbnail": "bin._move_thumbnail = lambda *_: os._exit(9)",
    "after the row": "kept = records.Records.{row}\nrecords.Records.{row} = lambda *_: (kept(*_), os._exit(9))",
    "before the end": "bin.replace = lambda *_, **__: os._exit(9)",
    "before the files": "bin.remove = lambda *_: os._exit(9)",
    "after the first file": "kept = bin.remove\nbin.remove = lambda path: (kept(path), os._exit(9))",
}
DELETING = ("before the row", "after the row", "before the move", "before the thumbnail", "before the end")
EMPTYING = ("before the files", "after the first file", "before the row", "after the row")


@pytest.mark.parametrize(
    ("change", "step"),
    [
        *(("delete", step) for step in DELETING),
        *(("restore", step) for step in DELETING),
        *(("empty", step) for step in EMPTYING),
    ],
)
def test_who_is_killed_leaves_a_picture_in_one_place(library: Library, change: str, step: str) -> None:
    record = save(library, owner="ada")
    content = record.path.read_bytes()
    act = "library.bin.empty()"
    if change != "empty":
        act = f"library.bin.{change}({record.id!r})"
    if change != "delete":
        library.bin.delete(record.id)
    library.close()
    patch = DIE[step].format(row="forget" if change == "empty" else change)
    code = KILLED.format(patch=patch, act=act)
    done = subprocess.run([sys.executable, "-c", code, str(library.folder)], cwd=ROOT, timeout=120)
    assert done.returncode == 9
    with closing(opened(library.folder)) as again:
        if change == "empty":
            assert again.bin.records() == [] or state(again, record) == "in the bin"
            again.bin.empty()
            assert state(again, record) == "gone"
            return
        now = state(again, record)
        assert now in ("shown", "in the bin")
        if now == "shown":
            again.bin.delete(record.id, ADA)
        assert again.bin.restore(record.id, ADA) == record
        assert record.path.read_bytes() == content and state(again, record) == "shown"


DELETING_ALL = """
import sys
from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library

library, done = Library(sys.argv[1]), 0
for picture in sys.argv[2:]:
    try:
        library.bin.delete(picture)
        done += 1
    except InvalidRequest as error:
        assert "already" in error.message, error
library.close()
print(done)
"""


def test_two_processes_that_delete_the_same_pictures_delete_each_once(library: Library) -> None:
    saved = [save(library, shot_of(seed)) for seed in range(12)]
    command = [sys.executable, "-c", DELETING_ALL, str(library.folder), *ids(saved)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [int(process.communicate(timeout=120)[0]) for process in running]
    assert sum(counts) == 12
    assert {state(library, record) for record in saved} == {"in the bin"}


def test_threads_that_delete_restore_and_empty_lose_nothing(library: Library) -> None:
    saved = [save(library, shot_of(seed)) for seed in range(4)]

    def change(number: int) -> None:
        for turn in range(6):
            for record in saved:
                act = library.bin.delete if (turn + number) % 2 else library.bin.restore
                try:
                    act(record.id)
                except InvalidRequest:
                    continue

    threads = [threading.Thread(target=change, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = {state(library, record) for record in saved}
    assert states <= {"shown", "in the bin"}
    assert len(library.recent(9)) + len(library.bin.records()) == 4


def test_what_waits_too_long_is_told(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    record = save(library)
    monkeypatch.setattr("krea_studio.files.LOCK_TIMEOUT_SECONDS", 0.0)
    with library.bin._changing(), pytest.raises(StorageError, match="cannot be changed now .* — try again"):
        library.bin.delete(record.id)
    assert state(library, record) == "shown"
