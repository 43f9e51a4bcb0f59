"""The command `history`: pictures are found, starred, deleted and brought back; refusals are one line."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from krea_studio.cli import main as cli
from krea_studio.library.records import Record
from krea_studio.library.refusals import Refusal
from krea_studio.library.store import RECORDS_FILE, Library
from krea_studio.people import Person
from tests.library.test_store import save, shot_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def library() -> Iterator[Library]:
    """The library of the working directory, which is the command line's."""
    library = Library("outputs")
    yield library
    library.close()


@pytest.fixture
def fox(library: Library) -> Record:
    return save(library, shot_of(prompt="a fox\nat night", aspect_ratio="16:9"), owner="ada")


@pytest.fixture
def owl(library: Library, fox: Record) -> Record:
    style = {"name": "Ink", "trigger": "sumi-e", "identity": "0" * 32}
    return save(library, shot_of(8, prompt="an owl", variant="medium", styles=[style]))


def run(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, list[str], list[str]]:
    """Exit code, and the lines on standard output and standard error."""
    code = cli.main(shlex.split(f"history {command}"))
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


def done(capsys: pytest.CaptureFixture[str], command: str) -> list[str]:
    """The lines on standard output of `history` with these arguments, which has to succeed in silence."""
    code, out, errors = run(capsys, command)
    assert (code, errors) == (0, [])
    return out


def shown(capsys: pytest.CaptureFixture[str], command: str) -> list[str]:
    """The ids of the pictures that `history` lists."""
    return [json.loads(line)["id"] for line in done(capsys, f"{command} --json")]


def test_a_line_a_picture_newest_first(capsys: pytest.CaptureFixture[str], fox: Record, owl: Record) -> None:
    assert done(capsys, "") == [
        f"{owl.path}  «an owl», seed 8, 512 × 512, medium (mini-turbo)",
        f"{fox.path}  «a fox at night», seed 7, 672 × 384, turbo (mini-turbo)",
    ]
    assert done(capsys, "--limit 1") == done(capsys, "--search owl") == done(capsys, "")[:1]


def test_json_has_all_of_a_picture(capsys: pytest.CaptureFixture[str], fox: Record) -> None:
    (line,) = done(capsys, "--json")
    told = json.loads(line)
    assert told["recipe"] == fox.recipe.as_json() and told["path"] == str(fox.path) and told["id"] == fox.id
    assert (told["owner"], told["starred"], told["deleted_at"]) == ("ada", False, None)
    assert told["created_at"] == fox.created_at.isoformat()


def test_every_filter_has_a_flag(capsys: pytest.CaptureFixture[str], fox: Record, owl: Record) -> None:
    for flags, found in (
        ("--search 'NIGHT fo'", [fox]), ("--search sumi-e", [owl]), ("--search 'fox owl'", []), ("--search '\"*'", []),
        ("--variant medium", [owl]), ("--aspect-ratio 16:9", [fox]), ("--creativity raw", [owl, fox]),
        ("--style INK", [owl]), ("--moodboard Dusk", []), ("--with-references", []), ("--starred", []),
        ("--since 2026-01-01", [owl, fox]), ("--until 2026-01-01", []), ("--variant medium --search fox", []),
    ):  # fmt: skip
        assert shown(capsys, flags) == [record.id for record in found], flags


def test_pictures_are_called_by_id_or_file(capsys: pytest.CaptureFixture[str], fox: Record, owl: Record) -> None:
    line = f"{fox.path}  «a fox at night», seed 7, 672 × 384, turbo (mini-turbo)"
    assert done(capsys, f"star {fox.id}") == [f"{line}, starred"]
    assert len(done(capsys, f"star '{fox.path}' {owl.id} {fox.id}")) == 2, "each once"
    assert shown(capsys, "--starred") == [owl.id, fox.id]
    assert done(capsys, f"unstar {fox.path.name}") == [line]


def test_the_way_into_the_bin_and_back(capsys: pytest.CaptureFixture[str], fox: Record, owl: Record) -> None:
    (line,) = done(capsys, f"delete '{fox.path}'")
    assert line.startswith(str(Path.cwd() / "outputs" / "bin"))
    assert shown(capsys, "") == [owl.id] and shown(capsys, "bin") == [fox.id] and done(capsys, "bin") == [line]
    assert json.loads(done(capsys, "bin --json")[0])["deleted_at"]
    assert done(capsys, f"restore '{line.split('  ')[0]}'")[0].startswith(str(fox.path))
    assert shown(capsys, "") == [owl.id, fox.id] and done(capsys, "bin") == []
    done(capsys, f"delete {fox.id} {owl.id}")
    assert done(capsys, "empty-bin") == ["2 pictures removed for good"]
    assert done(capsys, "empty-bin") == ["0 pictures removed for good"]
    assert done(capsys, "") == done(capsys, "bin") == []


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ("--variant tiny", "error: --variant is 'tiny' — choose one of medium, large, turbo"),
        ("--search '{long}'", "error: --search has 1,001 characters — give a text of 0 to 1,000"),
        ("--since yesterday", "error: --since is 'yesterday' — give a day such as 2026-11-29"),
        ("--until 2026-13-01", "error: --until is '2026-13-01' — give a day such as 2026-11-29"),
        ("--limit 0", "error: --limit is '0' — give a whole number above 0"),
        ("--limit -1", "error: "),
        ("--limit ²", "error: --limit is '²' — give a whole number above 0"),
        ("delete fox.png", "error: PICTURE is 'fox.png' — give the 16 digits that name a picture, or its file"),
        ("delete 0000000000000000", "error: There is no picture '0000000000000000' here — choose one"),
        ("restore {fox}", "error: There is no picture '{fox}' in the bin — it keeps pictures for 30 days"),
        ("--search fox delete {fox}", "error: --search is for the list — leave it out with delete"),
        ("--starred empty-bin", "error: --starred is for the list — leave it out with empty-bin"),
        ("star", "error: the following arguments are required: PICTURE"),
        ("vanish", "error: argument COMMAND: invalid choice: 'vanish'"),
    ],
)
def test_a_refusal_is_one_line(capsys: pytest.CaptureFixture[str], fox: Record, command: str, refusal: str) -> None:
    code, out, errors = run(capsys, command.format(long="x" * 1001, fox=fox.id))
    assert (code, out, len(errors)) == (2, [], 1) and errors[0].startswith(refusal.format(fox=fox.id))


def test_what_was_done_before_a_refusal_is_told(capsys: pytest.CaptureFixture[str], fox: Record, owl: Record) -> None:
    code, out, errors = run(capsys, f"delete {fox.id} {'0' * 16} {owl.id}")
    assert code == 2 and len(out) == len(errors) == 1
    assert shown(capsys, "") == [owl.id] and shown(capsys, "bin") == [fox.id]


def test_pictures_whose_rows_were_lost_are_listed_at_once(capsys: pytest.CaptureFixture[str], fox: Record) -> None:
    for name in ("", "-wal", "-shm"):
        Path("outputs", RECORDS_FILE + name).unlink(missing_ok=True)
    assert shown(capsys, "") == [fox.id]


def test_another_library_can_be_chosen(capsys: pytest.CaptureFixture[str], fox: Record, tmp_path: Path) -> None:
    assert done(capsys, f"--library '{tmp_path / 'other'}'") == []
    assert shown(capsys, f"--library '{tmp_path / 'outputs'}'") == [fox.id]
    assert len(done(capsys, f"star {fox.id} --library '{tmp_path / 'outputs'}'")) == 1


def test_a_prompt_cannot_take_over_the_terminal(capsys: pytest.CaptureFixture[str], library: Library) -> None:
    save(library, shot_of(prompt="\x1b[2J" + "long " * 100))
    (line,) = done(capsys, "")
    assert "\x1b" not in line and len(line.split("  ")[1]) < 200


def test_a_stranger_s_terminal_gets_escapes(fox: Record) -> None:
    command = [sys.executable, "-m", "krea_studio", "history", "--library", str(fox.path.parents[1])]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, env={"PYTHONIOENCODING": "ascii", "PATH": ""}, timeout=120
    )
    assert done.returncode == 0 and b"\\xd7" in done.stdout


def test_a_folder_s_pictures_come_in_and_the_rest_is_told(
    capsys: pytest.CaptureFixture[str], library: Library, fox: Record, tmp_path: Path
) -> None:
    other = Library(tmp_path / "other")
    brought, copied = save(other, shot_of(prompt="a whale")), tmp_path / "other" / "copy.png"
    copied.write_bytes(fox.path.read_bytes())
    (tmp_path / "other" / "notes.txt").write_text("nothing")
    other.close()
    code, out, errors = run(capsys, f"import {tmp_path / 'other'} --json")
    told = {Path(each["file"]).name: each for each in map(json.loads, out)}
    assert code == 0 and told[brought.path.name]["kind"] == "taken in"
    assert told[brought.path.name]["id"] == brought.id and told["copy.png"]["kind"] == "here already"
    assert told["notes.txt"]["kind"] == "left out" and told["notes.txt"]["reason"]
    assert "1 taken in" in errors[-1] and shown(capsys, "--search whale") == [brought.id]
    run(capsys, f"delete {brought.id}")
    code, out, _ = run(capsys, f"import {tmp_path / 'other'} --json")
    again = next(each for each in map(json.loads, out) if each["kind"] == "taken in")
    assert again["id"] != brought.id and shown(capsys, "--search whale") == [again["id"]]
    assert run(capsys, f"import {tmp_path / 'nowhere'}")[0] == 2


def test_what_was_refused_is_listed(capsys: pytest.CaptureFixture[str], library: Library) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    library.refusals.add(Refusal("0123456789abcdef", "ada\x1b", 7, 0.75, "open_nsfw", "mini-turbo", at))
    assert done(capsys, "refused") == [
        "2026-01-02T03:04:05.000006+00:00  seed 7, mini-turbo, of ada, open_nsfw 0.75",
    ]
    (line,) = done(capsys, "refused --json")
    assert json.loads(line)["score"] == 0.75 and json.loads(line)["seed"] == 7


def test_what_was_reported_is_listed(capsys: pytest.CaptureFixture[str], library: Library, fox: Record) -> None:
    library.reports.add(fox.id, Person("bob"))
    library.reports.add("0123456789abcdef", Person("eve\x1b"))
    gone, here = done(capsys, "reported")
    assert gone.endswith("by eve: 0123456789abcdef, which is not here any more")
    assert f"by bob: {fox.path}  «a fox at night»" in here
    assert [json.loads(line)["path"] for line in done(capsys, "reported --json")] == [None, str(fox.path)]
