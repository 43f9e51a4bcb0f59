"""What happens on the tab Sweep: what would be is told, cells come as they are drawn, nothing is drawn twice."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from krea_studio.library.pictures.sheets import read_sweep
from krea_studio.library.store import Library
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.notices import visible
from tests.doubles import REFUSED_SEED, JudgedByColour, drawn
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import BROWSER, ME, Tab, kept, values
from tests.ui.sweep.conftest import LIMIT_SECONDS, SweepPage, cells, table

AXES = {"x_what": "intensity", "x_values": "-50:50:50", "y_what": "words", "y_values": "fox → owl"}


@pytest.fixture
def known(engine: PageEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's weights are known, and stand in every recipe."""
    engine.identities = {"turbo": "a" * 16}
    plain = Shot.recipe
    monkeypatch.setattr(Shot, "recipe", lambda shot, made, **facts: plain(shot, made, **{"weights": "a" * 16, **facts}))


def foreseen(sweep: SweepPage, **changed: Any) -> dict[str, Any]:
    return sweep.handlers.foresee(sweep.visitor, sweep.browser, **sweep.boxes(**changed))


def test_what_would_be_is_told_before(sweep: SweepPage, known: None) -> None:
    assert "6 pictures" in foreseen(sweep, **AXES)["sweep_plan"]
    assert "seed 3" in foreseen(sweep, **AXES)["sweep_base"] and "a fox" in foreseen(sweep, **AXES)["sweep_base"]
    assert "one new seed for all" in foreseen(sweep, **AXES, random_seed=True)["sweep_base"]
    assert "Describe a picture on Create first" in foreseen(sweep, **AXES, prompt=" ")["sweep_plan"]
    assert "Nothing varies yet" in foreseen(sweep)["sweep_plan"]
    assert "Give the values" in foreseen(sweep, x_what="seed")["sweep_plan"]
    sweep.start(x_what="intensity", x_values="-50,0")
    sweep.ended()
    told = foreseen(sweep, **AXES)["sweep_plan"]
    assert "6 pictures, 2 of them here already, about" in told


def test_what_is_wrong_is_said_where_it_is_and_nothing_is_drawn(sweep: SweepPage, engine: PageEngine) -> None:
    for boxes, part, told in (
        ({"x_what": "intensity", "x_values": "0:9:0"}, "x_error", "step 0"),
        ({**AXES, "z_what": "intensity", "z_values": "1,2"}, "z_error", "Intensity is on two axes"),
        ({"y_what": "style", "y_values": "<b>"}, "sweep_plan", "&lt;b&gt;"),
        ({"x_what": "seed", "x_values": "1:101"}, "sweep_plan", "of at most 100"),
        ({}, "sweep_plan", "Nothing varies yet"),
        ({**AXES, "random_mode": True}, "sweep_plan", "Random mode is on"),
    ):
        for update in (foreseen(sweep, **boxes), sweep.start(**boxes)):
            said = update[part]["value"] if isinstance(update[part], dict) else update[part]
            assert told in said, (boxes, said)
    assert sweep.run == "" and engine.plans == [] and sweep.services.runs.of() == []
    assert "101 pictures" in foreseen(sweep, x_what="seed", x_values="1:101", sweep_allow=True)["sweep_plan"]


def test_the_table_shows_every_cell_with_its_values(sweep: SweepPage) -> None:
    sweep.start(**AXES)
    run = sweep.ended()
    update = sweep.press("news")
    assert table(update).startswith("Intensity × Words: fox a fox 6 of 6 pictures")
    assert "−50 0 50 fox owl" in table(update)
    found = cells(update)
    assert list(found) == [f"Intensity {x}, {word}" for word in ("fox", "fox → owl") for x in ("−50", "0", "50")]
    by_id = {record.id: record.recipe for record in run.finished}
    recipe = by_id[found["Intensity −50, fox → owl"]]
    assert (recipe.intensity, recipe.prompt, recipe.seed) == (-50, "a owl", 3)
    assert not update["sweep_go_on"]["visible"] and not update["sweep_stop"]["visible"]


def test_a_third_axis_is_a_table_for_each_of_its_values(sweep: SweepPage) -> None:
    sweep.start(**AXES, z_what="seed", z_values="8,9")
    sweep.ended()
    update = sweep.press("news")
    assert update["sweep_stage"]["value"].count("<table") == 2
    assert "Seed 8 Intensity" in table(update) and "Seed 9 Intensity" in table(update) and len(cells(update)) == 12


def stopped_in_its_third(sweep: SweepPage, engine: PageEngine, **changed: Any) -> None:
    """A sweep of five that was stopped while its third picture was drawn."""

    def stop() -> None:
        sweep.services.runs.stop(sweep.services.runs.of()[-1].id)

    shots: list[Shot] = []
    plain = engine.run

    def run(plan: Any, *others: Any) -> None:
        shots.append(plan.shots[0])
        engine.scripts = [[stop, *drawn(plan.shots[0])]] if len(shots) == 3 else []
        plain(plan, *others)

    engine.run = run  # type: ignore[method-assign]
    sweep.start(x_what="seed", x_values="1:5", **changed)
    sweep.ended()
    engine.run = plain  # type: ignore[method-assign]


def test_no_second_sweep_begins_while_one_is_drawn_and_create_shows_none(sweep: SweepPage, engine: PageEngine) -> None:
    begun, refused = threading.Event(), []
    other = Tab(CreateTab(sweep.services, sweep.handlers._visitors), SimpleNamespace(username=None, session_hash="two"))

    def start_again() -> None:
        assert begun.wait(LIMIT_SECONDS)
        refused.append(sweep.handlers.begin(**sweep.shown, **sweep.boxes(x_what="seed", x_values="1:3")))
        other.open()

    engine.scripts = [[start_again, *drawn(plan(sweep.handlers._request(values(seed="1")), 1).shots[0])]]
    update = sweep.start(x_what="seed", x_values="1:3")
    begun.set()
    sweep.ended()
    assert not update["sweep_begin"]["interactive"] and sweep.press("news")["sweep_begin"]["interactive"]
    assert "A sweep is being drawn" in refused[0]["sweep_plan"] and len(engine.plans) == 3
    assert len(other.updates) == 1 and "data-run" not in other.stage


def test_stop_keeps_what_there_is_and_go_on_draws_the_rest(sweep: SweepPage, engine: PageEngine) -> None:
    stopped_in_its_third(sweep, engine)
    stopped = sweep.press("news")
    assert "2 of 5 pictures Stopped. Finished pictures are kept. Go on draws the other 3." in table(stopped)
    assert stopped["sweep_go_on"]["visible"] and not stopped["sweep_stop"]["visible"]
    before, drawn_before = cells(stopped), len(engine.plans)
    assert sweep.press("go_on")["sweep_stop"]["visible"]
    sweep.ended()
    after = cells(sweep.press("news"))
    assert len(after) == 5 and before.items() <= after.items()
    assert [plan.shots[0].seed for plan in engine.plans[drawn_before:]] == [3, 4, 5], "no cell is drawn twice"


def test_a_stopped_sweep_is_found_again_by_another_page_of_another_server(
    sweep: SweepPage, engine: PageEngine, library: Library
) -> None:
    stopped_in_its_third(sweep, engine)
    sweep.services.runs.close()
    services = services_over(Settings(library=library.folder), library, engine, engine)
    try:
        other = SweepPage(services)
        update = other.takes(other.handlers.open(**other.shown, sweep_cell="", **other.boxes()))
        assert other.run == sweep.run and len(cells(update)) == 2 and update["sweep_go_on"]["visible"]
        other.press("go_on")
        other.ended()
        assert len(cells(other.press("news"))) == 5
    finally:
        services.runs.close()


def test_a_stranger_finds_no_sweep_and_opens_no_cell(services: Services) -> None:
    mine = SweepPage(services, shared=True, browser=BROWSER)
    mine.start(**AXES)
    mine.ended()
    picture = next(iter(cells(mine.press("news")).values()))
    for browser in ("", "f" * 32):
        stranger = SweepPage(services, shared=True, browser=browser)
        opened = stranger.handlers.open(**stranger.shown, sweep_cell="", **stranger.boxes())
        assert "sweep_stage" not in opened
        stranger.run = mine.run
        choice = SimpleNamespace(picture=picture)
        assert "There is no run" in stranger.handlers.open_cell(choice, **stranger.shown)["sweep_notice"]["value"]
        reused = stranger.handlers.reuse(stranger.visitor, browser, picture)
        assert "not there any more" in reused["sweep_notice"]["value"] and "prompt" not in reused


def test_a_cell_opens_and_its_settings_go_into_create(sweep: SweepPage) -> None:
    sweep.start(**AXES)
    sweep.ended()
    picture = cells(sweep.press("news"))["Intensity 50, fox → owl"]
    opened = sweep.takes(sweep.handlers.open_cell(SimpleNamespace(picture=picture), **sweep.shown))
    assert "Intensity 50, fox → owl" in opened["sweep_picture"] and opened["sweep_opened"]["visible"]
    assert 'aria-current="true"' in opened["sweep_stage"]["value"] and sweep.cell == picture
    reused = sweep.handlers.reuse(sweep.visitor, "", sweep.cell)
    assert (reused["prompt"], reused["intensity"], reused["seed"]) == ("a owl", 50, "3")
    assert reused["tabs"].selected == "create"
    closed = sweep.takes(sweep.handlers.close_cell(**sweep.shown))
    assert sweep.cell == "" and "aria-current" not in closed["sweep_stage"]["value"]


def test_a_picture_that_was_refused_is_named_and_not_drawn_again(sweep: SweepPage) -> None:
    sweep.services.studio.content_filter = ContentFilter(JudgedByColour())
    sweep.start(x_what="seed", x_values=f"{REFUSED_SEED - 1}, {REFUSED_SEED}, {REFUSED_SEED + 1}")
    assert sweep.ended().withheld == {1}
    update = sweep.press("news")
    assert "2 of 3 pictures" in table(update) and "refused" in table(update)
    assert f"did not pass the picture of seed {REFUSED_SEED}" in table(update) and "Go on" not in table(update)
    assert update["sweep_go_on"] == visible(False)


def test_a_picture_that_was_deleted_is_named_and_one_that_was_lost_is_drawn_again(
    sweep: SweepPage, library: Library
) -> None:
    sweep.start(x_what="seed", x_values="1:4")
    run = sweep.ended()
    first, second = run.finished[:2]
    library.bin.delete(first.id)
    second.path.unlink()
    update = sweep.press("news")
    assert "deleted not there any more" in table(update) and "2 of 4 pictures" in table(update)
    assert "Go on draws the other 1." in table(update)
    gone = sweep.handlers.open_cell(SimpleNamespace(picture=first.id), **sweep.shown)
    assert "not there any more" in gone["sweep_notice"]["value"]
    sweep.press("go_on")
    sweep.ended()
    assert [each.split()[-1] for each in cells(sweep.press("news"))] == ["2", "3", "4"]


def test_the_sheet_gives_the_sweep_back_on_both_tabs(sweep: SweepPage, known: None, engine: PageEngine) -> None:
    sweep.start(**AXES)
    sweep.ended()
    path = sweep.handlers.sheet(**sweep.shown)["sweep_download"]
    assert read_sweep(path) == sweep.services.runs.watch(sweep.run).asked
    create = CreateTab(sweep.services, sweep.handlers._visitors)
    on_create = create.recall.drop(ME, path, "")
    assert "stage" not in on_create and on_create["settings_file"] is None
    there = sweep.handlers.take_sheet(ME, on_create["sheet"])
    here = sweep.handlers.drop(ME, path)
    assert there["tabs"].selected == "sweep" and sweep.handlers.take_sheet(ME, None) == {}
    for update in (there, here):
        rows = {name: getattr(update[name], "get", lambda _, value=update[name]: value)("value") for name in AXES}
        assert rows == {**AXES, "x_values": "-50, 0, 50"}
        assert (update["prompt"], update["seed"], update["batch"]) == ("a fox", "3", 1)
    drawn_before = len(engine.plans)
    sweep.start(**rows, sweep_kept=here["sweep_kept"])
    assert len(sweep.ended().finished) == 6 and len(engine.plans) == drawn_before


def test_what_is_no_sheet_is_refused(sweep: SweepPage, library: Library, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "stranger.png")
    (tmp_path / "words.png").write_text("words")
    for path, told in (
        (kept(library).path, "is a picture and no sheet of a sweep"),
        (tmp_path / "stranger.png", "is a picture and no sheet of a sweep"),
        (tmp_path / "words.png", "words.png is not a PNG"),
    ):
        update = sweep.handlers.drop(ME, str(path))
        assert told in update["sweep_notice"]["value"] and str(tmp_path) not in update["sweep_notice"]["value"]
        assert set(update) == {"sweep_file", "sweep_notice"}
    assert sweep.handlers.drop(ME, None) == {"sweep_file": None}
    create = CreateTab(sweep.services, sweep.handlers._visitors)
    refused = create.recall.drop(ME, str(tmp_path / "stranger.png"), "")
    assert "holds no settings" in refused["stage"]["value"] and refused["sheet"] is None


def test_a_run_of_another_kind_is_no_sweep(sweep: SweepPage, services: Services) -> None:
    request = sweep.handlers._request(values())
    sweep.run = services.runs.submit(request)
    sweep.ended()
    assert "is no sweep" in sweep.press("news")["sweep_notice"]["value"]
