"""What one person may bring in and take out within a day, on a page that others use too.

Counted in this process, by quarters of an hour: a new start forgets it. It keeps a disk from being filled by one of
many, and says nothing of what is on it already.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from krea_studio.errors import Unavailable
from krea_studio.people import Person

DAY_SECONDS = 86_400.0
QUARTER_SECONDS = 900.0
MOST_KEYS = 10_000  # that are remembered: those that took nothing for the longest time are forgotten first
MEGABYTE = 1_000_000


class Thing(StrEnum):
    """What is counted, as messages call it."""

    UPLOADS = "uploads"
    REFERENCES = "style references"
    BOARDS = "new moodboards"
    EXPORTS = "exports"


@dataclass(frozen=True)
class Allowance:
    """`number` of a thing within a day, of `megabytes` together; None is no limit."""

    number: int
    megabytes: int | None = None


@dataclass
class _Quarter:
    begun: float
    number: int = 0
    size: int = 0


class Shares:
    """How much of each thing each person had within the last day. Safe to use from several threads.

    Who is not `limited`, as on one's own machine, may have anything.
    """

    def __init__(self, allowances: Mapping[Thing, Allowance], clock: Callable[[], float] = time.monotonic) -> None:
        self._allowances, self._clock = allowances, clock
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, Thing], deque[_Quarter]] = {}

    def take(self, person: Person, thing: Thing, number: int = 1, size: int = 0) -> None:
        """Count so many of a thing, of `size` bytes together.

        Raises Unavailable where that is more than this person may have, with when it is not; it is then not counted.
        """
        if not person.limited:
            return
        with self._lock:
            self._require(person, thing, number, size)
            self._count(person, thing, number, size)

    def note(self, person: Person, thing: Thing, size: int) -> None:
        """What was taken turned out to have so many bytes."""
        if person.limited:
            with self._lock:
                self._count(person, thing, 0, size)

    @contextmanager
    def taking(self, person: Person, thing: Thing, number: int = 1, size: int = 0) -> Iterator[None]:
        """`take` for what may still fail, which then does not count."""
        self.take(person, thing, number, size)
        try:
            yield
        except BaseException:
            if person.limited:
                with self._lock:
                    self._count(person, thing, -number, -size)
            raise

    def _count(self, person: Person, thing: Thing, number: int, size: int) -> None:
        now = self._clock()
        quarters = self._taken.pop((person.id, thing), deque())
        if not quarters or quarters[-1].begun + QUARTER_SECONDS <= now:
            quarters.append(_Quarter(now))
        quarters[-1].number += number
        quarters[-1].size += size
        self._taken[person.id, thing] = quarters  # as the latest
        while len(self._taken) > MOST_KEYS:
            self._taken.pop(next(iter(self._taken)))

    def _require(self, person: Person, thing: Thing, number: int, size: int) -> None:
        allowance, now = self._allowances[thing], self._clock()
        quarters = self._taken.get((person.id, thing), deque())
        while quarters and quarters[0].begun + DAY_SECONDS <= now:
            quarters.popleft()
        limits = []
        if number:  # else it is more of what was begun
            limits.append(
                (allowance.number, number, [each.number for each in quarters], f"{allowance.number:,} {thing}")
            )
        if allowance.megabytes is not None and (number or size):
            told = f"{allowance.megabytes:,} MB of {thing}"
            limits.append((allowance.megabytes * MEGABYTE, size, [each.size for each in quarters], told))
        for most, wanted, had, told in limits:
            # What is noted afterwards may be over the limit: then nothing more is given out, of whatever size.
            too_much = max(sum(had) + wanted - most, 1 if sum(had) >= most else 0)
            if too_much <= 0:
                continue
            told = f"One person may have {told} a day here"
            if wanted > most:
                raise Unavailable(f"{told}, and this is more at once — give less")
            freed, place = 0, 0
            while freed < too_much and place < len(had):
                freed, place = freed + had[place], place + 1
            wait = quarters[place - 1].begun + DAY_SECONDS - now
            raise Unavailable(f"{told}, and you have had yours — try again in {_duration(wait)}")


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    number, unit = (minutes, "minute") if minutes < 90 else (round(minutes / 60), "hour")
    return f"{number} {unit}{'s' * (number > 1)}"
