"""How a picture looks, whatever it shows: its colours and its texture, and how far two looks lie apart.

Plain statistics in numpy on reduced copies, so that neither size nor format decides. Distances are 0 between equal
looks and have no upper end.
"""

from functools import cached_property

import numpy as np
from PIL import Image

COMPARED_PX = 256  # the longer side of the copies whose texture is compared
PALETTE_PX = 96  # and of those whose colours are
_PROJECTIONS = 64
_QUANTILES = 256
_SCALES_PX = (1.0, 2.0, 4.0)
_ENERGY_FLOOR = 0.5  # levels of L* per pixel: below this a texture is as good as none
LEAK_CELLS = 8

# sRGB (IEC 61966-2-1) to CIE XYZ, each row divided by the white of D65.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)
_TO_XYZ /= _TO_XYZ.sum(1, keepdims=True)


def reduced(picture: Image.Image, longest_px: int = COMPARED_PX) -> Image.Image:
    """An RGB copy whose longer side is at most `longest_px`."""
    copy = picture.convert("RGB")
    copy.thumbnail((longest_px, longest_px), Image.Resampling.BOX)
    return copy


def lab(picture: Image.Image) -> np.ndarray:
    """CIE L*a*b* under D65, shape (height, width, 3): L* 0…100, a* and b* about −110…110."""
    values = np.asarray(picture.convert("RGB"), np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def rgb(colour: np.ndarray) -> tuple[int, int, int]:
    """One L*a*b* colour as sRGB values 0…255, the nearest where it has none."""
    fy = (colour[0] + 16) / 116
    f = np.array([fy + colour[1] / 500, fy, fy - colour[2] / 200])
    xyz = np.where(f**3 > 216 / 24389, f**3, (116 * f - 16) * 27 / 24389)
    linear = np.clip(np.linalg.solve(_TO_XYZ, xyz), 0, 1)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(value) * 255) for value in values)
    return red, green, blue


class Look:
    """What the distances compare in a picture: each is worked out once, when it is first asked for."""

    def __init__(self, picture: Image.Image) -> None:
        self._picture = picture

    @cached_property
    def palette(self) -> np.ndarray:
        return _colour_quantiles(self._picture)

    @cached_property
    def texture(self) -> np.ndarray:
        return _edge_energies(self._picture)


def palette_distance(look: Look, other: Look) -> float:
    """Sliced Wasserstein distance of the two sets of colours in L*a*b* (Rabin et al. 2011), in units of ΔE*."""
    return float(np.abs(look.palette - other.palette).mean())


def _colour_quantiles(picture: Image.Image) -> np.ndarray:
    """Quantiles of the colours along fixed directions, (directions, quantiles)."""
    directions = np.random.default_rng(0).normal(size=(3, _PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    projected = lab(reduced(picture, PALETTE_PX)).reshape(-1, 3) @ directions
    return np.quantile(projected, (np.arange(_QUANTILES) + 0.5) / _QUANTILES, axis=0).T


def texture_distance(look: Look, other: Look) -> float:
    """Mean difference of the logarithms of edge energy, by scale and by orientation."""
    return float(np.abs(look.texture - other.texture).mean())


def _edge_energies(picture: Image.Image) -> np.ndarray:
    """Logarithm of the root mean square change of L* per pixel: three scales × four orientations."""
    lightness = lab(reduced(picture))[..., 0]
    found = []
    for scale in _SCALES_PX:
        smooth = blurred(lightness, scale)
        down, across = np.gradient(smooth)
        for angle in np.arange(4) * np.pi / 4:
            change = np.cos(angle) * across + np.sin(angle) * down
            found.append(np.log(np.hypot(np.sqrt((change**2).mean()) * scale, _ENERGY_FLOOR)))
    return np.array(found)


def blurred(values: np.ndarray, sigma_px: float) -> np.ndarray:
    """(height, width) values, blurred by a Gaussian; what lies outside is as the edge is."""
    reach = int(3 * sigma_px)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        values = np.apply_along_axis(np.convolve, axis, padded, kernel, mode="valid")
    return values


def content_correlation(picture: Image.Image, other: Image.Image) -> float:
    """Correlation, −1 … 1, of the two pictures' lightness in 8 × 8 cells: how much of one's layout the other has."""
    maps = [
        lab(p.convert("RGB").resize((LEAK_CELLS,) * 2, Image.Resampling.BOX))[..., 0].ravel() for p in (picture, other)
    ]
    first, second = (values - values.mean() for values in maps)
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-9))
