"""Outlines of everything in the small world, as closed polygons with a colour role.

A subject is a list of `Part`s in a box of −1…1 (y down, standing on y = 1). Roles (`main`, `accent`, …) are looked up
in the scene's palette by the renderer, so one outline serves every palette and style.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Points = np.ndarray  # (n, 2) float, x to the right and y down


@dataclass(frozen=True)
class Part:
    """A closed outline of shape (n, 2) and the role of its colour."""

    points: Points
    role: str


def spline(*knots: tuple[float, float], samples: int = 10) -> Points:
    """A smooth closed outline through the knots (uniform Catmull-Rom), `samples` points a segment."""
    p = np.asarray(knots, float)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, samples, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * p
        + (after - before) * t
        + (2 * before - 5 * p + 4 * after - beyond) * t**2
        + (3 * p - before - 3 * after + beyond) * t**3
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def polygon(*corners: tuple[float, float]) -> Points:
    return np.asarray(corners, float)


def ellipse(cx: float, cy: float, rx: float, ry: float | None = None, start: float = 0, end: float = 360) -> Points:
    """An ellipse, or the slice of it between two angles in degrees (clockwise from the right)."""
    angle = np.radians(np.linspace(start, end, 40))
    return np.stack([cx + rx * np.cos(angle), cy + (ry or rx) * np.sin(angle)], 1)


def capsule(x0: float, y0: float, x1: float, y1: float, radius: float) -> Points:
    """A line with round ends."""
    along = np.degrees(np.arctan2(y1 - y0, x1 - x0))
    return np.concatenate(
        [
            ellipse(x1, y1, radius, start=along - 90, end=along + 90),
            ellipse(x0, y0, radius, start=along + 90, end=along + 270),
        ]
    )


def _cat() -> list[Part]:
    tail = spline(
        (0.28, 0.9), (0.75, 0.85), (0.88, 0.4), (0.68, 0.1), (0.62, 0.16), (0.74, 0.42), (0.62, 0.68), (0.28, 0.72)
    )
    body = spline((-0.42, 1.0), (-0.44, 0.5), (-0.26, 0.02), (0.16, 0.02), (0.42, 0.5), (0.46, 1.0), (0.0, 1.03))
    head = spline(
        (-0.5, -0.32),
        (-0.3, -0.64),
        (-0.05, -0.68),
        (0.2, -0.64),
        (0.4, -0.32),
        (0.24, 0.02),
        (-0.05, 0.12),
        (-0.34, 0.02),
    )
    return [
        Part(tail, "second"),
        Part(body, "main"),
        Part(ellipse(-0.05, 0.66, 0.19, 0.3), "light"),
        Part(polygon((-0.5, -0.36), (-0.53, -0.95), (-0.14, -0.62)), "main"),
        Part(polygon((0.4, -0.36), (0.43, -0.95), (0.04, -0.62)), "main"),
        Part(polygon((-0.44, -0.5), (-0.45, -0.78), (-0.25, -0.6)), "accent"),
        Part(polygon((0.34, -0.5), (0.35, -0.78), (0.15, -0.6)), "accent"),
        Part(head, "main"),
        Part(ellipse(-0.24, -0.28, 0.075, 0.1), "dark"),
        Part(ellipse(0.14, -0.28, 0.075, 0.1), "dark"),
        Part(polygon((-0.12, -0.14), (0.02, -0.14), (-0.05, -0.04)), "accent"),
    ]


def _fox() -> list[Part]:
    tail = spline(
        (0.1, 0.98), (0.62, 1.0), (0.98, 0.62), (0.94, 0.02), (0.76, -0.22), (0.62, 0.2), (0.52, 0.5), (0.18, 0.72)
    )
    tip = spline((0.98, 0.2), (0.94, -0.06), (0.76, -0.24), (0.66, 0.08), (0.8, 0.24))
    body = spline((-0.46, 1.0), (-0.44, 0.5), (-0.26, 0.0), (0.1, 0.02), (0.36, 0.5), (0.38, 1.0))
    head = polygon(
        (-0.72, -0.36), (-0.36, -0.58), (0.04, -0.58), (0.4, -0.36), (0.1, -0.02), (-0.16, 0.2), (-0.42, -0.02)
    )
    return [
        Part(tail, "accent"),
        Part(tip, "light"),
        Part(body, "accent"),
        Part(spline((-0.3, 0.98), (-0.3, 0.4), (-0.16, 0.1), (0.02, 0.4), (0.04, 0.98)), "light"),
        Part(polygon((-0.62, -0.34), (-0.66, -1.0), (-0.24, -0.56)), "accent"),
        Part(polygon((0.3, -0.34), (0.34, -1.0), (-0.08, -0.56)), "accent"),
        Part(polygon((-0.55, -0.5), (-0.57, -0.8), (-0.36, -0.57)), "dark"),
        Part(polygon((0.23, -0.5), (0.25, -0.8), (0.04, -0.57)), "dark"),
        Part(head, "accent"),
        Part(polygon((-0.72, -0.36), (-0.3, -0.24), (-0.16, 0.2), (-0.42, -0.02)), "light"),
        Part(polygon((0.4, -0.36), (-0.02, -0.24), (-0.16, 0.2), (0.1, -0.02)), "light"),
        Part(ellipse(-0.34, -0.3, 0.06), "dark"),
        Part(ellipse(0.02, -0.3, 0.06), "dark"),
        Part(ellipse(-0.16, 0.14, 0.075), "dark"),
    ]


def _bird() -> list[Part]:
    body = spline(
        (-0.82, -0.1), (-0.6, -0.3), (-0.3, -0.16), (0.1, -0.12), (0.55, 0.1), (0.3, 0.3), (-0.2, 0.36), (-0.62, 0.16)
    )
    return [
        Part(polygon((0.36, 0.06), (0.98, -0.08), (0.86, 0.14), (1.0, 0.32), (0.34, 0.26)), "second"),
        Part(spline((-0.1, -0.04), (0.1, -0.5), (0.5, -0.86), (0.62, -0.84), (0.52, -0.4), (0.3, 0.02)), "second"),
        Part(body, "main"),
        Part(
            spline((-0.44, 0.0), (-0.4, -0.5), (-0.12, -0.98), (0.02, -0.98), (0.12, -0.5), (0.1, 0.1), (-0.14, 0.2)),
            "accent",
        ),
        Part(polygon((-0.76, -0.16), (-1.0, 0.0), (-0.72, 0.06)), "second"),
        Part(ellipse(-0.6, -0.1, 0.065), "dark"),
    ]


def _fish() -> list[Part]:
    body = spline(
        (-0.9, 0.05), (-0.6, -0.32), (-0.1, -0.48), (0.35, -0.26), (0.56, 0.0), (0.35, 0.3), (-0.1, 0.5), (-0.6, 0.38)
    )
    return [
        Part(polygon((0.42, 0.0), (0.98, -0.5), (0.86, 0.02), (0.98, 0.52)), "accent"),
        Part(spline((-0.36, -0.36), (-0.1, -0.8), (0.3, -0.72), (0.26, -0.26)), "accent"),
        Part(spline((-0.2, 0.4), (0.02, 0.76), (0.28, 0.66), (0.16, 0.34)), "accent"),
        Part(body, "main"),
        Part(spline((-0.24, -0.46), (-0.06, -0.48), (0.02, 0.0), (-0.06, 0.5), (-0.24, 0.49), (-0.14, 0.0)), "second"),
        Part(spline((0.14, -0.4), (0.28, -0.32), (0.34, 0.0), (0.28, 0.34), (0.14, 0.42), (0.22, 0.0)), "second"),
        Part(ellipse(-0.56, -0.04, 0.12), "light"),
        Part(ellipse(-0.58, -0.04, 0.065), "dark"),
    ]


def _whale() -> list[Part]:
    body = spline(
        (-0.96, 0.2),
        (-0.86, -0.22),
        (-0.4, -0.44),
        (0.12, -0.36),
        (0.5, 0.0),
        (0.78, -0.12),
        (0.72, 0.2),
        (0.4, 0.52),
        (-0.1, 0.66),
        (-0.7, 0.58),
    )
    return [
        Part(
            spline(
                (-0.42, -0.44),
                (-0.5, -0.7),
                (-0.78, -0.8),
                (-0.72, -0.92),
                (-0.46, -0.84),
                (-0.38, -0.98),
                (-0.3, -0.84),
                (-0.04, -0.92),
                (0.02, -0.8),
                (-0.26, -0.7),
                (-0.32, -0.44),
            ),
            "light",
        ),
        Part(
            spline(
                (0.6, 0.0),
                (0.62, -0.4),
                (0.44, -0.62),
                (0.72, -0.6),
                (0.8, -0.42),
                (0.94, -0.62),
                (1.04, -0.4),
                (0.86, -0.1),
            ),
            "second",
        ),
        Part(body, "second"),
        Part(spline((-0.94, 0.28), (-0.5, 0.3), (0.0, 0.38), (0.3, 0.5), (-0.1, 0.66), (-0.7, 0.58)), "light"),
        Part(spline((0.0, 0.3), (0.22, 0.26), (0.4, 0.66), (0.26, 0.82), (0.04, 0.56)), "main"),
        Part(ellipse(-0.66, 0.08, 0.07), "dark"),
    ]


def _tree() -> list[Part]:
    return [
        Part(spline((-0.14, 1.02), (-0.08, 0.4), (-0.1, 0.0), (0.1, 0.0), (0.08, 0.4), (0.16, 1.02)), "dark"),
        Part(ellipse(-0.4, 0.02, 0.42, 0.38), "second"),
        Part(ellipse(0.42, 0.06, 0.4, 0.36), "second"),
        Part(ellipse(0.0, -0.34, 0.58, 0.6), "accent"),
        Part(ellipse(-0.2, -0.5, 0.13), "light"),
        Part(ellipse(0.24, -0.26, 0.12), "light"),
        Part(ellipse(-0.16, -0.08, 0.11), "light"),
    ]


def _flower() -> list[Part]:
    parts = [
        Part(capsule(0, -0.2, 0, 1.0, 0.05), "dark"),
        Part(spline((0.02, 0.86), (0.2, 0.5), (0.62, 0.36), (0.56, 0.66), (0.3, 0.84)), "second"),
        Part(spline((-0.02, 0.72), (-0.2, 0.36), (-0.6, 0.24), (-0.54, 0.54), (-0.28, 0.7)), "second"),
    ]
    for k in range(8):
        angle = np.radians(45 * k)
        petal = ellipse(0.36, 0, 0.27, 0.17)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        parts.append(Part(petal @ turn + [0, -0.36], "accent" if k % 2 else "main"))
    return [*parts, Part(ellipse(0, -0.36, 0.2), "second")]


def _cactus() -> list[Part]:
    return [
        Part(capsule(-0.52, 0.28, -0.52, -0.16, 0.14), "second"),
        Part(capsule(-0.52, 0.3, -0.06, 0.3, 0.13), "second"),
        Part(capsule(0.52, 0.08, 0.52, -0.44, 0.14), "second"),
        Part(capsule(0.52, 0.1, 0.06, 0.1, 0.13), "second"),
        Part(capsule(0, 0.74, 0, -0.66, 0.25), "second"),
        Part(capsule(-0.1, 0.6, -0.1, -0.6, 0.025), "light"),
        Part(capsule(0.1, 0.6, 0.1, -0.6, 0.025), "light"),
        Part(ellipse(-0.12, -0.9, 0.12), "accent"),
        Part(ellipse(0.12, -0.9, 0.12), "accent"),
        Part(ellipse(0.0, -0.96, 0.12), "accent"),
        Part(polygon((-0.44, 0.66), (0.44, 0.66), (0.32, 1.02), (-0.32, 1.02)), "accent"),
        Part(polygon((-0.5, 0.56), (0.5, 0.56), (0.5, 0.7), (-0.5, 0.7)), "main"),
    ]


def _mushroom() -> list[Part]:
    cap = spline(
        (-0.88, 0.1),
        (-0.76, -0.44),
        (-0.36, -0.82),
        (0.0, -0.9),
        (0.36, -0.82),
        (0.76, -0.44),
        (0.88, 0.1),
        (0.5, 0.24),
        (0.0, 0.28),
        (-0.5, 0.24),
    )
    return [
        Part(
            spline((-0.24, 0.14), (-0.22, 0.6), (-0.34, 0.98), (0.0, 1.03), (0.34, 0.98), (0.22, 0.6), (0.24, 0.14)),
            "main",
        ),
        Part(cap, "accent"),
        Part(ellipse(-0.4, -0.24, 0.16, 0.15), "light"),
        Part(ellipse(0.06, -0.52, 0.17, 0.14), "light"),
        Part(ellipse(0.46, -0.16, 0.15, 0.15), "light"),
        Part(ellipse(0.0, -0.04, 0.11, 0.09), "light"),
    ]


def _house() -> list[Part]:
    return [
        Part(polygon((0.34, -0.3), (0.34, -0.92), (0.58, -0.92), (0.58, -0.3)), "dark"),
        Part(polygon((-0.64, -0.1), (0.64, -0.1), (0.64, 1.0), (-0.64, 1.0)), "main"),
        Part(polygon((-0.86, -0.06), (0.0, -0.9), (0.86, -0.06)), "accent"),
        Part(polygon((-0.16, 0.4), (0.16, 0.4), (0.16, 1.0), (-0.16, 1.0)), "dark"),
        Part(polygon((-0.5, 0.16), (-0.26, 0.16), (-0.26, 0.44), (-0.5, 0.44)), "second"),
        Part(polygon((0.26, 0.16), (0.5, 0.16), (0.5, 0.44), (0.26, 0.44)), "second"),
        Part(ellipse(0, -0.36, 0.13), "second"),
    ]


def _lighthouse() -> list[Part]:
    def edge(y: float) -> float:
        return 0.2 + 0.16 * (y + 0.5) / 1.4

    def band(top: float, bottom: float, role: str) -> Part:
        return Part(polygon((-edge(top), top), (edge(top), top), (edge(bottom), bottom), (-edge(bottom), bottom)), role)

    return [
        Part(polygon((-0.1, -0.66), (-1.05, -0.98), (-1.05, -0.4)), "second"),
        Part(polygon((0.1, -0.66), (1.05, -0.98), (1.05, -0.4)), "second"),
        band(-0.5, 0.92, "light"),
        band(-0.3, 0.0, "accent"),
        band(0.3, 0.6, "accent"),
        Part(polygon((-0.3, -0.54), (0.3, -0.54), (0.3, -0.44), (-0.3, -0.44)), "dark"),
        Part(polygon((-0.17, -0.78), (0.17, -0.78), (0.17, -0.54), (-0.17, -0.54)), "second"),
        Part(polygon((-0.25, -0.76), (0, -1.02), (0.25, -0.76)), "accent"),
        Part(spline((-0.66, 1.03), (-0.5, 0.86), (0.0, 0.8), (0.5, 0.86), (0.66, 1.03)), "dark"),
    ]


def _sailboat() -> list[Part]:
    return [
        Part(capsule(0, -0.96, 0, 0.56, 0.035), "dark"),
        Part(spline((0.08, 0.42), (0.09, -0.86), (0.36, -0.5), (0.66, 0.1), (0.78, 0.42), (0.4, 0.42)), "main"),
        Part(spline((-0.08, 0.42), (-0.09, -0.66), (-0.3, -0.3), (-0.56, 0.2), (-0.64, 0.42), (-0.3, 0.42)), "accent"),
        Part(polygon((0.02, -0.98), (0.32, -0.88), (0.02, -0.78)), "second"),
        Part(
            spline(
                (-0.92, 0.54), (-0.4, 0.54), (0.4, 0.54), (0.96, 0.5), (0.7, 0.9), (0.3, 1.0), (-0.3, 1.0), (-0.68, 0.9)
            ),
            "second",
        ),
        Part(polygon((-0.82, 0.66), (0.86, 0.66), (0.8, 0.76), (-0.76, 0.76)), "light"),
    ]


def _balloon() -> list[Part]:
    envelope = ellipse(0, -0.3, 0.66, 0.68)
    return [
        Part(polygon((-0.36, 0.22), (-0.3, 0.24), (-0.12, 0.74), (-0.17, 0.74)), "dark"),
        Part(polygon((0.36, 0.22), (0.3, 0.24), (0.12, 0.74), (0.17, 0.74)), "dark"),
        Part(polygon((-0.52, 0.1), (0.52, 0.1), (0.16, 0.54), (-0.16, 0.54)), "accent"),
        Part(envelope, "accent"),
        Part(ellipse(0, -0.3, 0.44, 0.68), "main"),
        Part(ellipse(0, -0.3, 0.18, 0.68), "second"),
        Part(polygon((-0.22, 0.72), (0.22, 0.72), (0.17, 1.0), (-0.17, 1.0)), "dark"),
    ]


def _rocket() -> list[Part]:
    return [
        Part(spline((-0.2, 0.56), (-0.26, 0.8), (0.0, 1.06), (0.26, 0.8), (0.2, 0.56)), "second"),
        Part(spline((-0.1, 0.56), (-0.12, 0.7), (0.0, 0.86), (0.12, 0.7), (0.1, 0.56)), "light"),
        Part(spline((-0.26, 0.1), (-0.62, 0.4), (-0.64, 0.82), (-0.28, 0.58)), "accent"),
        Part(spline((0.26, 0.1), (0.62, 0.4), (0.64, 0.82), (0.28, 0.58)), "accent"),
        Part(
            spline((0.0, -1.02), (-0.26, -0.6), (-0.36, -0.06), (-0.26, 0.6), (0.26, 0.6), (0.36, -0.06), (0.26, -0.6)),
            "main",
        ),
        Part(spline((0.0, -1.02), (-0.2, -0.72), (-0.26, -0.54), (0.26, -0.54), (0.2, -0.72)), "accent"),
        Part(ellipse(0, -0.18, 0.2), "dark"),
        Part(ellipse(0, -0.18, 0.13), "second"),
    ]


SUBJECT_PARTS = {
    "cat": _cat, "fox": _fox, "bird": _bird, "fish": _fish, "whale": _whale, "tree": _tree, "flower": _flower,
    "cactus": _cactus, "mushroom": _mushroom, "house": _house, "lighthouse": _lighthouse, "sailboat": _sailboat,
    "balloon": _balloon, "rocket": _rocket,
}  # fmt: skip


def subject(name: str) -> list[Part]:
    """The parts of a subject, from back to front."""
    return SUBJECT_PARTS[name]()


def cloud() -> Points:
    return spline(
        (-1.0, 0.3),
        (-0.9, 0.0),
        (-0.5, -0.05),
        (-0.3, -0.42),
        (0.15, -0.42),
        (0.35, -0.1),
        (0.75, -0.12),
        (1.0, 0.3),
        (0.0, 0.36),
    )


def crescent() -> Points:
    """The disc of radius 1 less one of the same size a little up and to the right, as one outline."""
    shift = np.array([0.52, -0.3])
    half, along = np.degrees(np.arccos(np.hypot(*shift) / 2)), np.degrees(np.arctan2(shift[1], shift[0]))
    outer = ellipse(0, 0, 1, start=along + half, end=along + 360 - half)
    inner = ellipse(*shift, 1, start=along - 180 + half, end=along - 180 - half)
    return np.concatenate([outer, inner])


def star() -> Points:
    angle = np.radians(np.arange(8) * 45 - 90)
    radius = np.where(np.arange(8) % 2, 0.36, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def leaf() -> Points:
    return spline((-1.0, 0.0), (-0.3, -0.46), (0.5, -0.36), (1.0, 0.0), (0.4, 0.34), (-0.4, 0.36), samples=6)


def pine() -> Points:
    return polygon(
        (0, -1),
        (0.42, -0.3),
        (0.22, -0.3),
        (0.58, 0.4),
        (0.12, 0.4),
        (0.12, 1),
        (-0.12, 1),
        (-0.12, 0.4),
        (-0.58, 0.4),
        (-0.22, -0.3),
        (-0.42, -0.3),
    )


def gull() -> Points:
    return spline(
        (-1.0, -0.2),
        (-0.5, -0.42),
        (0.0, 0.02),
        (0.5, -0.42),
        (1.0, -0.2),
        (0.5, -0.18),
        (0.0, 0.34),
        (-0.5, -0.18),
        samples=6,
    )
