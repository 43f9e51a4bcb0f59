"""A start that does not look for garbage where there is none, nor for a proxy, and knows where it runs.

Importing torch, diffusers or Gradio makes hundreds of thousands of objects that all stay, and Python's cyclic collector
goes through them again and again: a quarter of the time that the imports take. Gradio also makes an HTTP client as it
is imported, which cannot be made where the environment names a proxy of a kind that the client does not speak.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold back the process's cyclic collector for imports; what they made is not looked through right after either."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            # Frozen and thawed, all that is there counts as old: it is collected as ever, but in no young generation.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@contextmanager
def without_proxies() -> Iterator[None]:
    """The process's environment without proxies, for imports before there are other threads; they are back after it."""
    proxies = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        yield
    finally:
        os.environ.update(proxies)


def take_settings(path: Path) -> None:
    """Put the lines NAME=VALUE of a file into the process's environment, but for names that it has; none without a file.

    Empty lines and those that begin with # say nothing. So a variable of a Space counts before the file that came with it.
    """
    if not path.is_file():
        return
    for line in path.read_text("utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip() and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value.strip())
