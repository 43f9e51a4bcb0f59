"""The content filter: whose pictures it judges, and what it lets pass."""

import math

import pytest
from PIL import Image

from krea_studio.safety.classifiers import LazyClassifier
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import Settings
from tests.doubles import JudgedByColour

IMAGE = Image.new("RGB", (64, 64))


@pytest.mark.parametrize(
    ("score", "refused"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True), (math.nan, True)]
)
def test_a_picture_is_refused_by_its_score(score: float, refused: bool) -> None:
    found = ContentFilter(LazyClassifier("one", lambda: lambda image: score)).refused(IMAGE, embedded=True)
    assert found == ((1.0 if math.isnan(score) else score) if refused else None)


@pytest.mark.parametrize("embedded", [False, True])
def test_switched_off_it_judges_what_is_not_embedded(embedded: bool) -> None:
    classifier = JudgedByColour()
    off = ContentFilter(classifier, on=False)
    off.refused(IMAGE, embedded)
    assert classifier.judged == (not embedded)


def test_it_is_on_unless_it_is_switched_off() -> None:
    assert ContentFilter.of(Settings()).on and not ContentFilter.of(Settings(filter="off")).on
