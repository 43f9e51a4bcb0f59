"""How much may be asked for at once: of the studio, and by one person of one that others use as well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from krea_studio.errors import Unavailable
from krea_studio.people import Person

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Limits:
    """`waiting` runs may wait or go on in all, `runs` of one person; `pictures_an_hour` may one person have drawn.

    None is no limit. Who is not `limited`, as on one's own machine, has the first alone.
    """

    waiting: int
    runs: int | None = None
    pictures_an_hour: int | None = None

    def require_run(self, person: Person, owners: Sequence[str]) -> None:
        """Raise Unavailable where a person may not have one more run beside those that have not ended, by owner."""
        own = owners.count(person.id)
        if person.limited and self.runs is not None and own >= self.runs:
            what = "A run of yours waits or goes on" if own == 1 else f"{own} of your runs wait or go on"
            raise Unavailable(f"{what}, and one person may have {self.runs} here — wait until one of them has ended")
        if len(owners) >= self.waiting:
            raise Unavailable(
                f"{len(owners)} runs are waiting already — try again when some of them are done, or raise "
                "KREA_STUDIO_QUEUE_SIZE"
            )

    def require_pictures(
        self, person: Person, wanted: int, to_come: int, made: Callable[[str, datetime], Sequence[datetime]]
    ) -> None:
        """Raise Unavailable where a person may not ask for so many pictures now, with when they may.

        `to_come` are asked for already; `made(owner, since)` gives the times of those that were drawn, oldest first.
        """
        most, now = self.pictures_an_hour, datetime.now(UTC)
        if most is None or not person.limited:
            return
        told = f"One person may have {most} pictures an hour here, and you asked for {wanted}"
        if wanted > most:
            raise Unavailable(f"{told} at once — ask for fewer")
        times = made(person.id, now - HOUR)
        too_many = wanted + to_come + len(times) - most
        if too_many <= 0:
            return
        told += f" beside {len(times)} of the last hour" * bool(times) + f" and {to_come} to come" * bool(to_come)
        if too_many > len(times):
            raise Unavailable(f"{told} — wait until these are drawn, or ask for fewer")
        minutes = max(1, round((times[too_many - 1] + HOUR - now).total_seconds() / 60))
        raise Unavailable(f"{told} — try again in {minutes} minute{'s' * (minutes > 1)}, or ask for fewer")
