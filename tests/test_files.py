"""What was kept is on disk for good before anybody is told; what systems leave beside files is told by its name."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from krea_studio.direction.styles import StyleFacts
from krea_studio.files import (
    LOCK_FILE,
    is_clutter,
    make_folder,
    move,
    one_change,
    remove,
    whole,
    without_clutter,
    write_whole,
)
from krea_studio.library.store import Library
from krea_studio.library.styles.folder import RECORD_FILE, StyleFolder
from krea_studio.style_intake import StyleIntake
from krea_studio.training.adapters import adapter
from tests.doubles import PlainDoctor, write_style
from tests.library.test_store import save

Call = tuple[str, int]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What is synced, and what is renamed, by their numbers on the disk, in the order in which it happens."""
    found: list[Call] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        found.append(("sync", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def renamed(source: Path, path: Path) -> None:
        found.append(("rename", os.stat(source).st_ino))
        replace(source, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return found


def assert_kept(path: Path, calls: list[Call]) -> None:
    """A file was synced before it got its name, and then the folder that says so."""
    number, folder = path.stat().st_ino, path.parent.stat().st_ino
    name = max(place for place, call in enumerate(calls) if call == ("rename", number))
    assert ("sync", number) in calls[:name], f"{path} got its name before its content was on disk"
    assert ("sync", folder) in calls[name:], f"{path} was told before its name was on disk"


def kept_picture(library: Library, tmp_path: Path) -> list[Path]:
    record = save(library)
    return [record.path, record.thumbnail]


def kept_in_the_bin(library: Library, tmp_path: Path) -> list[Path]:
    deleted = library.bin.delete(save(library).id)
    return [deleted.path, deleted.thumbnail]


def kept_from_the_bin(library: Library, tmp_path: Path) -> list[Path]:
    restored = library.bin.restore(library.bin.delete(save(library).id).id)
    return [restored.path, restored.thumbnail]


def kept_reference(library: Library, tmp_path: Path) -> list[Path]:
    return [library.references.path(library.references.add_picture(Image.new("RGB", (64, 64), "teal")))]


def kept_moodboard(library: Library, tmp_path: Path) -> list[Path]:
    boards = library.moodboards
    boards.create("Dusk")
    boards.rename("Dusk", "Dawn")
    boards.export("Dawn", tmp_path / "exports" / "dawn.zip")
    return [*boards.folder.glob("*.json"), tmp_path / "exports" / "dawn.zip"]


def kept_style(library: Library, tmp_path: Path) -> list[Path]:
    with library.styles.incoming() as path:
        write_style(path)
        card = library.styles.keep(path, "Etching", StyleFacts(source="file"))
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "cover.png")
    library.styles.set_cover("Etching", tmp_path / "cover.png")
    weights = library.styles.path(card.identity)
    return [weights, weights.with_suffix(".json"), weights.with_suffix(".png")]


def kept_folder_of_styles(library: Library, tmp_path: Path) -> list[Path]:
    write_style(tmp_path / "mine" / "etching.safetensors")
    StyleIntake(library.styles, tmp_path / "mine", PlainDoctor()).import_folder()
    assert StyleFolder(tmp_path / "mine", library.styles.folder).new() == {}
    return [library.styles.folder / RECORD_FILE, *library.styles.folder.glob("*.safetensors")]


def kept_trained_file(library: Library, tmp_path: Path) -> list[Path]:
    path = tmp_path / "trained" / "etching.safetensors"
    adapter.write({"transformer.x.lora_A.weight": torch.ones(2, 4)}, path, {})
    return [path]


KINDS = [
    *(kept_picture, kept_in_the_bin, kept_from_the_bin, kept_reference, kept_moodboard, kept_style),
    *(kept_folder_of_styles, kept_trained_file),
]


@pytest.mark.parametrize("keep", KINDS, ids=lambda keep: keep.__name__)
def test_what_is_kept_is_on_disk_before_it_has_its_name_and_its_name_before_it_is_told(
    keep: Callable[[Library, Path], list[Path]], library: Library, tmp_path: Path, calls: list[Call]
) -> None:
    kept = keep(library, tmp_path)
    assert kept
    for path in kept:
        assert_kept(path, calls)


def test_a_new_folder_is_on_disk_with_all_that_are_above_it(tmp_path: Path, calls: list[Call]) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    synced = [number for _, number in calls]
    assert synced == [folder.stat().st_ino for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")]
    make_folder(tmp_path / "a" / "b")
    assert len(calls) == 3
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        make_folder(tmp_path / "file" / "a")


def test_what_was_deleted_does_not_come_back(library: Library, tmp_path: Path, calls: list[Call]) -> None:
    kept_style(library, tmp_path)
    library.moodboards.create("Dusk")
    calls.clear()
    library.moodboards.delete("Dusk")
    assert calls == [("sync", library.moodboards.folder.stat().st_ino)]
    library.styles.delete("Etching")
    assert calls[1:] == 3 * [("sync", library.styles.folder.stat().st_ino)]
    with pytest.raises(FileNotFoundError):
        remove(tmp_path / "nothing")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_what_cannot_be_synced_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    write_whole(tmp_path / "kept", b"old")
    monkeypatch.setattr(os, "fsync", failing)
    for path in (tmp_path / "kept", tmp_path / "new"):
        with pytest.raises(OSError, match=os.strerror(code)):
            write_whole(path, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_bytes() == b"old"


def test_a_file_system_that_syncs_no_folders_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def files_alone(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    write_whole(tmp_path / "deep" / "kept", b"new")
    assert (tmp_path / "deep" / "kept").read_bytes() == b"new"


def test_a_folder_of_files_moves_as_a_whole(tmp_path: Path) -> None:
    with whole(tmp_path / "made" / "kept") as file:
        file.write_bytes(b"new")
    move(tmp_path / "made", tmp_path / "moved")
    assert [path.name for path in (tmp_path / "moved").iterdir()] == ["kept"]
    shutil.rmtree(tmp_path / "moved")


@pytest.mark.parametrize(
    "path",
    [
        "._fox.png",
        "pictures/._fox.png",
        ".DS_Store",
        "__MACOSX/Dusk/._moodboard.json",
        "__macosx/a",
        "Thumbs.db",
        "THUMBS.DB",
        "ehthumbs_vista.db",
        "Desktop.ini",
        "desktop.ini",
        "@eaDir/fox.png/SYNOFILE_THUMB_M.png",
        ".AppleDouble/fox.png",
        "$RECYCLE.BIN/a.png",
        "._line\nbreak",
    ],
)
def test_what_systems_leave_is_clutter(path: str) -> None:
    assert is_clutter(path) and is_clutter(Path(path))


@pytest.mark.parametrize("path", ["fox.png", "_fox.png", ".fox.png", "thumbs.png", "a._b.png", "MACOSX/fox.png", ""])
def test_what_a_person_names_is_none(path: str) -> None:
    assert not is_clutter(path)


def test_clutter_is_left_out_where_there_is_anything_else() -> None:
    assert without_clutter(["a/._fox.png", "a/fox.png", Path("Thumbs.db")]) == ["a/fox.png"]
    # Alone, it is what a person gave, and is refused as such.
    assert without_clutter(["._fox.png"]) == ["._fox.png"]
    assert without_clutter([]) == []


def test_to_wait_for_one_s_turn_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    with one_change(tmp_path, "The bin"):
        pass
    lock = tmp_path / LOCK_FILE
    before = lock.stat().st_mtime_ns
    with one_change(tmp_path, "The bin"):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE], "no journal"
    assert lock.stat().st_mtime_ns == before
