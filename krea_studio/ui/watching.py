"""Long work of a tab: an event begins it as a run and returns, and a timer draws how far it is until it has ended.

Nothing waits for a run here, so none ends because a page is reloaded, sleeps or loses its connection; a page that is
opened watches what its visitor began elsewhere. Which runs a page watches is known here, by its session. Which of them
it has shown the end of is kept in the page, and written by the timer alone: an answer that was lost comes again.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr

from krea_studio.errors import InvalidRequest
from krea_studio.people import LOCAL, Person
from krea_studio.runs.run import Kind, Run
from krea_studio.runs.runs import Check, Report, Runs
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import UNKNOWN
from krea_studio.ui.wiring import Parts

LOOK_SECONDS = 0.5


def timer_of(name: str) -> str:
    """The part that ticks while the runs of a watch go on."""
    return f"{name}_timer"


def shown_of(name: str) -> str:
    """The part with the ids of the runs whose end the page has shown."""
    return f"{name}_shown"


def parts_of(name: str) -> tuple[str, str]:
    """What the timer's handler writes beside what it shows."""
    return shown_of(name), timer_of(name)


def build_watch(parts: Parts, name: str) -> None:
    """The parts of a watch: not seen, and not on the server, which forgets a page that sleeps."""
    parts[shown_of(name)] = remembered([], list[str], session=False)
    parts[timer_of(name)] = gr.Timer(LOOK_SECONDS, active=False)


class Watch:
    """The runs of one kind that one tab begins, and which pages watch them."""

    def __init__(self, runs: Runs, kind: Kind, name: str) -> None:
        self._runs, self._kind, self._name = runs, kind, name
        self._begun_by: dict[str, str] = {}  # by run: the part of the tab
        self._watched: dict[str, list[str]] = {}  # by session: runs
        self._lock = threading.Lock()

    def begin(
        self,
        visitor: gr.Request,
        person: Person,
        title: str,
        work: Callable[[Report, Check], Any],
        begun_by: str = "",
    ) -> Update:
        """Do `work` as a run, which the visitor's page watches. Raises what `Runs.begin` does.

        `begun_by` says which part of the tab it was.
        """
        run_id = self._runs.begin(self._kind, title, work, person)
        known = {run.id for run in self._runs.of(LOCAL, self._kind)} | {run_id}
        with self._lock:
            self._begun_by = {run: part for run, part in (self._begun_by | {run_id: begun_by}).items() if run in known}
            left = {session: [run for run in runs if run in known] for session, runs in self._watched.items()}
            self._watched = {session: runs for session, runs in left.items() if runs}
        return self.watch(visitor, [run_id])

    def watch(self, visitor: gr.Request, run_ids: Iterable[str]) -> Update:
        """The visitor's page watches these runs too."""
        with self._lock:
            watched = self._watched.setdefault(visitor.session_hash or "", [])
            watched += [run for run in dict.fromkeys(run_ids) if run not in watched]
        return {timer_of(self._name): gr.update(active=True)}

    def begun_by(self, run: Run) -> str:
        """Which part of the tab a run was begun by."""
        return self._begun_by.get(run.id, "")

    def going_on(self, person: Person) -> list[Run]:
        """The runs that a person began here and that have not ended, oldest first.

        None for a browser that is not known yet: what such ones began may be anybody's.
        """
        if person.id == UNKNOWN.id:
            return []
        runs = self._runs.of(person, self._kind)
        return [run for run in runs if run.owner == person.id and run.id in self._begun_by and not run.state.ended]

    def look(self, visitor: gr.Request, person: Person, shown: Sequence[str] = ()) -> list[Run]:
        """The runs that the visitor's page watches, as they are, without those whose end it has `shown`."""
        with self._lock:
            watched = [run for run in self._watched.get(visitor.session_hash or "", []) if run not in shown]
        runs = []
        for run_id in watched:
            with suppress(InvalidRequest):  # so many have ended since that this one is forgotten
                runs.append(self._runs.watch(run_id, person))
        return runs

    def looked(self, runs: Sequence[Run], shown: Sequence[str] = ()) -> Update:
        """After these runs were shown as they are: the ended ones stay shown, and without others the timer rests."""
        ended = [run.id for run in runs if run.state.ended]
        going_on = [run for run in runs if not run.state.ended]
        return {shown_of(self._name): [*shown, *ended], timer_of(self._name): gr.update(active=bool(going_on))}

    def stop(self, run: Run, person: Person) -> None:
        """End a run at its next step. Raises InvalidRequest for one that is not there any more."""
        self._runs.stop(run.id, person)


def over(update: Update, further: Update) -> Update:
    """Two updates as one; where both say the same thing of a part, the second counts."""
    both = update.keys() & further.keys()
    return {**update, **further, **{name: _over(update[name], further[name]) for name in both}}


def _over(first: Any, second: Any) -> Any:
    if not _is_change(second):
        return second
    return {**(first if _is_change(first) else {"value": first}), **second}


def _is_change(value: Any) -> bool:
    """Whether this is more of a part than its value alone."""
    return isinstance(value, dict) and "__type__" in value
