"""The three variants of Krea 2, in the order in which the page shows them.

Steps and guidance are those of the open release: Raw (which is Medium) 28 steps at 4.5, Turbo 8 steps without
guidance. Guidance is Krea's own convention, `conditional + g · (conditional − unconditional)`, so 0 means off.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One variant: what it is good for, and how many steps and how much guidance it takes when nobody says."""

    name: str
    label: str
    best_for: str
    speed: str
    steps: int
    guidance_scale: float


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "medium",
            "Medium",
            "Stable, general-purpose output. Illustration, anime, painting, expressive styles.",
            "Standard",
            steps=28,
            guidance_scale=4.5,
        ),
        Variant(
            "large",
            "Large",
            "Photorealism, raw textures, motion blur, the richest output.",
            "Slower",
            steps=28,
            guidance_scale=4.5,
        ),
        Variant(
            "turbo",
            "Turbo",
            "Fast, low-cost iteration on expressive illustration and concepts.",
            "Fastest",
            steps=8,
            guidance_scale=0.0,
        ),
    )
}
