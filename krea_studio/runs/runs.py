"""All runs of a studio: who submits one gets its id, who watches it sees its present state, and only Stop ends it.

One thread drives the device, a picture at a time, each time for the owner whose turn it is (`turns`). What needs no
device for most of its time (analyses, expansions, imports, prompts that a server writes out) is done beside it. Nobody
has to listen for a run to go on; only where `unwatched_seconds` is given, on a page of strangers, a run that nobody
looks at any more is ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from krea_studio.engine.base import ImageReady, Loading, Step
from krea_studio.errors import InvalidRequest, Refused, Stopped, StorageError
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.sweep import Sweep
from krea_studio.runs import turns
from krea_studio.runs.counts import Counts
from krea_studio.runs.entry import STOPPED, Entry, now, reason_of
from krea_studio.runs.forecast import forecast
from krea_studio.runs.limits import Limits, Tally
from krea_studio.runs.pace import Pace
from krea_studio.runs.priority import let_others_go_first
from krea_studio.runs.rows import Row, Rows, picture_id
from krea_studio.runs.run import Kind, Progress, Run, State
from krea_studio.studio import Expanding, Generation, Studio
from krea_studio.validation import shown

Report = Callable[[float], None]
Check = Callable[[], None]

UNKNOWN = "There is no run {} here any more — its pictures are in the library"
RESTARTED = "The studio was started again meanwhile — begin it once more"
ENDED_KEPT = 200  # ended runs that can still be looked at
DESK_THREADS = 2
LEAVING_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0  # for runs that nobody watches any more

log = logging.getLogger(__name__)


class Runs:
    """The runs over one studio. Safe to call from several threads; its own begin with the first run."""

    def __init__(self, studio: Studio, limits: Limits, unwatched_seconds: float | None = None) -> None:
        """What is more than `limits` allow is refused."""
        self.studio = studio
        self.limits, self.counts = limits, Counts()
        self._tally = Tally(limits, studio.library.records.times_of)
        self._asking = threading.Lock()  # so that what is let in was counted
        self.unwatched_seconds = unwatched_seconds
        self._rows = Rows(studio.library.records)
        self._changed = threading.Condition(threading.RLock())
        self._entries: dict[str, Entry] = {}
        self._served: dict[str, int] = {}
        self._numbers = 0
        self._closing = threading.Event()
        self._driver: threading.Thread | None = None
        self._pace: Pace | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture-writer")
        # A desk for each kind, so that slow downloads hold up nothing else.
        self._desks: dict[Kind, ThreadPoolExecutor] = {
            kind: ThreadPoolExecutor(max_workers=DESK_THREADS, thread_name_prefix=f"krea-studio-{kind}")
            for kind in Kind
            if kind is not Kind.GENERATE
        }

    def submit(self, asked: GenerationRequest | Sweep, person: Person = LOCAL) -> str:
        """Take on a request or a sweep and return its run's id; `person` will own the pictures.

        Raises what `Studio.begin` does, and Unavailable where too many wait or this person asks for too much.
        """
        title = asked.title if isinstance(asked, Sweep) else asked.prompt
        with self._asking:
            self.limits.require_run(person, self.unended())
            entry = Entry(Kind.GENERATE, person.id, title, self.studio.begin(asked, person))
            entry.take_over()
            self._tally.require(person, len(entry.open_places()), self.unended())
            self._rows.add(entry.row())
            self._take_on(entry)
        return entry.id

    def begin(self, kind: Kind, title: str, work: Callable[[Report, Check], Any], person: Person = LOCAL) -> str:
        """Do some other work as a run, and return its id. Its result is what `work(report, check)` returns.

        `report` takes the share that is done, 0…1; `check` raises when the run is to end.
        """
        # A title may be what somebody typed, and half of a surrogate pair cannot be kept.
        entry = Entry(kind, person.id, title.encode("utf-8", "replace").decode("utf-8"))
        with self._asking:
            self.limits.require_run(person, self.unended())
            self._rows.add(entry.row())
            with self._changed:
                self._add(entry)
        self._desks[kind].submit(self._work, entry, work)
        return entry.id

    def watch(self, run_id: str, person: Person = LOCAL, since: int = -1, seconds: float = 0.0) -> Run:
        """A run as it is, when its version is above `since`, at the latest after `seconds`.

        Raises InvalidRequest where there is none for this person.
        """
        with self._changed:
            entry = self._of(run_id, person)
            if seconds > 0:
                entry.watchers += 1
                try:
                    self._changed.wait_for(lambda: entry.version > since or self._closing.is_set(), seconds)
                finally:
                    entry.watchers -= 1
            entry.watched_at = time.monotonic()
            return self._look(entry, self._to_come())

    def of(self, person: Person = LOCAL, kind: Kind | None = None) -> list[Run]:
        """The runs that a person sees, oldest first: those that wait and go on, and what ended of late."""
        with self._changed:
            seen = [
                entry for entry in self._entries.values() if person.sees(entry.owner) and kind in (None, entry.kind)
            ]
            for entry in seen:
                entry.watched_at = time.monotonic()
            to_come = self._to_come()
            return [self._look(entry, to_come) for entry in seen]

    def last_sweep(self, person: Person = LOCAL) -> Run | None:
        """The latest sweep of a person, also one that ended before this server began; None where there is none.

        Raises what is in the way of a look at it, such as a style that is gone.
        """
        row = self._rows.last_sweep(person.id)
        with self._changed:
            is_known = row is None or row.id in self._entries
        if row and not is_known and row.state.ended:  # one that goes on is another server's
            entry = self._left(row)
            entry.ending = row.state, row.failure
            entry.end(*entry.ending)
            with self._changed:
                self._add(entry)
        sweeps = [run for run in self.of(person) if isinstance(run.asked, Sweep) and run.owner == person.id]
        return max(sweeps, key=lambda run: run.created_at, default=None)

    def stop(self, run_id: str, person: Person = LOCAL) -> None:
        """End a run: at once where it waits, at its next step where it goes on. Finished pictures are kept.

        Raises InvalidRequest where there is none for this person.
        """
        with self._changed:
            entry = self._of(run_id, person)
            entry.stop.set()
            self._tell(entry)
            if entry.state is State.WAITING or (entry.generation and not entry.busy):
                self._end(entry, State.STOPPED, entry.stopped)

    def forget(self, picture_id: str) -> None:
        """Let no run have a picture any more that was deleted."""
        with self._changed:
            for entry in self._entries.values():
                if entry.forget(picture_id):
                    self._tell(entry)

    def go_on(self, run_id: str, person: Person = LOCAL) -> None:
        """Draw what a run lacks that was stopped or failed; it has the pictures that it had.

        Raises InvalidRequest where there is none for this person or it has not ended, and what is in its way.
        """
        with self._changed:
            before = self._entries.get(run_id)
        row = before.row() if before else self._rows.find(run_id)
        if row is None or not person.sees(row.owner):
            raise InvalidRequest(UNKNOWN.format(shown(run_id)))
        if not row.state.ended:
            raise InvalidRequest("The run goes on already — stop it first to begin it again")
        with self._asking:
            self.limits.require_run(person, self.unended())
            entry = self._left(row)
            self._tally.require(person, len(entry.open_places()), self.unended())
            entry.version = before.version + 1 if before else 0
            self._rows.reopen(entry.id)
            self._take_on(entry)

    def resume(self) -> None:
        """Go on with what a server left that was killed: each run from its first picture that is not in the library.

        What cannot go on ends, with the reason. Runs of this server are left alone. Raises StorageError.
        """
        for row in self._rows.unfinished():
            try:
                entry = self._left(row)
            except Exception as error:
                entry = Entry(row.kind, row.owner, row.title, None, row.id, row.created_at)
                with self._changed:
                    self._add(entry)
                self._fail(entry, error)
            else:
                self._take_on(entry)

    def _left(self, row: Row) -> Entry:
        """The run of a row with the pictures that it has. Raises what is in its way."""
        if row.kind is not Kind.GENERATE:
            raise Stopped(RESTARTED)
        if row.asked is None:
            raise InvalidRequest("This studio cannot read what was asked for — ask again")
        generation = self.studio.begin(row.asked, Person(row.owner))
        entry = Entry(row.kind, row.owner, row.title, generation, row.id, row.created_at)
        entry.take_up(self.studio.library)
        entry.take_over()
        return entry

    def close(self) -> int:
        """End the threads; a run that goes on is left as it is. Returns how many the next server resumes."""
        with self._changed:
            self._closing.set()
            self._tell()
        if self._driver is not None:
            self._driver.join(LEAVING_SECONDS)
        for desk in self._desks.values():
            desk.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=True)
        with self._changed:
            left = [each for each in self._entries.values() if each.generation and not each.state.ended]
        kept = self._rows.kept
        self._rows.close()
        return len(left) if kept else 0

    def unended(self) -> list[Entry]:
        """The runs that wait and go on; this is no look at them."""
        with self._changed:
            return [each for each in self._entries.values() if not each.state.ended]

    def _take_on(self, entry: Entry) -> None:
        with self._changed:
            self._add(entry)
            if entry.generation and entry.generation.writes_elsewhere:
                entry.unwritten = set(entry.open_places())
                self._desks[Kind.EXPAND].submit(self._write, entry, entry.generation)
            if not entry.open_places():
                self._end(entry, *entry.outcome())
            elif self._driver is None:
                self._driver = threading.Thread(target=self._drive, name="krea-studio-device", daemon=True)
                self._driver.start()

    def _add(self, entry: Entry) -> None:
        self._numbers += 1
        entry.number = self._numbers
        self._entries[entry.id] = entry
        ended = [each for each in self._entries.values() if each.state.ended]
        for old in ended[: max(0, len(ended) - ENDED_KEPT)]:
            del self._entries[old.id]
        owners = {each.owner for each in self._entries.values()}
        self._served = {owner: turn for owner, turn in self._served.items() if owner in owners}
        self._tell()

    def _of(self, run_id: str, person: Person) -> Entry:
        entry = self._entries.get(run_id)
        if entry is None or not person.sees(entry.owner):
            raise InvalidRequest(UNKNOWN.format(shown(run_id)))
        return entry

    def _look(self, entry: Entry, to_come: list[str]) -> Run:
        return entry.look(*forecast(entry, to_come, self._entries, self._known_pace))

    def _to_come(self) -> list[str]:
        """The run of every turn to come, that of the present one first."""
        present = [run for run, each in self._entries.items() if each.busy]
        return present + turns.order(self._waiting(), self._served)

    def _known_pace(self) -> Pace:
        if self._pace is None:
            self._pace = Pace()
            with suppress(StorageError):
                self._pace = Pace.of(self.studio.library)
        return self._pace

    def _waiting(self) -> list[turns.Waiting]:
        return [
            turns.Waiting(entry.id, entry.owner, entry.number, left)
            for entry in self._entries.values()
            if entry.generation and not entry.ending and (left := entry.pictures_to_draw() - entry.busy) > 0
        ]

    def _drive(self) -> None:
        """Draw one picture after another, for whoever's turn it is; the device's one thread."""
        let_others_go_first()
        while True:
            with self._changed:
                if self._closing.is_set():
                    return
                self._end_unwanted()
                following = turns.next_turn(self._waiting(), self._served)
                if following is None:
                    self._changed.wait(LOOK_AGAIN_SECONDS)
                    continue
                entry = self._entries[following.run]
                self._served[entry.owner] = max(self._served.values(), default=0) + 1
                entry.busy = True
                begins = entry.state is State.WAITING
                entry.state = State.RUNNING
                self._tell(entry)
            try:
                if begins:
                    self._rows.change(entry.id, State.RUNNING, now())
                entry.context.run(self._turn, entry)
            except Exception as error:
                self._fail(entry, error)
            finally:
                with self._changed:
                    entry.busy = False
                    self._tell(entry)

    def _turn(self, entry: Entry) -> None:
        assert entry.generation
        place = entry.open_places()[0]
        ready = entry.generation.draw(place, lambda event: self._progress(entry, place, event), self._check(entry))
        self._tally.note(entry.owner)
        self.counts.drew(ready.seconds)
        with self._changed:
            entry.busy = False
            entry.drawn.add(place)
            self._known_pace().learn(ready.recipe, ready.seconds)
            self._writer.submit(self._keep, entry, ready)

    def _write(self, entry: Entry, generation: Generation) -> None:
        """Have a run's prompts written out, one after the other; its turns come when there is one to draw."""

        def tell(event: Expanding) -> None:
            if not entry.busy:
                self._progress(entry, event.shot, event)

        try:
            for place in sorted(entry.unwritten):
                generation.write(place, tell, self._check(entry))
                with self._changed:
                    entry.wrote(place)
                    self._tell(entry)
        except Exception as error:
            self._fail(entry, error)

    def _keep(self, entry: Entry, ready: ImageReady) -> None:
        """Write a picture, in the writer's thread."""
        assert entry.generation
        try:
            record = entry.generation.keep(ready, picture_id(entry.id, ready.shot))
        except Refused as refusal:
            with self._changed:
                entry.withhold(ready.shot, refusal.message)
                if entry.ending:
                    self._rows.note_end(entry.id, *entry.ended_as())
                self._tell(entry)
        except Exception as error:
            with self._changed:
                entry.drawn.discard(ready.shot)
                self._fail(entry, error)
        else:
            with self._changed:
                entry.records[ready.shot] = record
                self._tell(entry)
        with self._changed:
            if entry.is_complete():
                self._end(entry, *entry.outcome())
            self._settle(entry)

    def _work(self, entry: Entry, work: Callable[[Report, Check], Any]) -> None:
        """What a run beside the device does."""

        def report(share: float) -> None:
            self._show(entry, Progress("working", share=share))

        try:
            self._check(entry)()
            with self._changed:
                if entry.ending:
                    return
                entry.state = State.RUNNING
                self._tell(entry)
            result = work(report, self._check(entry))
        except Exception as error:
            self._fail(entry, error)
        else:
            with self._changed:
                entry.result = result
                self._end(entry, State.DONE)

    def _progress(self, entry: Entry, place: int, event: Expanding | Loading | Step) -> None:
        if isinstance(event, Expanding):
            progress = Progress("expanding", shot=place)
        elif isinstance(event, Loading):
            progress = Progress("loading", event.what, event.fraction, place)
        else:
            before = entry.progress
            preview = event.preview or (before.preview if before and before.shot == place else None)
            progress = Progress("drawing", shot=place, step=event.step, steps=event.steps, preview=preview)
        self._show(entry, progress)

    def _show(self, entry: Entry, progress: Progress) -> None:
        with self._changed:
            if not entry.ending:
                entry.progress = progress
                self._tell(entry)

    def _fail(self, entry: Entry, error: Exception) -> None:
        if self._closing.is_set() and not entry.stop.is_set():
            return  # the row still says that it goes on, and the next server will
        with self._changed:
            self._end(entry, State.STOPPED if isinstance(error, Stopped) else State.FAILED, reason_of(error))

    def _end(self, entry: Entry, state: State, failure: str = "") -> None:
        """Decide that a run ends; it has ended when the pictures that it drew are on disk. The first reason counts."""
        if entry.ending:
            return
        entry.ending = state, failure
        self._rows.note_end(entry.id, *entry.ended_as())
        self._settle(entry)

    def _settle(self, entry: Entry) -> None:
        if entry.ending and not entry.state.ended and not entry.is_writing():
            entry.end(*entry.ended_as())
            self.counts.ended(entry)
            self._tell(entry)

    def _end_unwanted(self) -> None:
        for entry in list(self._entries.values()):
            if entry.generation and not entry.ending and not entry.busy:
                try:
                    entry.require_wanted(self.unwatched_seconds)
                except Stopped as error:
                    self._end(entry, State.STOPPED, error.message)

    def _check(self, entry: Entry) -> Check:
        """What raises when a run is to end."""

        def check() -> None:
            if self._closing.is_set():
                raise Stopped(STOPPED)
            if entry.ending:  # a picture of it could not be written
                raise Stopped(entry.ending[1])
            entry.require_wanted(self.unwatched_seconds)

        return check

    def _tell(self, entry: Entry | None = None) -> None:
        if entry is not None:
            entry.version += 1
        self._changed.notify_all()
