"""Names that people give to what the library keeps: one line of text, there once whatever its case.

No such name ever becomes part of a path. What may have a name, how long it is at most, and where it is kept, is told
by the rooms that use this.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import clean_text
from krea_studio.validation import shown

NAMES_SUGGESTED = 5
TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain_name(name: object) -> object:
    """A text as one line without control characters or outer spaces; anything else as it is, for a model to refuse."""
    cleaned = clean_text(name)
    return " ".join(cleaned.split()) if isinstance(cleaned, str) else cleaned


def without_turns(name: object) -> object:
    """A name that is given anew without the marks that turn the direction of what stands beside it.

    What is no text stays as it is, for a model to refuse.
    """
    return TURNS.sub("", name) if isinstance(name, str) else name


def folded(name: str) -> str:
    """What two names have in common that differ in upper and lower case, or in how their accents are written, only."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def free_name(name: str, taken: Callable[[str], bool], longest: int) -> str:
    """The name itself, or with the first number behind it that makes it free, in at most `longest` characters."""
    found, number = name, 2
    while taken(found):
        suffix = f" {number}"
        found, number = name[: longest - len(suffix)].rstrip() + suffix, number + 1
    return found


def missing(kind: str, name: str, names: Sequence[str], otherwise: str) -> InvalidRequest:
    """What to say when there is no `kind` (`moodboard`) of this name: names that are near, or else what to do."""
    near = difflib.get_close_matches(name, names, NAMES_SUGGESTED) or names[:NAMES_SUGGESTED]
    advice = f"choose one of {', '.join(map(shown, near))}" if near else otherwise
    return InvalidRequest(f"There is no {kind} {shown(name)} — {advice}")
