"""The settings of tools that write one JSON object: InvokeAI, SwarmUI, Fooocus, RuinedFooocus and NovelAI.

Each has a table of which of its keys mean what; every other key is a setting without a counterpart, told by its name.
Sources: `invokeai/app/invocations/metadata.py` of InvokeAI (and its `sd-metadata` up to 2.3), `T2IParamInput.cs` of
SwarmUI, `modules/meta_parser.py` of Fooocus, `modules/async_worker.py` of RuinedFooocus.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from krea_studio.library.foreign import infotext
from krea_studio.library.foreign.settings import (
    Lora,
    Settings,
    file_stem,
    read_object,
    text_of,
    without_lora_tags,
    without_nothing,
)
from krea_studio.library.foreign.texts import Texts
from krea_studio.validation import shown

KEY_CHARACTERS = 100
"""Of a key that is compared with others."""

Found = tuple[str, Settings] | None

BANNED = re.compile(r"\[([^\[\]]{0,10000})\]")
"""What InvokeAI up to 2.3 took as a negative prompt: words in square brackets within the prompt."""
PAIR_OF_NUMBERS = re.compile(r"\D{0,4}(\d{1,7})\D{1,6}(\d{1,7})\D{0,4}")

INVOKEAI = {
    "positive_prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "cfg_scale": "cfg",
    "width": "width",
    "height": "height",
}
INVOKEAI_2 = {**INVOKEAI, "prompt": "prompt"}
SWARMUI = {
    "prompt": "prompt",
    "negativeprompt": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "cfgscale": "cfg",
    "width": "width",
    "height": "height",
    "model": "model",
}
FOOOCUS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "guidance_scale": "cfg",
    "base_model": "model",
}
RUINED_FOOOCUS = {
    "Prompt": "prompt",
    "Negative": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "cfg": "cfg",
    "width": "width",
    "height": "height",
    "base_model_name": "model",
}
NOVELAI = {
    "prompt": "prompt",
    "uc": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "scale": "cfg",
    "width": "width",
    "height": "height",
}


def read_invokeai(texts: Texts) -> Found:
    """InvokeAI's settings: `invokeai_metadata`, or the `sd-metadata` of before 3.0."""
    data, older = _object(texts, "invokeai_metadata"), _object(texts, "sd-metadata")
    facts: tuple[str, ...]
    if data is not None:
        loras = [
            Lora(_model_name(each.get("model", each.get("lora"))), each.get("weight", 1))
            for each in _objects(data.get("loras"))
        ]
        facts = ("app_version", "loras", "rand_device", "canvas_v2_metadata")
        if text_of(data.get("generation_mode")).endswith("txt2img"):
            facts = (*facts, "generation_mode")
        return "InvokeAI", _settings(data, INVOKEAI, facts, loras, model=_model_name(data.get("model")))
    image = older.get("image") if older else None
    if older is None or not isinstance(image, dict):
        return None
    written = image.get("prompt")
    if isinstance(written, list):
        written = ", ".join(text_of(each.get("prompt")) for each in _objects(written))
    negative = ", ".join(BANNED.findall(text_of(written)))
    data = {**image, "prompt": BANNED.sub("", text_of(written)).strip(), "negative_prompt": negative}
    facts = ("type",) if image.get("type") == "txt2img" else ()
    return "InvokeAI", _settings(data, INVOKEAI_2, facts, model=text_of(older.get("model_weights")))


def read_swarmui(texts: Texts) -> Found:
    """SwarmUI's settings: `sui_image_params` in `parameters`."""
    whole = _object(texts, "parameters")
    data = whole.get("sui_image_params") if whole else None
    if not isinstance(data, dict):
        return None
    size = PAIR_OF_NUMBERS.fullmatch(text_of(data.get("rawresolution")))
    if size:
        data = {**data, "width": size[1], "height": size[2]}
    names, weights = _list(data.get("loras")), _list(data.get("loraweights"))
    loras = [Lora(file_stem(name), 1 if weight is None else weight) for name, weight in zip_longest(names, weights)]
    facts: tuple[str, ...] = ("swarm_version", "loras", "loraweights", "rawresolution", "images", "personalnote")
    if "width" in data:
        facts = (*facts, "aspectratio")
    return "SwarmUI", _settings(data, SWARMUI, facts, [lora for lora in loras if lora.name])


def read_fooocus(texts: Texts) -> Found:
    """Fooocus' settings by either of its schemes, `fooocus` (JSON) and `a1111`; RuinedFooocus' JSON too."""
    data, scheme = _object(texts, "parameters"), texts.get("fooocus_scheme")
    if data is None:
        found = infotext.read(texts) if scheme == "a1111" else None
        return ("Fooocus", found[1]) if found else None
    if data.get("software") == "RuinedFooocus":
        ruined = [lora for each in _list(data.get("loras")) if (lora := _weight_and_name(each))]
        return "RuinedFooocus", _settings(data, RUINED_FOOOCUS, ("software", "loras", "base_model_hash"), ruined)
    if scheme != "fooocus" and data.get("metadata_scheme") != "fooocus":
        return None
    size = PAIR_OF_NUMBERS.fullmatch(text_of(data.get("resolution")))
    width, height = size.groups() if size else (data.get("resolution"), None)
    combined = {key: value for key, value in data.items() if key.startswith("lora_combined_")}
    named = (text_of(value).rpartition(" : ") for value in combined.values())
    loras = [Lora(name.strip(), weight.strip()) for name, _, weight in named if name not in ("", "None")]
    facts = (
        *("metadata_scheme", "version", "full_prompt", "full_negative_prompt", "base_model_hash", "refiner_model_hash"),
        *("loras", "resolution", "created_by", *combined),
    )
    return "Fooocus", _settings(data, FOOOCUS, facts, loras, width=width, height=height)


def read_novelai(texts: Texts) -> Found:
    """NovelAI's settings: `Comment`, where `Software` names it."""
    data = _object(texts, "Comment")
    if data is None or texts.get("Software") != "NovelAI":
        return None
    data = {"prompt": texts.get("Description"), **data, "character_prompts": _character_prompts(data)}
    facts = ("signed_hash", "request_type", "version", "n_samples", "v4_prompt", "v4_negative_prompt")
    return "NovelAI", _settings(data, NOVELAI, facts, model=texts.get("Source", ""))


def _character_prompts(data: Mapping[str, Any]) -> list[str]:
    """The prompts that NovelAI's fourth model takes for single characters, beside the one for all."""
    prompt = data.get("v4_prompt")
    caption = prompt.get("caption") if isinstance(prompt, dict) else None
    characters = _objects(caption.get("char_captions")) if isinstance(caption, dict) else []
    return [text_of(each.get("char_caption")) for each in characters]


def _settings(
    data: Mapping[str, Any], fields: Mapping[str, str], facts: Iterable[str], loras: Iterable[Lora] = (), **own: Any
) -> Settings:
    """The settings in an object: `fields` by its keys, `own` ones, and every other key but `facts` as left.

    What belongs to something that is off (`hrf_enabled` and all other `hrf_…`) is not there.
    """
    off = {key.removesuffix("enabled") for key, value in data.items() if key.endswith("_enabled") and not value}
    taken = {field: data[key] for key, field in fields.items() if data.get(key) is not None} | own
    notes = []
    for name in ("prompt", "negative_prompt"):
        if name in taken and not isinstance(taken[name], str):
            notes.append(f"The {name.replace('_', ' ')} {shown(taken.pop(name))} is no text")
    if "prompt" not in taken and not notes:
        notes.append("There is no prompt in it")
    tagged: list[Lora] = []
    if "prompt" in taken:
        taken["prompt"], tagged = without_lora_tags(taken["prompt"])
    model = taken.get("model")
    taken["model"] = file_stem(model)
    known = {"model", *fields, *facts}
    rest = ((key, value) for key, value in data.items() if key not in known and not _begins_with(key, off))
    # A model that is told in a way that is not known is told as it is.
    unnamed = [] if taken["model"] else [("model", data.get("model") if model in (None, "") else model)]
    left = tuple((key.replace("_", " "), _plain(value)) for key, value in without_nothing((*unnamed, *rest)))
    return Settings(**taken, loras=(*loras, *tagged), left=left, notes=tuple(notes))


def _begins_with(key: str, beginnings: set[str]) -> bool:
    """Whether a key begins with one of these, each of which ends in `_`."""
    start = key[:KEY_CHARACTERS]
    return any(start[: place + 1] in beginnings for place, c in enumerate(start) if c == "_")


def _object(texts: Texts, key: str) -> dict[str, Any] | None:
    return read_object(texts.get(key, ""))


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _list(value: object) -> Sequence[Any]:
    """A list, also one that is written as a text with commas."""
    if isinstance(value, str):
        return [each.strip() for each in value.split(",")]
    return value if isinstance(value, list) else []


def _model_name(value: object) -> str:
    """The name of a model as InvokeAI tells it: an object, before 4.0 with other keys, or just a text."""
    if isinstance(value, dict):
        return text_of(value.get("name")) or text_of(value.get("model_name"))
    return text_of(value)


def _weight_and_name(value: object) -> Lora | None:
    """A LoRA as RuinedFooocus tells it: its hash, and `0.5 - name`."""
    text = value[1] if isinstance(value, list) and len(value) == 2 else None
    weight, _, name = text_of(text).partition(" - ")
    return Lora(file_stem(name), weight) if name else None


def _plain(value: object) -> object:
    """A model by its name, anything else as it is."""
    return _model_name(value) or value if isinstance(value, dict) else value
