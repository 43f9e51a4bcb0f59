"""Runs on the Create tab: Generate begins one and is done, a timer shows how it stands, Stop and Cancel end one.

A tab watches the runs that were begun on it, one after another; when it is opened, those of its person that have not
ended. Nothing here keeps a run alive: what the tab draws is the run's present state, whatever it drew before.
"""

import html
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from krea_studio.errors import InvalidRequest
from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest
from krea_studio.runs.run import Kind, Run, State
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.presenter import Update, pictures_of, shown, stage_of

LOOK_SECONDS = 0.5
# What handlers here write to, beside results.
PARTS = ("stop", "watch", "queue")
CANCEL_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-run]");
  if (button) trigger("click", { run: button.dataset.run });
});
"""


def build_queue(parts: dict[str, Any]) -> None:
    """Lay out the list of a person's waiting runs, and what watches."""
    parts["queue"] = gr.HTML(visible=False, elem_id="queue", js_on_load=CANCEL_SCRIPT)
    parts["watch"] = gr.Timer(LOOK_SECONDS, active=False)
    parts["watched"] = gr.State(Watched())


@dataclass
class Watched:
    """What one tab watches: the runs that it has yet to show, the first of which it shows, and what of it was drawn.

    Gradio keeps one for every tab, and hands the same one to every handler. It is changed in place, so that Generate
    and the timer, which may come at the same moment, undo nothing of each other.
    """

    runs: list[str] = field(default_factory=list)
    adopted: bool = False  # whether the runs of before were looked for
    drawn: tuple[str, int] | None = None  # the run on the stage, in which version
    pictures: int = 0
    queue: str = ""


class RunHandlers:
    """The behaviour of Generate, Stop, Cancel and of the timer, over the studio's runs."""

    def __init__(self, services: Services) -> None:
        self._runs = services.runs

    def begun(self, request: GenerationRequest, person: Person, watched: Watched) -> Update:
        """Take on a request. Where the tab shows another run, the new one is among those that wait."""
        run_id = self._runs.submit(request, person)
        shots = self._runs.watch(run_id, person).shots
        begun = {"seed": str(shots[0].seed), "watch": gr.Timer(active=True)}
        watched.adopted = True
        watched.runs.append(run_id)
        if watched.runs[0] != run_id:
            return {**begun, **self._queue(person, watched)}
        watched.pictures = 0
        return {**begun, **pictures_of([]), "stage": shown(fragments.starting(shots[0])), "stop": _stop(True)}

    def refused(self, message: str, watched: Watched) -> Update:
        """What was wrong with a request, where it is seen: beside a run that is shown, or in its place."""
        if watched.runs:
            gr.Warning(html.escape(message))
            return {}
        return {"stage": shown(fragments.notice(message))}

    def looked(self, person: Person, watched: Watched) -> Update:
        """The watched run as it is now; after it the next one, and when there is none the timer rests."""
        if not watched.adopted:
            watched.adopted = True
            watched.runs += [run.id for run in self._own(person)]
        if not watched.runs:
            return {"stop": _stop(False), "watch": gr.Timer(active=False), **self._queue(person, watched)}
        try:
            run = self._runs.watch(watched.runs[0], person)
        except InvalidRequest:  # it ended long ago
            del watched.runs[0]
            return {"watch": gr.Timer(active=True)}
        update: Update = {}
        before, watched.drawn = watched.drawn, (run.id, run.version)
        if before is None or before[0] != run.id:
            update |= {"stop": _stop(True), "watch": gr.Timer(active=True), **pictures_of(run.finished)}
        elif len(run.finished) != watched.pictures:
            update |= pictures_of(run.finished)
        if before != watched.drawn or run.state is State.WAITING:
            update |= stage_of(run)
        watched.pictures = len(run.finished)
        if run.state.ended:
            del watched.runs[0]
        return {**update, **self._queue(person, watched)}

    def stopped(self, person: Person, watched: Watched) -> Update:
        """Stop was pressed: say so until the run has really ended."""
        if watched.runs:
            self._runs.stop(watched.runs[0], person)
        return {"stop": gr.update(value="Stopping…", interactive=False)}

    def cancelled(self, run_id: str, person: Person, watched: Watched) -> Update:
        """A waiting run was cancelled."""
        if run_id in watched.runs[1:]:
            watched.runs.remove(run_id)
        self._runs.stop(run_id, person)
        return self._queue(person, watched)

    def _own(self, person: Person) -> list[Run]:
        """The runs of a person that have not ended, in the order in which they were made."""
        return [run for run in self._runs.of(person, Kind.GENERATE) if run.owner == person.id and not run.state.ended]

    def _queue(self, person: Person, watched: Watched) -> Update:
        """The list of those runs that are not shown, drawn only where it has changed."""
        others = [run for run in self._own(person) if run.id not in watched.runs[:1]]
        markup = fragments.queue(others)
        if markup == watched.queue:
            return {}
        watched.queue = markup
        return {"queue": gr.update(value=markup, visible=bool(others))}


def _stop(visible: bool) -> Any:
    return gr.update(visible=visible, value="Stop", interactive=True)
