"""The command `space`: the folder on standard output, what to do with it beside, refusals as one line."""

import shlex
from pathlib import Path

import pytest

from krea_studio.cli.main import main
from krea_studio.space import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_is_written_and_what_comes_next_is_told(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["space", target, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n" and (out / "README.md").is_file()
    assert ("hf upload" in told.err and str(out) in told.err) or "README.md" in told.err


def test_what_comes_next_can_be_pasted_whatever_the_folder_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my {space}; x"
    assert main(["space", "cpu_demo", "--out", str(out)]) == 0
    command = capsys.readouterr().err.split("push it: ")[1]
    assert shlex.split(command) == [
        "hf",
        "upload",
        "OWNER/NAME",
        str(out),
        ".",
        "--repo-type",
        "space",
        "--delete",
        "*",
    ]


def test_a_refusal_names_the_value_and_what_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "moon", "--out", str(tmp_path / "out")]) == 2
    assert "'moon'" in (told := capsys.readouterr().err) and all(target in told for target in TARGETS)
    (tmp_path / "kept").touch()
    assert main(["space", "team", "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == ["kept"]
