"""Speed presets: with how many steps, and at which noise levels, a style wants to be drawn that was distilled for few.

Such LoRAs (Turbo's distillation for Raw, those of 4 and 3 steps for Turbo) have the layers of any other, so a file is
taken for one only by what it says: the pipeline's own words in its metadata, or else its name, and then only where that
names steps as distillations do. It is a guess, shown as one, that a person may change; and it does nothing by itself:
who wants the preset asks for it, and the request then says steps, guidance and sigmas like any other.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from pydantic import Field, ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import Frozen
from krea_studio.recipe.sigmas import MOST_STEPS, Sigmas, read_sigmas, sigmas_text, turbo_sigmas
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown

BY_METADATA, BY_NAME = "as its file says", "guessed from its name"

MOST_FEW_STEPS = 16
"""A name that speaks of more steps speaks of the training."""

_STEPS = re.compile(r"(?<![a-z0-9.])(\d{1,2})[-_ ]?steps?(?![a-z0-9]|[-_ ]?\d)")
_DISTILLED = re.compile(r"distill|(?<![a-z])(turbo|lightning|hyper|lcm|dmd|tdm|few[-_ ]?steps?)(?![a-z])")
# Comfy-Org's name of what makes Turbo out of Raw, whose steps it does not say.
_TURBO_LORA = re.compile(r"krea[-_]?2[-_]turbo[-_]lora([-_]rank[-_]?\d+)?([-_](bf16|fp16|fp32|fp8))?")
# Sizes are stated on the pages of the Hub alone: https://huggingface.co/lvladikov/Krea2-Turbo-Distill-4step-LoRA
_SIZES = {re.compile(r"krea2_turbo_4step_rank_\d+_lora.*"): "13 sizes up to 1824 × 1024"}
_STEPS_KEYS = ("num_inference_steps", "inference_steps")
_SIGMAS_KEY, _SIZES_KEYS = "sigmas", ("trained_sizes", "trained_resolutions")
_MOST_CHARACTERS = 200


class Speed(Frozen):
    """For how many steps a style is made, without guidance.

    `sigmas` are its own; without them it goes by Turbo's schedule. `sizes` are words on the sizes that it was made for,
    `told` says how this is known, empty where a person said it.
    """

    steps: int = Field(ge=1, le=MOST_STEPS, strict=True)
    sigmas: Sigmas | None = None
    sizes: str = Field(default="", max_length=_MOST_CHARACTERS, strict=True)
    told: str = Field(default="", max_length=_MOST_CHARACTERS, strict=True)

    @property
    def text(self) -> str:
        """As `read_speed` reads it: the sigmas where it has its own, otherwise the steps."""
        return sigmas_text(self.sigmas) or str(self.steps)

    @property
    def words(self) -> str:
        """`made for 4 steps without guidance, 13 sizes up to 1824 × 1024 (guessed from its name)`."""
        steps = f"made for {self.steps} step{'s' * (self.steps > 1)} without guidance"
        own = f"at sigmas {sigmas_text(self.sigmas)}" if self.sigmas else ""
        return ", ".join(filter(None, (steps, own, self.sizes))) + (f" ({self.told})" if self.told else "")

    @property
    def preset(self) -> dict[str, Any]:
        """The fields of a request that draw as the style wants it, whichever checkpoint and size draws.

        The sigmas are always said: the same LoRA runs on checkpoints whose own schedules differ.
        """
        return {"steps": self.steps, "guidance_scale": 0.0, "sigmas": self.sigmas or turbo_sigmas(self.steps)}


def guessed(file_name: str, title: str, metadata: Mapping[str, str]) -> Speed | None:
    """What a style's file says, by its metadata first, then by its own name and the `title` that it states.

    None where nothing speaks of few steps, or where names and numbers contradict one another.
    """
    names = [PurePath(file_name).stem.casefold(), title.casefold()]
    sizes = _stated(metadata, _SIZES_KEYS) or next(
        (told for name in names for pattern, told in _SIZES.items() if pattern.fullmatch(name)), ""
    )
    try:
        said, sigmas = _stated(metadata, _STEPS_KEYS), _own_sigmas(metadata)
        if said or sigmas:
            steps = int(said) if said else len(sigmas or ())
            agree = sigmas is None or len(sigmas) == steps
            return Speed(steps=steps, sigmas=sigmas, sizes=sizes, told=BY_METADATA) if agree else None
        found = set(_named_steps(names))
        return Speed(steps=found.pop(), sizes=sizes, told=BY_NAME) if len(found) == 1 else None
    except (ValidationError, ValueError):
        return None  # a stranger's words: what they do not say soundly they do not say


def read_speed(text: str, before: Speed | None = None) -> Speed | None:
    """What a person says of a style: a number of steps, or its sigmas; None for an empty text.

    What is said as it was `before` stays that. Raises InvalidRequest for what is neither.
    """
    text = text.strip()
    if not text:
        return None
    if before is not None and text == before.text:
        return before
    sizes = before.sizes if before else ""
    try:
        if text.isdecimal():
            return Speed(steps=int(text), sizes=sizes)
        sigmas = tuple(read_sigmas(text) or ())
        return Speed(steps=len(sigmas), sigmas=sigmas, sizes=sizes)
    except (ValidationError, ValueError):
        raise InvalidRequest(
            f"The style's few steps are {shown(text)} — give a number of steps from 1 to {MOST_STEPS}, or its sigmas, "
            "falling numbers from 1 to above 0, such as 1, 0.9, 0.7"
        ) from None


def preset_of(speeds: Mapping[str, Speed]) -> dict[str, Any]:
    """The fields of a request by the one style that is made for few steps, of those chosen: name → speed.

    Raises InvalidRequest where there is none, or several.
    """
    if not speeds:
        raise InvalidRequest(
            "No chosen style is known to be made for few steps — choose one that is, or say for how many on its card"
        )
    if len(speeds) > 1:
        raise InvalidRequest(f"{' and '.join(map(shown, speeds))} are each made for few steps — choose one of them")
    return next(iter(speeds.values())).preset


def _named_steps(names: Iterable[str]) -> Iterable[int]:
    for name in names:
        if _TURBO_LORA.fullmatch(name):
            yield VARIANTS["turbo"].steps
        elif _DISTILLED.search(name):
            yield from (int(each) for each in _STEPS.findall(name) if 1 <= int(each) <= MOST_FEW_STEPS)


def _stated(metadata: Mapping[str, str], keys: Iterable[str]) -> str:
    texts = (" ".join(metadata.get(key, "").split()) for key in keys)
    return next((text for text in texts if text), "")[:_MOST_CHARACTERS]


def _own_sigmas(metadata: Mapping[str, str]) -> tuple[float, ...] | None:
    found = read_sigmas(metadata.get(_SIGMAS_KEY, ""))
    return tuple(found) if found else None
