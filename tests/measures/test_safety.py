"""What is measured of the content filter, on few pictures."""

import time

import pytest
from PIL import Image

from krea_studio.engine.local.engine import LocalEngine
from krea_studio.measures import safety as measure
from krea_studio.measures.options import parsed
from krea_studio.measures.timing import Row
from krea_studio.recipe.request import parse_request
from krea_studio.safety.previews import SIDE_PX
from tests.doubles import JudgedByColour


def test_refusals_and_previews_are_told_by_step(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "VARIANTS", ("turbo",))
    classifier, rows = JudgedByColour(), list[Row]()
    measure.measure_pictures(engine, classifier, 1, rows.append)
    assert classifier.judged == 1 and rows[0] == Row(
        "Refused of 1 posters of mini-turbo; highest score", "0; 0.10", "0"
    )
    assert len(rows) == 1 + len(measure.SIDES_PX)
    for row in rows[1:]:
        shares = dict(step.split(": ") for step in row.result.split(", "))
        assert list(shares) == [str(step) for step in range(1, 9)] and set(shares.values()) <= {"0%", "100%"}
    assert rows[1].result.endswith("8: 100%"), "the last preview shows the picture"
    assert [row.what.endswith("as previews are") for row in rows[1:]] == [side == SIDE_PX for side in measure.SIDES_PX]


def test_what_is_shown_of_a_preview_is_recognised_by_chance() -> None:
    rows = list[Row]()
    measure.measure_reduced(28, rows.append)
    assert rows[0].result == "100%" and rows[-1].what.endswith("reduced to 2 px, as previews are")
    shares = [int(row.result.removesuffix("%")) for row in rows]
    assert shares == sorted(shares, reverse=True) and shares[-1] <= 25, "one of 14 subjects is 7 %"


def test_of_many_steps_eight_are_told() -> None:
    assert measure.steps_text([0.5] * 28) == ", ".join(f"{step}: 50%" for step in (1, 5, 9, 13, 16, 20, 24, 28))


def test_posters_have_subjects_in_turn() -> None:
    asked = list(measure.requests("turbo", 15))
    assert asked[0].prompt == asked[14].prompt == "flat poster of a cat" and len({each.prompt for each in asked}) == 14


def test_its_cost_is_told(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ratios", lambda slow, fast, pairs: [1.0] * pairs)
    rows = list[Row]()
    monkeypatch.setattr(
        measure, "parse_request", lambda wishes: parse_request({**wishes, "resolution": "512", "steps": 1})
    )
    classifier = JudgedByColour()
    judge = classifier.score

    def slow(image: Image.Image) -> float:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return judge(image)

    monkeypatch.setattr(classifier, "score", slow)
    measure.measure_costs(engine, classifier, 1, rows.append)
    assert classifier.judged == measure.JUDGED + 1 and 1 < float(rows[-1].result) < 1.5
    assert rows[1] == Row("Harmless prompts that pass", "240 of 240", "240 of 240")


def test_the_report_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measure, "measure_safety", lambda pictures, pairs, told: told(Row("a thing", f"{pictures}")))
    assert measure.main(["--report", str(tmp_path / "safety.md"), "--pictures", "3"]) == 0
    text = (tmp_path / "safety.md").read_text("utf-8")
    assert measure.COMMAND in text and "| a thing | 3 |" in text
    assert parsed("safety", ["--report", str(tmp_path / "safety.md")]).pictures == 14
