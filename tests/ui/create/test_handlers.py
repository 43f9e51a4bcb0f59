"""What the Create tab does, its handlers called as Gradio calls them."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from krea_studio.direction.sliders import STARTING_POINTS, StartingPoint, signed
from krea_studio.engine.abilities import Ability
from krea_studio.engine.base import Step
from krea_studio.errors import Stopped, Unavailable
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import FIRST_WEIGHTS
from krea_studio.recipe.request import SLIDERS, GenerationRequest, default, parse_request
from krea_studio.runs.run import Kind
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create import moodboard_choice, style_choice
from krea_studio.ui.create.creativity import EXPAND, PARTS, WATCH, ExpandHandlers
from krea_studio.ui.create.handlers import NEAR_SPREAD, NOT_FIELDS, CreateHandlers
from krea_studio.ui.create.references import STRENGTHS, USUAL_STRENGTH
from krea_studio.ui.create.runs import NOTHING_DRAWN, Watched
from krea_studio.ui.create.style_choice import TRIGGERS, USUAL_WEIGHT, WEIGHTS
from krea_studio.ui.create.tab import LOCKS, RUN_CONTROLS
from krea_studio.ui.fragments import DEFECT
from krea_studio.ui.presenter import news_of
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import shown_of, timer_of
from tests.doubles import drawn, picture
from tests.ui.conftest import PageEngine

BROWSER = "0123456789abcdef" * 2


@pytest.fixture
def page() -> SimpleNamespace:
    """A visitor's page, which is known by its session."""
    return SimpleNamespace(username=None, session_hash="one")


@pytest.fixture
def handlers(services: Services) -> CreateHandlers:
    return CreateHandlers(services, Visitors(shared=False))


def values(**changed: Any) -> dict[str, Any]:
    """What the page's controls hold when it is opened, with changes."""
    texts = {"seed": "", "steps": "", "guidance_scale": "", "exploration_seed": ""}
    locks = dict.fromkeys(LOCKS, False)
    places = {"references": [], **dict.fromkeys(STRENGTHS, USUAL_STRENGTH)}
    board = {"moodboard": "", "moodboard_strength": 35, "moodboard_content": None}
    styles = {"chosen_styles": [], **dict.fromkeys(WEIGHTS, USUAL_WEIGHT), **dict.fromkeys(TRIGGERS, True)}
    expanded = {"expanded_prompt": "", "expansion": None}
    known = {*texts, *locks, *places, *board, *styles, *expanded, "random_seed", "prompt"}
    neutral = {name: default(name) for name in RUN_CONTROLS if name not in known}
    return {
        **neutral,
        **places,
        **board,
        **styles,
        **expanded,
        **texts,
        **locks,
        "prompt": "a fox",
        "resolution": "512",
        "random_seed": True,
        "browser": "",
        **changed,
    }


def of_controls(update: dict[str, Any]) -> dict[str, Any]:
    """What an update writes into the controls of a run."""
    return {name: value for name, value in update.items() if name in RUN_CONTROLS}


class Tab:
    """One tab of the page: what Gradio keeps of it, what it shows, and what its browser asks for."""

    def __init__(self, handlers: CreateHandlers, visitor: SimpleNamespace, browser: str = "") -> None:
        self.handlers, self.visitor, self.browser = handlers, visitor, browser
        self.watched, self.drawn, self.stage = Watched(), NOTHING_DRAWN, ""
        self.updates: list[dict[str, Any]] = []

    def generate(self, **changed: Any) -> dict[str, Any]:
        """Press Generate."""
        controls = values(**{"browser": self.browser, **changed})
        return self.takes(self.handlers.begin(self.visitor, watched=self.watched, **controls))

    def open(self) -> dict[str, Any]:
        """Load the page."""
        return self.takes(self.handlers.opened(self.visitor, self.browser, self.watched, self.drawn))

    def news(self) -> dict[str, Any]:
        """What the page is told when it asks for news."""
        return self.handlers.news(self.visitor, self.browser, "turbo", self.watched, self.drawn)

    def look(self, seconds: float = 0.0) -> dict[str, Any]:
        """Ask how the run on the stage stands, and for news where there are any."""
        named = re.search(r'data-run="(\w+)" data-version="(\d+)" data-news="(\w+)"', self.stage)
        if not named:
            return {}
        runs = self.handlers.services.runs
        run = runs.watch(named[1], LOCAL, int(named[2]), seconds)
        return self.takes(self.news()) if news_of(run, runs) != named[3] else {}

    def takes(self, update: dict[str, Any]) -> dict[str, Any]:
        """An update arrives."""
        self.drawn = update.get("drawn", self.drawn)
        if "stage" in update:
            self.stage = update["stage"]["value"]
        self.updates.append(update)
        return update

    def look_until_rest(self) -> None:
        while "data-run" in self.stage:
            self.look(0.2)


def run(handlers: CreateHandlers, visitor: SimpleNamespace, **changed: Any) -> list[dict[str, Any]]:
    """Press Generate and look until nothing is watched any more."""
    tab = Tab(handlers, visitor, changed.pop("browser", ""))
    tab.generate(**changed)
    tab.look_until_rest()
    return tab.updates


def stages(updates: list[dict[str, Any]]) -> list[str]:
    return [update["stage"]["value"] for update in updates if "value" in update.get("stage", {})]


def test_a_run_shows_its_pictures(handlers: CreateHandlers, visitor: SimpleNamespace, library: Library) -> None:
    updates = run(handlers, visitor, batch=2, random_seed=False, seed="41")
    galleries = [len(update["gallery"]["value"]) for update in updates if "gallery" in update]
    assert galleries[0] == 0 and galleries[-1] == 2 and galleries == sorted(galleries)
    path, caption = [update for update in updates if "gallery" in update][-1]["gallery"]["value"][1]
    assert caption.startswith("42 · ")
    assert Path(path).is_file()
    assert Path(path).is_relative_to(library.folder)
    assert [update for update in updates if "stage" in update][-1]["stage"]["visible"] is False
    assert len([update for update in updates if "recent_ids" in update][-1]["recent_ids"]) == 2


def test_the_stage_answers_at_once_and_generate_stays(handlers: CreateHandlers, visitor: SimpleNamespace) -> None:
    first = Tab(handlers, visitor).generate()
    assert re.search("Waiting for the engine|Starting|Step", first["stage"]["value"])
    assert first["stop"]["visible"] is True
    assert "generate" not in first


def test_the_drawn_seed_comes_into_its_box(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    updates = run(handlers, visitor, random_seed=True, seed="5")
    assert [update["seed"] for update in updates if "seed" in update] == [str(engine.plans[0].seed)]


def test_a_fixed_seed_is_used(handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine) -> None:
    run(handlers, visitor, random_seed=False, seed="5")
    assert engine.plans[0].seed == 5


def test_an_answer_that_was_lost_comes_again(handlers: CreateHandlers, visitor: SimpleNamespace) -> None:
    tab = Tab(handlers, visitor)
    tab.generate(batch=2)
    (run_id,) = tab.watched.runs
    while not handlers.services.runs.watch(run_id, LOCAL, seconds=0.2).state.ended:
        pass
    for _ in range(3):
        lost = tab.news()
    assert len(lost["gallery"]["value"]) == 2 and lost["stage"]["visible"] is False
    tab.look_until_rest()
    assert len([each for each in tab.updates if "gallery" in each][-1]["gallery"]["value"]) == 2
    assert tab.look() == {}, "nothing is written where nothing has changed"


class TestSeveralRuns:
    @pytest.fixture
    def halted(self, engine: PageEngine) -> Iterator[threading.Event]:
        """The first picture halts until this is set."""
        go_on = threading.Event()
        shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 5).shots[0]
        engine.scripts = [[lambda: go_on.wait(30), *drawn(shot)]]
        yield go_on
        go_on.set()

    def test_what_waits_is_listed_and_can_be_cancelled(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, halted: threading.Event, engine: PageEngine
    ) -> None:
        tab = Tab(handlers, visitor)
        for prompt in ("a fox", "a <whale>", "a bird"):
            update = tab.generate(prompt=prompt)
        assert "gallery" not in update, "what is shown stays"
        first, second, third = tab.watched.runs
        listed = tab.look()["queue"]["value"]
        assert "a &lt;whale&gt;" in listed and "a bird" in listed and "a fox" not in listed
        cancelled = tab.takes(handlers.cancel(SimpleNamespace(run=second), visitor, "", tab.watched, tab.drawn))
        assert "whale" not in cancelled["queue"]["value"] and tab.watched.runs == [first, third]
        halted.set()
        tab.look_until_rest()
        assert [each.shots[0].prompt for each in engine.plans] == ["a fox", "a bird"]

    def test_a_refusal_does_not_take_the_place_of_the_run_that_is_shown(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, halted: threading.Event
    ) -> None:
        tab = Tab(handlers, visitor)
        tab.generate()
        with pytest.warns(UserWarning, match="Prompt is empty"):
            assert tab.generate(prompt="") == {}

    def test_a_reload_or_a_second_tab_shows_the_same_run(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, halted: threading.Event
    ) -> None:
        tab, other = Tab(handlers, visitor), Tab(handlers, visitor)
        tab.generate(batch=2)
        opened = other.open()
        assert other.watched.runs == tab.watched.runs
        assert opened["stop"]["visible"] is True and tab.watched.runs[0] in opened["stage"]["value"]
        halted.set()
        other.look_until_rest()
        assert other.updates[-1]["stop"]["visible"] is False
        assert len([each for each in other.updates if "gallery" in each][-1]["gallery"]["value"]) == 2
        assert Tab(handlers, visitor).open()["stop"]["visible"] is False

    def test_strangers_see_and_stop_no_run_but_their_own(
        self, services: Services, visitor: SimpleNamespace, halted: threading.Event
    ) -> None:
        shared = CreateHandlers(services, Visitors(shared=True))
        mine, theirs = Tab(shared, visitor, BROWSER), Tab(shared, visitor, "f" * 32)
        mine.generate()
        theirs.open()
        assert theirs.watched.runs == []
        stolen = Watched(runs=list(mine.watched.runs), adopted=True)
        assert "There is no run" in shared.stop(visitor, "f" * 32, stolen)["stage"]["value"]
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
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine, changed: dict[str, Any], words: str
) -> None:
    notices = stages(run(handlers, visitor, **changed))
    assert len(notices) == 1
    assert words in notices[0]
    assert 'role="alert"' in notices[0]
    assert engine.plans == []


@pytest.mark.parametrize("prompt", ["🦊" * 50, "שועל בשדה", "a\x00fox", "<script>alert(1)</script>"])
def test_unusual_prompts_are_drawn(handlers: CreateHandlers, visitor: SimpleNamespace, prompt: str) -> None:
    updates = run(handlers, visitor, prompt=prompt)
    assert [update for update in updates if "stage" in update][-1]["stage"]["visible"] is False
    assert all("<script>" not in str(update.get("details", "")) for update in updates)


def test_a_failed_run_keeps_its_pictures_and_says_why(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    shots = plan(parse_request({"prompt": "a fox", "resolution": "512", "batch": 2}), 5).shots
    engine.scripts = [drawn(shots[0]), [Unavailable("weights <b>gone</b> — fetch them")]]
    updates = run(handlers, visitor, batch=2, random_seed=False, seed="5")
    assert len([update for update in updates if "gallery" in update][-1]["gallery"]["value"]) == 1
    assert "weights &lt;b&gt;gone&lt;/b&gt; — fetch them" in stages(updates)[-1]


def test_the_deadline_is_a_notice(handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine) -> None:
    engine.scripts = [[Stopped("took too long — ask for less")]]
    assert "took too long" in stages(run(handlers, visitor))[-1]


def test_a_defect_is_logged_not_shown(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.scripts = [[RuntimeError("secret path")]]
    shown = stages(run(handlers, visitor))[-1]
    assert "secret path" not in shown
    assert DEFECT in shown
    assert "secret path" in caplog.text


def test_stop_is_told_when_the_run_has_ended(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    begun = threading.Event()
    engine.scripts = [[begun.set, *[Step(0, 1, 2)] * 10_000]]
    tab = Tab(handlers, visitor)
    tab.generate()
    assert begun.wait(30)
    pressed = handlers.stop(visitor, "", tab.watched)
    assert pressed["stop"]["value"] == "Stopping…" and "stage" not in pressed
    tab.look_until_rest()
    assert "Stopped" in stages(tab.updates)[-1]
    assert tab.updates[-1]["stop"]["visible"] is False


def kept(library: Library, owner: str = "local", **wishes: Any) -> Any:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512", **wishes}), wishes.get("seed", 7)).shots[0]
    return library.save(shot.recipe("mini-turbo"), picture(shot), 1.0, Person(owner))


def test_recent_pictures_are_there_after_a_reload(
    handlers: CreateHandlers, visitor: SimpleNamespace, library: Library
) -> None:
    older, newer = kept(library, seed=1), kept(library, seed=2)
    update = handlers.recent(visitor, "")
    assert update["recent_ids"] == [newer.id, older.id]
    assert update["recent"]["value"] == [str(newer.thumbnail), str(older.thumbnail)]


def test_strangers_see_only_their_own_pictures(services: Services, visitor: SimpleNamespace, library: Library) -> None:
    shared = CreateHandlers(services, Visitors(shared=True))
    mine = kept(library, owner=f"browser-{BROWSER}")
    kept(library, owner="browser-" + "f" * 32)
    kept(library, owner="local")
    assert shared.recent(visitor, BROWSER)["recent_ids"] == [mine.id]
    newcomer = shared.recent(visitor, "")
    assert newcomer["recent_ids"] == []
    assert len(newcomer["browser"]) == 32
    run(shared, visitor, browser=BROWSER)
    assert len(shared.recent(visitor, BROWSER)["recent_ids"]) == 2
    run(shared, visitor, browser="")
    assert len(shared.recent(visitor, BROWSER)["recent_ids"]) == 2


@pytest.mark.parametrize("forged", ["local", "../", "F" * 32, 7 * "x"])
def test_a_forged_browser_name_is_replaced(services: Services, visitor: SimpleNamespace, forged: str) -> None:
    assert CreateHandlers(services, Visitors(shared=True)).recent(visitor, forged)["browser"] != forged


def test_a_recent_picture_is_shown_and_reused(handlers: CreateHandlers, library: Library) -> None:
    kept(library, seed=1)
    record = kept(library, seed=2, prompt="a whale", variant="medium", aspect_ratio="9:16", steps=5)
    shown = handlers.recent_chosen(SimpleNamespace(index=0), [record.id])
    assert shown["gallery"]["value"][0][0] == str(record.path)
    update = handlers.reuse(shown["shown_ids"], shown["selected"])
    expected = {"prompt": "a whale", "variant": "medium", "aspect_ratio": "9:16", "resolution": "512", "seed": "2"}
    assert {name: update[name] for name in expected} == expected
    assert update["random_seed"] is False
    assert update["steps"] == "5"
    assert update["guidance_scale"] == ""


def test_reused_settings_ask_for_the_same_picture(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    updates = run(
        handlers, visitor, prompt="a whale", aspect_ratio="4:5", batch=3, variant="medium", negative_prompt="boats"
    )
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    chosen = handlers.picture_chosen(SimpleNamespace(index=2), ids)
    reused = of_controls(handlers.reuse(ids, chosen["selected"]))
    run(handlers, visitor, **reused)
    checkpoint = "mini-medium"
    assert engine.plans[3].shots[0].recipe(checkpoint) == engine.plans[2].shots[0].recipe(checkpoint)


def test_a_dropped_picture_fills_the_controls(handlers: CreateHandlers, library: Library) -> None:
    update = handlers.settings_dropped(str(kept(library, seed=9, prompt="a lighthouse").path))
    assert (update["prompt"], update["seed"]) == ("a lighthouse", "9")
    assert update["settings_file"] is None


def test_a_dropped_picture_without_a_recipe_is_a_notice(handlers: CreateHandlers, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.png"
    picture(SimpleNamespace(width=8, height=8, seed=1)).save(stranger)
    assert "no recipe" in handlers.settings_dropped(str(stranger))["stage"]["value"]


def test_a_recipe_of_another_checkpoint_is_told(handlers: CreateHandlers, library: Library) -> None:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 7).shots[0]
    record = library.save(shot.recipe("krea-2-turbo"), picture(shot), 1.0)
    note = handlers.reuse([record.id], 0)["stage"]["value"]
    assert "krea-2-turbo&#x27; drew this picture" in note


@pytest.mark.parametrize(("weights", "told"), [("a" * 16, "Another"), (FIRST_WEIGHTS["mini-turbo"], "An earlier")])
def test_a_recipe_of_other_weights_is_told(
    handlers: CreateHandlers, engine: PageEngine, library: Library, weights: str, told: str
) -> None:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 7).shots[0]
    record = library.save(shot.recipe("mini-turbo", weights=weights), picture(shot), 1.0)

    def notes() -> list[str]:
        updates = (handlers.reuse([record.id], 0), handlers.settings_dropped(str(record.path)))
        return [update["stage"]["value"] for update in updates]

    engine.identities = {"turbo": weights}
    assert not any("drew this picture" in note for note in notes())
    engine.identities = {"turbo": "b" * 16}
    assert all(f"{told} Mini turbo (weights {weights[:8]}) drew this picture" in note for note in notes())


class TestCreativity:
    def begun(self, expand: ExpandHandlers, visitor: SimpleNamespace, **changed: Any) -> dict[str, Any]:
        fields = {"prompt": "a fox", "variant": "turbo", "creativity": "medium", "seed": "7", "random_seed": False}
        fields |= {name: values()[name] for name in (*moodboard_choice.CHOICE, *style_choice.CHOICE)}
        return expand.expanded(visitor, **{"browser": "", **fields, **changed})

    def followed(self, expand: ExpandHandlers, visitor: SimpleNamespace, **now: Any) -> dict[str, Any]:
        """What the timer draws after every run has ended."""
        runs = expand._box.services.runs
        for run in runs.of(kind=Kind.EXPAND):
            while not run.state.ended:
                run = runs.watch(run.id, since=run.version, seconds=60)
        box = {"browser": "", "expansions_shown": [], "prompt": "a fox", "creativity": "medium"}
        return expand.follow_expansions(visitor, **{**box, **now})

    def expanded(self, handlers: CreateHandlers, **changed: Any) -> dict[str, Any]:
        """What pressing the button shows in the end."""
        visitor = SimpleNamespace(username=None, session_hash="one")
        expand = ExpandHandlers(handlers.visitors, handlers.creativity)
        update = self.begun(expand, visitor, **changed)
        if "stage" in update:
            return update
        assert (update["expand"]["value"], update["expand"]["interactive"]) == ("Expanding…", False)
        assert update[timer_of(WATCH)]["active"] is True
        now = {name: changed[name] for name in ("prompt", "creativity") if name in changed}
        update = self.followed(expand, visitor, **now)
        assert (update["expand"]["value"], update["expand"]["interactive"]) == (EXPAND, True)
        assert update[timer_of(WATCH)]["active"] is False
        return update

    def test_the_expanded_prompt_is_shown_and_drawn_as_it_stands(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        shown = self.expanded(handlers)
        assert shown["expansion_group"]["visible"] is True
        assert "phrasebook" in shown["expansion_note"] and "seed 7" in shown["expansion_note"]
        box = {name: shown[name] for name in ("expanded_prompt", "expansion")}
        run(handlers, visitor, creativity="medium", **box)
        edited = {**box, "expanded_prompt": box["expanded_prompt"] + ", in oil"}
        run(handlers, visitor, creativity="medium", **edited)
        first, second = (each.shots[0].expansion for each in engine.plans)
        assert (first.text, first.edited, first.writer) == (box["expanded_prompt"], False, "phrasebook")
        assert (second.text, second.edited) == (edited["expanded_prompt"], True)

    def test_what_was_written_for_another_prompt_or_level_is_not_drawn(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        shown = self.expanded(handlers)
        box = {name: shown[name] for name in ("expanded_prompt", "expansion")}
        for changed in ({"prompt": "a whale"}, {"creativity": "high"}):
            now = {"prompt": "a fox", "creativity": "medium", **changed}
            assert handlers.creativity.changed(**now, **box)["expanded_prompt"] == ""
            run(handlers, visitor, **now, **box)
            drawn = engine.plans[-1].shots[0]
            assert drawn.expansion.seed == drawn.seed != box["expansion"]["written"]["seed"]
            edited = {**box, "expanded_prompt": "a fox in oil"}
            told = handlers.creativity.changed(**now, **edited)
            assert "another prompt or level" in told["expansion_note"] and "expanded_prompt" not in told
            run(handlers, visitor, **now, **edited)
            assert engine.plans[-1].shots[0].conditioning_prompt == "a fox in oil"
        same = handlers.creativity.changed("a fox ", "medium", **box)
        assert "expanded_prompt" not in same and same["expansion_group"]["visible"] is True
        assert same["expansion_note"] == shown["expansion_note"], "what was told of another prompt is told no longer"

    @pytest.mark.parametrize("now", [{"prompt": "a whale"}, {"creativity": "high"}, {"creativity": "raw"}])
    def test_what_was_changed_while_the_writer_wrote_leaves_the_box_alone(
        self, handlers: CreateHandlers, page: SimpleNamespace, now: dict[str, str]
    ) -> None:
        expand = ExpandHandlers(handlers.visitors, handlers.creativity)
        self.begun(expand, page)
        update = self.followed(expand, page, **now)
        assert not set(update) & {*PARTS, "prompt", "creativity", "stage"}
        assert update["expand"]["interactive"] is True

    def test_the_button_says_that_it_works_until_the_text_is_there(
        self, handlers: CreateHandlers, page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released, studio = threading.Event(), handlers.services.studio
        expand, write = ExpandHandlers(handlers.visitors, handlers.creativity), studio.expand
        monkeypatch.setattr(studio, "expand", lambda *arguments: write(*arguments) if released.wait(60) else None)
        self.begun(expand, page)
        update = expand.follow_expansions(page, "", [], "a fox", "medium")
        assert update["expand"]["value"] == "Expanding…" and update[timer_of(WATCH)]["active"] is True
        assert not set(update) & set(PARTS)
        released.set()
        update = self.followed(expand, page)
        assert "fox" in update["expanded_prompt"]
        again = self.followed(expand, page, expansions_shown=update[shown_of(WATCH)])
        assert not set(again) & {*PARTS, "stage"}, "it comes once"

    def test_a_page_that_is_loaded_again_gets_prompt_level_and_text(
        self, handlers: CreateHandlers, page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released, studio = threading.Event(), handlers.services.studio
        expand, write = ExpandHandlers(handlers.visitors, handlers.creativity), studio.expand
        monkeypatch.setattr(studio, "expand", lambda *arguments: write(*arguments) if released.wait(60) else None)
        self.begun(expand, page, creativity="high")
        loaded = SimpleNamespace(username=None, session_hash="two")
        assert expand.found_again(loaded, "")["expand"]["value"] == "Expanding…"
        released.set()
        update = self.followed(expand, loaded, prompt="")
        assert (update["prompt"], update["creativity"]) == ("a fox", "high")
        assert update["expansion"]["prompt"] == "a fox" and "fox" in update["expanded_prompt"]
        later = SimpleNamespace(username=None, session_hash="three")
        assert timer_of(WATCH) not in expand.found_again(later, "")

    def test_a_stranger_sees_no_other_s_expansion(
        self, services: Services, page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released = threading.Event()
        handlers = CreateHandlers(services, Visitors(shared=True))
        expand = ExpandHandlers(handlers.visitors, handlers.creativity)
        monkeypatch.setattr(services.studio, "expand", lambda *arguments: released.wait(60))
        for browser in (BROWSER, ""):
            self.begun(expand, page, browser=browser)
        other = SimpleNamespace(username=None, session_hash="two")
        for browser in ("f" * 32, ""):
            assert timer_of(WATCH) not in expand.found_again(other, browser)
        assert timer_of(WATCH) in expand.found_again(other, BROWSER)
        released.set()

    def test_a_defect_gives_the_button_back(self, handlers: CreateHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers.services.studio, "expand", lambda *arguments: 1 / 0)
        assert DEFECT in self.expanded(handlers)["stage"]["value"]

    def test_without_a_box_every_picture_s_prompt_is_written_out(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        run(handlers, visitor, creativity="high", batch=2, random_seed=False, seed="7")
        assert [plan.shots[0].expansion.seed for plan in engine.plans] == [7, 8]

    def test_at_raw_the_box_has_no_effect_and_is_kept(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        run(handlers, visitor, creativity="raw", expanded_prompt="a fox in oil", expansion=None)
        assert engine.plans[0].shots[0].conditioning_prompt == "a fox"
        hidden = handlers.creativity.changed("a fox", "raw", "a fox in oil", None)
        again = handlers.creativity.changed("a fox", "low", "a fox in oil", None)
        assert hidden["expansion_group"]["visible"] is False and again["expansion_group"]["visible"] is True
        assert "expanded_prompt" not in hidden

    def test_what_cannot_be_expanded_is_one_notice(self, handlers: CreateHandlers) -> None:
        for changed, words in (({"prompt": ""}, "Prompt is empty"), ({"creativity": "raw"}, "Creativity is raw")):
            assert words in self.expanded(handlers, **changed)["stage"]["value"]

    def test_a_recipe_brings_its_expansion_back(
        self, handlers: CreateHandlers, visitor: SimpleNamespace, library: Library
    ) -> None:
        run(handlers, visitor, creativity="medium")
        (record,) = library.recent(1)
        update = handlers.reuse([record.id], 0)
        assert update["creativity"] == "medium"
        assert update["expanded_prompt"] == record.recipe.expansion.text
        assert update["expansion"]["written"] == record.recipe.expansion.model_dump(mode="json")
        assert "phrasebook" in fragments.details(record)


def test_a_picture_that_was_deleted_is_a_notice(handlers: CreateHandlers, library: Library) -> None:
    record = kept(library)
    record.path.unlink()
    for index in (0, 1, -1):
        notice = handlers.recent_chosen(SimpleNamespace(index=index), [record.id])["stage"]["value"]
        assert "not in the library any more" in notice


def test_broken_records_do_not_keep_the_page_from_opening(
    handlers: CreateHandlers, visitor: SimpleNamespace, library: Library
) -> None:
    library.close()
    update = Tab(handlers, visitor).open()
    assert update["stop"]["visible"] is False
    assert 'role="alert"' in update["stage"]["value"]


def test_a_variant_that_cannot_run_says_why(handlers: CreateHandlers, engine: PageEngine) -> None:
    engine.missing = {"large": "No open checkpoint is published — choose Medium."}
    assert ("Large (unavailable)", "large") in handlers.variants()
    assert ("Turbo", "turbo") in handlers.variants()
    update = handlers.variant_chosen("large")
    assert "No open checkpoint" in update["variant_text"]


def test_words_and_examples_belong_to_the_embedded_model(handlers: CreateHandlers, engine: PageEngine) -> None:
    update = handlers.variant_chosen("turbo")
    assert update["examples"].raw_samples == [["a fox at dusk"], ["a crowded sea"]]
    assert update["world"]["visible"] is True
    assert "8 steps and guidance 0" in update["defaults"]
    engine.vocabulary = None
    update = handlers.variant_chosen("medium")
    assert (update["world"]["visible"], update["words_group"]["visible"]) == (False, False)
    assert "28 steps and guidance 4.5" in update["defaults"]


def test_the_status_line(handlers: CreateHandlers) -> None:
    assert handlers.status("turbo")["status"] == (
        "<p>Loaded: mini-turbo · CPU, float32 · 30 MB of 4.0 GB · 2 waiting</p>"
    )


def test_every_run_control_is_a_field_of_the_request() -> None:
    assert set(RUN_CONTROLS) - {"random_seed", *LOCKS, *NOT_FIELDS} <= set(GenerationRequest.model_fields)


def test_pin_writes_values_and_seed_and_ends_random_mode(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    updates = run(handlers, visitor, random_mode=True, batch=4, lock_movement=True, movement=20)
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    shot = engine.plans[1].shots[0]
    pinned = of_controls(handlers.pin(ids, 1))
    assert pinned == {
        **{s: getattr(shot, s) for s in SLIDERS},
        "random_mode": False,
        "seed": str(shot.seed),
        "random_seed": False,
    }
    run(handlers, visitor, **pinned)
    (again,) = engine.plans[4].shots
    assert again == shot.model_copy(update={"exploration": None})


def test_around_a_picture_that_is_gone_starts_no_run(handlers: CreateHandlers) -> None:
    with pytest.raises(gr.Error, match="not in the library any more"):
        handlers.around(["gone"], 0)


def test_around_draws_near_the_picture(handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine) -> None:
    updates = run(handlers, visitor, random_mode=True)
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    near = of_controls(handlers.around(ids, 0))
    run(handlers, visitor, batch=4, **near)
    centre = engine.plans[0].shots[0]
    for shot in (each.shots[0] for each in engine.plans[1:]):
        for slider in SLIDERS:
            assert abs(getattr(shot, slider) - getattr(centre, slider)) <= NEAR_SPREAD


def test_captions_tell_what_was_drawn(handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine) -> None:
    updates = run(handlers, visitor, random_mode=True, batch=4)
    captions = [caption for _, caption in [u for u in updates if "gallery" in u][-1]["gallery"]["value"]]
    for caption, shot in zip(captions, (each.shots[0] for each in engine.plans), strict=True):
        assert all(f"{slider} {signed(getattr(shot, slider))}" in caption for slider in SLIDERS)


@pytest.mark.parametrize("point", STARTING_POINTS)
def test_a_starting_point_sets_the_sliders(
    handlers: CreateHandlers, visitor: SimpleNamespace, point: StartingPoint
) -> None:
    update = handlers.starting_point(point)
    assert {slider: update[slider] for slider in SLIDERS} == point.values
    assert (update["random_mode"], update["random_panel"]["visible"]) == (point.random_mode, point.random_mode)


def test_beside_each_slider_stands_by_what_it_works_or_why_not(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    narrow = Ability(by="text direction", bounds=(-50, 50))
    engine.controls = {
        "intensity": Ability(by="slider LoRA"),
        "complexity": narrow,
        "movement": Ability(reason="Its file is <damaged>."),
    }
    update = handlers.variant_chosen("turbo")
    assert update["intensity_mechanism"] == "<p>Slider LoRA</p>"
    assert update["complexity_mechanism"] == "<p>Text direction, from −50 to 50</p>"
    assert update["movement_mechanism"] == fragments.reason(["Its file is <damaged>."])
    assert "Movement does not work here. Its file" in stages(run(handlers, visitor, movement=5))[-1]
    assert "Complexity is 60, and works from −50 to 50 here" in stages(run(handlers, visitor, complexity=60))[-1]
    assert engine.plans == []
    run(handlers, visitor, intensity=5)
    assert len(engine.plans) == 1
    engine.controls = {}
    assert handlers.variant_chosen("turbo")["complexity_mechanism"] == ""


def look_of(library: Library, colour: str) -> str:
    return library.references.add_picture(Image.new("RGB", (64, 64), colour))


def board(services: Services, name: str, *images: str) -> None:
    services.library.moodboards.create(name)
    services.library.moodboards.add_references(name, images)


def taken_over(controls: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """The controls of a run after an update of the page."""
    plain = {
        name: value["value"] if isinstance(value, dict) and "__type__" in value else value
        for name, value in of_controls(update).items()
        if not (isinstance(value, dict) and "value" not in value)
    }
    return {**controls, **plain}


def test_reused_strengths_are_the_same_to_the_last_digit(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine, services: Services
) -> None:
    looks = [look_of(services.library, colour) for colour in ("red", "teal")]
    board(services, "Dusk", *looks)
    content = services.studio.analyze("Dusk").content().model_dump(mode="json")
    wishes = [{"image": looks[0], "strength": 0.333}, {"image": looks[1], "strength": -0.07}]
    record = kept(
        services.library, style_references=wishes, moodboard={"name": "Dusk", "strength": 0.125, "content": content}
    )
    update = handlers.reuse([record.id], 0)
    assert update[STRENGTHS[0]]["value"] == 33.3
    again = run(handlers, visitor, **taken_over(values(), update))
    assert stages(again)[-1] == ""
    chosen = engine.plans[0].request
    assert [each.strength for each in chosen.style_references] == [0.333, -0.07]
    assert chosen.moodboard.strength == 0.125


def test_a_missing_reference_leaves_the_other_settings_to_be_reused(
    handlers: CreateHandlers, visitor: SimpleNamespace, engine: PageEngine, library: Library
) -> None:
    looks = [look_of(library, colour) for colour in ("red", "teal")]
    record = kept(library, prompt="a whale", style_references=[{"image": image} for image in looks])
    library.references.path(looks[1]).unlink()
    for update in (handlers.reuse([record.id], 0), handlers.settings_dropped(str(record.path))):
        assert update["prompt"] == "a whale" and update["references"] == looks
        assert "Reference 2 is not in the library any more — remove it" in update["stage"]["value"]
        assert "Reference 1" not in update["stage"]["value"]
    refused = run(handlers, visitor, **taken_over(values(), update))
    assert "Reference 2 is not in the library any more" in stages(refused)[-1]
    assert engine.plans == []


def test_the_line_under_the_moodboard_tells_what_steers(handlers: CreateHandlers, services: Services) -> None:
    library = services.library
    board(services, "Dusk", look_of(library, "red"), look_of(library, "teal"))

    def told(variant: str = "turbo", content: Any = None) -> str:
        return handlers.boards.described("Dusk", variant, content)["moodboard_text"]

    assert "was not analyzed" in told()
    services.studio.analyze("Dusk")
    assert "2 of 2 pictures steer" in told() and "no guidance" in told() and "no guidance" not in told("medium")
    nothing = handlers.boards.described("", "turbo", None)
    assert nothing["moodboard_text"] == "" and not nothing["moodboard_steers"]["visible"]

    content = library.moodboards.get("Dusk").content()
    record = kept(library, moodboard={"name": "Dusk", "content": content.model_dump(mode="json")})
    library.moodboards.delete("Dusk")
    update = handlers.reuse([record.id], 0)
    assert "As recorded in the picture: 2 pictures steer" in update["moodboard_text"]
    assert told(content=update["moodboard_content"]) == update["moodboard_text"]
    assert "There is no moodboard" in told(content={**update["moodboard_content"], "name": "Dawn"})
    assert handlers.reuse([kept(library).id], 0)["moodboard_text"] == ""


def test_results_join_the_chosen_board_by_button_and_by_drop(
    handlers: CreateHandlers, visitor: SimpleNamespace, services: Services, tmp_path: Path
) -> None:
    board(services, "Dusk")
    chosen = {"moodboard": "Dusk", "variant": "turbo", "moodboard_content": None}
    record = kept(services.library)
    pressed = handlers.added_to_board(visitor, [record.id], 0, **chosen)
    assert "«Dusk» has 1 picture now" in pressed["stage"]["value"]
    other = tmp_path / "result.png"
    Image.new("RGB", (64, 64), "teal").save(other)
    dropped = handlers.dropped_on_board(visitor, str(other), **chosen)
    assert dropped["board_file"] is None and "2 pictures" in dropped["stage"]["value"]
    assert len(services.library.moodboards.get("Dusk").images) == 2
    for update in (
        handlers.added_to_board(visitor, [record.id], 0, **{**chosen, "moodboard": ""}),
        handlers.dropped_on_board(visitor, str(other), **{**chosen, "moodboard": ""}),
    ):
        assert "No moodboard is chosen" in update["stage"]["value"]
