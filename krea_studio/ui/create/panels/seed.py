"""How many pictures, and their seed, on the Create tab."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest
from krea_studio.ui import controls
from krea_studio.ui.controls import number_text, read_number
from krea_studio.ui.presenter import Update
from krea_studio.ui.wiring import Parts, Wiring

SEED = ("seed", "random_seed")


class SeedPanel:
    """Batch and seed."""

    reads = writes = ("batch", *SEED)
    parts_by_field: Mapping[str, tuple[str, ...]] = {}

    def build(self, parts: Parts) -> None:
        """Lay out the count, the seed, and whether a new one is drawn every time."""
        counts = [(str(count), count) for count in range(1, 5)]
        parts["batch"] = controls.choice("batch", counts, elem_classes="segments")
        with gr.Row(elem_id="seed-row"):
            parts["seed"] = controls.optional_number("seed", info=None, placeholder="drawn for you", min_width=0)
            parts["random_seed"] = gr.Checkbox(True, label="New seed every time", elem_id="random-seed", min_width=0)

    def wire(self, wiring: Wiring) -> None:
        """Nothing happens here before a run."""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The count, and the seed unless a new one is to be drawn."""
        return {"batch": values["batch"], "seed": None if values["random_seed"] else read_number(values["seed"])}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """Count and seed as a request has them."""
        return {"batch": request.batch, **seed_values(request.seed)}, []


def seed_values(seed: int | None) -> Update:
    """The seed in its box, to stay there; without one, a new one every time."""
    return {"seed": number_text(seed), "random_seed": seed is None}
