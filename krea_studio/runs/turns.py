"""Whose turn it is on a device: owners take turns, picture by picture, so that many runs of one hold nobody up.

Pure. A turn is one picture. The owner who had none for longest is next, with the oldest of their runs; while nobody
else waits, an owner's runs follow one another as they were made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Waiting:
    """A run that has `pictures` left to draw; `number` grows with each run that is made."""

    run: str
    owner: str
    number: int
    pictures: int


def next_turn(waiting: Iterable[Waiting], served: Mapping[str, int]) -> Waiting | None:
    """Who is next; None where nobody waits. `served` gives the number of each owner's latest turn."""
    return min(waiting, key=lambda each: (served.get(each.owner, -1), each.number), default=None)


def order(waiting: Iterable[Waiting], served: Mapping[str, int]) -> list[str]:
    """The runs of all turns to come, a run once for each of its pictures."""
    left = {each.run: each for each in waiting if each.pictures > 0}
    latest, turns = dict(served), []
    clock = max(latest.values(), default=0)
    while (following := next_turn(left.values(), latest)) is not None:
        turns.append(following.run)
        clock += 1
        latest[following.owner] = clock
        if following.pictures == 1:
            del left[following.run]
        else:
            left[following.run] = replace(following, pictures=following.pictures - 1)
    return turns
