"""The small world that the embedded checkpoints know: which things exist, and how a scene is drawn from a seed.

A `Scene` names everything that a caption may say about a picture. What it does not name (positions, sizes, which
cloud is where) is decided by its seed when the renderer draws it. Pure data: no drawing, no torch.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SUBJECTS = (
    "cat", "fox", "bird", "fish", "whale", "tree", "flower", "cactus", "mushroom", "house", "lighthouse", "sailboat",
    "balloon", "rocket",
)  # fmt: skip
SETTINGS = ("hills", "mountains", "waves", "plain")
SKIES = ("sun", "moon", "clear")
STYLES = ("papercut", "flat", "ink", "watercolor", "mosaic", "neon")

FLYING = frozenset({"bird", "balloon", "rocket"})
SWIMMING = frozenset({"fish", "whale", "sailboat"})


@dataclass(frozen=True)
class Palette:
    """Colours of a palette as `#rrggbb`: sky top and bottom, three lands from far to near, and five for subjects."""

    sky: tuple[str, str]
    land: tuple[str, str, str]
    main: str
    second: str
    accent: str
    light: str
    dark: str


PALETTES: dict[str, Palette] = {
    "sunset": Palette(
        ("#ff7f6b", "#ffc877"), ("#e2566a", "#a33a6b", "#5a235c"), "#fff0cf", "#ffd151", "#ff4d4f", "#fff7e8", "#381339"
    ),
    "ocean": Palette(
        ("#7cc8ea", "#d3f0f5"), ("#3f9fd0", "#1c6fae", "#0c417f"), "#fdf6e3", "#ffc857", "#ff7f59", "#f2fbff", "#062a52"
    ),
    "forest": Palette(
        ("#b9d68c", "#eaf1cd"), ("#7fae4f", "#468040", "#20512f"), "#f8e8c2", "#d99a3f", "#d4502f", "#fbf8e6", "#12301f"
    ),
    "candy": Palette(
        ("#ffa6d5", "#ffe0ee"), ("#f573b5", "#b865e6", "#7446cf"), "#fff4b8", "#6fe3cb", "#ff3f86", "#ffffff", "#45207a"
    ),
    "autumn": Palette(
        ("#ecc46c", "#f9e8bf"), ("#cf8f2b", "#a6571d", "#633014"), "#fbeed3", "#8f9a3e", "#a8231a", "#fdf6e6", "#341808"
    ),
    "midnight": Palette(
        ("#141c52", "#3a4aa6"), ("#2b3788", "#1b235f", "#0d1138"), "#efe6ff", "#ffd56a", "#63dcf0", "#f7f4ff", "#060822"
    ),
    "mint": Palette(
        ("#9fe3cd", "#e6f9f1"), ("#62cbb0", "#2fa190", "#17685f"), "#ffffff", "#ffb18f", "#f2625f", "#f8fffc", "#0b403b"
    ),
    "monochrome": Palette(
        ("#b9b9b7", "#ececea"), ("#8b8b89", "#585857", "#2a2a2a"), "#ffffff", "#4c4c4b", "#151515", "#f7f7f5", "#0e0e0e"
    ),
}


@dataclass(frozen=True)
class Scene:
    """One picture's meaning. `density`, `vividness` and `motion` run from 0 (least) to 1 (most)."""

    subject: str
    palette: str
    style: str
    setting: str
    sky: str
    density: float
    vividness: float
    motion: float
    seed: int


def random_scene(seed: int) -> Scene:
    """The scene of a seed: every attribute drawn independently and evenly, the same for the same seed."""
    draw = random.Random(f"scene-{seed}")
    return Scene(
        subject=draw.choice(SUBJECTS),
        palette=draw.choice(tuple(PALETTES)),
        style=draw.choice(STYLES),
        setting=draw.choice(SETTINGS),
        sky=draw.choice(SKIES),
        density=draw.random(),
        vividness=draw.random(),
        motion=draw.random(),
        seed=seed,
    )
