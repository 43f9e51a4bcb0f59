"""What a Space or a container starts with: `python -m krea_studio measure spaces`.

Each target's folder is written, and what it starts with is started in it: in an environment with nothing of this one's,
as a Space or the container sets it, on the embedded checkpoints and the CPU. A picture is then asked for by
`gradio_client`, as a visitor's program would. No Space, no container and no GPU is needed, and none is measured.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from krea_studio.measures.options import parsed
from krea_studio.measures.served import EMBEDDED, ROOT, SERVE, Served, served
from krea_studio.space import TARGETS, write_space
from krea_studio.startup import settings_in

COMMAND = "python -m krea_studio measure spaces"
PROMPT = "papercut of a fox in the mountains under the moon"
CHECKOUT = "make run"
ROUNDS = 3
SECONDS = ("answer_seconds", "picture_seconds")
MOST = 1.2
ACCOUNT = ("ada", "a-long-enough-password")


@dataclass(frozen=True)
class Started:
    """What a target's folder holds, and the seconds from its start to the first answer and to the first picture."""

    target: str
    files: int
    megabytes: float
    answer_seconds: float
    picture_seconds: float


def started(target: str, work: Path) -> Started:
    """Write the folder of a target below `work`, start it, and have it draw. Raises Unavailable where it does not.

    The target `CHECKOUT` is this one, started as `make run` does.
    """
    if target == CHECKOUT:
        return _started(target, work, partial(served, SERVE, ROOT), None, ())
    folder = work / target
    files = [folder / path for path in write_space(target, folder)]
    account = ACCOUNT if target == "team" else None
    return _started(target, work, partial(served_folder, folder), account, files)


def _started(
    target: str,
    work: Path,
    serving: Callable[[Path], AbstractContextManager[Served]],
    account: tuple[str, str] | None,
    files: Sequence[Path],
) -> Started:
    from PIL import Image

    home = work / f"{target}-home"
    begun = time.perf_counter()
    with serving(home) as studio:
        answered = time.perf_counter() - begun
        (drawn,) = picture(studio.address, home, account)
        with Image.open(drawn["image"]) as opened:
            opened.load()
        whole = time.perf_counter() - begun
    return Started(target, len(files), sum(path.stat().st_size for path in files) / 1e6, answered, whole)


def picture(address: str, downloads: Path, account: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """What the page at an address gives a program that asks for a small picture, whose file goes to `downloads`."""
    from gradio_client import Client

    client = Client(address, auth=account, verbose=False, download_files=downloads)
    try:
        return client.predict(prompt=PROMPT, resolution="512", seed=7, api_name="/generate")
    finally:
        client.close()


@contextmanager
def served_folder(folder: Path, home: Path, settings: Mapping[str, str] = EMBEDDED) -> Iterator[Served]:
    """The studio in a written folder, started as what hosts it does; `settings` count before those that come with it."""
    if (folder / "app.py").exists():
        with served(["app.py"], folder, home, {"KREA_STUDIO_SIGN_IN": "none"} | settings) as studio:
            yield studio  # without sign-in: there is no Hugging Face to sign in by
    else:
        with served(SERVE, folder, home, settings_in(folder / "settings.env") | settings, dict([ACCOUNT])) as studio:
            yield studio


def table(rounds: Sequence[Mapping[str, Started]]) -> list[str]:
    """The lines of the report: medians of rounds, in each of which the checkout and every target started once."""
    lines = [
        "| target | files | size | first answer | first picture, from the start | beside `make run`: answer | picture |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for target, first in rounds[0].items():
        starts = [each[target] for each in rounds]
        bases = [each[CHECKOUT] for each in rounds]
        answer, whole = (median(getattr(each, name) for each in starts) for name in SECONDS)
        ratios = [
            median(getattr(each, name) / getattr(base, name) for each, base in zip(starts, bases, strict=True))
            for name in SECONDS
        ]
        size = [str(first.files), f"{first.megabytes:.0f} MB"] if target != CHECKOUT else ["", ""]
        cells = [target, *size, f"{answer:.1f} s", f"{whole:.1f} s", *(f"{ratio:.2f} ×" for ratio in ratios)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises StudioError when it cannot."""
    chosen = parsed("spaces", argv)
    targets = [CHECKOUT, *TARGETS]
    if find_spec("spaces") is None:
        print("zerogpu is left out: the package spaces is not installed", flush=True)
        targets.remove("zerogpu")
    rounds: list[dict[str, Started]] = []
    for number in range(ROUNDS):
        rounds.append({})
        with tempfile.TemporaryDirectory() as work:
            for target in targets if number % 2 == 0 else reversed(targets):
                rounds[-1][target] = started(target, Path(work))
                print(rounds[-1][target], flush=True)
    lines = [
        "# What a Space or a container starts with",
        "",
        f"Written by `{COMMAND}`: each folder as `space` writes it, started in an environment of its own with the "
        f"embedded checkpoints on the CPU; medians of {ROUNDS} rounds, in each of which the checkout started too, and "
        f"medians of the ratios to it (target ≤ {MOST} ×). Files are in the machine's cache. No Space, no container and "
        "no GPU was used; off its hardware the package `spaces` does nothing. ZeroGPU wants its models placed before the "
        "page is there, so that answer waits for them; the team's account is made within its time.",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}.",
        "",
        *table(rounds),
    ]
    chosen.report.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {chosen.report}")
    return 0
