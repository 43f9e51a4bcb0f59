"""From a request and a seed to exactly what the engine draws: one Shot per image, everything resolved.

Pure: the same request and seed give the same plan, anywhere. Drawing a seed is the studio's part; which checkpoint a
variant means is the engine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.aspect_ratios import size_of
from krea_studio.recipe.exploration import Exploration
from krea_studio.recipe.pending import require_ready
from krea_studio.recipe.request import (
    RECIPE_SCHEMA_VERSION,
    SEED_LIMIT,
    SLIDERS,
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
    expanded_prompt: str | None
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
        """The text that the model reads: the expansion where there is one, otherwise the prompt itself."""
        return self.prompt if self.expanded_prompt is None else self.expanded_prompt

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
            "expanded_prompt": self.expanded_prompt,
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


@dataclass(frozen=True)
class GenerationPlan:
    """A request with everything decided: the seed of the first shot, and every shot.

    `pictures` holds the PNG of every picture that the shots refer to, by its id; who has the pictures adds them.
    """

    request: GenerationRequest
    seed: int
    shots: tuple[Shot, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def plan(request: GenerationRequest, seed: int, exploration_seed: int | None = None) -> GenerationPlan:
    """Resolve a request; shot k has the seed `(seed + k) mod 2**32`, so it equals that seed alone.

    In random mode the slider values of shot k are the k-th of the sequence that `exploration_seed` gives, unless the
    request names its own. A moodboard must have its content. Raises InvalidRequest where the request needs a control
    that is not built yet, a seed is out of range, random mode has no exploration seed, or a moodboard no content.
    """
    require_seed("Seed", seed)
    require_plannable(request)
    if request.exploration_seed is not None:
        exploration_seed = request.exploration_seed
    if request.random_mode:
        require_seed("Exploration seed", exploration_seed)
    moodboard = request.moodboard
    if moodboard is not None and moodboard.strength and moodboard.content is None:
        raise InvalidRequest(f"Moodboard {shown(moodboard.name)} has no content — name one that is in the library")
    variant = VARIANTS[request.variant]
    width, height = size_of(request.aspect_ratio, request.resolution)
    shots = []
    for index in range(request.batch):
        values, exploration = {slider: getattr(request, slider) for slider in SLIDERS}, None
        if request.random_mode:
            exploration = Exploration(exploration_seed, index, request.spread, request.locked_sliders, values)
            values = exploration.values()
        shots.append(
            Shot(
                index=index,
                prompt=request.prompt,
                expanded_prompt=None,
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
    require_ready(request)
    if request.random_mode and set(request.locked_sliders) == set(SLIDERS):
        raise InvalidRequest("Random mode has nothing to vary: all sliders are locked — unlock one of them")


def require_seed(name: str, seed: int | None) -> None:
    """Raise InvalidRequest, naming the field, for what is no seed."""
    if type(seed) is not int or not 0 <= seed < SEED_LIMIT:
        raise InvalidRequest(f"{name} is {shown(seed)} — give a whole number from 0 to {SEED_LIMIT - 1}")
