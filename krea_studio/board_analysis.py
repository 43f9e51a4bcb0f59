"""A moodboard is looked through: all is measured, and where the engine has a language model, that writes the words.

Done in the caller's thread; neither gradio nor torch is known here.
"""

import io
import itertools
import logging
from collections.abc import Callable

from PIL import Image

from krea_studio.direction.analysis import measured_analysis
from krea_studio.direction.moodboards import MEASURED, Analysis, Moodboard
from krea_studio.engine.base import Chat, Engine, LanguageModel
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.expansion.board_words import INSTRUCTION, INSTRUCTION_AGAIN, parse_written
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown

log = logging.getLogger(__name__)


class BoardAnalysis:
    """The analysis of a library's moodboards by one engine and its language model."""

    def __init__(self, engine: Engine, language_model: LanguageModel, library: Library) -> None:
        self.engine = engine
        self.language_model = language_model
        self.library = library

    def analyze(
        self,
        name: str,
        report: Callable[[float], None],
        check: Callable[[], None],
        person: Person,
    ) -> Moodboard:
        """Analyze a moodboard and keep what was found; one in which there is nothing new to find is not done again.

        Everything is measured; where the engine has a language model, that writes the words. `report` is told the
        share that is done; `check` is called in between and may raise to give up, which keeps the board as it was.
        Raises InvalidRequest for a board that is not there for the person, or that has no pictures.
        """
        boards = self.library.moodboards_for(person)
        board = boards.get(name)
        if not self.due(board):
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

    def due(self, board: Moodboard) -> bool:
        """Whether analyzing a board finds more: other pictures, or a language model that was not there before."""
        if board.analysis is None or board.changed:
            return True
        return board.analysis.written_by == MEASURED and any(
            self.language_model.writer(variant, seeing=True) for variant in VARIANTS
        )

    def _writer(self) -> tuple[str, str]:
        """A variant that can write, one that is loaded before others, and its writer's name; both empty without any."""
        loaded = {checkpoint.name for checkpoint in self.engine.status().loaded}
        writers = [
            (variant, name) for variant in VARIANTS if (name := self.language_model.writer(variant, seeing=True))
        ]
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
                found = parse_written(self.language_model.write(variant, Chat(instruction, pictures), going_on))
            except Unavailable as error:
                log.warning("%s", error.message)
                break
            except InvalidRequest as error:
                log.warning("%s: %s", writer, error.message)
            else:
                words = {"taste_profile": found.taste_profile, "keywords": found.keywords, "avoids": found.avoids}
                return Analysis.model_validate(dict(measured.analysis or ()) | words | {"written_by": writer})
        return None


def _opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return picture.convert("RGB")
