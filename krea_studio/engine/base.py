"""What every engine offers and says: the Engine protocol and its events; beside it the language model's protocol.

Free of torch, so that the page and the command line can name these types before any model is loaded. What goes in and
comes out is plain data that could cross a process border: files go by the hash of their content, and who needs one
asks `Files` for it. How a picture is made is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

    from krea_studio.engine.abilities import Abilities
    from krea_studio.recipe.plan import GenerationPlan
    from krea_studio.recipe.recipe import Recipe

Vocabulary = dict[str, list[str]]
"""What an embedded checkpoint knows: kind of word → its words; under "examples", whole prompts."""


@dataclass(frozen=True)
class Loading:
    """A checkpoint or a part of it is being loaded; `fraction` in 0..1, None where it cannot be told."""

    what: str
    fraction: float | None = None


@dataclass(frozen=True)
class Step:
    """Step `step` of `steps` of shot `shot` is done; `preview` is a small JPEG of the clean image.

    Step 0 says that the shot is begun: its time counts from here, not while it waited or weights were loaded.
    `embedded` tells that it is drawn by a checkpoint that ships with the studio.
    """

    shot: int
    step: int
    steps: int
    preview: bytes | None = None
    embedded: bool = False


@dataclass(frozen=True)
class ImageReady:
    """The picture of shot `shot`, the seconds it took, and its recipe: the shot with the facts of its drawing."""

    shot: int
    image: Image
    seconds: float
    recipe: Recipe


Event = Loading | Step | ImageReady


@dataclass(frozen=True)
class CheckpointInfo:
    """What runs a variant; `vocabulary` is known for embedded checkpoints only."""

    name: str
    label: str
    repo_or_folder: str
    note: str
    embedded: bool
    vocabulary: Vocabulary | None = None


Placement = Literal["resident", "encoder aside", "offload", "streamed", "refuse"]
Visit = Literal["none", "beside", "instead", "never"]


@dataclass(frozen=True)
class MemoryPlan:
    """Where a checkpoint's weights are while it draws: `bytes` of them, of `budget_bytes` that may be taken.

    resident: all of them on the device. encoder aside: the text encoder is in main memory and visits the device to read
    and write. offload: all are in main memory, and each model visits the device while it works. streamed: so are they,
    and the transformer's blocks visit one after the other. refuse: they do not fit, and `peak_bytes` is the least that
    would do; otherwise it is the most that is on the device at a time, with what the run needs beside weights.

    A `visit` is beside the transformer, instead of it, or never, where the text encoder is too large for the device and
    works in main memory. `tiled` pictures are decoded tile by tile; `main_bytes` of weights are kept in main memory.
    Without `bytes` the size is not known, for the `reason`.
    """

    bytes: int | None = None
    budget_bytes: int = 0
    placement: Placement = "resident"
    reason: str = ""
    visit: Visit = "none"
    tiled: bool = False
    peak_bytes: int = 0
    main_bytes: int = 0

    @property
    def told(self) -> str:
        """The plan and what it costs, in one line for people."""
        if self.bytes is None:
            return self.reason
        size = f"{gigabytes(self.bytes)} of weights"
        if self.placement == "refuse":
            return (
                f"{size} do not fit: {gigabytes(self.peak_bytes)} would be needed at the least, and "
                f"{gigabytes(self.budget_bytes)} may be taken — choose a smaller one, or raise "
                "KREA_STUDIO_MEMORY_BUDGET_GB"
            )
        how = _PLACED[self.placement, self.visit] + (", and pictures are decoded in tiles" if self.tiled else "")
        memory = f"{gigabytes(self.peak_bytes)} of {gigabytes(self.budget_bytes)} at a time"
        if self.main_bytes:
            memory += f", and {gigabytes(self.main_bytes)} of main memory"
        return f"{size}: {how} ({memory})"


_PLACED = {
    ("resident", "none"): "all of it stays on the device",
    ("encoder aside", "beside"): "the text encoder visits the device for a new prompt",
    ("encoder aside", "instead"): "the text encoder takes the transformer's place for a new prompt, some seconds each",
    ("encoder aside", "never"): "the text encoder works in main memory, some seconds for a new prompt",
    ("offload", "none"): "its models take turns on the device, some seconds for every picture",
    ("streamed", "beside"): "the transformer's blocks visit the device one by one, some seconds for every step",
    ("streamed", "never"): "the transformer's blocks visit the device one by one, some seconds for every step, and the "
    "text encoder works in main memory",
}


def gigabytes(count: int) -> str:
    """A number of bytes in MB or GB (powers of ten), for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


@dataclass(frozen=True)
class Chat:
    """What a language model is asked: an instruction, pictures (the bytes of PNGs) and a system message or without.

    At `temperature` 0 the likeliest word is always taken; above it words are drawn with `seed`, from the likeliest ones
    that together have the probability `top_p`. The answer is cut off after `max_tokens`, by default half as many again
    as a prompt may have, and given up after `timeout_seconds` of writing; waiting and loading do not count.
    """

    instruction: str
    pictures: tuple[bytes, ...] = ()
    system: str = ""
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 768
    timeout_seconds: float = math.inf


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint in memory: its own size in bytes, the names of its parts, and the identity of its weights."""

    name: str
    bytes: int
    parts: tuple[str, ...]
    weights: str = ""


@dataclass(frozen=True)
class EngineStatus:
    """What the engine holds and does now. `bytes` counts parts that checkpoints share once.

    `reference_bytes` are kept of what was read of references, in `reference_seconds` for the latest run with any.
    """

    device: str
    precision: str
    loaded: tuple[LoadedCheckpoint, ...] = ()
    bytes: int = 0
    budget_bytes: int = 0
    busy: bool = False
    waiting: int = 0
    reference_bytes: int = 0
    reference_seconds: float = 0.0


class Files(Protocol):
    """Gives out the files that a plan names by their content, where they are not known by that name already."""

    def picture(self, image: str) -> bytes:
        """The PNG of a reference picture. Raises InvalidRequest where it is gone, StorageError where it is damaged."""
        ...

    def style(self, identity: str) -> Path:
        """The safetensors file of a style. Raises InvalidRequest where it is gone."""
        ...


class Engine(Protocol):
    """Makes the pictures of a plan. Safe to call from several threads: these wait for one another."""

    def run(self, plan: GenerationPlan, tell: Callable[[Event], None], check: Callable[[], None], files: Files) -> None:
        """Draw the plan's shots one after another, in the caller's thread, and `tell` of it as it goes.

        `files` has what the shots name, for as long as the run lasts.

        Waits for its turn where others draw or write. `check` is called while it waits and loads, and after every step,
        and may raise to give up; the device is free then. Raises StudioError where the run cannot go on: InvalidRequest
        before the first shot for what cannot be drawn as asked, Unavailable for weights or memory that are not there.
        """
        ...

    def prepare(self) -> None:
        """Do ahead of time what the first run would spend seconds on, such as importing the model code."""
        ...

    def status(self) -> EngineStatus:
        """What is loaded and going on; answers at once, also during a run."""
        ...

    def abilities(self, variant: str) -> Abilities:
        """What `variant` can do here; answers at once, by a look at the files."""
        ...

    def checkpoint_of(self, variant: str) -> CheckpointInfo:
        """The checkpoint that runs `variant` with the present settings."""
        ...

    def offers(self, variant: str) -> list[CheckpointInfo]:
        """Which checkpoints may run `variant`, the present one first; `repo_or_folder` is what `choose` takes."""
        ...

    def choose(self, variant: str, source: str) -> None:
        """Let the checkpoint of this name, folder, file or repository run `variant` from now on.

        Raises Unavailable, and changes nothing, where it is not there or lacks a part.
        """
        ...

    def memory_plan(self, variant: str) -> MemoryPlan:
        """Where the checkpoint of `variant` would be in memory; reads headers, and may import the model code first."""
        ...

    def weights(self, variant: str) -> str | None:
        """The identity of the weights that would draw `variant` now; None where it is not known yet.

        Pictures of one identity were drawn by the same weights, wherever these lay. The first answer reads files.
        """
        ...


class LanguageModel(Protocol):
    """What reads prompts, and where it was taught to, writes. Safe to call from several threads."""

    def writer(self, variant: str, seeing: bool = False) -> str | None:
        """The name of the language model that `write` asks; None where there is none or `variant` cannot run.

        `seeing` asks for one that can be shown pictures. Answers at once, by a look at the files.
        """
        ...

    def write(self, variant: str, chat: Chat, check: Callable[[], None]) -> str:
        """What the language model of `variant` answers.

        Waits for its turn as a run does. `check` is called while it waits, loads and writes, and may raise to give
        up. Raises Unavailable where there is no language model, or none that sees for pictures, or it cannot be loaded.
        """
        ...

    def count_tokens(self, variant: str, text: str) -> tuple[int, int]:
        """How many tokens a prompt has for `variant`, and how many its model reads at most.

        Reads no more than the tokenizer. Raises Unavailable where that cannot be had.
        """
        ...
