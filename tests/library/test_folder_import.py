"""Pictures of a folder come in as they are, once, and every file is told for what it is."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.files import CLUTTER
from krea_studio.library.folder_import import FoundFile, import_files, import_folder
from krea_studio.library.pictures.metadata import png_bytes
from krea_studio.library.records import PICTURE
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import parse_request
from tests.doubles import picture
from tests.library.foreign.builders import comfyui, graph, png


def recipe_of(**wishes: Any) -> Recipe:
    checkpoint = wishes.pop("checkpoint", "mini-turbo")
    wished = parse_request({"prompt": "a fox", "resolution": "512", **wishes})
    return plan(wished, wishes.get("seed", 7)).shots[0].recipe(checkpoint)


def own(path: Path, size: tuple[int, int] | None = None, **wishes: Any) -> Path:
    """A picture of the studio in a file."""
    recipe = recipe_of(**wishes)
    image = picture(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(image.resize(size) if size else image, recipe))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


def found_in(library: Library, folder: Path, **options: Any) -> dict[str, FoundFile]:
    files = list(import_folder(library, folder, **options))
    assert len({each.path for each in files}) == len(files), "each file is told once"
    assert all((each.record is None) == (each.kind != "taken in") for each in files)
    assert all(not each.reason or (each.reason.isprintable() and len(each.reason) < 400) for each in files)
    assert all(bool(each.reason) == (each.kind != "taken in") for each in files)
    return {each.path: each for each in files}


def test_pictures_with_recipes_come_in_as_they_are(library: Library, folder: Path) -> None:
    paths = [own(folder / "a.png"), own(folder / "deep" / "er" / "b.png", seed=8, prompt="a whale")]
    contents = [path.read_bytes() for path in paths]
    found = found_in(library, folder, person=Person("ada"))
    assert list(found) == ["a.png", "deep/er/b.png"] and {each.kind for each in found.values()} == {"taken in"}
    for each, content in zip(found.values(), contents, strict=True):
        record = each.record
        assert record and record.path.read_bytes() == content and record.owner == "ada"
        kept = library.get(record.id)
        assert kept == record and PICTURE.fullmatch(record.path.name) and record.thumbnail != record.path
        with Image.open(record.thumbnail) as thumbnail:
            assert thumbnail.format == "JPEG"
    assert [path.read_bytes() for path in paths] == contents, "the folder stays as it is"
    assert {each.recipe.prompt for each in library.recent(9)} == {"a fox", "a whale"}


@pytest.mark.parametrize("alpha", [0, 255])
def test_one_that_may_be_seen_through_is_left_out(library: Library, folder: Path, alpha: int) -> None:
    recipe = recipe_of()
    image = picture(recipe)
    image.putalpha(alpha)
    (folder / "a.png").write_bytes(png_bytes(image, recipe))
    (told,) = found_in(library, folder).values()
    assert told.reason == "'a.png' has transparency, so it was changed — use the original"
    assert library.records.count() == 0


def test_doing_it_again_takes_in_nothing(library: Library, folder: Path) -> None:
    own(folder / "a.png")
    shutil.copy(folder / "a.png", folder / "copy of a.png")
    first = found_in(library, folder)
    assert [each.kind for each in first.values()] == ["taken in", "here already"]
    assert first["copy of a.png"].reason.startswith("'copy of a.png' is in the library already, as ")
    again = found_in(library, folder)
    assert {each.kind for each in again.values()} == {"here already"} and library.records.count() == 1


def test_another_library_keeps_ids_and_times(library: Library, folder: Path, tmp_path: Path) -> None:
    other = Library(tmp_path / "other")
    record = other.save(recipe_of(), picture(recipe_of()), 1.0)
    other.close()
    shutil.copytree(tmp_path / "other", folder / "backup")
    os.utime(folder / "backup" / record.path.relative_to(tmp_path / "other"), (0, 0))
    taken = [each.record for each in found_in(library, folder).values() if each.record]
    assert [each.id for each in taken] == [record.id]
    assert taken[0].created_at == record.created_at.replace(microsecond=0)
    assert taken[0].path.relative_to(library.folder) == record.path.relative_to(tmp_path / "other")
    assert all(each.reason for each in found_in(library, folder).values())


def test_an_id_that_another_picture_has_is_not_taken_from_it(library: Library, folder: Path) -> None:
    record = library.save(recipe_of(), picture(recipe_of()), 1.0)
    own(folder / record.path.parent.name / record.path.name, prompt="a whale")
    (found,) = found_in(library, folder).values()
    assert found.record and found.record.id != record.id
    kept = library.get(record.id)
    assert kept and kept.recipe.prompt == "a fox"


@pytest.mark.parametrize("time", ["2026-02-30/120000", "2026-01-01/250000", "0001-01-01/000000", "9999-12-31/235959"])
def test_a_time_that_cannot_be_does_not_count(library: Library, folder: Path, time: str) -> None:
    path = own(folder / f"{time}-{'0' * 16}-s7.png")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (found,) = found_in(library, folder).values()
    assert found.record and found.record.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    own(folder / "ages ago.png", seed=9)
    os.utime(folder / "ages ago.png", (0, 10**11))
    found = found_in(library, folder)["ages ago.png"]
    assert found.record and found.record.created_at > datetime(2026, 1, 1, tzinfo=UTC)
    assert library.get(found.record.id) == found.record and library.shows(found.record.path)


def test_what_is_left_out_is_told_with_its_reason(library: Library, folder: Path) -> None:
    own(folder / "good.png")
    own(folder / "scaled.png", size=(64, 64))
    own(folder / "nameless.png", checkpoint="")
    cut = own(folder / "cut.png")
    cut.write_bytes(cut.read_bytes()[:-500])
    spoiled = own(folder / "spoiled.png")
    content = spoiled.read_bytes()
    place = content.index(b"IDAT") + 8
    spoiled.write_bytes(content[:place] + bytes(200) + content[place + 200 :])
    png(folder / "plain.png")
    comfyui(folder / "comfy.png", graph())
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.png").touch()
    (folder / "line\nbreak\u202e.png").write_text("x")
    os.mkfifo(folder / "pipe.png")
    told = {
        "scaled.png": "has 64 × 64 pixels, and its recipe says 512 × 512",
        "nameless.png": "names no checkpoint",
        "cut.png": "is damaged or incomplete",
        "spoiled.png": "is damaged or incomplete",
        "plain.png": "holds no settings that are known",
        "comfy.png": "was made by ComfyUI — load its settings on the page",
        "notes.txt": "is no PNG, JPEG or WebP",
        "empty.png": "is no PNG, JPEG or WebP",
        "line\nbreak\u202e.png": "is no PNG, JPEG or WebP",
        "pipe.png": "is not a plain file",
    }
    found = found_in(library, folder)
    assert found.pop("good.png").kind == "taken in"
    assert found.pop("comfy.png").kind == "of another tool"
    for name, each in found.items():
        assert each.kind == "left out" and told[name] in each.reason, (name, each.reason)
    assert library.records.count() == 1


def test_no_link_is_followed(library: Library, folder: Path, tmp_path: Path) -> None:
    own(tmp_path / "outside" / "a.png")
    (folder / "file.png").symlink_to(tmp_path / "outside" / "a.png")
    (folder / "folder").symlink_to(tmp_path / "outside")
    (folder / "round").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "missing")
    found = found_in(library, folder)
    assert set(found) == {"file.png", "folder", "round", "nowhere"} and library.records.count() == 0
    assert all("is a link, which is not followed" in each.reason for each in found.values())


def test_what_systems_put_there_is_passed_over(library: Library, folder: Path) -> None:
    for name in CLUTTER:
        (folder / name.replace("*", "x")).write_text("x")
    (folder / "inside").mkdir()
    own(folder / "inside" / "__MACOSX" / "a.png")
    assert found_in(library, folder) == {}


def test_a_folder_that_cannot_be_read_does_not_end_the_rest(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(folder / "locked" / "a.png")
    own(folder / "open" / "b.png")
    scandir = os.scandir

    def refused(path: Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = found_in(library, folder)
    assert "cannot be read (Permission denied)" in found["locked"].reason
    assert found["open/b.png"].kind == "taken in"


def test_the_library_itself_is_not_gone_through(library: Library, tmp_path: Path) -> None:
    library.save(recipe_of(), picture(recipe_of()), 1.0)
    found = found_in(library, tmp_path)
    assert found["library"].reason == "'library' is this library itself"
    assert not any(each.kind == "taken in" for each in found.values())


def test_a_library_that_cannot_be_written_ends_it(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(folder / "a.png")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("krea_studio.files._sync", full)
    with pytest.raises(StorageError, match="is full"):
        list(import_folder(library, folder))
    assert library.records.count() == 0


@pytest.mark.parametrize("name", ["missing", "file.png", "a\0b"])
def test_what_is_no_folder_is_told_at_once(library: Library, folder: Path, name: str) -> None:
    (folder / "file.png").touch()
    with pytest.raises(InvalidRequest, match="is no folder — give a folder of pictures"):
        import_folder(library, folder / name)


def test_files_come_in_as_those_of_a_folder_do(library: Library, folder: Path) -> None:
    """Each by its name alone: where a page keeps what was uploaded to it is nobody's business."""
    mine, foreign, broken = own(folder / "one" / "a.png"), folder / "two" / "b.png", folder / "three" / "c.png"
    for path in (foreign, broken):
        path.parent.mkdir()
    comfyui(foreign, graph())
    broken.write_bytes(b"no picture")
    found = list(import_files(library, [str(mine), foreign, broken, folder / "gone.png"], Person("ada")))
    assert [(each.path, each.kind) for each in found] == [
        ("a.png", "taken in"),
        ("b.png", "of another tool"),
        ("c.png", "left out"),
        ("gone.png", "left out"),
    ]
    assert all(str(folder) not in each.reason for each in found)
    assert [record.id for record in library.recent(9, Person("ada"))] == [found[0].record.id]
    assert [each.kind for each in import_files(library, [mine], Person("ada"))] == ["here already"]


def test_a_picture_that_only_others_see_is_not_here_already(library: Library, folder: Path) -> None:
    path = own(folder / "a.png")
    ada, bob = Person("ada"), Person("bob")
    for person in (ada, bob):
        assert [each.kind for each in import_files(library, [path], person)] == ["taken in"]
        assert len(library.recent(9, person)) == 1
    assert [each.kind for each in import_files(library, [path], bob)] == ["here already"]
