"""Whose turn it is on a device: owners take turns, picture by picture, so that many runs of one hold nobody up.

Pure. A turn is one picture. The owner who had none for longest is next, with the oldest of their runs; while nobody
else waits, an owner's runs follow one another as they were made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush


@dataclass(frozen=True)
class Waiting:
    """A run that has one or more `pictures` left to draw; `number` grows with each run that is made."""

    run: str
    owner: str
    number: int
    pictures: int


def next_turn(waiting: Iterable[Waiting], served: Mapping[str, int]) -> Waiting | None:
    """Who is next; None where nobody waits. `served` gives the number of each owner's latest turn."""
    return min(waiting, key=lambda each: (served.get(each.owner, -1), each.number), default=None)


def order(waiting: Iterable[Waiting], served: Mapping[str, int]) -> list[str]:
    """The runs of all turns to come, a run once for each of its pictures."""
    queues: dict[str, list[Waiting]] = {}
    for each in sorted(waiting, key=lambda each: -each.number):
        queues.setdefault(each.owner, []).append(each)
    clock = max(served.values(), default=0)
    owners = [(served.get(owner, -1), queue[-1].number, owner) for owner, queue in queues.items()]
    heapify(owners)
    turns = []
    while owners:
        _, _, owner = heappop(owners)
        following = queues[owner].pop()
        turns.append(following.run)
        if following.pictures > 1:
            queues[owner].append(replace(following, pictures=following.pictures - 1))
        clock += 1
        if queues[owner]:
            heappush(owners, (clock, queues[owner][-1].number, owner))
    return turns
