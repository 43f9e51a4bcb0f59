"""Settings come back: from a record of the library or a dropped picture to the values of the page's controls.

The sheet of a sweep leads to the tab that has its axes. A picture of another tool brings what fits. What draws
otherwise here than it did there or then, such as another checkpoint, and what has no counterpart, is said in the remark
that comes with the values. Recipes and what other tools write are read and checked by the library and the request.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from krea_studio.engine.base import Engine
from krea_studio.errors import InvalidRequest
from krea_studio.library.foreign.texts import ENDINGS
from krea_studio.library.foreign.tools import ForeignPicture, read_picture
from krea_studio.library.pictures.sheets import read_sweep
from krea_studio.people import Person
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import GenerationRequest
from krea_studio.redrawing import differences
from krea_studio.ui import fragments
from krea_studio.ui.create.panel import ControlPanel, writes_of
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring

PNG_BEGINS = b"\x89PNG\r\n\x1a\n"


class RecallPanel:
    """A recipe written into panels, and the place where a picture with one is dropped.

    `dropped` is the event after which the part `sheet` has the sweep of a dropped sheet, or nothing.
    """

    dropped: Any

    def __init__(self, panels: Sequence[ControlPanel], engine: Engine, visitors: Visitors) -> None:
        self._panels, self._engine, self._visitors = panels, engine, visitors
        self.writes = (*writes_of(panels), "stage")

    def build(self, parts: Parts) -> None:
        """Lay out the place for a picture."""
        parts["sheet"] = remembered(None, dict[str, Any] | None, session=False)
        parts["settings_file"] = gr.File(
            label="Load settings from a picture",
            file_types=list(ENDINGS),
            height=92,
            elem_id="settings-file",
            elem_classes="drop-line",
        )

    def wire(self, wiring: Wiring) -> None:
        """Let a dropped picture fill the controls."""
        self.dropped = wiring.at_once(
            wiring.parts["settings_file"].upload,
            self.drop,
            reads={"picture": "settings_file", "prompt": "prompt"},
            writes=(*self.writes, "settings_file", "sheet"),
        )

    def drop(self, visitor: gr.Request, picture: str | None, prompt: str | None = None) -> Update:
        """Write the settings inside an uploaded picture into the controls.

        `prompt` is what stands there, which stays where the picture does not tell its own.
        """
        if picture is None:
            return {"settings_file": None}
        person = self._visitors.person(visitor)
        return {"sheet": None, **guarded(lambda: self._take(person, picture, prompt or "")), "settings_file": None}

    def _take(self, person: Person, picture: str, prompt: str) -> Update:
        name = Path(picture).name
        try:
            found = read_picture(picture, name)
        except InvalidRequest:
            with open(picture, "rb") as file:
                is_png = file.read(len(PNG_BEGINS)) == PNG_BEGINS
            sweep = read_sweep(picture, name) if is_png else None
            if sweep is None:
                raise
            return {"sheet": sweep.model_dump(mode="json")}
        if isinstance(found, ForeignPicture):
            return self.adopt(person, found, prompt)
        return self.recall(person, found)

    def recall(self, person: Person, recipe: Recipe) -> Update:
        """All controls as a recipe has them, and what to know before drawing again: the seed alone where all is as it
        was."""
        told = [f"Settings of seed {recipe.seed} are in the controls."]
        return self.write(person, recipe.request(), told, differences(recipe, self._engine))

    def adopt(self, person: Person, picture: ForeignPicture, prompt: str) -> Update:
        """All controls as comes nearest to another tool's picture, and what is otherwise.

        Raises InvalidRequest where neither the picture nor the page has a prompt.
        """
        translation = picture.translation
        tool = picture.tool[:1].upper() + picture.tool[1:]
        told = [f"{tool} made this picture. What fits is in the controls; expect a similar picture, not the same."]
        told += [f"{remark}." for remark in translation.remarks]
        if translation.left:
            told.append(f"No counterpart here: {'; '.join(translation.left)}.")
        return self.write(person, translation.request(prompt), told)

    def write(self, person: Person, request: GenerationRequest, told: list[str], behind: Sequence[str] = ()) -> Update:
        """All controls as a request has them; what is told, and what is not here as it was, is said on the stage."""
        update: Update = {}
        for panel in self._panels:
            values, remarks = panel.recall(request, person)
            update |= values
            told = [*told, *remarks]
        return {**update, "stage": shown(fragments.notice(" ".join((*told, *behind)), "quiet"))}
