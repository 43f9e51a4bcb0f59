"""Controls that cannot work with the chosen variant: greyed with the reason, kept, and no part of a run."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from krea_studio.engine.abilities import Ability
from krea_studio.recipe.request import SLIDERS
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.controls import mechanism_of
from krea_studio.ui.create.abilities import NO_GUIDANCE, NO_SLIDER
from krea_studio.ui.create.panels.sliders import LOCKS
from krea_studio.ui.create.panels.styles import TRIGGERS, WEIGHTS
from krea_studio.ui.create.tab import CreateTab, build_create_tab
from krea_studio.ui.visitors import Visitors
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import board, look_of, run, stages, values

DAMAGED = Ability(reason="Its file is <damaged>")


def greyed(update: dict[str, Any]) -> set[str]:
    """The parts that an update greys; it says of each that is a control whether it can be used."""
    return {name for name, value in update.items() if isinstance(value, dict) and value.get("interactive") is False}


def told(update: dict[str, Any], field: str) -> str:
    """What stands beside a control."""
    line = update[mechanism_of(field)]
    assert line["visible"] is bool(line["value"])
    return line["value"]


def test_beside_each_slider_stands_by_what_it_works_or_why_not(create: CreateTab, engine: PageEngine) -> None:
    engine.controls = {
        "intensity": Ability(by="slider LoRA"),
        "complexity": Ability(by="text direction", bounds=(-50, 50)),
        "movement": DAMAGED,
        "moodboard": Ability(by="reference attention"),
        "style_references": Ability(by="reference attention", bounds=(0, 2)),
    }
    update = create.abilities.describe("medium", "")
    assert told(update, "intensity") == "<p>Slider LoRA</p>"
    assert told(update, "complexity") == "<p>Text direction, from −50 to 50</p>"
    assert told(update, "movement") == fragments.reason(["Its file is <damaged>.", fragments.KEPT])
    assert (told(update, "moodboard"), told(update, "style_references")) == ("", "<p>From 0 to 2</p>")
    assert greyed(update) == {"movement", "lock_movement"}
    engine.controls = {}
    update = create.abilities.describe("medium", "")
    assert greyed(update) == set() and not any(told(update, slider) for slider in SLIDERS)


@pytest.mark.parametrize(
    ("variant", "guidance", "works"),
    [
        *(("turbo", "", False), ("turbo", "3", True), ("turbo", "0", False)),
        *(("medium", "", True), ("medium", "0.0", False), ("medium", " 2 ", True), ("medium", None, True)),
        ("turbo", "many", True),  # the run is refused for it
    ],
)
def test_a_negative_prompt_needs_guidance(create: CreateTab, variant: str, guidance: str | None, works: bool) -> None:
    update = create.abilities.describe(variant, guidance)
    assert update["negative_prompt"]["interactive"] is works
    assert (NO_GUIDANCE in told(update, "negative_prompt")) is not works


def test_what_is_set_on_a_control_stays_whatever_the_variant(create: CreateTab, engine: PageEngine) -> None:
    engine.controls = dict.fromkeys((*SLIDERS, "moodboard", "styles", "style_references"), DAMAGED)
    for variant in ("turbo", "medium"):
        update = create.abilities.describe(variant, "")
        beside = {"greyed", *(mechanism_of(field) for control in create.controls for field in control.parts_by_field)}
        assert not any("value" in value for name, value in update.items() if name not in beside)


def test_a_negative_prompt_that_cannot_work_is_not_sent_and_comes_back_with_the_variant(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    for variant, sent in (("turbo", ""), ("medium", "boats"), ("turbo", "")):
        assert stages(run(create, visitor, negative_prompt="boats", variant=variant))[-1] == ""
        assert engine.plans[-1].shots[0].negative_prompt == sent
    assert "steps" in stages(run(create, visitor, negative_prompt="boats", steps="-1"))[-1].casefold()


WISHED: dict[str, Any] = {"intensity": 20, "complexity": -30, "negative_prompt": "boats", "variant": "medium"}


def test_what_is_greyed_is_left_out_of_the_run(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, services: Services
) -> None:
    look = look_of(services.library, "teal")
    board(services, "Dusk", look)
    services.studio.analyze("Dusk")
    engine.controls = dict.fromkeys(("intensity", "moodboard", "style_references", "negative_prompt", "steps"), DAMAGED)
    shown = create.abilities.describe("medium", "")["greyed"]
    services.library.references.path(look).unlink()
    wished = {**WISHED, "references": [look], "moodboard": "Dusk", "steps": "many"}
    assert stages(run(create, visitor, **wished, greyed=shown))[-1] == ""
    shot = engine.plans[0].shots[0]
    assert (shot.sliders, shot.negative_prompt, shot.moodboard, shot.style_references) == (
        {"complexity": -30},
        "",
        None,
        (),
    )


def test_what_has_ceased_to_work_since_is_refused_with_the_reason(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    shown = create.abilities.describe("medium", "")["greyed"]
    engine.controls = {"intensity": DAMAGED, "complexity": Ability(by="text direction", bounds=(-25, 25))}
    assert "Intensity does not work here. Its file" in stages(run(create, visitor, **WISHED, greyed=shown))[-1]
    shown = create.abilities.describe("medium", "")["greyed"]
    assert "Complexity is −30, and works from −25 to 25" in stages(run(create, visitor, **WISHED, greyed=shown))[-1]
    assert engine.plans == []
    engine.controls = {}
    run(create, visitor, **WISHED, greyed=shown)
    assert engine.plans[0].shots[0].intensity == 20, "what works again is used"


def test_random_mode_leaves_sliders_alone_that_do_not_work(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    engine.controls = {"intensity": DAMAGED}
    wished = {**WISHED, "random_mode": True, "lock_movement": True, "batch": 2}
    shown = create.abilities.describe("medium", "")["greyed"]
    assert stages(run(create, visitor, **wished, greyed=shown))[-1] == ""
    shots = [plan.shots[0] for plan in engine.plans]
    assert {(shot.intensity, shot.movement) for shot in shots} == {(0, 0)}
    assert len({shot.complexity for shot in shots}) == 2


def test_without_any_slider_there_is_no_random_mode(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine
) -> None:
    engine.controls = dict.fromkeys(SLIDERS, DAMAGED)
    update = create.abilities.describe("medium", "")
    assert {*SLIDERS, *LOCKS, "random_mode", "spread"} <= greyed(update) and NO_SLIDER in told(update, "random_mode")
    assert stages(run(create, visitor, **WISHED, random_mode=True, greyed=update["greyed"]))[-1] == ""
    assert engine.plans[0].shots[0].sliders == {}


def test_every_control_that_an_engine_may_lack_has_its_parts_and_a_line(
    create: CreateTab, services: Services, engine: PageEngine
) -> None:
    with gr.Blocks(), gr.Tabs() as tabs, gr.Tab():
        parts = build_create_tab(services, Visitors(shared=False), tabs).parts
    fields = {field for control in create.controls for field in control.parts_by_field}
    assert fields <= set(create.abilities.fields(values()))
    engine.controls = dict.fromkeys(fields, DAMAGED)
    update = create.abilities.describe("turbo", "")
    assert set(update) <= set(parts) and set(update["greyed"]) == fields
    assert {*WEIGHTS, *TRIGGERS, "reference_file", "moodboard", "add_style", "steps", "guidance_scale"} <= greyed(
        update
    )


@pytest.mark.parametrize("variant", ["", "huge", None, ["turbo"]])
def test_a_variant_that_is_none_is_refused(
    create: CreateTab, visitor: SimpleNamespace, engine: PageEngine, variant: Any
) -> None:
    assert "Variant" in stages(run(create, visitor, variant=variant))[-1] and engine.plans == []
