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

from krea_studio.errors import InvalidRequest
from krea_studio.validation import shown


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


def settings_in(path: Path) -> dict[str, str]:
    """The lines NAME=VALUE of a file, without empty ones and those that begin with #; none where there is no file.

    Raises InvalidRequest for another line, and for a file that is no text.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8-sig")  # editors of Windows put a mark before it
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path.name} is no text in UTF-8 — save it as that") from None
    settings = {}
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            name, separator, value = line.partition("=")
            if not name.strip() or not separator:
                raise InvalidRequest(f"{path.name} has the line {shown(line)} — write NAME=VALUE, or # before it")
            settings[name.strip()] = value.strip()
    return settings


def take_settings(path: Path) -> None:
    """Put what a file sets into the process's environment, where that does not: variables of a Space count before.

    As for the settings, an empty variable counts as not set, and names are the same in small letters. Raises
    InvalidRequest as `settings_in` does.
    """
    given = {name.upper() for name, value in os.environ.items() if value}
    for name, value in settings_in(path).items():
        if name.upper() not in given:
            os.environ[name] = value
