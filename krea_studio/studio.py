"""The use case: a request in, pictures on disk out, told as events.

Knows neither gradio nor torch: the engine makes the pictures, the library keeps them. A picture is announced (`Saved`)
only when it is on disk with its recipe; while it is being written the engine goes on with the next one.
"""

import io
import itertools
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace

from PIL import Image

from krea_studio.direction.analysis import measured_analysis
from krea_studio.direction.moodboards import MEASURED, Analysis, Moodboard
from krea_studio.direction.references import attended_pictures, board_words
from krea_studio.engine.base import Chat, Engine, Failed, ImageReady, Loading, Queued, Step
from krea_studio.errors import InvalidRequest, Stopped, StorageError, StudioError, Unavailable
from krea_studio.expansion.board_words import INSTRUCTION, INSTRUCTION_AGAIN, parse_written
from krea_studio.expansion.creativity import Expander, expand
from krea_studio.expansion.writers import Expanders, ForOneRun
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.recipe import Shot, with_triggers
from krea_studio.recipe.request import RAW, SEED_LIMIT, Expansion, GenerationRequest, MoodboardChoice, bounds
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown

SILENCE_SECONDS = 0.25

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Started:
    """The first event of a run: what will be drawn, seeds included; prompts are written out after it."""

    plan: GenerationPlan


@dataclass(frozen=True)
class Saved:
    """The picture of shot `shot` is on disk and recorded."""

    record: Record
    shot: int


@dataclass(frozen=True)
class Expanding:
    """The prompt of shot `shot` is being written out; given again until it is."""

    shot: int


StudioEvent = Started | Expanding | Queued | Loading | Step | Saved | Failed


def draw_seed() -> int:
    """A seed that nobody chose, 0 to 2**32 − 1."""
    return secrets.randbelow(SEED_LIMIT)


class Studio:
    """One engine, one library, and who expands prompts."""

    def __init__(self, engine: Engine, library: Library, expanders: Expanders):
        self.engine = engine
        self.library = library
        self.expanders = expanders

    def generate(self, request: GenerationRequest, person: Person = LOCAL) -> Generator[StudioEvent, None, None]:
        """The events of a run: Started, then the engine's own with Saved in place of ImageReady, in shot order.

        A failed run ends with Failed, after the pictures that were finished. Closing the iterator ends the run at its
        next step; pictures that were finished by then are still kept. Raises InvalidRequest or StorageError at once,
        before anything runs, where the request or the library cannot be used, or a picture that it refers to is gone;
        Unavailable where the engine's abilities say that it cannot be drawn.
        `person` owns the pictures.
        """
        request = self._with_styles(self._with_moodboard(request))
        resolved = plan(request, draw_seed() if request.seed is None else request.seed, draw_seed())
        self.engine.abilities(request.variant).require(resolved.shots)
        wanted = {each.image for shot in resolved.shots for each in attended_pictures(shot)}
        pictures = {image: self._picture(image, request.moodboard) for image in sorted(wanted)}
        self.library.check_writable()
        styles = {style: self.library.styles.path(style) for style in resolved.shots[0].style_weights}
        return self._run(replace(resolved, pictures=pictures, styles=styles), person)

    def _picture(self, image: str, board: MoodboardChoice | None) -> bytes:
        """The PNG of a picture that is attended to; of a board's the board is told where it is lost."""
        try:
            return self.library.references.read(image)
        except InvalidRequest:
            if (
                board is None
                or board.content is None
                or image not in (each.image for each in board.content.representatives)
            ):
                raise
            raise InvalidRequest(
                f"A picture that stands for moodboard {shown(board.name)} is not in the library any more — add it to "
                "the board again, or remove it there and analyze the board"
            ) from None

    def expand(self, request: GenerationRequest, seed: int, check: Callable[[], None] = lambda: None) -> Expansion:
        """The request's prompt written out as it will be for the picture of `seed`, unless it brings its own text.

        `check` is called in between and may raise to give up. Raises InvalidRequest for a request at raw, and for what
        no plan can be made of; Unavailable where a writer is asked for that there is not.
        """
        if request.creativity == RAW:
            raise InvalidRequest("Creativity is raw, which draws the prompt as it is written — choose another one")
        shot = plan(self._with_styles(self._with_moodboard(request)), seed, 0).shots[0]
        return shot.expansion or self._expansion(shot, self.expanders.of(shot.variant), check)

    def _expansion(self, shot: Shot, expander: Expander, check: Callable[[], None]) -> Expansion:
        def tokens(text: str) -> int:
            return self.engine.count_tokens(shot.variant, text)[0]

        _, most_tokens = self.engine.count_tokens(shot.variant, "")
        toward, _, _ = board_words(shot, self.engine.checkpoint_of(shot.variant).vocabulary)
        # Both are read beside it; a line's end between them is a token.
        most_tokens -= tokens(with_triggers("", shot.styles)) + (tokens(toward) + 1 if toward else 0)
        found = expand(shot.prompt, shot.creativity, shot.seed, expander, tokens, most_tokens, check)
        return Expansion(
            text=found.text,
            writer=found.writer or "",
            model=(found.model or "")[: int(bounds("model", Expansion)[1])],
            seed=found.seed,
            notice=found.notice[: int(bounds("notice", Expansion)[1])],
        )

    def _expanded(self, resolved: GenerationPlan) -> Generator[Expanding, None, GenerationPlan]:
        """The plan with every prompt written out that is to be; raises what stands in the way."""
        shots, left = [], threading.Event()
        expander: Expander | None = None

        def check() -> None:
            if left.is_set():
                raise Stopped("The run was stopped")

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompt-writer") as writer:
            try:
                for place, shot in enumerate(resolved.shots):
                    if shot.creativity != RAW and shot.expansion is None:
                        expander = expander or ForOneRun(self.expanders.of(shot.variant))
                        writing = writer.submit(self._expansion, shot, expander, check)
                        while not wait((writing,), timeout=SILENCE_SECONDS).done:
                            yield Expanding(place)
                        shot = shot.model_copy(update={"expansion": writing.result()})
                    shots.append(shot)
            finally:
                left.set()
        return replace(resolved, shots=tuple(shots))

    def analyze(
        self,
        name: str,
        report: Callable[[float], None] = lambda fraction: None,
        check: Callable[[], None] = lambda: None,
    ) -> Moodboard:
        """Analyze a moodboard and keep what was found; one in which there is nothing new to find is not done again.

        Everything is measured; where the engine has a language model, that writes the words. `report` is told the
        share that is done; `check` is called in between and may raise to give up, which keeps the board as it was.
        Raises InvalidRequest for a board that does not exist or has no pictures.
        """
        boards = self.library.moodboards
        board = boards.get(name)
        if not self.analysis_due(board):
            return board
        if not board.images:
            raise InvalidRequest(f"Moodboard {shown(name)} has no pictures — add some and analyze it then")
        pictures = {image: _opened(content) for image, content in boards.read(board).items()}
        variant, writer = self._writer()
        if not writer:
            return boards.keep_analysis(name, measured_analysis(pictures, report, check), board.analysis)
        measured = measured_analysis(pictures, lambda share: report(share / 2), check)
        written = self._written(board.model_copy(update={"analysis": measured}), variant, writer, report, check)
        report(1.0)
        return boards.keep_analysis(name, written or measured, board.analysis)

    def analysis_due(self, board: Moodboard) -> bool:
        """Whether analyzing a board finds more: other pictures, or a language model that was not there before."""
        if board.analysis is None or board.changed:
            return True
        return board.analysis.written_by == MEASURED and any(
            self.engine.writer(variant, seeing=True) for variant in VARIANTS
        )

    def _writer(self) -> tuple[str, str]:
        """A variant that can write, one that is loaded before others, and its writer's name; both empty without any."""
        loaded = {checkpoint.name for checkpoint in self.engine.status().loaded}
        writers = [(variant, name) for variant in VARIANTS if (name := self.engine.writer(variant, seeing=True))]
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
        pictures = tuple(self.library.references.read(each.image) for each in measured.content().representatives)

        def going_on() -> None:
            check()
            report(1 - 0.5 * 0.99 ** next(steps))  # nobody knows how many words there will be

        for instruction in (INSTRUCTION, INSTRUCTION_AGAIN):
            try:
                found = parse_written(self.engine.write(variant, Chat(instruction, pictures), going_on))
            except Unavailable as error:
                log.warning("%s", error.message)
                break
            except InvalidRequest as error:
                log.warning("%s: %s", writer, error.message)
            else:
                words = {"taste_profile": found.taste_profile, "keywords": found.keywords, "avoids": found.avoids}
                return Analysis.model_validate(dict(measured.analysis or ()) | words | {"written_by": writer})
        return None

    def _with_moodboard(self, request: GenerationRequest) -> GenerationRequest:
        """The request with its moodboard's present content, unless it brings its own or the strength is 0."""
        choice = request.moodboard
        if choice is None or choice.content is not None or not choice.strength:
            return request
        content = self.library.moodboards.get(choice.name).content()
        return request.model_copy(update={"moodboard": choice.model_copy(update={"content": content})})

    def _with_styles(self, request: GenerationRequest) -> GenerationRequest:
        """The request with the weights and trigger words of its styles, the library's where it does not say."""
        known = []
        for choice in request.styles:
            if choice.weight:
                styles = self.library.styles
                card = styles.get(choice.name) if choice.identity is None else styles.of(choice.identity, choice.name)
                trigger = card.trigger if choice.trigger is None else choice.trigger
                choice = choice.model_copy(update={"name": card.name, "identity": card.identity, "trigger": trigger})
            known.append(choice)
        return request.model_copy(update={"styles": tuple(known)})

    def _run(self, resolved: GenerationPlan, person: Person) -> Generator[StudioEvent, None, None]:
        yield Started(resolved)
        try:
            resolved = yield from self._expanded(resolved)
        except StudioError as error:
            yield Failed(error)
            return
        writing: deque[tuple[int, Future[Record]]] = deque()
        failed: Failed | None = None
        # However this ends: leaving the inner block ends the engine's run, leaving the outer one waits for the writer.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture-writer") as writer:
            with closing(self.engine.run(resolved)) as events:
                for event in events:
                    if isinstance(event, Failed):
                        failed = event
                    elif isinstance(event, ImageReady):
                        writing.append((event.shot, writer.submit(self._keep, event, person)))
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

    def _keep(self, ready: ImageReady, person: Person) -> Record:
        return self.library.save(ready.recipe, ready.image, ready.seconds, person)


def _opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return picture.convert("RGB")


def _outcome(shot: int, future: Future[Record]) -> Saved | Failed:
    """What became of a picture that was handed to the writer; waits for it."""
    try:
        return Saved(future.result(), shot)
    except StorageError as error:
        return Failed(error, shot)
