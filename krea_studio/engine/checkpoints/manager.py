"""Loaded checkpoints, kept: the least recently used leave when the room that there is has no more of it.

A checkpoint is kept under its name, precision and device, and made of parts that checkpoints share when they come from
the same place: switching from Raw to Turbo loads one transformer. All checks that need no weights come before anything
is evicted; a load that fails later, or is given up, leaves nothing behind and what was not evicted as it was. One
thread loads at a time (the engine's line sees to that); `status` may be asked from any. Drawing is `drawing`'s part.

Where its weights go is planned for a run (`memory`) and done by `placing`. A checkpoint stays as it is placed while
that holds its runs; one that needs more room has it loaded anew. What is not resident is alone in memory, because its
models come and go, and two pipelines would fight over a shared one.
"""

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import Krea2Pipeline

from krea_studio.engine.allocator import give_back
from krea_studio.engine.base import LoadedCheckpoint, Loading, MemoryPlan
from krea_studio.engine.checkpoints.activations import USUAL, Run
from krea_studio.engine.checkpoints.demand import Demand, demand
from krea_studio.engine.checkpoints.identity import weights_of
from krea_studio.engine.checkpoints.memory import Decision, Parts, Plan, Room, decide, held, plan, total
from krea_studio.engine.checkpoints.parts import PART_LABELS, Located, PartSource, assemble, load_part, locate, place
from krea_studio.engine.checkpoints.placing import Placed, stays
from krea_studio.engine.checkpoints.table import PARTS, Checkpoint, is_licensed, part_folder, supplier
from krea_studio.engine.pipeline.preview import PreviewMap, load_or_fit
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder
from krea_studio.errors import Unavailable
from krea_studio.licence import Licence

# The only part with state of its own between steps: never shared.
_PRIVATE = "scheduler"


@dataclass(frozen=True)
class PipelineKey:
    """What makes two loads the same: checkpoint, precision, device, and what a single file is run as."""

    checkpoint: str
    precision: torch.dtype
    device: str
    distilled: bool | None = None


@dataclass(frozen=True)
class Part:
    """A loaded part: a module, a tokenizer or a preview map, and its size in bytes."""

    identity: Hashable
    value: Any
    bytes: int


@dataclass(frozen=True)
class LoadedPipeline:
    """A stock pipeline that is ready, with what the studio adds beside it; the pipeline itself is unchanged.

    `weights` names the checkpoint's weights as they were loaded, `encoder` is where its text encoder came from. `plan`
    is that of the run for which it was asked, `placed` keeps to it.
    """

    checkpoint: Checkpoint
    pipeline: Krea2Pipeline
    parts: Mapping[str, Part]
    plan: Plan
    placed: Placed
    demand: Demand
    encoder: PartSource
    weights: str

    @property
    def encoder_weights(self) -> str:
        """The identity of the text encoder's weights."""
        return self.encoder.weights

    @property
    def decoder(self) -> SingleFrameDecoder:
        return self.parts["decoder"].value

    @property
    def preview(self) -> PreviewMap:
        return self.parts["preview"].value

    @property
    def encoder_identity(self) -> Hashable:
        """Equal for two pipelines whose text encoder and tokenizer are the same."""
        return self.parts["text_encoder"].identity, self.parts["tokenizer"].identity

    @property
    def sizes(self) -> dict[Hashable, int]:
        return {part.identity: part.bytes for part in self.parts.values()}


class PipelineManager:
    """Loads checkpoints and keeps them within the `room` of their device.

    Whole checkpoints are loaded by nothing else; published weights are, once their `licence` was accepted.
    """

    def __init__(self, room: Room, licence: Licence) -> None:
        self.room = room
        self._licence = licence
        self._lock = threading.Lock()  # for the table below; never held while something loads
        self._loaded: OrderedDict[PipelineKey, LoadedPipeline] = OrderedDict()

    def get(
        self,
        checkpoint: Checkpoint,
        precision: torch.dtype,
        device: str,
        report: Callable[[Loading], None],
        check: Callable[[], None],
        run: Run = USUAL,
    ) -> LoadedPipeline:
        """The checkpoint's pipeline, placed so that `run` fits, and loaded when it is not kept so.

        One whose files have other weights by now is loaded anew. `report` is told what is being loaded and how far it
        is; `check` is called between parts and within large ones, and may raise to give up. Raises Unavailable when the
        checkpoint is missing, damaged, does not fit together or not into memory, or is under a licence that was not
        accepted.
        """
        key = PipelineKey(checkpoint.name, precision, device, checkpoint.distilled)
        kept = self._kept(key, run)
        # Where its files are gone it draws on; where they are others, those are loaded.
        if kept is not None and weights_of(checkpoint) in (None, kept.weights):
            return kept
        if is_licensed(checkpoint):
            self._licence.require(checkpoint.label)
        located = locate(checkpoint, precision, report, check)
        needs = demand(located, precision.itemsize)
        wanted = {_identity(located, part, key): source.bytes for part, source in located.parts.items()}
        decision = self._make_room(checkpoint, wanted, needs, run, device)
        loaded = self._load(located, key, decision.plan, needs, report, check)
        with self._lock:
            self._loaded[key] = loaded
        return loaded

    def plan(self, checkpoint: Checkpoint, precision: torch.dtype, run: Run = USUAL) -> MemoryPlan:
        """Where the checkpoint would be in a run if it were alone; known where its files are on this machine.

        Raises Unavailable for files that cannot be read.
        """
        budget = self.room.bytes
        if any(part_folder(supplier(checkpoint, part), part) is None for part in PARTS):
            return MemoryPlan(budget_bytes=budget, reason=f"{checkpoint.label} is downloaded with the first picture")
        needs = demand(locate(checkpoint, precision, lambda event: None, lambda: None), precision.itemsize)
        return as_told(plan(needs.weights, needs.beside(run), self.room), needs, self.room)

    def status(self) -> tuple[tuple[LoadedCheckpoint, ...], int]:
        """What is loaded, least recently used first, and the bytes of it all with shared parts counted once."""
        with self._lock:
            loaded = list(self._loaded.values())
        rows = (LoadedCheckpoint(each.checkpoint.name, total(each.sizes), PARTS, each.weights) for each in loaded)
        return tuple(rows), total(*(each.sizes for each in loaded))

    def _kept(self, key: PipelineKey, run: Run) -> LoadedPipeline | None:
        """What is kept under `key`, with others out of its way, where it is placed so that the run fits."""
        with self._lock:
            if key not in self._loaded:
                return None
            loaded = self._loaded[key]
            weights, needs = loaded.demand.weights, loaded.demand.beside(run)
            present = held(loaded.plan, weights, needs, self.room)
            if present is None:
                return None
            others = {other: each.sizes for other, each in self._loaded.items() if other != key}
            evict = decide(others, loaded.sizes, weights, needs, self.room).evict
            if loaded.plan != present:
                loaded = replace(loaded, plan=present)
            for other in evict:
                del self._loaded[other]
            self._loaded[key] = loaded
            self._loaded.move_to_end(key)
        if evict:
            _free(key.device)
        return loaded

    def _make_room(
        self, checkpoint: Checkpoint, wanted: Parts, needs: Demand, run: Run, device: str
    ) -> Decision[PipelineKey]:
        with self._lock:
            present = {key: loaded.sizes for key, loaded in self._loaded.items()}
            alone = [key for key, loaded in self._loaded.items() if loaded.plan.placement != "resident"]
            decision = decide(present, wanted, needs.weights, needs.beside(run), self.room)
            if decision.plan.placement == "refuse":
                told = as_told(decision.plan, needs, self.room)
                raise Unavailable(f"{checkpoint.label}: {_instead(told, needs, run, self.room)}")
            for key in {*decision.evict, *alone}:
                del self._loaded[key]
        if present:
            _free(device)
        return decision

    def _load(
        self,
        located: Located,
        key: PipelineKey,
        plan: Plan,
        needs: Demand,
        report: Callable[[Loading], None],
        check: Callable[[], None],
    ) -> LoadedPipeline:
        label, device = located.checkpoint.label, key.device
        with self._lock:
            shared = {part.identity: part for each in self._loaded.values() for part in each.parts.values()}
        parts: dict[str, Part] = {}
        whole = sum(source.bytes for source in located.parts.values())
        for name in PARTS:
            check()
            variant = f" ({located.parts[name].variant})" if located.parts[name].variant else ""
            told = f"{label}: {PART_LABELS[name]}{variant}"
            before = sum(part.bytes for part in parts.values())
            report(Loading(told, before / whole))
            progress = _progress(report, check, told, (before / whole, located.parts[name].bytes / whole))
            identity = _identity(located, name, key)
            if identity in shared:
                parts[name] = shared[identity]
            else:
                value = load_part(located, name, key.precision, progress)
                if isinstance(value, torch.nn.Module):
                    place(value, device if stays(plan, name) else "cpu", progress)
                parts[name] = Part(identity, value, _bytes(value))
        check()
        pipeline = assemble(located, {name: part.value for name, part in parts.items()})
        placed = Placed(pipeline, plan, device)
        derived: dict[str, Callable[[], Any]] = {
            "decoder": lambda: SingleFrameDecoder(pipeline.vae).to(device),
            "preview": lambda: load_or_fit(pipeline, parts["decoder"].value, located.parts["vae"].folder),
        }
        for name, make in derived.items():
            identity = (name, parts["vae"].identity, pipeline.patch_size)
            if identity not in shared:
                check()
                report(Loading(f"{label}: {name}", 1.0))
                value = make()
                shared[identity] = Part(identity, value, _bytes(value))
            parts[name] = shared[identity]
        placed.settle()
        return LoadedPipeline(
            located.checkpoint, pipeline, parts, plan, placed, needs, located.parts["text_encoder"], located.weights
        )


def _progress(
    report: Callable[[Loading], None], check: Callable[[], None], what: str, span: tuple[float, float]
) -> Callable[[float], None]:
    """What is told the share of a part that is there: it calls `check`, and reports every further hundredth.

    `span` is where the part begins in the whole checkpoint, and how much of that it is.
    """
    told = 0.0

    def progress(share: float) -> None:
        nonlocal told
        check()
        if share >= told + 0.01:
            told = share
            report(Loading(what, min(1.0, span[0] + share * span[1])))

    return progress


def as_told(plan: Plan, needs: Demand, room: Room) -> MemoryPlan:
    """A plan as the engine tells of it."""
    return MemoryPlan(
        bytes=needs.weights.whole,
        budget_bytes=room.bytes,
        placement=plan.placement,
        visit=plan.visit,
        tiled=plan.tiled,
        peak_bytes=plan.peak,
        main_bytes=plan.main,
    )


def _instead(told: MemoryPlan, needs: Demand, run: Run, room: Room) -> str:
    """Why a run does not fit, and what would."""
    smaller = Run(run.width // 2, run.height // 2)
    if plan(needs.weights, needs.beside(smaller), room).placement == "refuse":
        return f"{told.told}, or take it in a format of fewer bytes, such as fp8 or Q4"
    return f"{told.told}; a picture of {smaller.width} × {smaller.height} without references fits"


def _free(device: str) -> None:
    """Give memory back that checkpoints have left; modules and hooks refer to one another in circles."""
    gc.collect()
    give_back()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _identity(located: Located, part: str, key: PipelineKey) -> Hashable:
    owner = key.checkpoint if part == _PRIVATE else None
    return located.parts[part].identity, key.precision, key.device, owner


def _bytes(value: Any) -> int:
    if isinstance(value, torch.nn.Module):
        return sum(tensor.nbytes for tensor in (*value.parameters(), *value.buffers()))
    return value.nbytes if isinstance(value, PreviewMap) else 0
