"""Wrong passwords are counted: after some of them, nobody may try for a while."""

import threading
import time
from collections import deque
from collections.abc import Callable

from krea_studio.errors import InvalidRequest

MOST = 10
"""Wrong passwords within WINDOW_SECONDS, from one address or for one account."""
WINDOW_SECONDS = 900.0
MOST_KEYS = 10_000  # that are remembered: the oldest are forgotten first


class Throttle:
    """Counts by key, in this process. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, deque[float]] = {}

    def require(self, *keys: str) -> None:
        """Raise InvalidRequest where there were too many for one of the keys, with how long to wait."""
        with self._lock:
            waits = [self._wait(key) for key in keys]
        if wait := max(waits):
            minutes = max(1, round(wait / 60))
            raise InvalidRequest(
                f"There were too many wrong passwords — try again in {minutes} minute{'s' * (minutes > 1)}"
            )

    def note(self, *keys: str) -> None:
        """One more for each of the keys."""
        now = self._clock()
        with self._lock:
            for key in keys:
                self._wrong.setdefault(key, deque(maxlen=MOST)).append(now)
                while len(self._wrong) > MOST_KEYS:
                    self._wrong.pop(next(iter(self._wrong)))

    def forget(self, *keys: str) -> None:
        """The right one was given: what was counted for the keys does not count any more."""
        with self._lock:
            for key in keys:
                self._wrong.pop(key, None)

    def _wait(self, key: str) -> float:
        found = self._wrong.get(key, deque())
        return max(0.0, found[0] + WINDOW_SECONDS - self._clock()) if len(found) == MOST else 0.0
