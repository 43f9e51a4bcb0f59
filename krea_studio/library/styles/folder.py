"""A person's folder of style files, and which of them were looked at already.

A file is looked at once, and again when its size or its time of change is another, or those of peft's config beside
it. What was refused is remembered with the reason, so that nobody waits for it twice; what was taken in stays taken in,
also when the person removed the style since. Which style a file became is remembered too, so that a changed file can
change that style. Only safetensors right in the folder count. Whether a file is a style is not known here.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from krea_studio.files import is_clutter, one_change, read_error, write_whole
from krea_studio.library.styles.hub import PEFT_CONFIG, PEFT_FILE

RECORD_FILE = "folder.json"

logger = logging.getLogger(__name__)


class StyleFolder:
    """The style files in `folder`, which need not exist; what became of them is written in the folder `kept`."""

    def __init__(self, folder: Path, kept: Path):
        self._folder = folder
        self._record = kept / RECORD_FILE

    def new(self) -> dict[Path, str]:
        """The files that were not looked at as they are now, in alphabetical order, each with what `remember` takes.

        Raises StorageError where the folder cannot be read.
        """
        seen = self._seen()
        return {path: stamp for path, stamp in self._files() if seen.get(str(path), {}).get("stamp") != stamp}

    def style_of(self, path: Path) -> str:
        """The identity of the style that was last made of a file, changed since or not; empty where none was."""
        return self._seen().get(str(path), {}).get("style", "")

    def remember(self, path: Path, stamp: str, refusal: str = "", style: str = "") -> None:
        """That a file was looked at, as it was when `new` told of it, why it was refused, or what style it became.

        Raises StorageError where that cannot be written.
        """
        with one_change(self._record.parent, "The styles"):
            here = {str(path) for path, _ in self._files()}
            seen = {name: entry for name, entry in self._seen().items() if name in here}
            seen[str(path)] = {"stamp": stamp, "refusal": refusal, "style": style}
            write_whole(self._record, json.dumps(seen, indent=1).encode())

    def refusals(self) -> dict[Path, str]:
        """Why files that are there unchanged were refused. Raises StorageError where the folder cannot be read."""
        seen = self._seen()
        entries = {path: seen.get(str(path), {}) for path, _ in self._files()}
        stamps = dict(self._files())
        return {
            path: entry["refusal"]
            for path, entry in entries.items()
            if entry.get("refusal") and entry.get("stamp") == stamps.get(path)
        }

    def _files(self) -> Iterator[tuple[Path, str]]:
        try:
            paths = sorted(self._folder.absolute().glob("*.safetensors"))
            for path in paths:
                if path.is_file() and not is_clutter(path.name):
                    yield path, " ".join(map(_stamp, (path, *_beside(path))))
        except FileNotFoundError:
            return
        except OSError as error:
            raise read_error(error, self._folder) from None

    def _seen(self) -> dict[str, dict[str, Any]]:
        try:
            seen = json.loads(self._record.read_bytes())
            if isinstance(seen, dict) and all(isinstance(entry, dict) for entry in seen.values()):
                return seen
            raise ValueError("not an object of objects")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s is not used, and all style files are looked at again: %s", self._record, error)
            return {}


def _beside(path: Path) -> list[Path]:
    """What lies beside a file and is read with it."""
    config = path.with_name(PEFT_CONFIG)
    return [config] if path.name == PEFT_FILE and config.exists() else []


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"
