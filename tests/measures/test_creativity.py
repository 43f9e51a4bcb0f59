"""What creativity promises, on a smaller sample: mini-turbo, two prompts, five seeds."""

from dataclasses import replace
from pathlib import Path

import pytest

from krea_studio.expansion.creativity import LEVELS
from krea_studio.measures import creativity as measure
from krea_studio.measures.creativity import Scope
from krea_studio.settings import Settings

SCOPE = Scope(prompts=2, seeds=5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measures of the sample's pictures."""
    path = tmp_path_factory.mktemp("measured") / "pictures.csv"
    measure.draw_and_measure(SCOPE, Settings(), path, lambda text: None)
    return path


def test_creativity_keeps_its_promises(pictures: Path) -> None:
    (found,) = measure.levels(pictures).values()
    assert {name: level.pictures for name, level in found.items()} == dict.fromkeys(LEVELS, 10)
    assert [check for check in measure.checks(found) if not check.holds] == []
    assert found["raw"].added == 0 and found["raw"].survived == 1


def test_a_promise_that_is_broken_is_told(pictures: Path) -> None:
    (found,) = measure.levels(pictures).values()
    worse = {**found, "high": replace(found["high"], survived=0.9, added=found["low"].added, spread=0.0)}
    assert [check.holds for check in measure.checks(worse)] == [False, False, False]


def test_a_report_is_made_of_the_table_alone(pictures: Path, tmp_path: Path) -> None:
    measure.write_report(measure.levels(pictures), tmp_path)
    assert "| mini-turbo | high |" in (tmp_path / "creativity.md").read_text()
    assert (tmp_path / "creativity.png").stat().st_size > 5_000
