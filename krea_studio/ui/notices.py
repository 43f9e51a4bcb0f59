"""How a tab says that something is done, or what was wrong: one line in the place of its notices.

`guarded` is the one way from an action to its update: what a person can act on is said as it is, anything else is a
defect of the studio, logged and said to be one.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from krea_studio.errors import StorageError, StudioError
from krea_studio.ui import fragments
from krea_studio.ui.presenter import Update, shown
from krea_studio.validation import without_folders

logger = logging.getLogger(__name__)

HIDDEN = {"value": "", "visible": False}


def visible(on: bool) -> Any:
    """A part that is there, or is not."""
    return gr.update(visible=on)


def note(message: str, part: str = "notice") -> Update:
    """A calm line in the place of notices; none for an empty message."""
    return {part: shown(fragments.notice(message, "quiet")) if message else gr.update(**HIDDEN)}


def remarks(told: Sequence[str], part: str = "notice") -> Update:
    """What to know of a thing that was done, in the place of notices; that stays as it is where there is nothing."""
    return note(" ".join(f"{each}." for each in told), part) if told else {}


def problem(message: str, part: str = "notice") -> Update:
    """What was wrong, in the place of notices."""
    return {part: shown(fragments.notice(message))}


def on_stage(message: str) -> Update:
    """What was wrong, in the place of the pictures."""
    return problem(message, "stage")


def guarded(action: Callable[[], Update], told: Callable[[str], Update] = on_stage) -> Update:
    """What `action` gives, or what `told` makes of the message that says what was wrong."""
    try:
        return action()
    except StorageError as error:
        # Where files lie is for whoever runs the studio.
        logger.error("%s", error.message)
        return told(without_folders(error.message))
    except StudioError as error:
        return told(error.message)
    except Exception:
        logger.exception("The page failed")
        return told(fragments.DEFECT)
