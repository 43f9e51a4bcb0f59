"""Noise levels that a picture is drawn at, where a request names its own: the sigmas of the denoising steps.

A sigma is the share of noise in the latents, as the model itself is told it: 1 is noise alone, 0 the clean picture.
The last step goes to 0, which is not written. They are what comes after a scheduler's shift, as few-step LoRAs state
them, so they mean the same on every checkpoint and at every size; `engine.pipeline.sigmas` gives them to the pipeline.
"""

from itertools import pairwise
from math import exp
from typing import Annotated, Any

from pydantic import AfterValidator, Field

LEAST_SIGMA = 0.001
LEAST_FALL = 0.0001
"""By how much each sigma is below the one before: less is lost in the numbers that a model computes with."""
MOST_STEPS = 100
TURBO_SHIFT = 1.15
"""`mu` of the exponential shift that Turbo was distilled with, at every size (`Krea2Pipeline.__call__`)."""
_DIGITS = 6


def _falling(sigmas: tuple[float, ...]) -> tuple[float, ...]:
    for before, after in pairwise(sigmas):
        if after > before - LEAST_FALL:
            raise ValueError(f"let each be {LEAST_FALL:g} or more below the one before; {after:g} is behind {before:g}")
    return sigmas


Sigmas = Annotated[
    tuple[Annotated[float, Field(ge=LEAST_SIGMA, le=1, strict=True)], ...],
    Field(min_length=1, max_length=MOST_STEPS),
    AfterValidator(_falling),
]


def turbo_sigmas(steps: int) -> tuple[float, ...]:
    """The sigmas of Turbo's schedule with so many steps, which LoRAs are distilled for unless they say otherwise."""
    shift = exp(TURBO_SHIFT)
    even = (1 - step / steps for step in range(steps))
    return tuple(round(shift * each / (1 + (shift - 1) * each), _DIGITS) for each in even)


def read_sigmas(text: str) -> list[Any] | None:
    """The sigmas in a text, with commas, spaces or brackets between them; None for an empty one.

    What is no number stays text, for the request to refuse. A 0 at the end, as other tools write it, is left out.
    """
    found: list[Any] = []
    for word in text.translate(str.maketrans("[](),;", "      ")).split():
        try:
            found.append(float(word))
        except ValueError:
            found.append(word)
    if len(found) > 1 and found[-1] == 0:
        found.pop()
    return found or ([text] if text.strip() else None)


def sigmas_text(sigmas: tuple[float, ...] | None) -> str:
    """Sigmas as `read_sigmas` reads them back to the last digit; empty for none."""
    return ", ".join(repr(each).removesuffix(".0") for each in sigmas or ())
