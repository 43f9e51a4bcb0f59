"""Random mode: slider values drawn for every picture, from a seed that is recorded.

The four pictures of a batch are a Latin hypercube (McKay, Beckman and Conover 1979): in each slider they lie in four
different quarters of its range. Of several such draws the one whose nearest pictures are farthest apart is taken, so
that four pictures show four directions. A locked slider keeps its value and changes nothing for the others.
"""

import random
from collections.abc import Mapping
from itertools import combinations
from math import dist
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from krea_studio.recipe.request import FULL_SPREAD, SEED_LIMIT, SLIDER_LIMIT, SLIDERS, Frozen

BLOCK = 4
_TRIES = 16

Point = tuple[float, ...]


def _of_every_slider(values: Mapping[str, int]) -> Mapping[str, int]:
    if values.keys() != set(SLIDERS):
        raise ValueError(f"give a value for each of {', '.join(SLIDERS)}")
    return values


SliderValue = Annotated[int, Field(ge=-SLIDER_LIMIT, le=SLIDER_LIMIT, strict=True)]


class Exploration(Frozen):
    """How a shot's slider values came about: the draw's seed, the picture's number in it, and its limits.

    `around` gives the values that the sliders had, `spread` how far from them a draw may go (1…200).
    """

    seed: int = Field(ge=0, le=SEED_LIMIT - 1, strict=True)
    number: int = Field(ge=0, le=SEED_LIMIT - 1, strict=True)
    spread: int = Field(ge=1, le=FULL_SPREAD, strict=True)
    locked: tuple[Literal["intensity", "complexity", "movement"], ...] = Field(max_length=len(SLIDERS))
    around: Annotated[Mapping[str, SliderValue], AfterValidator(_of_every_slider)]

    def values(self) -> dict[str, int]:
        """The slider values of this picture, each a whole number from −100 to 100."""
        block, place = divmod(self.number, BLOCK)
        drawn = {}
        for slider, share in zip(SLIDERS, _points(self.seed, block)[place], strict=True):
            low = max(-SLIDER_LIMIT, self.around[slider] - self.spread)
            high = min(SLIDER_LIMIT, self.around[slider] + self.spread)
            drawn[slider] = self.around[slider] if slider in self.locked else low + int(share * (high - low + 1))
        return drawn


def _points(seed: int, block: int) -> list[Point]:
    """The block's four points, each with a coordinate in 0…1 for every slider."""
    draw = random.Random(f"exploration-{seed}-{block}")
    return max((_latin(draw) for _ in range(_TRIES)), key=_least_distance)


def _latin(draw: random.Random) -> list[Point]:
    columns = []
    for _ in SLIDERS:
        quarters = draw.sample(range(BLOCK), BLOCK)
        columns.append([(quarter + draw.random()) / BLOCK for quarter in quarters])
    return list(zip(*columns, strict=True))


def _least_distance(points: list[Point]) -> float:
    return min(dist(a, b) for a, b in combinations(points, 2))
