"""The measurement of starts: pairs, ratios, and a real process."""

from pathlib import Path

import pytest

from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.measures import options, sliders
from krea_studio.measures import startup as measure


def test_checkouts_take_turns_to_be_first() -> None:
    asked: list[str] = []

    def measured(checkout: Path) -> dict[str, measure.Cost]:
        asked.append(checkout.name)
        return {"": measure.Cost(len(asked), 1.0, 100.0)}

    found = measure.pairs_of(measured, [Path("a"), Path("b")], 3)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert [[cost.seconds for cost in costs] for costs in found[""]] == [[1, 4, 5], [2, 3, 6]]


def test_a_row_has_medians_and_the_ratios_of_pairs() -> None:
    here = [measure.Cost(seconds, 2.0, 50.0) for seconds in (1.0, 2.0, 6.0)]
    there = [measure.Cost(seconds, 4.0, 100.0) for seconds in (2.0, 2.0, 2.0)]
    assert measure.row("x", [here], "≤ 3 s") == "| x | 2.00 s | 2.00 s | 50 MB | ≤ 3 s |"
    pairs = measure.row("x", [here, there], "")
    assert "| 1.00 (0.50 – 3.00) | 0.50 (0.50 – 0.50) | 0.50 (0.50 – 0.50) |" in pairs


def test_a_command_is_measured_as_a_whole_process() -> None:
    (cost,) = measure.command(["generate", "--help"])(measure.HERE).values()
    assert cost.seconds > 0 and cost.processor > 0 and cost.megabytes > 10
    with pytest.raises(Unavailable, match="ended with 2"):
        measure.command(["generate", "a", "--steps", "many"])(measure.HERE)


def test_the_report_is_written_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(checkout: Path) -> dict[str, measure.Cost]:
        return {"": measure.Cost(1.0, 1.0, 1.0)}

    monkeypatch.setattr(measure, "command", lambda arguments: nothing)
    monkeypatch.setattr(measure, "page", nothing)
    report = tmp_path / "deep" / "startup.md"
    assert measure.main(["--pairs", "2", "--report", str(report)]) == 0
    text = report.read_text("utf-8")
    assert measure.COMMAND in text and "| `serve --help` | 1.00 s | 1.00 s | 1 MB |" in text


@pytest.mark.parametrize("flags", ["--prompts 0", "--prompts 9", "--seeds 0"])
def test_numbers_of_nothing_are_refused(flags: str) -> None:
    with pytest.raises(InvalidRequest, match=flags.split()[0]):
        options.parsed("sliders", flags.split())


def test_the_options_know_how_many_prompts_there_are() -> None:
    assert len(sliders.PROMPTS) == options.SLIDER_PROMPTS
