"""What the shipped styles promise, on a smaller sample: mini-turbo, three styles, two prompts, one seed."""

from dataclasses import replace
from pathlib import Path

import pytest

from krea_studio.measures import styles as measure
from krea_studio.measures.styles import Scope
from krea_studio.settings import Settings

SCOPE = Scope(("turbo",), weights=(0.0, 0.5, 1.0), prompts=2, seeds=1)
LOOKS = ("blueprint", "stained glass", "woodcut")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measures of the sample's pictures."""
    path = tmp_path_factory.mktemp("measured") / "pictures.csv"
    measure.draw_and_measure(SCOPE, Settings(), path, lambda text: None)
    return path


def test_the_shipped_files_are_small_and_say_how_they_are_called() -> None:
    found = measure.shipped()
    assert tuple(style.look for style in found) == LOOKS
    assert all(style.trigger and style.path.stat().st_size < 2 * 10**6 for style in found)


def test_styles_keep_every_promise(pictures: Path) -> None:
    found = measure.curves(pictures)
    assert [(each.checkpoint, each.look, each.pictures) for each in found] == [
        ("mini-turbo", look, SCOPE.prompts * SCOPE.seeds) for look in LOOKS
    ]
    assert [(each.look, check) for each in found for check in measure.checks(each) if not check.holds] == []


def test_what_is_written_down_is_not_drawn_again(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.Styled, "picture", lambda *arguments, **options: 1 / 0)
    measure.draw_and_measure(SCOPE, Settings(), pictures, lambda text: None)


def test_a_promise_that_is_broken_is_told(pictures: Path) -> None:
    found = measure.curves(pictures)[0]
    flat = replace(found, means={weight: found.means[0.0] for weight in found.means})
    broken = [check.what for check in measure.checks(flat) if not check.holds]
    assert broken == [
        "style found at 1",
        "probability of the style, least rise from step to step",
        "change of the picture, least rise from step to step",
    ]
    lost = {**found.means, 1.0: {**found.means[1.0], "subject_right": 0.7}}
    assert [c.what for c in measure.checks(replace(found, means=lost)) if not c.holds] == ["subject right at 1"]
    told = replace(found, words={**found.words, "found": 0.5})
    assert [c.what for c in measure.checks(told) if not c.holds] == ["style found with the words alone"]


def test_a_report_is_made_of_the_table_alone(pictures: Path, tmp_path: Path) -> None:
    measure.write_report(measure.curves(pictures), tmp_path)
    text = (tmp_path / "styles.md").read_text()
    assert "| style found at 1 | ≥ 0.85 | 1 | 1 | 1 |" in text and "**" not in text.split("bold.**")[1]
    assert (tmp_path / "styles.png").stat().st_size > 10_000
