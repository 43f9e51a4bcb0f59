"""What style references promise, on a smaller sample: mini-turbo, six references, one prompt, one seed."""

from dataclasses import replace
from pathlib import Path

import pytest

from krea_studio.measures import references as measure
from krea_studio.measures.references import Cost, Scope
from krea_studio.settings import Settings

SCOPE = Scope(("turbo",), strengths=(-0.5, 0.0, 0.5, 0.75, 1.0), mixes=((0, 4),), prompts=1, seeds=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measures of the sample's pictures."""
    path = tmp_path_factory.mktemp("measured") / "pictures.csv"
    measure.draw_and_measure(SCOPE, Settings(), path, lambda text: None)
    return path


def test_references_keep_every_promise(pictures: Path) -> None:
    (found,) = measure.curves(pictures)
    assert (found.checkpoint, found.pictures) == ("mini-turbo", 6)
    assert [check for check in measure.checks(found) if not check.holds] == []


def test_what_is_written_down_is_not_drawn_again(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.Bent, "picture", lambda *args: 1 / 0)
    measure.draw_and_measure(SCOPE, Settings(), pictures, lambda text: None)


def test_a_promise_that_is_broken_is_told(pictures: Path) -> None:
    (found,) = measure.curves(pictures)
    flat = replace(found, strengths={strength: found.strengths[0.0] for strength in found.strengths})
    broken = [check.what for check in measure.checks(flat) if not check.holds]
    assert "palette distance, fall at 1" in broken and "texture distance, greatest change from step to step" in broken
    leaking = {**found.strengths, 0.5: {**found.strengths[0.5], "content": 0.4}}
    broken = [check.what for check in measure.checks(replace(found, strengths=leaking)) if not check.holds]
    assert broken == ["layout copied, change of the correlation"]


def test_cost_is_promised_by_count() -> None:
    assert [check.holds for check in measure.cost_checks(Cost((1.4, 1.8, 2.2, 2.6), (1.1, 1.3)))] == [True] * 3
    assert [check.holds for check in measure.cost_checks(Cost((1.6, 1.7, 1.8, 2.9), (1.1, 1.3)))] == [False] * 3


def test_a_report_is_made_of_the_table_alone(pictures: Path, tmp_path: Path) -> None:
    found = measure.curves(pictures)
    measure.write_report(found, Cost((1.3, 1.6, 1.9, 2.2), (1.1, 1.3)), tmp_path)
    text = (tmp_path / "references.md").read_text()
    assert "| four references, captured anew | ≤ 2.8 | 2.2 |" in text and "**" not in text.split("bold.**")[1]
    assert (tmp_path / "references.png").stat().st_size > 10_000
