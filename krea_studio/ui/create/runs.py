"""Runs on the Create tab: Generate begins one and is done, a timer shows how it stands, Stop and Cancel end one.

A tab watches the runs that were begun on it, one after another; when it is opened, those of its person that have not
ended. Nothing here keeps a run alive. The page tells with every look what it shows, and what it does not show yet is
written: so an answer that was lost comes again. Most looks write the stage only, because Gradio works on every part
that a handler may write; `news` writes the rest when there is any.
"""

import html
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from krea_studio.errors import InvalidRequest
from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest
from krea_studio.runs.run import Kind, Run
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.presenter import Update, pictures_of, shown, stage_of
from krea_studio.ui.visitors import UNKNOWN

LOOK_SECONDS = 0.5
# What handlers here write to, beside results.
PARTS = ("stop", "watch", "queue", "drawn")
NOTHING_DRAWN: dict[str, Any] = {"run": "", "pictures": 0, "ended": True, "queue": "", "rests": True}
Drawn = dict[str, Any]
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
    # What the page shows; in the page, because only there it is known what has arrived.
    parts["drawn"] = gr.JSON(NOTHING_DRAWN, visible=False)
    # In the page too: Gradio's client overlooks that a State has changed where the event did not wait in the queue.
    parts["news"] = gr.Number(0, visible="hidden")


@dataclass
class Watched:
    """What one tab watches: the runs that it has yet to show, the first of which it shows.

    Gradio keeps one for every tab, and hands the same one to every handler. It is changed in place, so that Generate
    and the timer, which may come at the same moment, undo nothing of each other.
    """

    runs: list[str] = field(default_factory=list)
    adopted: bool = False  # whether the runs of before were looked for
    staged: tuple[str, int] | None = None  # the run on the stage, in which version
    news: int = 0  # grows whenever there is more to be written than the stage


class RunHandlers:
    """The behaviour of Generate, Stop, Cancel and of the timer, over the studio's runs."""

    def __init__(self, services: Services) -> None:
        self._runs = services.runs

    def begun(self, request: GenerationRequest, person: Person, watched: Watched) -> Update:
        """Take on a request. Where the tab shows another run, the new one is among those that wait."""
        run_id = self._runs.submit(request, person)
        shots = self._runs.watch(run_id, person).shots
        watched.adopted = True
        watched.runs.append(run_id)
        begun = {"seed": str(shots[0].seed), "watch": gr.Timer(active=True)}
        if watched.runs[0] != run_id:
            return begun
        drawn = {**NOTHING_DRAWN, "run": run_id, "ended": False, "rests": False}
        stage, queue = shown(fragments.starting(shots[0])), gr.update(value="", visible=False)
        return {**begun, **pictures_of([]), "stage": stage, "stop": _stop(True), "queue": queue, "drawn": drawn}

    def refused(self, message: str, watched: Watched) -> Update:
        """What was wrong with a request, where it is seen: beside a run that is shown, or in its place."""
        if watched.runs:
            gr.Warning(html.escape(message))
            return {}
        return {"stage": shown(fragments.notice(message))}

    def looked(self, person: Person, watched: Watched, drawn: Drawn) -> Update:
        """The stage of the watched run as it is now, where it has changed, and a call for `news` where more has."""
        run = self._current(person, watched, drawn)
        update: Update = {}
        if run is not None and (run.id, run.version) != watched.staged:
            watched.staged = run.id, run.version
            update = stage_of(run)
        if self._wanted(run, person, drawn) != drawn:
            watched.news += 1
            update["news"] = watched.news
        return update

    def news(self, person: Person, watched: Watched, drawn: Drawn) -> Update:
        """All of the watched run that the page does not show yet; when there is none any more, the timer rests."""
        run = self._current(person, watched, drawn)
        wanted = self._wanted(run, person, drawn)
        update: Update = {"drawn": wanted, "watch": gr.Timer(active=not wanted["rests"])}
        if wanted["queue"] != drawn["queue"]:
            update["queue"] = gr.update(value=wanted["queue"], visible=bool(wanted["queue"]))
        if run is None:
            return {**update, "stop": _stop(False)}
        if run.id != drawn["run"]:
            update["stop"] = _stop(True)
        if (run.id, wanted["pictures"]) != (drawn["run"], drawn["pictures"]):
            update |= pictures_of(run.finished)
        watched.staged = run.id, run.version
        return {**update, **stage_of(run)}

    def stopped(self, person: Person, watched: Watched) -> Update:
        """Stop was pressed: say so until the run has really ended."""
        if watched.runs:
            self._runs.stop(watched.runs[0], person)
        return {"stop": gr.update(value="Stopping…", interactive=False)}

    def cancelled(self, run_id: str, person: Person, watched: Watched, drawn: Drawn) -> Update:
        """A waiting run was cancelled."""
        if run_id in watched.runs[1:]:
            watched.runs.remove(run_id)
        self._runs.stop(run_id, person)
        return self.news(person, watched, drawn)

    def _current(self, person: Person, watched: Watched, drawn: Drawn) -> Run | None:
        """The run that the tab is to show: the first one whose end it does not show yet."""
        if not watched.adopted:
            watched.adopted = True
            watched.runs += [run.id for run in self._own(person)]
        while watched.runs:
            if drawn["run"] != watched.runs[0] or not drawn["ended"]:
                with suppress(InvalidRequest):  # it ended so long ago that nothing is known of it
                    return self._runs.watch(watched.runs[0], person)
            del watched.runs[0]
        return None

    def _wanted(self, run: Run | None, person: Person, drawn: Drawn) -> Drawn:
        """What the page is to show beside the stage, in the form of `drawn`."""
        others = [each for each in self._own(person) if run is None or each.id != run.id]
        wanted = {**drawn, "queue": fragments.queue(others), "rests": run is None}
        if run is None:
            return wanted
        return {**wanted, "run": run.id, "pictures": len(run.finished), "ended": run.state.ended}

    def _own(self, person: Person) -> list[Run]:
        """The runs of a person that have not ended, in the order in which they were made.

        None for a browser that is not known: what such ones began may be anybody's.
        """
        if person.id == UNKNOWN.id:
            return []
        return [run for run in self._runs.of(person, Kind.GENERATE) if run.owner == person.id and not run.state.ended]


def _stop(visible: bool) -> Any:
    return gr.update(visible=visible, value="Stop", interactive=True)
