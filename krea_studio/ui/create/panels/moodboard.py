"""The moodboard of the Create tab: which one steers, and how strongly.

The boards themselves are made on the tab Moodboards. A board that came from a picture's recipe keeps the content that
it had then, until another one is chosen by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import BaseModel

from krea_studio.direction.moodboards import MEASURED
from krea_studio.direction.references import known_words
from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.library.pictures.formats import ENDINGS
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.request import (
    GenerationRequest,
    MoodboardChoice,
    MoodboardContent,
    bounds,
    default,
    help_text,
    label,
)
from krea_studio.services import Services
from krea_studio.ui import controls, fragments
from krea_studio.ui.controls import guidance_of, mechanism_of, number_text, percent, read_number, strength_of
from krea_studio.ui.moodboards.fragments import pictures
from krea_studio.ui.notices import guarded, remarks
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import UNKNOWN, Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of

NONE = ("None", "")
CHOICE = ("moodboard", "moodboard_strength", "moodboard_content")
# What `describe` is given.
CHOSEN = ("moodboard", "variant", "guidance_scale", "moodboard_content")
# What tells of the choice: what steers, and the strength, which is there with a board only.
TOLD = ("moodboard_text", "moodboard_steers")
USUAL_STRENGTH = percent(default("strength", MoodboardChoice))
SHARED = "Everyone who opens this page sees the moodboards; who is signed in may add to one."
TEAM = "You see your own moodboards, and those that are shared with the team."


class Recalled(BaseModel):
    """The content that a recalled recipe gave the board of this name."""

    name: str
    content: MoodboardContent


def choices_of(names: list[str]) -> list[tuple[str, str]]:
    """The list's entries, label and value."""
    return [NONE, *((name, name) for name in names)]


def recorded_content(name: str, recalled: dict[str, Any] | None) -> dict[str, Any] | None:
    """The content that a recalled recipe gave the board of this name; None where the board steers as it is now."""
    return recalled["content"] if recalled and recalled["name"] == name else None


class MoodboardPanel:
    """The choice of a moodboard, over one library."""

    reads, writes = CHOICE, (*CHOICE, *TOLD)
    parts_by_field: Mapping[str, tuple[str, ...]] = {"moodboard": ("moodboard", "moodboard_strength")}

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._library, self._engine, self._visitors = services.library, services.engine, visitors
        self._shared = TEAM if services.settings.sign_in != "none" else SHARED

    def build(self, parts: Parts) -> None:
        """Lay out the list of boards and the strength."""
        low, high = (round(percent(limit)) for limit in bounds("strength", MoodboardChoice))
        with gr.Column(elem_id="moodboard-choice", min_width=0):
            parts["moodboard"] = gr.Dropdown(
                choices_of(self.names(UNKNOWN if self._visitors.shared else LOCAL)),
                value=NONE[1],
                label=label("moodboard"),
                info=help_text("moodboard"),
                elem_id="moodboard",
            )
            parts[mechanism_of("moodboard")] = controls.mechanism("moodboard")
            parts["moodboard_text"] = gr.HTML(elem_id="moodboard-text", elem_classes="beneath")
            gr.HTML(
                fragments.hint(self._shared),
                visible=self._visitors.shared,
                elem_id="moodboard-shared",
                elem_classes="beneath",
            )
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
            parts["board_file"] = gr.File(file_types=["image", *ENDINGS], visible="hidden", elem_id="board-file")
        parts["moodboard_content"] = remembered(None, Recalled | None)

    def wire(self, wiring: Wiring) -> None:
        """Let the line below follow the choice, and what is dragged here join the board."""
        parts, at_once = wiring.parts, wiring.at_once
        at_once(parts["moodboard"].input, self.choose_by_hand, reads=(), writes=("moodboard_content",))
        # Also with the tab, which "Use in Create" opens: the chosen board may have been changed on another one.
        at_once(
            any_of(*(parts[name].change for name in ("moodboard", "variant", "guidance_scale", "tabs"))),
            self.describe,
            reads=CHOSEN,
            writes=TOLD,
        )
        at_once(
            parts["board_file"].upload,
            self.drop,
            reads={"files": "board_file", **{name: name for name in CHOSEN}},
            writes=("stage", *TOLD, "board_file"),
            trigger_mode="multiple",
        )

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The choice as a request has it."""
        name, strength, recalled = (values[part] for part in CHOICE)
        if not name:
            return {"moodboard": None}
        content = recorded_content(name, recalled)
        return {"moodboard": {"name": name, "strength": strength_of(strength), "content": content}}

    def names(self, person: Person) -> list[str]:
        """The boards that are there for a person; none where they cannot be read, which the tab Moodboards tells."""
        try:
            return self._library.moodboards.of(person).names()
        except StudioError:
            return []

    def choose_by_hand(self) -> Update:
        """Another board was chosen: it steers as it is now."""
        return {"moodboard_content": None}

    def describe(
        self,
        visitor: gr.Request,
        moodboard: str,
        variant: str,
        guidance_scale: str | None,
        moodboard_content: dict[str, Any] | None,
    ) -> Update:
        """What steers when this board is chosen, or why nothing does."""
        return self._described(self._visitors.person(visitor), moodboard, variant, guidance_scale, moodboard_content)

    def _described(
        self,
        person: Person,
        moodboard: str,
        variant: str,
        guidance_scale: str | None,
        moodboard_content: dict[str, Any] | None,
    ) -> Update:
        steers = {"moodboard_steers": gr.update(visible=bool(moodboard))}
        if not moodboard:
            return {"moodboard_text": "", **steers}
        content = recorded_content(moodboard, moodboard_content)
        guided = guidance_of(variant, read_number(guidance_scale)) != 0
        if content:
            told = self._recorded_text(content, variant, guided)
        else:
            told = self._text(person, moodboard, variant, guided)
        return {"moodboard_text": fragments.reason([told]), **steers}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The choice as a recipe has it, also of a board that is gone."""
        choice = request.moodboard
        if choice is None:
            nothing = {"moodboard": NONE[1], "moodboard_strength": USUAL_STRENGTH, "moodboard_content": None}
            return {**nothing, **self._described(person, "", request.variant, None, None)}, []
        names = self.names(person)
        gone = [] if choice.name in names else [choice.name]
        content = None
        if choice.content is not None:
            content = {"name": choice.name, "content": choice.content.model_dump(mode="json")}
        return {
            "moodboard": gr.update(choices=choices_of([*names, *gone]), value=choice.name),
            "moodboard_strength": percent(choice.strength),
            "moodboard_content": content,
            # Here too: the choice may be what it was, and only its content another.
            **self._described(person, choice.name, request.variant, number_text(request.guidance_scale), content),
        }, []

    def drop(self, visitor: gr.Request, files: str | None, **chosen: Any) -> Update:
        """A picture was dragged to the chosen moodboard: it joins that."""
        person, paths = self._visitors.person(visitor), [Path(files)] if files else []
        return {**guarded(lambda: self.add(person, paths, **chosen)), "board_file": None}

    def add(self, person: Person, paths: Sequence[Path], moodboard: str, **described: Any) -> Update:
        """Pictures join the chosen moodboard. Raises InvalidRequest where none is chosen."""
        if not moodboard:
            raise InvalidRequest("No moodboard is chosen — choose one under Direction, or make one under Moodboards")
        return {
            **remarks(self.added(person, paths, moodboard), "stage"),
            **self._described(person, moodboard, **described),
        }

    def added(self, person: Person, paths: Sequence[Path], name: str) -> list[str]:
        """Put pictures on the board of this name, and return sentences on what became of it.

        Raises InvalidRequest where there is none, the person may not change it, or a picture cannot be used.
        """
        unused: list[str] = []
        board = self._library.moodboards_for(person).add(name, paths, unused.append)
        return [f"«{board.name}» has {pictures(len(board.images))} now; analyze it again to let them steer", *unused]

    def _text(self, person: Person, name: str, variant: str, guided: bool) -> str:
        try:
            board = self._library.moodboards.of(person).get(name)
            content = board.content()
        except StudioError as error:
            return error.message + "."
        told = [
            f"{len(content.representatives)} of {len(board.images)} pictures steer",
            *self._words(content, variant, guided),
        ]
        writer = board.analysis.written_by if board.analysis else MEASURED
        written = "measured" if writer == MEASURED else f"written by {writer}"
        return ", ".join(told) + f"; {written}." + (" Changed since it was analyzed." if board.changed else "")

    def _recorded_text(self, content: dict[str, Any], variant: str, guided: bool) -> str:
        found = MoodboardContent.model_validate(content)
        told = [f"As recorded in the picture: {len(found.representatives)} pictures steer"]
        return (
            ", ".join([*told, *self._words(found, variant, guided)])
            + ". Choose a moodboard to steer by it as it is now."
        )

    def _words(self, content: MoodboardContent, variant: str, guided: bool) -> list[str]:
        """How many words steer, and which of them do not."""
        told = []
        if content.keywords:
            told.append(f"{len(content.keywords)} keyword{'s' * (len(content.keywords) > 1)}")
        if content.avoids:
            idle = "" if guided else " (without effect: the guidance scale is 0 here)"
            told.append(f"{len(content.avoids)} avoid{'s' * (len(content.avoids) > 1)}{idle}")
        words = (*content.keywords, *content.avoids)
        known = known_words(words, self._engine.checkpoint_of(variant).vocabulary)
        if unknown := [word for word in words if word not in known]:
            told.append(f"without those that this model does not know ({', '.join(unknown)})")
        return told
