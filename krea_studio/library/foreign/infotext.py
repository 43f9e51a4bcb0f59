"""The settings as AUTOMATIC1111's web UI writes them, which a dozen tools took over: prompt, negative prompt, one line.

The line has `name: value` pairs between commas, values with a comma, a colon or a line end in them as JSON texts; it
begins with `Steps`. The text is in the PNG text `parameters` and in the EXIF `UserComment` of JPEG and WebP. Source:
`create_infotext` in `modules/processing.py` and `parse_generation_parameters` in `modules/infotext_utils.py` of the web
UI, `modules/processing_info.py` of SD.Next.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from krea_studio.library.foreign.settings import Lora, Settings, real, value_text, without_lora_tags
from krea_studio.library.foreign.texts import Texts
from krea_studio.recipe.request import SLIDERS
from krea_studio.validation import shown

STUDIO, SDNEXT = "Krea Studio", "SD.Next"
TOOLS = (
    ("Version", re.compile(STUDIO), STUDIO),
    ("App", re.compile(r"SD\.Next"), SDNEXT),
    ("Version", re.compile(r"neo", re.IGNORECASE), "Forge Neo"),
    ("Version", re.compile(r"f\d"), "Forge or reForge"),
    ("Version", re.compile(r"ComfyUI"), "ComfyUI"),
    ("Version", re.compile(r"Fooocus"), "Fooocus"),
    ("Version", re.compile(r"v?\d+\.\d+"), "AUTOMATIC1111's web UI"),
)
"""Which tool wrote a line: the first whose pattern its pair of that name begins with."""
SOME_TOOL = "a tool that writes as AUTOMATIC1111's web UI does"

UNGUIDED = re.compile(r"krea[-_ ]?2.*turbo", re.IGNORECASE)
"""Models that SD.Next never draws with guidance (`pipelines/krea2/pipeline_krea2.py`)."""

NEGATIVE = "Negative prompt:"
SETTINGS_LINE = re.compile(r"\s{0,20}Steps:\s{0,20}\d")
USUAL = frozenset(("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "Model hash"))
LEAST_USUAL = 3
"""Of USUAL names that a last line without `Steps` at its beginning needs to have."""
MAX_PAIRS = 1000

QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
SIZE = re.compile(r"\s*(\d{1,7})\s*[x×]\s*(\d{1,7})\s*")
FACTS = frozenset(
    ("Version", "App", "Index", "User", "Created Date", "Pipeline", "Parser", "TI hashes", "Hashes", "Model hash")
)
"""Names of what changes nothing in the picture. A model's hash is told where its name is missing."""


def read(texts: Texts) -> tuple[str, Settings] | None:
    """The tool and its settings; None where there is no such text.

    A text without a line of settings is a prompt, unless it is JSON or a graph beside it says more.
    """
    text = texts.get("parameters", "").strip()
    prompt, negative, line, behind = _parted(text)
    if not text or (not line and (text.startswith("{") or "prompt" in texts or "workflow" in texts)):
        return None
    pairs = dict(_pairs(line))
    tool = next((name for key, words, name in TOOLS if words.match(pairs.get(key, ""))), SOME_TOOL)
    notes = [] if line else ["There is no line of settings behind the prompt"]
    if behind:
        notes.append(f"The text behind the settings, {shown(behind)}, is left out")
    settings = _settings(prompt, negative, pairs, notes, tool == STUDIO)
    if tool == SDNEXT and UNGUIDED.search(settings.model) and (real(settings.cfg) or 0) > 1:
        note = f"SD.Next draws Krea 2 Turbo without guidance, so its CFG scale {value_text(settings.cfg)} does nothing"
        settings = replace(settings, cfg=1, notes=(*settings.notes, note))
    return tool, settings


def _settings(prompt: str, negative: str, pairs: dict[str, str], notes: list[str], own: bool) -> Settings:
    take = pairs.pop
    # Fooocus writes both what a person wrote and, as the prompt, what its styles made of it.
    raw, raw_negative = take("Raw prompt", None), take("Raw negative prompt", None)
    left: list[tuple[str, object]] = []
    if raw is not None:
        left += [("Prompt with styles", prompt)] if raw != prompt else []
        prompt, negative = raw, raw_negative or ""
    prompt, loras = (prompt, []) if own else without_lora_tags(prompt)
    loras += _named_loras(take("Lora weights", ""), {lora.name for lora in loras})
    loras += [Lora(each.name, None) for each in _named_loras(take("Lora hashes", ""), {lora.name for lora in loras})]
    size = SIZE.fullmatch(pairs.get("Size", ""))
    model = take("Model", None) or ""
    if not model and pairs.get("Model hash"):
        left.append(("Model hash", pairs["Model hash"]))
    sliders = {slider: take(slider.capitalize()) for slider in SLIDERS if own and slider.capitalize() in pairs}
    if own:
        take("Sampler", None)
    return Settings(
        prompt=prompt,
        negative_prompt=negative,
        seed=take("Seed", None),
        steps=take("Steps", None),
        cfg=take("CFG scale", None) or take("CFG Scale", None),
        width=size[1] if size else take("Size", None),
        height=size[2] if size and take("Size") else None,
        model=model,
        sliders=sliders,
        sigmas=take("Sigmas", "") if own else "",
        left=(*left, *((name, value) for name, value in pairs.items() if name not in FACTS and value)),
        loras=tuple(loras),
        notes=tuple(notes),
    )


def _parted(text: str) -> tuple[str, str, str, str]:
    """Prompt, negative prompt, the line of settings, and what stands behind it; what is not there is empty."""
    lines = text.replace("\r\n", "\n").split("\n")
    at = next((place for place in reversed(range(len(lines))) if SETTINGS_LINE.match(lines[place])), None)
    if at is None:
        names = {name for name, _ in _pairs(lines[-1])}
        at = len(lines) - 1 if len(names & USUAL) >= LEAST_USUAL else len(lines)
    start = next((place for place, line in enumerate(lines[:at]) if line.startswith(NEGATIVE)), at)
    negative = "\n".join(lines[start:at]).removeprefix(NEGATIVE)
    behind = "\n".join(lines[at + 1 :])
    return "\n".join(lines[:start]).strip(), negative.strip(), "".join(lines[at : at + 1]), behind.strip()


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Names and values of a line, up to MAX_PAIRS."""
    place, quotes = 0, True
    for _ in range(MAX_PAIRS):
        colon = line.find(":", place)
        if colon < 0:
            return
        name = line[place:colon].rpartition(",")[2].strip()
        start = colon + 1
        while line[start : start + 1] == " ":
            start += 1
        quoted = QUOTED.match(line, start) if quotes and line[start : start + 1] == '"' else None
        # One that is not closed would be looked for at every quote up to the end.
        quotes = quotes and (quoted is not None or line[start : start + 1] != '"')
        end = line.find(",", quoted.end() if quoted else start)
        end = len(line) if end < 0 else end
        yield name, _unquoted(line[start:end].strip())
        place = end + 1


def _unquoted(value: str) -> str:
    try:
        text = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return text if isinstance(text, str) else value


def _named_loras(text: str, known: set[str]) -> list[Lora]:
    """LoRAs of a list `name: value, name: value` that are not known yet."""
    return [Lora(name, value) for name, value in _pairs(text) if name and name not in known]
