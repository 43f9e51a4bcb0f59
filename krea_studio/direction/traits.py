"""What a picture looks like, in a few numbers that words can be put to: colours, light, texture and composition.

Everything is measured on the picture made 128 pixels long, but for its grain, which needs the pixels that the library
keeps. Lightness and colours are CIE L*a*b*. `LOOK` says which of the numbers make up a look, for comparing pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from krea_studio.direction.colours import merged, palette
from krea_studio.direction.looks import blurred, lab, reduced
from krea_studio.direction.measures import shapes

MEASURED_PX = 128
GRAIN_PX = 512
PALETTE_COLOURS = 8
_PALETTE_STRIDE = 2
_SHAPES_APART = 8.0  # ΔE*: colours that are more alike do not make two shapes
_TONE_STEP = 255 // PALETTE_COLOURS
_BLUR_PX = 2.0  # takes out grain, hatching and grout, which are texture and not composition
_BORDER = 0.08  # frames and paper edges belong to the medium, not to the composition
_LEVEL_DEGREES, _LEANING_DEGREES = 5.0, 30.0
_EDGE_SCALES_PX = (0.7, 1.4, 2.8)
_EDGE_FLOOR = 0.5  # levels of L* per pixel: below this a texture is as good as none
_GREY = 4.0  # mean chroma below which a picture has no temperature
_FLAT_STEP = 0.5  # levels of L* per pixel that nobody sees
_CALM = 30  # percentile of fine detail that edges do not reach, grain does; Gaussian noise has 0.385 σ there
_DIRECTIONS = np.random.default_rng(0).normal(size=(3, 16))
_DIRECTIONS /= np.linalg.norm(_DIRECTIONS, axis=0)
_QUANTILES = (np.arange(8) + 0.5) / 8


@dataclass(frozen=True)
class Traits:
    """One picture, measured.

    `colours` (n, 3) is its palette in L*a*b* and `shares` (n,) the area of each, largest first. `lightness` is the mean
    of L*, `contrast` the step of L* from the darkest tenth to the lightest one, both 0 … 100. `chroma` is that of
    the most colourful fiftieth, 0 … about 130. `warmth` is −1 for blue and 1 for orange light, 0 for grey. `shapes` is
    the number of regions of one colour, from 1. `lean` is the share of the edges that lean one way among those within
    30° of level: below a half for a still scene. `flatness` is the share of pixels that are like their neighbours and
    `grain` the standard deviation of noise in L*. `quantiles` (128,) and `edges` (12,) describe colours and texture.
    """

    colours: np.ndarray
    shares: np.ndarray
    lightness: float
    contrast: float
    chroma: float
    warmth: float
    shapes: float
    lean: float
    flatness: float
    grain: float
    quantiles: np.ndarray
    edges: np.ndarray


# Groups of measures that a look is made of, and by how much each varies among pictures of one look: root mean squares
# over 48 looks of the renderer, 40 pictures each. Differences are counted in these units, not in the board's own
# deviations, which would blow up the accidents of a board that has only one look.
LOOK: tuple[tuple[Callable[[Traits], np.ndarray], np.ndarray | float], ...] = (
    (lambda t: t.quantiles, 6.3),
    (lambda t: t.edges, 0.14),
    (lambda t: np.array([np.log(t.shapes), t.lean, t.flatness, t.grain]), np.array([0.27, 0.07, 0.06, 0.3])),
)


def traits(picture: Image.Image) -> Traits:
    """Measure one picture, of any size and mode; the same pixels give the same numbers."""
    small = lab(reduced(picture, MEASURED_PX))
    lightness, chroma = small[..., 0], np.hypot(small[..., 1], small[..., 2])
    few = small[::_PALETTE_STRIDE, ::_PALETTE_STRIDE].reshape(-1, 3)
    colours, shares = palette(few, np.ones(len(few)), PALETTE_COLOURS)
    smooth = np.stack([blurred(channel, _BLUR_PX) for channel in np.moveaxis(small, -1, 0)], -1)
    flatness, grain = _surface(picture)
    return Traits(
        colours=colours,
        shares=shares,
        lightness=float(lightness.mean()),
        contrast=_contrast(lightness),
        chroma=float(np.percentile(chroma, 98)),
        warmth=_warmth(small, chroma),
        shapes=_shapes(smooth, merged(colours, shares, PALETTE_COLOURS, _SHAPES_APART)[0]),
        lean=_lean(smooth[..., 0]),
        flatness=flatness,
        grain=grain,
        quantiles=np.quantile(few @ _DIRECTIONS, _QUANTILES, axis=0).ravel(),
        edges=_edges(lightness),
    )


def _contrast(lightness: np.ndarray) -> float:
    ordered = np.sort(lightness, axis=None)
    tenth = -(-len(ordered) // 10)
    return float(ordered[-tenth:].mean() - ordered[:tenth].mean())


def _warmth(colours: np.ndarray, chroma: np.ndarray) -> float:
    """How much of the chroma lies towards orange, at a hue of 60°, −1 … 1."""
    if chroma.mean() < _GREY:
        return 0.0
    towards = colours[..., 1] * np.cos(np.pi / 3) + colours[..., 2] * np.sin(np.pi / 3)
    return float(towards.sum() / chroma.sum())


def _shapes(colours: np.ndarray, points: np.ndarray) -> float:
    """Regions of one colour in a picture (rows, columns, 3) of which only the colours `points` are left."""
    nearest = ((colours[:, :, None] - points) ** 2).sum(-1).argmin(-1)
    painted = Image.fromarray((nearest * _TONE_STEP).astype(np.uint8))
    return max(1.0, shapes(painted.resize((MEASURED_PX, MEASURED_PX), Image.Resampling.NEAREST)))


def _lean(lightness: np.ndarray) -> float:
    """Share of the stronger of the two directions in all edges that are within 30° of level, inside the border."""
    rows, columns = (round(_BORDER * side) for side in lightness.shape)
    inside = slice(rows, lightness.shape[0] - rows), slice(columns, lightness.shape[1] - columns)
    down, across = _gradient(lightness[inside])
    strength = np.hypot(across, down)
    # The angle of the edge, which is square to the gradient; rows count downwards, so positive ones fall.
    angle = (np.degrees(np.arctan2(across, -down)) + 90) % 180 - 90
    falling = strength[(angle > _LEVEL_DEGREES) & (angle < _LEANING_DEGREES)].sum()
    rising = strength[(angle < -_LEVEL_DEGREES) & (angle > -_LEANING_DEGREES)].sum()
    level = strength[np.abs(angle) <= _LEVEL_DEGREES].sum()
    return float(max(falling, rising) / max(falling + rising + level, 1e-9))


def _surface(picture: Image.Image) -> tuple[float, float]:
    """Flatness and grain. The grain is Immerkær's estimate of noise (1996), taken where the picture is calm."""
    large = np.asarray(reduced(picture, GRAIN_PX).convert("L"), np.float64) / 2.55
    down, across = _gradient(large)
    flatness = (np.hypot(down, across) < _FLAT_STEP).mean()
    padded = np.pad(large, 1, mode="edge")
    rows = padded[:-2] - 2 * padded[1:-1] + padded[2:]
    detail = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    return float(flatness), float(np.percentile(detail, _CALM) / (6 * 0.385))


def _edges(lightness: np.ndarray) -> np.ndarray:
    """Logarithm of the root mean square change of L* per pixel: three scales × four orientations."""
    found = []
    for scale in _EDGE_SCALES_PX:
        down, across = _gradient(blurred(lightness, scale))
        for angle in np.arange(4) * np.pi / 4:
            change = np.cos(angle) * across + np.sin(angle) * down
            found.append(np.log(np.hypot(np.sqrt((change**2).mean()) * scale, _EDGE_FLOOR)))
    return np.array(found)


def _gradient(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change per pixel along the last two axes, down and across; 0 where there is only one pixel."""
    down, across = (
        np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values) for axis in (-2, -1)
    )
    return down, across
