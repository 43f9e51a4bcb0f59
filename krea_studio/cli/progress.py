"""How far a run has come, as a bar on the terminal."""

import sys
from typing import Any

from krea_studio.engine.base import Loading, Step
from krea_studio.recipe.plan import GenerationPlan
from krea_studio.studio import Expanding, Started


class Progress:
    """A bar on stderr over all steps of a run, when that is a terminal; otherwise nothing."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="step", leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def pause(self) -> None:
        """Take the bar off the screen so that a line can be printed; the next `show` draws it again."""
        if self._bar is not None:
            self._bar.clear()

    def show(self, event: Started | Expanding | Loading | Step) -> None:
        """Bring the bar up to date with an event."""
        if self._bar is None:
            return
        if isinstance(event, Started):
            self._bar.total = _total_steps(event.plan)
        elif isinstance(event, Expanding):
            self._bar.set_description(f"expanding prompt {event.shot + 1}")
        elif isinstance(event, Loading):
            self._bar.set_description(f"loading {event.what}")
        else:
            self._bar.set_description(f"picture {event.shot + 1}", refresh=False)
            self._bar.update(event.shot * event.steps + event.step - self._bar.n)
        self._bar.refresh()


def _total_steps(plan: GenerationPlan) -> int:
    return sum(shot.steps for shot in plan.shots)
