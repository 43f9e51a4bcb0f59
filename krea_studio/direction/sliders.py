"""What the generative sliders mean: the poles of each in words, and starting points for a person.

Both mechanisms learn a slider from the same contrasts: one scene said twice, once with the words of the negative pole
and once with those of the positive one. A model that knows a small world gets its own words, any other one plain
English over varied subjects and media.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import SLIDERS

SLIDER_LORA = "slider LoRA"
TEXT_DIRECTION = "text direction"
MECHANISMS = (SLIDER_LORA, TEXT_DIRECTION)

Vocabulary = Mapping[str, list[str]]

# Slider → pairs of (negative pole, positive pole).
POLES: dict[str, tuple[tuple[str, str], ...]] = {
    "intensity": (
        ("bland, muted, understated look", "intensely stylized, bold, expressive look"),
        ("dull muted colors, flat contrast", "vivid saturated colors, striking contrast"),
        ("plain neutral rendering", "extreme dramatic rendering"),
    ),
    "complexity": (
        (
            "minimal clean composition, few elements, empty space",
            "dense chaotic composition, many elements, layered detail",
        ),
        ("simple uncluttered scene, plain background", "crowded intricate scene, richly detailed background"),
        ("sparse, reduced to essentials", "packed, overflowing with detail"),
    ),
    "movement": (
        ("static pose, level still camera", "dynamic pose in strong motion, tilted moving camera"),
        ("motionless, calm, frozen", "rushing, swirling, windswept motion"),
        ("at rest, perfectly still", "leaping at full speed, motion blur"),
    ),
}
SMALL_WORLD_POLES: dict[str, tuple[tuple[str, str], ...]] = {
    "intensity": (("muted", "vivid"), ("faded", "saturated"), ("washed out", "intense colors")),
    "complexity": (("minimal", "crowded"), ("empty", "dense"), ("very simple", "packed with detail")),
    "movement": (("still", "dynamic"), ("static", "stormy"), ("motionless", "full of motion")),
}

_SUBJECTS = (
    "a woman in a raincoat", "an old fisherman", "two children on a beach", "a dancer", "a horse", "a cat on a sofa",
    "a mountain lake", "a city street at dusk", "a forest path", "a bowl of fruit", "a vintage car", "a lighthouse",
    "a small kitchen", "a cathedral", "a robot", "a sailing ship",
)  # fmt: skip
_MEDIA = (
    "a photograph of", "an oil painting of", "a flat vector illustration of", "a pencil drawing of",
    "a watercolor of", "a film still of", "an anime frame of", "a 3D render of",
)  # fmt: skip


@dataclass(frozen=True)
class Contrast:
    """One scene said three times: at the slider's negative pole, without it, and at its positive pole."""

    negative: str
    neutral: str
    positive: str


@dataclass(frozen=True)
class StartingPoint:
    """Slider values to begin with, for a kind of work; `random_mode` is switched to what it says."""

    label: str
    values: Mapping[str, int]
    random_mode: bool = False


# From the guide's table of what to try.
STARTING_POINTS = (
    StartingPoint("Clean design", {"intensity": 0, "complexity": -60, "movement": 0}),
    StartingPoint("Cinematic", {"intensity": 60, "complexity": 0, "movement": 30}),
    StartingPoint("Expressive worlds", {"intensity": 60, "complexity": 60, "movement": 40}),
    StartingPoint("Quick exploration", dict.fromkeys(SLIDERS, 0), random_mode=True),
)


def contrasts(slider: str, vocabulary: Vocabulary | None, count: int, seed: int = 0) -> list[Contrast]:
    """`count` contrasts for a slider, the same for the same seed.

    `vocabulary` is that of a checkpoint with a small world, None for any other. Half of the scenes also name a pole of
    the other sliders, the same on all three sides: what is learned must hold there as well.
    """
    draw = random.Random(f"contrasts-{slider}-{seed}")
    poles = POLES if vocabulary is None else SMALL_WORLD_POLES
    found = []
    for _ in range(count):
        scene = _scene(vocabulary, draw)
        for other in SLIDERS:
            if other != slider and draw.random() < 0.3:
                scene += ", " + draw.choice(draw.choice(poles[other]))
        negative, positive = draw.choice(poles[slider])
        found.append(Contrast(f"{scene}, {negative}", scene, f"{scene}, {positive}"))
    return found


def _scene(vocabulary: Vocabulary | None, draw: random.Random) -> str:
    if vocabulary is None:
        return f"{draw.choice(_MEDIA)} {draw.choice(_SUBJECTS)}"
    words = {
        group: draw.choice(vocabulary[group]) for group in ("rendering style", "subject", "setting", "sky", "palette")
    }
    scene = f"{words['rendering style']} of a {words['subject']}"
    for place in ("setting", "sky"):
        if draw.random() < 0.5:
            scene += f" {words[place]}"
    return scene + (f", {words['palette']}" if draw.random() < 0.8 else "")


def other_mechanisms(recipe: Recipe, here: Mapping[str, str]) -> str:
    """What a person should know when a recipe's sliders worked otherwise than they do here; empty when they did not.

    `here` is the mechanism of each slider on the checkpoint that is to draw, with the identity of its LoRA where it
    works by one. The data of a text direction goes with the checkpoint's weights.
    """
    there = recipe.slider_mechanisms
    other = [name for name, words in there.items() if not words.startswith(here.get(name, ""))]
    if not other:
        return ""
    told = "; ".join(f"{name} worked by {there[name]} there, by {here[name]} here" for name in other)
    return f"{told}: expect a different picture."


def values_text(recipe: Recipe) -> str:
    """A picture's slider values in one line; empty where all are 0 and nothing was drawn."""
    if not recipe.sliders and recipe.exploration is None:
        return ""
    return ", ".join(f"{slider} {signed(value)}" for slider, value in recipe.slider_values.items())


def signed(value: int) -> str:
    """A slider's value with its sign: `+60`, `−20`, `0`."""
    return f"{value:+d}".replace("-", "−") if value else "0"
