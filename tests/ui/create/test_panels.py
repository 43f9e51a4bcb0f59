"""What every panel of the Create tab keeps to: who gives which field, and that a recipe comes back as it went out."""

from collections import Counter
from typing import Any

import gradio as gr
import pytest

from krea_studio.people import LOCAL
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.services import Services
from krea_studio.ui.create.actions import ActionsPanel
from krea_studio.ui.create.panel import fields_of, reads_of, writes_of
from krea_studio.ui.create.results import LOOKED_AT
from krea_studio.ui.create.tab import CreateTab, build_create_tab
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring
from tests.ui.create.driving import look_of, taken_over, values

EXPANDED = {"text": "a fox in oil", "writer": "person"}
WISHES: dict[str, Any] = {
    "prompt": "a fox", "negative_prompt": "boats", "variant": "medium", "aspect_ratio": "4:5", "resolution": "512",
    "creativity": "high", "expansion": EXPANDED, "intensity": 10, "complexity": -20, "movement": 30,
    "style_references": [{"image": "", "strength": 0.333}, {"image": "", "strength": -0.07}],
    "moodboard": {"name": "Gone", "strength": 0.125}, "random_mode": True, "locked_sliders": ["movement"], "spread": 25,
    "exploration_seed": 4, "seed": 5, "batch": 3, "steps": 3, "guidance_scale": 2.5, "sigmas": [1.0, 0.863123, 0.5],
}  # fmt: skip


@pytest.fixture
def parts(services: Services) -> Parts:
    with gr.Blocks(), gr.Tabs() as tabs, gr.Tab():
        return build_create_tab(services, Visitors(shared=False), tabs).parts


def test_every_field_of_a_request_is_given_by_one_control(create: CreateTab) -> None:
    given = Counter(field for control in create.controls for field in control.fields(values()))
    assert given == Counter(GenerationRequest.model_fields.keys())


def test_every_part_that_is_read_or_written_is_on_the_tab_and_written_by_one_control(
    create: CreateTab, parts: Parts
) -> None:
    assert set(reads_of(create.controls)) <= set(values())
    assert {*reads_of(create.controls), *writes_of(create.controls)} <= set(parts)
    assert len(set(writes_of(create.controls))) == len(writes_of(create.controls))


def test_a_control_gives_its_fields_from_what_it_reads_and_recalls_what_it_writes(create: CreateTab) -> None:
    for control in create.controls:
        control.fields({name: values()[name] for name in control.reads})
        for request in (GenerationRequest(prompt="a fox"), parse_request({**WISHES, "style_references": []})):
            update, remarks = control.recall(request, LOCAL)
            assert set(update) == set(control.writes) and remarks == []


def test_a_request_comes_back_from_the_parts_that_it_was_written_into(create: CreateTab, services: Services) -> None:
    looks = [look_of(services.library, colour) for colour in ("red", "teal")]
    references = [{**each, "image": look} for each, look in zip(WISHES["style_references"], looks, strict=True)]
    request = parse_request({**WISHES, "style_references": references})
    update = {name: value for control in create.controls for name, value in control.recall(request, LOCAL)[0].items()}
    assert parse_request(fields_of(create.controls, taken_over(values(), update))) == request


def test_the_actions_of_a_picture_stand_on_another_tab_too(create: CreateTab, services: Services, parts: Parts) -> None:
    recall = create.recall
    actions = ActionsPanel(services.library, Visitors(shared=False), recall, create.references, create.moodboard)
    with gr.Blocks() as page:
        parts |= {name: gr.State() for name in LOOKED_AT}
        actions.build(parts)
        actions.wire(Wiring(parts))
    own = {parts[name]._id for name in LOOKED_AT}
    clicks = [each for each in page.fns.values() if each.inputs]
    assert len(clicks) == 6 and all(own <= {part._id for part in each.inputs} for each in clicks)
