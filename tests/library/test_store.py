"""A picture that was announced is whole on disk; one that could not be written leaves nothing behind."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from krea_studio.errors import StorageError
from krea_studio.library import check, store
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Recipe, Shot
from krea_studio.recipe.request import parse_request
from tests.doubles import picture

PICTURE_PATH = re.compile(r"\d{4}-\d{2}-\d{2}/\d{6}-[0-9a-f]{16}-s7\.png")


def shot_of(seed: int = 7, **fields: object) -> Shot:
    return plan(parse_request({"prompt": "a fox", "resolution": "512", **fields}), seed).shots[0]


def opened(folder: Path) -> Library:
    """The library in a folder, when its files were checked."""
    library = Library(folder)
    assert library.checked(30)
    return library


def save(library: Library, shot: Shot | None = None, owner: str = "local", weights: str | None = None) -> Record:
    shot = shot or shot_of()
    return library.save(shot.recipe("mini-turbo", weights=weights), picture(shot), 1.25, Person(owner))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_saved_picture_is_whole(library: Library) -> None:
    shot = shot_of()
    record = save(library, shot, owner="ada")
    with Image.open(record.path) as image:
        assert image.format == "PNG"
        assert image.tobytes() == picture(shot).tobytes()
    with Image.open(record.thumbnail) as thumbnail:
        assert max(thumbnail.size) == 320
    assert read_recipe(record.path) == record.recipe == shot.recipe("mini-turbo")
    told = record.as_json()
    assert (told["seed"], told["width"], told["height"], told["variant"]) == (7, 512, 512, "turbo")
    assert (told["checkpoint"], told["prompt"], told["seconds"]) == ("mini-turbo", "a fox", 1.25)
    assert record.owner == "ada" and json.loads(json.dumps(told)) == told
    assert library.get(record.id) == record
    assert library.recent(5) == [record]


def test_names_hold_nothing_that_a_person_wrote(library: Library) -> None:
    record = save(library, shot_of(prompt="../../etc/passwd\n<script>", variant="medium", negative_prompt="/"))
    assert PICTURE_PATH.fullmatch(record.path.relative_to(library.folder).as_posix())


def test_recent_is_newest_first_and_skips_removed_files(library: Library) -> None:
    records = [save(library, shot_of(seed), owner="ada" if seed % 2 else "local") for seed in range(6)]
    records[4].path.unlink()
    assert [record.recipe.seed for record in library.recent(3)] == [5, 3, 2]
    assert [record.recipe.seed for record in library.recent(9, Person("ada"))] == [5, 3, 1]
    assert library.get(records[4].id) is None
    assert library.recent(0) == []


def test_a_missing_thumbnail_is_the_picture_itself(library: Library) -> None:
    record = save(library)
    record.thumbnail.unlink()
    assert library.get(record.id).thumbnail == record.path


def fail_write(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
    """From now on the write of this number gets half way and fails."""
    writes = 0

    def write_half(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        with path.open("wb") as file:
            file.write(data[: len(data) // 2] if writes == number else data)
        if writes == number:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", write_half)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_picture_that_is_told_as_failed_is_not_there(
    library: Library, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail_write(monkeypatch, 1, code)
    with pytest.raises(StorageError) as caught:
        save(library)
    monkeypatch.undo()
    words = "is full — free some space" if code == errno.ENOSPC else os.strerror(code)
    assert words in caught.value.message and str(library.folder) in caught.value.message
    assert library.recent(5) == []
    assert not any(name.endswith((".png", ".part", ".jpg")) for name in files(library.folder))
    library.check_writable()
    assert opened(library.folder).recent(5) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_picture_whose_thumbnail_fails_is_kept(library: Library, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    fail_write(monkeypatch, 2, code)
    record = save(library, owner="ada")
    monkeypatch.undo()
    assert library.recent(5, Person("ada")) == [record]
    assert record.path.is_file() and record.thumbnail == record.path
    assert not any(name.endswith((".part", ".jpg")) for name in files(library.folder))


def test_full_records_are_told_and_leave_no_picture(library: Library) -> None:
    with library.records.transaction() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    told = []
    with pytest.raises(StorageError, match="is full — free some space"):
        for seed in range(100):
            told.append(save(library, shot_of(seed)).path)
    assert sorted(library.folder.glob("*/*.png")) == sorted(told)


def test_an_unwritable_folder_is_told_before_a_run(library: Library, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        Library(tmp_path / "file" / "library")

    os.rename(library.folder, tmp_path / "moved")
    library.folder.touch()
    with pytest.raises(StorageError, match="cannot be written"):
        library.check_writable()


def test_a_check_leaves_nothing_behind(library: Library) -> None:
    before = files(library.folder)
    library.check_writable()
    assert files(library.folder) == before


KILLED = """
import os, sys
from krea_studio import files
from krea_studio.library import store
from tests.library.test_store import save

{patch}
save(store.Library(sys.argv[1]), owner="ada")
"""


def run_python(code: str, *arguments: str) -> int:
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=root, timeout=60).returncode


def test_a_picture_is_never_there_without_its_owner(tmp_path: Path) -> None:
    patch = "store.thumbnail_bytes = lambda image: os._exit(9)"  # as soon as the picture has its name
    assert run_python(KILLED.format(patch=patch), str(tmp_path / "library")) == 9
    library = Library(tmp_path / "library")
    (record,) = library.recent(5, Person("ada"))
    assert record.path.is_file() and record.thumbnail == record.path
    assert record.recipe == shot_of().recipe("mini-turbo")
    assert (record.owner, record.seconds) == ("ada", 1.25)
    library.close()
    assert opened(tmp_path / "library").recent(5) == [record]


@pytest.mark.parametrize(
    "patch",
    [
        "store.Records.add = lambda self, row: os._exit(9)",
        "files._sync = lambda path: os._exit(9) if path.suffix == '.part' else None",
        "os.replace = lambda *_: os._exit(9)",
    ],
    ids=["before the row", "before it is on disk", "before it has its name"],
)
def test_a_process_killed_while_writing_leaves_no_picture(tmp_path: Path, patch: str) -> None:
    assert run_python(KILLED.format(patch=patch), str(tmp_path / "library")) == 9
    for person in (LOCAL, Person("ada")):
        assert opened(tmp_path / "library").recent(5, person) == []
    (part,) = [name for name in files(tmp_path / "library") if name.endswith(".part")]
    old = time.time() - 2 * check.ABANDONED_SECONDS
    os.utime(tmp_path / "library" / part, (old, old))
    opened(tmp_path / "library")
    assert part not in files(tmp_path / "library")


def test_abandoned_parts_of_references_and_moodboards_are_removed(library: Library) -> None:
    reference = library.references.add_picture(Image.new("RGB", (64, 64), "teal"))
    folder = library.references.path(reference).parent
    library.moodboards.folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / "a.png.0123abcd.part", library.moodboards.folder / "a.json.0123abcd.part"]
    young = folder / "young.png.0123abcd.part"
    old = time.time() - 2 * check.ABANDONED_SECONDS
    for part in (*parts, young):
        part.write_bytes(b"half")
    for part in parts:
        os.utime(part, (old, old))
    reopened = opened(library.folder)
    assert not any(part.exists() for part in parts)
    assert young.exists() and reopened.references.path(reference).is_file()


def test_only_parts_that_the_studio_made_are_removed(library: Library) -> None:
    record = save(library)
    places = (library.folder, library.folder / "thumbnails", record.path.parent, library.references.folder)
    foreign = []
    for place in places:
        (place / "x.part" / "deep").mkdir(parents=True)
        foreign += [place / "x.part" / "deep" / "kept.txt", place / "movie.mkv.part", place / "probe-12.part"]
        (place / "examples.0123abcd.part").mkdir()
        foreign.append(place / "examples.0123abcd.part" / "kept.txt")
    own = [library.folder / f"probe-{'0' * 16}.part", library.folder / "moodboards.0123abcd.part" / "half.json"]
    own[1].parent.mkdir()
    old = time.time() - 2 * check.ABANDONED_SECONDS
    for path in (*foreign, *own):
        path.write_bytes(b"whole")
    for path in library.folder.rglob("*"):
        os.utime(path, (old, old))
    opened(library.folder)
    assert all(path.exists() for path in foreign)
    assert not any(path.exists() for path in (*own, own[1].parent))


def test_foreign_and_broken_files_are_left_alone(library: Library) -> None:
    record = save(library)
    day = record.path.parent
    (day / "holiday.png").write_bytes(record.path.read_bytes())
    (day / f"120000-{'0' * 16}-s1.png").write_bytes(record.path.read_bytes()[:50])
    Image.new("RGB", (8, 8)).save(day / f"120000-{'1' * 16}-s1.png")
    before = files(library.folder)
    library.close()
    again = opened(library.folder)
    assert again.recent(5) == [record]
    assert files(library.folder) == before


@pytest.mark.parametrize("field", [*Recipe.model_fields, "schema_version"])
def test_no_recipe_in_the_folder_keeps_the_studio_from_starting(library: Library, field: str) -> None:
    record = save(library)
    told, day = record.recipe.as_json(), record.path.parent
    missing = {key: value for key, value in told.items() if key != field}
    recipes = [missing, *(told | {field: value} for value in ("\ud800", 10**400, [[]], {"a": None}, True, -1, None))]
    for number, recipe in enumerate(recipes):
        texts = PngInfo()
        texts.add_itxt("krea_studio", json.dumps(recipe))
        Image.new("RGB", (64, 64)).save(day / f"120000-{number:016x}-s7.png", pnginfo=texts)
    library.close()
    with closing(opened(library.folder)) as again:
        found = again.recent(99)
        assert record in found and all(Recipe.from_json(each.recipe.as_json()) == each.recipe for each in found)


def test_lost_records_are_filled_from_the_pictures(library: Library) -> None:
    saved = {save(library, shot_of(seed)).recipe.seed for seed in range(3)}
    library.close()
    for name in ("", "-wal", "-shm"):
        (library.folder / (store.RECORDS_FILE + name)).unlink(missing_ok=True)
    for path in (library.folder / "thumbnails").rglob("*.jpg"):
        path.unlink()
    found = opened(library.folder).recent(9)
    assert {record.recipe.seed for record in found} == saved
    assert all(record.thumbnail.suffix == ".jpg" for record in found)


def test_a_library_can_be_moved(library: Library, tmp_path: Path) -> None:
    save(library)
    library.close()
    os.rename(library.folder, tmp_path / "moved")
    (record,) = opened(tmp_path / "moved").recent(5)
    assert record.path.is_file() and record.path.is_relative_to(tmp_path / "moved")


def test_threads_share_a_library(library: Library) -> None:
    threads = [threading.Thread(target=lambda: [save(library) for _ in range(4)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(library.recent(99)) == 16


SAVING = """
import sys
from krea_studio.library.store import Library
from tests.library.test_store import save

for _ in range(4):
    library = Library(sys.argv[1])
    save(library)
    library.close()
"""


def test_processes_share_a_library(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", SAVING, str(tmp_path / "library")]
    running = [subprocess.Popen(command, cwd=root) for _ in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    records = opened(tmp_path / "library").recent(99)
    assert len(records) == 12
    assert {record.seconds for record in records} == {1.25}
