"""What the tab Moodboards does when something happens on it: each handler returns new values by the names of its parts.

Boards may change meanwhile on another page or by the command line. So the page says which board a text or a picture
belongs to, only texts that were touched are saved, and what is refused refreshes the list of boards. No handler
writes into a box in which somebody may be typing, unless another board was asked for.
"""

import functools
import logging
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from krea_studio.direction.moodboards import Analysis, Moodboard
from krea_studio.errors import InvalidRequest, Stopped, StudioError
from krea_studio.library.moodboards import Moodboards
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create.moodboard_choice import choices_of
from krea_studio.ui.create.references import NOTHING_CAME, kept_picture
from krea_studio.ui.moodboards import fragments as moodboard_fragments
from krea_studio.ui.moodboards.words import NO_WORDS, WORDS, agrees, edited, texts_of, touched
from krea_studio.ui.notices import HIDDEN, guarded, note, problem, visible
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.visitors import Visitors

logger = logging.getLogger(__name__)

Words = dict[str, str]

POLL_SECONDS = 0.25
EXPORT_NAME_CHARACTERS = 60
STOPPED = "Stopped. The moodboard is as it was."
NOTHING_TO_ANALYZE = "Its pictures are the ones that were analyzed, so there is nothing to analyze."
ANALYZED_ELSEWHERE = "It was analyzed again meanwhile; these are its looks now. Nothing was switched."


class MoodboardHandlers:
    """The tab's behaviour, over one set of services and the page's visitors."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._library, self._visitors = services.library, visitors
        self._studio = services.studio
        self._boards = services.library.moodboards
        self._references = services.library.references

    def refreshed(
        self, visitor: gr.Request, open_board: str, kept_words: Words | None, chosen: str, **texts: str
    ) -> Update:
        """The page was opened, the tab was, or something is done: all as it is now, but no text that was touched."""

        def refreshed() -> Update:
            if not open_board:
                return self._first(visitor, chosen)
            if open_board not in self._boards.names() and not touched(texts, kept_words or NO_WORDS):
                gone = f"The moodboard «{open_board}» is not there any more."
                return {**self._first(visitor, chosen), "notice": shown(fragments.notice(gone, "quiet"))}
            board = self._boards.get(open_board)
            current = _kept_words(board)
            unchanged = board.analysis is not None and kept_words is not None and agrees(board.analysis, kept_words)
            if touched(texts, kept_words or NO_WORDS) or current == kept_words or unchanged:
                return {**self._lists(board.name, chosen), **self._view(visitor, board)}
            return self._opened(visitor, board, chosen)

        return self._guarded(open_board, refreshed, clear=False)

    def choose(
        self, visitor: gr.Request, boards: str, open_board: str, kept_words: Words | None, chosen: str, **texts: str
    ) -> Update:
        """Another board was chosen: open it, after the texts of the one before are saved."""

        def opened() -> Update:
            self._leave(visitor, open_board, kept_words, texts)
            return self._opened(visitor, self._boards.get(boards), chosen)

        return self._guarded(open_board, opened)

    def create(
        self, visitor: gr.Request, board_name: str, open_board: str, kept_words: Words | None, chosen: str, **texts: str
    ) -> Update:
        """Make a board and open it."""

        def created() -> Update:
            self._leave(visitor, open_board, kept_words, texts)
            return {**self._opened(visitor, self._changed_by(visitor).create(board_name), chosen), "board_name": ""}

        return self._guarded(open_board, created)

    def rename(self, visitor: gr.Request, board_name: str, open_board: str, chosen: str, analyzed: str) -> Update:
        """Give the open board another name; the Create tab goes with it."""

        def renamed() -> Update:
            _require_idle(open_board, analyzed)
            board = self._changed_by(visitor).rename(open_board, board_name)
            follows = board.name if chosen == open_board else None
            lists = self._lists(board.name, chosen, follows)
            return {
                **lists,
                **self._view(visitor, board),
                "open_board": board.name,
                "board_name": "",
                "confirm": visible(False),
            }

        return self._guarded(open_board, renamed)

    def ask_delete(self, visitor: gr.Request, open_board: str) -> Update:
        """Ask before the open board goes."""
        return self._guarded(
            open_board,
            lambda: {
                "confirm_text": moodboard_fragments.deleting(self._changed_by(visitor).get(open_board)),
                "confirm": visible(True),
            },
        )

    def keep_board(self) -> Update:
        """The board shall not be deleted."""
        return {"confirm": visible(False)}

    def delete(self, visitor: gr.Request, open_board: str, chosen: str, analyzed: str) -> Update:
        """Delete the open board; the first one of the others is opened."""

        def deleted() -> Update:
            _require_idle(open_board, analyzed)
            self._changed_by(visitor).delete(open_board)
            return self._first(visitor, chosen, follows="" if chosen == open_board else None)

        return self._guarded(open_board, deleted)

    def add(self, visitor: gr.Request, open_board: str, dropped: list[str] | None) -> Iterator[Update]:
        """Add pictures that were dropped, all or none; `refreshed` shows them."""
        if not dropped:
            yield {"dropped": None, **self._problem(open_board, NOTHING_CAME)}
            return
        yield {"dropped": None, **note(f"Adding {moodboard_fragments.pictures(len(dropped))} …")}
        yield self._guarded(open_board, lambda: self._added(visitor, open_board, dropped))

    def picture_chosen(self, choice: gr.SelectData, image_ids: list[str]) -> Update:
        """A picture was clicked: it can be removed now."""
        known = 0 <= choice.index < len(image_ids)
        return {
            # The browser has marked one already; of two clicks in a hurry it may be another one.
            "pictures": gr.update(selected_index=choice.index),
            "selected_image": image_ids[choice.index] if known else "",
            "remove": gr.update(interactive=known),
        }

    def remove(self, visitor: gr.Request, open_board: str, selected_image: str) -> Update:
        """Take the chosen picture off the board."""
        return self._guarded(
            open_board, lambda: self._view(visitor, self._changed_by(visitor).remove(open_board, selected_image))
        )

    def save(self, visitor: gr.Request, open_board: str, kept_words: Words | None, **texts: str) -> Update:
        """Save what was typed; the boxes stay as they are, also where something cannot be saved."""
        if not touched(texts, kept_words or NO_WORDS):
            return {"saved": moodboard_fragments.SAVED}

        def saved() -> Update:
            kept, problem = self._save(visitor, open_board, kept_words, texts)
            if problem:
                return {
                    "kept_words": kept,
                    "saved": moodboard_fragments.NOT_SAVED,
                    **self._problem(open_board, problem.message),
                }
            return {"kept_words": kept, "saved": moodboard_fragments.SAVED}

        return self._guarded(open_board, saved)

    def switch_looks(self, visitor: gr.Request, open_board: str, looks: list[str], look_ids: list[str]) -> Update:
        """Switch clusters on and off as the boxes say."""

        def switch(analysis: Analysis) -> Analysis:
            clusters = (
                cluster.model_copy(update={"on": str(place) in looks})
                for place, cluster in enumerate(analysis.clusters)
            )
            return analysis.model_copy(update={"clusters": tuple(clusters)})

        def switched() -> Update:
            board = self._boards.get(open_board)
            if _look_ids(board) != look_ids:
                return {**self._view(visitor, board), **note(ANALYZED_ELSEWHERE)}
            board = self._changed_by(visitor).change_analysis(open_board, switch)
            return {"facts": moodboard_fragments.facts(board, self._studio.analysis_due(board))}

        return self._guarded(open_board, switched)

    def analyze(self, visitor: gr.Request, open_board: str, kept_words: Words | None, **texts: str) -> Iterator[Update]:
        """Analyze the open board; yields how far it is. Closing it gives up. `settled` shows what was found."""
        try:
            self._leave(visitor, open_board, kept_words, texts)
            board = self._changed_by(visitor).get(open_board)
            if not self._studio.analysis_due(board):
                yield note(NOTHING_TO_ANALYZE)
                return
            yield {"analyzed": board.name, **note(""), **_analyzing(True, open_board), "confirm": visible(False)}
            for share in self._analysis(board.name):
                yield {"progress": shown(moodboard_fragments.progress(board.name, share))}
        except StudioError as error:
            yield self._problem(open_board, error.message)
        except Exception:
            logger.exception("An analysis from the page failed")
            yield self._problem(open_board, fragments.DEFECT)

    def stopping(self) -> Update:
        """Stop was pressed; `settled` follows."""
        return note(STOPPED)

    def settled(self, visitor: gr.Request, open_board: str, analyzed: str, chosen: str) -> Update:
        """After an analysis, however it ended: the board that was analyzed, if it is still open, and the buttons."""
        ready = {"analyzed": "", **_analyzing(False, open_board)}
        if not analyzed or analyzed != open_board:
            return ready
        opened = self._guarded(
            open_board, lambda: self._opened(visitor, self._boards.get(open_board), chosen), clear=False
        )
        return {**opened, **{name: _merged(opened.get(name), value) for name, value in ready.items()}}

    def use(self, open_board: str) -> Update:
        """Choose the open board on the Create tab and go there; refused for one that cannot steer."""

        def used() -> Update:
            board = self._boards.get(open_board)
            board.content()
            names = choices_of(self._boards.names())
            return {
                "chosen": gr.update(choices=names, value=board.name),
                "recalled_content": None,
                "tabs": gr.update(selected="create"),
            }

        return self._guarded(open_board, used)

    def export(self, open_board: str) -> Update:
        """Write the open board as a zip that the browser can take; Gradio removes it a day later."""

        def exported() -> Update:
            path = Path(get_upload_folder()) / "exports" / secrets.token_hex(16) / f"{_file_name(open_board)}.zip"
            self._boards.export(open_board, path)
            return {"download": str(path)}

        # What could not be written must not leave an older zip to be taken instead.
        return {"download": None, **self._guarded(open_board, exported)}

    def import_(self, visitor: gr.Request, open_board: str, archive: str | None) -> Iterator[Update]:
        """Take in a board from a zip; `imported` opens it."""
        yield {"archive": None, "imported": "", **note("Importing …" if archive else "")}
        if archive:
            yield self._guarded(open_board, lambda: {"imported": self._changed_by(visitor).import_(archive).name})

    def open_imported(self, visitor: gr.Request, imported: str, **state: Any) -> Update:
        """Open the board that was imported, as if it had been chosen."""
        return {"imported": "", **(self.choose(visitor, imported, **state) if imported else {})}

    def _first(self, visitor: gr.Request, chosen: str, follows: str | None = None) -> Update:
        """The first board, opened; the invitation to make one where there is none."""
        names = self._boards.names()
        if names:
            return self._opened(visitor, self._boards.get(names[0]), chosen, follows)
        nothing = {"open_board": "", "kept_words": None, "confirm": visible(False), **NO_WORDS}
        buttons = {name: gr.update(interactive=False) for name in ("rename", "delete", "export", "analyze", "use")}
        return {
            **self._lists("", chosen, follows),
            **nothing,
            **buttons,
            "no_board": visible(True),
            "view": visible(False),
        }

    def _opened(self, visitor: gr.Request, board: Moodboard, chosen: str, follows: str | None = None) -> Update:
        """A board with all that belongs to it, its texts included."""
        may = self._may_change(visitor)
        return {
            **self._lists(board.name, chosen, follows),
            **self._view(visitor, board),
            **{field: gr.update(value=text, interactive=may) for field, text in texts_of(board.analysis).items()},
            **{name: gr.update(interactive=may) for name in ("rename", "delete")},
            "export": gr.update(interactive=True),
            "open_board": board.name,
            "kept_words": _kept_words(board),
            "found": visible(board.analysis is not None),
            "saved": moodboard_fragments.SAVED_BY_ITSELF,
            "confirm": visible(False),
            "no_board": visible(False),
            "view": visible(True),
        }

    def _view(self, visitor: gr.Request, board: Moodboard) -> Update:
        """What is seen of a board, except its texts."""
        may = self._may_change(visitor)
        analysis, found, due = board.analysis, bool(board.images), self._studio.analysis_due(board)
        clusters = analysis.clusters if analysis else ()
        labels = moodboard_fragments.looks(board)
        heads = [(board.present(cluster) or cluster.images)[0] for cluster in clusters]
        picture = functools.partial(kept_picture, self._references)
        pictures = [(picture(image), f"Picture {place}") for place, image in enumerate(board.images, start=1)]
        return {
            "facts": moodboard_fragments.facts(board, due),
            "pictures": gr.update(value=pictures, visible=found),
            "image_ids": list(board.images),
            "selected_image": "",
            "remove": gr.update(interactive=False, visible=found and may),
            "palette": moodboard_fragments.palette(analysis),
            "look_pictures": [(picture(head), label) for head, label in zip(heads, labels, strict=True)],
            "looks": gr.update(
                choices=[(label, str(place)) for place, label in enumerate(labels)],
                value=[str(place) for place, cluster in enumerate(clusters) if cluster.on],
                interactive=may,
            ),
            "look_ids": _look_ids(board),
            "analyze": gr.update(interactive=found and may, value="Analyze again" if analysis and due else "Analyze"),
            "use": gr.update(interactive=analysis is not None),
        }

    def _lists(self, name: str, chosen: str, follows: str | None = None) -> Update:
        """Both lists of boards: the tab's own shows `name`, the Create tab's keeps its choice or goes to `follows`."""
        names = self._boards.names()
        current = chosen if follows is None else follows
        # A recipe may have chosen a board that is gone.
        gone = [current] if current and current not in names else []
        value = {} if follows is None else {"value": follows}
        return {
            "boards": gr.update(choices=names, value=name or None),
            "chosen": gr.update(choices=choices_of([*names, *gone]), **value),
        }

    def _added(self, visitor: gr.Request, open_board: str, files: list[str]) -> Update:
        before = len(self._boards.get(open_board).images)
        # Others may add to the board at the same time.
        added = min(len(self._changed_by(visitor).add(open_board, files).images) - before, len(files))
        known = len(files) - added
        told = f"{moodboard_fragments.pictures(added)} added." if added else "Nothing added."
        return note(told + (f" {moodboard_fragments.pictures(known)} on the board already." if known else ""))

    def _may_change(self, visitor: gr.Request) -> bool:
        return self._visitors.person(visitor).may_change_library

    def _changed_by(self, visitor: gr.Request) -> Moodboards:
        """The boards, for a visitor who may change them."""
        return self._library.moodboards_for(self._visitors.person(visitor))

    def _analysis(self, name: str) -> Iterator[float]:
        """The share that is done, again and again until it is; closing the iterator ends the analysis."""
        shares, given_up = deque([0.0], maxlen=1), threading.Event()

        def check() -> None:
            if given_up.is_set():
                raise Stopped(STOPPED)

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="moodboard-analysis") as worker:
            running = worker.submit(self._studio.analyze, name, shares.append, check)
            try:
                while not running.done():
                    yield shares[0]
                    wait([running], POLL_SECONDS)
            finally:
                given_up.set()
        running.result()

    def _save(
        self, visitor: gr.Request, open_board: str, kept_words: Words | None, texts: Words
    ) -> tuple[Words, StudioError | None]:
        """Save each text that was touched by itself: one that is refused keeps no other back.

        Returns the texts that are saved now, and what was wrong with the first that is not.
        """
        kept, problem = dict(kept_words or NO_WORDS), None
        for field, text in touched(texts, kept).items():
            try:
                self._changed_by(visitor).change_analysis(open_board, functools.partial(edited, field=field, text=text))
                kept[field] = text
            except StudioError as error:
                problem = problem or error
        return kept, problem

    def _leave(self, visitor: gr.Request, open_board: str, kept_words: Words | None, texts: Words) -> None:
        """Save the open board's texts before others take their place; raises what is wrong with them.

        The texts of a board that is gone go with it.
        """
        _, problem = self._save(visitor, open_board, kept_words, texts)
        if problem and open_board in self._boards.names():
            raise problem

    def _guarded(self, open_board: str, action: Callable[[], Update], clear: bool = True) -> Update:
        """What `action` gives, without the last notice; or a notice of what was wrong."""
        cleared = note("") if clear else {}
        return guarded(lambda: {**cleared, **action()}, functools.partial(self._problem, open_board))

    def _problem(self, open_board: str, message: str) -> Update:
        """A notice, and the list of boards as it is now: what was wrong may be that a board is gone."""
        update = problem(message)
        with suppress(StudioError):
            names = self._boards.names()
            update["boards"] = gr.update(choices=names, value=open_board if open_board in names else None)
        return update


def _kept_words(board: Moodboard) -> Words | None:
    """The texts that are in the boxes and saved; None for a board without an analysis."""
    return texts_of(board.analysis) if board.analysis else None


def _look_ids(board: Moodboard) -> list[str]:
    return [cluster.representative for cluster in board.analysis.clusters] if board.analysis else []


def _require_idle(open_board: str, analyzed: str) -> None:
    """Raise InvalidRequest for a board whose analysis would find no board of its name when it is done."""
    if analyzed and open_board == analyzed:
        raise InvalidRequest(f"«{analyzed}» is being analyzed — wait until that is done, or stop it")


def _analyzing(running: bool, open_board: str) -> Update:
    """The buttons, and the words, which the analysis is about to replace."""
    return {
        "analyze": visible(not running),
        "stop": visible(running),
        "progress": gr.update(**HIDDEN),
        **{name: gr.update(interactive=not running) for name in (*WORDS, "looks")},
        **{name: gr.update(interactive=not running and bool(open_board)) for name in ("rename", "delete")},
    }


def _merged(first: Any, second: Any) -> Any:
    """Two updates of one part, the second of which counts where both say something."""
    return {**first, **second} if isinstance(first, dict) and isinstance(second, dict) else second


def _file_name(name: str) -> str:
    """A name for an export that any system takes."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:EXPORT_NAME_CHARACTERS]
    return plain or "moodboard"
