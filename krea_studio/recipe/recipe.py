"""One picture, as data: the shot that is to be drawn, and the recipe that tells how one was.

A shot is everything resolved; a recipe is a shot with the facts of its drawing. `Recipe.as_json` is what a PNG, a row
of the library, the command line and the page carry, and `Recipe.from_json` reads that of every studio before this one:
UPGRADES bring an old schema to the present one, step by step. What a recipe says is checked as a stranger's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.aspect_ratios import size_of
from krea_studio.recipe.exploration import Exploration
from krea_studio.recipe.request import (
    SEED_LIMIT,
    SLIDERS,
    GenerationRequest,
    StyleChoice,
    Wishes,
    label,
    parse_request,
)
from krea_studio.recipe.sigmas import Sigmas
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import refusal, shown

FIRST_WEIGHTS: Mapping[str, str] = {
    "mini-medium": "571511b0b1d2d386",
    "mini-large": "02a191fd133fa667",
    "mini-turbo": "fe9e9eec0d8bd4fb",
}
"""What drew the pictures of schema 1, by checkpoint. Never changes: later weights are named by recipes themselves."""


def _name_first_weights(recipe: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 names the weights that drew a picture; before that, each embedded checkpoint had had but one set."""
    checkpoint = recipe.get("checkpoint")
    if isinstance(checkpoint, str):
        recipe.setdefault("weights", FIRST_WEIGHTS.get(checkpoint))
    return recipe


UPGRADES: list[Callable[[dict[str, Any]], dict[str, Any]]] = [_name_first_weights]
"""Numbered from 1: the first makes a recipe of schema 2 from one of schema 1. Each gets a copy of its own to change."""


def schema_version() -> int:
    """The schema that this studio writes."""
    return len(UPGRADES) + 1


class Shot(Wishes):
    """One picture to draw. Sizes in pixels, guidance in Krea's convention (0 is off); its place is that in the plan."""

    width: int
    height: int
    exploration: Exploration | None = Field(default=None, title="Exploration")
    seed: int
    steps: int
    guidance_scale: float
    sigmas: Sigmas | None = Field(default=None, title="Sigmas")

    @classmethod
    def of(cls, request: GenerationRequest, seed: int, exploration: Exploration | None = None) -> "Shot":
        """A request's shot with this seed; slider values are those that were drawn, where any were."""
        width, height = size_of(request.aspect_ratio, request.resolution)
        # Not checked again: a request's values are what they are to be, and a raw prompt stays the very same string.
        return Shot.model_construct(
            **{field: getattr(request, field) for field in Wishes.model_fields}
            | (exploration.values() if exploration else {}),
            width=width,
            height=height,
            exploration=exploration,
            seed=seed,
            steps=steps_of(request),
            guidance_scale=guidance_of(request),
            sigmas=request.sigmas,
        )

    def recipe(self, checkpoint: str, **facts: Any) -> "Recipe":
        """The recipe of this shot, drawn by `checkpoint`; `facts` are other fields that a recipe has beyond a shot."""
        own = {field: getattr(self, field) for field in Shot.model_fields}
        return Recipe.model_construct(**own, checkpoint=checkpoint, **facts)

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
        return {slider: value for slider, value in self.slider_values.items() if value}

    @property
    def slider_values(self) -> dict[str, int]:
        """The value of every slider, −100…100."""
        return {slider: getattr(self, slider) for slider in SLIDERS}


def _of_sliders(mechanisms: Mapping[str, str]) -> Mapping[str, str]:
    if not mechanisms.keys() <= set(SLIDERS):
        raise ValueError(f"name only {', '.join(SLIDERS)}")
    return mechanisms


Mechanism = Annotated[str, Field(max_length=200, strict=True)]


class Recipe(Shot):
    """How a picture was drawn: all that is needed to draw it again, and by what its controls worked.

    The place in the batch is not part of it: a seed is a picture. Random mode is not either: the values that it drew
    are, and how it drew them is told beside them.
    """

    checkpoint: str = Field(default="", max_length=1000, strict=True, title="Checkpoint")
    weights: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{8,64}$",
        strict=True,
        title="Weights",
        description="give 8 to 64 hexadecimal digits in lower case",
    )
    """The identity of the weights that drew it, by their content; None where that is not known."""
    slider_mechanisms: Annotated[Mapping[str, Mechanism], AfterValidator(_of_sliders)] = Field(
        default_factory=dict, title="Slider mechanisms"
    )
    """By what each slider that was not at 0 worked, with the identity of its data."""
    reference_mechanism: Mechanism | None = Field(default=None, title="Reference mechanism")
    """By what references and moodboard worked; None where there were none."""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The recipe in a JSON value, of whichever schema; what it leaves out is as a request would have it.

        Raises InvalidRequest for any other key, for a missing seed, for a schema that is newer than this studio, and
        where the size is not that of the aspect ratio.
        """
        recipe = _upgraded(value)
        for key in recipe:
            if key not in cls.model_fields and key != "batch":
                known = ", ".join(cls.model_fields)
                raise InvalidRequest(f"{shown(key)} is not a field of a recipe — use only {known}")
        if recipe.get("seed") is None:
            raise InvalidRequest(f"The recipe has no seed — give a whole number from 0 to {SEED_LIMIT - 1}")
        facts = {key: recipe.pop(key) for key in _FACTS if key in recipe}
        # A recipe that was written by hand may be that of a batch.
        request = parse_request({**recipe, "batch": recipe.get("batch", 1)})
        shot = Shot.of(request, request.seed or 0)
        recorded = (facts.pop("width", shot.width), facts.pop("height", shot.height))
        if recorded != (shot.width, shot.height):
            raise InvalidRequest(
                f"The recipe's size is {shown(recorded)}, but {shot.aspect_ratio} at {shot.resolution} is "
                f"{shot.width} × {shot.height} — correct the size or the aspect ratio"
            )
        try:
            return cls.model_validate({**dict(shot), **facts})
        except ValidationError as error:
            raise refusal(error, Recipe, lambda field: label(field, Recipe), "a recipe") from None

    def as_json(self) -> dict[str, Any]:
        """As it is kept and shown; ready for `json.dumps`, under the request's own field names.

        Sigmas are in it only where a picture has its own.
        """
        own = self.model_dump(mode="json", exclude=set() if self.sigmas else {"sigmas"})
        return {"schema_version": schema_version(), **own}

    def request(self) -> GenerationRequest:
        """The request that makes the picture again: one image, its seed fixed, the drawn slider values given."""
        shared = set(GenerationRequest.model_fields) & set(Shot.model_fields)
        return GenerationRequest(**{field: getattr(self, field) for field in shared})


_FACTS = tuple(field for field in Recipe.model_fields if field not in GenerationRequest.model_fields)


def steps_of(request: GenerationRequest) -> int:
    """The number of steps that a request is drawn with: as many as it has sigmas, or else the variant's own."""
    if request.steps is not None:
        return request.steps
    return len(request.sigmas) if request.sigmas else VARIANTS[request.variant].steps


def guidance_of(request: GenerationRequest) -> float:
    """The guidance scale that a request is drawn with, the variant's own where it has none."""
    return VARIANTS[request.variant].guidance_scale if request.guidance_scale is None else request.guidance_scale


def _upgraded(value: object) -> dict[str, Any]:
    """A recipe of any schema as one of the present schema, without the number."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"{shown(value)} is not a recipe — give the JSON object that `inspect` prints")
    recipe = dict(value)
    version = recipe.pop("schema_version", None)
    if type(version) is not int or not 1 <= version <= schema_version():
        raise InvalidRequest(
            f"The recipe has schema version {shown(version)}, this studio reads 1 to {schema_version()} — "
            "open it with the version of the studio that wrote it"
        )
    for step in UPGRADES[version - 1 :]:
        recipe = step(dict(recipe))
    return recipe


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
