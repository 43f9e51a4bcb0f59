"""Axes of a sweep: one setting of a request over several values, as data and as people write it.

`KINDS` says what may vary and how a value gets into a request. `parse_axis` reads `intensity=-100:100:50` or
`words=fox,cat,owl`, `read_axis` the same in two parts.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, StrictStr, ValidationError, model_validator

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import SLIDERS, Frozen, GenerationRequest, StyleChoice, choices, clean_text, label
from krea_studio.validation import refusal, shown

MOST_VALUES = 10_000
NO_STYLE = "none"

Value = StyleChoice | StrictInt | StrictFloat | StrictStr
Wishes = Mapping[str, Any]  # the fields of a request
Put = Callable[[GenerationRequest, str, Any], Wishes]


def _field(field: str) -> Put:
    """Puts a value into one field."""
    return lambda request, which, value: {field: value}


def _with_steps(request: GenerationRequest, which: str, value: Any) -> Wishes:
    return {"steps": value, "sigmas": None}


def _with_variant(request: GenerationRequest, which: str, value: Any) -> Wishes:
    # These are a variant's own, unless it is the request's.
    own = {"steps": None, "guidance_scale": None, "sigmas": None}
    return {"variant": value} if value == request.variant else {"variant": value, **own}


def _with_strength(request: GenerationRequest, which: str, value: Any) -> Wishes:
    found = request.style_references
    if not found:
        raise InvalidRequest("The request has no style reference — add one, whose strength can vary")
    if which and not (which.isascii() and which.isdigit() and 1 <= int(which) <= len(found)):
        raise InvalidRequest(f"There is no style reference {shown(which)} — give a number from 1 to {len(found)}")
    varied = set(range(len(found))) if not which else {int(which) - 1}
    return {
        "style_references": tuple(
            each.model_copy(update={"strength": value}) if place in varied else each for place, each in enumerate(found)
        )
    }


def _with_board(request: GenerationRequest, which: str, value: Any) -> Wishes:
    if request.moodboard is None:
        raise InvalidRequest("The request has no moodboard — choose one, whose strength can vary")
    return {"moodboard": request.moodboard.model_copy(update={"strength": value})}


def _with_weight(request: GenerationRequest, which: str, value: Any) -> Wishes:
    names = [style.name for style in request.styles]
    if not names:
        raise InvalidRequest("The request has no style — choose one, whose weight can vary")
    if not which and len(names) > 1:
        raise InvalidRequest(
            f"The request has {len(names)} styles — say whose weight varies: style-weight.{names[0]}=…"
        )
    name = which or names[0]
    if name.casefold() not in [each.casefold() for each in names]:
        raise InvalidRequest(f"The request has no style {shown(name)} — its styles are {', '.join(names)}")
    return {
        "styles": tuple(
            style.model_copy(update={"weight": value}) if style.name.casefold() == name.casefold() else style
            for style in request.styles
        )
    }


def _with_style(request: GenerationRequest, which: str, value: Any) -> Wishes:
    return {} if value == NO_STYLE else {"styles": (*request.styles, value)}


def _with_words(request: GenerationRequest, which: str, value: Any) -> Wishes:
    # As words of their own where they stand so, or else as they are: not every script has spaces.
    prompt, found = re.subn(rf"(?<!\w){re.escape(which)}(?!\w)", lambda _: value, request.prompt)
    if not found and which not in request.prompt:
        raise InvalidRequest(f"The prompt does not say {shown(which)} — begin with words that it says")
    if not found:
        prompt = request.prompt.replace(which, value)
    # What was written out is of the other prompt.
    return {"prompt": prompt, **({} if value == which else {"expansion": None})}


@dataclass(frozen=True)
class Kind:
    """What an axis may vary: its words for people, its values' type, how a value gets into a request.

    `cost` says how much a device has to do where it changes: those of high cost change least often.
    """

    label: str
    help: str  # beyond what the label says
    type: type
    put: Put
    cost: int = 0
    choices: tuple[str, ...] = ()


def _of_field(field: str, type: type, put: Put | None = None, cost: int = 0) -> Kind:
    given = choices(field) if field in ("variant", "aspect_ratio", "creativity") else ()
    return Kind(label(field), "", type, put or _field(field), cost, given)


KINDS: Mapping[str, Kind] = {
    "variant": _of_field("variant", str, _with_variant, cost=5),
    "seed": _of_field("seed", int),
    **{slider: _of_field(slider, int) for slider in SLIDERS},
    "creativity": _of_field("creativity", str),
    "aspect-ratio": _of_field("aspect_ratio", str, cost=1),
    "steps": _of_field("steps", int, _with_steps),
    "guidance": _of_field("guidance_scale", float),
    "reference": Kind("Reference strength", "reference.2 is the second one's alone", float, _with_strength, cost=2),
    "moodboard": Kind("Moodboard strength", "", float, _with_board, cost=2),
    "style-weight": Kind("Style weight", "style-weight.NAME where there are several", float, _with_weight, cost=2),
    "style": Kind("Style", f"names, beside the styles of the request; {NO_STYLE} is without", str, _with_style, cost=3),
    "words": Kind("Words", "the first stand in the prompt, the others take their place", str, _with_words),
}
"""By the name that people write before the equals sign; in the order in which values get into a request."""


class Axis(Frozen):
    """One setting over several values; `which` says of which style or reference, or which words of the prompt."""

    what: Literal[*KINDS] = Field(title="Axis", description="What varies")  # type: ignore[valid-type]
    which: str = Field(default="", max_length=10_000, strict=True, title="Which", description="Of which one")
    values: tuple[Value, ...] = Field(
        min_length=1, max_length=MOST_VALUES, title="Values", description="The values, in their order"
    )

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        for value in self.values:
            if not self._takes(value):
                raise ValueError(f"{self.name} cannot be {shown(value)}")
        return self

    def _takes(self, value: Value) -> bool:
        if self.what == "style":
            return isinstance(value, StyleChoice) or value == NO_STYLE
        if self.kind.type is str:
            return isinstance(value, str)
        return isinstance(value, int) or (self.kind.type is float and isinstance(value, float))

    @property
    def kind(self) -> Kind:
        return KINDS[self.what]

    @property
    def name(self) -> str:
        """What varies, for people: `Intensity`, `Style weight of Neon`."""
        if self.what == "words":
            return f"{self.kind.label}: {self.which}"
        if self.what == "reference":
            return f"Strength of reference {self.which}" if self.which else self.kind.label
        return f"{self.kind.label} of {self.which}" if self.which else self.kind.label

    def text(self, place: int) -> str:
        """The value at a place, for people."""
        value = self.values[place]
        if isinstance(value, StyleChoice):
            return value.name if value.weight == 1 else f"{value.name} {value.weight:g}"
        if value == NO_STYLE and self.what == "style":
            return "no style"
        return f"{value:g}".replace("-", "−") if isinstance(value, int | float) else value


OF_WHICH = ("reference", "style-weight")
"""What may say of which one it is."""
_RANGE = re.compile(r"(?P<start>[^:]+):(?P<stop>[^:]+)(:(?P<step>[^:]+))?")


def parse_axis(text: str) -> Axis:
    """An axis as people write it: `NAME=VALUES` or `NAME.WHICH=VALUES`.

    Values are a list with commas, quoted where they have commas themselves, or of numbers a range, `START:STOP:STEP`,
    whose stop is one of them where a step ends there. Raises InvalidRequest with what is wrong.
    """
    name, equals, values = text.partition("=")
    if not equals:
        raise _no_axis(text)
    return read_axis(name, values)


def read_axis(name: str, text: str) -> Axis:
    """An axis of what varies, `NAME` or `NAME.WHICH`, and its values as people write them.

    Raises InvalidRequest as `parse_axis` does.
    """
    what, _, which = name.strip().partition(".")
    what = what.strip().lower().replace("_", "-").replace(" ", "-")
    if what not in KINDS:
        raise _no_axis(f"{name}={text}")
    kind, which = KINDS[what], which.strip()
    if which and what not in OF_WHICH:
        raise InvalidRequest(f"{shown(name.strip())} is no axis — write {what}=VALUES")
    values: list[Value] = [value for part in _parts(text) for value in _values(kind, what, part)]
    if not values:
        raise InvalidRequest(f"{kind.label} has no values — write {what}=VALUES, with commas between them")
    if len(values) > MOST_VALUES:
        raise InvalidRequest(f"{kind.label} has {len(values):,} values, of at most {MOST_VALUES:,} — give fewer")
    if what == "words":
        which = str(values[0])
    return Axis(what=what, which=which, values=tuple(values))


def values_text(axis: Axis) -> str:
    """The values of an axis as `read_axis` takes them."""

    def written(value: Value) -> str:
        if isinstance(value, StyleChoice):
            return value.name if value.weight == 1 else f"{value.name}:{value.weight!r}"
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)

    texts = [written(value) for value in axis.values]
    quoted = ['"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text for text in texts]
    first, rest = quoted[0], ", ".join(quoted[1:])
    return f"{first} → {rest}" if axis.what == "words" and rest else ", ".join(quoted)


def _no_axis(text: str) -> InvalidRequest:
    return InvalidRequest(f"{shown(text)} is no axis — write NAME=VALUES, with one of {', '.join(KINDS)}")


def _parts(text: str) -> list[str]:
    """What stands between the commas; an arrow may stand for the first one."""
    text = re.sub(r"\s*(→|->)\s*", ",", str(clean_text(text)).replace("\n", " "), count=1)
    rows = list(csv.reader([text], skipinitialspace=True))
    return [part.strip() for row in rows for part in row if part.strip()]


def _values(kind: Kind, what: str, part: str) -> Iterator[Value]:
    if kind.type is str:
        if kind.choices and part not in kind.choices:
            raise InvalidRequest(f"{kind.label} is {shown(part)} — choose from {', '.join(kind.choices)}")
        yield part if what != "style" or part.casefold() == NO_STYLE else _style(part)
    elif found := _RANGE.fullmatch(part):
        yield from _range(kind, part, *(found[side] for side in ("start", "stop", "step")))
    else:
        yield _number(kind, part)


def _style(part: str) -> StyleChoice:
    """`Neon` or `Neon:0.8`."""
    name, colon, weight = part.rpartition(":")
    with_weight = bool(colon) and re.fullmatch(r"[-−+]?\d*\.?\d+", weight.strip()) is not None
    given: dict[str, Any] = {"name": name.strip(), "weight": float(_decimal(weight))} if with_weight else {"name": part}
    try:
        return StyleChoice.model_validate(given)
    except ValidationError as error:
        raise refusal(error, StyleChoice, lambda field: label(field, StyleChoice), "a style") from None


def _range(kind: Kind, part: str, start: str, stop: str, step: str | None) -> Iterator[Value]:
    first, last = (_checked(kind, part, text) for text in (start, stop))
    by = _checked(kind, part, step) if step else Decimal(1 if last >= first else -1)
    if by == 0:
        raise InvalidRequest(f"{kind.label} has the range {shown(part)} with step 0 — give a step, such as 10")
    if (last - first) * by < 0:
        raise InvalidRequest(f"{kind.label} has the range {shown(part)}, which leads away from its end — turn the step")
    count = int((last - first) / by) + 1
    if count > MOST_VALUES:
        raise InvalidRequest(
            f"{kind.label} has the range {shown(part)} of {count:,} values, of at most {MOST_VALUES:,} — give a "
            "larger step"
        )
    for place in range(count):
        yield kind.type(first + place * by)


def _number(kind: Kind, part: str) -> int | float:
    return kind.type(_checked(kind, part, part))


def _checked(kind: Kind, part: str, text: str) -> Decimal:
    """A number of the kind's type in a part of its values."""
    whole = kind.type is int
    try:
        number = _decimal(text)
        if number.is_finite() and abs(number) < Decimal(10) ** 12 and not (whole and number % 1):
            return number
    except InvalidOperation:
        pass
    noun = "whole number" if whole else "number"
    hint = f"give {noun}s, or a range of them as START:STOP:STEP"
    raise InvalidRequest(f"{kind.label} is {shown(part)} — {hint}")


def _decimal(text: str) -> Decimal:
    return Decimal(text.strip().replace("−", "-"))
