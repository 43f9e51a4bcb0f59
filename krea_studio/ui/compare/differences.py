"""In what the recipes of several pictures differ, in the page's own words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from krea_studio.direction.references import percent
from krea_studio.direction.sliders import signed
from krea_studio.direction.styles import styles_text
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import SLIDERS, GenerationRequest, label
from krea_studio.recipe.sigmas import sigmas_text
from krea_studio.recipe.variants import VARIANTS

NONE = "none"
SHOWN_DIGITS = 8
NOT_TOLD = ("width", "height", "exploration")
"""What follows from other fields: the size from shape and resolution; how random mode drew, from the values it drew."""

Row = tuple[str, list[str]]


def _references(recipe: Recipe) -> str:
    return ", ".join(f"{each.image[:SHOWN_DIGITS]} at {percent(each.strength)}" for each in recipe.style_references)


def _board(recipe: Recipe) -> str:
    board = recipe.moodboard
    return f"«{board.name}» at {percent(board.strength)}" if board else ""


def _mechanisms(recipe: Recipe) -> str:
    return ", ".join(f"{slider}: {told}" for slider, told in recipe.slider_mechanisms.items())


def _plain(field: str) -> Callable[[Recipe], str]:
    return lambda recipe: "" if (value := getattr(recipe, field)) is None else str(value)


def _slider(slider: str) -> Callable[[Recipe], str]:
    return lambda recipe: signed(recipe.slider_values[slider])


TOLD: Mapping[str, Callable[[Recipe], str]] = {
    "prompt": _plain("prompt"),
    "negative_prompt": _plain("negative_prompt"),
    "expansion": lambda recipe: recipe.expansion.text if recipe.expansion else "",
    "creativity": lambda recipe: recipe.creativity.capitalize(),
    "variant": lambda recipe: VARIANTS[recipe.variant].label,
    "checkpoint": _plain("checkpoint"),
    "weights": lambda recipe: (recipe.weights or "")[:SHOWN_DIGITS],
    "aspect_ratio": _plain("aspect_ratio"),
    "resolution": _plain("resolution"),
    **{slider: _slider(slider) for slider in SLIDERS},
    "style_references": _references,
    "moodboard": _board,
    "styles": lambda recipe: styles_text(recipe.styles),
    "seed": _plain("seed"),
    "steps": _plain("steps"),
    "guidance_scale": lambda recipe: f"{recipe.guidance_scale:g}",
    "sigmas": lambda recipe: sigmas_text(recipe.sigmas) if recipe.sigmas else "",
    "slider_mechanisms": _mechanisms,
    "reference_mechanism": _plain("reference_mechanism"),
}
"""By field of a recipe, in the order in which they are told: its value for people, empty where there is none."""


def differences(recipes: Sequence[Recipe]) -> list[Row]:
    """The fields in which recipes differ: a field's name, and its value in each; none where all are the same.

    What differs and reads the same, such as a moodboard whose pictures changed, is told apart by letters.
    """
    return [
        (_name(field), _told(field, recipes))
        for field in TOLD
        if any(getattr(recipe, field) != getattr(recipes[0], field) for recipe in recipes[1:])
    ]


def _name(field: str) -> str:
    """What the page calls a field: as the control for it, where there is one."""
    named = label(field) if field in GenerationRequest.model_fields else label(field, Recipe)
    return named.replace("_", " ").capitalize() if named == field else named


def _told(field: str, recipes: Sequence[Recipe]) -> list[str]:
    texts = [TOLD[field](recipe) or NONE for recipe in recipes]
    if len(set(texts)) > 1:
        return texts
    values: list[Any] = []
    for recipe in recipes:
        if getattr(recipe, field) not in values:
            values.append(getattr(recipe, field))
    letters = ("ABCD"[values.index(getattr(recipe, field))] for recipe in recipes)
    return [f"{text} ({letter})" for text, letter in zip(texts, letters, strict=True)]
