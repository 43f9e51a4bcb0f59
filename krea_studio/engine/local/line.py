"""The line in front of the device: first come, first served.

A pipeline that two threads use at once crashes, so whoever draws or writes takes a turn. This module knows nothing of
models.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHECK_SECONDS = 0.2


class Line:
    """A lock, first come first served, that knows how many stand in line for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._places: deque[object] = deque()

    def join(self) -> object:
        """A new place at the end of the line; whoever has the first place has the turn."""
        place = object()
        with self._changed:
            self._places.append(place)
        return place

    def wait(self, place: object, seconds: float) -> bool:
        """Whether the turn of `place` has come; waits for that up to `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._places[0] is place, seconds)

    def leave(self, place: object) -> None:
        """Give up a place, whether its turn had come or not."""
        with self._changed:
            self._places.remove(place)
            self._changed.notify_all()

    @property
    def length(self) -> int:
        """How many have a place, the one whose turn it is included."""
        with self._changed:
            return len(self._places)


@contextmanager
def turn(line: Line, check: Callable[[], None]) -> Iterator[None]:
    """A turn in `line` for what this thread does: waits for it, and leaves the line whatever becomes of it.

    `check` is called while it waits and may raise to give up.
    """
    place = line.join()
    try:
        while not line.wait(place, CHECK_SECONDS):
            check()
        yield
    finally:
        line.leave(place)
