"""The in-process engine: runs plans one after another on this machine.

Cheap to build and free of torch until the first run (or `prepare`), so that the page is up before any model code is
read. What runs a variant is a checkpoint of the table, a folder, a file or a Hub repository, as the settings say. The
work itself is in `drawing` and `writing`, the line of those who wait in `line`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from krea_studio.direction.references import MECHANISM
from krea_studio.engine.abilities import Abilities, Ability
from krea_studio.engine.allocator import give_back, keep_freed
from krea_studio.engine.base import Chat, CheckpointInfo, EngineStatus, Event, Files, Loading, MemoryPlan
from krea_studio.engine.checkpoints.choices import Choices
from krea_studio.engine.checkpoints.identity import weights_of
from krea_studio.engine.checkpoints.table import Checkpoint, is_licensed, missing, resolve, writer
from krea_studio.engine.controls.slider_files import described
from krea_studio.engine.local.line import Line, turn
from krea_studio.errors import StudioError, Unavailable
from krea_studio.licence import Licence, unaccepted
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.settings import Settings
from krea_studio.startup import uncollected

if TYPE_CHECKING:
    from krea_studio.engine.local.drawing import Drawing

log = logging.getLogger(__name__)

RUNS_BETWEEN_GIVING_BACK = 32
"""What is kept for tensors breaks into pieces. Giving it back makes the next run 1.06 × as long (measured)."""


class LocalEngine:
    """The protocols Engine and LanguageModel on stock diffusers, in this process: a text encoder may also write."""

    def __init__(self, settings: Settings, choices: Choices | None = None) -> None:
        """`choices` say which checkpoint runs a variant; without them the settings alone do."""
        self._settings = settings
        self._choices = choices or Choices(settings)
        self._licence = Licence(settings.library)
        self._line = Line()
        self._building = threading.Lock()
        self._drawing: Drawing | None = None
        self._runs = 0

    def run(self, plan: GenerationPlan, tell: Callable[[Event], None], check: Callable[[], None], files: Files) -> None:
        """See Engine.run. A defect, which is anything but a StudioError, is logged and raised as one."""
        failure: StudioError
        try:
            with turn(self._line, check):
                self._runs += 1
                if self._runs % RUNS_BETWEEN_GIVING_BACK == 0:
                    give_back()
                self._draw(plan, tell, check, files)
            return
        except StudioError as error:
            failure = error
        except Exception as error:
            log.exception("A run failed")
            failure = defect(error)
        # Raised anew, from here: the frames where it happened would keep every tensor of the run alive.
        failure.__traceback__ = failure.__context__ = failure.__cause__ = None
        raise failure

    def prepare(self) -> None:
        """Import the model code now, which takes seconds, instead of in the first run.

        What stands in the way is only logged: the first run will meet it again and tell the person.
        """
        try:
            self._models()
        except Unavailable as error:
            log.warning("%s", error.message)

    def status(self) -> EngineStatus:
        """See Engine.status; before the first run the device and precision are those of the settings."""
        in_line = self._line.length
        busy, waiting = in_line > 0, max(0, in_line - 1)
        drawing = self._drawing
        if drawing is None:
            return EngineStatus(self._settings.device, self._settings.precision, busy=busy, waiting=waiting)
        loaded, total_bytes = drawing.manager.status()
        return EngineStatus(
            device=drawing.device,
            precision=str(drawing.precision).removeprefix("torch."),
            loaded=loaded,
            bytes=total_bytes,
            budget_bytes=drawing.manager.room.bytes,
            busy=busy,
            waiting=waiting,
            reference_bytes=drawing.references.size_bytes,
            reference_seconds=drawing.references.seconds,
        )

    def abilities(self, variant: str) -> Abilities:
        """See Engine.abilities: a look at the files, without loading them."""
        try:
            checkpoint = self._choices.of(variant)
        except Unavailable as error:
            return Abilities(error.message)
        attended = dict.fromkeys(("style_references", "moodboard"), Ability(by=MECHANISM))
        return Abilities(
            missing(checkpoint) or self._unlicensed(checkpoint),
            described(checkpoint, self._settings.sliders) | attended,
        )

    def checkpoint_of(self, variant: str) -> CheckpointInfo:
        """See Engine.checkpoint_of; for a setting that names no checkpoint the note says so."""
        try:
            return self._choices.of(variant).info
        except Unavailable as error:
            name = self._choices.source(variant)
            return CheckpointInfo(name, name, name, error.message, embedded=False)

    def offers(self, variant: str) -> list[CheckpointInfo]:
        """See Engine.offers."""
        return self._choices.offers(variant)

    def choose(self, variant: str, source: str) -> None:
        """See Engine.choose. What is loaded stays, as long as there is room."""
        self._choices.choose(variant, source)

    def memory_plan(self, variant: str) -> MemoryPlan:
        """See Engine.memory_plan; nothing is downloaded for it."""
        return self._planned(lambda: self._choices.of(variant))

    def plan_of(self, source: str) -> MemoryPlan:
        """As `memory_plan`, of what a setting would name so."""
        return self._planned(lambda: resolve(source, self._settings.base, self._settings.models))

    def _planned(self, find: Callable[[], Checkpoint]) -> MemoryPlan:
        try:
            checkpoint = find()
            if reason := missing(checkpoint):
                return MemoryPlan(reason=reason)
            return self._models().memory_plan(checkpoint)
        except Unavailable as error:
            return MemoryPlan(reason=error.message)

    def weights(self, variant: str) -> str | None:
        """See Engine.weights. What is loaded draws on where its files are gone; others in their place are loaded."""
        try:
            checkpoint = self._choices.of(variant)
        except Unavailable:
            return None
        loaded = (each.weights for each in self.status().loaded if each.name == checkpoint.name)
        return weights_of(checkpoint) or next(loaded, None)

    def writer(self, variant: str, seeing: bool = False) -> str | None:
        """See LanguageModel.writer. The embedded checkpoints have a text encoder that was never taught to write."""
        if self.abilities(variant).unavailable:
            return None
        return writer(self._choices.of(variant), seeing)

    def write(self, variant: str, chat: Chat, check: Callable[[], None]) -> str:
        """See LanguageModel.write."""
        checkpoint = self._choices.of(variant)
        with turn(self._line, check):
            return self._models().write(checkpoint, chat, check)

    def count_tokens(self, variant: str, text: str) -> tuple[int, int]:
        """See LanguageModel.count_tokens. Does not wait for runs."""
        return self._models().count_tokens(self._choices.of(variant), text)

    def _draw(
        self, plan: GenerationPlan, tell: Callable[[Event], None], check: Callable[[], None], files: Files
    ) -> None:
        checkpoint = self._choices.of(plan.shots[0].variant)
        if self._drawing is None:
            tell(Loading("PyTorch and diffusers"))
        self._models().draw(checkpoint, plan, tell, check, files)

    def _unlicensed(self, checkpoint: Checkpoint) -> str:
        """Why its licence is in the way; empty where it is not."""
        return unaccepted(checkpoint.label) if is_licensed(checkpoint) and not self._licence.accepted else ""

    def _models(self) -> Drawing:
        """The torch side, imported and built on first use."""
        with self._building:
            if self._drawing is None:
                # Threads of torch's that wait for one another burn the cores meanwhile, which page and browser share:
                # on two busy ones four pictures then took 39 s instead of 10 s. Read when torch is imported.
                os.environ.setdefault("OMP_WAIT_POLICY", "passive")
                keep_freed()
                try:
                    with uncollected():
                        from krea_studio.engine.local.drawing import Drawing
                except ImportError as error:
                    raise Unavailable(f"The model code is not installed ({error}) — install requirements.txt") from None
                self._drawing = Drawing(self._settings)
            return self._drawing


def defect(error: Exception) -> StudioError:
    """What a person is told of an error that is a defect of the engine."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return StudioError(f"The engine failed ({reason}) — try again; the log has the details")
