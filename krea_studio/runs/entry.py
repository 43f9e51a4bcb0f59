"""A run with what drives it; its Runs changes it, under their lock."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextvars import Context, copy_context
from datetime import UTC, datetime
from typing import Any

from krea_studio.errors import DEFECT, Stopped, StorageError, StudioError
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.runs.rows import Row, picture_id
from krea_studio.runs.run import Kind, Progress, Run, State
from krea_studio.safety.content_filter import REFUSED
from krea_studio.studio import Generation
from krea_studio.validation import without_folders

log = logging.getLogger(__name__)

TITLE_CHARACTERS = 200
STOPPED = "Stopped. Finished pictures are kept."


class Entry:
    """One run of this process; `generation` of one that draws."""

    def __init__(
        self,
        kind: Kind,
        owner: str,
        title: str,
        generation: Generation | None = None,
        run_id: str | None = None,
        created_at: datetime | None = None,
    ) -> None:
        """A new run, or one of before with its id and time."""
        self.id = run_id or secrets.token_hex(16)
        self.kind = kind
        self.owner = owner
        self.title = " ".join(title.split())[:TITLE_CHARACTERS]
        self.generation = generation
        self.created_at = created_at or now()
        self.records: list[Record | None] = [None] * (len(generation.plan.shots) if generation else 0)
        self.drawn: set[int] = set()  # places whose pictures are drawn, and on disk or on their way there
        self.deleted: set[int] = set()  # places whose pictures a person deleted
        self.withheld: dict[int, str] = {}  # places whose pictures the content filter did not pass, and what is said
        self.unwritten: set[int] = set()  # places whose prompts are still being written out beside the device
        self.state = State.WAITING
        self.version = 0
        self.number = 0
        self.busy = False  # a picture of it is being drawn
        self.ending: tuple[State, str] | None = None  # decided, and true when the drawn pictures are on disk
        self.progress: Progress | None = None
        self.failure = ""
        self.result: Any = None
        self.stop = threading.Event()
        self.context = copy_context()  # of who asked for it, in which it is drawn: an engine may have to know for whom
        self.watchers = 0
        self.watched_at = time.monotonic()

    @property
    def stopped(self) -> str:
        """What is said of it where its end was asked for."""
        return STOPPED if self.generation else "Stopped."

    def look(self, ahead: int, seconds_left: float | None) -> Run:
        """It as it is now; `ahead` and `seconds_left` are those of `forecast`."""
        plan = self.generation.plan if self.generation else None
        return Run(
            id=self.id,
            kind=self.kind,
            owner=self.owner,
            title=self.title,
            state=self.state,
            version=self.version,
            created_at=self.created_at,
            asked=self.generation.asked if self.generation else None,
            cells=plan.cells if plan else (),
            shots=plan.shots if plan else (),
            records=tuple(self.records),
            withheld=frozenset(self.withheld),
            progress=self.progress,
            failure=self.failure,
            result=self.result,
            stopping=self.stop.is_set() and not self.state.ended,
            ahead=ahead,
            seconds_left=seconds_left,
        )

    def row(self) -> Row:
        """What is kept of it."""
        asked = self.generation.asked if self.generation else None
        return Row(self.id, self.kind, self.owner, self.title, self.state, self.created_at, asked)

    def take_up(self, library: Library) -> None:
        """Have the pictures of it that are in the library, and leave out what was deleted or refused."""
        for place in range(len(self.records)):
            picture = picture_id(self.id, place)
            self.records[place] = library.get(picture)
            if library.is_deleted(picture):
                self.deleted.add(place)
            if library.refusals.has(picture) and self.generation:
                self.withheld[place] = REFUSED.format(seed=self.generation.plan.shots[place].seed)
        self.drawn = {place for place, record in enumerate(self.records) if record}

    def take_over(self) -> None:
        """Have the pictures of a sweep that were drawn before, in whichever run."""
        for place in self.open_places():
            if self.generation and (before := self.generation.drawn_before(place)):
                self.records[place] = before
                self.drawn.add(place)

    def forget(self, picture_id: str) -> bool:
        """Have a picture no more that was deleted; whether it was among its own."""
        places = [place for place, record in enumerate(self.records) if record and record.id == picture_id]
        for place in places:
            self.records[place] = None
            self.drawn.discard(place)
            self.deleted.add(place)
        return bool(places)

    def open_places(self) -> list[int]:
        """The places that are not drawn yet."""
        left_out = self.drawn | self.deleted | self.withheld.keys()
        return [place for place in range(len(self.records)) if place not in left_out]

    def pictures_to_draw(self) -> int:
        """How many pictures may be drawn now, one of which may be in the making."""
        return len(self.open_places()) - len(self.unwritten)

    def wrote(self, place: int) -> None:
        """The prompt of this place is written out."""
        self.unwritten.discard(place)
        if self.progress and self.progress.doing == "expanding":
            self.progress = None

    def is_complete(self) -> bool:
        """Whether all its pictures are on disk, but for those that were deleted or refused."""
        return not self.open_places() and not self.is_writing()

    def withhold(self, place: int, message: str) -> None:
        """The picture of this place is not kept."""
        self.drawn.discard(place)
        self.withheld[place] = message

    def outcome(self) -> tuple[State, str]:
        """How it ends, when it is complete."""
        if self.stop.is_set():  # too late to leave anything out, but who pressed it is answered
            return State.STOPPED, self.stopped
        return (State.DONE if not self.withheld or any(self.records) else State.FAILED), ""

    def ended_as(self) -> tuple[State, str]:
        """What was decided of its end, with what there is to say of pictures that were refused until now."""
        assert self.ending
        state, reason = self.ending
        told = next(iter(self.withheld.values()), "")
        return state, f"{reason.rstrip('.')}. {told}" if reason and told else reason or told

    def end(self, state: State, failure: str) -> None:
        """It has ended, and holds nothing any more of who asked for it: a context may have all of a request."""
        self.state, self.failure = state, failure
        self.progress = None
        self.context = Context()

    def is_writing(self) -> bool:
        """Whether a picture of it is on its way to the disk."""
        return any(self.records[place] is None for place in self.drawn)

    def require_wanted(self, unwatched_seconds: float | None) -> None:
        """Raise Stopped where its end was asked for, or nobody has looked at it for so long."""
        if self.stop.is_set():
            raise Stopped(self.stopped)
        if unwatched_seconds is not None and self.unwatched_for() > unwatched_seconds:
            raise Stopped(
                f"Nobody looked at the run for {unwatched_seconds:g} seconds, so it was ended. Finished pictures are "
                "kept."
            )

    def unwatched_for(self) -> float:
        """For how many seconds nobody has looked at it."""
        return 0.0 if self.watchers else time.monotonic() - self.watched_at


def reason_of(error: Exception) -> str:
    """What is said of a run that an error ended; what whoever runs the studio has to know of it is logged."""
    if not isinstance(error, StudioError):
        log.error("A run failed", exc_info=error)
        return DEFECT
    if isinstance(error, StorageError):
        log.error("%s", error.message)
        return without_folders(error.message)  # who asked need not know where files lie
    return error.message


def now() -> datetime:
    return datetime.now(UTC)
