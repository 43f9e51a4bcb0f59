"""Boards keep what they were given, one board a name; a stranger's zip becomes a whole board or leaves no trace."""

import io
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.direction.moodboards import MAX_IMAGES, Analysis, Cluster, Moodboard, Swatch
from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.files import LOCK_FILE
from krea_studio.library import moodboard_files, store
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.pictures.loader import load_picture_bytes
from krea_studio.library.references import Reference, References
from krea_studio.library.store import Library
from tests.library.pictures.test_loader import encoded, noise


@pytest.fixture
def boards(tmp_path: Path) -> Moodboards:
    return Moodboards(tmp_path / "library" / "moodboards", References(tmp_path / "library" / "references"))


def plain(number: int) -> Image.Image:
    return Image.new("RGB", (32, 32), (number % 256, number // 256, 0))


def picture_file(folder: Path, number: int) -> Path:
    path = folder / f"picture-{number}.png"
    path.write_bytes(encoded(plain(number)))
    return path


def id_of(number: int) -> str:
    return Reference.of(plain(number)).id


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` with its content, but for locks."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def analysis_of(*images: str) -> Analysis:
    return Analysis(
        taste_profile="Soft light — weiches Licht 柔らかい",
        keywords=("soft",),
        avoids=("neon",),
        palette=(Swatch(colour="#aabbcc", share=0.25),),
        clusters=(Cluster(images=images), Cluster(images=images[::-1])),
        written_by="measured",
    )


def filled(boards: Moodboards, folder: Path, name: str = "Foxes") -> Moodboard:
    """A board of two pictures with an analysis."""
    boards.create(name)
    boards.add(name, [picture_file(folder, number) for number in range(2)])
    return boards.keep_analysis(name, analysis_of(id_of(0), id_of(1)))


def test_a_board_keeps_what_it_was_given(boards: Moodboards, tmp_path: Path) -> None:
    board = boards.create("Foxes")
    assert board == Moodboard(name="Foxes") == boards.get("Foxes")
    paths = [picture_file(tmp_path, number) for number in (2, 0, 1)]
    board = boards.add("Foxes", paths)
    assert board.images == (id_of(2), id_of(0), id_of(1))
    boards.references.require(board.images)

    board = boards.keep_analysis("Foxes", analysis_of(*board.images))
    assert boards.get("Foxes") == board and not board.changed
    board = boards.remove("Foxes", id_of(0))
    assert boards.get("Foxes") == board and board.images == (id_of(2), id_of(1)) and board.changed
    assert boards.add_references("Foxes", [id_of(0), id_of(1)]).images == (id_of(2), id_of(1), id_of(0))
    assert Moodboards(boards.folder, boards.references).get("Foxes") == boards.get("Foxes")


def test_an_analysis_leaves_what_was_done_meanwhile(boards: Moodboards, tmp_path: Path) -> None:
    board = filled(boards, tmp_path)
    begun, images = board.analysis, board.images
    off = begun.model_copy(
        update={"keywords": ("mine",), "clusters": tuple(c.model_copy(update={"on": False}) for c in begun.clusters)}
    )
    boards.change_analysis("Foxes", lambda analysis: off)
    found = begun.model_copy(
        update={"keywords": ("found",), "avoids": ("found",), "clusters": (Cluster(images=images),) * 2}
    )
    kept = boards.keep_analysis("Foxes", found, begun).analysis
    assert (kept.keywords, kept.avoids) == (("mine",), ("found",))
    assert [cluster.on for cluster in kept.clusters] == [False, False]
    assert boards.keep_analysis("Foxes", found, kept).analysis.keywords == ("found",)


def test_a_lost_picture_is_called_by_its_place(boards: Moodboards, tmp_path: Path) -> None:
    board = filled(boards, tmp_path)
    assert list(boards.read(board)) == list(board.images)
    boards.references.path(board.images[1]).unlink()
    with pytest.raises(InvalidRequest, match="^Picture 2 of moodboard 'Foxes' is not in the library any more — "):
        boards.read(board)


def test_names_are_sorted_and_blind_to_case(boards: Moodboards) -> None:
    assert boards.names() == [] and not boards.folder.exists()
    for name in ("pears", "Äpfel", "Zebras", "apples"):
        boards.create(name)
    assert boards.names() == ["apples", "pears", "Zebras", "Äpfel"]
    assert boards.get("PEARS").name == "pears"
    assert boards.get("A\u0308PFEL").name == "Äpfel"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a fox \n", "a fox"),
        ("a\x00\x1b fox", "a fox"),
        ("a\t\r\n fox", "a fox"),
        ("../../etc/passwd", "../../etc/passwd"),
    ],
)
def test_names_are_one_line_and_never_a_path(boards: Moodboards, tmp_path: Path, given: str, kept: str) -> None:
    assert boards.create(given).name == kept
    assert boards.names() == [kept]
    assert boards.get(given) == boards.get(kept)
    (file,) = tree(tmp_path)
    assert Path(file).parent == Path("library/moodboards") and len(Path(file).stem) == 32


@pytest.mark.parametrize("name", ["", "  \n", "\x00", "x" * 201, "\ud800", 7, None])
def test_bad_names_are_refused_everywhere(boards: Moodboards, tmp_path: Path, name: object) -> None:
    boards.create("Foxes")
    before = tree(tmp_path)
    uses: list[Callable[[], object]] = [
        lambda: boards.create(name),
        lambda: boards.get(name),
        lambda: boards.rename("Foxes", name),
        lambda: boards.rename(name, "Wolves"),
        lambda: boards.delete(name),
        lambda: boards.add(name, []),
        lambda: boards.export(name, tmp_path / "a.zip"),
    ]
    for use in uses:
        with pytest.raises(InvalidRequest, match="The moodboard's name .*(1 to 200 characters|paste the text again)$"):
            use()
    assert tree(tmp_path) == before


def test_a_missing_board_is_told_with_those_that_exist(boards: Moodboards) -> None:
    with pytest.raises(InvalidRequest, match="There is no moodboard 'Foxes' — create it first"):
        boards.get("Foxes")
    for name in ("Foxes", "Wolves", "Boxes"):
        boards.create(name)
    with pytest.raises(InvalidRequest, match="There is no moodboard 'Foxs' — choose one of 'Foxes', 'Boxes'$"):
        boards.get("Foxs")
    uses: list[Callable[[], object]] = [
        lambda: boards.rename("zzz", "b"),
        lambda: boards.delete("zzz"),
        lambda: boards.add("zzz", ["missing.png"]),
        lambda: boards.add_references("zzz", []),
        lambda: boards.remove("zzz", id_of(0)),
        lambda: boards.keep_analysis("zzz", analysis_of(id_of(0))),
        lambda: boards.export("zzz", "a.zip"),
    ]
    for use in uses:
        with pytest.raises(
            InvalidRequest, match="There is no moodboard 'zzz' — choose one of 'Boxes', 'Foxes', 'Wolves'"
        ):
            use()
    assert not Path("a.zip").exists()


def test_a_name_is_there_once(boards: Moodboards) -> None:
    boards.create("Foxes")
    boards.create("Wolves")
    for again in ("Foxes", " foxes "):
        with pytest.raises(InvalidRequest, match="already — use another name"):
            boards.create(again)
        with pytest.raises(InvalidRequest, match="already — use another name"):
            boards.rename("Wolves", again)
    assert boards.names() == ["Foxes", "Wolves"]


def test_a_rename_keeps_everything_else(boards: Moodboards, tmp_path: Path) -> None:
    board = filled(boards, tmp_path)
    assert boards.rename("Foxes", "Red foxes") == board.model_copy(update={"name": "Red foxes"})
    assert boards.rename("red foxes", "RED FOXES").name == "RED FOXES"
    assert boards.names() == ["RED FOXES"]
    assert boards.get("RED FOXES").analysis == board.analysis


def test_a_deleted_board_leaves_its_pictures(boards: Moodboards, tmp_path: Path) -> None:
    board = filled(boards, tmp_path)
    boards.delete("foxes")
    assert boards.names() == []
    boards.references.require(board.images)
    boards.create("Foxes")


def test_pictures_are_added_all_or_none(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    before = tree(tmp_path / "library")
    with pytest.raises(InvalidRequest, match="does not exist"):
        boards.add("Foxes", [picture_file(tmp_path, 0), tmp_path / "missing.png"])
    with pytest.raises(InvalidRequest, match="is not in the library any more"):
        boards.add_references("Foxes", [id_of(0)])
    assert tree(tmp_path / "library") == before
    path = picture_file(tmp_path, 0)
    assert boards.add("Foxes", [path, path]).images == boards.add("Foxes", [path]).images == (id_of(0),)


def test_a_board_has_a_most(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    ids = [boards.references.add_picture(plain(number)) for number in range(MAX_IMAGES)]
    boards.add_references("Foxes", ids)
    before = tree(tmp_path / "library")
    for paths in ([picture_file(tmp_path, MAX_IMAGES)], [picture_file(tmp_path, 0)] * (MAX_IMAGES + 1)):
        with pytest.raises(InvalidRequest, match="cannot take 201 pictures — give at most 200"):
            boards.add("Foxes", paths)
    assert tree(tmp_path / "library") == before
    assert len(boards.add("Foxes", [picture_file(tmp_path, 5)]).images) == MAX_IMAGES
    boards.export("Foxes", tmp_path / "foxes.zip")
    assert boards.import_(tmp_path / "foxes.zip").images == tuple(ids)


def test_several_pictures_leave_together_or_not_at_all(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    board = boards.add("Foxes", [picture_file(tmp_path, number) for number in range(4)])
    with pytest.raises(InvalidRequest, match="has no picture"):
        boards.remove("Foxes", id_of(0), id_of(9))
    assert boards.get("Foxes") == board
    assert boards.remove("Foxes", id_of(2), id_of(0)).images == (id_of(1), id_of(3))


def test_an_analysis_of_another_board_s_pictures_is_refused(boards: Moodboards, tmp_path: Path) -> None:
    filled(boards, tmp_path)
    boards.rename("Foxes", "Wolves")
    boards.create("Foxes")
    board = boards.add("Foxes", [picture_file(tmp_path, 7)])
    with pytest.raises(InvalidRequest, match="None of the pictures that were analyzed is on moodboard 'Foxes'"):
        boards.keep_analysis("Foxes", analysis_of(id_of(0), id_of(1)))
    assert boards.get("Foxes") == board
    assert boards.keep_analysis("Foxes", analysis_of(id_of(0), id_of(7))).changed


def test_a_picture_that_is_not_there_cannot_be_removed(boards: Moodboards) -> None:
    boards.create("Foxes")
    with pytest.raises(InvalidRequest, match="Moodboard 'Foxes' has no picture"):
        boards.remove("Foxes", id_of(0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not valid JSON — use the original file"),
        (b"{", "is not valid JSON — use the original file"),
        (b'{"schema_version": 3}', "schema version 3, this studio reads 2 — open it with the version"),
        (b'{"schema_version": 1}', "The moodboard's name is missing — give a text"),
        (b'{"schema_version": 1, "name": "Wolves"}', "has the name of another moodboard — delete it"),
    ],
)
def test_a_damaged_board_is_left_out_and_told(
    boards: Moodboards, caplog: pytest.LogCaptureFixture, content: bytes, words: str
) -> None:
    boards.create("Cats")
    kept = set(boards.folder.iterdir())
    boards.create("Foxes")
    (path,) = set(boards.folder.iterdir()) - kept
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert boards.names() == ["Cats"]
    assert str(path) in caplog.text
    with pytest.raises(StorageError, match=words):
        boards.get("Foxes")
    boards.delete("Foxes")
    boards.create("Foxes")


def test_foreign_files_are_left_alone(boards: Moodboards) -> None:
    boards.create("Foxes")
    (boards.folder / "notes.json").write_text("{}")
    (boards.folder / f"{'a' * 32}.json.1234.part").write_text("{")
    assert boards.names() == ["Foxes"]


def test_an_unusable_folder_is_told(boards: Moodboards, tmp_path: Path) -> None:
    boards.folder.parent.mkdir()
    boards.folder.touch()
    for use in (boards.names, lambda: boards.get("a"), lambda: boards.create("a"), lambda: boards.delete("a")):
        with pytest.raises(StorageError, match="cannot be (read|written)"):
            use()


def test_a_failed_write_changes_nothing(boards: Moodboards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = filled(boards, tmp_path)
    before = tree(tmp_path)

    def full(*paths: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    for use in (
        lambda: boards.create("Cats"),
        lambda: boards.rename("Foxes", "Cats"),
        lambda: boards.remove("Foxes", board.images[0]),
        lambda: boards.add("Foxes", [tmp_path / "picture-0.png"]),
        lambda: boards.export("Foxes", tmp_path / "a.zip"),
    ):
        with pytest.raises(StorageError, match="is full — free some space"):
            use()
    assert tree(tmp_path) == before


CREATING = """
import sys
from pathlib import Path
from krea_studio.errors import InvalidRequest
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.references import References

boards = Moodboards(Path(sys.argv[1]) / "moodboards", References(Path(sys.argv[1]) / "references"))
for number in range(20):
    try:
        boards.create(f"board {number}")
        print(number)
    except InvalidRequest:
        pass
"""


def test_of_two_processes_one_creates_a_board(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CREATING, str(tmp_path)]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    created = [int(line) for output in outputs for line in output.split()]
    assert sorted(created) == list(range(20))


def test_of_many_threads_one_creates_a_board_and_no_picture_is_lost(boards: Moodboards) -> None:
    ids = [boards.references.add_picture(plain(number)) for number in range(8)]
    created = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        with suppress(InvalidRequest):
            created.append(boards.create("Foxes"))
        boards.add_references("Foxes", [ids[number]])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1
    assert set(boards.get("Foxes").images) == set(ids)


def test_changes_of_an_analysis_by_many_threads_are_all_kept(boards: Moodboards, tmp_path: Path) -> None:
    filled(boards, tmp_path)

    def append(word: str) -> None:
        boards.change_analysis("foxes", lambda found: found.model_copy(update={"keywords": (*found.keywords, word)}))

    threads = [threading.Thread(target=append, args=(f"word {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(boards.get("Foxes").analysis.keywords) == ["soft", *(f"word {number}" for number in range(8))]


def test_an_analysis_that_is_not_there_cannot_be_changed(boards: Moodboards) -> None:
    boards.create("Foxes")
    with pytest.raises(InvalidRequest, match="was not analyzed — analyze it first"):
        boards.change_analysis("Foxes", lambda analysis: analysis)


def test_a_board_goes_from_studio_to_studio(boards: Moodboards, tmp_path: Path) -> None:
    board = filled(boards, tmp_path)
    boards.export("foxes", tmp_path / "out" / "foxes.zip")
    boards.export("foxes", tmp_path / "again.zip")
    assert (tmp_path / "out" / "foxes.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert archive.namelist() == ["moodboard.json", *(f"images/{image}.png" for image in board.images)]

    other = Moodboards(tmp_path / "other" / "moodboards", References(tmp_path / "other" / "references"))
    assert other.import_(tmp_path / "again.zip") == board == other.get("Foxes")
    other.references.require(board.images)
    assert other.references.read(board.images[0]) == boards.references.read(board.images[0])
    other.export("Foxes", tmp_path / "third.zip")
    assert (tmp_path / "third.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_an_empty_board_can_travel(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    boards.export("Foxes", tmp_path / "a.zip")
    assert boards.import_(tmp_path / "a.zip", " Cats ") == Moodboard(name="Cats")


def test_a_taken_name_gets_a_number(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    boards.export("Foxes", tmp_path / "a.zip")
    assert [boards.import_(tmp_path / "a.zip").name for _ in range(2)] == ["Foxes 2", "Foxes 3"]
    assert boards.import_(tmp_path / "a.zip", "foxes 2").name == "foxes 2 2"
    long = boards.create("x" * 200).name
    assert boards.import_(tmp_path / "a.zip", long).name == "x" * 198 + " 2"
    spaced = boards.create("x" * 197 + " yz").name
    assert boards.import_(tmp_path / "a.zip", spaced).name == "x" * 197 + " 2", "names have single spaces"


def test_an_export_that_cannot_be_written_is_told(boards: Moodboards, tmp_path: Path) -> None:
    board = filled(boards, tmp_path)
    before = tree(tmp_path)
    for path in (tmp_path, tmp_path / "picture-0.png" / "a.zip"):
        with pytest.raises(StorageError, match="cannot be written"):
            boards.export("Foxes", path)
    with pytest.raises(InvalidRequest, match="cannot be the name of a file"):
        boards.export("Foxes", "a\0.zip")
    boards.references.path(board.images[0]).unlink()
    with pytest.raises(InvalidRequest, match="is not in the library any more"):
        boards.export("Foxes", tmp_path / "a.zip")
    assert before.keys() - tree(tmp_path).keys() == {f"library/references/{board.images[0][:2]}/{board.images[0]}.png"}
    assert tree(tmp_path).keys() <= before.keys()


def board_json(*images: str, **fields: object) -> bytes:
    return json.dumps({"schema_version": 1, "name": "Foxes", "images": images, **fields}).encode()


def zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def member(number: int) -> tuple[str, bytes]:
    return f"images/{id_of(number)}.png", encoded(plain(number))


def test_a_zip_that_was_packed_by_hand_is_taken(boards: Moodboards, tmp_path: Path) -> None:
    made_up, gone = "1" * 32, "2" * 32
    analysis = analysis_of(made_up, gone).model_dump()
    members = [
        ("images/", b""),
        (f"images/{made_up}.png", encoded(noise(900, 700), "JPEG")),
        member(1),
        ("moodboard.json", board_json(made_up, id_of(1), made_up, analysis=analysis)),
    ]
    (tmp_path / "a.zip").write_bytes(zipped(members, zipfile.ZIP_DEFLATED))
    board = boards.import_(tmp_path / "a.zip")
    true = Reference.of(load_picture_bytes(encoded(noise(900, 700), "JPEG"), "a.jpg")).id
    assert board.images == (true, id_of(1))
    boards.references.require(board.images)
    assert board.analysis.clusters[0].images == (true, gone), "ids are corrected also where they were analyzed"
    assert board.analysis.clusters[0].representative == true


DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        "
Members = list[tuple[str | zipfile.ZipInfo, bytes]]


def doubled(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"__MACOSX/{folder}/._{name}"


@pytest.mark.parametrize(
    "repacked",
    [
        lambda members: [(f"Foxes/{path}", content) for path, content in members],
        lambda members: [*((f"a b/c/{path}", content) for path, content in members)],
        lambda members: [("Foxes/", b""), ("Foxes/images/", b""), *((f"Foxes/{p}", c) for p, c in members)],
        lambda members: [*members, *((doubled(path), DOUBLE) for path, _ in members)],
        lambda members: [(f"F/{p}", c) for p, c in members] + [(doubled(f"F/{p}"), DOUBLE) for p, _ in members],
        lambda members: [*members, (".DS_Store", b"x"), ("images/.DS_Store", b"x"), ("images/._a.png", DOUBLE)],
        lambda members: [*members, ("images/Thumbs.db", b"x"), ("desktop.ini", b"x"), ("DESKTOP.INI", b"x")],
        lambda members: [(path.replace("/", "\\"), content) for path, content in members],
        lambda members: [(f"Foxes\\{path}".replace("/", "\\"), content) for path, content in reversed(members)],
    ],
    ids=[
        "in its folder",
        "in two folders",
        "with entries of folders",
        "with doubles",
        "by the Finder",
        "with settings",
        "with thumbnails",
        "with backslashes",
        "by Windows in its folder",
    ],
)
def test_a_zip_that_a_system_packed_again_is_the_same_board(
    boards: Moodboards, tmp_path: Path, repacked: Callable[[Members], Members]
) -> None:
    board = filled(boards, tmp_path)
    boards.export("Foxes", tmp_path / "foxes.zip")
    with zipfile.ZipFile(tmp_path / "foxes.zip") as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    (tmp_path / "again.zip").write_bytes(zipped(repacked(members), zipfile.ZIP_DEFLATED))
    other = Moodboards(tmp_path / "other" / "moodboards", References(tmp_path / "other" / "references"))
    assert other.import_(tmp_path / "again.zip") == board


def test_a_board_takes_pictures_from_among_what_systems_put_beside_them(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    told: list[str] = []
    plain(0).save(tmp_path / "fox.png")
    for name in ("._fox.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(DOUBLE)
    assert boards.add("Foxes", sorted(tmp_path.glob("*.*")), told.append).images == (id_of(0),) and told == []
    with pytest.raises(InvalidRequest, match="'._fox.png' is not a PNG"):
        boards.add("Foxes", [tmp_path / "._fox.png"])


def test_a_board_tells_what_of_its_pictures_it_does_not_use(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Foxes")
    told: list[str] = []
    noise(900, 100).save(tmp_path / "wide.png")
    noise(90, 80).save(tmp_path / "odd.png", icc_profile=b"private")
    boards.add("Foxes", [tmp_path / "wide.png", tmp_path / "odd.png"], told.append)
    assert [words in line for words, line in zip(("'wide.png'", "'odd.png'"), told, strict=True)] == [True, True]


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[6] |= 1
    changed[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def with_member(name: str) -> bytes:
    return zipped([("moodboard.json", board_json()), (name, b"hello")])


def lying_about_size() -> bytes:
    """A deflated bomb of 8 MiB whose headers say that it has 100 bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(8 * 2**20)) + packer.flush()
    content = zipped([("moodboard.json", packed)])
    for at, method, size in ((0, 8, 22), (content.index(b"PK\x01\x02"), 10, 24)):
        content = content[: at + method] + b"\x08\0" + content[at + method + 2 :]
        content = content[: at + size] + (100).to_bytes(4, "little") + content[at + size + 4 :]
    return content


def zip64(content: bytes) -> bytes:
    """The same zip with a zip64 locator before its end."""
    return content[:-22] + b"PK\x06\x07" + bytes(16) + content[-22:]


def hostile_archives() -> dict[str, tuple[bytes, str]]:
    good = zipped([("moodboard.json", board_json(id_of(0))), member(0)])
    bomb = zipped([("moodboard.json", bytes(8 * 2**20))], zipfile.ZIP_DEFLATED)
    pictures = [member(number) for number in range(2)]
    analysis, swatch = analysis_of(id_of(0)).model_dump(), {"colour": "#aabbcc", "share": float("nan")}
    no_part = "which is no part of a moodboard"
    return {
        "not a zip": (b"hello", "is not a plain zip"),
        "a picture": (encoded(plain(0)), "is not a plain zip"),
        "truncated": (good[:-1], "is not a plain zip"),
        "without its directory": (good[: good.index(b"PK\x01\x02")] + good[-22:], "is damaged"),
        "without its first half": (good[len(good) // 2 :], "is damaged"),
        "changed content": (good.replace(b"Foxes", b"Boxes"), "is damaged"),
        "zip64": (zip64(good), "is not a plain zip"),
        "endless directory": (
            zipped([(f"images/{number:032x}.png", b"") for number in range(4000)]),
            "holds too many files",
        ),
        "many pictures": (
            zipped([(f"images/{number:032x}.png", b"") for number in range(MAX_IMAGES + 2)]),
            "holds more than 200 pictures",
        ),
        "empty": (zipped([]), "lacks moodboard.json"),
        "climbing": (with_member("../../climbed.png"), no_part),
        "climbing in images": (with_member("images/../../climbed.png"), no_part),
        "absolute": (with_member("/tmp/climbed.png"), no_part),
        "backslashes": (with_member("..\\climbed.png"), no_part),
        "all of it climbing": (zipped([("../moodboard.json", board_json())]), no_part),
        "all of it climbing within": (zipped([("a/../../moodboard.json", board_json())]), no_part),
        "all of it absolute": (zipped([("/tmp/moodboard.json", board_json())]), no_part),
        "all of it on a drive": (zipped([("C:\\moodboard.json", board_json())]), no_part),
        "two boards": (zipped([("a/moodboard.json", board_json()), ("b/moodboard.json", board_json())]), no_part),
        "backslashes twice": (
            zipped([("moodboard.json", board_json(id_of(0))), member(0), (f"images\\{id_of(0)}.png", b"")]),
            "twice",
        ),
        "a double alone": (zipped([(doubled("moodboard.json"), board_json())]), "lacks moodboard.json"),
        "a drive": (with_member("C:/climbed.png"), no_part),
        "unknown": (with_member("notes.txt"), no_part),
        "a zip in it": (with_member("more.zip"), no_part),
        "a folder": (with_member("more/"), no_part),
        "a line break": (with_member("a\nb"), no_part),
        "cut by NUL": (with_member("images/_.png").replace(b"images/_.png", b"images/\0.png"), no_part),
        "json twice": (zipped([("moodboard.json", board_json())] * 2), "holds 'moodboard.json' twice"),
        "a picture twice": (zipped([("moodboard.json", board_json(id_of(0))), member(0), member(0)]), "twice"),
        "a link": (zipped([("moodboard.json", board_json(id_of(0))), (link(member(0)[0]), b"/etc/passwd")]), no_part),
        "a linked json": (zipped([(link("moodboard.json"), b"/etc/passwd")]), no_part),
        "encrypted": (encrypted(good), "is encrypted"),
        "lzma": (zipped([("moodboard.json", board_json())], zipfile.ZIP_LZMA), "other than deflate"),
        "bzip2": (zipped([("moodboard.json", board_json())], zipfile.ZIP_BZIP2), "other than deflate"),
        "a bomb": (bomb, "holds too much: moodboard.json goes beyond 1,048,576 bytes"),
        "a lying bomb": (lying_about_size(), "is damaged"),
        "no json": (zipped(pictures), "lacks moodboard.json"),
        "broken json": (zipped([("moodboard.json", b"{")]), "is not valid JSON"),
        "deep json": (zipped([("moodboard.json", b"[" * 200_000)]), "is not valid JSON"),
        "a huge number": (zipped([("moodboard.json", b"9" * 5000)]), "is not valid JSON"),
        "a list": (zipped([("moodboard.json", b"[]")]), "schema version None, this studio reads 2"),
        "another version": (
            zipped([("moodboard.json", board_json(schema_version=3))]),
            "schema version 3, this studio reads 2",
        ),
        "an unknown field": (
            zipped([("moodboard.json", board_json(path="/etc/passwd"))]),
            "'path' is not a field of a moodboard",
        ),
        "no name": (zipped([("moodboard.json", board_json(name="\x00 "))]), "name is empty"),
        "a bad id": (zipped([("moodboard.json", board_json("../../etc/passwd"))]), "The moodboard's images, number 1"),
        "too many ids": (
            zipped([("moodboard.json", board_json(*map(id_of, range(201))))]),
            "has 201 entries — give a list of at most 200",
        ),
        "half of a pair": (zipped([("moodboard.json", board_json(name="\ud800"))]), "is not valid Unicode"),
        "not a number": (
            zipped([("moodboard.json", board_json(id_of(0), analysis={**analysis, "palette": [swatch]}))]),
            "share is nan — give a number from 0 to 1",
        ),
        "a missing picture": (
            zipped([("moodboard.json", board_json(id_of(0), id_of(1))), pictures[0]]),
            f"lacks images/{id_of(1)}.png",
        ),
        "a surplus picture": (
            zipped([("moodboard.json", board_json(id_of(0))), *pictures]),
            "which its moodboard does not name",
        ),
        "a text as a picture": (
            zipped([("moodboard.json", board_json(id_of(0), id_of(1))), pictures[0], (pictures[1][0], b"hello")]),
            "is not a PNG, JPEG, WebP, AVIF or HEIC picture",
        ),
        "a damaged picture": (
            zipped([("moodboard.json", board_json(id_of(0))), (pictures[0][0], pictures[0][1][:60])]),
            "is damaged or incomplete",
        ),
        "a tiny picture": (
            zipped([("moodboard.json", board_json(id_of(0))), (pictures[0][0], encoded(Image.new("RGB", (8, 8))))]),
            "give at least 32 a side",
        ),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zips_leave_no_trace(boards: Moodboards, tmp_path: Path) -> None:
    boards.create("Cats")
    (tmp_path / "given").mkdir()
    path = tmp_path / "given" / "a.zip"
    for kind, (content, words) in hostile_archives().items():
        path.write_bytes(content)
        before = tree(tmp_path)
        with pytest.raises(InvalidRequest) as caught:
            boards.import_(path)
        message = caught.value.message
        assert words in message and " — " in message and "\n" not in message, (kind, message)
        assert tree(tmp_path) == before, kind
    assert boards.names() == ["Cats"]


def test_what_is_decompressed_is_limited_in_all(
    boards: Moodboards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [member(number) for number in range(4)]
    (tmp_path / "a.zip").write_bytes(zipped([("moodboard.json", board_json(*map(id_of, range(4)))), *pictures]))
    monkeypatch.setattr(moodboard_files, "MAX_ARCHIVE_BYTES", 500)
    with pytest.raises(InvalidRequest, match="holds too much"):
        boards.import_(tmp_path / "a.zip")
    assert not (tmp_path / "library").exists()


def test_pixels_are_counted_in_all_before_any_are_decoded(boards: Moodboards, tmp_path: Path) -> None:
    plain_png = encoded(Image.new("L", (5000, 6000)))
    members = [(f"images/{digit * 32}.png", plain_png) for digit in "12"]
    content = zipped([("moodboard.json", board_json("1" * 32, "2" * 32)), *members], zipfile.ZIP_DEFLATED)
    assert len(content) < 10_000
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InvalidRequest, match="'a.zip' holds too much: its pictures have more than 52,428,800 pixels"):
        boards.import_(tmp_path / "a.zip")
    assert not (tmp_path / "library").exists()


def test_damage_is_a_board_or_a_refusal_and_nothing_else() -> None:
    whole = zipped([("moodboard.json", board_json(id_of(0))), member(0)], zipfile.ZIP_DEFLATED)
    for at in range(0, len(whole), 3):
        try:
            moodboard_files.parse_archive(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :], "a.zip")
        except InvalidRequest as refusal:
            assert "\n" not in refusal.message


def test_paths_without_a_zip_are_told(boards: Moodboards, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist — give the zip of a moodboard"):
        boards.import_(tmp_path / "missing.zip")
    with pytest.raises(InvalidRequest, match="is a folder — give the zip of a moodboard"):
        boards.import_(tmp_path)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    folder.mkdir()
    for name in ("Foxes", "Wolves"):
        (folder / f"{name}.zip").write_bytes(zipped([("moodboard.json", board_json(id_of(0), name=name)), member(0)]))
    return folder


def test_a_library_begins_with_the_examples_once(tmp_path: Path, examples: Path) -> None:
    (examples / "broken.zip").write_bytes(b"hello")
    references = References(tmp_path / "library" / "references")
    boards = Moodboards(tmp_path / "library" / "moodboards", references, examples)
    assert not (tmp_path / "library").exists(), "nothing happens before somebody asks"
    assert boards.names() == ["Foxes", "Wolves"]
    references.require([id_of(0)])
    assert [path.name for path in (tmp_path / "library").iterdir() if path.name != "references"] == ["moodboards"]
    for name in boards.names():
        boards.delete(name)
    assert Moodboards(boards.folder, references, examples).names() == []


@pytest.mark.parametrize("first", [lambda b: b.get("Foxes"), lambda b: b.create("Cats"), lambda b: b.delete("Foxes")])
def test_examples_are_there_whatever_is_asked_first(
    tmp_path: Path, examples: Path, first: Callable[[Moodboards], object]
) -> None:
    boards = Moodboards(tmp_path / "moodboards", References(tmp_path / "references"), examples)
    first(boards)
    assert "Wolves" in boards.names()


def test_threads_that_come_at_once_see_all_examples(tmp_path: Path, examples: Path) -> None:
    boards = Moodboards(tmp_path / "library" / "moodboards", References(tmp_path / "library" / "references"), examples)
    seen: list[list[str]] = []
    threads = [threading.Thread(target=lambda: seen.append(boards.names())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["Foxes", "Wolves"]] * 4
    assert {path.name for path in (tmp_path / "library").iterdir()} == {"moodboards", "references"}


def test_examples_that_cannot_be_installed_are_only_logged(
    tmp_path: Path, examples: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    boards = Moodboards(tmp_path / "file" / "moodboards", References(tmp_path / "references"), examples)
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match="cannot be read"):
        boards.names()
    assert "The example moodboards are left out" in caplog.text


def test_a_library_has_references_and_moodboards(
    tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EXAMPLES_FOLDER", examples)
    library = Library(tmp_path / "library")
    assert {path.name for path in library.folder.iterdir() if path.is_dir()} == set(), "opened at once"
    assert library.moodboards.names() == ["Foxes", "Wolves"]
    assert library.moodboards.references is library.references
    assert library.references.path(id_of(0)).is_relative_to(library.folder / "references")
    library.close()
    again = Library(tmp_path / "library")
    assert again.moodboards.get("Foxes").images == (id_of(0),) and again.recent(9) == []
    again.close()


def test_a_new_name_turns_nothing_that_stands_beside_it(boards: Moodboards) -> None:
    turned = "\u202eDusk\u2066"
    assert boards.create(turned).name == "Dusk"
    assert boards.rename("Dusk", f"Night{turned}").name == "NightDusk"
