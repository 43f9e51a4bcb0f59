"""The local engine on ZeroGPU: what it draws with is placed as it is built, and each run borrows a GPU.

The package `spaces` lends it: in the server's own process CUDA is make-believe, and what is moved there is packed as
the page is launched. A decorated function runs in a fork that has a GPU and those models; what it loads or learns in
memory goes with it. So the server's process draws nothing, and after its start does not touch what draws. Elsewhere
`spaces` does nothing, and the run is drawn in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from krea_studio.engine.base import Chat, EngineStatus, Event, Files, ImageReady
from krea_studio.engine.checkpoints.choices import Choices
from krea_studio.engine.checkpoints.table import Checkpoint
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.zerogpu.duration import Durations
from krea_studio.engine.zerogpu.quota import in_words, was_aborted
from krea_studio.engine.zerogpu.worker import Failed, SentFiles, events
from krea_studio.errors import StudioError, Unavailable
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.recipe.variants import VARIANTS
from krea_studio.settings import Settings

if TYPE_CHECKING:
    from krea_studio.engine.local.drawing import Drawing

log = logging.getLogger(__name__)

Lend = Callable[..., Any]
"""As `spaces.GPU`: with `duration`, a function of the arguments, it decorates what needs a GPU."""


class ZeroGPUEngine(LocalEngine):
    """LocalEngine whose runs are drawn in the process that `spaces` gives a GPU to."""

    def __init__(self, settings: Settings, choices: Choices | None = None, lend: Lend | None = None) -> None:
        """Places what the variants are drawn by; for the thread that imports `spaces`, before the page is launched.

        Raises Unavailable without `spaces`, or whatever takes its place as `lend`.
        """
        lend = lend or _spaces_gpu()  # before torch
        super().__init__(settings, choices)
        self._durations = Durations()

        def drawn(
            checkpoint: Checkpoint, plan: GenerationPlan, files: SentFiles, seconds: int
        ) -> Iterator[Event | Failed]:
            yield from events(lambda tell, check: self._models().draw(checkpoint, plan, tell, check, files))

        self._drawn = lend(duration=lambda checkpoint, plan, files, seconds: seconds)(drawn)
        self._status = self._placed()

    def status(self) -> EngineStatus:
        """See Engine.status: what was placed at the start."""
        in_line = self._line.length
        return EngineStatus(
            self._status.device,
            self._status.precision,
            self._status.loaded,
            self._status.bytes,
            self._status.budget_bytes,
            busy=in_line > 0,
            waiting=max(0, in_line - 1),
        )

    def writer(self, variant: str, seeing: bool = False) -> str | None:
        """See LanguageModel.writer: none, since each answer would borrow a GPU of its own."""
        return None

    def write(self, variant: str, chat: Chat, check: Callable[[], None]) -> str:
        """See LanguageModel.write."""
        raise Unavailable("On ZeroGPU no language model writes — let the phrasebook do it, or an endpoint")

    def _draw(
        self, plan: GenerationPlan, tell: Callable[[Event], None], check: Callable[[], None], files: Files
    ) -> None:
        checkpoint = self._choices.of(plan.shots[0].variant)
        seconds = self._durations.seconds(plan.shots)
        lent = self._drawn(checkpoint, plan, SentFiles.of(plan, files), seconds)
        context = _of_the_visitor()
        try:
            while (event := context.run(next, lent, None)) is not None:
                if isinstance(event, Failed):
                    raise event.kind(event.message)
                if isinstance(event, ImageReady):
                    self._durations.learn(plan.shots[event.shot], event.seconds)
                tell(event)
                check()
        except StudioError:
            raise
        except Exception as error:
            if was_aborted(error):
                self._durations.fell_short(plan.shots)
            if told := in_words(error, seconds):
                raise told from None
            raise
        finally:
            context.run(lent.close)  # waits until the GPU is given back, at the latest after the step that is on

    def _placed(self) -> EngineStatus:
        """Load what every variant is drawn by onto the device, and say what is there. What cannot be is logged."""
        drawing = super()._models()
        for variant in VARIANTS:
            try:
                if reason := self.abilities(variant).unavailable:
                    raise Unavailable(reason)
                drawing.manager.get(self._choices.of(variant), drawing.precision, drawing.device, _nothing, _nothing)
            except Unavailable as error:
                log.warning("%s is not placed: %s", variant, error.message)
        return super().status()

    def _models(self) -> Drawing:
        """Without a lock, which another thread may have held when the process was forked."""
        return self._drawing or super()._models()


def _nothing(*_: object) -> None:
    pass


def _spaces_gpu() -> Lend:
    try:
        import spaces
    except ImportError as error:
        raise Unavailable(
            f"KREA_STUDIO_ENGINE is 'zerogpu', which needs the package spaces ({error}) — install it, or set local"
        ) from None
    return spaces.GPU


def _of_the_visitor() -> Context:
    """A context that knows of this one only whose request is drawn: by that `spaces` tells whose quota counts."""
    context = Context()
    try:
        from spaces.utils import gradio_request_var
    except ImportError:
        return context
    request = gradio_request_var()
    context.run(request.set, request.get(None))
    return context
