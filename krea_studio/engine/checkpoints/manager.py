"""Loaded checkpoints, kept: the least recently used leave when the memory budget is reached.

A checkpoint is kept under its name, precision and device, and made of parts that checkpoints share when they come from
the same place: switching from Raw to Turbo loads one transformer. All checks that need no weights come before anything
is evicted; a load that fails later, or is given up, leaves nothing behind and what was not evicted as it was. One
thread loads at a time (the engine's line sees to that); `status` may be asked from any. Drawing is `drawing`'s part.

Offload is for a GPU that cannot hold a checkpoint: its weights stay in main memory, and the text encoder, transformer
and VAE visit the device one after the other. Such a checkpoint is alone in memory, because accelerate hangs its hooks
on the modules, and hooks of two pipelines on one shared module would fight.
"""

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import Krea2Pipeline

from krea_studio.engine.allocator import give_back
from krea_studio.engine.base import LoadedCheckpoint, Loading, MemoryPlan
from krea_studio.engine.checkpoints.identity import weights_of
from krea_studio.engine.checkpoints.memory import GIGABYTE, Decision, Parts, decide, total
from krea_studio.engine.checkpoints.parts import PART_LABELS, Located, PartSource, assemble, load_part, locate, place
from krea_studio.engine.checkpoints.table import PARTS, Checkpoint, part_folder, supplier
from krea_studio.engine.pipeline.preview import PreviewMap, load_or_fit
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder
from krea_studio.errors import Unavailable

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

    `weights` names the checkpoint's weights as they were loaded, `encoder` is where its text encoder came from.
    """

    checkpoint: Checkpoint
    pipeline: Krea2Pipeline
    parts: Mapping[str, Part]
    offloaded: bool
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
    """Loads checkpoints and keeps them within `budget_bytes` of weights on the device."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._lock = threading.Lock()  # for the table below; never held while something loads
        self._loaded: OrderedDict[PipelineKey, LoadedPipeline] = OrderedDict()

    def get(
        self,
        checkpoint: Checkpoint,
        precision: torch.dtype,
        device: str,
        report: Callable[[Loading], None],
        check: Callable[[], None],
    ) -> LoadedPipeline:
        """The checkpoint's pipeline, loaded when it is not kept.

        One whose files have other weights by now is loaded anew. `report` is told what is being loaded and how far it
        is; `check` is called between parts and within large ones, and may raise to give up. Raises Unavailable when the
        checkpoint is missing, damaged, does not fit together or not into memory.
        """
        key = PipelineKey(checkpoint.name, precision, device, checkpoint.distilled)
        with self._lock:
            kept = self._loaded.get(key)
            if kept is not None:
                self._loaded.move_to_end(key)
        # Where its files are gone it draws on; where they are others, those are loaded.
        if kept is not None and weights_of(checkpoint) in (None, kept.weights):
            return kept
        located = locate(checkpoint, precision, report, check)
        wanted = {_identity(located, part, key): source.bytes for part, source in located.parts.items()}
        decision = self._make_room(checkpoint, wanted, device)
        loaded = self._load(located, key, decision, report, check)
        with self._lock:
            self._loaded[key] = loaded
        return loaded

    def plan(self, checkpoint: Checkpoint, precision: torch.dtype, device: str) -> MemoryPlan:
        """Where the checkpoint would be if it were alone; the size is known where its files are on this machine.

        Raises Unavailable for files that cannot be read.
        """
        if any(part_folder(supplier(checkpoint, part), part) is None for part in PARTS):
            return MemoryPlan(
                budget_bytes=self.budget_bytes, reason=f"{checkpoint.label} is downloaded with the first picture"
            )
        located = locate(checkpoint, precision, lambda event: None, lambda: None)
        wanted: Parts = {part: source.bytes for part, source in located.parts.items()}
        decision: Decision[PipelineKey] = decide({}, wanted, self.budget_bytes, can_offload=device.startswith("cuda"))
        return MemoryPlan(total(wanted), self.budget_bytes, decision.placement)

    def status(self) -> tuple[tuple[LoadedCheckpoint, ...], int]:
        """What is loaded, least recently used first, and the bytes of it all with shared parts counted once."""
        with self._lock:
            loaded = list(self._loaded.values())
        rows = (LoadedCheckpoint(each.checkpoint.name, total(each.sizes), PARTS, each.weights) for each in loaded)
        return tuple(rows), total(*(each.sizes for each in loaded))

    def _make_room(self, checkpoint: Checkpoint, wanted: dict[Hashable, int], device: str) -> Decision[PipelineKey]:
        with self._lock:
            present = {key: loaded.sizes for key, loaded in self._loaded.items()}
            alone = [key for key, loaded in self._loaded.items() if loaded.offloaded]
            decision = decide(present, wanted, self.budget_bytes, can_offload=device.startswith("cuda"))
            if decision.placement == "refuse":
                raise Unavailable(
                    f"{checkpoint.label} needs {total(wanted) / GIGABYTE:.1f} GB and the memory budget is "
                    f"{self.budget_bytes / GIGABYTE:.1f} GB — choose a smaller checkpoint, a lower precision, or raise "
                    "KREA_STUDIO_MEMORY_BUDGET_GB"
                )
            for key in {*decision.evict, *alone}:
                del self._loaded[key]
        if present:
            gc.collect()  # modules and hooks refer to one another in circles
            give_back()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        return decision

    def _load(
        self,
        located: Located,
        key: PipelineKey,
        decision: Decision,
        report: Callable[[Loading], None],
        check: Callable[[], None],
    ) -> LoadedPipeline:
        label, device = located.checkpoint.label, key.device
        offload = decision.placement == "offload"
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
                    place(value, "cpu" if offload else device, progress)
                parts[name] = Part(identity, value, _bytes(value))
        check()
        pipeline = assemble(located, {name: part.value for name, part in parts.items()})
        if offload:
            pipeline.enable_model_cpu_offload(device=device)
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
        pipeline.maybe_free_model_hooks()
        return LoadedPipeline(
            located.checkpoint, pipeline, parts, offload, located.parts["text_encoder"], located.weights
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


def _identity(located: Located, part: str, key: PipelineKey) -> Hashable:
    owner = key.checkpoint if part == _PRIVATE else None
    return located.parts[part].identity, key.precision, key.device, owner


def _bytes(value: Any) -> int:
    if isinstance(value, torch.nn.Module):
        return sum(tensor.nbytes for tensor in (*value.parameters(), *value.buffers()))
    return value.nbytes if isinstance(value, PreviewMap) else 0
