"""Counting what a chat server's expansions are worth: every end of an expansion has its line in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.expansion.creativity import ENDPOINT, Unfinished
from krea_studio.measures import expansion
from krea_studio.measures.expansion import ASKED, EXPANDED, OTHER, PARTLY, REASONS, Answer, ask, prompts, read, report

FOX = "a red fox and two birds in the snow"


@dataclass
class Scripted:
    """A writer that says or raises what it was given."""

    answer: str | Exception
    writer: str = ENDPOINT
    model: str = "scripted"

    def write(
        self,
        prompt: str,
        level: str,
        seed: int,
        check: Callable[[], None],
        again: bool = False,
        fits: Callable[[str], bool] = lambda text: True,
    ) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "prompt", "outcome"),
    [
        ("A red fox and two birds in the snow, under a pale sky.", FOX, EXPANDED),
        (Unfinished("A red fox and two birds in the snow. Behind them a"), FOX, PARTLY),
        ("I'm sorry, I can't help with that.", FOX, REASONS["refused"]),
        ("", FOX, REASONS["was empty"]),
        (Unfinished("A red fox"), FOX, REASONS["was cut off"]),
        ("A red fox and two birds in the snow, as you wanted.", FOX, REASONS["talks"]),
        ("A grey wolf in the mist.", FOX, REASONS["lost"]),
        ("A field.", "!!!", REASONS["It names nothing"]),
        (
            Unavailable("The endpoint h has not answered within 60 seconds — try again"),
            FOX,
            REASONS["has not answered"],
        ),
        (InvalidRequest("The endpoint h refuses the key (401) — check it"), FOX, OTHER),
    ],
)
def test_every_end_has_its_line(answer: str | Exception, prompt: str, outcome: str) -> None:
    found = ask(Scripted(answer), prompt, "low", 1)
    assert found.outcome == outcome
    assert (found.drawn == prompt) == (outcome not in (EXPANDED, PARTLY))


def test_the_prompts_are_two_hundred_different_ones() -> None:
    assert len(prompts()) == len(set(prompts())) == 200
    assert all(prompt == prompt.strip() and prompt for prompt in prompts())


def test_the_report_counts_what_there_is() -> None:
    answers = [
        Answer("a fox", "low", EXPANDED, "a fox in snow", "", 1.0),
        Answer("a cat", "low", REASONS["lost"], "a cat", "The prompt is drawn as it is written.", 2.0),
        Answer("a dog", "high", PARTLY, "a wolf in the dark", "Left out of the expansion: x.", 3.0),
    ]
    text = report(answers, "some-model")
    assert "| expanded | 1 | 0 | 0 | 1 |" in text and f"| {REASONS['lost']} | 1 | 0 | 0 | 1 |" in text
    assert "| **prompts** | 2 | 0 | 1 | 3 |" in text
    # The dog became a wolf, which the count tells although the studio would never accept it.
    assert "Of the 2 expansions that are drawn, 1 lack" in text and "some-model" in text


def test_what_was_answered_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from krea_studio.settings import Settings

    asked = []

    def answering(writer: object, prompt: str, level: str, seed: int) -> Answer:
        asked.append(prompt)
        return Answer(prompt, level, EXPANDED, f"{prompt}, in the sun", "", 0.5)

    monkeypatch.setattr(expansion, "ask", answering)
    settings = Settings(expander_url="http://127.0.0.1:1/v1", expander_model="m")
    path = tmp_path / "answers.csv"
    first = expansion.measure(settings, 4, path, lambda text: None)
    again = expansion.measure(settings, 6, path, lambda text: None)
    assert asked == prompts()[:6] and len(first) == 4 and len(again) == 6
    assert list(read(path).values()) == again
    assert [each.level for each in again] == [*ASKED, *ASKED]
