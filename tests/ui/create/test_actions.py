"""What is done with the looked-at picture."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from krea_studio.recipe.request import SLIDERS
from krea_studio.services import Services
from krea_studio.ui.create.actions import NEAR_SPREAD, REPORTED
from krea_studio.ui.create.tab import CreateTab, build_create_tab
from krea_studio.ui.visitors import Visitors
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import BROWSER, ME, board, kept, of_controls, run


def test_pin_writes_values_and_seed_and_ends_random_mode(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    updates = run(create, visitor, random_mode=True, batch=4, lock_movement=True, movement=20)
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    shot = engine.plans[1].shots[0]
    pinned = of_controls(create.actions.pin(ME, "", ids, 1))
    assert pinned == {
        **{s: getattr(shot, s) for s in SLIDERS},
        "random_mode": False,
        "seed": str(shot.seed),
        "random_seed": False,
    }
    run(create, visitor, **pinned)
    (again,) = engine.plans[4].shots
    assert again == shot.model_copy(update={"exploration": None})


def test_around_a_picture_that_is_gone_starts_no_run(create: CreateTab) -> None:
    with pytest.raises(gr.Error, match="not in the library any more"):
        create.actions.draw_around(ME, "", ["gone"], 0)


def test_around_draws_near_the_picture(create: CreateTab, visitor: SimpleNamespace, engine: PageEngine) -> None:
    updates = run(create, visitor, random_mode=True)
    ids = [update for update in updates if "shown_ids" in update][-1]["shown_ids"]
    near = of_controls(create.actions.draw_around(ME, "", ids, 0))
    run(create, visitor, batch=4, **near)
    centre = engine.plans[0].shots[0]
    for shot in (each.shots[0] for each in engine.plans[1:]):
        for slider in SLIDERS:
            assert abs(getattr(shot, slider) - getattr(centre, slider)) <= NEAR_SPREAD


def test_results_join_the_chosen_board_by_button_and_by_drop(
    create: CreateTab, visitor: SimpleNamespace, services: Services, tmp_path: Path
) -> None:
    board(services, "Dusk")
    chosen = {"moodboard": "Dusk", "variant": "turbo", "guidance_scale": "", "moodboard_content": None}
    record = kept(services.library)
    pressed = create.actions.add_to_board(visitor, "", [record.id], 0, **chosen)
    assert "«Dusk» has 1 picture now" in pressed["stage"]["value"]
    other = tmp_path / "result.png"
    Image.new("RGB", (64, 64), "teal").save(other)
    dropped = create.moodboard.drop(visitor, str(other), **chosen)
    assert dropped["board_file"] is None and "2 pictures" in dropped["stage"]["value"]
    assert len(services.library.moodboards.get("Dusk").images) == 2
    for update in (
        create.actions.add_to_board(visitor, "", [record.id], 0, **{**chosen, "moodboard": ""}),
        create.moodboard.drop(visitor, str(other), **{**chosen, "moodboard": ""}),
    ):
        assert "No moodboard is chosen" in update["stage"]["value"]


def test_a_report_is_noted_for_who_runs_the_studio(
    create: CreateTab, visitor: SimpleNamespace, services: Services
) -> None:
    record = kept(services.library)
    assert REPORTED in create.actions.report(visitor, "", [record.id], 0)["stage"]["value"]
    assert [each.picture for each in services.library.reports.all()] == [record.id]
    assert "not in the library any more" in create.actions.report(visitor, "", ["gone"], 0)["stage"]["value"]


def test_a_report_on_a_shared_page_is_the_browser_s_own(services: Services, visitor: SimpleNamespace) -> None:
    own, other = (kept(services.library, owner=f"browser-{browser}") for browser in (BROWSER, "f" * 32))
    actions = CreateTab(services, Visitors(shared=True)).actions
    assert REPORTED in actions.report(visitor, BROWSER, [own.id], 0)["stage"]["value"]
    assert REPORTED not in actions.report(visitor, BROWSER, [other.id], 0)["stage"]["value"]
    assert [each.reporter for each in services.library.reports.all()] == [f"browser-{BROWSER}"]


@pytest.mark.parametrize("shared", [False, True])
def test_the_report_is_under_pictures_of_shared_pages(services: Services, shared: bool) -> None:
    with gr.Blocks(), gr.Tabs() as tabs, gr.Tab("Create"):
        parts = build_create_tab(services, Visitors(shared), tabs).parts
    assert parts["report"].visible == shared
