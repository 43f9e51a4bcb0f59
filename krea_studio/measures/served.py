"""A studio in a process of its own, for measurements of whole programs: nothing of this process's is in it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from krea_studio.errors import Unavailable

START_SECONDS = 120
CLEAN = {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SERVER_NAME": "0.0.0.0"}
EMBEDDED = {
    "KREA_STUDIO_DEVICE": "cpu",
    "KREA_STUDIO_PRECISION": "float32",
    **{f"KREA_STUDIO_CHECKPOINT_{variant.upper()}": f"mini-{variant}" for variant in ("medium", "turbo")},
}
SERVE = ("-m", "krea_studio", "serve")
ROOT = Path(__file__).resolve().parents[2]
TRACEBACK = "Traceback (most recent call last)"
KEPT = ("PATH", "PYTHONPATH", "LANG", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LD_LIBRARY_PATH")
"""What of this environment goes on: where programs are, and how many cores they may take."""


@dataclass(frozen=True)
class Served:
    """A studio that answers: its address, its process, what it wrote, and its library."""

    address: str
    process: int
    log: Path
    library: Path


@contextmanager
def served(
    command: Sequence[str],
    folder: Path,
    home: Path,
    settings: Mapping[str, str] = EMBEDDED,
    accounts: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """A studio that `python COMMAND` starts in `folder`, while it runs.

    `home` is a new folder for all that it writes, `settings` are of its environment, and `accounts` are passwords by
    name. Raises Unavailable with its last words where it ends or does not answer.
    """
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | CLEAN
    environment |= {"HOME": str(home), "GRADIO_TEMP_DIR": str(home / "uploads"), "GRADIO_SERVER_PORT": str(port)}
    environment |= settings
    environment |= {"KREA_STUDIO_LIBRARY": str(home / "library"), "KREA_STUDIO_CACHE": str(home / "cache")}
    with (home / "log").open("w") as log:

        def python(*command: str, **options: Any) -> "subprocess.Popen[str]":
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True, **options,
            )  # fmt: skip

        for name, password in (accounts or {}).items():
            with python("-m", "krea_studio", "accounts", "add", name, stdin=subprocess.PIPE) as adding:
                adding.communicate(password)
        process = python(*command)
        try:
            _wait(process, f"http://127.0.0.1:{port}/healthz", home / "log")
            yield Served(f"http://127.0.0.1:{port}/", process.pid, home / "log", home / "library")
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
