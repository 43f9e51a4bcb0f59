"""Where everything of a scene goes: a scene and a picture's proportions become groups of coloured outlines.

Lengths are in units of the picture's mean side, √(width·height), so the same scene keeps its character in every
aspect ratio and size. Everything that has a place has it measured from the upper left corner, where a Krea 2
transformer counts positions from: a wider picture shows more to the right, a taller one more foreground. Colours are
settled here (palette, vividness); how they are painted is the renderer's subject.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from krea_studio.training import shapes
from krea_studio.training.world import FLYING, PALETTES, SWIMMING, Palette, Scene

Colour = tuple[int, int, int]
_LUMA = np.array([0.299, 0.587, 0.114])
_SUBJECT_X = 0.42


@dataclass(frozen=True)
class Group:
    """Outlines that lie on one sheet of paper. `lift` is the height above the sheet below, in units."""

    kind: str  # "sky", "land", "item", "streak" or "subject"
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
        return tuple(int(round(255 * c)) for c in np.clip(rgb, 0, 1))


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return tuple(int(round(x + (y - x) * t)) for x, y in zip(a, b, strict=True))


def _placed(points: np.ndarray, x: float, y: float, size: float, angle: float = 0.0, shear: float = 0.0):
    """Outline of a −1…1 box, scaled by `size`, sheared, turned by `angle` radians and moved to (x, y)."""
    points = points * size
    points = points + np.stack([-shear * points[:, 1], np.zeros(len(points))], 1)
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def _ridge(draw: random.Random, setting: str, level: float, width: float, slant: float, depth: int) -> np.ndarray:
    """The upper edge of a land across the picture, as points from left to right."""
    x = np.linspace(-0.05, width + 0.05, 61)
    if setting == "mountains":
        peaks, at, high = [(-0.1, level)], 0.0, draw.random() < 0.5
        while at < width + 0.3:
            peaks.append((at, level - (draw.uniform(0.14, 0.26) if high else draw.uniform(-0.02, 0.05))))
            at, high = at + draw.uniform(0.12, 0.24), not high
        y = np.interp(x, *zip(*peaks, strict=True))
    elif setting == "waves":
        length, phase = draw.uniform(0.2, 0.28), draw.random()
        y = level - 0.055 * np.abs(np.sin(np.pi * (x / length + phase)))
    elif setting == "plain":
        y = level + 0.006 * np.sin(2 * np.pi * (x / draw.uniform(1.2, 1.8) + draw.random()))
    else:
        y = level - 0.075 * np.sin(2 * np.pi * (x / draw.uniform(0.75, 1.15) + draw.random()))
        y = y - 0.03 * np.sin(2 * np.pi * (x / draw.uniform(0.4, 0.55) + draw.random()))
    return np.stack([x, y + slant * (x - _SUBJECT_X) * (1 + 0.3 * depth)], 1)


def compose(scene: Scene, width_px: int, height_px: int) -> Composition:
    """Lay out a scene for a picture size. The same scene gives the same layout for the same proportions."""
    draw = random.Random(f"layout-{scene.seed}")
    unit = (width_px * height_px) ** 0.5
    width, height = width_px / unit, height_px / unit
    paint = _Paints(PALETTES[scene.palette], scene.vividness)
    palette = PALETTES[scene.palette]
    sky, lands = tuple(paint(c) for c in palette.sky), [paint(c) for c in palette.land]
    groups: list[Group] = []
    # The subject has one place and one pose, and the wind one direction: a small model learns one of each, but well.
    slope = np.radians(15)
    slant = 0.24 * scene.motion
    span = min(height, 1.0)
    horizon = span * draw.uniform(0.58, 0.62)
    ground = min(0.85, height - 0.06)

    # The celestial body keeps to the right, so that the subject does not cover it.
    if scene.sky != "clear":
        x, y = min(width - 0.14, 0.82) + draw.uniform(-0.03, 0.03), span * draw.uniform(0.15, 0.21)
        radius = draw.uniform(0.085, 0.105)
        body = Group("sky", 0.012)
        if scene.sky == "sun":
            rays = [shapes.polygon((0.0, -1.75), (0.13, -1.22), (-0.13, -1.22)) for _ in range(12)]
            for k, ray in enumerate(rays):
                body.parts.append((_placed(ray, x, y, radius, np.radians(30 * k)), paint("second")))
            body.parts.append((_placed(shapes.ellipse(0, 0, 1), x, y, radius), paint("second")))
        else:
            outer = shapes.ellipse(0, 0, 1, start=-60, end=210)
            inner = shapes.ellipse(0.42, -0.3, 0.8, start=190, end=-40)
            body.parts.append((_placed(np.concatenate([outer, inner]), x, y, radius * 1.15), paint("light")))
        groups.append(body)

    aloft = Group("sky", 0.010)
    for _ in range(round(scene.density * 7)):
        x, y, size = draw.uniform(0.03, width - 0.03), draw.uniform(0.05, horizon * 0.72), draw.uniform(0.7, 1.2)
        pick = draw.random()
        if scene.sky == "moon" and pick < 0.7:
            aloft.parts.append((_placed(shapes.star(), x, y, 0.026 * size), paint("light")))
        elif pick < 0.6:
            lean = slope * scene.motion * 0.6
            aloft.parts.append((_placed(shapes.cloud(), x, y, 0.085 * size, lean, scene.motion * 0.7), paint("light")))
        else:
            aloft.parts.append((_placed(shapes.gull(), x, y, 0.042 * size, slope * scene.motion), paint("dark")))
    groups.append(aloft)

    floating = Group("item", 0.014)
    for _ in range(round(max(0.0, scene.density - 0.35) * 14)):
        role, size = draw.choice(("accent", "second", "light", "main")), draw.uniform(0.014, 0.03)
        turn = slope if draw.random() < scene.motion else draw.uniform(0, 6.28)
        shape = shapes.leaf() if draw.random() < 0.6 else shapes.ellipse(0, 0, 0.7)
        floating.parts.append(
            (_placed(shape, draw.uniform(0, width), draw.uniform(0, height), size, turn), paint(role))
        )

    # Far lands, then the subject, then the nearest land in front of its foot.
    count = 2 + (scene.density > 0.3) + (scene.density > 0.7)
    levels = np.linspace(horizon, ground, count)
    ridges = [_ridge(draw, scene.setting, level, width, slant, k) for k, level in enumerate(levels)]
    ridges[-1][:, 1] = ground + 0.35 * (ridges[-1][:, 1] - ground)  # low enough that the subject stays in view
    for k, ridge in enumerate(ridges):
        t = k / (count - 1) * 2
        colour = _mix(lands[int(t)], lands[min(2, int(t) + 1)], t - int(t))
        outline = np.concatenate([ridge, [[width + 0.1, height + 0.1], [-0.1, height + 0.1]]])
        land = Group("land", 0.018, [(outline, colour)])
        strata = Group(
            "item", 0.005, _strata(ridge, scene.density, _mix(colour, paint("dark" if k % 2 else "light"), 0.3))
        )
        if k == count - 1:
            groups.append(floating)
            groups.append(Group("streak", 0.006, _streaks(draw, scene, width, height, slope, paint)))
            groups += _subject(scene, ground, span, slope, paint)
        groups += [land, strata]
        growth = Group("item", 0.010)
        for _ in range(round(scene.density * (5 if k < count - 1 else 7))):
            x = draw.uniform(0.02, width - 0.02)
            foot, size = float(np.interp(x, ridge[:, 0], ridge[:, 1])), draw.uniform(0.75, 1.25) * (0.042 + 0.014 * k)
            role = draw.choice(("accent", "second", "main"))
            y = min(foot + draw.uniform(0.0, max(0.10, height - ground - 0.05)), height - 0.02)
            if scene.setting == "waves":
                growth.parts.append((_placed(shapes.gull(), x, y + size, size, slope * scene.motion), paint("light")))
            elif k < count - 1:
                growth.parts.append(
                    (
                        _placed(shapes.pine(), x, y - size * 0.6, size, slope * scene.motion * 0.7),
                        _mix(colour, paint("dark"), 0.45),
                    )
                )
            else:
                growth.parts.append((_placed(shapes.leaf(), x, y, size * 0.7, draw.uniform(0, 6.28)), paint(role)))
        groups.append(growth)

    return Composition(
        width,
        height,
        sky,
        _mix(paint(palette.light), (255, 255, 255), 0.5),
        paint("dark"),
        [g for g in groups if g.parts],
    )


def _strata(ridge: np.ndarray, density: float, colour: Colour) -> list:
    """Bands in a land that follow its upper edge: none in a simple scene, the more the denser it is."""
    depths = [0.045 + 0.08 * k for k in range(round(density * 5))]
    bands = [(ridge + [0.0, depth], ridge + [0.0, depth + 0.034]) for depth in depths]
    return [(np.concatenate([upper, lower[::-1]]), colour) for upper, lower in bands]


def _streaks(draw, scene: Scene, width: float, height: float, slope: float, paint: _Paints) -> list:
    """Ribbons of wind along one direction: more and longer with motion."""
    ribbons = []
    for _ in range(round(scene.motion * 4)):
        x, y = draw.uniform(0.1, width - 0.1), draw.uniform(0.08, height * 0.86)
        length, thick = draw.uniform(0.28, 0.46) * (0.5 + scene.motion), draw.uniform(0.009, 0.016)
        along = np.linspace(-1, 1, 24)
        bend = 0.035 * np.sin(np.pi * (along + draw.uniform(0, 2)))
        taper = thick * (1 - along**2)
        ribbon = np.concatenate(
            [np.stack([along * length, bend - taper], 1), np.stack([along * length, bend + taper], 1)[::-1]]
        )
        ribbons.append((_placed(ribbon, x, y, 1.0, slope), paint(draw.choice(("light", "second", "main")))))
    return ribbons


def _subject(scene: Scene, ground: float, span: float, slope: float, paint: _Paints) -> list[Group]:
    """The subject's sheets, leaning into the direction of motion."""
    size = 0.305
    if scene.subject in FLYING:
        y = span * 0.45
    elif scene.subject in SWIMMING:
        y = ground - size * 0.72
    else:
        y = ground - size * 0.93
    tilt, shear = slope * scene.motion * 0.95, 0.30 * scene.motion
    parts = shapes.subject(scene.subject)
    groups = []
    for part in parts:
        outline = _placed(part.points, _SUBJECT_X, y, size, tilt, shear)
        groups.append(Group("subject", 0.008 if groups else 0.016, [(outline, paint(part.role))]))
    return groups
