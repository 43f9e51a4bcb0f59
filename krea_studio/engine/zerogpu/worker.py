"""A run in the process that has the GPU: its events one by one, as something to iterate.

That process is a fork of the server's. Arguments and events cross the border as pickles, and of a generator alone the
end can be asked for from outside: it is closed once it has given its next event. So the drawing is in a thread of its
own, which is ended at its next step.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue

from krea_studio.direction.references import attended_pictures
from krea_studio.engine.base import Event, Files
from krea_studio.engine.local.engine import defect
from krea_studio.errors import Stopped, StudioError
from krea_studio.recipe.plan import GenerationPlan

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Failed:
    """A run's last event where it could not go on: an error, whose class would not come across by itself."""

    kind: type[StudioError]
    message: str


@dataclass(frozen=True)
class SentFiles:
    """All files that a plan names, to be sent with it: pictures as they are, styles by where they lie."""

    pictures: Mapping[str, bytes]
    styles: Mapping[str, Path]

    @classmethod
    def of(cls, plan: GenerationPlan, files: Files) -> "SentFiles":
        """Those of a plan. Raises what `files` does."""
        images = {each.image for shot in plan.shots for each in attended_pictures(shot)}
        styles = {each.identity for shot in plan.shots for each in shot.styles if each.identity and each.weight}
        return cls({image: files.picture(image) for image in images}, {each: files.style(each) for each in styles})

    def picture(self, image: str) -> bytes:
        """See Files.picture."""
        return self.pictures[image]

    def style(self, identity: str) -> Path:
        """See Files.style."""
        return self.styles[identity]


def events(draw: Callable[[Callable[[Event], None], Callable[[], None]], None]) -> Iterator[Event | Failed]:
    """What `draw(tell, check)` tells, and how it failed. Once this is closed `check` raises, and it waits for that."""
    told: Queue[Event | Failed | None] = Queue(maxsize=1)
    left = threading.Event()

    def tell(event: Event | Failed | None) -> None:
        while not left.is_set():
            try:
                told.put(event, timeout=LOOK_SECONDS)
                return
            except Full:
                continue

    def check() -> None:
        if left.is_set():
            raise Stopped("The run was stopped")

    def work() -> None:
        try:
            draw(tell, check)
        except StudioError as error:
            tell(Failed(type(error), error.message))
        except Exception as error:
            log.exception("A run failed")
            tell(Failed(StudioError, defect(error).message))
        finally:
            tell(None)

    thread = threading.Thread(target=work, name="zerogpu-drawing", daemon=True)
    thread.start()
    try:
        while (event := told.get()) is not None:
            yield event
    finally:
        left.set()
        thread.join()
