"""How much may be asked for at once: of the studio, and by one person of one that others use as well."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from krea_studio.errors import Unavailable
from krea_studio.people import Person
from krea_studio.runs.entry import Entry

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Limits:
    """`waiting` runs may wait or go on in all, `runs` of one person; `pictures_an_hour` may one person have drawn.

    None is no limit. Who is not `limited`, as on one's own machine, has the first alone.
    """

    waiting: int
    runs: int | None = None
    pictures_an_hour: int | None = None

    def require_run(self, person: Person, others: Sequence[Entry]) -> None:
        """Raise Unavailable where a person may not have one more run beside those that have not ended."""
        own = sum(each.owner == person.id for each in others)
        if person.limited and self.runs is not None and own >= self.runs:
            what = "A run of yours waits or goes on" if own == 1 else f"{own} of your runs wait or go on"
            raise Unavailable(f"{what}, and one person may have {self.runs} here — wait until one of them has ended")
        if len(others) >= self.waiting:
            raise Unavailable(
                f"{len(others)} runs are waiting already — try again when some of them are done, or raise "
                "KREA_STUDIO_QUEUE_SIZE"
            )


class Tally:
    """Who has had how many pictures drawn of late, whatever became of them. Safe to use from several threads."""

    def __init__(self, limits: Limits, before: Callable[[str, datetime], Sequence[datetime]]) -> None:
        """`before(owner, since)` gives the times of those that were drawn before this server began, oldest first."""
        self._limits, self._before = limits, before
        self._lock = threading.Lock()
        self._drawn: dict[str, deque[datetime]] = {}

    def note(self, owner: str) -> None:
        """One more was drawn."""
        if self._limits.pictures_an_hour is not None:
            with self._lock:
                self._of(owner).append(datetime.now(UTC))

    def require(self, person: Person, wanted: int, others: Sequence[Entry]) -> None:
        """Raise Unavailable where a person may not ask for so many pictures now beside the runs that have not ended."""
        most = self._limits.pictures_an_hour
        if most is None or not person.limited or not wanted:
            return
        told = f"One person may have {most} pictures an hour here, and you asked for {wanted}"
        if wanted > most:
            raise Unavailable(f"{told} at once — ask for fewer")
        with self._lock:
            times = list(self._of(person.id))
        to_come = sum(len(each.open_places()) for each in others if each.owner == person.id)
        too_many = wanted + to_come + len(times) - most
        if too_many <= 0:
            return
        told += f" beside {len(times)} of the last hour" * bool(times) + f" and {to_come} to come" * bool(to_come)
        if too_many > len(times):
            raise Unavailable(f"{told} — wait until these are drawn, or ask for fewer")
        minutes = max(1, round((times[too_many - 1] + HOUR - datetime.now(UTC)).total_seconds() / 60))
        raise Unavailable(f"{told} — try again in {minutes} minute{'s' * (minutes > 1)}, or ask for fewer")

    def _of(self, owner: str) -> deque[datetime]:
        since = datetime.now(UTC) - HOUR
        if owner not in self._drawn:
            self._drawn = {each: times for each, times in self._drawn.items() if times and times[-1] > since}
            self._drawn[owner] = deque(self._before(owner, since))
        times = self._drawn[owner]
        while times and times[0] <= since:
            times.popleft()
        return times
