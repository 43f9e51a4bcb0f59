"""Which checkpoint runs each variant: the settings' own, or what was chosen since; and what there is to choose from.

A choice is kept in a file, so that a run that outlives its server is drawn by the same weights. It counts for the
setting that it was made over: where that changes, the setting counts again.
"""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from krea_studio.engine.base import CheckpointInfo
from krea_studio.engine.checkpoints.formats.model_file import TRANSFORMER
from krea_studio.engine.checkpoints.formats.models_folder import listed
from krea_studio.engine.checkpoints.table import CHECKPOINTS, Checkpoint, known_shapes, missing, resolve
from krea_studio.errors import Unavailable
from krea_studio.files import write_error, write_whole
from krea_studio.recipe.variants import VARIANTS
from krea_studio.settings import Settings

log = logging.getLogger(__name__)

FILE = "checkpoints.json"
PUBLISHED = {"medium": "krea-2-raw", "large": "krea-2-raw", "turbo": "krea-2-turbo"}
_KEPT = TypeAdapter(dict[str, tuple[str, str]])


class Choices:
    """The checkpoints of one studio, by variant. `folder` is where a choice is kept; without one it ends with the
    process. Safe to use from several threads."""

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        self._settings = settings
        self._path = folder / FILE if folder else None
        self._lock = threading.Lock()
        self._chosen = self._read()

    def source(self, variant: str) -> str:
        """What names the checkpoint of `variant`, as a setting would."""
        own = self._settings.checkpoint_for(variant)
        over, chosen = self._chosen.get(variant, ("", ""))
        return chosen if over == own else own

    def of(self, variant: str) -> Checkpoint:
        """The checkpoint that runs `variant`. Raises Unavailable as `resolve` does."""
        return self._resolved(self.source(variant), variant)

    def choose(self, variant: str, source: str) -> Checkpoint:
        """Let `source` run `variant` from now on; an empty one means the settings' own.

        Raises Unavailable where it names nothing or lacks a part, StorageError where that cannot be kept; then nothing
        changes.
        """
        own = self._settings.checkpoint_for(variant)
        source = source.strip() or own
        checkpoint = self._resolved(source, variant)
        if reason := missing(checkpoint):
            raise Unavailable(reason)
        with self._lock:
            chosen = {name: kept for name, kept in self._chosen.items() if name != variant}
            if source != own:
                chosen[variant] = (own, source)
            self._write(chosen)
            self._chosen = chosen
        return checkpoint

    def offers(self, variant: str) -> list[CheckpointInfo]:
        """What may run `variant`: what does, the settings' own, the table's, and the files of the models folder.

        Reads headers only; files that are refused are left out, as `python -m krea_studio models` tells of them.
        """
        sources = [self.source(variant), self._settings.checkpoint_for(variant), f"mini-{variant}", PUBLISHED[variant]]
        infos = [self._info(source, variant) for source in dict.fromkeys(sources)]
        return infos + [info for info in self._files(variant) if info.repo_or_folder not in sources]

    def _resolved(self, source: str, variant: str) -> Checkpoint:
        return resolve(source, self._settings.base, self._settings.models, variant == "turbo")

    def _info(self, source: str, variant: str) -> CheckpointInfo:
        """A checkpoint under what names it; one that is not there has the reason for a note."""
        try:
            return replace(self._resolved(source, variant).info, repo_or_folder=source)
        except Unavailable as error:
            return CheckpointInfo(source, source, source, error.message, embedded=False)

    def _files(self, variant: str) -> list[CheckpointInfo]:
        if self._settings.models is None:
            return []
        try:
            found = list(listed(self._settings.models, known_shapes(self._settings)))
        except Unavailable as error:
            log.warning("%s", error.message)
            return []
        usable = [each["file"] for each in found if not each["refused"] and TRANSFORMER in each["parts"]]
        return [self._info(source, variant) for source in usable]

    def _read(self) -> Mapping[str, tuple[str, str]]:
        """What is kept; a file that cannot be read holds no start up."""
        try:
            kept = _KEPT.validate_json(self._path.read_bytes()) if self._path else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read, so the settings' checkpoints are used (%s)", self._path, error)
            return {}
        return {variant: chosen for variant, chosen in kept.items() if variant in VARIANTS}

    def _write(self, chosen: Mapping[str, tuple[str, str]]) -> None:
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(chosen, indent=1).encode())
        except OSError as error:
            raise write_error(error, self._path) from None

    @property
    def known(self) -> list[Checkpoint]:
        """The table's checkpoints, and those that run a variant. Raises Unavailable for a setting that names none."""
        own = {each.name: each for each in map(self.of, VARIANTS)}
        return list((CHECKPOINTS | own).values())
