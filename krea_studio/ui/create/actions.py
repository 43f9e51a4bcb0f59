"""What is done with the looked-at picture: Reuse, Pin, Around this, Use as style reference, Add to moodboard, Report.

Compare, beside them, is connected by the tab of that name. A panel that any tab can place which has the parts of
LOOKED_AT and those of the controls that an action writes to. Its `picture_actions` show and hide with the picture. A
tab with a way of its own to a moodboard places those alone that fill controls.
"""

from typing import Any

import gradio as gr

from krea_studio.direction.sliders import values_text
from krea_studio.errors import StudioError
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.ui import fragments
from krea_studio.ui.create.panels import moodboard, references
from krea_studio.ui.create.panels.moodboard import MoodboardPanel
from krea_studio.ui.create.panels.references import ReferencesPanel
from krea_studio.ui.create.panels.seed import SEED, seed_values
from krea_studio.ui.create.panels.sliders import RANDOM, slider_values
from krea_studio.ui.create.recall import RecallPanel
from krea_studio.ui.create.results import LOOKED_AT, picture_at
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring

NEAR_SPREAD = 25  # how far from a picture's slider values "Around this" draws
FILLING = {
    "reuse": "Reuse settings",
    "pin": "Pin",
    "around": "Around this",
    "as_reference": "Use as style reference",
}
REPORTED = "Reported. Whoever runs this studio finds it among the reports."
PRESS_GENERATE = "() => document.querySelector('#generate')?.click()"


class ActionsPanel:
    """The actions of a picture, on the panels that they fill."""

    def __init__(
        self,
        library: Library,
        visitors: Visitors,
        recall: RecallPanel,
        references: ReferencesPanel,
        moodboard: MoodboardPanel,
    ) -> None:
        self._library, self._visitors = library, visitors
        self._recall, self._references, self._moodboard = recall, references, moodboard

    def build(self, parts: Parts) -> None:
        """Lay out the row of buttons, which shows where a picture is looked at."""
        with gr.Row(visible=False, elem_id="picture-actions") as parts["picture_actions"]:
            self.build_filling(parts)
            parts["to_board"] = _button("to_board", "Add to moodboard")
            parts["compare"] = _button("compare", "Compare")
            parts["report"] = _button("report", "Report", visible=self._visitors.shared)

    def build_filling(self, parts: Parts, place: str = "") -> None:
        """Lay out the buttons that fill controls; `place` is before the names of their elements."""
        for name, label in FILLING.items():
            parts[name] = _button(name, label, place)

    def wire(self, wiring: Wiring) -> None:
        """Connect the buttons."""
        self.wire_filling(wiring)
        wiring.at_once(
            wiring.parts["to_board"].click,
            self.add_to_board,
            reads=("browser", *LOOKED_AT, *moodboard.CHOSEN),
            writes=("stage", *moodboard.TOLD),
        )
        wiring.at_once(wiring.parts["report"].click, self.report, reads=("browser", *LOOKED_AT), writes=("stage",))

    def wire_filling(self, wiring: Wiring) -> dict[str, Any]:
        """Connect the buttons that fill controls; returns the event of each, for what is to follow it."""
        parts, at_once = wiring.parts, wiring.at_once
        looked_at = ("browser", *LOOKED_AT)
        reuse = at_once(parts["reuse"].click, self.reuse, reads=looked_at, writes=self._recall.writes)
        pin = at_once(parts["pin"].click, self.pin, reads=looked_at, writes=(*RANDOM, *SEED, "stage"))
        around = at_once(parts["around"].click, self.draw_around, reads=looked_at, writes=(*RANDOM, "spread"))
        around.success(None, js=PRESS_GENERATE, api_visibility="private")
        as_reference = at_once(
            parts["as_reference"].click,
            self.use_as_reference,
            reads=(*looked_at, *references.PLACED),
            writes=(*references.REFERENCES, "stage"),
        )
        return {"reuse": reuse, "pin": pin, "around": around, "as_reference": as_reference}

    def reuse(self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int) -> Update:
        """Write the settings of the looked-at picture into the controls."""
        person = self._visitors.person(visitor, browser)
        return guarded(lambda: self._recall.recall(person, self._record(person, shown_ids, selected).recipe))

    def pin(self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int) -> Update:
        """Write the looked-at picture's slider values and seed into the controls, and end random mode."""

        person = self._visitors.person(visitor, browser)

        def write() -> Update:
            recipe = self._record(person, shown_ids, selected).recipe
            note = f"Pinned: {values_text(recipe) or 'all sliders at 0'}, seed {recipe.seed}."
            return {
                **slider_values(recipe.slider_values, random_mode=False),
                **seed_values(recipe.seed),
                "stage": shown(fragments.notice(note, "quiet")),
            }

        return guarded(write)

    def draw_around(self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int) -> Update:
        """Set random mode to draw near the looked-at picture's values. Fails without it, so that no run follows."""
        person = self._visitors.person(visitor, browser)
        try:
            recipe = self._record(person, shown_ids, selected).recipe
        except StudioError as error:
            raise gr.Error(error.message, print_exception=False) from None
        return {**slider_values(recipe.slider_values, random_mode=True), "spread": NEAR_SPREAD}

    def use_as_reference(
        self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int, **places: Any
    ) -> Update:
        """The looked-at picture becomes a style reference."""
        person = self._visitors.person(visitor, browser)

        def used() -> Update:
            record = self._record(person, shown_ids, selected)
            return self._references.add(person, [str(record.path)], **places)

        return guarded(used)

    def add_to_board(
        self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int, **chosen: Any
    ) -> Update:
        """The looked-at picture joins the chosen moodboard."""
        person = self._visitors.person(visitor, browser)
        return guarded(lambda: self._moodboard.add(person, [self._record(person, shown_ids, selected).path], **chosen))

    def report(self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int) -> Update:
        """The looked-at picture is noted as one that whoever runs the studio should look at."""
        person = self._visitors.person(visitor, browser)

        def note() -> Update:
            self._library.reports.add(self._record(person, shown_ids, selected).id, person)
            return {"stage": shown(fragments.notice(REPORTED, "quiet"))}

        return guarded(note)

    def _record(self, person: Person, shown_ids: list[str], selected: int) -> Record:
        return picture_at(self._library, person, shown_ids, selected)


def _button(name: str, label: str, place: str = "", visible: bool = True) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=place + name.replace("_", "-"), min_width=0, visible=visible)
