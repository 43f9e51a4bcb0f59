"""What a person should know before a recorded picture is drawn again: where it will come out otherwise, and why.

A recipe names the weights that drew its picture by their content. So a checkpoint that was trained anew under its old
name, or replaced in its folder, says so instead of drawing something else in silence; one that only moved does not. A
recipe without such a name is older than the names, and the first weights of its embedded checkpoint are known. Where
nothing is known, nothing is said. What styles a library lacks is told by the library's side.
"""

import re
from collections.abc import Mapping
from typing import Any

from krea_studio.direction.references import other_mechanism
from krea_studio.direction.sliders import other_mechanisms
from krea_studio.engine.base import CheckpointInfo, Engine
from krea_studio.recipe.variants import VARIANTS
from krea_studio.settings import environment_variable
from krea_studio.validation import shown

FIRST_WEIGHTS: Mapping[str, str] = {
    "mini-medium": "571511b0b1d2d386",
    "mini-large": "02a191fd133fa667",
    "mini-turbo": "fe9e9eec0d8bd4fb",
}
"""What drew the pictures whose recipes name no weights, by checkpoint. Never changes: later weights are in recipes."""

SHOWN_DIGITS = 8

_IDENTITY = re.compile(r"[0-9a-f]{8,64}")


def drawn_by(recipe: Mapping[str, Any]) -> str | None:
    """The identity of the weights that drew a recipe's picture; None where that is not known."""
    if "weights" not in recipe:
        checkpoint = recipe.get("checkpoint")
        return FIRST_WEIGHTS.get(checkpoint) if isinstance(checkpoint, str) else None
    weights = recipe["weights"]
    return weights if isinstance(weights, str) and _IDENTITY.fullmatch(weights) else None


def differences(recipe: Mapping[str, Any], engine: Engine, variant: str | None = None) -> list[str]:
    """Sentences on what draws otherwise here than it did for the picture of `recipe`; none where all is as it was.

    `variant` is the one that is to draw it, where it is not the recipe's own. A recipe is taken as it was found in a
    file: one that names no variant cannot be drawn, and has no sentences.
    """
    variant = variant or recipe.get("variant")
    if not isinstance(variant, str) or variant not in VARIANTS:
        return []
    checkpoint = engine.checkpoint_of(variant)
    told = (
        _other_weights(recipe, variant, checkpoint, engine.weights(variant)),
        other_mechanisms(recipe, checkpoint.sliders, checkpoint.slider_loras),
        other_mechanism(recipe),
    )
    return [text[:1].upper() + text[1:] for text in told if text]


def _other_weights(recipe: Mapping[str, Any], variant: str, checkpoint: CheckpointInfo, here: str | None) -> str:
    there, drew = recipe.get("checkpoint") or checkpoint.name, drawn_by(recipe)
    setting = environment_variable(f"checkpoint_{variant}")
    if there != checkpoint.name:
        told = f"{shown(there)} drew this picture, {shown(checkpoint.name)} runs {variant} here"
        if drew and drew == here:
            return f"{told}, with the same weights."
        return f"{told} — expect a different picture, or set {setting}."
    if drew is None or here is None or drew == here:
        return ""
    first = drew == FIRST_WEIGHTS.get(checkpoint.name)
    which, now = ("An earlier", "today's") if first else ("Another", "the one here")
    return (
        f"{which} {checkpoint.label} (weights {drew[:SHOWN_DIGITS]}) drew this picture, {now} ({here[:SHOWN_DIGITS]}) "
        f"will draw something else — to draw it again, set {setting} to a folder with those weights."
    )
