"""For how long a GPU is asked for: what a run's steps take, as far as is known, with some room.

Who asks for less waits less and keeps more of a day's quota; a run that takes longer than it asked for is ended.
"""

import math
from collections.abc import Sequence

from krea_studio.recipe.recipe import Shot

START_SECONDS = 10.0
"""For the weights' way to the device and torch's first steps there."""
SECONDS_A_MEGAPIXEL = 1.0
"""Of one step, until a picture was drawn here: a guess on the high side, for the published model."""
ROOM = 1.5
LEAST_SECONDS, MOST_SECONDS = 15, 120


class Durations:
    """Seconds to ask for, learned for each variant from the pictures that were drawn."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def learn(self, shot: Shot, seconds: float) -> None:
        """Take in that a picture took so many seconds: slower counts at once, quicker by half."""
        found = seconds / _work(shot)
        known = self._seconds.get(shot.variant, found)
        self._seconds[shot.variant] = max(found, (known + found) / 2)

    def fell_short(self, shots: Sequence[Shot]) -> None:
        """Take in that a run was ended before it was finished: the next one is given twice as long."""
        for variant in {shot.variant for shot in shots}:
            self._seconds[variant] = 2 * self._seconds.get(variant, SECONDS_A_MEGAPIXEL)

    def seconds(self, shots: Sequence[Shot]) -> int:
        """Whole seconds for all of these, from LEAST_SECONDS to MOST_SECONDS."""
        drawing = sum(_work(shot) * self._seconds.get(shot.variant, SECONDS_A_MEGAPIXEL) for shot in shots)
        return min(MOST_SECONDS, max(LEAST_SECONDS, math.ceil(START_SECONDS + ROOM * drawing)))


def _work(shot: Shot) -> float:
    """Steps times megapixels, twice with guidance."""
    return shot.steps * shot.width * shot.height / 1e6 * (2 if shot.guidance_scale > 0 else 1)
