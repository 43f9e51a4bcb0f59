"""The words of an analysis as the texts of three boxes, and back.

A text that was not touched is never read back: what another tab has made of it meanwhile stays.
"""

from collections.abc import Mapping
from typing import Any

from krea_studio.direction import moodboards
from krea_studio.direction.moodboards import WORDS, Analysis, phrases
from krea_studio.recipe.request import clean_text

PROFILE, *LISTS = WORDS
LABELS = {"taste_profile": "Taste profile", "keywords": "Keywords", "avoids": "Avoids"}
HINTS = {
    "taste_profile": "For you to read; it does not steer.",
    "keywords": "Steer beside the prompt.",
    "avoids": "Steer only where guidance is on.",
}
NO_WORDS = dict.fromkeys(WORDS, "")


def texts_of(analysis: Analysis | None) -> dict[str, str]:
    """What the boxes hold for an analysis, by field."""
    if analysis is None:
        return dict(NO_WORDS)
    return {PROFILE: analysis.taste_profile, **{field: ", ".join(getattr(analysis, field)) for field in LISTS}}


def read(field: str, text: str) -> Any:
    """The value that a text stands for."""
    return clean_text(text) if field == PROFILE else phrases(text)


def touched(texts: Mapping[str, str | None], before: Mapping[str, str]) -> dict[str, str]:
    """The texts that are not as they were put into their boxes."""
    return {field: texts[field] or "" for field in WORDS if (texts[field] or "") != before[field]}


def agrees(analysis: Analysis, texts: Mapping[str, str]) -> bool:
    """Whether the texts say what the analysis says."""
    own = texts_of(analysis)
    return all(texts[field] == own[field] or read(field, texts[field]) == getattr(analysis, field) for field in WORDS)


def edited(analysis: Analysis, field: str, text: str) -> Analysis:
    """The analysis with another text. Raises InvalidRequest, one line, for one that it does not take."""
    return moodboards.edited(analysis, {field: read(field, text)}, lambda name: LABELS.get(name, name))
