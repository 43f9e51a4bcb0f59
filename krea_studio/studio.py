"""The use case: a request in, pictures on disk out, told as events.

Knows neither gradio nor torch: the engine makes the pictures, the library keeps them. A picture is announced (`Saved`)
only when it is on disk with its recipe; while it is being written the engine goes on with the next one.
"""

import io
import itertools
import logging
import secrets
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from PIL import Image

from krea_studio.direction.analysis import measured_analysis
from krea_studio.direction.moodboards import Analysis, Moodboard
from krea_studio.direction.references import attended_pictures
from krea_studio.direction.written import INSTRUCTION, INSTRUCTION_AGAIN, parse_written
from krea_studio.engine.base import Engine, Failed, ImageReady, Loading, Queued, Step
from krea_studio.errors import InvalidRequest, StorageError, Unavailable
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.request import SEED_LIMIT, GenerationRequest
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Started:
    """The first event of a run: what will be drawn, seeds included."""

    plan: GenerationPlan


@dataclass(frozen=True)
class Saved:
    """The picture of shot `shot` is on disk and recorded."""

    record: Record
    shot: int


StudioEvent = Started | Queued | Loading | Step | Saved | Failed


def draw_seed() -> int:
    """A seed that nobody chose, 0 to 2**32 − 1."""
    return secrets.randbelow(SEED_LIMIT)


class Studio:
    """One engine and one library."""

    def __init__(self, engine: Engine, library: Library):
        self.engine = engine
        self.library = library

    def generate(self, request: GenerationRequest, owner: str = "local") -> Generator[StudioEvent, None, None]:
        """The events of a run: Started, then the engine's own with Saved in place of ImageReady, in shot order.

        A failed run ends with Failed, after the pictures that were finished. Closing the iterator ends the run at its
        next step; pictures that were finished by then are still kept. Raises InvalidRequest or StorageError at once,
        before anything runs, where the request or the library cannot be used, or a picture that it refers to is gone.
        `owner` goes into the records.
        """
        request = self._with_moodboard(request)
        resolved = plan(request, draw_seed() if request.seed is None else request.seed, draw_seed())
        wanted = {each.image for shot in resolved.shots for each in attended_pictures(shot)}
        pictures = {image: self.library.references.read(image) for image in sorted(wanted)}
        self.library.check_writable()
        return self._run(replace(resolved, pictures=pictures), owner)

    def analyze(
        self,
        name: str,
        report: Callable[[float], None] = lambda fraction: None,
        check: Callable[[], None] = lambda: None,
    ) -> Moodboard:
        """Analyze a moodboard and keep what was found; one whose pictures are as they were analyzed is not done again.

        Everything is measured; where the engine has a language model, that writes the words. `report` is told the
        share that is done; `check` is called in between and may raise to give up, which keeps the board as it was.
        Raises InvalidRequest for a board that does not exist or has no pictures.
        """
        boards = self.library.moodboards
        board = boards.get(name)
        if board.analysis is not None and not board.changed:
            return board
        if not board.images:
            raise InvalidRequest(f"Moodboard {shown(name)} has no pictures — add some and analyze it then")
        pictures = {image: _opened(self.library.references.read(image)) for image in board.images}
        variant, writer = self._writer()
        if not writer:
            return boards.keep_analysis(name, measured_analysis(pictures, report, check))
        measured = measured_analysis(pictures, lambda share: report(share / 2), check)
        written = self._written(board.model_copy(update={"analysis": measured}), variant, writer, report, check)
        report(1.0)
        return boards.keep_analysis(name, written or measured)

    def _writer(self) -> tuple[str, str]:
        """A variant that can write, one that is loaded before others, and its writer's name; both empty without any."""
        loaded = {checkpoint.name for checkpoint in self.engine.status().loaded}
        writers = [(variant, name) for variant in VARIANTS if (name := self.engine.writer(variant))]
        return min(writers, key=lambda each: self.engine.checkpoint_of(each[0]).name not in loaded, default=("", ""))

    def _written(
        self,
        measured: Moodboard,
        variant: str,
        writer: str,
        report: Callable[[float], None],
        check: Callable[[], None],
    ) -> Analysis | None:
        """The analysis of a measured board in its writer's words; None where none of them are usable.

        The writer sees the pictures that stand for the board.
        """
        steps = itertools.count(1)
        pictures = [self.library.references.read(each.image) for each in measured.content().representatives]

        def going_on() -> None:
            check()
            report(1 - 0.5 * 0.99 ** next(steps))  # nobody knows how many words there will be

        for instruction in (INSTRUCTION, INSTRUCTION_AGAIN):
            try:
                found = parse_written(self.engine.describe(variant, pictures, instruction, going_on))
            except Unavailable as error:
                log.warning("%s", error.message)
                break
            except InvalidRequest as error:
                log.warning("%s: %s", writer, error.message)
            else:
                words = {"taste_profile": found.taste_profile, "keywords": found.keywords, "avoids": found.avoids}
                return Analysis.model_validate(dict(measured.analysis) | words | {"written_by": writer})
        return None

    def _with_moodboard(self, request: GenerationRequest) -> GenerationRequest:
        """The request with its moodboard's present content, unless it brings its own or the strength is 0."""
        choice = request.moodboard
        if choice is None or choice.content is not None or not choice.strength:
            return request
        content = self.library.moodboards.get(choice.name).content()
        return request.model_copy(update={"moodboard": choice.model_copy(update={"content": content})})

    def _run(self, resolved: GenerationPlan, owner: str) -> Generator[StudioEvent, None, None]:
        yield Started(resolved)
        writing: deque[tuple[int, Future[Record]]] = deque()
        failed: Failed | None = None
        # However this ends: leaving the inner block ends the engine's run, leaving the outer one waits for the writer.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture-writer") as writer:
            with closing(self.engine.run(resolved)) as events:
                for event in events:
                    if isinstance(event, Failed):
                        failed = event
                    elif isinstance(event, ImageReady):
                        writing.append((event.shot, writer.submit(self._keep, resolved, event, owner)))
                    else:
                        yield event
                    while writing and writing[0][1].done():
                        outcome = _outcome(*writing.popleft())
                        if isinstance(outcome, Failed):
                            failed = failed or outcome
                        else:
                            yield outcome
                    if failed:
                        break
            for shot, future in writing:
                outcome = _outcome(shot, future)
                if isinstance(outcome, Failed):
                    failed = failed or outcome
                else:
                    yield outcome
        if failed:
            yield failed

    def _keep(self, resolved: GenerationPlan, ready: ImageReady, owner: str) -> Record:
        shot = resolved.shots[ready.shot]
        return self.library.save(
            shot,
            ready.image,
            shot.recipe(ready.checkpoint, ready.slider_mechanisms, ready.reference_mechanism),
            ready.seconds,
            owner,
        )


def _opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return picture.convert("RGB")


def _outcome(shot: int, future: Future[Record]) -> Saved | Failed:
    """What became of a picture that was handed to the writer; waits for it."""
    try:
        return Saved(future.result(), shot)
    except StorageError as error:
        return Failed(error, shot)
