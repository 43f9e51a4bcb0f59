"""What happens on the tab Sweep.

A sweep starts from the request that Generate would send, which Create's own panels make. It is a run as any other: the
page shows it, the browser asks how it stands (`server/standing`) and calls for `news` where there are more pictures.
Which one the page shows, the page knows; on a page that has just been opened it is the person's last one.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.files import make_folder, write_whole
from krea_studio.library.pictures.sheets import read_sweep, sheet, sheet_bytes
from krea_studio.library.records import Record
from krea_studio.people import Person
from krea_studio.recipe.axes import OF_WHICH, Axis
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.recipe.sweep import MOST_CELLS, MOST_CELLS_EVER, Sweep, sweep_from_json
from krea_studio.runs.pace import Pace, expected
from krea_studio.runs.run import Run
from krea_studio.runs.shares import Thing
from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.notices import HIDDEN, guarded, note, problem, visible
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.sweep import fragments
from krea_studio.ui.sweep.asked import (
    AXES,
    ERRORS,
    NO_AXIS,
    NO_VALUES,
    WHICH,
    Misplaced,
    example,
    part_of,
    rows_of,
    rows_with,
    sweep_of,
)
from krea_studio.ui.sweep.view import cells_of, view_of
from krea_studio.ui.visitors import UNKNOWN, Visitors

NOTICE = "sweep_notice"
NO_SHEET = "{} is a picture and no sheet of a sweep — load its settings on Create, or drop a sheet here"
NO_PROMPT = "Describe a picture on Create first: a sweep starts from the settings there"
STILL_DRAWN = "A sweep is being drawn — wait until it has ended, or stop it"
GONE = "The picture is not there any more — its settings are those of the sweep"
CLOSED: Update = {"sweep_cell": "", "sweep_opened": visible(False)}
FORESEEN = (*ERRORS, "sweep_base", "sweep_plan")


class SweepHandlers:
    """The tab's behaviour, over one set of services and the controls of Create."""

    def __init__(self, services: Services, visitors: Visitors, create: CreateTab) -> None:
        self._services, self._visitors, self._create = services, visitors, create
        self._runs, self._library, self._shares = services.runs, services.library, services.shares

    def open(self, visitor: gr.Request, browser: str, sweep_run: str, sweep_cell: str, **values: Any) -> Update:
        """The tab or the page was opened: the sweep that it shows or else the person's last one, and what would be."""
        person = self._visitors.person(visitor, browser)

        def found() -> Update:
            run = self._watched(sweep_run, person) or self._last(person)
            return view_of(run, self._runs, sweep_cell) if run else {}

        return {**self.foresee(visitor, browser, **values), **guarded(found, _noticed)}

    def foresee(self, visitor: gr.Request, browser: str, **values: Any) -> Update:
        """What Start would do: how many pictures, how many are here, about how long; or what is wrong, and where."""
        update: Update = {name: gr.update(**HIDDEN) for name in ERRORS}
        if not values["prompt"].strip():
            return {**update, "sweep_base": "", "sweep_plan": fragments.plan(NO_PROMPT)}
        try:
            request = self._request(values)
        except StudioError as error:
            return {**update, "sweep_base": "", "sweep_plan": fragments.plan(error.message)}
        update["sweep_base"] = fragments.base(request)
        return {**update, **self._foreseen(request, self._visitors.person(visitor, browser), values)}

    def choose_axis(self, axis: str, what: str) -> Update:
        """Something else varies on an axis: tell how its values are written. What was written for another one goes."""
        hint = f"for example {example(what)}" if what else ""
        return {
            part_of(axis, "which"): gr.update(value="", visible=what in OF_WHICH, placeholder=WHICH.get(what, "")),
            part_of(axis, "values"): gr.update(value="", visible=bool(what), placeholder=hint),
        }

    def begin(self, visitor: gr.Request, browser: str, sweep_run: str, **values: Any) -> Update:
        """Start was pressed: the sweep is taken on, and shown. Not beside another one: it would draw cells twice."""
        person = self._visitors.person(visitor, browser)

        def begun() -> Update:
            shown = self._watched(sweep_run, person)
            if shown and not shown.state.ended:
                raise InvalidRequest(STILL_DRAWN)
            run_id = self._runs.submit(self._asked(self._request(values), values), person)
            update = view_of(self._runs.watch(run_id, person), self._runs)
            return {**update, **CLOSED, **note("", NOTICE)}

        def refused(message: str) -> Update:
            return {"sweep_plan": fragments.plan(message, refused=True)}

        return {**{name: gr.update(**HIDDEN) for name in ERRORS}, **guarded(lambda: _beside(begun), refused)}

    def news(self, visitor: gr.Request, browser: str, sweep_run: str, sweep_cell: str) -> Update:
        """The sweep that is shown, as it is now."""
        person = self._visitors.person(visitor, browser)

        def told() -> Update:
            run = self._watched(sweep_run, person) or self._last(person)
            return view_of(run, self._runs, sweep_cell) if run else {}

        return guarded(told, _noticed)

    def stop(self, visitor: gr.Request, browser: str, sweep_run: str, sweep_cell: str) -> Update:
        """Stop was pressed: the sweep ends at its next step, and keeps what there is."""

        def stopped() -> Update:
            self._runs.stop(sweep_run, self._visitors.person(visitor, browser))
            return self.news(visitor, browser, sweep_run, sweep_cell)

        return guarded(stopped, _noticed)

    def go_on(self, visitor: gr.Request, browser: str, sweep_run: str, sweep_cell: str) -> Update:
        """Go on was pressed: what the sweep lacks is drawn."""

        def going_on() -> Update:
            self._runs.go_on(sweep_run, self._visitors.person(visitor, browser))
            return {**self.news(visitor, browser, sweep_run, sweep_cell), **note("", NOTICE)}

        return guarded(going_on, _noticed)

    def open_cell(self, choice: gr.EventData, visitor: gr.Request, browser: str, sweep_run: str) -> Update:
        """A cell was pressed: its picture in full, with what can be done with it."""
        person, picture = self._visitors.person(visitor, browser), str(getattr(choice, "picture", ""))

        def opened() -> Update:
            run, record = self._runs.watch(sweep_run, person), self._picture(picture, person)
            cells = cells_of(run, self._library)
            place = next((place for place, each in enumerate(cells.pictures) if each and each.id == picture), None)
            if place is None:
                raise InvalidRequest(GONE)
            values = fragments.values_at(cells.sweep, run.cells[place])
            return {
                **view_of(run, self._runs, picture),
                "sweep_cell": picture,
                "sweep_opened": visible(True),
                "sweep_picture": fragments.cell(record, values),
                **note("", NOTICE),
            }

        return guarded(opened, lambda message: {**_noticed(message), **CLOSED})

    def close_cell(self, visitor: gr.Request, browser: str, sweep_run: str) -> Update:
        """The opened cell was closed."""
        return {**self.news(visitor, browser, sweep_run, ""), **CLOSED}

    def reuse(self, visitor: gr.Request, browser: str, sweep_cell: str) -> Update:
        """The settings of the opened cell go into the controls of Create, which is shown."""

        def reused() -> Update:
            person = self._visitors.person(visitor, browser)
            record = self._picture(sweep_cell, person)
            return {**self._create.recall.recall(person, record.recipe), "tabs": gr.Tabs(selected="create")}

        return guarded(reused, _noticed)

    def sheet(self, visitor: gr.Request, browser: str, sweep_run: str) -> Update:
        """Write the sheet of what there is, for the browser to take; Gradio removes it a day later."""

        def made() -> Update:
            cells = cells_of(self._runs.watch(sweep_run, self._visitors.person(visitor, browser)), self._library)
            at = cells.run.cells
            files = {at[place]: record.path for place, record in enumerate(cells.pictures) if record}
            path = Path(get_upload_folder()) / "sheets" / secrets.token_hex(16) / f"sweep-{cells.run.id[:8]}.png"
            payer = self._visitors.payer(visitor)
            with self._shares.taking(payer, Thing.EXPORTS):
                make_folder(path.parent)
                write_whole(path, sheet_bytes(sheet(cells.sweep, files), cells.sweep))
            self._shares.note(payer, Thing.EXPORTS, path.stat().st_size)
            return {"sweep_download": str(path)}

        # What could not be made must not leave an older one to be taken instead.
        return {"sweep_download": None, **guarded(made, _noticed)}

    def drop(self, visitor: gr.Request, dropped: str | None) -> Update:
        """A file was dropped: the sweep of a sheet comes back, into the axes and into the controls of Create."""

        def taken() -> Update:
            name = Path(dropped or "").name
            found = read_sweep(dropped or "", name)
            if found is None:
                raise InvalidRequest(NO_SHEET.format(name))
            return self._take(visitor, found)

        return {"sweep_file": None, **(guarded(taken, _noticed) if dropped else {})}

    def take_sheet(self, visitor: gr.Request, sheet: Mapping[str, Any] | None) -> Update:
        """A sheet was dropped on Create: its sweep is shown here."""
        if sheet is None:
            return {}
        return guarded(
            lambda: {**self._take(visitor, sweep_from_json(sheet)), "tabs": gr.Tabs(selected="sweep")}, _noticed
        )

    def _take(self, visitor: gr.Request, sweep: Sweep) -> Update:
        update = self._create.recall.write(
            self._visitors.person(visitor),
            sweep.request,
            [f"The settings of a sweep of {sweep.size} pictures are in the controls."],
        )
        told = f"The sweep of {sweep.size} pictures is here: its axes below, its settings on Create."
        rows = rows_with(sweep.axes)
        boxes = {
            part_of(axis, part): gr.update(value=rows[part_of(axis, part)], visible=there)
            for axis in AXES
            for part, there in (
                ("which", rows[part_of(axis, "what")] in OF_WHICH),
                ("values", bool(rows[part_of(axis, "what")])),
            )
        }
        return {
            **update,
            **rows,
            **boxes,
            "sweep_kept": [axis.model_dump(mode="json") for axis in sweep.axes],
            "sweep_allow": sweep.size > MOST_CELLS,
            **note(told, NOTICE),
        }

    def _request(self, values: Mapping[str, Any]) -> GenerationRequest:
        """What Generate would send, as one picture."""
        return parse_request({**self._create.abilities.fields(values), "batch": 1})

    def _asked(self, request: GenerationRequest, values: Mapping[str, Any]) -> Sweep:
        """The sweep as it stands on the page. Raises as `sweep_of` does."""
        kept = [Axis.model_validate(each) for each in values["sweep_kept"]]
        most = MOST_CELLS_EVER if values["sweep_allow"] else MOST_CELLS
        return sweep_of(request, rows_of(values), kept, most)

    def _foreseen(self, request: GenerationRequest, person: Person, values: Mapping[str, Any]) -> Update:
        def told() -> Update:
            try:
                generation = self._runs.studio.begin(self._asked(request, values), person)
            except Misplaced as refusal:
                if refusal.message == NO_VALUES:  # whoever has just chosen what varies is about to write them
                    return {"sweep_plan": fragments.plan(NO_VALUES)}
                raise
            told = expected(generation.plan.shots, generation.here(), Pace.of(self._library))
            return {"sweep_plan": fragments.plan(told)}

        def refused(message: str) -> Update:
            return {"sweep_plan": fragments.plan(message, refused=message != NO_AXIS)}

        return guarded(lambda: _beside(told), refused)

    def _watched(self, run_id: str, person: Person) -> Run | None:
        """The run with this id, None where nothing is known of it any more."""
        with suppress(InvalidRequest):
            return self._runs.watch(run_id, person)
        return None

    def _last(self, person: Person) -> Run | None:
        """The person's last sweep; none of a browser that is not known, which may be anybody's."""
        return None if person.id == UNKNOWN.id else self._runs.last_sweep(person)

    def _picture(self, picture: str, person: Person) -> Record:
        record = self._library.get(picture, person)
        if record is None:
            raise InvalidRequest(GONE)
        return record


def _beside(action: Callable[[], Update]) -> Update:
    """What an action gives; where one axis is refused, that beside its box."""
    try:
        return action()
    except Misplaced as refusal:
        return {part_of(refusal.axis, "error"): shown(fragments.error(refusal.message)), "sweep_plan": ""}


def _noticed(message: str) -> Update:
    return problem(message, NOTICE)
