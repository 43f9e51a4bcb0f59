"""What is pushed to a Space, or built into a container: `python -m krea_studio space TARGET --out FOLDER`.

A written folder is what of the repository serves and draws, with the target's own files from spaces_config/TARGET/ over
it, and the studio's requirements with the target's own in their place. What trains, measures, tests and documents stays
in the repository. Nothing is uploaded or built here.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from krea_studio.errors import InvalidRequest, StudioError, Unavailable
from krea_studio.files import is_clutter, write_error

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATIONS = ROOT / "spaces_config"
REQUIREMENTS = "requirements.txt"
MAX_FILE_BYTES = 10_000_000
"""A larger file could not be pushed as it is: the Hub wants it in its large file storage."""

SERVED = ("LICENSE", "NOTICE", "assets", "krea_studio")
LEFT_OUT = (
    *("krea_studio/training", "krea_studio/measures", "assets/judges", "assets/checkpoints/examples"),
    *("__pycache__", "outputs", "*.md"),
)
"""What of these no server needs, as `Path.match` takes it."""
TAKEN_DOT_FILES = (".dockerignore",)
"""Other names that begin with a dot are left out: a token in `.env`, an editor's lock, a tool's state."""


@dataclass(frozen=True)
class Target:
    """Where a studio may run: in words, what it takes of the repository's root, and how its folder gets there."""

    what: str
    files: tuple[str, ...]
    next_step: str


_PUSH = 'push it: hf upload OWNER/NAME {folder} . --repo-type space --delete "*"'

TARGETS = {
    "cpu_demo": Target("a Space without a GPU, on the embedded checkpoints", ("app.py",), _PUSH),
    "gpu": Target("a Space with a GPU of its own, on the published weights", ("app.py",), _PUSH),
    "zerogpu": Target("a Space that borrows a GPU for every picture, on the published Turbo", ("app.py",), _PUSH),
    "team": Target(
        "a container for a team, with a GPU and accounts",
        ("Makefile", "constraints.txt"),
        "its README.md says how to start it",
    ),
}


def write_space(name: str, out: Path) -> list[Path]:
    """Write the folder of the target `name` and return its files, as paths within it, sorted.

    Raises InvalidRequest for an `out` that holds something already or is in what a Space is made of, Unavailable where
    the repository's own files are not beside this package or one is too large, StorageError where it cannot be written.
    """
    _require_free(out)
    sources = contents(name)
    lines = requirements(name)
    try:
        for place, source in sources.items():
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, out / place)
        (out / REQUIREMENTS).write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise write_error(error, out, "The folder") from None
    return sorted({*sources, Path(REQUIREMENTS)})


def _require_free(out: Path) -> None:
    """Raise InvalidRequest or StorageError where a folder cannot be written at `out`."""
    try:
        whole = Path(os.path.realpath(out))  # of links that lead in a circle too
        if any(whole.is_relative_to(ROOT / taken) for taken in (*SERVED, CONFIGURATIONS.name)):
            raise InvalidRequest(
                f"{str(out)!r} is in a folder that a Space is made of, and would be in the next one — give one "
                "elsewhere"
            )
        if out.exists() and not out.is_dir():
            raise InvalidRequest(f"{str(out)!r} is a file — give a folder that is empty or does not exist yet")
        if out.is_dir() and any(out.iterdir()):
            raise InvalidRequest(f"{str(out)!r} is not empty — give a folder that is empty or does not exist yet")
    except OSError as error:
        raise write_error(error, out, "The folder") from None


def contents(name: str) -> dict[Path, Path]:
    """Each file of the target's folder but its requirements: its path within the folder, and where it is copied from.

    Raises Unavailable as `write_space` does.
    """
    own = CONFIGURATIONS / name
    found = {
        path.relative_to(ROOT): path for served in (*SERVED, *TARGETS[name].files) for path in _files(ROOT / served)
    }
    found |= {path.relative_to(own): path for path in _files(own, but=("__pycache__", "outputs"))}
    found.pop(Path(REQUIREMENTS), None)
    for place, path in found.items():
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise Unavailable(f"{place} has {size / 1e6:.1f} MB — a Space takes files of up to 10 MB; make it smaller")
    return found


def requirements(name: str) -> list[str]:
    """The lines of the target's requirements: the studio's, where its own file names no other range, and what it adds.

    Empty where neither is beside this package.
    """
    own = _requirements(CONFIGURATIONS / name / REQUIREMENTS)
    shared = _requirements(ROOT / REQUIREMENTS)
    return [*(line for package, line in shared.items() if package not in own), *own.values()]


def _requirements(path: Path) -> dict[str, str]:
    """Package → its line, of a file of requirements; none of one that is not there."""
    if not path.is_file():
        return {}
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {re.sub(r"[_.-]+", "-", re.split(r"[^\w.-]", line)[0]).lower(): line for line in lines}


def _files(path: Path, but: tuple[str, ...] = LEFT_OUT) -> Iterator[Path]:
    """The file itself, or those of a folder, without hidden ones, what matches `but` and what systems leave there."""
    if not path.exists():
        raise _incomplete(path)
    if path.is_file():
        yield path
        return
    for each in sorted(path.iterdir()):
        is_hidden = each.name.startswith(".") and each.name not in TAKEN_DOT_FILES
        if not is_hidden and not is_clutter(each.name) and not any(each.match(pattern) for pattern in but):
            yield from _files(each, but)


def _incomplete(path: Path) -> StudioError:
    return Unavailable(f"{path.relative_to(ROOT)} is not here — write a Space from a checkout of the whole repository")
