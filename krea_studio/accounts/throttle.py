"""Attempts to sign in are counted before a password is looked at: after too many, nobody may try for a while."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from krea_studio.errors import InvalidRequest

WINDOW_SECONDS = 900.0
MOST_KEYS = 10_000  # that are remembered: those that nobody has tried for the longest time are forgotten first


class Throttle:
    """Counts by key, in this process. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: dict[str, deque[float]] = {}

    def attempt(self, keys: Mapping[str, int]) -> None:
        """Count an attempt for each of the keys, of which each may have so many within WINDOW_SECONDS.

        Raises InvalidRequest where one of them has had as many, with how long to wait; it is then not counted.
        """
        now = self._clock()
        with self._lock:
            waits = [self._wait(key, most, now) for key, most in keys.items()]
            if (wait := max(waits, default=0.0)) > 0:
                minutes = max(1, round(wait / 60))
                raise InvalidRequest(
                    f"There were too many wrong passwords — try again in {minutes} minute{'s' * (minutes > 1)}"
                )
            for key in keys:
                found = self._attempts.pop(key, deque())
                found.append(now)
                self._attempts[key] = found  # as the latest
            while len(self._attempts) > MOST_KEYS:
                self._attempts.pop(next(iter(self._attempts)))

    def forgive(self, *keys: str) -> None:
        """The latest attempt for each of the keys was right, and does not count."""
        with self._lock:
            for key in keys:
                if found := self._attempts.get(key):
                    found.pop()

    def forget(self, key: str) -> None:
        """Nothing that was counted for a key counts any more."""
        with self._lock:
            self._attempts.pop(key, None)

    def _wait(self, key: str, most: int, now: float) -> float:
        found = self._attempts.get(key, deque())
        while found and found[0] + WINDOW_SECONDS <= now:
            found.popleft()
        return found[0] + WINDOW_SECONDS - now if len(found) >= most else 0.0
