"""From pydantic's report of what is wrong to one line for a person.

A line has the form `field is 'value' — what is allowed`. What is allowed is read from the model's own JSON schema, so
a range is written once, on its field. Only the first problem is told: a person mends one thing at a time.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from krea_studio.errors import InvalidRequest

SHOWN_CHARACTERS = 80
ABSOLUTE = re.compile(r"(?<![\w./:<])/(?:[^\s/<>]+/)+(?P<name>[^\s/<>]+)")


def shown(value: object) -> str:
    """The offending value as one printable line of at most about 80 characters."""
    if isinstance(value, int) and value.bit_length() > 256:
        # Python refuses to print whole numbers of thousands of digits.
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        value = value[: SHOWN_CHARACTERS + 1]
    try:
        text = " ".join(repr(value).split())
    except (RecursionError, ValueError):
        return f"a {type(value).__name__} that cannot be printed"
    # A lone surrogate is escaped by repr inside strings; other objects' own texts may still hold one.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def without_folders(message: str) -> str:
    """A message for somebody who need not know where on this machine files lie: of each path only its last name."""
    return ABSOLUTE.sub(r"\g<name>", message)


@cache
def field_schema(model: type[BaseModel], field: str) -> dict[str, Any]:
    """The JSON schema of one field; a field that may be empty has `"nullable": True` beside its other side."""
    schema = model.model_json_schema()
    found = _resolved(schema["properties"][field], schema)
    if "anyOf" in found:
        sides = [side for side in found["anyOf"] if side.get("type") != "null"]
        found = {**found, **_resolved(sides[0], schema), "nullable": len(sides) < len(found["anyOf"])}
    return found


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    return {**root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], **schema}


def allowed(model: type[BaseModel], field: str) -> str:
    """What a field takes, as an instruction: `give a whole number from 1 to 4`, `choose one of raw, low, …`."""
    schema = field_schema(model, field)
    phrase = _phrase(schema)
    return f"{phrase}, or leave it empty" if schema.get("nullable") else phrase


def _phrase(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "choose one of " + ", ".join(str(choice) for choice in schema["enum"])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        noun = "a whole number" if kind == "integer" else "a number"
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and high is not None:
            return f"give {noun} from {low:g} to {high:g}" if kind == "number" else f"give {noun} from {low} to {high}"
        if "exclusiveMinimum" in schema:
            return f"give {noun} above {schema['exclusiveMinimum']:g}"
        return f"give {noun}"
    if kind == "boolean":
        return "give true or false"
    if kind == "array":
        return f"give a list of at most {schema['maxItems']}"
    if kind == "object":
        return "give an object" + (" with " + " and ".join(schema["properties"]) if "properties" in schema else "")
    if "maxLength" in schema:
        return f"give a text of {schema.get('minLength', 0):,} to {schema['maxLength']:,} characters"
    return "give a text" if "pattern" not in schema else schema["description"]


def refusal(error: ValidationError, model: type[BaseModel], name: Callable[[str], str], whole: str) -> InvalidRequest:
    """The first problem of `error` as an InvalidRequest, one of a field that is not there before others.

    `name` turns a field of `model` into the words that people know it by; `whole` is what the model is called
    (`a request`), for fields that it does not have.
    """
    problems = error.errors(include_url=False)
    # A field of a wrong name first: it may be why another one is missing.
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    kind, location, value = problem["type"], problem["loc"], problem["input"]
    if kind in ("extra_forbidden", "invalid_key"):
        owner = _owner(model, location)
        place = whole if owner is model else _where(model, location[:-1], name)
        return InvalidRequest(
            f"{shown(location[-1])} is not a field of {place} — use only {', '.join(owner.model_fields)}"
        )
    if not location:
        return InvalidRequest(f"{shown(value)} is not {whole} — {problem['msg']}")
    where = _where(model, location, name)
    hint = _hint(model, location)
    if kind == "missing":
        return InvalidRequest(f"{where} is missing — {hint}")
    if kind == "string_unicode":
        return InvalidRequest(f"{where} is not valid Unicode (half of a surrogate pair) — paste the text again")
    if kind in ("string_too_long", "string_too_short"):
        size = f"has {len(value):,} characters" if value else "is empty"
        return InvalidRequest(f"{where} {size} — {hint}")
    if kind == "too_long":
        return InvalidRequest(f"{where} has {problem['ctx']['actual_length']} entries — {hint}")
    if kind == "value_error":
        return InvalidRequest(f"{where} is {shown(value)} — {problem['ctx']['error']}")
    return InvalidRequest(f"{where} is {shown(value)} — {hint}")


def _owner(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the last part of `location`: `model` itself or one nested in a field of it."""
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _nested(model.model_fields[part].annotation) or model
    return model


def _nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_nested(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)


def _where(model: type[BaseModel], location: tuple[int | str, ...], name: Callable[[str], str]) -> str:
    words = [name(str(location[0]))]
    for depth, part in enumerate(location[1:], start=2):
        if isinstance(part, int):
            words.append(f"number {part + 1}")
        else:
            field = _owner(model, location[:depth]).model_fields.get(part)
            words.append(field.title.lower() if field and field.title else part if field else shown(part))
    return ", ".join(words)


def _hint(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    field = str(location[0])
    # Down to the field that what is wrong is in: a list or an object may be between it and the next model.
    for part in location[1:]:
        inner = _nested(model.model_fields[field].annotation)
        if inner and part in inner.model_fields:
            model, field = inner, str(part)
    if location[-1] == field:
        return allowed(model, field)
    schema = field_schema(model, field)
    members = schema.get("items") or schema.get("additionalProperties") or {}
    if "$ref" not in members:
        return _phrase(members)
    nested = _nested(model.model_fields[field].annotation)
    return "give an object with " + " and ".join(nested.model_fields) if nested else "see its description"
