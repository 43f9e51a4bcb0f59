"""The small world that the embedded checkpoints know: which things exist, and how a scene is drawn from a seed.

A `Scene` names everything that a caption may say about a picture, and its `Layout` the little that no caption says:
where the land begins, where clouds are, which way the subject looks. Together they are the whole picture, so that two
renderings of a scene are alike. Pure data: no drawing, no torch.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

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


GRADES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Layout:
    """What is free in a picture. Each is one of two ways, told by which half of 0…1 it lies in.

    Few things, each of which moves much and has few ways: a small model learns each of them, and learns it crisply.
    """

    far: float = 0.25  # how the far lands lie
    near: float = 0.25  # how the nearest one lies
    drift: float = 0.25  # where clouds, stars and gulls are
    body: float = 0.25  # where the sun or the moon stands

    def way(self, name: str) -> int:
        """−1 or 1."""
        return 1 if getattr(self, name) >= 0.5 else -1


LAYOUT_NAMES = tuple(field.name for field in fields(Layout))


@dataclass(frozen=True)
class Scene:
    """One picture's meaning. `density`, `vividness` and `motion` run from 0 (least) to 1 (most).

    `seed` is where it came from; what is drawn does not depend on it.
    """

    subject: str
    palette: str
    style: str
    setting: str
    sky: str
    density: float
    vividness: float
    motion: float
    seed: int = 0
    layout: Layout = Layout()


def random_scene(seed: int) -> Scene:
    """The scene of a seed: every attribute drawn independently and evenly, the same for the same seed."""
    draw = random.Random(f"scene-{seed}")
    return Scene(
        subject=draw.choice(SUBJECTS),
        palette=draw.choice(tuple(PALETTES)),
        style=draw.choice(STYLES),
        setting=draw.choice(SETTINGS),
        sky=draw.choice(SKIES),
        density=draw.choice(GRADES),
        vividness=draw.choice(GRADES),
        motion=draw.choice(GRADES),
        seed=seed,
        layout=Layout(**{name: draw.random() for name in LAYOUT_NAMES}),
    )


def is_held_out(scene: Scene) -> bool:
    """Whether the scene's subject, palette and style are one of the tenth of all triples that no checkpoint learns."""
    return random.Random(f"triple-{scene.subject}-{scene.palette}-{scene.style}").random() < 0.1
