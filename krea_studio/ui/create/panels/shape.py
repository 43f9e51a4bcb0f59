"""Variant, aspect ratio and resolution on the Create tab, with the pixel size and the facts of the chosen variant."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from krea_studio.engine.base import Engine
from krea_studio.people import Person
from krea_studio.recipe.request import GenerationRequest, choices, default
from krea_studio.recipe.variants import VARIANTS
from krea_studio.ui import controls, fragments
from krea_studio.ui.create.panels.prompt import HELP
from krea_studio.ui.presenter import Update, status_of
from krea_studio.ui.wiring import Parts, Wiring, any_of

SHAPE = ("variant", "aspect_ratio", "resolution")
# Never a control: facts may come late, when something has been typed or chosen already.
FACTS = ("variant_text", *HELP, "status", "defaults")


class ShapePanel:
    """Which model draws, and in what size, over one engine."""

    reads = writes = SHAPE
    parts_by_field: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, parts: Parts) -> None:
        """Lay out the three choices, each with what it means."""
        parts["variant"] = controls.choice("variant", self.variants(), info=None, elem_classes="segments")
        parts["variant_text"] = gr.HTML(fragments.variant_text(VARIANTS[default("variant")]), elem_classes="beneath")
        ratios = [(name, name) for name in choices("aspect_ratio")]
        parts["aspect_ratio"] = controls.choice("aspect_ratio", ratios, info=None)
        parts["size_text"] = gr.HTML(
            fragments.size_text(default("aspect_ratio"), default("resolution")),
            elem_id="size-text",
            elem_classes="beneath",
        )
        resolutions = [("1K", "1K"), ("512 draft", "512")]
        parts["resolution"] = controls.choice("resolution", resolutions, info=None, elem_classes="segments")

    def wire(self, wiring: Wiring) -> None:
        """Let the facts follow the variant, and the pixel size the shape."""
        parts = wiring.parts
        wiring.at_once(parts["variant"].change, self.describe_variant, reads=("variant",), writes=FACTS)
        wiring.at_once(
            any_of(parts["aspect_ratio"].change, parts["resolution"].change),
            self.describe_size,
            reads=("aspect_ratio", "resolution"),
            writes=("size_text",),
        )

    def wire_opening(self, wiring: Wiring) -> None:
        """Tell the facts of the variant when the page is opened, too."""
        wiring.at_once(gr.context.Context.root_block.load, self.describe_variant, reads=("variant",), writes=FACTS)

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The three choices."""
        return {name: values[name] for name in SHAPE}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The three choices as a request has them."""
        return {name: getattr(request, name) for name in SHAPE}, []

    def variants(self) -> list[tuple[str, str]]:
        """The variants as choices, label and name; those that cannot run here are marked."""
        suffixes = {name: " (unavailable)" if self._engine.abilities(name).unavailable else "" for name in VARIANTS}
        return [(row.label + suffixes[name], name) for name, row in VARIANTS.items()]

    def describe_variant(self, variant: str) -> Update:
        """What goes with a variant: its description, defaults, the model's words and examples, the status line."""
        row, checkpoint = VARIANTS[variant], self._engine.checkpoint_of(variant)
        vocabulary = checkpoint.vocabulary or {}
        examples = vocabulary.get(fragments.EXAMPLES, [])
        return {
            "variant_text": fragments.variant_text(row, self._engine.abilities(variant).unavailable),
            "defaults": fragments.defaults_text(row),
            "world": gr.update(value=fragments.world_notice(checkpoint), visible=bool(vocabulary)),
            "words": fragments.words_by_group(vocabulary),
            "words_group": gr.update(visible=bool(vocabulary)),
            "examples": gr.Dataset(samples=[[prompt] for prompt in examples], visible=bool(examples)),
            **status_of(self._engine, variant),
        }

    def describe_size(self, aspect_ratio: str, resolution: str) -> Update:
        """The pixel size of the chosen aspect ratio and resolution."""
        return {"size_text": fragments.size_text(aspect_ratio, resolution)}
