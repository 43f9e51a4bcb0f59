"""The words of an analysis as the texts of three boxes, and back.

A text that was not touched is never read back: what another tab has made of it meanwhile stays.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from krea_studio.direction.moodboards import Analysis
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


def phrases(text: str) -> list[str]:
    """The phrases of a list that was typed with commas or one a line, each once."""
    return list(dict.fromkeys(filter(None, (phrase.strip() for phrase in _SEPARATORS.split(text)))))


def touched(texts: Mapping[str, str | None], before: Mapping[str, str]) -> dict[str, str]:
    """The texts that are not as they were put into their boxes."""
    return {field: texts[field] or "" for field in WORDS if (texts[field] or "") != before[field]}


def edited(analysis: Analysis, texts: Mapping[str, str]) -> Analysis:
    """The analysis with these texts. Raises InvalidRequest, one line, for what it does not take."""
    changes: dict[str, Any] = {field: phrases(text) if field in LISTS else text for field, text in texts.items()}
    try:
        return Analysis.model_validate(dict(analysis) | changes)
    except ValidationError as error:
        raise refusal(error, Analysis, lambda field: LABELS.get(field, field), "an analysis") from None
