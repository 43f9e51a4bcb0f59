"""What a slider's effect is measured by: plain statistics of pixels, in numpy.

Each takes an RGB picture and gives one number that rises with its slider. Pictures are measured at half a megapixel at
most, and edges after a slight blur, so that neither size nor noise decides.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

MEASURED_PIXELS = 512 * 512
EDGE_BLUR_PX = 2.0
EDGE_STEP = 4.0  # levels of lightness per pixel, out of 255
TILT_DEGREES = (5.0, 30.0)
LAYOUT_CELLS = 16


def colourfulness(picture: Image.Image) -> float:
    """Hasler and Süsstrunk 2003: spread and strength of the opponent colours; 0 is grey, above 100 is extreme."""
    pixels = np.asarray(_sized(picture), np.float64)
    red_green = pixels[..., 0] - pixels[..., 1]
    yellow_blue = (pixels[..., 0] + pixels[..., 1]) / 2 - pixels[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def contrast(picture: Image.Image) -> float:
    """Standard deviation of lightness, 0 … 127."""
    return float(_lightness(picture, 0).std())


def edge_density(picture: Image.Image) -> float:
    """Share of pixels, 0 … 1, where lightness changes by more than `EDGE_STEP` per pixel."""
    across, down = _gradient(picture)
    return float((np.hypot(across, down) > EDGE_STEP).mean())


def shapes(picture: Image.Image) -> float:
    """Number of connected regions of one colour, of at least a thousandth of the picture, after reduction to 12."""
    small = _sized(picture).resize((128, 128), Image.Resampling.BOX)
    colours = np.asarray(small.quantize(12, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE), np.int64)
    # Regions grow by handing on the smallest number among neighbours of the same colour until nothing changes.
    names = np.arange(colours.size).reshape(colours.shape)
    while True:
        before = names
        names = names.copy()
        for axis in (0, 1):
            for step in (1, -1):
                same = np.roll(colours, step, axis) == colours
                edge: list[slice | int] = [slice(None)] * 2
                edge[axis] = 0 if step == 1 else -1
                same[tuple(edge)] = False
                names = np.where(same, np.minimum(names, np.roll(names, step, axis)), names)
        names = names.ravel()[names]
        if (names == before).all():
            break
    return float((np.bincount(names.ravel()) >= colours.size / 1000).sum())


def tilt(picture: Image.Image) -> float:
    """Share, 0 … 1, of the edges' energy on edges that fall from left to right at 5° to 30°.

    Level and upright edges dominate still scenes; leaning into a motion, shearing and streaks along it move their
    energy into this fan.
    """
    across, down = _gradient(picture)
    energy = across**2 + down**2
    angle = np.degrees(np.arctan2(across, -down))  # of the edge, which is square to the gradient; rows count downwards
    angle = (angle + 90) % 180 - 90
    falling = (angle > TILT_DEGREES[0]) & (angle < TILT_DEGREES[1])
    return float(energy[falling].sum() / max(energy.sum(), 1e-9))


def anisotropy(picture: Image.Image) -> float:
    """Coherence of the whole picture's structure tensor: 0 for edges of every direction, 1 for one direction only."""
    across, down = _gradient(picture)
    xx, yy, xy = (across**2).mean(), (down**2).mean(), (across * down).mean()
    return float(np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-9))


def layout_correlation(picture: Image.Image, other: Image.Image) -> float:
    """Correlation, −1 … 1, of the two pictures' lightness in 16 × 16 cells."""
    cells = [
        np.asarray(p.convert("L").resize((LAYOUT_CELLS,) * 2, Image.Resampling.BOX), np.float64).ravel()
        for p in (picture, other)
    ]
    first, second = (values - values.mean() for values in cells)
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-9))


MEASURES: dict[str, Callable[[Image.Image], float]] = {
    "intensity": colourfulness,
    "complexity": edge_density,
    "movement": tilt,
}
"""The measure by which each slider is judged."""

SECONDARY: dict[str, Callable[[Image.Image], float]] = {
    "contrast": contrast,
    "shapes": shapes,
    "anisotropy": anisotropy,
}
"""Further measures that tables show."""


def _sized(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB")
    factor = (MEASURED_PIXELS / (picture.width * picture.height)) ** 0.5
    if factor >= 1:
        return picture
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BOX)


def _lightness(picture: Image.Image, blur_px: float) -> np.ndarray:
    grey = _sized(picture).convert("L")
    return np.asarray(grey.filter(ImageFilter.GaussianBlur(blur_px)) if blur_px else grey, np.float64)


def _gradient(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Change of lightness per pixel, across and down."""
    down, across = np.gradient(_lightness(picture, EDGE_BLUR_PX))
    return across, down
