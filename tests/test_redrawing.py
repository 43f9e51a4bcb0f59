"""What draws otherwise today is told before a picture is drawn again, and nothing is told where nothing changed."""

import pytest

from krea_studio.engine.abilities import Abilities, Ability
from krea_studio.engine.checkpoints.identity import weights_of
from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.recipe.recipe import FIRST_WEIGHTS, Recipe
from krea_studio.recipe.variants import VARIANTS
from krea_studio.redrawing import differences
from krea_studio.settings import Settings
from tests.doubles import ScriptedEngine
from tests.library.pictures.test_metadata import recipe_of

HERE, THERE = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def engine() -> ScriptedEngine:
    """Draws Turbo by the weights `HERE`."""
    engine = ScriptedEngine()
    engine.identities["turbo"] = HERE
    return engine


def old(checkpoint: str = "mini-turbo", variant: str = "turbo") -> Recipe:
    """A recipe from before weights were named, as it is read today."""
    json = recipe_of(checkpoint, variant=variant).as_json()
    return Recipe.from_json({key: value for key, value in json.items() if key != "weights"} | {"schema_version": 1})


def test_the_same_weights_are_no_news(engine: ScriptedEngine) -> None:
    assert differences(recipe_of(weights=HERE), engine) == []
    engine.identities["turbo"] = FIRST_WEIGHTS["mini-turbo"]
    assert differences(old(), engine) == []


def test_a_picture_of_the_first_weights_says_so_with_or_without_their_name(engine: ScriptedEngine) -> None:
    first = FIRST_WEIGHTS["mini-turbo"]
    told = differences(old(), engine)
    assert told == differences(recipe_of(weights=first), engine)
    assert told == [
        f"An earlier Mini turbo (weights {first[:8]}) drew this picture, today's (01234567) will draw something else — "
        "to draw it again, set KREA_STUDIO_CHECKPOINT_TURBO to a folder with those weights."
    ]


def test_a_picture_of_other_weights_says_so(engine: ScriptedEngine) -> None:
    (told,) = differences(recipe_of(weights=THERE), engine)
    assert told.startswith("Another Mini turbo (weights fedcba98) drew this picture, the one here (01234567)")


def test_of_what_is_not_known_nothing_is_said(engine: ScriptedEngine) -> None:
    assert differences(recipe_of(weights=None), engine) == []
    assert old("my/model").weights is None
    engine.identities.clear()
    assert differences(old(), engine) == differences(recipe_of(weights=THERE), engine) == []


def test_another_checkpoint_is_told_and_whether_it_has_the_same_weights(engine: ScriptedEngine) -> None:
    (other,) = differences(recipe_of("mini-medium", weights=THERE), engine)
    assert other == (
        "'mini-medium' drew this picture, 'mini-turbo' runs turbo here — expect a different picture, or set "
        "KREA_STUDIO_CHECKPOINT_TURBO."
    )
    (moved,) = differences(recipe_of("/old/place", weights=HERE), engine)
    assert moved == "'/old/place' drew this picture, 'mini-turbo' runs turbo here, with the same weights."


def test_the_variant_that_is_to_draw_may_be_another(engine: ScriptedEngine) -> None:
    recipe = recipe_of(weights=HERE)
    assert differences(recipe, engine, "turbo") == []
    (told,) = differences(recipe, engine, "medium")
    assert "'mini-medium' runs medium here" in told


def test_another_slider_lora_is_told(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lora = Ability(by="slider LoRA", identity="0123456789ab")
    here = Abilities(controls={"intensity": lora, "movement": Ability(by="text direction")})
    monkeypatch.setattr(engine, "abilities", lambda variant: here)

    def told(**mechanisms: str) -> list[str]:
        return differences(recipe_of(weights=HERE).model_copy(update={"slider_mechanisms": mechanisms}), engine)

    assert told(intensity="slider LoRA 0123456789ab", movement="text direction 99-1") == []
    assert told(intensity="slider LoRA ba9876543210") == [
        "Intensity worked by slider LoRA ba9876543210 there, by slider LoRA 0123456789ab here: expect a different "
        "picture."
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_shipped_weights_other_than_the_first_ones_are_told(variant: str) -> None:
    name = f"mini-{variant}"
    engine = LocalEngine(Settings(**{f"checkpoint_{variant}": name}))
    told = differences(old(name, variant), engine)
    replaced = engine.weights(variant) != FIRST_WEIGHTS[name]
    assert [sentence.startswith(f"An earlier {CHECKPOINTS[name].label}") for sentence in told] == [True] * replaced
    assert differences(recipe_of(name, weights_of(CHECKPOINTS[name]), variant=variant), engine) == []
