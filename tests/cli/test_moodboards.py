"""The command `moodboard`: the whole life of a board, and one line for whatever is refused."""

import io
import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from krea_studio.accounts.accounts import Accounts
from krea_studio.cli import main as cli
from krea_studio.files import LOCK_FILE
from krea_studio.library import store
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.references import References
from tests.test_architecture import MODEL_LIBRARIES, PAGE_LIBRARIES

ROOT = Path(__file__).parents[2]
COLOURS = {"red": (200, 30, 30), "crimson": (190, 20, 40), "blue": (20, 60, 200)}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory: three pictures, a text that is called a picture, and no examples."""
    monkeypatch.setattr(store, "EXAMPLES_FOLDER", tmp_path / "none")
    for name, colour in COLOURS.items():
        Image.new("RGB", (96, 64), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines on standard error of `moodboard` with these arguments."""
    code = cli.main(["moodboard", *shlex.split(command)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def done(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """Standard output of what has to succeed in silence."""
    code, out, errors = run(capsys, command)
    assert (code, errors) == (0, [])
    return out


def shown(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    return json.loads(done(capsys, f"show '{name}' --json"))


def boards_of(library: str) -> Moodboards:
    return Moodboards(Path(library) / store.MOODBOARD_FOLDER, References(Path(library) / store.REFERENCE_FOLDER))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of the boards and their pictures with its content, but for locks."""
    places = [folder / name for name in (store.MOODBOARD_FOLDER, store.REFERENCE_FOLDER)]
    found = [path for place in places for path in place.rglob("*") if path.is_file() and path.name != LOCK_FILE]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_the_whole_life_of_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert done(capsys, "list") == ""
    assert done(capsys, "create ' Red  things '") == "Red things  0 pictures, not analyzed\n"
    assert done(capsys, "add 'red things' red.png crimson.png red.png") == "Red things  2 pictures, not analyzed\n"
    assert "Profile" not in done(capsys, "show 'Red things'")

    analyzed = done(capsys, "analyze 'Red things'")
    head, *pictures, profile, keywords, avoids, palette, looks, look, author = analyzed.splitlines()
    assert head == "Red things  2 pictures, analyzed"
    assert [re.fullmatch(r"  +\d  (/.+\.png)", line) is not None for line in pictures] == [True, True]
    assert all(Path(line.split()[1]).is_file() for line in pictures)
    assert profile.startswith("Profile: A palette of ")
    assert keywords.startswith("Keywords: ") and avoids.startswith("Avoids: ")
    assert re.fullmatch(r"Palette: (#[0-9a-f]{6} \d+%(, )?)+", palette)
    assert (looks, look, author) == ("Looks:", "    1  100%, on: pictures 1, 2", "Written by: measured")
    assert done(capsys, "show 'Red things'") == done(capsys, "analyze 'Red things'") == analyzed

    assert done(capsys, "add 'Red things' blue.png") == "Red things  3 pictures, changed since it was analyzed\n"
    before = shown(capsys, "Red things")["pictures"]
    assert done(capsys, "remove 'Red things' 3 1 3") == "Red things  1 picture, changed since it was analyzed\n"
    assert shown(capsys, "Red things")["pictures"] == [before[1]]
    assert Path(before[0]["path"]).is_file()

    assert done(capsys, "rename 'Red things' Crimson") == "Crimson  1 picture, changed since it was analyzed\n"
    assert done(capsys, "create Äpfel") + done(capsys, "list") == (
        "Äpfel  0 pictures, not analyzed\n"
        "Crimson  1 picture, changed since it was analyzed\nÄpfel  0 pictures, not analyzed\n"
    )
    assert done(capsys, "delete crimson") == ""
    assert done(capsys, "list") == "Äpfel  0 pictures, not analyzed\n"


def test_json_has_all_of_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes red.png crimson.png blue.png")
    done(capsys, "create Owls")
    assert [json.loads(line) for line in done(capsys, "list --json").splitlines()] == [
        {"name": "Foxes", "count": 3, "analyzed": False, "changed": False, "owner": "", "team": False},
        {"name": "Owls", "count": 0, "analyzed": False, "changed": False, "owner": "", "team": False},
    ]
    assert shown(capsys, "Foxes")["analysis"] is None
    done(capsys, "analyze Foxes")
    told = shown(capsys, "Foxes")
    assert list(told) == ["name", "count", "analyzed", "changed", "owner", "team", "pictures", "analysis"]
    assert told["analysis"]["written_by"] == "measured"
    assert sum(cluster["share"] for cluster in told["analysis"]["clusters"]) == pytest.approx(1, abs=1e-3)
    grouped = [image for cluster in told["analysis"]["clusters"] for image in cluster["images"]]
    assert sorted(grouped) == sorted(picture["id"] for picture in told["pictures"])
    with Image.open(told["pictures"][2]["path"]) as image:
        assert image.getpixel((5, 5)) == COLOURS["blue"]


def test_what_of_a_picture_is_not_used_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (900, 100), "teal").save("view.png")
    Image.new("RGB", (64, 64), "navy").save("odd.png", icc_profile=b"private")
    code, out, notes = run(capsys, "create Views view.png odd.png")
    assert (code, out) == (0, "Views  2 pictures, not analyzed\n")
    assert [note[:6] for note in notes] == ["note: "] * 2 and "'view.png'" in notes[0] and "'odd.png'" in notes[1]


def test_one_picture_is_enough_for_an_analysis(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes red.png")
    assert "    1  100%, on: picture 1\n" in done(capsys, "analyze Foxes")


def test_edited_words_and_looks_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes red.png crimson.png blue.png")
    done(capsys, "analyze Foxes")
    count = len(shown(capsys, "Foxes")["analysis"]["clusters"])
    assert count > 1, "the pictures of this test must differ"

    out = done(capsys, "edit Foxes --profile ' Deep reds. ' --keywords 'deep red, , velvet' --avoids '' --looks 2")
    assert "Profile: Deep reds.\nKeywords: deep red, velvet\nAvoids: none\n" in out
    assert [line.split()[2] for line in out.splitlines() if "%, o" in line] == ["off:", "on:", *["off:"] * (count - 2)]
    assert done(capsys, "show Foxes") == done(capsys, "analyze Foxes") == out
    assert out.splitlines()[0] == "Foxes  3 pictures, analyzed"

    done(capsys, "edit Foxes --looks 1,2,1")
    told = shown(capsys, "Foxes")["analysis"]
    assert [cluster["on"] for cluster in told["clusters"]] == [True, True, *[False] * (count - 2)]
    assert (told["taste_profile"], told["keywords"]) == ("Deep reds.", ["deep red", "velvet"])
    done(capsys, "edit Foxes --looks ''")
    assert not any(cluster["on"] for cluster in shown(capsys, "Foxes")["analysis"]["clusters"])


def test_shares_are_those_of_the_pictures_that_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes red.png blue.png")
    done(capsys, "analyze Foxes")
    done(capsys, "remove Foxes 2")
    out = done(capsys, "show Foxes")
    assert "  100%, on: picture 1\n" in out and "  0%, on: no pictures any more\n" in out


def test_a_board_goes_to_another_library(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    done(capsys, "create Foxes red.png blue.png")
    done(capsys, "analyze Foxes")
    assert done(capsys, "export Foxes out/foxes.zip") == "out/foxes.zip\n"
    assert done(capsys, "import out/foxes.zip") == "Foxes 2  2 pictures, analyzed\n"
    assert done(capsys, "import out/foxes.zip --name Wölfe --library there") == "Wölfe  2 pictures, analyzed\n"
    assert done(capsys, "list --library there") == "Wölfe  2 pictures, analyzed\n"
    here, there = boards_of("outputs").get("Foxes"), boards_of("there").get("Wölfe")
    assert (here.images, here.analysis) == (there.images, there.analysis)
    boards_of("there").references.require(there.images)


def test_a_picture_that_has_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes red.png")
    (picture,) = shown(capsys, "Foxes")["pictures"]
    Path(picture["path"]).unlink()
    assert f"{picture['id']} is not in the library any more" in done(capsys, "show Foxes")
    assert shown(capsys, "Foxes")["pictures"] == [{"id": picture["id"], "path": None}]
    code, out, errors = run(capsys, "analyze Foxes")
    assert (code, out, len(errors)) == (2, "", 1)


def test_control_characters_of_a_stranger_stay_off_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes red.png")
    done(capsys, "analyze Foxes")
    boards = boards_of("outputs")
    found = boards.get("Foxes").analysis
    boards.keep_analysis("Foxes", found.model_copy(update={"written_by": "a\x1b[2J\nmodel", "keywords": ("a\tb",)}))
    out = done(capsys, "show Foxes")
    assert out.endswith("\nWritten by: a[2J model\n") and "Keywords: a b\n" in out


BAD = {
    "show Foxs": "There is no moodboard 'Foxs' — choose one of 'Foxes'",
    "add Owl red.png": "There is no moodboard 'Owl' — choose one of",
    "analyze Owl": "There is no moodboard 'Owl' — choose one of",
    "edit Owl --keywords a": "There is no moodboard 'Owl' — choose one of",
    "delete Owl": "There is no moodboard 'Owl' — choose one of",
    "export Owl owl.zip": "There is no moodboard 'Owl' — choose one of",
    "create foxes": "There is a moodboard 'foxes' already — use another name",
    "create Foxes red.png": "There is a moodboard 'Foxes' already — use another name",
    "rename Foxes empty": "There is a moodboard 'empty' already — use another name",
    "create ' '": "The moodboard's name is empty — give a text of 1 to 200 characters",
    "create Owls red.png text.png": "'text.png' is not a PNG, JPEG, WebP, AVIF or HEIC picture — save it as one",
    "create Owls missing.png": "'missing.png' does not exist — give a PNG, JPEG, WebP, AVIF or HEIC picture",
    "add Foxes blue.png text.png": "'text.png' is not a PNG, JPEG, WebP, AVIF or HEIC picture — save it as one",
    "add Foxes": "the following arguments are required: PICTURE — usage: python -m krea_studio moodboard add",
    "analyze Empty": "Moodboard 'Empty' has no pictures — add some",
    "remove Empty 1": "Moodboard 'Empty' has no pictures — there is nothing to remove",
    "remove Foxes 1 3": "NUMBER is '3' — give a whole number from 1 to 2",
    "remove Foxes 0": "NUMBER is '0' — give a whole number from 1 to 2",
    "remove Foxes -1": "NUMBER is '-1' — give a whole number from 1 to 2",
    "remove Foxes two": "NUMBER is 'two' — give a whole number from 1 to 2",
    f"remove Foxes {'9' * 9999}": "NUMBER is '999",
    "remove Foxes": "the following arguments are required: NUMBER — usage:",
    "edit Foxes": "There is nothing to edit — give --profile, --keywords, --avoids or --looks",
    "edit Empty --keywords a": "Moodboard 'Empty' was not analyzed — analyze it first",
    "edit Foxes --looks 1,9": "--looks is '9' — give ",
    f"edit Foxes --profile {'x' * 3000}": "--profile has 3,000 characters — give a text of 0 to 2,000 characters",
    f"edit Foxes --keywords a,{'x' * 90}": "--keywords, number 2 has 90 characters — give a text of 1 to 80 characters",
    "edit Foxes --keywords 'a,\udcff'": "--keywords, number 2 is not valid Unicode",
    "edit Foxes --profile '\udcff'": "--profile is not valid Unicode",
    f"edit Foxes --avoids {','.join('abcdefghijklm')}": "--avoids has 13 entries — give a list of at most 12",
    "import text.png": "'text.png' is not a plain zip",
    "import climbing.zip": "'climbing.zip' ",
    "import half.zip": "The moodboard's analysis, keywords, number 1 is not valid Unicode",
    "import missing.zip": "'missing.zip' does not exist — give the zip of a moodboard",
    "import good.zip --name ''": "The moodboard's name is empty — give a text of 1 to 200 characters",
    "list Foxes": "'Foxes' is not known here — usage: python -m krea_studio moodboard list",
    "list --lib .": "'--lib .' is not known here — usage:",
    "paint": "argument COMMAND: invalid choice: 'paint'",
    "": "the following arguments are required: COMMAND — usage: python -m krea_studio moodboard",
}


@pytest.fixture
def two_boards(capsys: pytest.CaptureFixture[str], folder: Path) -> Path:
    """A library with an analyzed board of two pictures and an empty one; a good zip and two bad ones."""
    done(capsys, "create Foxes red.png crimson.png")
    done(capsys, "analyze Foxes")
    done(capsys, "create Empty")
    done(capsys, "export Foxes good.zip")
    with zipfile.ZipFile(folder / "good.zip") as good, zipfile.ZipFile(folder / "climbing.zip", "w") as climbing:
        climbing.writestr("moodboard.json", good.read("moodboard.json"))
        climbing.writestr("../outside.png", (folder / "red.png").read_bytes())
    board = {"schema_version": 1, "name": "Half", "analysis": {"written_by": "a", "keywords": ["\ud800"]}}
    with zipfile.ZipFile(folder / "half.zip", "w") as half:
        half.writestr("moodboard.json", json.dumps(board))
    return folder


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], two_boards: Path, command: str
) -> None:
    before, beside = tree(two_boards / "outputs"), sorted(two_boards.iterdir())
    code, out, errors = run(capsys, command)
    assert (code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"error: {BAD[command]}")
    assert " — " in errors[0]
    assert tree(two_boards / "outputs") == before
    assert sorted(two_boards.iterdir()) == beside
    assert not (two_boards.parent / "outside.png").exists()


def test_a_command_that_lacks_something_makes_no_library(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for command in ("edit Foxes", "add Foxes", "remove Foxes", "paint"):
        assert run(capsys, command)[0] == 2
    assert not (folder / "outputs").exists()


def test_storage_that_fails_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "create Foxes")
    for command in ("export Foxes red.png/foxes.zip", "list --library red.png/library"):
        code, out, errors = run(capsys, command)
        assert (code, out, len(errors)) == (4, "", 1)
        assert " cannot be written (" in errors[0] and " — check the folder" in errors[0]


def test_interrupting_leaves_no_board_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Moodboards, "add", interrupted)
    assert run(capsys, "create Foxes red.png")[:2] == (130, "")
    assert done(capsys, "list") == ""


def test_the_bar_is_drawn_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done(capsys, "create Foxes red.png blue.png")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, errors = run(capsys, "analyze Foxes")
    assert code == 0 and out.startswith("Foxes  2 pictures, analyzed\n")
    assert "100%" in "".join(errors)


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-2", "cp437"])
def test_a_terminal_without_umlauts_gets_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    done(capsys, "create Æthër")
    for command, expected in (("list", "Æthër  0"), ("list --json", '{"name": "\\u00c6th\\u00ebr"')):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        assert cli.main(["moodboard", *command.split()]) == 0
        assert written.getvalue().startswith(expected.encode(encoding, "backslashreplace"))


def test_no_model_code_is_loaded(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    done(capsys, "create Foxes red.png blue.png")
    code = (
        "import sys; from krea_studio.cli import main as cli; "
        "code = cli.main(['moodboard', 'analyze', 'Foxes', '--library', sys.argv[1]]); "
        "print(code, *{name.split('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", code, str(folder / "outputs")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stderr) == (0, "")
    exit_code, *loaded = told.stdout.splitlines()[-1].split()
    assert exit_code == "0" and not set(loaded) & {*MODEL_LIBRARIES, *PAGE_LIBRARIES}


def test_a_board_of_an_account_is_listed_with_whose_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KREA_STUDIO_LIBRARY", str(tmp_path / "library"))
    accounts = Accounts(tmp_path / "library")
    for name in ("ada", "ben"):
        accounts.add(name, "seven foxes in snow")
    line = "Dusk  1 picture, not analyzed, ada's\n"
    assert done(capsys, "create Dusk red.png --owner ada") == line
    assert done(capsys, "list") == line == done(capsys, "list --owner ada") and done(capsys, "list --owner ben") == ""
    done(capsys, "export Dusk dusk.zip --owner ada")
    assert done(capsys, "import dusk.zip --owner ben") == line.replace("ada", "ben")
    code, _, (told, *_) = run(capsys, "remove Dusk 2 --owner ben")
    assert code == 2 and "NUMBER is '2'" in told
    assert done(capsys, "remove Dusk 1 --owner ben").startswith("Dusk  0 pictures")
    assert shown(capsys, "Dusk 2")["owner"] == "ben"
    code, _, (told, *_) = run(capsys, "list --owner cleo")
    assert code == 2 and "There is no account 'cleo'" in told
