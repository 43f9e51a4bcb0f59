"""Runs on the Create tab: begun, watched from several pages, stopped, and told of where they fail."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from krea_studio.direction.sliders import signed
from krea_studio.engine.base import Step
from krea_studio.errors import Stopped, Unavailable
from krea_studio.library.store import Library
from krea_studio.people import LOCAL
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import SLIDERS, parse_request
from krea_studio.services import Services
from krea_studio.ui.create.runs import NOTHING_DRAWN, Watched
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.fragments import DEFECT, label_of
from krea_studio.ui.visitors import Visitors
from tests.doubles import drawn
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import BROWSER, Tab, run, stages


@pytest.fixture
def halted(engine: PageEngine) -> Iterator[threading.Event]:
    """The first picture halts until this is set."""
    go_on = threading.Event()
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 5).shots[0]
    engine.scripts = [[lambda: go_on.wait(60), *drawn(shot)]]
    yield go_on
    go_on.set()


def test_a_run_shows_its_pictures(
    create: CreateTab, visitor: SimpleNamespace, library: Library, halted: threading.Event
) -> None:
    tab = Tab(create, visitor)
    tab.generate(batch=2, random_seed=False, seed="41")
    halted.set()
    tab.look_until_rest()
    updates = tab.updates
    galleries = [len(update["gallery"]["value"]) for update in updates if "gallery" in update]
    assert galleries[0] == 0 and galleries[-1] == 2 and galleries == sorted(galleries)
    path, caption = [update for update in updates if "gallery" in update][-1]["gallery"]["value"][1]
    assert caption.startswith("42 · ")
    assert Path(path).is_file()
    assert Path(path).is_relative_to(library.folder)
    assert [update for update in updates if "stage" in update][-1]["stage"]["visible"] is False
    assert len([update for update in updates if "recent_ids" in update][-1]["recent_ids"]) == 2


def test_the_stage_answers_at_once_and_generate_stays(
    create: CreateTab, visitor: SimpleNamespace, halted: threading.Event
) -> None:
    first = Tab(create, visitor).generate()
    assert re.search("Waiting for the engine|Starting|Step", first["stage"]["value"])
    assert first["stop"]["visible"] is True
    assert "generate" not in first


def test_a_run_that_ends_before_it_is_shown_shows_its_pictures(
    create: CreateTab, visitor: SimpleNamespace, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = services.runs.submit

    def drawn_at_once(*asked: Any) -> str:
        run_id = submit(*asked)
        while not (run := services.runs.watch(run_id, LOCAL, seconds=0.2)).state.ended:
            pass
        return run.id

    monkeypatch.setattr(services.runs, "submit", drawn_at_once)
    shown = Tab(create, visitor).generate(batch=2)
    assert len(shown["gallery"]["value"]) == 2 and shown["stage"]["visible"] is False
    assert shown["stop"]["visible"] is False


def test_the_drawn_seed_comes_into_its_box(create: CreateTab, visitor: SimpleNamespace, engine: PageEngine) -> None:
    updates = run(create, visitor, random_seed=True, seed="5")
    assert [update["seed"] for update in updates if "seed" in update] == [str(engine.plans[0].seed)]


def test_a_fixed_seed_is_used(create: CreateTab, visitor: SimpleNamespace, engine: PageEngine) -> None:
    run(create, visitor, random_seed=False, seed="5")
    assert engine.plans[0].seed == 5


def test_an_answer_that_was_lost_comes_again(
    create: CreateTab, visitor: SimpleNamespace, halted: threading.Event
) -> None:
    tab = Tab(create, visitor)
    tab.generate(batch=2)
    (run_id,) = tab.watched.runs
    halted.set()
    while not create.services.runs.watch(run_id, LOCAL, seconds=0.2).state.ended:
        pass
    for _ in range(3):
        lost = tab.news()
    assert len(lost["gallery"]["value"]) == 2 and lost["stage"]["visible"] is False
    tab.look_until_rest()
    assert len([each for each in tab.updates if "gallery" in each][-1]["gallery"]["value"]) == 2
    assert tab.look() == {}, "nothing is written where nothing has changed"


class TestSeveralRuns:
    def test_what_waits_is_listed_and_can_be_cancelled(
        self, create: CreateTab, visitor: SimpleNamespace, halted: threading.Event, engine: PageEngine
    ) -> None:
        tab = Tab(create, visitor)
        for prompt in ("a fox", "a <whale>", "a bird"):
            update = tab.generate(prompt=prompt)
        assert "gallery" not in update, "what is shown stays"
        first, second, third = tab.watched.runs
        listed = tab.look()["queue"]["value"]
        assert "a &lt;whale&gt;" in listed and "a bird" in listed and "a fox" not in listed
        cancelled = tab.takes(create.runs.cancel(SimpleNamespace(run=second), visitor, "", tab.watched, tab.drawn))
        assert "whale" not in cancelled["queue"]["value"] and tab.watched.runs == [first, third]
        halted.set()
        tab.look_until_rest()
        assert [each.shots[0].prompt for each in engine.plans] == ["a fox", "a bird"]

    def test_a_refusal_does_not_take_the_place_of_the_run_that_is_shown(
        self, create: CreateTab, visitor: SimpleNamespace, halted: threading.Event
    ) -> None:
        tab = Tab(create, visitor)
        tab.generate()
        with pytest.warns(UserWarning, match="Prompt is empty"):
            assert tab.generate(prompt="") == {}

    def test_one_that_is_forgotten_does_not_hide_one_that_goes_on(
        self, create: CreateTab, visitor: SimpleNamespace, halted: threading.Event, engine: PageEngine
    ) -> None:
        tab = Tab(create, visitor)
        tab.generate()
        tab.watched.runs.insert(0, "0" * 32)
        with pytest.warns(UserWarning, match="Prompt is empty"):
            assert tab.generate(prompt="") == {}
        assert "gallery" not in tab.generate(prompt="a bird")
        halted.set()
        tab.look_until_rest()
        assert [each.shots[0].prompt for each in engine.plans] == ["a fox", "a bird"]
        assert len(tab.watched.runs) == 1, "both were shown"

    def test_a_reload_or_a_second_tab_shows_the_same_run(
        self, create: CreateTab, visitor: SimpleNamespace, halted: threading.Event
    ) -> None:
        tab, other = Tab(create, visitor), Tab(create, visitor)
        tab.generate(batch=2)
        opened = other.open()
        assert other.watched.runs == tab.watched.runs
        assert opened["stop"]["visible"] is True and tab.watched.runs[0] in opened["stage"]["value"]
        halted.set()
        other.look_until_rest()
        assert other.updates[-1]["stop"]["visible"] is False
        assert len([each for each in other.updates if "gallery" in each][-1]["gallery"]["value"]) == 2
        assert Tab(create, visitor).open()["stop"]["visible"] is False

    def test_strangers_see_and_stop_no_run_but_their_own(
        self, services: Services, visitor: SimpleNamespace, halted: threading.Event
    ) -> None:
        shared = CreateTab(services, Visitors(shared=True))
        mine, theirs = Tab(shared, visitor, BROWSER), Tab(shared, visitor, "f" * 32)
        mine.generate()
        theirs.open()
        assert theirs.watched.runs == []
        stolen = Watched(runs=list(mine.watched.runs), adopted=True)
        assert "There is no run" in shared.runs.stop(visitor, "f" * 32, stolen, NOTHING_DRAWN)["stage"]["value"]
        assert not services.runs.watch(mine.watched.runs[0]).state.ended
        unknown, other = Tab(shared, visitor, ""), Tab(shared, visitor, "")
        unknown.generate()
        assert len(unknown.watched.runs) == 1
        other.news()
        assert other.watched.runs == [], "two who are not known yet are two"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prompt": ""}, "Prompt is empty"),
        ({"prompt": "   "}, "Prompt is empty"),
        ({"prompt": "x" * 20_000}, "20,000 characters"),
        ({"random_seed": False, "seed": "4294967296"}, "4294967296"),
        ({"random_seed": False, "seed": "nan"}, "nan"),
        ({"steps": "many"}, "many"),
        ({"steps": "2.5"}, "2.5"),
        ({"guidance_scale": "nan"}, "nan"),
        ({"aspect_ratio": "7:1"}, "7:1"),
        ({"intensity": float("nan")}, "nan"),
        ({"creativity": "huge"}, "huge"),
        ({"batch": 9}, "9"),
    ],
)
def test_bad_input_is_one_notice_and_nothing_runs(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, changed: dict[str, Any], words: str
) -> None:
    notices = stages(run(create, visitor, **changed))
    assert len(notices) == 1
    assert words in notices[0]
    assert 'role="alert"' in notices[0]
    assert engine.plans == []


@pytest.mark.parametrize("prompt", ["🦊" * 50, "שועל בשדה", "a\x00fox", "<script>alert(1)</script>"])
def test_unusual_prompts_are_drawn(create: CreateTab, visitor: SimpleNamespace, prompt: str) -> None:
    updates = run(create, visitor, prompt=prompt)
    assert [update for update in updates if "stage" in update][-1]["stage"]["visible"] is False
    assert all("<script>" not in str(update.get("details", "")) for update in updates)


def test_a_failed_run_keeps_its_pictures_and_says_why(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    shots = plan(parse_request({"prompt": "a fox", "resolution": "512", "batch": 2}), 5).shots
    engine.scripts = [drawn(shots[0]), [Unavailable("weights <b>gone</b> — fetch them")]]
    updates = run(create, visitor, batch=2, random_seed=False, seed="5")
    assert len([update for update in updates if "gallery" in update][-1]["gallery"]["value"]) == 1
    assert "weights &lt;b&gt;gone&lt;/b&gt; — fetch them" in stages(updates)[-1]


def test_the_deadline_is_a_notice(create: CreateTab, visitor: SimpleNamespace, engine: PageEngine) -> None:
    engine.scripts = [[Stopped("took too long — ask for less")]]
    assert "took too long" in stages(run(create, visitor))[-1]


def test_a_defect_is_logged_not_shown(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.scripts = [[RuntimeError("secret path")]]
    shown = stages(run(create, visitor))[-1]
    assert "secret path" not in shown
    assert DEFECT in shown
    assert "secret path" in caplog.text


def test_stop_is_told_when_the_run_has_ended(create: CreateTab, visitor: SimpleNamespace, engine: PageEngine) -> None:
    begun, pressed_stop = threading.Event(), threading.Event()
    engine.scripts = [[begun.set, lambda: pressed_stop.wait(60), Step(0, 1, 2)]]
    tab = Tab(create, visitor)
    tab.generate()
    assert begun.wait(60)
    pressed = create.runs.stop(visitor, "", tab.watched, tab.drawn)
    assert not pressed and label_of(create.services.runs.watch(tab.watched.runs[0])) == "Stopping…"
    pressed_stop.set()
    tab.look_until_rest()
    assert "Stopped" in stages(tab.updates)[-1]
    assert tab.updates[-1]["stop"]["visible"] is False


def test_captions_tell_what_was_drawn(create: CreateTab, visitor: SimpleNamespace, engine: PageEngine) -> None:
    updates = run(create, visitor, random_mode=True, batch=4)
    captions = [caption for _, caption in [u for u in updates if "gallery" in u][-1]["gallery"]["value"]]
    for caption, shot in zip(captions, (each.shots[0] for each in engine.plans), strict=True):
        assert all(f"{slider} {signed(getattr(shot, slider))}" in caption for slider in SLIDERS)


def test_broken_records_do_not_keep_the_page_from_opening(
    create: CreateTab, visitor: SimpleNamespace, library: Library
) -> None:
    library.close()
    update = Tab(create, visitor).open()
    assert update["stop"]["visible"] is False
    assert 'role="alert"' in update["stage"]["value"]
