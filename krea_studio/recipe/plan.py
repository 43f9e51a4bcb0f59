"""From a request and a seed to exactly what the engine draws: one Shot per image, everything resolved.

Pure: the same request and seed give the same plan, anywhere. Drawing a seed is the studio's part; which checkpoint a
variant means is the engine's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.aspect_ratios import size_of
from krea_studio.recipe.exploration import Exploration
from krea_studio.recipe.request import (
    RAW,
    RECIPE_SCHEMA_VERSION,
    SEED_LIMIT,
    SLIDERS,
    Expansion,
    GenerationRequest,
    MoodboardChoice,
    StyleChoice,
    StyleReference,
)
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown


@dataclass(frozen=True)
class Shot:
    """One image of a plan. Sizes in pixels, guidance in Krea's convention (0 is off); `index` counts from 0."""

    index: int
    prompt: str
    expansion: Expansion | None
    negative_prompt: str
    variant: str
    aspect_ratio: str
    resolution: str
    width: int
    height: int
    creativity: str
    intensity: int
    complexity: int
    movement: int
    exploration: Exploration | None
    style_references: tuple[StyleReference, ...]
    moodboard: MoodboardChoice | None
    styles: tuple[StyleChoice, ...]
    seed: int
    steps: int
    guidance_scale: float

    @property
    def conditioning_prompt(self) -> str:
        """The text that the model reads: the expansion or else the prompt itself, then the styles' trigger words.

        Raw and without such words it is the very string that the person wrote.
        """
        return with_triggers(self.prompt if self.expansion is None else self.expansion.text, self.styles)

    @property
    def style_weights(self) -> dict[str, float]:
        """The weight of each style by its identity, those at 0 left out: at 0 a style does nothing."""
        return {style.identity: style.weight for style in self.styles if style.weight and style.identity}

    @property
    def sliders(self) -> dict[str, int]:
        """The value of each slider, −100…100, those at 0 left out: at 0 a slider does nothing."""
        values = {slider: getattr(self, slider) for slider in SLIDERS}
        return {slider: value for slider, value in values.items() if value}

    def recipe(
        self,
        checkpoint: str,
        slider_mechanisms: Mapping[str, str] = MappingProxyType({}),
        reference_mechanism: str | None = None,
    ) -> dict[str, Any]:
        """All that is needed to draw this shot again, ready for JSON, under the request's own field names.

        `GenerationRequest.from_recipe` reads it back. The place in the batch is not part of it: a seed is a picture.
        Random mode is not either: the values that it drew are, and how it drew them is told beside them.
        `slider_mechanisms` says by what each slider that is not at 0 worked, `reference_mechanism` by what references
        and moodboard did, None where there were none.
        """
        return {
            "schema_version": RECIPE_SCHEMA_VERSION,
            "prompt": self.prompt,
            "expansion": self.expansion.model_dump(mode="json") if self.expansion else None,
            "negative_prompt": self.negative_prompt,
            "variant": self.variant,
            "checkpoint": checkpoint,
            "aspect_ratio": self.aspect_ratio,
            "resolution": self.resolution,
            "width": self.width,
            "height": self.height,
            "creativity": self.creativity,
            "intensity": self.intensity,
            "complexity": self.complexity,
            "movement": self.movement,
            "slider_mechanisms": dict(slider_mechanisms),
            "reference_mechanism": reference_mechanism,
            "exploration": self.exploration.recipe() if self.exploration else None,
            "style_references": [reference.model_dump(mode="json") for reference in self.style_references],
            "moodboard": self.moodboard.model_dump(mode="json") if self.moodboard else None,
            "styles": [style.model_dump() for style in self.styles],
            "seed": self.seed,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
        }


def with_triggers(text: str, styles: Sequence[StyleChoice]) -> str:
    """A text with the trigger words of styles after it.

    A style whose weight is not above 0 is not called by its words, nor is one whose words are in the text already.
    """
    for style in styles:
        if style.weight > 0 and style.trigger and not _says(text, style.trigger):
            text = f"{text.rstrip(' ,.')}, {style.trigger}"
    return text


def _says(text: str, words: str) -> bool:
    """Whether these words stand in a text, not only as parts of others; case makes no difference."""
    return re.search(rf"(?<!\w){re.escape(words.casefold())}(?!\w)", text.casefold()) is not None


@dataclass(frozen=True)
class GenerationPlan:
    """A request with everything decided: the seed of the first shot, and every shot.

    `pictures` holds the PNG of every picture that the shots refer to, by its id, `styles` the file of every style by
    its identity; who has them adds them.
    """

    request: GenerationRequest
    seed: int
    shots: tuple[Shot, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    styles: Mapping[str, Path] = field(default_factory=dict)


def plan(request: GenerationRequest, seed: int, exploration_seed: int | None = None) -> GenerationPlan:
    """Resolve a request; shot k has the seed `(seed + k) mod 2**32`, so it equals that seed alone.

    In random mode the slider values of shot k are the k-th of the sequence that `exploration_seed` gives, unless the
    request names its own. A moodboard must have its content and a style its identity. Raises InvalidRequest where they
    have not, a seed is out of range, random mode has no exploration seed, or parts of the request contradict another.
    """
    require_seed("Seed", seed)
    require_plannable(request)
    if request.exploration_seed is not None:
        exploration_seed = request.exploration_seed
    drawn = require_seed("Exploration seed", exploration_seed) if request.random_mode else 0
    moodboard = request.moodboard
    if moodboard is not None and moodboard.strength and moodboard.content is None:
        raise InvalidRequest(f"Moodboard {shown(moodboard.name)} has no content — name one that is in the library")
    for style in request.styles:
        if style.weight and style.identity is None:
            raise InvalidRequest(f"Style {shown(style.name)} has no weights — name one that is in the library")
    variant = VARIANTS[request.variant]
    width, height = size_of(request.aspect_ratio, request.resolution)
    shots = []
    for index in range(request.batch):
        values, exploration = {slider: getattr(request, slider) for slider in SLIDERS}, None
        if request.random_mode:
            exploration = Exploration(drawn, index, request.spread, request.locked_sliders, values)
            values = exploration.values()
        shots.append(
            Shot(
                index=index,
                prompt=request.prompt,
                expansion=request.expansion,
                negative_prompt=request.negative_prompt,
                variant=request.variant,
                aspect_ratio=request.aspect_ratio,
                resolution=request.resolution,
                width=width,
                height=height,
                creativity=request.creativity,
                **values,
                exploration=exploration,
                style_references=request.style_references,
                moodboard=request.moodboard,
                styles=request.styles,
                seed=(seed + index) % SEED_LIMIT,
                steps=variant.steps if request.steps is None else request.steps,
                guidance_scale=variant.guidance_scale if request.guidance_scale is None else request.guidance_scale,
            )
        )
    return GenerationPlan(request=request, seed=seed, shots=tuple(shots))


def require_plannable(request: GenerationRequest) -> None:
    """Raise InvalidRequest for a request that no plan can be made of, whatever the seed."""
    if request.expansion is not None and request.creativity == RAW:
        raise InvalidRequest(
            "The request has an expanded prompt, but raw creativity draws the prompt as it is written — "
            "choose another creativity or leave the expanded prompt out"
        )
    for number, style in enumerate(request.styles):
        before = request.styles[:number]
        if any(
            other.name.casefold() == style.name.casefold() or (other.identity and other.identity == style.identity)
            for other in before
        ):
            raise InvalidRequest(
                f"Style {shown(style.name)} is chosen more than once — choose it once, with one weight"
            )
    if request.random_mode and set(request.locked_sliders) == set(SLIDERS):
        raise InvalidRequest("Random mode has nothing to vary: all sliders are locked — unlock one of them")


def require_seed(name: str, seed: int | None) -> int:
    """The seed; raises InvalidRequest, naming the field, for what is none."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEED_LIMIT:
        raise InvalidRequest(f"{name} is {shown(seed)} — give a whole number from 0 to {SEED_LIMIT - 1}")
    return seed
