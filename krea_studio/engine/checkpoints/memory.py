"""Where a checkpoint's weights go for a run, and which others leave for it: pure decisions on bytes, free of torch.

A run has three stages: the text encoder reads, the transformer draws, the VAE decodes. Each way to place the weights
says which of them are on the device in each stage. `plan` takes the first way, cheapest first, whose every stage fits
with its activations. Checkpoints share parts, so sizes are counted per part and once. Doing what is decided is
`placing`'s part and the manager's.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from krea_studio.engine.base import Placement, Visit
from krea_studio.engine.checkpoints.activations import Activations

GIGABYTE = 10**9
# Of what is free when the engine starts. The rest is for what is not planned: holes between tensors, the workspaces of
# libraries, and where the device's memory is the machine's, for other programs.
PLANNED_SHARE = {"cuda": 0.95, "mps": 0.75, "cpu": 0.8}

Parts = Mapping[Hashable, int]
"""Sizes in bytes by part; a part that two checkpoints share has the same key in both."""


Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Weights:
    """Bytes of a checkpoint's weights: the three models, and what is on the device of a `streamed` transformer."""

    transformer: int
    text_encoder: int
    vae: int
    streamed: int

    @property
    def whole(self) -> int:
        return self.transformer + self.text_encoder + self.vae


@dataclass(frozen=True)
class Room:
    """The bytes of a device that may be taken, and whether weights may wait in main memory beside it (`moves`).

    `budget` is what a person allows weights to take; then activations are that person's to leave room for, and `free`
    only decides how a picture is decoded.
    """

    free: int
    budget: int | None = None
    moves: bool = False

    @property
    def bytes(self) -> int:
        """What a checkpoint is measured by."""
        return self.free if self.budget is None else self.budget

    def holds(self, weights: int, activations: int) -> bool:
        """Whether a stage with these bytes fits."""
        return weights + activations <= self.free if self.budget is None else weights <= self.budget


@dataclass(frozen=True)
class Plan:
    """Where the weights of a run are, as `MemoryPlan` explains `placement`, `visit` and `tiled`.

    `peak` is the most that is on the device at a time, `main` the weights that are kept in main memory, both in bytes.
    """

    placement: Placement
    visit: Visit = "none"
    tiled: bool = False
    peak: int = 0
    main: int = 0


@dataclass(frozen=True)
class Way:
    """One way to place weights: bytes on the device in each stage, None where that stage works in main memory."""

    placement: Placement
    visit: Visit
    reading: int | None
    drawing: int
    decoding: int
    main: int

    def planned(self, needs: Activations, room: Room) -> Plan | None:
        """The plan for a run with these activations; None where a stage does not fit."""
        # Whole pictures are decoded as a whole wherever that fits; tiles have the same pixels and take longer.
        tiled = self.decoding + needs.decoding > room.free and needs.tiles < needs.decoding
        stages = [(self.drawing, needs.drawing), (self.decoding, needs.tiles if tiled else needs.decoding)]
        if self.reading is not None:
            stages.append((self.reading, needs.reading))
        if not all(room.holds(weights, activations) for weights, activations in stages):
            return None
        return Plan(self.placement, self.visit, tiled, max(map(sum, stages)), self.main)


@dataclass(frozen=True)
class Decision(Generic[Key]):
    """The plan for a new checkpoint, and the keys of those that leave first."""

    plan: Plan
    evict: tuple[Key, ...] = ()


def total(*checkpoints: Parts) -> int:
    """Bytes of several checkpoints together, shared parts counted once."""
    together: dict[Hashable, int] = {}
    for parts in checkpoints:
        together.update(parts)
    return sum(together.values())


def ways(of: Weights, moves: bool) -> Iterator[Way]:
    """How the weights can be placed, cheapest first; only the first keeps all of them where they compute."""
    drawer, reader, vae = of.transformer, of.text_encoder, of.vae
    yield Way("resident", "none", of.whole, of.whole, of.whole, 0)
    if not moves:
        return
    yield Way("encoder aside", "beside", of.whole, drawer + vae, drawer + vae, reader)
    yield Way("encoder aside", "instead", reader + vae, drawer + vae, drawer + vae, drawer + reader)
    yield Way("offload", "none", reader, drawer, vae, of.whole)
    yield Way("encoder aside", "never", None, drawer + vae, drawer + vae, reader)
    yield Way("streamed", "beside", reader + vae, of.streamed + vae, vae, drawer + reader)
    yield Way("streamed", "never", None, of.streamed + vae, vae, drawer + reader)


def plan(of: Weights, needs: Activations, room: Room) -> Plan:
    """How a checkpoint that is alone is placed for a run; what is refused has the least bytes that it would take."""
    found = list(ways(of, room.moves))
    planned = (way.planned(needs, room) for way in found)
    least = min(_least(way, needs, room) for way in found)
    return next((each for each in planned if each is not None), Plan("refuse", peak=least))


def held(present: Plan, of: Weights, needs: Activations, room: Room) -> Plan | None:
    """The plan of a checkpoint that stays placed as it is, for another run; None where that does not fit."""
    (way,) = (way for way in ways(of, room.moves) if (way.placement, way.visit) == (present.placement, present.visit))
    return way.planned(needs, room)


def decide(loaded: Mapping[Key, Parts], wanted: Parts, of: Weights, needs: Activations, room: Room) -> Decision[Key]:
    """Where `wanted`, which is `of` in the parts of the cache, goes when `loaded`, least recently used first, is there.

    The least recently used leave first, and only as many as needed. What is not resident is alone.
    """
    chosen = plan(of, needs, room)
    if chosen.placement != "resident":
        return Decision(chosen, () if chosen.placement == "refuse" else tuple(loaded))
    most = max(needs.reading, needs.drawing, needs.tiles if chosen.tiled else needs.decoding)
    staying = dict(loaded)
    evict = []
    for key in loaded:
        # Last counts: the size of a part that is there is known better than that of its files.
        if room.holds(total(wanted, *staying.values()), most):
            break
        del staying[key]
        evict.append(key)
    return Decision(chosen, tuple(evict))


def _least(way: Way, needs: Activations, room: Room) -> int:
    """The most that this way takes at a time, as the room counts it."""
    beside = needs if room.budget is None else replace(needs, reading=0, drawing=0, tiles=0)
    stages = [way.drawing + beside.drawing, way.decoding + beside.tiles]
    return max(stages if way.reading is None else [*stages, way.reading + beside.reading])
