"""What moodboards promise, on a smaller sample: mini-turbo, two boards, one prompt, one seed."""

from dataclasses import replace
from pathlib import Path

import pytest

from krea_studio.measures import moodboards as measure
from krea_studio.measures.moodboards import FULL, Scope
from krea_studio.settings import Settings

BOARDS = ("paper sunsets", "autumn and dusk")  # of one look, and of two
SCOPE = Scope(("turbo",), strengths=(-0.5, 0.7), boards=BOARDS, prompts=1, seeds=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measures of the sample's pictures."""
    path = tmp_path_factory.mktemp("measured") / "pictures.csv"
    measure.draw_and_measure(SCOPE, Settings(), path, lambda text: None)
    return path


def test_moodboards_keep_every_promise(pictures: Path) -> None:
    (boards,) = measure.means(pictures).values()
    assert [(name, board.pictures) for name, board in boards.items()] == [(name, 1) for name in BOARDS]
    assert [check for check in measure.checks(boards) if not check.holds] == []


def test_a_promise_that_is_broken_is_told(pictures: Path) -> None:
    (boards,) = measure.means(pictures).values()
    worse = {
        name: replace(board, strengths={**board.strengths, FULL: board.none}, best=board.strengths[FULL])
        for name, board in boards.items()
    }
    broken = {check.what for check in measure.checks(worse) if not check.holds}
    assert broken == {
        "palette distance, greatest change from step to step",
        "palette distance of board / its best single picture",
    }


def test_a_report_is_made_of_the_table_alone(pictures: Path, tmp_path: Path) -> None:
    measure.write_report(measure.means(pictures), tmp_path)
    assert "| mini-turbo | paper sunsets |" in (tmp_path / "moodboards.md").read_text()
    assert (tmp_path / "moodboards.png").stat().st_size > 5_000
