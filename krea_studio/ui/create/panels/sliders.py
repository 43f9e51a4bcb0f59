"""The generative sliders on the Create tab: starting points, by what each slider works, and random mode."""

import functools
from collections.abc import Mapping
from typing import Any

import gradio as gr

from krea_studio.direction.sliders import STARTING_POINTS, StartingPoint
from krea_studio.people import Person
from krea_studio.recipe.request import SLIDERS, GenerationRequest
from krea_studio.ui import controls
from krea_studio.ui.controls import lock_of, mechanism_of, number_text, read_number
from krea_studio.ui.presenter import Update
from krea_studio.ui.wiring import Parts, Wiring

LOCKS = tuple(lock_of(slider) for slider in SLIDERS)
# What `slider_values` writes.
RANDOM = (*SLIDERS, "random_mode", "random_panel")
READ = (*SLIDERS, "random_mode", *LOCKS, "spread", "exploration_seed")


class SlidersPanel:
    """Sliders and random mode."""

    reads, writes = READ, (*READ, "random_panel")
    parts_by_field: Mapping[str, tuple[str, ...]] = {
        **{slider: (slider, lock_of(slider)) for slider in SLIDERS},
        "random_mode": ("random_mode", "spread", "exploration_seed"),
    }

    def build(self, parts: Parts) -> None:
        """Lay out starting points and sliders, and what random mode can be told, which shows while it is on."""
        with gr.Row(elem_id="starting-points"):
            for point in STARTING_POINTS:
                parts[_button_of(point)] = gr.Button(point.label, size="sm", min_width=0, elem_classes="starting-point")
        for slider in SLIDERS:
            parts[slider] = controls.slider(slider)
            parts[mechanism_of(slider)] = controls.mechanism(slider, "mechanism")
        parts["random_mode"] = controls.toggle("random_mode")
        parts[mechanism_of("random_mode")] = controls.mechanism("random_mode")
        with gr.Column(visible=False, elem_id="random-panel") as parts["random_panel"]:
            with gr.Row(elem_id="locks"):
                for slider in SLIDERS:
                    parts[lock_of(slider)] = controls.lock(slider, min_width=0)
            parts["spread"] = controls.slider("spread")
            parts["exploration_seed"] = controls.optional_number("exploration_seed", placeholder="drawn for you")

    def wire(self, wiring: Wiring) -> None:
        """Connect the starting points and the switch of random mode."""
        parts, at_once = wiring.parts, wiring.at_once
        for point in STARTING_POINTS:
            start = functools.partial(self.start, point)
            at_once(parts[_button_of(point)].click, start, reads=(), writes=RANDOM)
        at_once(parts["random_mode"].change, self.switch_random_mode, reads=("random_mode",), writes=("random_panel",))

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The sliders, random mode and what it is told."""
        return {
            **{name: values[name] for name in (*SLIDERS, "random_mode", "spread")},
            "locked_sliders": [slider for slider in SLIDERS if values[lock_of(slider)]],
            "exploration_seed": read_number(values["exploration_seed"]),
        }

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """Sliders and random mode as a request has them."""
        locks = {lock_of(slider): slider in request.locked_sliders for slider in SLIDERS}
        values = {slider: getattr(request, slider) for slider in SLIDERS}
        return {
            **slider_values(values, request.random_mode),
            **locks,
            "spread": request.spread,
            "exploration_seed": number_text(request.exploration_seed),
        }, []

    def start(self, point: StartingPoint) -> Update:
        """A starting point was chosen: its slider values, and random mode as it says."""
        return slider_values(point.values, point.random_mode)

    def switch_random_mode(self, random_mode: bool) -> Update:
        """Show what random mode can be told while it is on."""
        return {"random_panel": gr.update(visible=random_mode)}


def slider_values(values: Mapping[str, int], random_mode: bool) -> Update:
    """The sliders at these values, with random mode on or off."""
    return {**values, "random_mode": random_mode, "random_panel": gr.update(visible=random_mode)}


def _button_of(point: StartingPoint) -> str:
    return f"start_{point.label}"
