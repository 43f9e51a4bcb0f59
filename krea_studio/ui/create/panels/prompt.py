"""The prompt on the Create tab, with what helps to write it: examples, and the words that an embedded model knows."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest, help_text
from krea_studio.ui import controls
from krea_studio.ui.presenter import Update
from krea_studio.ui.wiring import Parts, Wiring

EXAMPLES_SHOWN = 24
# What tells of the model's words; a variant's checkpoint says which those are.
HELP = ("world", "words", "words_group", "examples")


class PromptPanel:
    """The prompt."""

    reads = writes = ("prompt",)
    parts_by_field: Mapping[str, tuple[str, ...]] = {}

    def build(self, parts: Parts) -> None:
        """Lay out the box, the examples and the words."""
        # One line that grows: Gradio then submits on Enter and breaks the line on Shift+Enter.
        parts["prompt"] = controls.text(
            "prompt", info=None, lines=1, max_lines=8, autofocus=True, placeholder=help_text("prompt")
        )
        parts["world"] = gr.HTML(visible=False, elem_id="world")
        parts["examples"] = gr.Dataset(
            components=["textbox"],
            samples=[],
            samples_per_page=EXAMPLES_SHOWN,
            label="Try one of these",
            visible=False,
            elem_id="examples",
        )
        with gr.Accordion("Words the model knows", open=False, visible=False, elem_id="words") as parts["words_group"]:
            parts["words"] = gr.HTML()

    def wire(self, wiring: Wiring) -> None:
        """Let a click on an example take it over."""
        wiring.at_once(
            wiring.parts["examples"].click, self.take_example, reads={"example": "examples"}, writes=("prompt",)
        )

    def take_example(self, example: list[str]) -> Update:
        """An example was clicked: it is the prompt now."""
        return {"prompt": example[0]} if example else {}

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The prompt."""
        return {"prompt": values["prompt"]}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The prompt as a request has it."""
        return {"prompt": request.prompt}, []
