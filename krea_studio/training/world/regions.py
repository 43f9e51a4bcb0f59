"""What lies where in a scene, whatever its colours and its rendering style: as numbers of each token.

A picture is painted from these and the scene's look, token by token and in every place alike (`checkpoints.painting`);
and these follow from a token's place and the scene, without colours or styles. Both are far less to learn than the
whole, which is why the transformer's blocks are taught them apart.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from krea_studio.training.world.composition import Colour, compose, mixed, unit_of
from krea_studio.training.world.renderer import CLOUDS, clouds, line_width
from krea_studio.training.world.scenes import PALETTES, Scene

SIDE = 32  # pixels of a token
SHRINK = 2  # pixels of a picture to one of a map
SPREAD_PX = 10.0  # deviation of the blur by which a quarter of a token knows of edges near it
# What paints are told apart: `dark` and the others by which the picture's things are coloured, and their mixtures.
ROLES = ("sky", "land 0", "land 1", "land 2", "band 0", "band 1", "band 2", "pine 0", "pine 1", "main", "second",
         "accent", "light", "dark")  # fmt: skip
QUARTERS = 4  # of a token, of which coverages are told
COUNT = QUARTERS * (len(ROLES) + 2) + 4 + len(CLOUDS)
_PALETTE = PALETTES["sunset"]


_PLAIN = {"light": (0, 0, 200), "dark": (0, 200, 0), "main": (9, 9, 0), "second": (9, 0, 9), "accent": (0, 9, 9)}


def _code(value: str) -> Colour:
    """Another colour for every paint, and so for every mixture."""
    if value in _PALETTE.land:
        return (60 * (1 + _PALETTE.land.index(value)), 0, 0)
    return _PLAIN.get(value, (0, 0, 0))


@cache
def _slots() -> dict[Colour, int]:
    """Which of `ROLES` a code stands for."""
    lands = [_code(value) for value in _PALETTE.land]
    found = {code: ROLES.index(role) for role, code in _PLAIN.items()}
    for k, land in enumerate(lands):
        found[land] = ROLES.index(f"land {k}")
        found[mixed(land, _code("dark" if k % 2 else "light"), 0.3)] = ROLES.index(f"band {k}")
        if k < 2:
            found[mixed(land, _code("dark"), 0.45)] = ROLES.index(f"pine {k}")
    return found


def of_scene(scene: Scene, width: int, height: int) -> np.ndarray:
    """The numbers of every token of a picture of `width` × `height` pixels: (tokens, `COUNT`), most of them 0…1.

    Of each quarter, blurred, how much each of `ROLES`, the subject and contours cover; how near borders are, with a sign for the side; how far down the token is; and the pigment's clouds.
    """
    composition = compose(replace(scene, palette="sunset"), width, height, _code)
    size = (width // SHRINK, height // SHRINK)
    scale = size[0] / composition.width
    kinds, subject, lines = (Image.new("L", size) for _ in range(3))
    pens = [ImageDraw.Draw(each) for each in (kinds, subject, lines)]
    for group in composition.groups:
        outlines = [[tuple(p) for p in (outline * scale).tolist()] for outline, _ in group.parts]
        for points, (_, code) in zip(outlines, group.parts, strict=True):
            for pen, value in zip(pens, (_slots()[code], int(group.kind == "subject"), 0), strict=True):
                pen.polygon(points, fill=value)
        width_px = max(1, round(line_width(group) * scale))
        for points in outlines:
            pens[2].line([*points, points[0], points[1]], fill=1, width=width_px, joint="curve")
    rows, columns = height // SIDE, width // SIDE
    covers = np.asarray(kinds)[None] == np.arange(len(ROLES))[:, None, None]
    covers = np.concatenate([covers, np.asarray(subject)[None], 2 * np.asarray(lines)[None]]).astype(np.float32)
    quarters = _blur(rows) @ covers @ _blur(columns).T
    row, column = np.divmod(np.arange(rows * columns), columns)
    numbers = [_nearness(row) - _nearness(rows - 1 - row), _nearness(column) - _nearness(columns - 1 - column)]
    numbers += [2 * (row + 0.5) / rows - 1, np.full(len(row), 8.0 / rows)]
    middle = (slice(SIDE // 2, None, SIDE),) * 2
    numbers += [2 * clouds((width, height), c * unit_of(width, height))[middle].ravel() - 1 for c in CLOUDS]
    return np.concatenate([_tokens(quarters, 2), np.stack(numbers, 1)], 1).astype(np.float32)


def _nearness(tokens: np.ndarray) -> np.ndarray:
    """To a border that is so many tokens away: 1 at it, 0 from three tokens on."""
    return np.clip(1 - tokens / 3, 0, None)


@cache
def _blur(tokens: int) -> np.ndarray:
    """How much each quarter sees of each map pixel along one side: (2 · tokens, 16 · tokens)."""
    middles = (np.arange(2 * tokens) + 0.5) * SIDE / 2
    pixels = (np.arange(SIDE // SHRINK * tokens) + 0.5) * SHRINK
    weights = np.exp(-(((middles[:, None] - pixels) / SPREAD_PX) ** 2) / 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _tokens(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps (k, rows · side, columns · side) → (rows · columns, k · side²)."""
    k, height, width = maps.shape
    cut = maps.reshape(k, height // side, side, width // side, side)
    return cut.transpose(1, 3, 0, 2, 4).reshape(-1, k * side * side)
