"""The Create tab: its panels in the order in which a person works, results beside them.

The tab reads as three blocks (prompt, results, controls) that stand side by side on a wide screen and below each other,
results directly after the prompt, on a phone; the stylesheet does that.
"""

import gradio as gr

from krea_studio.services import Services
from krea_studio.ui.create.abilities import AbilitiesPanel
from krea_studio.ui.create.actions import ActionsPanel
from krea_studio.ui.create.panel import ControlPanel, Panel
from krea_studio.ui.create.panels.advanced import AdvancedPanel
from krea_studio.ui.create.panels.creativity import CreativityPanel
from krea_studio.ui.create.panels.models import ModelsPanel
from krea_studio.ui.create.panels.moodboard import MoodboardPanel
from krea_studio.ui.create.panels.prompt import PromptPanel
from krea_studio.ui.create.panels.references import ReferencesPanel
from krea_studio.ui.create.panels.seed import SeedPanel
from krea_studio.ui.create.panels.shape import FACTS, ShapePanel
from krea_studio.ui.create.panels.sliders import SlidersPanel
from krea_studio.ui.create.panels.styles import StylesPanel
from krea_studio.ui.create.recall import RecallPanel
from krea_studio.ui.create.recent import RecentPanel
from krea_studio.ui.create.results import ResultsPanel
from krea_studio.ui.create.runs import RunsPanel
from krea_studio.ui.presenter import Update
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring


class CreateTab:
    """The panels of the tab, over one set of services."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        library, engine = services.library, services.engine
        self.services = services
        self.parts: Parts = {}
        self.prompt, self.shape = PromptPanel(), ShapePanel(engine)
        self.seed, self.advanced, self.models = SeedPanel(), AdvancedPanel(), ModelsPanel(engine, visitors)
        self.references = ReferencesPanel(services, visitors)
        self.moodboard, self.styles = MoodboardPanel(services, visitors), StylesPanel(services, visitors)
        self.creativity = CreativityPanel(
            services, visitors, beside=(self.prompt, self.shape, self.seed, self.moodboard, self.styles)
        )
        # In the order in which they stand under Direction.
        self.direction = (self.creativity, SlidersPanel(), self.references, self.moodboard, self.styles)
        self.controls: tuple[ControlPanel, ...] = (self.prompt, self.shape, *self.direction, self.seed, self.advanced)
        self.recall = RecallPanel(self.controls, engine, visitors)
        self._visitors = visitors
        self.results, self.recent = ResultsPanel(library, visitors), RecentPanel(library, visitors)
        self.actions = ActionsPanel(library, visitors, self.recall, self.references, self.moodboard)
        self.abilities = AbilitiesPanel(self.controls, engine)
        self.runs = RunsPanel(services, visitors, self.abilities, self.recent)

    def build(self, parts: Parts) -> None:
        """Lay out the tab inside the current Blocks context."""
        with gr.Row(elem_id="create"):
            with gr.Column(elem_id="panel", min_width=0):
                with gr.Column(elem_id="compose", min_width=0):
                    self.prompt.build(parts)
                with gr.Column(elem_id="controls", min_width=0):
                    self._build_controls(parts)
                with gr.Row(elem_id="actions"):
                    self.runs.build(parts)
            with gr.Column(elem_id="results", min_width=0):
                self.results.build(parts)
                self.runs.build_queue(parts)
                with gr.Row(elem_id="looked-at"):
                    self.results.build_details(parts)
                    self.actions.build(parts)
                self.recent.build(parts)

    def wire(self, parts: Parts) -> None:
        """Connect all events, by the names of parts."""
        wiring = Wiring(parts)
        others: tuple[Panel, ...] = (self.models, self.results, self.recent, self.actions, self.recall, self.runs)
        for panel in (*self.controls, *others):
            panel.wire(wiring)
        self.shape.wire_opening(wiring)  # after what shows a person's own pictures and runs
        self.abilities.wire(wiring)
        self._wire_model(wiring)

    def refreshed(self, visitor: gr.Request, browser: str, shown_ids: list[str]) -> Update:
        """Pictures were deleted or came back elsewhere on the page: the recent ones, and no result that is gone."""
        person = self._visitors.person(visitor, browser)
        return {**self.recent.strip(visitor, browser), **self.results.without_gone(person, shown_ids)}

    def _wire_model(self, wiring: Wiring) -> None:
        """Let everything that is told of a variant follow the checkpoint that was chosen for it."""
        chosen = self.models.chosen
        wiring.at_once(chosen.then, self.shape.describe_variant, reads=("variant",), writes=FACTS)
        self.abilities.wire_describe(wiring, chosen.then)

    def _build_controls(self, parts: Parts) -> None:
        self.shape.build(parts)
        with gr.Accordion("Direction", open=True, elem_id="direction"):
            for control in self.direction:
                control.build(parts)
        self.seed.build(parts)
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            self.advanced.build(parts)
            self.references.build_range_switch(parts)
            self.models.build(parts)
        self.abilities.build(parts)
        self.recall.build(parts)


def build_create_tab(services: Services, visitors: Visitors, tabs: gr.Tabs) -> CreateTab:
    """Lay out and wire the tab inside the current Blocks context and return it, with its parts.

    `visitors` are the page's; `tabs` are the page's, one of which this is.
    """
    tab = CreateTab(services, visitors)
    tab.parts["tabs"] = tabs
    tab.build(tab.parts)
    tab.wire(tab.parts)
    return tab
