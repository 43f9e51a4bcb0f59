"""What the chosen variant cannot do: its controls are greyed on the Create tab, with the reason beside each.

What is set on a greyed control stays there and takes no part in a run: who tries another variant finds everything as it
was when they come back, and is not refused a picture for what the page says is not used. What the page did not show as
greyed is never left out: where it has ceased to work, the run is refused with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from krea_studio.engine.abilities import Ability
from krea_studio.engine.base import Engine
from krea_studio.recipe.request import SLIDERS, default
from krea_studio.recipe.variants import VARIANTS
from krea_studio.ui import fragments
from krea_studio.ui.controls import guidance_of, mechanism_of, read_number
from krea_studio.ui.create.panel import ControlPanel, fields_of, reads_of
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.wiring import Parts, Wiring, any_of

NO_SLIDER = "No slider works here, so there is nothing to vary."
NO_GUIDANCE = "The guidance scale is 0 here, so a negative prompt has no effect."


class AbilitiesPanel:
    """Which controls can be used, over one engine, and the request that they make."""

    def __init__(self, panels: Sequence[ControlPanel], engine: Engine) -> None:
        self._panels, self._engine = panels, engine
        self._parts = {field: parts for panel in panels for field, parts in panel.parts_by_field.items()}
        self.reads = (*reads_of(panels), "greyed")

    def build(self, parts: Parts) -> None:
        """Keep which fields the page shows as greyed."""
        parts["greyed"] = remembered([], list[str])

    def wire(self, wiring: Wiring) -> None:
        """Let the controls follow the variant, and the guidance that overrides its own."""
        parts = wiring.parts
        self.wire_describe(
            wiring,
            any_of(gr.context.Context.root_block.load, parts["variant"].change, parts["guidance_scale"].change),
        )

    def wire_describe(self, wiring: Wiring, event: Any) -> None:
        """Let the controls follow what happens at `event`."""
        written = (name for field, names in self._parts.items() for name in (mechanism_of(field), *names))
        wiring.at_once(event, self.describe, reads=("variant", "guidance_scale"), writes=("greyed", *written))

    def describe(self, variant: str, guidance_scale: str | None) -> Update:
        """Which controls can be used with a variant, how they work, and why others do not. Changes no value."""
        reasons, abilities = self._reasons(variant, read_number(guidance_scale)), self._engine.abilities(variant)
        update: Update = {"greyed": list(reasons)}
        for field, names in self._parts.items():
            ability = Ability(reason=reasons[field]) if field in reasons else abilities.of(field)
            # Sliders work in one way or another; what works in one way only need not tell by which.
            told = fragments.mechanism(ability if field in SLIDERS else replace(ability, by=""))
            update[mechanism_of(field)] = gr.update(value=told, visible=bool(told))
            update |= {name: gr.update(interactive=field not in reasons) for name in names}
        return update

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a request that these values of `reads` stand for, unchecked, without what is greyed.

        Raises what a panel's `fields` does.
        """
        variant = values["variant"]
        if variant not in list(VARIANTS):  # whatever a browser sends; the request refuses it
            return fields_of(self._panels, values)
        reasons = self._reasons(variant, read_number(values["guidance_scale"]))
        # Guidance is on the page, which has told of it or is about to; what an engine can do may have changed since.
        greyed = {field for field in reasons if field in values["greyed"] or reasons[field] == NO_GUIDANCE}
        used = [panel for panel in self._panels if not panel.parts_by_field or set(panel.parts_by_field) - greyed]
        given = {**fields_of(used, values), **{field: default(field) for field in greyed}}
        if given["random_mode"]:  # it leaves sliders alone that are greyed
            given["locked_sliders"] = [slider for slider in SLIDERS if slider in {*given["locked_sliders"], *greyed}]
        return given

    def _reasons(self, variant: str, guidance_scale: float | str | None) -> dict[str, str]:
        """By field that does not work with a variant and this guidance: why."""
        abilities = self._engine.abilities(variant)
        reasons = {field: reason for field in self._parts if (reason := abilities.of(field).reason)}
        if all(slider in reasons for slider in SLIDERS):
            reasons["random_mode"] = NO_SLIDER
        if guidance_of(variant, None if "guidance_scale" in reasons else guidance_scale) == 0:
            reasons.setdefault("negative_prompt", NO_GUIDANCE)
        return reasons
