"""Which checkpoint runs the chosen variant, under Advanced: what there is to choose from, and where it goes in memory.

A choice counts for everybody on the page, and for the command line over the same library; so on a page that strangers
may open only who is signed in may choose, and only of what is offered there.
"""

from collections.abc import Sequence

import gradio as gr

from krea_studio.engine.base import CheckpointInfo, Engine
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import default
from krea_studio.ui import fragments
from krea_studio.ui.notices import guarded, problem
from krea_studio.ui.presenter import Update
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of

MODEL = ("model", "model_text")
PLACE = "model_text"  # where it is said what was wrong


def choices_of(offers: Sequence[CheckpointInfo]) -> list[tuple[str, str]]:
    """Checkpoints as choices: what one is called, and what names it; where two are called alike, that alone."""
    labels = [offer.label for offer in offers]
    return [
        (offer.label if labels.count(offer.label) == 1 else offer.repo_or_folder, offer.repo_or_folder)
        for offer in offers
    ]


class ModelsPanel:
    """What runs a variant, over one engine."""

    def __init__(self, engine: Engine, visitors: Visitors) -> None:
        self._engine, self._visitors = engine, visitors

    def build(self, parts: Parts) -> None:
        """Lay out the list of checkpoints, and the line that tells of the one that runs."""
        parts["model"] = gr.Dropdown(
            choices_of(self._engine.offers(default("variant"))),
            value=None,
            label="Model",
            info="What runs the chosen variant, for everybody here. A path or a repository can be typed.",
            allow_custom_value=True,
            interactive=True,
            elem_id="model",
            min_width=0,
        )
        parts["model_text"] = gr.HTML(elem_id="model-text", elem_classes="beneath")

    def wire(self, wiring: Wiring) -> None:
        """Let list and line follow the variant, and the variant's checkpoint the list."""
        parts = wiring.parts
        wiring.at_once(
            any_of(gr.context.Context.root_block.load, parts["variant"].change),
            self.describe,
            reads=("variant",),
            writes=MODEL,
        )
        self.chosen = wiring.at_once(parts["model"].input, self.choose, reads=("variant", "model"), writes=MODEL)

    def describe(self, visitor: gr.Request, variant: str) -> Update:
        """The checkpoint that runs a variant among those that may, and where it goes in memory.

        Who may not choose sees it all the same.
        """
        offers, may_choose = self._engine.offers(variant), self._visitors.person(visitor).runs_studio
        return {
            "model": gr.update(choices=choices_of(offers), value=offers[0].repo_or_folder, interactive=may_choose),
            PLACE: fragments.model_text(offers[0], self._engine.memory_plan(variant)),
        }

    def choose(self, visitor: gr.Request, variant: str, model: str) -> Update:
        """Let a checkpoint run a variant from the next run on."""

        def chosen() -> Update:
            self._visitors.person(visitor).require_running("models")
            offered = {offer.repo_or_folder for offer in self._engine.offers(variant)}
            if self._visitors.shared and model not in offered:
                raise InvalidRequest(
                    "On this page only models of the list can be chosen — ask whoever runs it to put the file into "
                    "its folder of models"
                )
            self._engine.choose(variant, model)
            return self.describe(visitor, variant)

        # What was in force still is.
        return guarded(chosen, lambda message: {**self.describe(visitor, variant), **problem(message, PLACE)})
