"""From a worker thread to an iterator of events.

A diffusers pipeline used by two threads at once crashes, so runs stand in line: each has a worker thread that waits for
its turn, works, and leaves the line itself, whatever became of the reader. The reader gets events, and at least four a
second, because a generator can only be closed between two of them. Closing it, or the deadline, ends the work at its
next `check`. This module knows nothing of models, and its threads nothing of the reader.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from krea_studio.engine.base import Event, Failed, Loading, Queued, Step
from krea_studio.errors import Stopped, StudioError

SILENCE_SECONDS = 0.25
# A step of a big model on a slow machine may take longer; then the worker leaves on its own a little later.
LEAVING_SECONDS = 5.0

log = logging.getLogger(__name__)


class Line:
    """A lock, first come first served, that knows how many wait and where in the line each of them is."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._places: deque[object] = deque()

    def join(self) -> object:
        """A new place at the end of the line; whoever has the first place has the turn."""
        place = object()
        with self._changed:
            self._places.append(place)
        return place

    def leave(self, place: object) -> None:
        """Give up a place, whether its turn had come or not."""
        with self._changed:
            self._places.remove(place)
            self._changed.notify_all()

    def ahead(self, place: object) -> int:
        """How many are before `place`; 0 is the turn."""
        with self._changed:
            return self._places.index(place)

    def wait(self, place: object, seen: int, seconds: float) -> int:
        """As `ahead`, but waits up to `seconds` for a number other than `seen`."""
        with self._changed:
            self._changed.wait_for(lambda: self._places.index(place) != seen, seconds)
            return self._places.index(place)

    @property
    def length(self) -> int:
        """How many have a place, the one whose turn it is included."""
        with self._changed:
            return len(self._places)


class Run:
    """What the work sees of its run: a place to put events, and the question whether to go on."""

    def __init__(self, deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        self.shot: int | None = None  # being drawn now, for Failed
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._end_at: float | None = None

    def emit(self, event: Event | None) -> None:
        """Hand an event to the reader; None is the end."""
        self._events.put(event)

    def start_clock(self) -> None:
        """Start counting toward the deadline; waiting in line and loading weights do not count."""
        self._end_at = time.monotonic() + self.deadline_seconds

    def check(self) -> None:
        """Raise Stopped when the reader has gone or the deadline has passed."""
        if self._ended.is_set():
            raise Stopped("The run was stopped")
        if self._end_at is not None and time.monotonic() > self._end_at:
            raise Stopped(
                f"The run took longer than {self.deadline_seconds:g} seconds and was ended — ask for fewer images or "
                "steps or a smaller size, or raise KREA_STUDIO_DEADLINE_SECONDS"
            )


def stream(
    work: Callable[[Run], None], line: Line, deadline_seconds: float, idle: Event
) -> Generator[Event, None, None]:
    """The events of `work`, done in a thread of its own when its turn in `line` has come.

    Raises nothing: what goes wrong is a Failed, the last event. When there is no news for SILENCE_SECONDS the latest
    event is given again (the same object; `idle` before there is one); a picture or a failure is never repeated.
    """
    run = Run(deadline_seconds)
    place = line.join()
    worker = threading.Thread(target=_work, args=(work, run, line, place), name="krea-studio-run", daemon=True)
    try:
        worker.start()
    except RuntimeError as error:
        line.leave(place)
        yield Failed(StudioError(f"The machine starts no more threads ({error}) — try again when it has less to do"))
        return
    latest = idle
    try:
        while True:
            try:
                event = run._events.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                event = latest
            if event is None:
                return
            if isinstance(event, Queued | Loading | Step):
                latest = event
            yield event
    finally:
        run._ended.set()
        worker.join(LEAVING_SECONDS)


@contextmanager
def turn(line: Line, check: Callable[[], None]) -> Iterator[None]:
    """A place in `line` for what this thread does itself: waits for its turn, and leaves whatever becomes of it.

    `check` is called while it waits and may raise to give up.
    """
    place = line.join()
    try:
        _wait_for_turn(line, place, check, lambda event: None)
        yield
    finally:
        line.leave(place)


def _work(work: Callable[[Run], None], run: Run, line: Line, place: object) -> None:
    try:
        _wait_for_turn(line, place, run.check, run.emit)
        work(run)
    except StudioError as error:
        # Tracebacks would keep the frames, and with them every tensor of the run, alive.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        run.emit(Failed(error, run.shot))
    except Exception as error:
        log.exception("A run failed")
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        run.emit(Failed(StudioError(f"The engine failed ({reason}) — try again; the log has the details"), run.shot))
    finally:
        line.leave(place)
        run.emit(None)


def _wait_for_turn(line: Line, place: object, check: Callable[[], None], emit: Callable[[Event], None]) -> None:
    ahead = line.ahead(place)
    while ahead:
        emit(Queued(ahead - 1))
        seen = ahead
        while ahead == seen:
            check()
            ahead = line.wait(place, seen, SILENCE_SECONDS)
