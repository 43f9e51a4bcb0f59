"""Sweeps: one to three settings of a request, each over several values, and a picture of every combination.

A sweep is data: a request, and its axes. `Sweep.cells` are the requests of its pictures, in the order in which a device
has least to load. Unless an axis says otherwise all have one seed, so that only what was asked for differs.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from pydantic import Field, ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.axes import KINDS, Axis, Value, Wishes
from krea_studio.recipe.request import Frozen, GenerationRequest, StyleChoice, parse_request
from krea_studio.validation import refusal, shown

MOST_AXES = 3
MOST_CELLS = 100
"""More are drawn only where somebody says that they mean it."""
MOST_CELLS_EVER = 10_000


@dataclass(frozen=True)
class Cell:
    """One picture of a sweep: its place on every axis, and its request."""

    at: tuple[int, ...]
    request: GenerationRequest


class Sweep(Frozen):
    """A request and its axes, the first from left to right, the second downwards, the third from sheet to sheet."""

    request: GenerationRequest
    axes: tuple[Axis, ...] = Field(min_length=1, max_length=MOST_AXES, title="Axes", description="What varies")

    @property
    def size(self) -> int:
        """The number of its pictures."""
        return prod(len(axis.values) for axis in self.axes)

    @property
    def title(self) -> str:
        """The prompt, and what varies."""
        varied = " × ".join(axis.name.lower() for axis in self.axes)
        return f"{varied}: {self.request.prompt}"

    def known(self, look_up: Callable[[GenerationRequest], GenerationRequest]) -> "Sweep":
        """The sweep with what its requests name by name looked up, also what stands at 0 where an axis does not."""
        wide = self.request
        for axis in self.axes:
            if axis.what in ("moodboard", "style-weight"):
                value = next((value for value in axis.values if value), axis.values[0])
                wide = wide.model_copy(update=dict(axis.kind.put(wide, axis.which, value)))
        found, own = look_up(wide), self.request
        board = found.moodboard
        if board and own.moodboard:
            board = board.model_copy(update={"strength": own.moodboard.strength})
        weights = [style.weight for style in own.styles]
        styles = tuple(
            style.model_copy(update={"weight": weight}) for style, weight in zip(found.styles, weights, strict=True)
        )

        def known(value: Value) -> Value:
            if not isinstance(value, StyleChoice):
                return value
            return look_up(own.model_copy(update={"styles": (value,)})).styles[0]

        axes = tuple(
            axis.model_copy(update={"values": tuple(known(value) for value in axis.values)}) for axis in self.axes
        )
        return Sweep(request=own.model_copy(update={"moodboard": board, "styles": styles}), axes=axes)

    def require(self, most: int = MOST_CELLS) -> None:
        """Raise InvalidRequest where it cannot be drawn as asked: two axes vary the same, there are more than `most`
        pictures, the request wants several itself, or a combination is no request."""
        self._require_apart()
        if self.size > min(most, MOST_CELLS_EVER):
            told = " × ".join(f"{len(axis.values):,}" for axis in self.axes)
            told = f"{told} = {self.size:,}" if len(self.axes) > 1 else told
            ever = self.size > MOST_CELLS_EVER
            raise InvalidRequest(
                f"The sweep has {told} pictures, of at most {MOST_CELLS_EVER if ever else most:,} — "
                f"take fewer values{'' if ever else ', or allow as many'}"
            )
        require_sweepable(self.request)
        for _ in self.cells():
            pass

    def _require_apart(self) -> None:
        for first, second in itertools.combinations(self.axes, 2):
            if (first.what, first.which) == (second.what, second.which):
                raise InvalidRequest(f"{second.name} is on two axes — let each vary something else")
        for axis in self.axes:
            twice = [value for place, value in enumerate(axis.values) if value in axis.values[:place]]
            if twice:
                said = shown(twice[0].name if isinstance(twice[0], StyleChoice) else twice[0])
                raise InvalidRequest(f"{axis.name} has {said} twice — give each value once")

    def cells(self) -> Iterator[Cell]:
        """Its pictures, in the order in which a device has least to load.

        Raises InvalidRequest for a combination that is no request.
        """
        dearest = self._dearest
        for found in itertools.product(*(range(len(self.axes[axis].values)) for axis in dearest)):
            places = dict(zip(dearest, found, strict=True))
            yield Cell(tuple(places[axis] for axis in range(len(self.axes))), self._request_at(places))

    @property
    def _dearest(self) -> list[int]:
        """The axes' numbers, those of high cost first."""
        return sorted(range(len(self.axes)), key=lambda axis: -self.axes[axis].kind.cost)

    def _request_at(self, places: Mapping[int, int]) -> GenerationRequest:
        request, kinds = self.request, list(KINDS)
        for number in sorted(places, key=lambda number: kinds.index(self.axes[number].what)):
            axis, place = self.axes[number], places[number]
            put = axis.kind.put(request, axis.which, axis.values[place])
            try:
                request = parse_request({**request.model_dump(), **_plain(put)})
            except InvalidRequest as error:
                raise InvalidRequest(f"{axis.name} {axis.text(place)}: {error.message}") from None
        return request


def _plain(wishes: Wishes) -> dict[str, Any]:
    """Fields of a request as plain data, as `parse_request` takes them."""

    def plain(value: Any) -> Any:
        if isinstance(value, Frozen):
            return value.model_dump()
        return [plain(each) for each in value] if isinstance(value, tuple) else value

    return {field: plain(value) for field, value in wishes.items()}


def require_sweepable(request: GenerationRequest) -> None:
    """Raise InvalidRequest for a request that no sweep can start from, whatever varies."""
    if request.batch > 1:
        raise InvalidRequest(
            f"The batch is {request.batch}, and a sweep draws one picture of each combination — let the seed vary "
            "instead"
        )
    if request.random_mode:
        raise InvalidRequest("Random mode is on, and a sweep varies what its axes say — switch it off")


def parse_sweep(request: GenerationRequest, axes: Sequence[Axis], most: int = MOST_CELLS) -> Sweep:
    """A sweep that can be drawn. Raises InvalidRequest as `Sweep.require` does, and for no axis or too many."""
    if not 1 <= len(axes) <= MOST_AXES:
        raise InvalidRequest(f"The sweep has {len(axes) or 'no'} axes — give one to {MOST_AXES}")
    sweep = Sweep(request=request, axes=tuple(axes))
    sweep.require(most)
    return sweep


def sweep_from_json(value: object, most: int = MOST_CELLS_EVER) -> Sweep:
    """The sweep in a JSON value, checked as a stranger's. Raises InvalidRequest."""
    try:
        sweep = Sweep.model_validate(value)
    except ValidationError as error:
        raise refusal(error, Sweep, lambda field: field.capitalize(), "a sweep") from None
    sweep.require(most)
    return sweep
