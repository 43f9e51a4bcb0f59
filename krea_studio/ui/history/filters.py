"""The controls of a search: made from the fields of `Search`, and translated into what it wants and back.

What is wrong with a field is shown beneath its control.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from krea_studio.errors import StudioError
from krea_studio.library.history.search import Search
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.request import choices
from krea_studio.recipe.variants import VARIANTS
from krea_studio.ui import fragments
from krea_studio.ui.history.address import SWITCHES, named
from krea_studio.ui.presenter import Update
from krea_studio.ui.wiring import Parts
from krea_studio.validation import field_schema

WORDS, DAYS, NAMES = "words", ("since", "until"), ("style", "moodboard")
FEW = tuple(field for field in Search.model_fields if "enum" in field_schema(Search, field))
ANY = ("Any", "")
BOXES = tuple(field for field in Search.model_fields if field not in (WORDS, *SWITCHES))
PLACEHOLDERS = {"words": "Words of the prompt, from their beginning", **dict.fromkeys(DAYS, "2026-11-29")}


def control_of(field: str) -> str:
    """The part that holds a field."""
    return f"find_{field}"


def refusal_of(field: str) -> str:
    """The part that tells what is wrong with a field."""
    return f"refused_{field}"


CONTROLS = tuple(map(control_of, Search.model_fields))
REFUSALS = tuple(map(refusal_of, Search.model_fields))


def build_filter(parts: Parts, field: str) -> None:
    """Lay out the control of one field, and the line beneath it."""
    common = {"label": named(field), "elem_id": f"history-{field.replace('_', '-')}", "min_width": 0}
    with gr.Column(min_width=0, elem_classes="history-filter"):
        if field in SWITCHES:
            control: Any = gr.Checkbox(False, **common)
        elif field in NAMES:
            control = gr.Dropdown([ANY], value="", allow_custom_value=True, interactive=True, **common)
        elif field in FEW:
            offered = [ANY, *((_label(field, value), value) for value in choices(field, Search))]
            control = gr.Dropdown(offered, value="", interactive=True, **common)
        else:
            control = gr.Textbox("", max_lines=1, placeholder=PLACEHOLDERS[field], **common)
        parts[control_of(field)] = control
        parts[refusal_of(field)] = gr.HTML(visible=False, elem_classes="beneath")


def wanted_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a search that the controls hold something for, unchecked."""
    held = {field: values[control_of(field)] for field in Search.model_fields}
    return {field: value for field, value in held.items() if value not in (None, "", False)}


def filled(wanted: Mapping[str, Any], library: Library, person: Person) -> Update:
    """The controls as a search has them, with the names that a person may choose."""
    update: Update = {}
    for field in Search.model_fields:
        value = wanted.get(field, "")
        if field in SWITCHES:
            update[control_of(field)] = value is True
        elif field in NAMES:
            names = [ANY, *((name, name) for name in names_of(field, library, person))]
            update[control_of(field)] = gr.update(choices=names, value=value)
        elif field in FEW:
            update[control_of(field)] = value if value in choices(field, Search) else ""
        else:
            update[control_of(field)] = value
    return update


def refused(refusals: Mapping[str, str]) -> Update:
    """The line beneath every control: what is wrong, or nothing."""
    return {
        refusal_of(field): gr.update(value=fragments.reason([told]) if told else "", visible=bool(told))
        for field in Search.model_fields
        for told in [refusals.get(field, "")]
    }


def told_of(wanted: Mapping[str, Any]) -> str:
    """The filters in one line, without the words: `Turbo · 16:9 · starred`."""
    told = []
    for field, value in wanted.items():
        if field in SWITCHES:
            told.append(named(field).lower())
        elif field in DAYS:
            told.append(f"{named(field).lower()} {value}")
        elif field in NAMES:
            told.append(f"{named(field).lower()} «{value}»")
        elif field != WORDS:
            told.append(f"creativity {value}" if field == "creativity" else _label(field, value))
    return " · ".join(told)


def names_of(field: str, library: Library, person: Person) -> Sequence[str]:
    """The styles or moodboards that are there for a person; none where they cannot be read, as their tab tells."""
    try:
        return (library.styles if field == "style" else library.moodboards).of(person).names()
    except StudioError:
        return []


def board_choices(names: Sequence[str]) -> list[tuple[str, str]]:
    """The entries of a list of moodboards to put pictures on."""
    return [("Choose a board", ""), *((name, name) for name in names)]


def _label(field: str, value: str) -> str:
    if field == "variant" and value in VARIANTS:
        return VARIANTS[value].label
    return value.capitalize()
