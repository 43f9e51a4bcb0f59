"""What a Space or a container starts with: `python -m krea_studio measure spaces`.

Each target's folder is written, and what it starts with is started in it: in an environment with nothing of this one's,
as a Space or the container sets it, on the embedded checkpoints and the CPU. A picture is then asked for by
`gradio_client`, as a visitor's program would. No Space, no container and no GPU is needed, and none is measured.
"""

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from krea_studio.measures.options import parsed
from krea_studio.measures.served import EMBEDDED, SERVE, Served, served
from krea_studio.space import TARGETS, write_space
from krea_studio.startup import settings_in

COMMAND = "python -m krea_studio measure spaces"
PROMPT = "papercut of a fox in the mountains under the moon"
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
    """Write the folder of a target below `work`, start it, and have it draw. Raises Unavailable where it does not."""
    from PIL import Image

    folder = work / target
    files = write_space(target, folder)
    size = sum((folder / path).stat().st_size for path in files)
    begun = time.perf_counter()
    home = work / f"{target}-home"
    with served_folder(folder, home) as studio:
        answered = time.perf_counter() - begun
        (drawn,) = picture(studio.address, home, ACCOUNT if target == "team" else None)
        with Image.open(drawn["image"]) as opened:
            opened.load()
        return Started(target, len(files), size / 1e6, answered, time.perf_counter() - begun)


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


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises StudioError when it cannot."""
    chosen = parsed("spaces", argv)
    lines = [
        "# What a Space or a container starts with",
        "",
        f"Written by `{COMMAND}`: each folder as `space` writes it, started in an environment of its own with the "
        "embedded checkpoints on the CPU; one start each, files in the machine's cache. No Space, no container and no "
        "GPU was used; off its hardware the package `spaces` does nothing.",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}.",
        "",
        "| target | files | size | first answer | first picture, from the start |",
        "|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as work:
        for target in TARGETS:
            if target == "zerogpu" and find_spec("spaces") is None:
                print(f"{target} is left out: the package spaces is not installed", flush=True)
                continue
            found = started(target, Path(work))
            lines.append(
                f"| {target} | {found.files} | {found.megabytes:.0f} MB | {found.answer_seconds:.1f} s | "
                f"{found.picture_seconds:.1f} s |"
            )
            print(lines[-1], flush=True)
    chosen.report.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {chosen.report}")
    return 0
