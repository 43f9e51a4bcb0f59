"""The judges: one for the small world's attributes, one that also knows the styles which that world does not."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from krea_studio.training.judging import judge
from krea_studio.training.world.captions import ATTRIBUTES
from krea_studio.training.world.foreign_styles import FOREIGN_STYLES, render
from krea_studio.training.world.scenes import STYLES, SUBJECTS


@pytest.fixture(scope="module")
def styled() -> judge.Judge:
    return judge.load(judge.STYLED)


def test_it_reads_style_and_subject_in_every_style(styled: judge.Judge) -> None:
    found = judge.held_out(styled, 180)
    assert {scene.style for scene, _ in found} == {*STYLES, *FOREIGN_STYLES}
    for style in (*STYLES, *FOREIGN_STYLES):
        own = [right for scene, right in found if scene.style == style]
        for attribute in ("style", "subject"):
            assert sum(right[attribute] for right in own) >= 0.9 * len(own), (style, attribute)


def test_probabilities_agree_with_verdicts(styled: judge.Judge) -> None:
    views = torch.stack([judge.view(render(judge.STYLED.scene(k), 96, 96)) for k in range(6)])
    for verdict, shares in zip(judge.verdicts(styled, views), judge.probabilities(styled, views), strict=True):
        assert list(shares["style"]) == [*STYLES, *FOREIGN_STYLES] and list(shares["subject"]) == list(SUBJECTS)
        for attribute, values in shares.items():
            assert sum(values.values()) == pytest.approx(1, abs=1e-5)
            assert max(values, key=values.get) == judge.STYLED.attributes[attribute][verdict[attribute]]


def test_the_first_judge_is_as_it_was() -> None:
    first = judge.load()
    assert first.reading.attributes is ATTRIBUTES
    assert "style" in ATTRIBUTES and not set(FOREIGN_STYLES) & set(ATTRIBUTES["style"])
    assert judge.accuracy(first, 60)["style"] >= 0.95


def test_scenes_for_learning_are_none_for_testing() -> None:
    starts = sorted(
        start for reading in (judge.PROMPTS, judge.STYLED) for start in (reading.first_seed, reading.test_seed)
    )
    assert min(b - a for a, b in pairwise(starts)) > judge.TRAIN_PICTURES
