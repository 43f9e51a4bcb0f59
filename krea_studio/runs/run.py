"""A run as it is looked at: what was asked for, by whom, and how far it is. Plain data, a new one at every look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from krea_studio.library.records import Record
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.sweep import Sweep


class State(StrEnum):
    """Where a run is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        return self not in (State.WAITING, State.RUNNING)


class Kind(StrEnum):
    """What a run does; all but the first do it beside the device's line."""

    GENERATE = "generate"
    EXPAND = "expand"
    ANALYZE = "analyze"
    IMPORT = "import"


@dataclass(frozen=True)
class Progress:
    """What a run does just now: one of `expanding`, `loading`, `drawing`, `working`, in words for a person in `what`.

    Of a picture the shot's place, its step of so many, and a small JPEG of how it looks; `share` of other work, 0…1.
    """

    doing: str
    what: str = ""
    share: float | None = None
    shot: int = 0
    step: int = 0
    steps: int = 0
    preview: bytes | None = None


@dataclass(frozen=True)
class Run:
    """A run now. `version` grows with every change of it.

    `asked` is what a run draws, with everything decided; `cells` are where the pictures of a sweep stand on its axes.
    `stopping` tells that its end was asked for and is to come.
    `ahead` counts the runs whose turn comes before its next one. `seconds_left` is about how long it will take until it
    has ended, None where nothing like it was drawn yet. `records` has the pictures that are on disk, by their place.
    `failure` is why it failed or was stopped, and why a picture of it is not there; `withheld` has the places of those
    that the content filter refused.
    """

    id: str
    kind: Kind
    owner: str
    title: str
    state: State
    version: int
    created_at: datetime
    asked: GenerationRequest | Sweep | None = None
    cells: tuple[tuple[int, ...], ...] = ()
    shots: tuple[Shot, ...] = ()
    records: tuple[Record | None, ...] = ()
    withheld: frozenset[int] = frozenset()
    progress: Progress | None = None
    failure: str = ""
    result: Any = None
    stopping: bool = False
    ahead: int = 0
    seconds_left: float | None = None

    @property
    def finished(self) -> list[Record]:
        """The pictures that are on disk, in the order of the plan."""
        return [record for record in self.records if record is not None]
