"""A real studio and a real browser: `python app.py` in a process of its own, and the system's Chromium.

Used by the tests and by `screenshots`. The server runs the embedded checkpoints on an empty library.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 240
PLATFORM_VARIABLES = ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "PORT")
# Pictures take seconds here; on a busy machine many. Only what never comes waits as long as this.
PATIENCE_MS = 240_000


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[str]:
    """The address of a studio that keeps its files in `folder`; fails with the server's output when it ends early."""
    port = free_port()
    server = start(folder, port, **settings)
    try:
        yield f"http://127.0.0.1:{port}/"
        assert server.poll() is None, f"The server ended too early:\n{(folder / 'log').read_text()}"
    finally:
        server.terminate()
        server.wait(30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(folder: Path, port: int, **settings: str) -> "subprocess.Popen[bytes]":
    """A studio's process, which answers; `settings` are further variables of its environment."""
    environment = {name: value for name, value in os.environ.items() if name not in PLATFORM_VARIABLES} | {
        "KREA_STUDIO_LIBRARY": str(folder / "library"),
        "KREA_STUDIO_STYLES": str(folder / "styles"),
        "KREA_STUDIO_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        **settings,
    }
    log = folder / "log"
    with log.open("a") as output:
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(server, f"http://127.0.0.1:{port}/healthz", log)
    except BaseException:
        server.kill()
        raise
    return server


def _wait_for(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        assert server.poll() is None, f"The server ended with {server.returncode}:\n{log.read_text()}"
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"The server did not answer in {START_SECONDS} s:\n{log.read_text()}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    expect.set_options(timeout=PATIENCE_MS)
    executable = next(path for name in CHROMIUM_NAMES if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()
