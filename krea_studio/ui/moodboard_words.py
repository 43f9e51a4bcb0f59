"""The words of an analysis as the texts of three boxes, and back.

A text that was not touched is never read back: what another tab has made of it meanwhile stays.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from krea_studio.direction.moodboards import Analysis
from krea_studio.recipe.request import clean_text
from krea_studio.validation import refusal

PROFILE, *LISTS = WORDS = ("taste_profile", "keywords", "avoids")
LABELS = {"taste_profile": "Taste profile", "keywords": "Keywords", "avoids": "Avoids"}
NO_WORDS = dict.fromkeys(WORDS, "")

_SEPARATORS = re.compile(r"[,\n]")


def texts_of(analysis: Analysis | None) -> dict[str, str]:
    """What the boxes hold for an analysis, by field."""
    if analysis is None:
        return dict(NO_WORDS)
    return {PROFILE: analysis.taste_profile, **{field: ", ".join(getattr(analysis, field)) for field in LISTS}}


def read(field: str, text: str) -> Any:
    """The value that a text stands for: phrases are separated by commas or lines, each counts once."""
    if field == PROFILE:
        return clean_text(text)
    return tuple(dict.fromkeys(filter(None, (phrase.strip() for phrase in _SEPARATORS.split(text)))))


def touched(texts: Mapping[str, str | None], before: Mapping[str, str]) -> dict[str, str]:
    """The texts that are not as they were put into their boxes."""
    return {field: texts[field] or "" for field in WORDS if (texts[field] or "") != before[field]}


def agrees(analysis: Analysis, texts: Mapping[str, str]) -> bool:
    """Whether the texts say what the analysis says."""
    own = texts_of(analysis)
    return all(texts[field] == own[field] or read(field, texts[field]) == getattr(analysis, field) for field in WORDS)


def edited(analysis: Analysis, field: str, text: str) -> Analysis:
    """The analysis with another text. Raises InvalidRequest, one line, for one that it does not take."""
    try:
        return Analysis.model_validate(dict(analysis) | {field: read(field, text)})
    except ValidationError as error:
        raise refusal(error, Analysis, lambda name: LABELS.get(name, name), "an analysis") from None
