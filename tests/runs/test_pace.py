"""What a picture will take is told from those before it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from krea_studio.library.records import Record
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import parse_request
from krea_studio.runs.pace import Pace


def shot_of(**fields: object) -> Shot:
    wishes = {"prompt": "a fox", "resolution": "512", "steps": 4, "guidance_scale": 0.0, **fields}
    return plan(parse_request(wishes), 7).shots[0]


def record_of(seconds: float, **fields: object) -> Record:
    recipe = shot_of(**fields).recipe("mini-turbo")
    return Record(recipe, Path("2026-01-02/030405-0123456789abcdef-s7.png"), "local", seconds, datetime.now(UTC))


def test_nothing_is_known_of_what_was_never_drawn() -> None:
    pace = Pace([record_of(2.0)])
    assert pace.seconds(shot_of()) == pytest.approx(2.0)
    assert pace.seconds(shot_of(variant="large")) is None
    assert Pace().seconds(shot_of()) is None


def test_it_grows_with_steps_size_and_guidance() -> None:
    pace = Pace()
    pace.learn(shot_of(), 2.0)
    assert pace.seconds(shot_of(steps=8)) == pytest.approx(4.0)
    assert pace.seconds(shot_of(guidance_scale=3.0)) == pytest.approx(4.0)
    small, large = shot_of(), shot_of(resolution="1K")
    times = large.width * large.height / (small.width * small.height)
    assert times > 1 and pace.seconds(large) == pytest.approx(2.0 * times)


def test_what_was_drawn_last_counts_most() -> None:
    pace = Pace([record_of(9.0), record_of(1.0)])
    assert pace.seconds(shot_of()) == pytest.approx(5.0)
    for _ in range(20):
        pace.learn(shot_of(), 1.0)
    assert pace.seconds(shot_of()) == pytest.approx(1.0, rel=1e-3)


def test_pictures_whose_time_is_not_known_count_nothing() -> None:
    pace = Pace([replace(record_of(1.0), seconds=0.0)])
    assert pace.seconds(shot_of()) is None
