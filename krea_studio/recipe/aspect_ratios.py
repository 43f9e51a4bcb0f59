"""The eight aspect ratios of the Krea 2 user guide with their output sizes, and the half-size drafts.

Every side is a multiple of 32 pixels, as the model's patches need. The guide knows one resolution, 1K; `512` is this
studio's own, about half of each side, for drafts and slow machines.
"""

from dataclasses import dataclass
from itertools import product
from math import ceil, floor, log

SIDE_MULTIPLE_PX = 32
RESOLUTIONS = ("1K", "512")


@dataclass(frozen=True)
class AspectRatio:
    """One row of the guide's table: name, category, and the output size in pixels at 1K."""

    name: str
    category: str
    width: int
    height: int

    @property
    def ratio(self) -> float:
        """Width over height as the name says it, which the size in pixels only comes near to."""
        across, down = self.name.split(":")
        return float(across) / float(down)


ASPECT_RATIOS: dict[str, AspectRatio] = {
    row.name: row
    for row in (
        AspectRatio("1:1", "Square", 1024, 1024),
        AspectRatio("4:3", "Landscape", 1184, 896),
        AspectRatio("3:2", "Landscape", 1248, 832),
        AspectRatio("16:9", "Landscape", 1376, 768),
        AspectRatio("2.35:1", "Landscape", 1568, 672),
        AspectRatio("4:5", "Portrait", 928, 1152),
        AspectRatio("2:3", "Portrait", 832, 1248),
        AspectRatio("9:16", "Portrait", 768, 1376),
    )
}


def size_of(aspect_ratio: str, resolution: str) -> tuple[int, int]:
    """Width and height in pixels, both multiples of 32.

    `1K` gives the guide's size. `512` halves each side and takes, of the multiples of 32 next to the halves, the pair
    whose ratio is nearest to the named one. Raises KeyError for an aspect ratio or a resolution that does not exist.
    """
    row = ASPECT_RATIOS[aspect_ratio]
    sizes = {"1K": (row.width, row.height), "512": _half(row)}
    return sizes[resolution]


def _half(row: AspectRatio) -> tuple[int, int]:
    widths, heights = _multiples_near(row.width / 2), _multiples_near(row.height / 2)
    return min(product(widths, heights), key=lambda size: abs(log(size[0] / size[1] / row.ratio)))


def _multiples_near(length_px: float) -> set[int]:
    units = length_px / SIDE_MULTIPLE_PX
    return {floor(units) * SIDE_MULTIPLE_PX, ceil(units) * SIDE_MULTIPLE_PX}
