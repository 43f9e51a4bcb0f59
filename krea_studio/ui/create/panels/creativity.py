"""Creativity on the Create tab: the level, and the expanded prompt, which a person may see and edit before a run.

What stands in the box is what is drawn, for every picture; with an empty box each picture's prompt is written out when
it is drawn. At raw there is neither box nor button.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import BaseModel

from krea_studio.people import Person
from krea_studio.recipe.request import RAW, Expansion, GenerationRequest, bounds, label, parse_request
from krea_studio.runs.run import Kind, State
from krea_studio.runs.runs import Check, Report
from krea_studio.services import Services
from krea_studio.studio import draw_seed
from krea_studio.ui import controls, fragments
from krea_studio.ui.create.panel import ControlPanel, fields_of, reads_of
from krea_studio.ui.notices import guarded, on_stage
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import Watch, build_watch, parts_of, shown_of, timer_of
from krea_studio.ui.wiring import Parts, Wiring

PAGE_LEVEL = "medium"
EXPAND = "Expand the prompt"
WATCH = "expansions"
EXPANSION = ("expanded_prompt", "expansion")
READ = ("prompt", "creativity", *EXPANSION)
# The box, and what is told of it.
BOX = (*EXPANSION, "expansion_note", "expansion_group")


class InBox(BaseModel):
    """What was written into the box, of which prompt and at which level."""

    written: Expansion
    prompt: str
    creativity: str


@dataclass(frozen=True)
class Written:
    """What was written of a prompt at a level."""

    expansion: Expansion
    prompt: str
    creativity: str


class CreativityPanel:
    """The level, and the box with what a prompt is written out to, over one studio."""

    reads, writes = READ, ("creativity", *BOX, "expand")
    parts_by_field: Mapping[str, tuple[str, ...]] = {}

    def __init__(self, services: Services, visitors: Visitors, beside: Sequence[ControlPanel]) -> None:
        """`beside` are the panels that an expansion depends on, too."""
        self._studio, self._visitors, self._beside = services.studio, visitors, beside
        self._expansions = Watch(services.runs, Kind.EXPAND, WATCH)

    def build(self, parts: Parts) -> None:
        """Lay out the level, the button that expands, and the box for what it gives."""
        parts["creativity"] = controls.choice("creativity", value=PAGE_LEVEL, elem_classes="segments")
        parts["expand"] = gr.Button(EXPAND, size="sm", elem_id="expand", min_width=0)
        with gr.Column(visible=False, elem_id="expansion", min_width=0) as parts["expansion_group"]:
            parts["expanded_prompt"] = gr.Textbox(
                label=label("expansion"),
                lines=3,
                max_lines=12,
                max_length=int(bounds("text", Expansion)[1]),
                info="Drawn for every picture as it stands here. Without it each picture's prompt is written out anew.",
                elem_id="expanded-prompt",
            )
            parts["expansion_note"] = gr.HTML(elem_id="expansion-note", elem_classes="beneath")
            parts["clear_expansion"] = gr.Button("Clear", size="sm", min_width=0, elem_id="clear-expansion")
        parts["expansion"] = remembered(None, InBox | None)
        build_watch(parts, WATCH)

    def wire(self, wiring: Wiring) -> None:
        """Let the box follow prompt and level, and connect the buttons and what watches expansions."""
        parts, at_once = wiring.parts, wiring.at_once
        at_once(
            parts["expand"].click,
            self.expand,
            reads=("browser", "creativity", *reads_of(self._beside)),
            writes=("stage", "expand", timer_of(WATCH)),
            trigger_mode="once",
        )
        at_once(
            parts[timer_of(WATCH)].tick,
            self.follow_expansions,
            reads=("browser", shown_of(WATCH), "prompt", "creativity"),
            writes=(*BOX, "prompt", "creativity", "stage", "expand", *parts_of(WATCH)),
            trigger_mode="once",
        )
        at_once(
            gr.context.Context.root_block.load,
            self.find_again,
            reads=("browser",),
            writes=("expand", timer_of(WATCH)),
        )
        for event in (parts["prompt"].change, parts["creativity"].change):
            at_once(event, self.change, reads=READ, writes=(*BOX, "expand"))
        at_once(parts["clear_expansion"].click, self.clear, reads=(), writes=BOX)

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The level, and what is in the box."""
        return {"creativity": values["creativity"], "expansion": _expansion(*(values[name] for name in READ))}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """Level and box as a request has them."""
        return {
            "creativity": request.creativity,
            **_box(request.expansion, request.prompt, request.creativity),
            "expand": gr.update(visible=request.creativity != RAW),
        }, []

    def clear(self) -> Update:
        """Take the expanded prompt away."""
        return _box(None)

    def change(self, prompt: str, creativity: str, expanded_prompt: str, expansion: dict[str, Any] | None) -> Update:
        """Another prompt or level: what was written for the former one leaves the box, unless a person edited it.

        What was edited says so, until prompt and level are again what it was written for. Box and button are shown
        where the level has a use for them.
        """
        used = creativity != RAW
        if used and expansion is not None and _outdated(prompt, creativity, expansion):
            if (expanded_prompt or "").strip() == expansion["written"]["text"]:
                return {**_box(None), "expand": gr.update(visible=used)}
            note = fragments.reason(["Written for another prompt or level. It is drawn as it stands here."])
            return {
                "expand": gr.update(visible=used),
                "expansion_note": note,
                "expansion_group": gr.update(visible=used),
            }
        told = {"expansion_note": _written_note(expansion)} if expansion is not None else {}
        return {
            **told,
            "expand": gr.update(visible=used),
            "expansion_group": gr.update(visible=used and bool((expanded_prompt or "").strip())),
        }

    def expand(self, visitor: gr.Request, browser: str, prompt: str, creativity: str, **values: Any) -> Update:
        """Begin to write the prompt out, with the seed of the first picture or a new one.

        `values` are those of the panels beside, such as moodboard and styles, whose words need room.
        """

        def begin() -> Update:
            beside = fields_of(self._beside, {"prompt": prompt, **values})
            request = parse_request({**beside, "creativity": creativity})
            number = draw_seed() if request.seed is None else request.seed

            person = self._visitors.person(visitor, browser)

            def work(report: Report, check: Check) -> Written:
                return Written(self._studio.expand(request, number, check, person), prompt, creativity)

            return {**self._expansions.begin(visitor, person, request.prompt, work), **_button(True)}

        return guarded(begin)

    def follow_expansions(
        self, visitor: gr.Request, browser: str, expansions_shown: list[str], prompt: str, creativity: str
    ) -> Update:
        """What was written comes into the box, unless prompt or level were changed meanwhile."""
        update: Update = {}
        runs = self._expansions.look(visitor, self._visitors.person(visitor, browser), expansions_shown)
        for run in (run for run in runs if run.state.ended):
            if run.state is not State.DONE:
                update |= on_stage(run.failure)
                continue
            written: Written = run.result
            if not prompt.strip():  # the page was loaded again
                update |= {"prompt": written.prompt, "creativity": written.creativity}
            elif (prompt.strip(), creativity) != (written.prompt.strip(), written.creativity):
                continue
            update |= _box(written.expansion, written.prompt, written.creativity)
        going_on = any(not run.state.ended for run in runs)
        return {**update, **_button(going_on), **self._expansions.looked(runs, expansions_shown)}

    def find_again(self, visitor: gr.Request, browser: str) -> Update:
        """The page was opened: what its visitor expands on another one, or did before, is watched here too."""
        going_on = self._expansions.going_on(self._visitors.person(visitor, browser))
        if not going_on:
            return {"expand": gr.skip()}
        return {**self._expansions.watch(visitor, [run.id for run in going_on]), **_button(True)}


def _button(working: bool) -> Update:
    return {"expand": gr.update(value="Expanding…" if working else EXPAND, interactive=not working)}


def _expansion(
    prompt: str, creativity: str, expanded_prompt: str | None, expansion: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The box as a request has it: the text with who wrote it, marked as edited where it was changed.

    What was written for another prompt or level, and not edited, is none.
    """
    expanded_prompt = expanded_prompt or ""
    if creativity == RAW or not expanded_prompt.strip():
        return None
    if expansion is None:
        return {"text": expanded_prompt}
    written = expansion["written"]
    if expanded_prompt.strip() == written["text"]:
        return None if _outdated(prompt, creativity, expansion) else written
    if not written["writer"]:  # nobody wrote it: it was the prompt
        return {"text": expanded_prompt}
    return {**written, "text": expanded_prompt, "edited": True}


def _outdated(prompt: str, creativity: str, expansion: dict[str, Any]) -> bool:
    return (prompt.strip(), creativity) != (expansion["prompt"].strip(), expansion["creativity"])


def _written_note(expansion: dict[str, Any]) -> str:
    return fragments.expansion_note(Expansion.model_validate(expansion["written"]))


def _box(expansion: Expansion | None, prompt: str = "", creativity: str = "") -> Update:
    """The box with what was written of a prompt at a level, or empty and out of sight."""
    return {
        "expanded_prompt": expansion.text if expansion else "",
        "expansion": {
            "written": expansion.model_dump(mode="json"),
            "prompt": prompt,
            "creativity": creativity,
        }
        if expansion
        else None,
        "expansion_note": fragments.expansion_note(expansion) if expansion else "",
        "expansion_group": gr.update(visible=expansion is not None),
    }
