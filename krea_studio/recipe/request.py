"""What a person asks for: one type for the page, the command line and scripts.

Ranges, defaults, labels and help live here, on the fields, and nowhere else; `label`, `help_text`, `bounds`, `choices`
and `default` hand them to whoever draws a control or writes a page of documentation.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, RESOLUTIONS
from krea_studio.recipe.sigmas import MOST_STEPS, Sigmas
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import field_schema, refusal, shown

PROMPT_CHARACTERS = 10_000
SLIDERS = ("intensity", "complexity", "movement")
SLIDER_LIMIT = 100
FULL_SPREAD = 2 * SLIDER_LIMIT
SEED_LIMIT = 2**32
RAW: Final = "raw"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""The control characters of Unicode's category Cc, which never get more, but for tab and line feed."""


def clean_text(text: object) -> object:
    """A prompt without what no keyboard types: outer white space, NUL and other control characters.

    Line ends become `\\n`; tabs stay; marks that shape emoji and right-to-left text are no control characters and stay.
    """
    if not isinstance(text, str):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return CONTROL.sub("", text).strip()


Text = Annotated[str, BeforeValidator(clean_text)]
Name = Annotated[str, Field(min_length=1, max_length=200, strict=True)]
# The bounds stand before the cleaning, which comes first all the same: behind it, no text would be checked as Unicode.
Phrase = Annotated[str, Field(min_length=1, max_length=80, strict=True), BeforeValidator(clean_text)]


class Frozen(BaseModel):
    """Base of what a request is made of: unchangeable, no unknown fields, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ReferenceId = Annotated[
    str,
    Field(
        strict=True,
        pattern=r"^[0-9a-f]{32}$",
        title="Image",
        description="give the 32 digits by which the library keeps the picture",
    ),
]
"""Names a reference picture by its content; the library gives it out when it takes the picture in."""


class StyleReference(Frozen):
    """A picture whose look is taken over, and how strongly."""

    image: ReferenceId
    strength: float = Field(
        default=0.5,
        ge=-2,
        le=2,
        strict=True,
        title="Strength",
        description="How strongly the look is taken over; 0 has no effect, below 0 pushes away from it",
    )


class Representative(Frozen):
    """A picture that stands for a part of a moodboard, and how much of the whole it stands for, above 0 to 1."""

    image: ReferenceId
    share: float = Field(gt=0, le=1, strict=True, title="Share", description="How much of the moodboard it stands for")


class MoodboardContent(Frozen):
    """What a moodboard steers by: pictures that stand for its clusters, and words."""

    representatives: tuple[Representative, ...] = Field(
        min_length=1, max_length=8, title="Representatives", description="Pictures that stand for the moodboard"
    )
    keywords: tuple[Phrase, ...] = Field(
        default=(), max_length=12, title="Keywords", description="Words that steer toward the moodboard"
    )
    avoids: tuple[Phrase, ...] = Field(
        default=(), max_length=12, title="Avoids", description="Words to steer away from, where guidance is on"
    )


class MoodboardChoice(Frozen):
    """A saved collection of pictures with one creative direction, and how strongly it steers."""

    name: Name = Field(title="Name", description="Name of the moodboard")
    strength: float = Field(
        default=0.35,
        ge=-0.5,
        le=1.5,
        strict=True,
        title="Strength",
        description="How strongly the moodboard steers; 0 has no effect, below 0 pushes away from it",
    )
    content: MoodboardContent | None = Field(
        default=None,
        title="Content",
        description="What it steers by, as a recipe records it; empty takes the moodboard as it is now",
    )


StyleIdentity = Annotated[
    str,
    Field(
        strict=True,
        pattern=r"^[0-9a-f]{32}$",
        title="Identity",
        description="give the 32 digits by which the library keeps the style",
    ),
]
"""Names a style's weights by their content."""


class StyleChoice(Frozen):
    """A trained style (LoRA), its weight, and the words that call it."""

    name: Name = Field(title="Name", description="Name of the style")
    weight: float = Field(
        default=1.0, ge=-2, le=2, strict=True, title="Weight", description="How much of the style; 0 has no effect"
    )
    trigger: Text | None = Field(
        default=None,
        max_length=200,
        strict=True,
        title="Trigger words",
        description="Words that the model reads after the prompt; empty takes the style's own, an empty text none",
    )
    identity: StyleIdentity | None = Field(
        default=None, title="Identity", description="Which weights, as a recipe records them; empty takes those by name"
    )


class Expansion(Frozen):
    """A prompt that was written out: what the model reads instead of the prompt, and who wrote it."""

    text: Text = Field(
        min_length=1, max_length=PROMPT_CHARACTERS, strict=True, title="Text", description="What the model reads"
    )
    writer: str = Field(
        default="person",
        max_length=200,
        strict=True,
        title="Writer",
        description="Who wrote it; empty where it is the prompt itself",
    )
    model: str = Field(
        default="", max_length=200, strict=True, title="Model", description="The writer's model, where it has one"
    )
    seed: int | None = Field(
        default=None, ge=0, le=SEED_LIMIT - 1, strict=True, title="Seed", description="What it was drawn with"
    )
    edited: bool = Field(default=False, strict=True, title="Edited", description="Whether a person changed it")
    notice: str = Field(
        default="", max_length=1000, strict=True, title="Notice", description="Why it is not what was asked for"
    )


def _slider(title: str, low: str, high: str) -> Any:
    return Field(
        default=0,
        ge=-SLIDER_LIMIT,
        le=SLIDER_LIMIT,
        strict=True,
        title=title,
        description=f"−{SLIDER_LIMIT}: {low}; {SLIDER_LIMIT}: {high}; 0 has no effect",
    )


class Wishes(Frozen):
    """What a picture is made from, under the names that request, shot and recipe share."""

    prompt: Text = Field(
        min_length=1,
        max_length=PROMPT_CHARACTERS,
        strict=True,
        title="Prompt",
        description="What the picture shows: subject, setting, mood, and any style direction",
    )
    negative_prompt: Text = Field(
        default="",
        max_length=PROMPT_CHARACTERS,
        strict=True,
        title="Negative prompt",
        description="What to steer away from; works only where the guidance scale is above 0",
    )
    variant: Literal[*VARIANTS] = Field(  # type: ignore[valid-type]
        default="turbo", title="Variant", description="Which Krea 2 model draws: Medium, Large or the fast Turbo"
    )
    aspect_ratio: Literal[*ASPECT_RATIOS] = Field(  # type: ignore[valid-type]
        default="1:1", title="Aspect ratio", description="Shape of the picture, width to height"
    )
    resolution: Literal[*RESOLUTIONS] = Field(  # type: ignore[valid-type]
        default="1K", title="Resolution", description="1K is the full size; 512 is a draft of about half of each side"
    )
    creativity: Literal["raw", "low", "medium", "high"] = Field(
        default=RAW,
        title="Creativity",
        description="How freely the prompt is written out before it is drawn; raw draws exactly what is written",
    )
    expansion: Expansion | None = Field(
        default=None,
        title="Expanded prompt",
        description="A text to draw instead of having the prompt written out anew, as a recipe records it",
    )
    intensity: int = _slider("Intensity", "bland, muted images", "intensely stylized images")
    complexity: int = _slider("Complexity", "minimal, clean compositions", "chaotic, dense compositions")
    movement: int = _slider("Movement", "static images", "strong pose and camera movement")
    style_references: tuple[StyleReference, ...] = Field(
        default=(),
        max_length=4,
        title="Style references",
        description="Up to four pictures whose look is taken over; beyond 200 % in all, moodboard included, "
        "they share it",
    )
    moodboard: MoodboardChoice | None = Field(
        default=None, title="Moodboard", description="A saved collection of pictures that gives the direction"
    )
    styles: tuple[StyleChoice, ...] = Field(
        default=(), max_length=8, title="Styles", description="Trained styles (LoRAs) to apply, each with its weight"
    )


class GenerationRequest(Wishes):
    """One wish for one to four pictures. `parse_request` makes one from plain data with errors for people."""

    random_mode: bool = Field(
        default=False,
        strict=True,
        title="Random mode",
        description="Vary the sliders anew for every picture",
    )
    locked_sliders: tuple[Literal["intensity", "complexity", "movement"], ...] = Field(
        default=(),
        max_length=len(SLIDERS),
        title="Locked sliders",
        description="Sliders that random mode leaves where they are",
    )
    spread: int = Field(
        default=FULL_SPREAD,
        ge=1,
        le=FULL_SPREAD,
        strict=True,
        title="Spread",
        description=f"How far from the sliders' values random mode may go; {FULL_SPREAD} is the full range",
    )
    exploration_seed: int | None = Field(
        default=None,
        ge=0,
        le=SEED_LIMIT - 1,
        strict=True,
        title="Exploration seed",
        description="Same seed, same draws of random mode; empty draws a new one",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=SEED_LIMIT - 1,
        strict=True,
        title="Seed",
        description="Same seed, same picture; empty draws a new one. Further images of a batch count on from it",
    )
    batch: int = Field(
        default=1, ge=1, le=4, strict=True, title="Batch", description="How many images, each with its own seed"
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        le=MOST_STEPS,
        strict=True,
        title="Steps",
        description="Denoising steps; empty takes the variant's own number",
    )
    guidance_scale: float | None = Field(
        default=None,
        ge=0,
        le=20,
        strict=True,
        title="Guidance scale",
        description="How strictly the prompt is followed, in Krea's convention (0 is off, and about 1 less than the "
        "usual CFG scale); empty takes the variant's own",
    )
    sigmas: Sigmas | None = Field(
        default=None,
        title="Sigmas",
        description="Noise levels to draw at, one a step, from 1 down, as a few-step LoRA states them; empty takes the "
        "checkpoint's own schedule",
    )

    @field_validator("sigmas")
    @classmethod
    def _one_a_step(cls, sigmas: Sigmas | None, told: ValidationInfo) -> Sigmas | None:
        steps = told.data.get("steps")
        if sigmas and steps is not None and steps != len(sigmas):
            raise ValueError(f"give {steps} of them, as many as there are steps, or change the steps to {len(sigmas)}")
        return sigmas


def label(field: str, model: type[BaseModel] = GenerationRequest) -> str:
    """The field's name for people: `aspect_ratio` → `Aspect ratio`."""
    return model.model_fields[field].title or field


def parse_request(data: dict[str, Any], name: Callable[[str], str] = label) -> GenerationRequest:
    """A request from plain data, as it comes from a page, a command line or JSON.

    Raises InvalidRequest, one line that names the field, the value and what is allowed; never anything else. `name`
    turns a field into the words for it in that line: a command line has flags where a page has labels.
    """
    if not isinstance(data, dict):
        raise InvalidRequest(f"{shown(data)} is not a request — give an object with {', '.join(_names())}")
    try:
        return GenerationRequest.model_validate(data)
    except ValidationError as error:
        raise refusal(error, GenerationRequest, name, "a request") from None


def _names() -> tuple[str, ...]:
    return tuple(GenerationRequest.model_fields)


def help_text(field: str, model: type[BaseModel] = GenerationRequest) -> str:
    """One sentence on what the field does."""
    return model.model_fields[field].description or ""


def bounds(field: str, model: type[BaseModel] = GenerationRequest) -> tuple[float, float]:
    """Least and greatest value of a number, or least and greatest length of a text or list."""
    schema = field_schema(model, field)
    if schema["type"] in ("integer", "number"):
        return schema["minimum"], schema["maximum"]
    if schema["type"] == "string":
        return schema.get("minLength", 0), schema["maxLength"]
    return schema.get("minItems", 0), schema["maxItems"]


def choices(field: str, model: type[BaseModel] = GenerationRequest) -> tuple[str, ...]:
    """The values of a field that takes one of a few, in their order."""
    return tuple(field_schema(model, field)["enum"])


def default(field: str, model: type[BaseModel] = GenerationRequest) -> Any:
    """The value that a field has when nobody says anything; for a control, the one that has no effect."""
    return model.model_fields[field].default
