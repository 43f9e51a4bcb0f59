"""What a person should know before a recorded picture is drawn again: where it will come out otherwise, and why.

A recipe names the weights that drew its picture by their content. So a checkpoint that was trained anew under its old
name, or replaced in its folder, says so instead of drawing something else in silence; one that only moved does not.
Where nothing is known, nothing is said. What styles a library lacks is told by the library's side.
"""

from krea_studio.direction.references import other_mechanism
from krea_studio.direction.sliders import other_mechanisms
from krea_studio.engine.base import CheckpointInfo, Engine
from krea_studio.recipe.recipe import FIRST_WEIGHTS, Recipe
from krea_studio.settings import environment_variable
from krea_studio.validation import shown

SHOWN_DIGITS = 8


def differences(recipe: Recipe, engine: Engine, variant: str | None = None) -> list[str]:
    """Sentences on what draws otherwise here than it did for the picture of `recipe`; none where all is as it was.

    `variant` is the one that is to draw it, where it is not the recipe's own.
    """
    variant = variant or recipe.variant
    told = (
        _other_weights(recipe, variant, engine.checkpoint_of(variant), engine.weights(variant)),
        other_mechanisms(recipe, engine.abilities(variant).mechanisms()),
        other_mechanism(recipe),
    )
    return [text[:1].upper() + text[1:] for text in told if text]


def _other_weights(recipe: Recipe, variant: str, checkpoint: CheckpointInfo, here: str | None) -> str:
    there, drew = recipe.checkpoint or checkpoint.name, recipe.weights
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
