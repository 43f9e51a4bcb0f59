"""What an engine can do with a variant, as data: whether it runs here, by what each control works, or why it does not.

A control is named by its field of the request. Whoever offers a control, or is about to run a plan, asks here first,
so that what cannot be is said before a run waits. A control that is not named works as the request says. No torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from krea_studio.errors import Unavailable
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import default, label


@dataclass(frozen=True)
class Ability:
    """Of one control: `by` what it works here, in words for the page, or the `reason` why it does not, a sentence.

    `identity` changes with the data by which it works, empty where that goes with the checkpoint's weights.
    """

    by: str = ""
    reason: str = ""
    identity: str = ""


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
        """Raise Unavailable where the variant does not run, or a control that one of the shots uses does not work."""
        if self.unavailable:
            raise Unavailable(self.unavailable)
        for shot in shots:
            for control, ability in self.controls.items():
                if ability.reason and getattr(shot, control) != default(control):
                    raise Unavailable(f"{label(control)} does not work here. {ability.reason}")
