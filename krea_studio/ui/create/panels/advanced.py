"""Negative prompt, steps, guidance and sigmas on the Create tab."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.sigmas import read_sigmas, sigmas_text
from krea_studio.recipe.variants import VARIANTS
from krea_studio.ui import controls
from krea_studio.ui.controls import mechanism_of, number_text, read_number
from krea_studio.ui.presenter import Update
from krea_studio.ui.wiring import Parts, Wiring

OVERRIDES = ("steps", "guidance_scale")
FIELDS = ("negative_prompt", *OVERRIDES, "sigmas")


class AdvancedPanel:
    """What steers away, and what overrides the variant's own numbers."""

    reads = writes = FIELDS
    parts_by_field: Mapping[str, tuple[str, ...]] = {field: (field,) for field in FIELDS}

    def build(self, parts: Parts) -> None:
        """Lay out the boxes, and the variant's own numbers."""
        parts["negative_prompt"] = controls.text("negative_prompt", lines=2, max_lines=6)
        parts[mechanism_of("negative_prompt")] = controls.mechanism("negative_prompt")
        for field in OVERRIDES:
            parts[field] = controls.optional_number(field, placeholder="the variant's own")
            parts[mechanism_of(field)] = controls.mechanism(field)
        parts["sigmas"] = controls.text("sigmas", value="", placeholder="the checkpoint's own", max_lines=2)
        parts[mechanism_of("sigmas")] = controls.mechanism("sigmas")
        parts["defaults"] = gr.HTML(elem_id="defaults", elem_classes="beneath")

    def wire(self, wiring: Wiring) -> None:
        """Nothing happens here before a run."""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The boxes; an empty number is the variant's own."""
        numbers = {field: read_number(values[field]) for field in OVERRIDES}
        sigmas = read_sigmas(values["sigmas"] or "")
        return {"negative_prompt": values["negative_prompt"], **numbers, "sigmas": sigmas}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The boxes as a request has them; overrides that only repeat the variant's own stay empty."""
        variant = VARIANTS[request.variant]
        numbers = {field: getattr(request, field) for field in OVERRIDES}
        texts = {
            field: number_text(None if number == getattr(variant, field) else number)
            for field, number in numbers.items()
        }
        return {"negative_prompt": request.negative_prompt, **texts, "sigmas": sigmas_text(request.sigmas)}, []
