"""The moodboard of the Create tab: which one steers, and how strongly.

The boards themselves are made on the tab Moodboards. A board that came from a picture's recipe keeps the content that
it had then, until another one is chosen by hand.
"""

from typing import Any

import gradio as gr

from krea_studio.direction.moodboards import MEASURED
from krea_studio.errors import StudioError
from krea_studio.recipe.request import GenerationRequest, MoodboardChoice, bounds, default, help_text, label
from krea_studio.recipe.variants import VARIANTS
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.presenter import Update

NONE = ("None", "")
CHOICE = ("moodboard", "moodboard_strength", "moodboard_content")
USUAL_STRENGTH = round(100 * default("strength", MoodboardChoice))


def build_moodboard_choice(parts: dict[str, Any], names: list[str]) -> None:
    """Lay out the list of boards and the strength."""
    low, high = (round(100 * limit) for limit in bounds("strength", MoodboardChoice))
    parts["moodboard"] = gr.Dropdown(
        choices_of(names), value=NONE[1], label=label("moodboard"), info=help_text("moodboard"), elem_id="moodboard"
    )
    parts["moodboard_text"] = gr.HTML(elem_id="moodboard-text", elem_classes="beneath")
    parts["moodboard_strength"] = gr.Slider(
        low,
        high,
        value=USUAL_STRENGTH,
        step=1,
        precision=0,
        label="Moodboard, strength in %",
        buttons=[],
        elem_id="moodboard-strength",
    )
    # The content that a recalled recipe gave the board of this name: {"name": …, "content": …}, or None.
    parts["moodboard_content"] = gr.State(None)


def choices_of(names: list[str]) -> list[tuple[str, str]]:
    """The list's entries, label and value."""
    return [NONE, *((name, name) for name in names)]


def wished(name: str | None, strength: float, recalled: dict[str, Any] | None) -> dict[str, Any] | None:
    """The choice as a request has it; strength in %."""
    if not name:
        return None
    content = recalled["content"] if recalled and recalled["name"] == name else None
    return {"name": name, "strength": strength / 100, "content": content}


class MoodboardChoiceHandlers:
    """The behaviour of the choice, over one library."""

    def __init__(self, services: Services) -> None:
        self._moodboards = services.library.moodboards

    def names(self) -> list[str]:
        """The boards that there are; none where they cannot be read, which the tab Moodboards then tells."""
        try:
            return self._moodboards.names()
        except StudioError:
            return []

    def listed(self) -> Update:
        """The list with the boards that there are now; what is chosen stays."""
        return {"moodboard": gr.update(choices=choices_of(self.names()))}

    def chosen_by_hand(self) -> Update:
        """Another board was chosen: it steers as it is now."""
        return {"moodboard_content": None}

    def described(self, moodboard: str, variant: str) -> Update:
        """What steers when this board is chosen, or why nothing does."""
        return {"moodboard_text": fragments.reason([self._told(moodboard, variant)]) if moodboard else ""}

    def recalled(self, request: GenerationRequest) -> Update:
        """The choice as a recipe has it, also of a board that is gone."""
        choice = request.moodboard
        if choice is None:
            return {"moodboard": NONE[1], "moodboard_strength": USUAL_STRENGTH, "moodboard_content": None}
        names = self.names()
        gone = [] if choice.name in names else [choice.name]
        content = choice.content and {"name": choice.name, "content": choice.content.model_dump(mode="json")}
        return {
            "moodboard": gr.update(choices=choices_of([*names, *gone]), value=choice.name),
            "moodboard_strength": round(100 * choice.strength),
            "moodboard_content": content,
        }

    def _told(self, name: str, variant: str) -> str:
        try:
            board = self._moodboards.get(name)
            content = board.content()
        except StudioError as error:
            return error.message + "."
        told = [f"{len(content.representatives)} of {len(board.images)} pictures steer"]
        if content.keywords:
            told.append(f"{len(content.keywords)} keywords")
        if content.avoids:
            idle = "" if VARIANTS[variant].guidance_scale else " (need guidance, which this variant has not)"
            told.append(f"{len(content.avoids)} avoids{idle}")
        written = "measured" if board.analysis.written_by == MEASURED else f"written by {board.analysis.written_by}"
        return ", ".join(told) + f"; {written}." + (" Changed since it was analyzed." if board.changed else "")
