"""The moodboard of the Create tab: which one steers, and how strongly.

The boards themselves are made on the tab Moodboards. A board that came from a picture's recipe keeps the content that
it had then, until another one is chosen by hand.
"""

from typing import Any

import gradio as gr

from krea_studio.direction.moodboards import MEASURED
from krea_studio.direction.references import known_words
from krea_studio.errors import StudioError
from krea_studio.recipe.request import (
    GenerationRequest,
    MoodboardChoice,
    MoodboardContent,
    bounds,
    default,
    help_text,
    label,
)
from krea_studio.recipe.variants import VARIANTS
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.controls import percent, strength_of
from krea_studio.ui.presenter import Update

NONE = ("None", "")
CHOICE = ("moodboard", "moodboard_strength", "moodboard_content")
# What tells of the choice: what steers, and the strength, which is there with a board only.
TOLD = ("moodboard_text", "moodboard_steers")
USUAL_STRENGTH = percent(default("strength", MoodboardChoice))
SHARED = "Everyone who opens this page sees the moodboards; who is signed in may add to one."


def build_moodboard_choice(parts: dict[str, Any], names: list[str], shared: bool) -> None:
    """Lay out the list of boards and the strength; `shared` as for `build_page`."""
    low, high = (round(percent(limit)) for limit in bounds("strength", MoodboardChoice))
    with gr.Column(elem_id="moodboard-choice", min_width=0):
        parts["moodboard"] = gr.Dropdown(
            choices_of(names), value=NONE[1], label=label("moodboard"), info=help_text("moodboard"), elem_id="moodboard"
        )
        parts["moodboard_text"] = gr.HTML(elem_id="moodboard-text", elem_classes="beneath")
        gr.HTML(fragments.hint(SHARED), visible=shared, elem_id="moodboard-shared", elem_classes="beneath")
        with gr.Column(visible=False, min_width=0) as parts["moodboard_steers"]:
            parts["moodboard_strength"] = gr.Slider(
                low,
                high,
                value=USUAL_STRENGTH,
                step=1,
                label="Moodboard, strength in %",
                buttons=[],
                elem_id="moodboard-strength",
            )
        # Takes what is dragged here from the results, by the page's script.
        parts["board_file"] = gr.File(file_types=["image"], visible="hidden", elem_id="board-file")
    # The content that a recalled recipe gave the board of this name: {"name": …, "content": …}, or None.
    parts["moodboard_content"] = gr.State(None)


def choices_of(names: list[str]) -> list[tuple[str, str]]:
    """The list's entries, label and value."""
    return [NONE, *((name, name) for name in names)]


def wished(name: str | None, strength: float, recalled: dict[str, Any] | None) -> dict[str, Any] | None:
    """The choice as a request has it; strength in %."""
    if not name:
        return None
    content = recorded(name, recalled)
    return {"name": name, "strength": strength_of(strength), "content": content}


def recorded(name: str, recalled: dict[str, Any] | None) -> dict[str, Any] | None:
    """The content that a recalled recipe gave the board of this name; None where the board steers as it is now."""
    return recalled["content"] if recalled and recalled["name"] == name else None


class MoodboardChoiceHandlers:
    """The behaviour of the choice, over one library."""

    def __init__(self, services: Services) -> None:
        self._moodboards = services.library.moodboards
        self._engine = services.engine

    def names(self) -> list[str]:
        """The boards that there are; none where they cannot be read, which the tab Moodboards then tells."""
        try:
            return self._moodboards.names()
        except StudioError:
            return []

    def chosen_by_hand(self) -> Update:
        """Another board was chosen: it steers as it is now."""
        return {"moodboard_content": None}

    def described(self, moodboard: str, variant: str, moodboard_content: dict[str, Any] | None) -> Update:
        """What steers when this board is chosen, or why nothing does."""
        steers = {"moodboard_steers": gr.update(visible=bool(moodboard))}
        if not moodboard:
            return {"moodboard_text": "", **steers}
        content = recorded(moodboard, moodboard_content)
        told = self._told_of_recorded(content, variant) if content else self._told(moodboard, variant)
        return {"moodboard_text": fragments.reason([told]), **steers}

    def recalled(self, request: GenerationRequest) -> Update:
        """The choice as a recipe has it, also of a board that is gone."""
        choice = request.moodboard
        if choice is None:
            nothing = {"moodboard": NONE[1], "moodboard_strength": USUAL_STRENGTH, "moodboard_content": None}
            return {**nothing, **self.described("", request.variant, None)}
        names = self.names()
        gone = [] if choice.name in names else [choice.name]
        content = None
        if choice.content is not None:
            content = {"name": choice.name, "content": choice.content.model_dump(mode="json")}
        return {
            "moodboard": gr.update(choices=choices_of([*names, *gone]), value=choice.name),
            "moodboard_strength": percent(choice.strength),
            "moodboard_content": content,
            # Here too: the choice may be what it was, and only its content another.
            **self.described(choice.name, request.variant, content),
        }

    def _told(self, name: str, variant: str) -> str:
        try:
            board = self._moodboards.get(name)
            content = board.content()
        except StudioError as error:
            return error.message + "."
        told = [f"{len(content.representatives)} of {len(board.images)} pictures steer", *self._words(content, variant)]
        writer = board.analysis.written_by if board.analysis else MEASURED
        written = "measured" if writer == MEASURED else f"written by {writer}"
        return ", ".join(told) + f"; {written}." + (" Changed since it was analyzed." if board.changed else "")

    def _told_of_recorded(self, content: dict[str, Any], variant: str) -> str:
        found = MoodboardContent.model_validate(content)
        told = [f"As recorded in the picture: {len(found.representatives)} pictures steer"]
        return ", ".join([*told, *self._words(found, variant)]) + ". Choose a moodboard to steer by it as it is now."

    def _words(self, content: MoodboardContent, variant: str) -> list[str]:
        """How many words steer, and which of them do not."""
        told = []
        if content.keywords:
            told.append(f"{len(content.keywords)} keyword{'s' * (len(content.keywords) > 1)}")
        if content.avoids:
            idle = "" if VARIANTS[variant].guidance_scale else " (without effect: this variant has no guidance)"
            told.append(f"{len(content.avoids)} avoid{'s' * (len(content.avoids) > 1)}{idle}")
        words = (*content.keywords, *content.avoids)
        known = known_words(words, self._engine.checkpoint_of(variant).vocabulary)
        if unknown := [word for word in words if word not in known]:
            told.append(f"without those that this model does not know ({', '.join(unknown)})")
        return told
