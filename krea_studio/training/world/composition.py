"""Where everything of a scene goes: a scene and a picture's proportions become groups of coloured outlines.

Lengths are in units of the picture's mean side, √(width·height) to the nearest 32 pixels: 1024 in all eight aspect
ratios at 1K, 512 in their drafts. So a thing lies the same way across the transformer's tokens in every picture of a
size, and the same scene keeps its character in all. Everything that has a place has it measured from the upper left
corner, where a Krea 2 transformer counts positions from: a wider picture shows more to the right, a taller one more
foreground. Small things have fixed places, of which a denser scene fills more. Nothing is drawn by chance: what varies
is the scene's layout. Colours are settled here (palette, vividness); how they are painted is the renderer's subject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from krea_studio.training.world import shapes
from krea_studio.training.world.scenes import FLYING, PALETTES, SWIMMING, Palette, Scene

Colour = tuple[int, int, int]
_LUMA = np.array([0.299, 0.587, 0.114])
_SUBJECT_X = 0.4375  # fourteen tokens at 1K
_SUBJECT_SIZE = 0.305
_SLOPE = np.radians(15)  # of everything that the wind leans
_TOKEN = 1 / 32
LANDS, _HORIZON = 3, 8.5 * _TOKEN  # how many, and how far the farthest begins above the nearest
_GROUNDS = (27 * _TOKEN, 22 * _TOKEN, 19 * _TOKEN)  # where the nearest land begins, by how high a picture is
_BODY_LIFT = 0.012  # by which the sun or moon is told from other groups


class _Place(NamedTuple):
    """A fixed place of a small thing: where, how large, which of its kinds, and from which density on it is filled."""

    x: float
    y: float
    size: float
    kind: int
    rank: float


# Around the subject and away from the sun, spread over the widest picture.
_ALOFT = (
    _Place(0.13, 0.13, 1.15, 0, 0.1),
    _Place(1.17, 0.15, 1.1, 0, 0.1),
    _Place(0.60, 0.08, 0.75, 0, 0.3),
    _Place(0.24, 0.27, 0.9, 1, 0.3),
    _Place(1.40, 0.10, 0.9, 1, 0.3),
    _Place(0.36, 0.07, 0.7, 1, 0.55),
    _Place(0.07, 0.33, 0.9, 0, 0.55),
    _Place(1.03, 0.27, 0.8, 0, 0.55),
    _Place(0.70, 0.30, 0.85, 1, 0.8),
    _Place(1.47, 0.25, 1.0, 0, 0.8),
    _Place(0.16, 0.045, 0.6, 1, 0.8),
    _Place(1.28, 0.05, 0.7, 1, 0.8),
)
_FLOATING = (
    _Place(0.10, 0.43, 1.0, 0, 0.6),
    _Place(0.72, 0.40, 0.9, 1, 0.6),
    _Place(0.19, 0.20, 0.8, 2, 0.6),
    _Place(1.14, 0.36, 1.0, 0, 0.6),
    _Place(1.36, 0.20, 0.9, 1, 0.6),
    _Place(0.05, 0.23, 0.7, 3, 0.8),
    _Place(0.68, 0.18, 0.75, 2, 0.8),
    _Place(0.90, 0.47, 1.0, 3, 0.8),
    _Place(0.21, 0.53, 0.9, 1, 0.8),
    _Place(0.93, 0.37, 0.7, 0, 0.8),
    _Place(1.24, 0.45, 0.8, 2, 0.8),
    _Place(1.45, 0.38, 1.0, 3, 0.8),
)
_GROWING = tuple(
    _Place(0.06 + 0.118 * k, 0.25 * (k * 0.618 % 1.0), 0.8 + 0.4 * (k * 0.382 % 1.0), k, (0.1, 0.6, 0.35, 0.8)[k % 4])
    for k in range(13)
)
_STREAKS = ((0.33, 0.16, 0.40, 0.0), (0.86, 0.46, 0.34, 0.9), (0.22, 0.56, 0.36, 1.4), (1.15, 0.30, 0.44, 0.4),
            (0.62, 0.34, 0.30, 1.7), (1.30, 0.58, 0.36, 1.1))  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Outlines that lie on one sheet of paper. `lift` is the height above the sheet below, in units."""

    kind: str  # "sky", "land", "item", "streak", "shade" (which has no outline) or "subject"
    lift: float
    parts: list[tuple[np.ndarray, Colour]] = field(default_factory=list)


@dataclass(frozen=True)
class Composition:
    """A scene laid out in a picture of `width` × `height` units; groups from back to front."""

    width: float
    height: float
    sky: tuple[Colour, Colour]
    paper: Colour
    dark: Colour
    groups: list[Group]

    @property
    def light(self) -> tuple[float, float] | None:
        """The middle of the sun or moon, in units; None under a clear sky."""
        bodies = [group for group in self.groups if group.lift == _BODY_LIFT]
        return tuple(bodies[0].parts[-1][0].mean(0).tolist()) if bodies else None


class _Paints:
    """The palette's colours after vividness: 0 is pale and nearly grey, 1 saturated and strong in contrast."""

    def __init__(self, palette: Palette, vividness: float):
        self._palette, self._saturation, self._contrast = palette, 0.28 + 1.07 * vividness, 0.66 + 0.44 * vividness

    def __call__(self, value: str) -> Colour:
        code = value if value.startswith("#") else getattr(self._palette, value)
        rgb = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        grey = float(rgb @ _LUMA)
        shifted = 0.62 + (grey - 0.62) * self._contrast
        rgb = shifted + (rgb - grey) * self._saturation
        return tuple(round(255 * c) for c in np.clip(rgb, 0, 1))


def mixed(a: Colour, b: Colour, t: float) -> Colour:
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))


def _placed(points: np.ndarray, x: float, y: float, size: float, angle: float = 0.0, shear: float = 0.0):
    """Outline of a −1…1 box, scaled by `size`, sheared, turned by `angle` radians and moved to (x, y)."""
    points = points * size
    points = points + np.stack([-shear * points[:, 1], np.zeros(len(points))], 1)
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def _lean(scene: Scene) -> float:
    """How far things that stand lean: not, or 0.8 of what they can. A pose is more to learn than streaks of wind."""
    return 0.0 if scene.motion < 0.4 else 0.8


def unit_of(width_px: int, height_px: int) -> int:
    """Pixels in a unit: the mean side, to the nearest 32."""
    return max(32, round((width_px * height_px) ** 0.5 / 32) * 32)


# Where a mountain land's edge turns, and how high it is there: all edges repeat after a unit or a part of it, which is
# little to learn.
_PEAKS = (
    (0.0, 0.16, 0.22, 0.30, 0.46, 0.55, 0.62, 0.78, 0.88),
    (0.02, 0.23, 0.18, 0.21, 0.03, 0.15, 0.11, 0.27, 0.10),
)


def _ridge(setting: str, level: float, width: float, slant: float, number: int, shift: float) -> np.ndarray:
    """The upper edge of land `number` across the picture, moved by `shift` units, as points from left to right."""
    x = np.linspace(-0.05, width + 0.05, 241)
    at = x - shift - 11 * _TOKEN * number
    if setting == "mountains":
        y = level + 0.03 - np.interp(at, *_PEAKS, period=1.0)
    elif setting == "waves":
        y = level - 0.055 * np.abs(np.sin(np.pi * at / 0.25))
    elif setting == "plain":
        y = level + 0.008 * np.sin(np.pi * at)
    else:
        y = level - 0.07 * np.sin(2 * np.pi * at) - 0.022 * np.sin(4 * np.pi * at + 1.0)
    return np.stack([x, y + slant * (x - _SUBJECT_X) * (1 + 0.3 * number)], 1)


def _ground(height: float) -> float:
    """Where the nearest land begins in a picture of this height."""
    return next(level for level in _GROUNDS if level <= height - 2 * _TOKEN or level == _GROUNDS[-1])


def ridges(scene: Scene, width_px: int, height_px: int) -> list[np.ndarray]:
    """The upper edges of a scene's three lands, far to near, each as points (241, 2) from left to right, in units."""
    unit = unit_of(width_px, height_px)
    ground, found = _ground(height_px / unit), []
    for k, level in enumerate(np.linspace(ground - _HORIZON, ground, LANDS)):
        nearest = k == LANDS - 1
        shift = 3 * _TOKEN * scene.layout.way("near" if nearest else "far")
        ridge = _ridge(scene.setting, level, width_px / unit, 0.24 * _lean(scene), k, shift)
        if nearest:
            ridge[:, 1] = ground + 0.35 * (ridge[:, 1] - ground)  # low enough that the subject stays in view
        found.append(ridge)
    return found


def compose(scene: Scene, width_px: int, height_px: int, paint: Callable[[str], Colour] | None = None) -> Composition:
    """Lay out a scene for a picture size. The same scene gives the same layout for the same proportions.

    `paint` gives the colour of a role or of a palette's `#rrggbb`; the scene's own without it.
    """
    layout = scene.layout
    unit = unit_of(width_px, height_px)
    width, height = width_px / unit, height_px / unit
    palette = PALETTES[scene.palette]
    paint = paint or _Paints(palette, scene.vividness)
    sky, lands = tuple(paint(c) for c in palette.sky), [paint(c) for c in palette.land]
    groups: list[Group] = []
    ground = _ground(height)
    horizon = ground - _HORIZON

    if scene.sky != "clear":
        groups.append(_body(scene, width, paint))
    drift = 0.03 * layout.way("drift")
    groups.append(_aloft(scene, width, horizon, drift, paint))

    # Far lands, then the subject, then the nearest land in front of its foot.
    for k, ridge in enumerate(ridges(scene, width_px, height_px)):
        nearest = k == LANDS - 1
        t = k / (LANDS - 1) * 2
        colour = mixed(lands[int(t)], lands[min(2, int(t) + 1)], t - int(t))
        outline = np.concatenate([ridge, [[width + 0.1, height + 0.1], [-0.1, height + 0.1]]])
        land = Group("land", 0.018, [(outline, colour)])
        strata = Group(
            "item", 0.005, _strata(ridge, scene.density, mixed(colour, paint("dark" if k % 2 else "light"), 0.3))
        )
        if nearest:
            groups.append(_floating(scene, width, drift, paint))
            groups.append(Group("streak", 0.006, _streaks(scene, width, height, drift, paint)))
            groups += _subject(scene, ground, paint)
        groups += [land, strata]
        groups.append(_growth(scene, ridge, k, nearest, (width, height), colour, paint))

    return Composition(
        width,
        height,
        sky,
        mixed(paint(palette.light), (255, 255, 255), 0.5),
        paint("dark"),
        [g for g in groups if g.parts],
    )


def with_light(composition: Composition) -> Composition:
    """The same with the subject's shadow on the nearest land, and light that glitters on the lands below its source."""
    groups = list(composition.groups)
    lands = [k for k, group in enumerate(groups) if group.kind == "land"]
    foot = float(groups[lands[-1]].parts[0][0][:-2, 1].mean())
    colour = groups[lands[-1]].parts[0][1]
    shadow = shapes.ellipse(_SUBJECT_X + 0.05, foot + 0.055, 0.24, 0.022)
    after = {lands[-1]: [Group("shade", 0.001, [(shadow, mixed(colour, composition.dark, 0.45))])]}
    if composition.light:
        x, far = composition.light[0], groups[lands[0]].parts[0]
        top = float(np.interp(x, far[0][:-2, 0], far[0][:-2, 1]))
        glints = [
            shapes.ellipse(x + 0.02 * (-1) ** k, top + 0.05 + 0.036 * k, 0.085 - 0.012 * k, 0.0075) for k in range(4)
        ]
        glitter = mixed(far[1], (255, 250, 220), 0.6)
        after[lands[-2]] = [Group("shade", 0.001, [(glint, glitter) for glint in glints])]
    lit = [each for k, group in enumerate(groups) for each in (group, *after.get(k, ()))]
    return Composition(composition.width, composition.height, composition.sky, composition.paper, composition.dark, lit)


def _body(scene: Scene, width: float, paint: Callable[[str], Colour]) -> Group:
    """The sun or the moon, on a short arc at the right of the subject."""
    x = min(width - 5 * _TOKEN, 26.5 * _TOKEN) + 0.03 * scene.layout.way("body")
    y = 5.5 * _TOKEN - 0.025 * scene.layout.way("body")
    radius, body = 0.088, Group("sky", _BODY_LIFT)
    if scene.sky == "sun":
        for k in range(12):
            ray = shapes.polygon((0.0, -1.7), (0.15, -1.22), (-0.15, -1.22))
            body.parts.append((_placed(ray, x, y, radius, np.radians(30 * k)), paint("second")))
        body.parts.append((_placed(shapes.ellipse(0, 0, 1), x, y, radius), paint("second")))
    else:
        body.parts.append((_placed(shapes.crescent(), x, y, radius * 1.2), paint("light")))
    return body


def _aloft(scene: Scene, width: float, horizon: float, drift: float, paint: Callable[[str], Colour]) -> Group:
    """Clouds and gulls, under the moon stars instead of most clouds."""
    lean, group = _SLOPE * _lean(scene), Group("sky", 0.010)
    for k, place in enumerate(_ALOFT):
        x, y = place.x + drift, place.y
        if place.rank > scene.density or x > width + 0.05 or y > horizon - 0.08:
            continue
        if scene.sky == "moon" and k % 3:
            group.parts.append((_placed(shapes.star(), x, y, 0.032 * place.size), paint("light")))
        elif place.kind == 0:
            outline = _placed(shapes.cloud(), x, y, 0.085 * place.size, lean * 0.6, _lean(scene) * 0.7)
            group.parts.append((outline, paint("light")))
        else:
            group.parts.append((_placed(shapes.gull(), x, y, 0.045 * place.size, lean), paint("dark")))
    return group


def _floating(scene: Scene, width: float, drift: float, paint: Callable[[str], Colour]) -> Group:
    """Leaves and seeds in the air of a dense scene; the wind turns them one way."""
    group = Group("item", 0.014)
    for k, place in enumerate(_FLOATING):
        if place.rank > scene.density or place.x + drift > width:
            continue
        turn = 0.9 * k * (1 - _lean(scene)) + _SLOPE * _lean(scene)
        shape = shapes.ellipse(0, 0, 0.7) if place.kind == 2 else shapes.leaf()
        role = ("accent", "second", "light", "main")[place.kind]
        group.parts.append((_placed(shape, place.x + drift, place.y, 0.03 * place.size, turn), paint(role)))
    return group


def _growth(
    scene: Scene,
    ridge: np.ndarray,
    number: int,
    nearest: bool,
    size: tuple[float, float],
    colour: Colour,
    paint: Callable[[str], Colour],
) -> Group:
    """What stands on land `number`: crests at sea, pines far away, leaves on the nearest land."""
    group, lean = Group("item", 0.010), _SLOPE * _lean(scene)
    for k, place in enumerate(_GROWING):
        x = place.x + 0.05 * number
        if place.rank > scene.density or x > size[0] - 0.02 or (k + number) % 2:
            continue
        if nearest and abs(x - _SUBJECT_X) < 0.16:
            continue
        foot = float(np.interp(x, ridge[:, 0], ridge[:, 1]))
        y = min(foot + 0.03 + place.y * (0.5 if nearest else 0.28), size[1] - 0.03)
        large = place.size * (0.046 + 0.014 * number)
        if scene.setting == "waves":
            group.parts.append((_placed(shapes.gull(), x, y + large, large, lean), paint("light")))
        elif not nearest:
            outline = _placed(shapes.pine(), x, y - large * 0.6, large, lean * 0.7)
            group.parts.append((outline, mixed(colour, paint("dark"), 0.45)))
        else:
            role = ("accent", "second", "main")[k % 3]
            group.parts.append((_placed(shapes.leaf(), x, y, large * 0.7, 0.8 * k), paint(role)))
    return group


def _strata(ridge: np.ndarray, density: float, colour: Colour) -> list:
    """Bands in a land that follow its upper edge: none in a simple scene, the more the denser it is."""
    depths = [0.05 + 0.1 * k for k in range(round(density * 2 - 0.01))]
    bands = [(ridge + np.array([0.0, d]), ridge + np.array([0.0, d + 0.042])) for d in depths]
    return [(np.concatenate([upper, lower[::-1]]), colour) for upper, lower in bands]


def _streaks(scene: Scene, width: float, height: float, drift: float, paint: Callable[[str], Colour]) -> list:
    """Ribbons of wind along one direction: more and longer with motion."""
    ribbons = []
    shown = [s for s in _STREAKS if s[0] < width - 0.05 and s[1] < height * 0.86][: 2 + 2 * (width > 1.1)]
    for k, (x, y, length, bent) in enumerate(shown):
        if scene.motion < (0.2, 0.7, 0.45, 0.95)[k]:
            continue
        length = length * (0.5 + scene.motion)
        along = np.linspace(-1, 1, 24)
        bend = 0.035 * np.sin(np.pi * (along + bent))
        taper = 0.013 * (1 - along**2)
        ribbon = np.concatenate(
            [np.stack([along * length, bend - taper], 1), np.stack([along * length, bend + taper], 1)[::-1]]
        )
        ribbons.append((_placed(ribbon, x + drift, y, 1.0, _SLOPE), paint(("light", "second", "main", "light")[k])))
    return ribbons


def _subject(scene: Scene, ground: float, paint: Callable[[str], Colour]) -> list[Group]:
    """The subject's sheets. It has one place, and two poses: upright, and leaning into the wind."""
    if scene.subject in FLYING:
        y = max(ground - 13 * _TOKEN, 11 * _TOKEN)  # not above the picture
    elif scene.subject in SWIMMING:
        y = ground - _SUBJECT_SIZE * 0.72
    else:
        y = ground - _SUBJECT_SIZE * 0.93
    tilt, shear = _SLOPE * 0.95 * _lean(scene), 0.30 * _lean(scene)
    groups = []
    for part in shapes.subject(scene.subject):
        outline = _placed(part.points, _SUBJECT_X, y, _SUBJECT_SIZE, tilt, shear)
        groups.append(Group("subject", 0.008 if groups else 0.016, [(outline, paint(part.role))]))
    return groups
