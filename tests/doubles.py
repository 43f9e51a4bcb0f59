"""An engine that says what a test wrote down for it, for what a real one does only when things go wrong."""

from collections.abc import Callable, Generator, Sequence

from PIL import Image

from krea_studio.engine.base import CheckpointInfo, EngineStatus, Event, ImageReady, Step
from krea_studio.errors import Unavailable
from krea_studio.recipe.plan import GenerationPlan, Shot

Script = list[Event | BaseException | Callable[[], None]]


class ScriptedEngine:
    """Each run takes the next script: events are yielded, exceptions raised, functions called. `plans` and `ended`
    tell what was run and how often a run came to an end, by itself or by being closed."""

    def __init__(self, *scripts: Script):
        self.scripts = list(scripts)
        self.plans: list[GenerationPlan] = []
        self.ended = 0

    def run(self, plan: GenerationPlan) -> Generator[Event, None, None]:
        self.plans.append(plan)
        script = self.scripts.pop(0) if self.scripts else whole_run(plan)
        try:
            for entry in script:
                if isinstance(entry, BaseException):
                    raise entry
                if callable(entry):
                    entry()
                else:
                    yield entry
        finally:
            self.ended += 1

    def prepare(self) -> None:
        pass

    def status(self) -> EngineStatus:
        return EngineStatus(device="cpu", precision="float32")

    def availability(self, variant: str) -> str | None:
        return None

    def checkpoint_of(self, variant: str) -> CheckpointInfo:
        return CheckpointInfo(f"mini-{variant}", f"Mini {variant}", "nowhere", "", embedded=True)

    def writer(self, variant: str) -> str | None:
        return None

    def describe(self, variant: str, pictures: Sequence[bytes], instruction: str, check: Callable[[], None]) -> str:
        raise Unavailable("This engine has no language model — give one")


def picture(shot: Shot) -> Image.Image:
    """A picture of the shot's size in a colour that depends on its seed alone."""
    return Image.new("RGB", (shot.width, shot.height), (shot.seed % 256, shot.seed // 256 % 256, 90))


def drawn(shot: Shot) -> list[Event]:
    """The events of one shot that succeeds: its first and last step, and its picture."""
    return [
        Step(shot.index, 1, shot.steps),
        Step(shot.index, shot.steps, shot.steps),
        ImageReady(shot.index, picture(shot), 0.5, f"mini-{shot.variant}"),
    ]


def whole_run(plan: GenerationPlan) -> Script:
    """The events of a run that succeeds."""
    return [event for shot in plan.shots for event in drawn(shot)]
