"""How long a picture takes here, told from those that were drawn: seconds a step, for the size and the variant."""

from collections.abc import Collection, Iterable, Sequence

from krea_studio.library.records import Record, seconds_text
from krea_studio.library.store import Library
from krea_studio.recipe.recipe import Shot

RECENT_RECORDS = 40
KEPT = 0.5  # weight of what was known before beside the latest picture


class Pace:
    """Seconds a step and pixel of each variant, with guidance twice, as the latest pictures took."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """`records`, oldest first, are what was drawn before."""
        self._seconds: dict[str, float] = {}
        for record in records:
            if record.seconds > 0:
                self.learn(record.recipe, record.seconds)

    @classmethod
    def of(cls, library: Library) -> "Pace":
        """As the latest pictures of a library took. Raises StorageError."""
        return cls(reversed(library.recent(RECENT_RECORDS)))

    def learn(self, shot: Shot, seconds: float) -> None:
        """Take in that a picture took so many seconds."""
        found = seconds / _work(shot)
        known = self._seconds.get(shot.variant, found)
        self._seconds[shot.variant] = KEPT * known + (1 - KEPT) * found

    def seconds(self, shot: Shot) -> float | None:
        """About how many seconds a picture will take; None where its variant drew none yet."""
        known = self._seconds.get(shot.variant)
        return None if known is None else known * _work(shot)


def expected(shots: Sequence[Shot], here: Collection[int], pace: Pace) -> str:
    """How many pictures there will be, how many are here, and about how long the others take where that is known.

    `here` are the places of the shots that need not be drawn: `9 pictures, 3 of them here already, about 12 s`.
    """
    told = [f"{len(shots)} picture{'s' * (len(shots) != 1)}"]
    if here:
        told.append("all of them here already" if len(here) == len(shots) else f"{len(here)} of them here already")
    seconds = [pace.seconds(shot) for place, shot in enumerate(shots) if place not in here]
    known = [each for each in seconds if each is not None]
    if known and len(known) == len(seconds):
        told.append(f"about {seconds_text(sum(known))}")
    return ", ".join(told)


def _work(shot: Shot) -> float:
    return shot.steps * shot.width * shot.height * (2 if shot.guidance_scale > 0 else 1)
