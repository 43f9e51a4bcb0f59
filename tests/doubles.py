"""An engine that says what a test wrote down for it, for what a real one does only when things go wrong.

And a doctor for styles that believes any safetensors file, where a test is about what becomes of a style afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from krea_studio.direction.references import attended_pictures
from krea_studio.direction.speed import Speed, guessed
from krea_studio.engine.abilities import Abilities
from krea_studio.engine.base import Chat, CheckpointInfo, EngineStatus, Event, Files, ImageReady, MemoryPlan, Step
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.recipe.recipe import Shot

REFUSED_SEED = 25_800
"""Of which `picture` makes one that `JudgedByColour` refuses."""

Script = list[Event | BaseException | Callable[[], None]]


class JudgedByColour:
    """A classifier for which `picture` of REFUSED_SEED is one that must not be shown.

    `judged` counts the pictures; an exception in `trouble` is raised by the next loading.
    """

    name = "by colour"

    def __init__(self, *trouble: Exception) -> None:
        self.trouble = list(trouble)
        self.judged = 0

    def load(self) -> None:
        if self.trouble:
            raise self.trouble.pop()

    def score(self, image: Image.Image) -> float:
        self.judged += 1
        return 0.9 if image.getpixel((0, 0)) == colour_of(REFUSED_SEED) else 0.1


@dataclass(frozen=True)
class PlainFiles:
    """The files of a plan that a test has: pictures by their id, styles by their identity."""

    pictures: Mapping[str, bytes] = field(default_factory=dict)
    styles: Mapping[str, Path] = field(default_factory=dict)

    def picture(self, image: str) -> bytes:
        return self.pictures[image]

    def style(self, identity: str) -> Path:
        return self.styles[identity]


class ScriptedEngine:
    """An engine and its language model, which never writes.

    Each run asks for the files that its plan names and takes the next script: events are told, with a check before
    each, exceptions raised, functions called. `plans` and `ended` tell what was run and how often a run came to an end,
    by itself or by an exception, `files` what each run was given.
    `identities` are the weights of variants, which are not known until a test says so."""

    def __init__(self, *scripts: Script):
        self.scripts = list(scripts)
        self.plans: list[GenerationPlan] = []
        self.files: list[PlainFiles] = []
        self.ended = 0
        self.identities: dict[str, str] = {}

    def run(self, plan: GenerationPlan, tell: Callable[[Event], None], check: Callable[[], None], files: Files) -> None:
        self.plans.append(plan)
        pictures = {each.image: files.picture(each.image) for shot in plan.shots for each in attended_pictures(shot)}
        styles = {identity: files.style(identity) for shot in plan.shots for identity in shot.style_weights}
        self.files.append(PlainFiles(pictures, styles))
        script = self.scripts.pop(0) if self.scripts else whole_run(plan)
        try:
            for entry in script:
                if isinstance(entry, BaseException):
                    raise entry
                if callable(entry):
                    entry()
                else:
                    check()
                    tell(entry)
        finally:
            self.ended += 1

    def prepare(self) -> None:
        pass

    def status(self) -> EngineStatus:
        return EngineStatus(device="cpu", precision="float32")

    def abilities(self, variant: str) -> Abilities:
        return Abilities()

    def checkpoint_of(self, variant: str) -> CheckpointInfo:
        return CheckpointInfo(f"mini-{variant}", f"Mini {variant}", "nowhere", "", embedded=True)

    def offers(self, variant: str) -> list[CheckpointInfo]:
        return [self.checkpoint_of(variant)]

    def choose(self, variant: str, source: str) -> None:
        raise Unavailable("This engine has no checkpoints to choose from")

    def memory_plan(self, variant: str) -> MemoryPlan:
        return MemoryPlan(1_000_000, 2_000_000)

    def weights(self, variant: str) -> str | None:
        return self.identities.get(variant)

    def writer(self, variant: str, seeing: bool = False) -> str | None:
        return None

    def write(self, variant: str, chat: Chat, check: Callable[[], None]) -> str:
        raise Unavailable("This engine has no language model — give one")

    def count_tokens(self, variant: str, text: str) -> tuple[int, int]:
        return len(text.split()), 507


def picture(shot: Shot) -> Image.Image:
    """A picture of the shot's size in a colour that depends on its seed alone."""
    return Image.new("RGB", (shot.width, shot.height), colour_of(shot.seed))


def colour_of(seed: int) -> tuple[int, int, int]:
    """The colour of the picture of a seed."""
    return seed % 256, seed // 256 % 256, 90


def drawn(shot: Shot, place: int = 0) -> list[Event]:
    """The events of one shot that succeeds: its beginning, its first and last step, and its picture."""
    return [
        Step(place, 0, shot.steps),
        Step(place, 1, shot.steps),
        Step(place, shot.steps, shot.steps),
        ImageReady(place, picture(shot), 0.5, shot.recipe(f"mini-{shot.variant}")),
    ]


def whole_run(plan: GenerationPlan) -> Script:
    """The events of a run that succeeds."""
    return [event for place, shot in enumerate(plan.shots) for event in drawn(shot, place)]


@dataclass(frozen=True)
class PlainStated:
    """What a file says of itself, under the studio's own names."""

    name: str = ""
    base_model: str = ""
    trigger: str = ""
    suggested_prompt: str = ""


@dataclass(frozen=True)
class PlainFit:
    label: str


@dataclass(frozen=True)
class PlainReport:
    """What `PlainDoctor` found."""

    path: Path
    stated: PlainStated = PlainStated()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ("a note of the doctor",)
    fits: tuple[PlainFit, ...] = (PlainFit("Mini Medium"), PlainFit("Mini Turbo"))
    kinds: tuple[str, ...] = ("LoRA",)
    formats: tuple[str, ...] = ("diffusers names",)
    ranks: tuple[int, int] | None = (4, 8)
    alphas: tuple[float, float] | None = (4.0, 4.0)
    speed: Speed | None = None

    @property
    def accepted(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        return [f"{self.path.name}: {'accepted' if self.accepted else 'refused'}"]


@dataclass
class PlainDoctor:
    """Accepts every safetensors file whose keys begin with `transformer.`; `looked_at` are those it was shown.

    An exception in `trouble` is raised in place of the next report.
    """

    looked_at: list[Path] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)

    def diagnose(self, path: Path) -> PlainReport:
        self.looked_at.append(path)
        if self.trouble:
            raise self.trouble.pop()
        if not path.is_file():
            raise InvalidRequest(f"{path} does not exist — give a style file")
        try:
            with safe_open(path, framework="numpy") as file:
                keys, said = list(file.keys()), file.metadata() or {}
        except SafetensorError as error:
            return PlainReport(path, problems=(f"it is no safetensors file ({error}) — get it again",))
        if not all(key.startswith("transformer.") for key in keys):
            return PlainReport(path, problems=("it is made for SDXL", "its keys match nothing — use one for Krea 2"))
        stated = (said.get(key, "") for key in ("name", "trained_on", "trigger", "suggested_prompt"))
        return PlainReport(path, PlainStated(*stated), speed=guessed(path.name, "", said))

    def write(self, found: PlainReport, path: Path, metadata: Mapping[str, str]) -> None:
        save_file(load_file(found.path), path, dict(metadata))


def write_style(path: Path, number: int = 1, prefix: str = "transformer.", **said: str) -> Path:
    """A style file of two tiny tensors whose values are `number`, which says this of itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = {f"{prefix}x.lora_{side}.weight": np.full((2, 4), number, np.float16) for side in "AB"}
    save_file(sides, path, said or None)
    return path
