"""Settings come back: from a record of the library or a dropped PNG to the values of the page's controls.

What draws otherwise here than it did then, such as another checkpoint, is said in the remark that comes with the
values. Recipes are read and checked by the library and the request.
"""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from krea_studio.engine.base import Engine
from krea_studio.library.metadata import read_recipe
from krea_studio.recipe.recipe import Recipe
from krea_studio.redrawing import differences
from krea_studio.ui import fragments
from krea_studio.ui.create.panel import ControlPanel, writes_of
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.wiring import Parts, Wiring


class RecallPanel:
    """A recipe written into panels, and the place where a picture with one is dropped."""

    def __init__(self, panels: Sequence[ControlPanel], engine: Engine) -> None:
        self._panels, self._engine = panels, engine
        self.writes = (*writes_of(panels), "stage")

    def build(self, parts: Parts) -> None:
        """Lay out the place for a picture."""
        parts["settings_file"] = gr.File(
            label="Load settings from a picture",
            file_types=[".png"],
            height=92,
            elem_id="settings-file",
            elem_classes="drop-line",
        )

    def wire(self, wiring: Wiring) -> None:
        """Let a dropped picture fill the controls."""
        wiring.at_once(
            wiring.parts["settings_file"].upload,
            self.drop,
            reads={"picture": "settings_file"},
            writes=(*self.writes, "settings_file"),
        )

    def drop(self, picture: str | None) -> Update:
        """Write the settings inside an uploaded PNG into the controls."""
        if picture is None:
            return {"settings_file": None}
        return {**guarded(lambda: self.recall(read_recipe(picture, Path(picture).name))), "settings_file": None}

    def recall(self, recipe: Recipe) -> Update:
        """All controls as a recipe has them, and what to know before drawing again: the seed alone where all is as it
        was."""
        request = recipe.request()
        update: Update = {}
        told = [f"Settings of seed {recipe.seed} are in the controls."]
        for panel in self._panels:
            values, remarks = panel.recall(request)
            update |= values
            told += remarks
        told += differences(recipe, self._engine)
        return {**update, "stage": shown(fragments.notice(" ".join(told), "quiet"))}
