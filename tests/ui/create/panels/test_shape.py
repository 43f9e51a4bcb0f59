"""What is told of a variant, and what starting points set."""

from types import SimpleNamespace

import pytest

from krea_studio.direction.sliders import STARTING_POINTS, StartingPoint
from krea_studio.recipe.request import SLIDERS
from krea_studio.ui.create.panels.sliders import SlidersPanel
from krea_studio.ui.create.tab import CreateTab
from tests.ui.conftest import PageEngine


def test_a_variant_that_cannot_run_says_why(create: CreateTab, engine: PageEngine) -> None:
    engine.missing = {"large": "No open checkpoint is published — choose Medium."}
    assert ("Large (unavailable)", "large") in create.shape.variants()
    assert ("Turbo", "turbo") in create.shape.variants()
    update = create.shape.describe_variant("large")
    assert "No open checkpoint" in update["variant_text"]


def test_words_and_examples_belong_to_the_embedded_model(create: CreateTab, engine: PageEngine) -> None:
    update = create.shape.describe_variant("turbo")
    assert update["examples"].raw_samples == [["a fox at dusk"], ["a crowded sea"]]
    assert update["world"]["visible"] is True
    assert "8 steps and guidance 0" in update["defaults"]
    engine.vocabulary = None
    update = create.shape.describe_variant("medium")
    assert (update["world"]["visible"], update["words_group"]["visible"]) == (False, False)
    assert "28 steps and guidance 4.5" in update["defaults"]


@pytest.mark.parametrize("point", STARTING_POINTS)
def test_a_starting_point_sets_the_sliders(create: CreateTab, visitor: SimpleNamespace, point: StartingPoint) -> None:
    update = SlidersPanel().start(point)
    assert {slider: update[slider] for slider in SLIDERS} == point.values
    assert (update["random_mode"], update["random_panel"]["visible"]) == (point.random_mode, point.random_mode)
