"""What is seen of moodboards: updates of the tab's parts for a board, for the lists of boards, and for an analysis.

While a board is analyzed its words, looks and name stay as they are, on every page where its visitor opens it.
"""

import functools

import gradio as gr

from krea_studio.direction.moodboards import Moodboard
from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.people import LOCAL, Person
from krea_studio.runs.run import Kind, Run
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create.panels.moodboard import choices_of
from krea_studio.ui.create.panels.references import kept_picture
from krea_studio.ui.moodboards import fragments as moodboard_fragments
from krea_studio.ui.moodboards.words import NO_WORDS, WORDS, texts_of
from krea_studio.ui.notices import HIDDEN, visible
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import Watch, over

Words = dict[str, str]


class BoardView:
    """What a visitor sees of the boards; `analyses` are those that the tab watches."""

    def __init__(self, services: Services, visitors: Visitors, analyses: Watch) -> None:
        self._visitors, self._analyses = visitors, analyses
        self._studio, self._runs = services.studio, services.runs
        self._library = services.library
        self._signing_in = services.settings.sign_in != "none"
        self._references = services.library.references

    def first(self, visitor: gr.Request, chosen: str, follows: str | None = None) -> Update:
        """The board that is being analyzed for the visitor, or the first one; without any, how to make one."""
        person = self._visitors.person(visitor)
        boards = self._library.moodboards.of(person)
        names = boards.names()
        going_on = [run.title for run in self._analyses.going_on(person) if run.title in names]
        if names:
            return self.opened(visitor, boards.get([*going_on, names[0]][0]), chosen, follows)
        nothing = {"open_board": "", "kept_words": None, "confirm": visible(False), **NO_WORDS}
        buttons = {name: gr.update(interactive=False) for name in ("rename", "delete", "export", "analyze", "use")}
        return {
            **self.lists(visitor, "", chosen, follows),
            **nothing,
            **buttons,
            "no_board": visible(True),
            "view": visible(False),
        }

    def opened(self, visitor: gr.Request, board: Moodboard, chosen: str, follows: str | None = None) -> Update:
        """A board with all that belongs to it, its texts included."""
        may = self._may_change(visitor, board)
        opened = {
            **self.lists(visitor, board.name, chosen, follows),
            **self.view(visitor, board),
            **{field: gr.update(value=text, interactive=may) for field, text in texts_of(board.analysis).items()},
            **{name: gr.update(interactive=may) for name in ("rename", "delete")},
            "export": gr.update(interactive=True),
            "open_board": board.name,
            "kept_words": kept_words_of(board),
            "found": visible(board.analysis is not None),
            "saved": moodboard_fragments.SAVED_BY_ITSELF,
            "confirm": visible(False),
            "no_board": visible(False),
            "view": visible(True),
        }
        run = self.analysis_of(self._visitors.person(visitor), board.name)
        return over(opened, self.analyzing(visitor, run, board.name)) if run else opened

    def view(self, visitor: gr.Request, board: Moodboard) -> Update:
        """What is seen of a board, except its texts."""
        may, person = self._may_change(visitor, board), self._visitors.person(visitor)
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
                interactive=may and self.analysis_of(person, board.name) is None,
            ),
            "look_ids": look_ids_of(board),
            "analyze": gr.update(interactive=found and may, value="Analyze again" if analysis and due else "Analyze"),
            "use": gr.update(interactive=analysis is not None),
            "dropped": gr.update(visible=may or not self._signing_in),
            "team": gr.update(
                value=board.team or not board.owner,
                label=fragments.team(board.owner, person.id),
                interactive=may and bool(board.owner),
                visible=self._signing_in,
            ),
        }

    def lists(self, visitor: gr.Request, name: str, chosen: str, follows: str | None = None) -> Update:
        """Both lists of boards: the tab's own shows `name`, the Create tab's keeps its choice or goes to `follows`."""
        names = self._library.moodboards.of(self._visitors.person(visitor)).names()
        current = chosen if follows is None else follows
        # A recipe may have chosen a board that is gone.
        gone = [current] if current and current not in names else []
        value = {} if follows is None else {"value": follows}
        return {
            "boards": gr.update(choices=names, value=name or None),
            "chosen": gr.update(choices=choices_of([*names, *gone]), **value),
        }

    def analysis_of(self, person: Person, name: str) -> Run | None:
        """The analysis of a board that goes on, if this person may look at it."""
        runs = self._runs.of(person, Kind.ANALYZE)
        return next((run for run in runs if run.title == name and not run.state.ended), None)

    def require_idle(self, board: Moodboard, person: Person) -> None:
        """Raise InvalidRequest for a board whose analysis would find no board of its name when it is done."""
        name = board.name
        # Whoever began it; of a board that has an owner that may be nobody else.
        if self.analysis_of(Person(board.owner) if board.owner else LOCAL, name) or self.analysis_of(person, name):
            raise InvalidRequest(f"«{name}» is being analyzed — wait until that is done, or stop it")

    def analyzing(self, visitor: gr.Request, run: Run, open_board: str) -> Update:
        """The page watches an analysis; if it is the open board's, nothing is typed that it is about to replace."""
        locked = (*WORDS, "looks", "rename", "delete") if run.title == open_board else ()
        return {
            **self._analyses.watch(visitor, [run.id]),
            **analysis_progress(run),
            "analyze": visible(False),
            "stop": visible(True),
            **{name: gr.update(interactive=False) for name in locked},
        }

    def rested(self, open_board: str, may: bool) -> Update:
        """No analysis goes on that the page watches; `may`: the open board may be changed."""
        return {
            "progress": gr.update(**HIDDEN),
            "analyze": visible(True),
            "stop": visible(False),
            **{name: gr.update(interactive=may) for name in (*WORDS, "looks")},
            **{name: gr.update(interactive=bool(open_board) and may) for name in ("rename", "delete")},
        }

    def may_change(self, visitor: gr.Request, name: str) -> bool:
        """Whether the visitor may change the board of this name; also where there is none, which is then told."""
        boards = self._library.moodboards.of(self._visitors.person(visitor))
        try:
            return boards.may_change(boards.get(name))
        except StudioError:
            return True

    def _may_change(self, visitor: gr.Request, board: Moodboard) -> bool:
        return self._visitors.person(visitor).may_change(board.owner, board.team)


def analysis_progress(run: Run) -> Update:
    """How far an analysis is."""
    share = run.progress.share if run.progress else None
    return {"progress": shown(moodboard_fragments.progress(run.title, share or 0.0, run.stopping))}


def kept_words_of(board: Moodboard) -> Words | None:
    """The texts that are in the boxes and saved; None for a board without an analysis."""
    return texts_of(board.analysis) if board.analysis else None


def look_ids_of(board: Moodboard) -> list[str]:
    """The pictures by which a board's looks are told from those of another analysis."""
    return [cluster.representative for cluster in board.analysis.clusters] if board.analysis else []
