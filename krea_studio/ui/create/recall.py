"""Settings come back: from a record of the library or a dropped PNG to the values of the page's controls.

What draws otherwise here than it did then, such as another checkpoint, is said in the remark that comes with the
values. Recipes are read and checked by the library and the request.
"""

from collections.abc import Iterable
from typing import Any

import gradio as gr

from krea_studio.engine.base import Engine
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import SLIDERS, GenerationRequest
from krea_studio.recipe.variants import VARIANTS
from krea_studio.redrawing import differences
from krea_studio.ui.controls import OPTIONAL_NUMBERS, lock_of, number_text
from krea_studio.ui.create.references import gone

# Controls of the page that are written from a request.
RECALLED = (
    "prompt", "negative_prompt", "variant", "aspect_ratio", "resolution", "creativity", *SLIDERS, "random_mode",
    "spread", "exploration_seed", "seed", "batch", "steps", "guidance_scale",
)  # fmt: skip


def control_values(request: GenerationRequest) -> dict[str, Any]:
    """The value of every control for this request; overrides that only repeat the variant's own stay empty."""
    variant = VARIANTS[request.variant]
    values = {field: getattr(request, field) for field in RECALLED}
    if request.steps == variant.steps:
        values["steps"] = None
    if request.guidance_scale == variant.guidance_scale:
        values["guidance_scale"] = None
    texts = {field: number_text(value) for field, value in values.items() if field in OPTIONAL_NUMBERS}
    locks = {lock_of(slider): slider in request.locked_sliders for slider in SLIDERS}
    panel = gr.update(visible=request.random_mode)
    return {**values, **texts, **locks, "random_panel": panel, "random_seed": request.seed is None}


def remark(recipe: Recipe, engine: Engine, lost: Iterable[int] = ()) -> str:
    """What the person should know before drawing again; the seed alone when all is as it was.

    `lost` are the places, from 1, of references that are not kept any more.
    """
    sentences = [f"Settings of seed {recipe.seed} are in the controls."]
    sentences += [f"{gone(place)}." for place in lost]
    return " ".join([*sentences, *differences(recipe, engine)])
