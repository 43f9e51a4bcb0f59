"""The flags of `generate`: which field of a request each of them is."""

# Request field → flag. The other fields of a request have no plain text form yet.
FLAGS = {
    "variant": "--variant",
    "aspect_ratio": "--aspect-ratio",
    "resolution": "--resolution",
    "seed": "--seed",
    "batch": "--count",
    "steps": "--steps",
    "guidance_scale": "--guidance-scale",
    "sigmas": "--sigmas",
    "negative_prompt": "--negative-prompt",
    "creativity": "--creativity",
    "intensity": "--intensity",
    "complexity": "--complexity",
    "movement": "--movement",
    "spread": "--spread",
    "exploration_seed": "--exploration-seed",
}
REFERENCE_FLAG, MOODBOARD_FLAG, STYLE_FLAG = "--reference", "--moodboard", "--style"
SPEED_FLAG = "--few-steps"
# Flags that say how random mode draws; without it they would have no effect.
RANDOM_FLAGS = {"locked_sliders": "--lock", "spread": "--spread", "exploration_seed": "--exploration-seed"}


def flag_of(field: str) -> str:
    """A field as the person at the command line knows it."""
    others = {
        "random_mode": "--random",
        "style_references": REFERENCE_FLAG,
        "moodboard": MOODBOARD_FLAG,
        "styles": STYLE_FLAG,
    }
    return {**FLAGS, **RANDOM_FLAGS, **others}.get(field, field.upper())
