"""What a page remembers without showing it, and what of a page's values handlers may rely on.

A server forgets a page: its sessions are of a limited number, and go when it sleeps. What was chosen on it would then
be missing from a run, and nobody told. So all that is remembered is in the page itself and comes with every request.
Where the session still knows it too, that counts: of two quick events the second has not seen what the first one wrote.

What comes from a page may be anything, so every value is looked at before a handler gets it.
"""

from typing import Any

import gradio as gr
from gradio.blocks import Block
from pydantic import ConfigDict, TypeAdapter, ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.validation import shown

STRICT = ConfigDict(strict=True)
KINDS: list[tuple[type[Block], TypeAdapter[Any]]] = [
    (gr.Textbox, TypeAdapter(str | None, config=STRICT)),
    (gr.BrowserState, TypeAdapter(str | None, config=STRICT)),
    (gr.Checkbox, TypeAdapter(bool, config=STRICT)),
    (gr.Slider, TypeAdapter(float, config=STRICT)),
]


def remembered(value: Any, kind: Any, session: bool = True) -> gr.JSON:
    """A part that holds a value of a `kind`, which is anything that pydantic knows; it begins as `value`.

    Without `session` the page alone has it, where only the page can know what it shows.
    """
    part = gr.JSON(sent(value), visible=False)
    # No class of its own: Gradio writes a file beside the module of every subclass of a component.
    part.kind = TypeAdapter(kind)
    part.session = gr.State(None) if session else None  # as the page has it; None where it is forgotten
    return part


def sent(value: Any) -> list[Any]:
    """A remembered value as page and session have it: a text by itself Gradio would take for JSON."""
    return [value]


def is_remembered(part: Block) -> bool:
    """Whether a part was made by `remembered`."""
    return hasattr(part, "kind")


def session_of(part: Block) -> gr.State | None:
    """Where the session has a part's value, if it does."""
    return getattr(part, "session", None)


def _could_be_chosen(part: gr.Radio | gr.Dropdown, value: Any) -> bool:
    """Whether a value is one choice or, where that may be, several or none; Gradio looks only for their being there."""
    if isinstance(part, gr.Dropdown) and part.multiselect:
        return True
    return not isinstance(value, list | dict) and (value is not None or isinstance(part, gr.Dropdown))


def checked(part: Block, value: Any, name: str) -> Any:
    """A part's value as it came from a page, an empty text in the place of none; `name` says whose it is.

    Raises InvalidRequest for a value of another kind.
    """
    try:
        if is_remembered(part):
            (value,) = value
            return part.kind.dump_python(part.kind.validate_python(value), mode="json")
        if isinstance(part, gr.Radio | gr.Dropdown) and not _could_be_chosen(part, value):
            raise ValueError
        for component, allowed in KINDS:
            if isinstance(part, component):
                allowed.validate_python(value)
                return "" if value is None else value
    except (ValidationError, RecursionError, TypeError, ValueError):
        raise InvalidRequest(f"The page sent {shown(value)} as {name} — reload it and try again") from None
    return value
