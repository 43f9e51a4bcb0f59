"""Which checkpoints stay in memory: pure decisions on sizes in bytes, free of torch.

Checkpoints share parts, so sizes are counted per part and once. `decide` says where a new checkpoint goes and which
older ones leave for it; doing so is the manager's part. The room that a run itself needs (activations, the picture)
is what the automatic budget leaves free.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

GIGABYTE = 10**9
# Of what is free when the engine starts. The rest is for activations: at 1024² the real model needs 1.5 to 4 GB.
AUTOMATIC_SHARE = {"cuda": 0.85, "mps": 0.6, "cpu": 0.6}

Parts = Mapping[Hashable, int]
"""Sizes in bytes by part; a part that two checkpoints share has the same key in both."""


Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decision(Generic[Key]):
    """`placement` of the new checkpoint, and the keys of those that leave first.

    resident: all of it on the device. offload: weights in main memory, each model visits the device while it works.
    refuse: it does not fit.
    """

    placement: Literal["resident", "offload", "refuse"]
    evict: tuple[Key, ...] = ()


def total(*checkpoints: Parts) -> int:
    """Bytes of several checkpoints together, shared parts counted once."""
    together: dict[Hashable, int] = {}
    for parts in checkpoints:
        together.update(parts)
    return sum(together.values())


def decide(loaded: Mapping[Key, Parts], wanted: Parts, budget_bytes: int, can_offload: bool) -> Decision[Key]:
    """Where `wanted` goes when `loaded` (least recently used first) is there already.

    The least recently used leave first, and only as many as needed. A checkpoint that does not fit even alone is
    offloaded where the device can, with everything else out of its way, as long as its largest part fits.
    """
    if total(wanted) > budget_bytes:
        if can_offload and max(wanted.values()) <= budget_bytes:
            return Decision("offload", tuple(loaded))
        return Decision("refuse")
    staying = dict(loaded)
    evict = []
    for key in loaded:
        # Last counts: the size of a part that is there is known better than that of its files.
        if total(wanted, *staying.values()) <= budget_bytes:
            break
        del staying[key]
        evict.append(key)
    return Decision("resident", tuple(evict))
