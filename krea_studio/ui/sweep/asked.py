"""What stands in the axes' boxes of the tab Sweep, as a sweep, and a sweep as what stands in them.

Values are read by the axes' own parser. What is wrong with one axis is refused as `Misplaced`, so that it is said
beside its box.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.axes import KINDS, OF_WHICH, Axis, read_axis, values_text
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.sweep import Sweep, parse_sweep, require_sweepable

T = TypeVar("T")

WHERE = {"x": "Across", "y": "Down", "z": "From table to table"}
AXES = tuple(WHERE)
NOTHING = ""
NO_AXIS = "Nothing varies yet — choose what does, and give its values"
NO_VALUES = "Give the values that it takes"

# What stands in an empty box of values; of what takes one of a few, these.
EXAMPLES = {
    "seed": "1:5",
    "intensity": "-100:100:50",
    "complexity": "-100:100:50",
    "movement": "-100:100:50",
    "steps": "2, 4, 8",
    "guidance": "0:6:1.5",
    "reference": "0:1:0.25",
    "moodboard": "0:1:0.25",
    "style-weight": "0:1:0.25",
    "style": "none, Woodcut, Blueprint:0.5",
    "words": "fox → cat, owl",
}


# What stands in an empty box that says of which one.
WHICH = {
    "reference": "its number, or empty for all of them",
    "style-weight": "the style's name, or empty where there is one",
}


class Misplaced(InvalidRequest):
    """What is wrong with one of the axes, `x`, `y` or `z`."""

    def __init__(self, message: str, axis: str) -> None:
        super().__init__(message)
        self.axis = axis


@dataclass(frozen=True)
class Row:
    """One axis as it stands on the page; `what` is empty where nothing varies on it."""

    axis: str
    what: str
    which: str
    values: str

    @property
    def name(self) -> str:
        """As `read_axis` takes it; what says of which one is left out where it has no meaning."""
        return f"{self.what}.{self.which}" if self.which and self.what in OF_WHICH else self.what


def part_of(axis: str, what: str) -> str:
    """The name of an axis' part: `what` varies, `which` one, its `values`, and the `error` beside them."""
    return f"{axis}_{what}"


ROWS = tuple(part_of(axis, what) for axis in AXES for what in ("what", "which", "values"))
ERRORS = tuple(part_of(axis, "error") for axis in AXES)


def example(what: str) -> str:
    """Values that an axis may take, as they are written."""
    return EXAMPLES.get(what) or ", ".join(KINDS[what].choices[:3]) if what else ""


def rows_of(values: Mapping[str, Any]) -> list[Row]:
    """The axes on which something varies, from the values of `ROWS`."""
    rows = [
        Row(axis, *(str(values[part_of(axis, what)] or "").strip() for what in ("what", "which", "values")))
        for axis in AXES
    ]
    return [row for row in rows if row.what]


def sweep_of(request: GenerationRequest, rows: Sequence[Row], kept: Sequence[Axis], most: int) -> Sweep:
    """The sweep of a request over these axes, one picture of each combination, at most `most`.

    Where a row is as one of the `kept` axes is written, it is that one: a sheet knows more of its styles than their
    names. Raises Misplaced for what is wrong with one axis, InvalidRequest for the rest.
    """
    request = request.model_copy(update={"batch": 1})
    require_sweepable(request)
    if not rows:
        raise InvalidRequest(NO_AXIS)
    as_written = {written(axis): axis for axis in kept}
    axes = [as_written.get((row.name, row.values)) or _placed(row, partial(_read, row)) for row in rows]
    sweep = Sweep(request=request, axes=tuple(axes))
    try:
        return parse_sweep(request, axes, most)
    except InvalidRequest:
        if sweep.size <= most:
            for number, row in enumerate(rows):
                _placed(row, partial(parse_sweep, request, axes[: number + 1], most))
        raise


def written(axis: Axis) -> tuple[str, str]:
    """An axis as a row has it: its name, and its values."""
    return f"{axis.what}.{axis.which}" if axis.what in OF_WHICH and axis.which else axis.what, values_text(axis)


def rows_with(axes: Sequence[Axis]) -> dict[str, Any]:
    """By the names of `ROWS`, what stands there for these axes."""
    found: dict[str, Any] = {}
    for number, axis in enumerate(AXES):
        given = axes[number] if number < len(axes) else None
        found[part_of(axis, "what")] = given.what if given else NOTHING
        found[part_of(axis, "which")] = given.which if given and given.what in OF_WHICH else ""
        found[part_of(axis, "values")] = values_text(given) if given else ""
    return found


def _read(row: Row) -> Axis:
    if not row.values:
        raise InvalidRequest(NO_VALUES)
    return read_axis(row.name, row.values)


def _placed(row: Row, action: Callable[[], T]) -> T:
    try:
        return action()
    except InvalidRequest as error:
        raise Misplaced(error.message, row.axis) from None
