"""What a Space or a container starts with: `python -m krea_studio measure spaces`.

Each target's folder is written, and what it starts with is started in it: in an environment with nothing of this one's,
as a Space or the container sets it, on the embedded checkpoints and the CPU. A picture is then asked for by
`gradio_client`, as a visitor's program would. No Space, no container and no GPU is needed, and none is measured.
"""

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from krea_studio.errors import Unavailable
from krea_studio.measures.options import parsed
from krea_studio.space import TARGETS, write_space
from krea_studio.startup import settings_in

COMMAND = "python -m krea_studio measure spaces"
PROMPT = "papercut of a fox in the mountains under the moon"
START_SECONDS = 120
ACCOUNT = ("ada", "a-long-enough-password")
CLEAN = {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SERVER_NAME": "0.0.0.0"}
EMBEDDED = {
    "KREA_STUDIO_DEVICE": "cpu",
    "KREA_STUDIO_PRECISION": "float32",
    **{f"KREA_STUDIO_CHECKPOINT_{variant.upper()}": f"mini-{variant}" for variant in ("medium", "turbo")},
}
KEPT = ("PATH", "PYTHONPATH", "LANG", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LD_LIBRARY_PATH")
"""What of this environment goes on: where programs are, and how many cores they may take."""


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
    with served(folder, home) as address:
        answered = time.perf_counter() - begun
        (drawn,) = picture(address, home, ACCOUNT if target == "team" else None)
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
def served(folder: Path, home: Path, settings: Mapping[str, str] = EMBEDDED) -> Iterator[str]:
    """The address of the studio in a written folder, while it runs in a process with an environment of its own.

    `home` is a new folder for all that it writes; `settings` count before those that come with it. Raises Unavailable
    with its last words where it ends or does not answer.
    """
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | CLEAN
    environment |= {"HOME": str(home), "GRADIO_TEMP_DIR": str(home / "uploads"), "GRADIO_SERVER_PORT": str(port)}
    environment |= settings | {"KREA_STUDIO_LIBRARY": str(home / "library"), "KREA_STUDIO_CACHE": str(home / "cache")}
    with (home / "log").open("w") as log:

        def python(*command: str, **options: Any) -> "subprocess.Popen[str]":
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True, **options,
            )  # fmt: skip

        if (folder / "app.py").exists():
            command = ["app.py"]
        else:
            command = ["-m", "krea_studio", "serve"]
            environment = settings_in(folder / "settings.env") | environment
            with python("-m", "krea_studio", "accounts", "add", ACCOUNT[0], stdin=subprocess.PIPE) as adding:
                adding.communicate(ACCOUNT[1])
        process = python(*command)
        try:
            _wait(process, f"http://127.0.0.1:{port}/healthz", home / "log")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: "subprocess.Popen[str]", url: str, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise Unavailable(f"The studio does not answer: {log.read_text('utf-8')[-500:]}")


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
