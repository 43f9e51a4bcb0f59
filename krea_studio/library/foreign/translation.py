"""What another tool's settings are here: the request that comes nearest, and a line on everything that is otherwise.

Guidance here is Krea's own, `conditional + g · (conditional − unconditional)`, so a CFG scale c is g = c − 1. A size
becomes the nearest of the aspect ratios and resolutions. The same seed draws another picture here than there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import log, prod
from typing import Any

from krea_studio.errors import InvalidRequest
from krea_studio.library.foreign.settings import MOST_LEFT, Lora, Settings, real, value_text, whole
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, RESOLUTIONS, size_of
from krea_studio.recipe.request import (
    PROMPT_CHARACTERS,
    SEED_LIMIT,
    SLIDERS,
    GenerationRequest,
    bounds,
    clean_text,
    parse_request,
)
from krea_studio.recipe.sigmas import read_sigmas
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown

NAME_CHARACTERS = 40
SAMPLERS, OUR_SAMPLER = ("sampler", "scheduler"), ("Euler", "euler")
"""What tools call it, and the one that the studio draws with itself."""

KREA = re.compile(r"krea[-_ ]?2|^mini-(medium|large|turbo)$", re.IGNORECASE)
KREA_VARIANTS = {"turbo": r"turbo", "large": r"(?<![a-z])large", "medium": r"(?<![a-z])(raw|medium|base)"}
"""What in the name of a Krea 2 model tells its variant; a drawing is not raw."""

WEIGHT = re.compile(r"\([^()\n]{1,60}:\s{0,4}\d{0,4}\.?\d{1,6}\s{0,4}\)|\(\([^()\n]{1,60}\)\)")
"""How AUTOMATIC1111 and ComfyUI write that words count more: `(blue:1.3)`, `((blue))`."""
TAG = re.compile(r"<\w{1,30}:[^<>\n]{1,80}>")
"""What is not read as words there: `<segment:face>`, `<wildcard:animal>`."""


@dataclass(frozen=True)
class Translation:
    """The fields of a request that fit, `remarks` on what is otherwise than the tool had it, and what is `left` out.

    Each is one line; nothing of what the tool wrote is missing in all three without a line.
    """

    fields: Mapping[str, Any]
    remarks: tuple[str, ...]
    left: tuple[str, ...]

    def request(self, prompt: str = "") -> GenerationRequest:
        """The request that comes nearest; `prompt` stands in where the tool's own is not known.

        Raises InvalidRequest where there is no prompt.
        """
        if "prompt" not in self.fields and not prompt.strip():
            why = next((remark for remark in self.remarks if "prompt" in remark), "There is no prompt in it")
            raise InvalidRequest(f"{why} — write a prompt, then load the settings again")
        return parse_request({"prompt": prompt, **self.fields})

    @property
    def lines(self) -> tuple[str, ...]:
        """All that a person should know, a line each."""
        return (*self.remarks, *(f"{each} has no counterpart here" for each in self.left))


def translated(settings: Settings) -> Translation:
    """What these settings are here. Takes whatever they say; never raises."""
    return _Translator(settings).translation()


class _Translator:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fields: dict[str, Any] = {}
        self.remarks: list[str] = list(settings.notes)
        self.krea = False

    def translation(self) -> Translation:
        self.prompt()
        self.guidance_and_variant()
        self.negative_prompt()
        self.steps()
        self.seed()
        self.shape()
        return Translation(self.fields, tuple(self.remarks), tuple(self.left()))

    def prompt(self) -> None:
        if self.settings.prompt is None:
            return
        text = self.text("prompt", self.settings.prompt)
        if text:
            self.fields["prompt"] = text
        elif not self.settings.prompt.strip():
            self.remarks.append("The prompt is empty")
        for pattern, what in ((WEIGHT, "Weights"), (TAG, "Tags")):
            if found := pattern.search(text):
                self.remarks.append(f"{what} in the prompt, such as {shown(found[0])}, are read as plain words here")

    def negative_prompt(self) -> None:
        text = self.text("negative prompt", self.settings.negative_prompt)
        own = VARIANTS[self.fields["variant"]].guidance_scale
        if text and not self.fields.get("guidance_scale", own):
            self.remarks.append(f"The negative prompt {shown(text)} is left out, as it does nothing without guidance")
        elif text:
            self.fields["negative_prompt"] = text

    def text(self, name: str, text: str) -> str:
        """A prompt that a request may have; of what may not be in one, a remark is made."""
        # What is far too long takes long to clean.
        plain = text[: 2 * PROMPT_CHARACTERS].encode("utf-8", "replace").decode()
        shorter = len(text) <= 2 * PROMPT_CHARACTERS
        if shorter and plain != text:
            self.remarks.append(f"Half of a character in the {name} is shown as ?")
        plain = str(clean_text(plain))
        if len(plain) > PROMPT_CHARACTERS or not shorter:
            length = len(plain) if shorter else len(text)
            self.remarks.append(
                f"The {name} has {length:,} characters — it is left out, as at most {PROMPT_CHARACTERS:,} are read"
            )
            return ""
        return plain

    def guidance_and_variant(self) -> None:
        cfg, model = self.settings.cfg, self.settings.model
        guidance = None if cfg is None else self.guidance(cfg)
        if guidance is not None:
            self.fields["guidance_scale"] = guidance
        variant = KREA.search(model) and next(
            (each for each, words in KREA_VARIANTS.items() if re.search(words, model, re.IGNORECASE)), None
        )
        if variant:
            self.krea = True
            why = f"the model was {shown(model)}"
        elif guidance or (guidance is None and self.settings.negative_prompt.strip()):
            variant, why = "medium", "it was drawn with guidance" if guidance else "it has a negative prompt"
        else:
            variant = "turbo"
            why = "it was drawn without guidance" if guidance == 0 else "nothing says which Krea 2 it was"
        self.fields["variant"] = variant
        self.remarks.append(f"{VARIANTS[variant].label} is chosen, as {why}")

    def guidance(self, cfg: object) -> float | None:
        number, (_, most) = real(cfg), bounds("guidance_scale")
        if number is None:
            self.remarks.append(f"CFG scale {value_text(cfg)} is no number — the guidance is the variant's own")
            return None
        if number < 1:
            self.remarks.append(f"CFG scale {value_text(cfg)} is below 1, which is off — guidance is off")
            return 0.0
        if number - 1 > most:
            self.remarks.append(
                f"CFG scale {value_text(cfg)} is a guidance above {most:g} here — it is set to {most:g}"
            )
            return most
        return round(float(number) - 1, 6)

    def steps(self) -> None:
        steps, (least, most) = self.settings.steps, bounds("steps")
        number = whole(steps)
        if steps is None:
            return
        if number is None or number < least:
            self.remarks.append(f"Steps {value_text(steps)} is no number of steps — it is the variant's own")
        elif number > most:
            self.remarks.append(f"Steps {value_text(steps)} is more than there can be here — it is set to {most}")
            self.fields["steps"] = int(most)
        else:
            self.fields["steps"] = number
        sigmas = read_sigmas(self.settings.sigmas)
        if sigmas:
            self.fitting("sigmas", sigmas)

    def seed(self) -> None:
        seed = self.settings.seed
        number = whole(seed)
        if seed is None:
            return
        if number is None or not 0 <= number < SEED_LIMIT:
            limits = f"seeds here are whole numbers from 0 to {SEED_LIMIT - 1}"
            self.remarks.append(f"Seed {value_text(seed)} is left out, as {limits}")
        else:
            self.fields["seed"] = number

    def shape(self) -> None:
        for slider in SLIDERS:
            value = self.settings.sliders.get(slider)
            if value is not None:
                self.fitting(slider, whole(value))
        wished = (self.settings.width, self.settings.height)
        width, height = map(whole, wished)
        if wished == (None, None):
            return
        if width is None or height is None or not (0 < width <= 2**20 and 0 < height <= 2**20):
            told = " × ".join(value_text(each) for each in wished if each is not None)
            self.remarks.append(f"Size {told} is no size of a picture — the aspect ratio is 1:1")
            return
        ratio, resolution = nearest_shape(width, height)
        self.fields |= {"aspect_ratio": ratio, "resolution": resolution}
        here = size_of(ratio, resolution)
        if here != (width, height):
            self.remarks.append(f"{width} × {height} pixels become {here[0]} × {here[1]} ({ratio})")

    def fitting(self, field: str, value: object) -> None:
        """A field of the studio's own, where the request takes it."""
        try:
            parse_request({"prompt": "-", "steps": self.fields.get("steps"), field: value})
        except InvalidRequest as error:
            self.remarks.append(error.message)
        else:
            self.fields[field] = value

    def left(self) -> list[str]:
        """What has no counterpart, the model and its LoRAs first; of very much the rest is counted."""
        settings = self.settings
        model = [] if self.krea or not settings.model else [("Model", settings.model)]
        others = [each for each in settings.left if not (each[0].lower() in SAMPLERS and each[1] in OUR_SAMPLER)]
        left: list[Lora | tuple[str, object]] = [*model, *settings.loras, *others]
        told = [_left_text(each) for each in left[:MOST_LEFT]]
        return told if len(left) == len(told) else [*told, f"and {len(left) - len(told):,} more"]


def nearest_shape(width: int, height: int) -> tuple[str, str]:
    """The aspect ratio whose picture has the proportions nearest to these, and the resolution nearest in pixels."""
    ratio = min(ASPECT_RATIOS.values(), key=lambda row: abs(log(width / height * row.height / row.width))).name
    return ratio, min(RESOLUTIONS, key=lambda each: abs(log(width * height / prod(size_of(ratio, each)))))


def _left_text(setting: Lora | tuple[str, object]) -> str:
    if isinstance(setting, Lora):
        weight = "" if setting.weight is None else f" at {value_text(setting.weight)}"
        return f"LoRA {shown(setting.name)}{weight}"
    name, value = setting
    return f"{_name(name)} {value_text(value)}"


def _name(name: str) -> str:
    """The name of a setting, which a stranger may have written, as one printable line."""
    words = "".join(c if c.isprintable() else " " for c in name[:NAME_CHARACTERS]).split()
    return " ".join(words)[:1].upper() + " ".join(words)[1:]
