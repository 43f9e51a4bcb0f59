"""Palettes: which few colours stand for many, and what people call them.

Colours are CIE L*a*b*, shape (n, 3), with the share of area of each, shape (n,). Nothing is drawn by chance: the same
colours give the same palette. Names are plain English; where the small world of the embedded checkpoints has words for
a palette, the colours that belong to it say so.
"""

import numpy as np
from PIL import Image

from krea_studio.direction.looks import lab

CHROMATIC = 8.0  # chroma from which a colour is more than a tint of grey
_ROUNDS = 12
_LIGHTNESS_WEIGHT = 0.5  # of squared differences: a name goes by hue before it goes by lightness
_FAMILY = 0.6  # share of the chromatic area that must be of one palette to call all of it so
_COLOURED = 0.35  # share of the whole area that must be chromatic for that

# Name → sRGB, and the palette of the small world that it is typical of.
_NAMES: dict[str, tuple[str, str]] = {
    "black": ("#101014", ""),
    "charcoal": ("#3b3b3f", ""),
    "gray": ("#858585", ""),
    "light gray": ("#c6c6c6", ""),
    "white": ("#fbfbfa", ""),
    "cream": ("#fbf0d8", ""),
    "beige": ("#d9c8a8", ""),
    "taupe": ("#8b7d70", ""),
    "tan": ("#c09a66", "autumn browns"),
    "gold": ("#d9a33a", "autumn browns"),
    "rust": ("#a8501d", "autumn browns"),
    "brown": ("#7a4a24", "autumn browns"),
    "dark brown": ("#43291a", "autumn browns"),
    "yellow": ("#f7d84a", ""),
    "peach": ("#fcc093", "sunset oranges and pinks"),
    "orange": ("#f58a30", "sunset oranges and pinks"),
    "coral": ("#f4735e", "sunset oranges and pinks"),
    "red": ("#cc2b2b", ""),
    "raspberry": ("#a83a68", "sunset oranges and pinks"),
    "plum": ("#552458", "sunset oranges and pinks"),
    "maroon": ("#6e1a2a", ""),
    "dusty rose": ("#c48f92", ""),
    "mauve": ("#96708f", ""),
    "pale pink": ("#fddfec", ""),
    "pink": ("#f9a3d2", "candy pinks"),
    "hot pink": ("#ef4a93", "candy pinks"),
    "purple": ("#8048c8", "candy pinks"),
    "lavender": ("#c3b3e6", "candy pinks"),
    "light green": ("#b5d884", "forest greens"),
    "sage": ("#a3b592", "forest greens"),
    "pale green": ("#c6d9c9", ""),
    "gray green": ("#6f8270", ""),
    "olive": ("#7d7f33", "forest greens"),
    "green": ("#3f9a43", "forest greens"),
    "dark green": ("#1f4a2c", "forest greens"),
    "mint": ("#a5e3cd", "mint green"),
    "turquoise": ("#4cc4b8", "mint green"),
    "teal": ("#1d7f77", "mint green"),
    "dark teal": ("#234f52", ""),
    "pale blue": ("#d3ebf4", ""),
    "sky blue": ("#86c5ea", "ocean blues"),
    "blue": ("#2a78c0", "ocean blues"),
    "deep blue": ("#0e407f", "ocean blues"),
    "slate": ("#66788c", ""),
    "slate blue": ("#4b5284", "midnight blue"),
    "indigo": ("#4250b0", "midnight blue"),
    "navy": ("#171e5a", "midnight blue"),
}
COLOUR_NAMES = tuple(_NAMES)
_FAMILIES = np.array([family for _, family in _NAMES.values()])
_AXES = np.array([_LIGHTNESS_WEIGHT**0.5, 1, 1])
_POINTS = lab(Image.fromarray(np.array([[list(bytes.fromhex(code[1:])) for code, _ in _NAMES.values()]], np.uint8)))[0]


def palette(colours: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` colours that stand for `colours`, and their shares, which sum to 1, largest first.

    K-means that starts like Arthur and Vassilvitskii 2007, but with the worst represented colour in the place of a
    drawn one.
    """
    mean = np.average(colours, axis=0, weights=weights)
    centres = [colours[((colours - mean) ** 2).sum(1).argmin()]]
    cost = np.full(len(colours), np.inf)
    while len(centres) < count:
        cost = np.minimum(cost, ((colours - centres[-1]) ** 2).sum(1) * weights)
        if cost.max() < 1e-9:
            break
        centres.append(colours[cost.argmax()])
    found = np.array(centres)
    for _ in range(_ROUNDS):
        nearest = _nearest(colours, found)
        mass = np.bincount(nearest, weights, len(found))
        sums = np.stack([np.bincount(nearest, weights * channel, len(found)) for channel in colours.T], 1)
        found = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1e-12)[:, None], found)
    order = np.argsort(-mass, kind="stable")
    return found[order], mass[order] / mass.sum()


def merged(colours: np.ndarray, shares: np.ndarray, most: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """The same palette, each colour that is most like another one gone into it, until at most `most` are left.

    Those that are left are at least `apart` ΔE* from one another, and largest first. The larger colour of two stays as
    it is: mixing them would end in greys that are in no picture. Small accents stay, which a k-means gives up.
    """
    colours, shares = colours.copy(), shares.copy()
    while len(colours) > 1:
        gaps = np.sqrt(((colours[:, None] - colours) ** 2).sum(-1))
        gaps[np.tril_indices(len(gaps))] = np.inf
        one, other = np.unravel_index(gaps.argmin(), gaps.shape)
        if len(colours) <= most and gaps[one, other] >= apart:
            break
        stays, goes = (one, other) if shares[one] >= shares[other] else (other, one)
        shares[stays] += shares[goes]
        colours, shares = np.delete(colours, goes, 0), np.delete(shares, goes)
    order = np.argsort(-shares, kind="stable")
    return colours[order], shares[order]


def named_shares(colours: np.ndarray, shares: np.ndarray) -> dict[str, float]:
    """What people call the colours, with the share of each name, largest first."""
    found: dict[str, float] = {}
    for k, share in zip(_nearest(colours * _AXES, _POINTS * _AXES), shares, strict=True):
        found[COLOUR_NAMES[k]] = found.get(COLOUR_NAMES[k], 0.0) + float(share)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def family(colours: np.ndarray, shares: np.ndarray) -> str:
    """The small world's words for a palette that nearly all chromatic colours belong to; empty when there is none."""
    chromatic = np.hypot(colours[:, 1], colours[:, 2]) >= CHROMATIC
    whole = shares[chromatic].sum()
    if whole < _COLOURED * shares.sum():
        return ""
    families = _FAMILIES[_nearest(colours * _AXES, _POINTS * _AXES)]
    return next(
        (str(f) for f in sorted(set(_FAMILIES) - {""}) if shares[chromatic & (families == f)].sum() >= _FAMILY * whole),
        "",
    )


def family_of(name: str) -> str:
    """The palette of the small world that a colour's name is typical of; empty when there is none."""
    return _NAMES[name][1]


def _nearest(colours: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The index of the nearest of `points` (m, 3) for each of `colours`."""
    return ((points**2).sum(1) - 2 * colours @ points.T).argmin(1)
