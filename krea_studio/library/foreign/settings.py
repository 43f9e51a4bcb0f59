"""What a tool wrote of a picture: its settings in the words and conventions that such tools share, not checked yet.

Numbers are as they were written, texts or numbers of any size; `translation` checks them, and says what becomes of
them. Guidance is the usual CFG scale, `unconditional + cfg · (conditional − unconditional)`, in which 1 is off: so the
code of AUTOMATIC1111, Forge, SD.Next, ComfyUI, SwarmUI, InvokeAI, Fooocus and NovelAI has it.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from krea_studio.validation import shown

MOST_LEFT = 40
"""Of the settings without a counterpart that are told by name; a workflow may have thousands."""
MOST_TAGGED_CHARACTERS = 100_000
"""Of a prompt that is looked through for tags; a longer one is not taken over anyway."""

LORA_TAG = re.compile(
    r"\s{0,8},?\s{0,8}<(?:lora|lyco):(?P<name>[^:<>\n]{1,200})(?::(?P<weight>[^<>\n]{0,100}))?>", re.IGNORECASE
)
"""How a LoRA is called in a prompt: `<lora:name:0.8>`, and `<lora:name:0.8:0.5>` with one for the text encoder."""


@dataclass(frozen=True)
class Lora:
    """A LoRA by the name that the tool knows it by, and its weight, as it was written; None where it is not told."""

    name: str
    weight: object = 1


@dataclass(frozen=True)
class Settings:
    """What is known of how a picture was made; None where the tool does not say.

    `left` are settings that have no counterpart here, by name; `notes` sentences on what could not be read. `sliders`
    and `sigmas` are there where the studio itself wrote the text.
    """

    prompt: str | None = None
    negative_prompt: str = ""
    seed: object = None
    steps: object = None
    cfg: object = None
    width: object = None
    height: object = None
    model: str = ""
    loras: tuple[Lora, ...] = ()
    left: tuple[tuple[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    sliders: Mapping[str, object] = field(default_factory=dict)
    sigmas: str = ""

    @property
    def known(self) -> bool:
        """Whether anything of use could be read."""
        return any(value is not None for value in (self.prompt, self.seed, self.steps, self.cfg, self.width))


def without_lora_tags(prompt: str) -> tuple[str, list[Lora]]:
    """A prompt without the tags that call LoRAs, and those."""
    if len(prompt) > MOST_TAGGED_CHARACTERS:
        return prompt, []
    loras = [Lora(found["name"], (found["weight"] or "1").split(":")[0]) for found in LORA_TAG.finditer(prompt)]
    return (LORA_TAG.sub("", prompt).lstrip(" ,\n"), loras) if loras else (prompt, [])


def whole(value: object) -> int | None:
    """A whole number, also one in a text or with `.0`; None for anything else."""
    number = real(value)
    return int(number) if number is not None and number == int(number) else None


def real(value: object) -> int | float | None:
    """A finite number, also one in a text; None for anything else. Whole ones stay as exact as they are."""
    if isinstance(value, str):
        # Python takes digits of every script, `_` between them, and is slow with thousands of them.
        if len(value) > 40 or "_" in value or not value.isascii():
            return None
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def value_text(value: object) -> str:
    """A value of a stranger as one printable line: a number as people write it, anything else as `shown` has it."""
    number = real(value)
    return f"{number:.10g}" if isinstance(number, float) else shown(value if number is None else number)


def text_of(value: object) -> str:
    """A text, or none for anything that is not one."""
    return value if isinstance(value, str) else ""


def file_stem(name: object) -> str:
    """The name of a model's file without folders and the ending."""
    stem = text_of(name).replace("\\", "/").rsplit("/", 1)[-1]
    return stem.removesuffix(".safetensors").removesuffix(".gguf").removesuffix(".ckpt")


def without_nothing(left: Iterable[tuple[str, object]]) -> tuple[tuple[str, object], ...]:
    """Settings without those that are empty, off, or lists and objects of nothing."""
    return tuple((name, value) for name, value in left if value not in (None, "", False, "None", [], {}))


def read_object(text: str) -> dict[str, Any] | None:
    """The object in a JSON text, None where it is none. ComfyUI writes NaN into it, so that is taken."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
