"""From the fields of GenerationRequest to Gradio components: labels, help, ranges and defaults are read, not repeated.

Gradio checks little of what a browser sends, so nothing here guards the server: the request does that.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import gradio as gr

from krea_studio.recipe import request as fields
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.variants import VARIANTS


def text(field: str, **options: Any) -> gr.Textbox:
    """A text box for a field; `options` go to Gradio."""
    return gr.Textbox(**_common(field, options))


def optional_number(field: str, **options: Any) -> gr.Textbox:
    """A box for a number that may stay empty; `read_number` and `number_text` translate its text.

    Not gr.Number, which turns an empty box into 0 in the browser and rounds what was typed on the server.
    """
    return gr.Textbox(**_common(field, {"value": "", "max_lines": 1, **options}))


def read_number(text: str | None) -> int | float | str | None:
    """The number in a box: None for an empty one; text that is no number is left for the request to refuse."""
    text = (text or "").strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def number_text(number: int | float | None) -> str:
    """A number, or its absence, as the text of its box."""
    return "" if number is None else str(number)


def guidance_of(variant: str, given: float | str | None) -> float | str:
    """The guidance scale that a variant draws with when this is what `read_number` finds in its box."""
    return VARIANTS[variant].guidance_scale if given is None else given


def percent(strength: float) -> float:
    """A strength as its slider has it, in %. In decimals, so that 0.07 is 7 and not 7.000000000000001."""
    return float(Decimal(repr(strength)).scaleb(2))


def strength_of(percent: float) -> float:
    """The strength that a slider's % stand for; with up to 15 digits exactly the one that `percent` was given."""
    return float(Decimal(repr(percent)).scaleb(-2))


def slider(field: str, **options: Any) -> gr.Slider:
    """A slider over the field's whole range, in steps of 1."""
    low, high = fields.bounds(field)
    return gr.Slider(low, high, step=1, precision=0, buttons=[], **_common(field, options))


def mechanism_of(field: str) -> str:
    """The name of the line that tells by what a control works, or why it does not."""
    return f"{field}_mechanism"


def mechanism(field: str, *classes: str) -> gr.HTML:
    """The line that tells by what a control works, or why it does not; shown where there is something to tell."""
    return gr.HTML(visible=False, elem_id=f"{_element_id(field)}-mechanism", elem_classes=["beneath", *classes])


def lock_of(slider: str) -> str:
    """The name of the check box that locks a slider against random mode."""
    return f"lock_{slider}"


def lock(slider: str, **options: Any) -> gr.Checkbox:
    """The check box that locks a slider against random mode."""
    name = lock_of(slider)
    return gr.Checkbox(False, label=f"Lock {slider}", elem_id=_element_id(name), elem_classes="lock", **options)


def toggle(field: str, **options: Any) -> gr.Checkbox:
    """A check box for a field that is on or off."""
    return gr.Checkbox(**_common(field, options))


def choice(field: str, labels: Sequence[tuple[str, Any]] | None = None, **options: Any) -> gr.Radio:
    """A row of choices; `labels` pairs each with its value, by default every value under its own name."""
    offered = labels if labels is not None else [(value.capitalize(), value) for value in fields.choices(field)]
    return gr.Radio(offered, **_common(field, options))


def _element_id(field: str) -> str:
    return field.replace("_", "-")


def _common(field: str, options: dict[str, Any]) -> dict[str, Any]:
    common = {
        "label": fields.label(field),
        "info": fields.help_text(field),
        "value": None if GenerationRequest.model_fields[field].is_required() else fields.default(field),
        "interactive": True,
        "elem_id": _element_id(field),
    }
    return {**common, **options}
