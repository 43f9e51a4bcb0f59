"""What the tab Moodboards does when something happens on it: each handler returns new values by the names of its parts.

Boards may change meanwhile on another page or by the command line. So the page says which board a text or a picture
belongs to, only texts that were touched are saved, and what is refused refreshes the list of boards. No handler
writes into a box in which somebody may be typing, unless another board was asked for.
"""

import functools
import re
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from krea_studio.direction.moodboards import Analysis
from krea_studio.errors import StorageError, StudioError
from krea_studio.files import without_clutter
from krea_studio.library.moodboards import Moodboards
from krea_studio.people import Person
from krea_studio.runs.run import Kind, Run, State
from krea_studio.runs.runs import Check, Report
from krea_studio.runs.shares import Thing
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create.panels.moodboard import choices_of
from krea_studio.ui.create.panels.references import NOTHING_CAME
from krea_studio.ui.moodboards import fragments as moodboard_fragments
from krea_studio.ui.moodboards.view import BoardView, Words, analysis_progress, kept_words_of, look_ids_of
from krea_studio.ui.moodboards.words import NO_WORDS, agrees, edited, touched
from krea_studio.ui.notices import guarded, note, problem, visible
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import Watch, over

EXPORT_NAME_CHARACTERS = 60
ARCHIVE, PICTURES = "archive", "dropped"  # what an import is begun by
BEGUN = {ARCHIVE: "Importing …", PICTURES: "Adding pictures …"}
STOPPED = "Stopped. The moodboard is as it was."
NOTHING_TO_ANALYZE = "Its pictures are the ones that were analyzed, so there is nothing to analyze."
ANALYZED_ELSEWHERE = "It was analyzed again meanwhile; these are its looks now. Nothing was switched."


class MoodboardHandlers:
    """The tab's behaviour, over one set of services and the page's visitors."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._library, self._visitors = services.library, visitors
        self._studio = services.studio
        self._shares = services.shares
        self._analyses = Watch(services.runs, Kind.ANALYZE, "analyses")
        self._imports = Watch(services.runs, Kind.IMPORT, "imports")
        self._view = BoardView(services, visitors, self._analyses)

    def refreshed(self, visitor: gr.Request, open_board: str, **state: Any) -> Update:
        """The page was opened, or the tab: all as it is now, but no text that was touched; what goes on is watched."""
        update = self._refreshed(visitor, open_board, **state)
        return over(update, self._going_on(visitor, update.get("open_board", open_board)))

    def choose(
        self, visitor: gr.Request, boards: str, open_board: str, kept_words: Words | None, chosen: str, **texts: str
    ) -> Update:
        """Another board was chosen: open it, after the texts of the one before are saved."""

        def opened() -> Update:
            self._leave(visitor, open_board, kept_words, texts)
            return self._view.opened(visitor, self._boards(visitor).get(boards), chosen)

        return self._guarded(visitor, open_board, opened)

    def create(
        self, visitor: gr.Request, board_name: str, open_board: str, kept_words: Words | None, chosen: str, **texts: str
    ) -> Update:
        """Make a board and open it."""

        def created() -> Update:
            self._leave(visitor, open_board, kept_words, texts)
            boards = self._changed_by(visitor)
            with self._shares.taking(self._visitors.payer(visitor), Thing.BOARDS):
                board = boards.create(board_name)
            return {**self._view.opened(visitor, board, chosen), "board_name": ""}

        return self._guarded(visitor, open_board, created)

    def rename(self, visitor: gr.Request, board_name: str, open_board: str, chosen: str) -> Update:
        """Give the open board another name; the Create tab goes with it."""

        def renamed() -> Update:
            self._require_idle(visitor, open_board)
            board = self._changed_by(visitor).rename(open_board, board_name)
            follows = board.name if chosen == open_board else None
            lists = self._view.lists(visitor, board.name, chosen, follows)
            return {
                **lists,
                **self._view.view(visitor, board),
                "open_board": board.name,
                "board_name": "",
                "confirm": visible(False),
            }

        return self._guarded(visitor, open_board, renamed)

    def ask_delete(self, visitor: gr.Request, open_board: str) -> Update:
        """Ask before the open board goes."""
        return self._guarded(
            visitor,
            open_board,
            lambda: {
                "confirm_text": moodboard_fragments.deleting(self._changed_by(visitor).get(open_board)),
                "confirm": visible(True),
            },
        )

    def keep_board(self) -> Update:
        """The board shall not be deleted."""
        return {"confirm": visible(False)}

    def delete(self, visitor: gr.Request, open_board: str, chosen: str) -> Update:
        """Delete the open board; the first one of the others is opened."""

        def deleted() -> Update:
            self._require_idle(visitor, open_board)
            self._changed_by(visitor).delete(open_board)
            return self._view.first(visitor, chosen, follows="" if chosen == open_board else None)

        return self._guarded(visitor, open_board, deleted)

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
            visitor,
            open_board,
            lambda: self._view.view(visitor, self._changed_by(visitor).remove(open_board, selected_image)),
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
                    **self._problem(visitor, open_board, problem.message),
                }
            return {"kept_words": kept, "saved": moodboard_fragments.SAVED}

        return self._guarded(visitor, open_board, saved)

    def switch_looks(self, visitor: gr.Request, open_board: str, looks: list[str], look_ids: list[str]) -> Update:
        """Switch clusters on and off as the boxes say."""

        def switch(analysis: Analysis) -> Analysis:
            clusters = (
                cluster.model_copy(update={"on": str(place) in looks})
                for place, cluster in enumerate(analysis.clusters)
            )
            return analysis.model_copy(update={"clusters": tuple(clusters)})

        def switched() -> Update:
            board = self._boards(visitor).get(open_board)
            if look_ids_of(board) != look_ids:
                return {**self._view.view(visitor, board), **note(ANALYZED_ELSEWHERE)}
            board = self._changed_by(visitor).change_analysis(open_board, switch)
            return {"facts": moodboard_fragments.facts(board, self._studio.analysis_due(board))}

        return self._guarded(visitor, open_board, switched)

    def share(self, visitor: gr.Request, open_board: str, team: bool) -> Update:
        """Share the open board with the team, or no longer, as the box says."""

        def shared() -> Update:
            board = self._changed_by(visitor).share(open_board, team)
            return {**self._view.view(visitor, board), **note(fragments.shared(board.name, team))}

        return self._guarded(visitor, open_board, shared)

    def analyze(self, visitor: gr.Request, open_board: str, kept_words: Words | None, **texts: str) -> Update:
        """Begin to analyze the open board, or watch who does already; `follow_analyses` shows what comes of it."""

        def begun() -> Update:
            self._leave(visitor, open_board, kept_words, texts)
            board, person = self._changed_by(visitor).get(open_board), self._visitors.person(visitor)
            if not self._studio.analysis_due(board):
                return note(NOTHING_TO_ANALYZE)
            begun: Update = {}
            if not self._view.analysis_of(person, board.name):
                begun = self._analyses.begin(
                    visitor, person, board.name, functools.partial(self._analyzed, person, board.name)
                )
            run = self._view.analysis_of(person, board.name)
            return {
                **begun,
                **(self._view.analyzing(visitor, run, open_board) if run else {}),
                "confirm": visible(False),
            }

        return self._guarded(visitor, open_board, begun)

    def stopping(self, visitor: gr.Request) -> Update:
        """Stop was pressed; `follow_analyses` says so until the analysis has ended."""
        person = self._visitors.person(visitor)
        for run in [run for run in self._analyses.look(visitor, person) if not run.state.ended][-1:]:
            self._analyses.stop(run, person)
        return {}

    def follow_analyses(self, visitor: gr.Request, analyses_shown: list[str], open_board: str, chosen: str) -> Update:
        """How far the analysis is; when it has ended, the board if it is still open, and the buttons."""
        runs = self._analyses.look(visitor, self._visitors.person(visitor), analyses_shown)
        going_on = [run for run in runs if not run.state.ended]
        update = (
            analysis_progress(going_on[-1])
            if going_on
            else self._view.rested(open_board, self._view.may_change(visitor, open_board))
        )
        for run in (run for run in runs if run.state.ended):
            if run.title == open_board:
                opened = functools.partial(self._reopened, visitor, open_board, chosen)
                update = over(update, self._guarded(visitor, open_board, opened, clear=False))
            update |= self._told(visitor, open_board, run)
        return {**update, **self._analyses.looked(runs, analyses_shown)}

    def use(self, visitor: gr.Request, open_board: str) -> Update:
        """Choose the open board on the Create tab and go there; refused for one that cannot steer."""

        def used() -> Update:
            board = self._boards(visitor).get(open_board)
            board.content()
            names = choices_of(self._boards(visitor).names())
            return {
                "chosen": gr.update(choices=names, value=board.name),
                "recalled_content": None,
                "tabs": gr.update(selected="create"),
            }

        return self._guarded(visitor, open_board, used)

    def export(self, visitor: gr.Request, open_board: str) -> Update:
        """Write the open board as a zip that the browser can take; Gradio removes it a day later."""

        def exported() -> Update:
            path = Path(get_upload_folder()) / "exports" / secrets.token_hex(16) / f"{_file_name(open_board)}.zip"
            payer = self._visitors.payer(visitor)
            with self._shares.taking(payer, Thing.EXPORTS):
                self._boards(visitor).export(open_board, path)
            self._shares.note(payer, Thing.EXPORTS, path.stat().st_size)
            return {"download": str(path)}

        # What could not be written must not leave an older zip to be taken instead.
        return {"download": None, **self._guarded(visitor, open_board, exported)}

    def import_(self, visitor: gr.Request, open_board: str, archive: str | None) -> Update:
        """Begin to take in a board from a zip; `follow_imports` opens it."""

        def begun() -> Update:
            boards, path = self._changed_by(visitor), Path(archive or "")
            one_more = self._shares.taking(self._visitors.payer(visitor), Thing.BOARDS)
            work = functools.partial(_imported, boards, path, one_more)
            return {**self._begin_import(visitor, path.name, work, ARCHIVE), **note(BEGUN[ARCHIVE])}

        return {"archive": None, **(self._guarded(visitor, open_board, begun) if archive else note(""))}

    def add(self, visitor: gr.Request, open_board: str, dropped: list[str] | None) -> Update:
        """Begin to add pictures that were dropped, all or none; `follow_imports` shows them."""

        def begun() -> Update:
            boards, files = self._changed_by(visitor), dropped or []
            name = boards.get(open_board).name
            return {
                **self._begin_import(visitor, name, functools.partial(_added, boards, name, files), PICTURES),
                **note(f"Adding {moodboard_fragments.pictures(len(files))} …"),
            }

        return {
            "dropped": None,
            **(
                self._guarded(visitor, open_board, begun)
                if dropped
                else self._problem(visitor, open_board, NOTHING_CAME)
            ),
        }

    def follow_imports(
        self, visitor: gr.Request, imports_shown: list[str], open_board: str, chosen: str, **words: Any
    ) -> Update:
        """What came of imports: a board, which is opened as if it had been chosen, or pictures on one."""
        update: Update = {}
        runs = self._imports.look(visitor, self._visitors.person(visitor), imports_shown)
        state = {"open_board": open_board, "chosen": chosen, **words}
        for run in (run for run in runs if run.state.ended):
            if run.state is not State.DONE:
                update |= self._told(visitor, open_board, run)
            elif self._imports.begun_by(run) == ARCHIVE:
                update |= self.choose(visitor, run.result, **state)
            else:
                update |= {**self._refreshed(visitor, **state), **note(run.result)}
        return {**update, **self._imports.looked(runs, imports_shown)}

    def _refreshed(
        self, visitor: gr.Request, open_board: str, kept_words: Words | None, chosen: str, **texts: str
    ) -> Update:
        def refreshed() -> Update:
            if not open_board:
                return self._view.first(visitor, chosen)
            if open_board not in self._boards(visitor).names() and not touched(texts, kept_words or NO_WORDS):
                gone = f"The moodboard «{open_board}» is not there any more."
                return {**self._view.first(visitor, chosen), "notice": shown(fragments.notice(gone, "quiet"))}
            board = self._boards(visitor).get(open_board)
            current = kept_words_of(board)
            unchanged = board.analysis is not None and kept_words is not None and agrees(board.analysis, kept_words)
            if touched(texts, kept_words or NO_WORDS) or current == kept_words or unchanged:
                return {**self._view.lists(visitor, board.name, chosen), **self._view.view(visitor, board)}
            return self._view.opened(visitor, board, chosen)

        return self._guarded(visitor, open_board, refreshed, clear=False)

    def _going_on(self, visitor: gr.Request, open_board: str) -> Update:
        """What the visitor began on another page, or on this one before it was loaded again, is watched here too."""
        person = self._visitors.person(visitor)
        update: Update = {}
        for run in self._analyses.going_on(person)[-1:]:
            update |= self._view.analyzing(visitor, run, open_board)
        known = {run.id for run in self._imports.look(visitor, person)}
        for run in self._imports.going_on(person):
            told = {} if run.id in known else note(BEGUN[self._imports.begun_by(run)])
            update |= {**self._imports.watch(visitor, [run.id]), **told}
        return update

    def _begin_import(self, visitor: gr.Request, title: str, work: Callable[[Report, Check], str], by: str) -> Update:
        return self._imports.begin(visitor, self._visitors.person(visitor), title, work, by)

    def _reopened(self, visitor: gr.Request, name: str, chosen: str) -> Update:
        return self._view.opened(visitor, self._boards(visitor).get(name), chosen)

    def _analyzed(self, person: Person, name: str, report: Report, check: Check) -> str:
        return self._studio.analyze(name, report, check, person).name

    def _require_idle(self, visitor: gr.Request, name: str) -> None:
        """See BoardView.require_idle; a board that is damaged is not analyzed."""
        with suppress(StorageError):
            self._view.require_idle(self._boards(visitor).get(name), self._visitors.person(visitor))

    def _boards(self, visitor: gr.Request) -> Moodboards:
        """The boards that are there for a visitor."""
        return self._library.moodboards.of(self._visitors.person(visitor))

    def _told(self, visitor: gr.Request, open_board: str, run: Run) -> Update:
        """How a run ended, unless it is done."""
        if run.state is State.STOPPED:
            return note(STOPPED)
        return self._problem(visitor, open_board, run.failure) if run.failure else {}

    def _changed_by(self, visitor: gr.Request) -> Moodboards:
        """The boards, for a visitor who may change them."""
        return self._library.moodboards_for(self._visitors.person(visitor))

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
        if problem and open_board in self._boards(visitor).names():
            raise problem

    def _guarded(
        self, visitor: gr.Request, open_board: str, action: Callable[[], Update], clear: bool = True
    ) -> Update:
        """What `action` gives, without the last notice; or a notice of what was wrong."""
        cleared = note("") if clear else {}
        return guarded(lambda: {**cleared, **action()}, functools.partial(self._problem, visitor, open_board))

    def _problem(self, visitor: gr.Request, open_board: str, message: str) -> Update:
        """A notice, and the list of boards as it is now: what was wrong may be that a board is gone."""
        update = problem(message)
        with suppress(StudioError):
            names = self._boards(visitor).names()
            update["boards"] = gr.update(choices=names, value=open_board if open_board in names else None)
        return update


def _imported(
    boards: Moodboards, archive: Path, one_more: AbstractContextManager[None], report: Report, check: Check
) -> str:
    """The name of the board in a zip, which is in the library now."""
    with one_more:
        return boards.import_(archive).name


def _added(boards: Moodboards, name: str, files: list[str], report: Report, check: Check) -> str:
    """How many of these pictures are new on a board, in words."""
    before, unused = len(boards.get(name).images), list[str]()
    files = without_clutter(files)
    # Others may add to the board at the same time.
    added = min(len(boards.add(name, files, unused.append).images) - before, len(files))
    known = len(files) - added
    told = [f"{moodboard_fragments.pictures(added)} added." if added else "Nothing added."]
    told += [f"{moodboard_fragments.pictures(known)} on the board already."] if known else []
    return " ".join([*told, *(f"{each}." for each in unused)])


def _file_name(name: str) -> str:
    """A name for an export that any system takes."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:EXPORT_NAME_CHARACTERS]
    return plain or "moodboard"
