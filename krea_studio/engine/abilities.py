"""What an engine can do with a variant, as data: by what and in which range each control works, or why it does not.

A control is named by its field of the request. Whoever offers a control, or is about to run a plan, asks here first,
so that what cannot be is said before a run waits. A control that is not named works as the request says. No torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import SLIDERS, default, label
from krea_studio.recipe.variants import VARIANTS


@dataclass(frozen=True)
class Ability:
    """Of one control: `by` what it works here, in words for the page, or the `reason` why it does not, a sentence.

    `identity` changes with the data by which it works, empty where that goes with the checkpoint's weights. `bounds`
    are the least and greatest number, or length of a list, with which it works, None where any that a request may have.
    """

    by: str = ""
    reason: str = ""
    identity: str = ""
    bounds: tuple[float, float] | None = None

    @property
    def range_text(self) -> str:
        """Its bounds in words, `from −50 to 50`; empty without any."""
        return "from {:g} to {:g}".format(*self.bounds).replace("-", "−") if self.bounds else ""


@dataclass(frozen=True)
class Abilities:
    """Of one variant: the sentence why it is `unavailable`, empty where it runs, and the abilities of its controls."""

    unavailable: str = ""
    controls: Mapping[str, Ability] = field(default_factory=dict)

    def of(self, control: str) -> Ability:
        """The ability of one control."""
        return self.controls.get(control, Ability())

    def mechanisms(self) -> dict[str, str]:
        """By what each control works, with the identity of its data, where that is known and it does."""
        works = ((name, each) for name, each in self.controls.items() if each.by and not each.reason)
        return {name: f"{each.by} {each.identity}".strip() for name, each in works}

    def require(self, shots: Iterable[Shot]) -> None:
        """Raise Unavailable where the variant does not run, or a control that one of the shots uses does not work.

        Steps and guidance scale are used where they are not the variant's own. Raises InvalidRequest where a control
        works, but not with that value.
        """
        if self.unavailable:
            raise Unavailable(self.unavailable)
        for shot in shots:
            for control, ability in self.controls.items():
                value = getattr(shot, control)
                if value == default(control):
                    continue
                if ability.reason and value != getattr(VARIANTS[shot.variant], control, None):
                    raise Unavailable(f"{label(control)} does not work here. {ability.reason}")
                if ability.bounds:
                    _require_within(shot, control, value, ability)


def _require_within(shot: Shot, control: str, value: Any, ability: Ability) -> None:
    assert ability.bounds
    least, most = ability.bounds
    number = isinstance(value, int | float)
    if least <= (value if number else len(value)) <= most:
        return
    told = f"{label(control)} {f'is {value:g}' if number else f'has {len(value)} entries'}".replace("-", "−")
    if shot.exploration and control in SLIDERS and control not in shot.exploration.locked:
        raise InvalidRequest(
            f"{told} by random mode, and works {ability.range_text} here — lower the spread or lock the slider"
        )
    raise InvalidRequest(f"{told}, and works {ability.range_text} here — choose a value in that range")
