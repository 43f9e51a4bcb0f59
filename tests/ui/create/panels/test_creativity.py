"""Creativity on the page: the level, and the expanded prompt in its box."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from krea_studio.library.store import Library
from krea_studio.runs.run import Kind
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create.panels.creativity import BOX, EXPAND, WATCH
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.fragments import DEFECT
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import shown_of, timer_of
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import BROWSER, ME, run, values


class TestCreativity:
    def begun(self, create: CreateTab, visitor: SimpleNamespace, **changed: Any) -> dict[str, Any]:
        fixed = {"creativity": "medium", "seed": "7", "random_seed": False}
        return create.creativity.expand(visitor, **values(**{**fixed, **changed}))

    def followed(self, create: CreateTab, visitor: SimpleNamespace, **now: Any) -> dict[str, Any]:
        """What the timer draws after every run has ended."""
        runs = create.services.runs
        for each in runs.of(kind=Kind.EXPAND):
            while not each.state.ended:
                each = runs.watch(each.id, since=each.version, seconds=60)
        box = {"browser": "", "expansions_shown": [], "prompt": "a fox", "creativity": "medium"}
        return create.creativity.follow_expansions(visitor, **{**box, **now})

    def expanded(self, create: CreateTab, **changed: Any) -> dict[str, Any]:
        """What pressing the button shows in the end."""
        visitor = SimpleNamespace(username=None, session_hash="one")
        update = self.begun(create, visitor, **changed)
        if "stage" in update:
            return update
        assert (update["expand"]["value"], update["expand"]["interactive"]) == ("Expanding…", False)
        assert update[timer_of(WATCH)]["active"] is True
        now = {name: changed[name] for name in ("prompt", "creativity") if name in changed}
        update = self.followed(create, visitor, **now)
        assert (update["expand"]["value"], update["expand"]["interactive"]) == (EXPAND, True)
        assert update[timer_of(WATCH)]["active"] is False
        return update

    def test_the_expanded_prompt_is_shown_and_drawn_as_it_stands(
        self, create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        shown = self.expanded(create)
        assert shown["expansion_group"]["visible"] is True
        assert "phrasebook" in shown["expansion_note"] and "seed 7" in shown["expansion_note"]
        box = {name: shown[name] for name in ("expanded_prompt", "expansion")}
        run(create, visitor, creativity="medium", **box)
        edited = {**box, "expanded_prompt": box["expanded_prompt"] + ", in oil"}
        run(create, visitor, creativity="medium", **edited)
        first, second = (each.shots[0].expansion for each in engine.plans)
        assert (first.text, first.edited, first.writer) == (box["expanded_prompt"], False, "phrasebook")
        assert (second.text, second.edited) == (edited["expanded_prompt"], True)

    def test_what_was_written_for_another_prompt_or_level_is_not_drawn(
        self, create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        shown = self.expanded(create)
        box = {name: shown[name] for name in ("expanded_prompt", "expansion")}
        for changed in ({"prompt": "a whale"}, {"creativity": "high"}):
            now = {"prompt": "a fox", "creativity": "medium", **changed}
            assert create.creativity.change(**now, **box)["expanded_prompt"] == ""
            run(create, visitor, **now, **box)
            drawn = engine.plans[-1].shots[0]
            assert drawn.expansion.seed == drawn.seed != box["expansion"]["written"]["seed"]
            edited = {**box, "expanded_prompt": "a fox in oil"}
            told = create.creativity.change(**now, **edited)
            assert "another prompt or level" in told["expansion_note"] and "expanded_prompt" not in told
            run(create, visitor, **now, **edited)
            assert engine.plans[-1].shots[0].conditioning_prompt == "a fox in oil"
        same = create.creativity.change("a fox ", "medium", **box)
        assert "expanded_prompt" not in same and same["expansion_group"]["visible"] is True
        assert same["expansion_note"] == shown["expansion_note"], "what was told of another prompt is told no longer"

    @pytest.mark.parametrize("now", [{"prompt": "a whale"}, {"creativity": "high"}, {"creativity": "raw"}])
    def test_what_was_changed_while_the_writer_wrote_leaves_the_box_alone(
        self, create: CreateTab, page: SimpleNamespace, now: dict[str, str]
    ) -> None:
        self.begun(create, page)
        update = self.followed(create, page, **now)
        assert not set(update) & {*BOX, "prompt", "creativity", "stage"}
        assert update["expand"]["interactive"] is True

    def test_the_button_says_that_it_works_until_the_text_is_there(
        self, create: CreateTab, page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released, studio = threading.Event(), create.services.studio
        write = studio.expand
        monkeypatch.setattr(studio, "expand", lambda *arguments: write(*arguments) if released.wait(60) else None)
        self.begun(create, page)
        update = create.creativity.follow_expansions(page, "", [], "a fox", "medium")
        assert update["expand"]["value"] == "Expanding…" and update[timer_of(WATCH)]["active"] is True
        assert not set(update) & set(BOX)
        released.set()
        update = self.followed(create, page)
        assert "fox" in update["expanded_prompt"]
        again = self.followed(create, page, expansions_shown=update[shown_of(WATCH)])
        assert not set(again) & {*BOX, "stage"}, "it comes once"

    def test_a_page_that_is_loaded_again_gets_prompt_level_and_text(
        self, create: CreateTab, page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released, studio = threading.Event(), create.services.studio
        write = studio.expand
        monkeypatch.setattr(studio, "expand", lambda *arguments: write(*arguments) if released.wait(60) else None)
        self.begun(create, page, creativity="high")
        loaded = SimpleNamespace(username=None, session_hash="two")
        assert create.creativity.find_again(loaded, "")["expand"]["value"] == "Expanding…"
        released.set()
        update = self.followed(create, loaded, prompt="")
        assert (update["prompt"], update["creativity"]) == ("a fox", "high")
        assert update["expansion"]["prompt"] == "a fox" and "fox" in update["expanded_prompt"]
        later = SimpleNamespace(username=None, session_hash="three")
        assert timer_of(WATCH) not in create.creativity.find_again(later, "")

    def test_a_stranger_sees_no_other_s_expansion(
        self, services: Services, page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released = threading.Event()
        create = CreateTab(services, Visitors(shared=True))
        monkeypatch.setattr(services.studio, "expand", lambda *arguments: released.wait(60))
        for browser in (BROWSER, ""):
            self.begun(create, page, browser=browser)
        other = SimpleNamespace(username=None, session_hash="two")
        for browser in ("f" * 32, ""):
            assert timer_of(WATCH) not in create.creativity.find_again(other, browser)
        assert timer_of(WATCH) in create.creativity.find_again(other, BROWSER)
        released.set()

    def test_a_defect_gives_the_button_back(self, create: CreateTab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(create.services.studio, "expand", lambda *arguments: 1 / 0)
        assert DEFECT in self.expanded(create)["stage"]["value"]

    def test_without_a_box_every_picture_s_prompt_is_written_out(
        self, create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        run(create, visitor, creativity="high", batch=2, random_seed=False, seed="7")
        assert [plan.shots[0].expansion.seed for plan in engine.plans] == [7, 8]

    def test_at_raw_the_box_has_no_effect_and_is_kept(
        self, create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
    ) -> None:
        run(create, visitor, creativity="raw", expanded_prompt="a fox in oil", expansion=None)
        assert engine.plans[0].shots[0].conditioning_prompt == "a fox"
        hidden = create.creativity.change("a fox", "raw", "a fox in oil", None)
        again = create.creativity.change("a fox", "low", "a fox in oil", None)
        assert hidden["expansion_group"]["visible"] is False and again["expansion_group"]["visible"] is True
        assert "expanded_prompt" not in hidden

    def test_what_cannot_be_expanded_is_one_notice(self, create: CreateTab) -> None:
        for changed, words in (({"prompt": ""}, "Prompt is empty"), ({"creativity": "raw"}, "Creativity is raw")):
            assert words in self.expanded(create, **changed)["stage"]["value"]

    def test_a_recipe_brings_its_expansion_back(
        self, create: CreateTab, visitor: SimpleNamespace, library: Library
    ) -> None:
        run(create, visitor, creativity="medium")
        (record,) = library.recent(1)
        update = create.actions.reuse(ME, "", [record.id], 0)
        assert update["creativity"] == "medium"
        assert update["expanded_prompt"] == record.recipe.expansion.text
        assert update["expansion"]["written"] == record.recipe.expansion.model_dump(mode="json")
        assert "phrasebook" in fragments.details(record)
