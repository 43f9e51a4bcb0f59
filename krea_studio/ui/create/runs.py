"""Runs on the Create tab: Generate begins one and is done, Stop and Cancel end one, the page watches between them.

A tab watches the runs that were begun on it, one after another; when it is opened, those of its person that have not
ended. Nothing here keeps a run alive. How far a run is, the browser asks the server by itself (`server/standing`), and
calls for `news` where more is to be written than the stage: every event of Gradio's costs the browser as much as a
hundred such questions. The page tells what it shows, and gets what it does not: an answer that was lost comes again.
"""

import html
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from pydantic import BaseModel

from krea_studio.errors import InvalidRequest
from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.runs.run import Run, State
from krea_studio.runs.runs import Runs
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create.abilities import AbilitiesPanel
from krea_studio.ui.create.recent import RECENT, RecentPanel
from krea_studio.ui.create.results import RESULTS
from krea_studio.ui.notices import guarded, visible
from krea_studio.ui.presenter import (
    Update,
    news_of,
    pictures_of,
    shown,
    stage_of,
    status_of,
    unfinished_of,
    waiting_beside,
)
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import UNKNOWN, Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of

# What handlers here write to, beside results.
PARTS = ("stop", "queue", "drawn")
NOTHING_DRAWN: dict[str, Any] = {"run": "", "pictures": 0, "ended": True, "queue": ""}
Drawn = dict[str, Any]


class DrawnRun(BaseModel):
    """What a page shows of a run, as it remembers it."""

    run: str
    pictures: int
    ended: bool
    queue: str


CANCEL_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-run]");
  if (button) trigger("click", { run: button.dataset.run });
});
"""


@dataclass
class Watched:
    """What one tab watches: the runs that it has yet to show, the first of which it shows.

    Gradio keeps one for every tab, and hands the same one to every handler. It is changed in place, so that events
    which come at the same moment undo nothing of each other.
    """

    runs: list[str] = field(default_factory=list)
    adopted: bool = False  # whether the runs of before were looked for


class RunsPanel:
    """Generate, Stop, the queue, and what there is new, over the studio's runs."""

    def __init__(self, services: Services, visitors: Visitors, abilities: AbilitiesPanel, recent: RecentPanel) -> None:
        """A run is made from the controls that `abilities` has."""
        self._engine, self._shown = services.engine, ShownRuns(services.runs)
        self._visitors, self._abilities, self._recent = visitors, abilities, recent

    def build(self, parts: Parts) -> None:
        """Lay out Generate and Stop."""
        parts["generate"] = gr.Button("Generate", variant="primary", elem_id="generate")
        parts["stop"] = gr.Button("Stop", variant="stop", visible=False, elem_id="stop")

    def build_queue(self, parts: Parts) -> None:
        """Lay out the list of a person's waiting runs, and what watches."""
        parts["queue"] = gr.HTML(visible=False, elem_id="queue", js_on_load=CANCEL_SCRIPT)
        parts["watched"] = gr.State(Watched())
        # What the page shows; in the page, because only there it is known what has arrived.
        parts["drawn"] = remembered(NOTHING_DRAWN, DrawnRun, session=False)
        parts["news"] = gr.Button("News", visible="hidden", elem_id="news")

    def wire(self, wiring: Wiring) -> None:
        """Connect the buttons, Enter in every box of one line, and what the browser asks for."""
        parts, at_once = wiring.parts, wiring.at_once
        settings = self._abilities.reads
        boxes = (parts[name] for name in settings if isinstance(parts[name], gr.Textbox) and parts[name].lines == 1)
        at_once(
            any_of(parts["generate"].click, *(box.submit for box in boxes)),
            self.begin,
            reads=("browser", "watched", *settings),
            writes=(*RESULTS, *PARTS, "seed"),
            trigger_mode="once",
        )
        watching = ("browser", "watched", "drawn")
        at_once(
            parts["news"].click,
            self.news,
            reads=(*watching, "variant"),
            writes=(*RESULTS, *RECENT, *PARTS, "status"),
            trigger_mode="once",
        )
        # Pressed again while the line is slow, each counts: by then it may be another run that is shown.
        each = "multiple"
        at_once(parts["stop"].click, self.stop, reads=watching, writes=("stage",), trigger_mode=each)
        at_once(parts["queue"].click, self.cancel, reads=watching, writes=(*RESULTS, *PARTS), trigger_mode=each)
        at_once(gr.context.Context.root_block.load, self.open, reads=watching, writes=(*RECENT, *RESULTS, *PARTS))

    def begin(self, visitor: gr.Request, browser: str, watched: Watched, **values: Any) -> Update:
        """Begin a run of what the controls say; what becomes of it `news` shows."""

        def submit() -> Update:
            request = parse_request(self._abilities.fields(values))
            return self._shown.begin(request, self._visitors.person(visitor, browser), watched)

        return guarded(submit, lambda message: self._shown.refuse(message, watched))

    def news(self, visitor: gr.Request, browser: str, variant: str, watched: Watched, drawn: Drawn) -> Update:
        """What there is beyond the stage; where a run has begun or ended, recent pictures and the status line too."""
        update = guarded(lambda: self._shown.news(self._visitors.person(visitor, browser), watched, drawn))
        now = update.get("drawn", drawn)
        if (now["run"], now["ended"]) != (drawn["run"], drawn["ended"]):
            return {**self._recent.strip(visitor, browser), **status_of(self._engine, variant), **update}
        return update

    def stop(self, visitor: gr.Request, browser: str, watched: Watched, drawn: Drawn) -> Update:
        """Stop was pressed: the run that is shown is to end."""
        return guarded(lambda: self._shown.stop(self._visitors.person(visitor, browser), watched, drawn))

    def cancel(self, choice: gr.EventData, visitor: gr.Request, browser: str, watched: Watched, drawn: Drawn) -> Update:
        """Cancel was pressed beside a waiting run."""
        person, run_id = self._visitors.person(visitor, browser), str(getattr(choice, "run", ""))
        return guarded(lambda: self._shown.cancel(run_id, person, watched, drawn))

    def open(self, visitor: gr.Request, browser: str, watched: Watched, drawn: Drawn) -> Update:
        """The page was opened: recent pictures, and the runs of this person that go on."""
        recent = self._recent.strip(visitor, browser)
        person = self._visitors.person(visitor, recent["browser"])
        return {**recent, **guarded(lambda: self._shown.news(person, watched, drawn))}


class ShownRuns:
    """The runs that tabs watch, and what there is to show of them."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def begin(self, request: GenerationRequest, person: Person, watched: Watched) -> Update:
        """Take on a request. Where the tab shows another run, the new one is among those that wait."""
        run_id = self._runs.submit(request, person)
        run = self._runs.watch(run_id, person)
        if not self._going_on(watched):
            watched.runs.clear()
        watched.adopted = True
        watched.runs.append(run_id)
        seed = {"seed": str(run.shots[0].seed)}
        if watched.runs[0] != run_id:
            return seed
        return {**seed, **pictures_of(run.finished), **self._draw(run, person, {})}

    def refuse(self, message: str, watched: Watched) -> Update:
        """What was wrong with a request, where it is seen: beside a run that is shown, or in its place."""
        if self._going_on(watched):
            gr.Warning(html.escape(message))
            return {}
        return {"stage": shown(fragments.notice(message))}

    def news(self, person: Person, watched: Watched, drawn: Drawn) -> Update:
        """All of the watched run that the page does not show yet."""
        run = self._current(person, watched, drawn)
        if run is None:
            return {"drawn": {**drawn, "ended": True, "queue": ""}, "stop": visible(False), **_queue("")}
        pictures = {}
        if run.finished and (run.id, len(run.finished)) != (drawn["run"], drawn["pictures"]):
            pictures = pictures_of(run.finished)
        return {**pictures, **self._draw(run, person, drawn)}

    def stop(self, person: Person, watched: Watched, drawn: Drawn) -> Update:
        """Stop was pressed; the stage says so, which the browser asks for, until the run has really ended."""
        self._adopt(person, watched, drawn)
        if watched.runs:
            self._runs.stop(watched.runs[0], person)
        return {}

    def cancel(self, run_id: str, person: Person, watched: Watched, drawn: Drawn) -> Update:
        """A waiting run was cancelled."""
        self._adopt(person, watched, drawn)
        if run_id in watched.runs[1:]:
            watched.runs.remove(run_id)
        self._runs.stop(run_id, person)
        return self.news(person, watched, drawn)

    def _adopt(self, person: Person, watched: Watched, drawn: Drawn) -> None:
        """Let a tab that watches nothing yet, or whose session was forgotten, watch what it shows and what goes on."""
        if not watched.adopted:
            watched.adopted = True
            shown = [drawn["run"]] if drawn["run"] else []
            watched.runs += dict.fromkeys([*shown, *(run.id for run in self._own(person))])

    def _current(self, person: Person, watched: Watched, drawn: Drawn) -> Run | None:
        """The run that the tab is to show: the first one that has not ended, or else the last one."""
        self._adopt(person, watched, drawn)
        while watched.runs:
            with suppress(InvalidRequest):  # it ended so long ago that nothing is known of it
                run = self._runs.watch(watched.runs[0], person)
                if run.state.ended and run.state is State.FAILED and watched.runs[1:]:
                    gr.Warning(html.escape(run.failure))
                if not run.state.ended or not watched.runs[1:]:
                    return run
            del watched.runs[0]
        return None

    def _draw(self, run: Run, person: Person, drawn: Drawn) -> Update:
        """Stage, buttons and queue as they are to be, and what the page then shows."""
        queue = "" if run.state.ended else fragments.queue(waiting_beside(run, self._runs))
        now = {"run": run.id, "pictures": len(run.finished), "ended": run.state.ended, "queue": queue}
        update = {**stage_of(run, news_of(run, self._runs)), "drawn": now}
        if (drawn.get("run"), drawn.get("ended")) != (run.id, run.state.ended):
            update["stop"] = visible(not run.state.ended)
        return update if drawn.get("queue") == queue else {**update, **_queue(queue)}

    def _going_on(self, watched: Watched) -> bool:
        """Whether a run is shown that has not ended."""
        for run_id in watched.runs:
            with suppress(InvalidRequest):  # it ended so long ago that nothing is known of it
                if not self._runs.watch(run_id).state.ended:
                    return True
        return False

    def _own(self, person: Person) -> list[Run]:
        """The runs of a person that have not ended, in the order in which they were made; sweeps have their own tab.

        None for a browser that is not known: what such ones began may be anybody's.
        """
        if person.id == UNKNOWN.id:
            return []
        return [run for run in unfinished_of(person.id, self._runs) if not run.cells]


def _queue(markup: str) -> Update:
    return {"queue": gr.update(value=markup, visible=bool(markup))}
