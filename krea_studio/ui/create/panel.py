"""What the Create tab is made of: panels, one module each, with the names, layout, wiring and behaviour of a part.

What a run is made from, and what a recipe brings back, is asked of all panels that are controls.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest
from krea_studio.ui.presenter import Update
from krea_studio.ui.wiring import Parts, Wiring


class Panel(Protocol):
    """A piece of the page: what stands there, and what happens on it."""

    def build(self, parts: Parts) -> None:
        """Lay out its parts, and put each under its name into `parts`."""

    def wire(self, wiring: Wiring) -> None:
        """Connect its events, once all parts of the tab are there."""


class ControlPanel(Panel, Protocol):
    """A control: a panel that a run is made from, and that a recalled recipe is written into."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the parts that its fields are made from."""

    @property
    def writes(self) -> tuple[str, ...]:
        """Names of the parts that a recalled recipe is written into."""

    @property
    def parts_by_field(self) -> Mapping[str, tuple[str, ...]]:
        """By field that an engine may not be able to do: the parts that cannot be used then.

        Beside them stands the part `mechanism_of(field)`.
        """

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Its fields of GenerationRequest, unchecked, from the values of the parts that it reads.

        Raises InvalidRequest for what was chosen and is not there any more.
        """

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The parts that it writes as a request has them, and sentences on what a person has not as it was."""


def reads_of(panels: Iterable[ControlPanel]) -> tuple[str, ...]:
    """Names of all parts that a run is made from."""
    return tuple(dict.fromkeys(name for panel in panels for name in panel.reads))


def writes_of(panels: Iterable[ControlPanel]) -> tuple[str, ...]:
    """Names of all parts that a recalled recipe is written into."""
    return tuple(name for panel in panels for name in panel.writes)


def fields_of(panels: Iterable[ControlPanel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of GenerationRequest that these values of parts stand for, unchecked. Raises what `fields` does."""
    return {field: value for panel in panels for field, value in panel.fields(values).items()}
