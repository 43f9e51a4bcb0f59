"""The Create tab: controls in the order in which a person works, results beside them, and how both are wired.

`build_create_tab` lays out the parts under their names, `_wire` connects them by name to `CreateHandlers`. The tab
reads as three blocks (prompt, results, controls) that stand side by side on a wide screen and below each other, results
directly after the prompt, on a phone; the stylesheet does that.
"""

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

from krea_studio.direction.sliders import STARTING_POINTS
from krea_studio.recipe.request import SLIDERS, choices, default, help_text
from krea_studio.recipe.variants import VARIANTS
from krea_studio.services import Services
from krea_studio.ui import controls, fragments
from krea_studio.ui.create import creativity, references, runs, style_choice
from krea_studio.ui.create import moodboard_choice as moodboard
from krea_studio.ui.create.handlers import CreateHandlers
from krea_studio.ui.create.recall import RECALLED
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import parts_of, shown_of, timer_of
from krea_studio.ui.wiring import Parts, Wiring, any_of

LOCKS = tuple(controls.lock_of(slider) for slider in SLIDERS)
# What a run is made from; every name is a field of GenerationRequest, except the check boxes for a new seed and locks.
RUN_CONTROLS = (
    "prompt", "negative_prompt", "variant", "aspect_ratio", "resolution", "creativity", *SLIDERS, "random_mode",
    *LOCKS, "spread", "exploration_seed", "references", *references.STRENGTHS, *moodboard.CHOICE, *style_choice.CHOICE,
    *creativity.EXPANSION, "seed",
    "random_seed", "batch", "steps", "guidance_scale",
)  # fmt: skip
# What handlers write to, in groups that go together.
RESULTS = ("stage", "gallery", "shown_ids", "selected", "details", "picture_actions")
RECENT = ("browser", "recent", "recent_ids")
# Never a control: facts may come late, when something has been typed or chosen already.
FACTS = (
    "variant_text", "world", "words", "words_group", "examples", "status", "defaults",
    *(controls.mechanism_of(slider) for slider in SLIDERS),
)  # fmt: skip
RANDOM = (*SLIDERS, "random_mode", "random_panel")
EXAMPLES_SHOWN = 24
PRESS_GENERATE = "() => document.querySelector('#generate')?.click()"


def build_create_tab(services: Services, visitors: Visitors, tabs: gr.Tabs) -> Parts:
    """Lay out and wire the tab inside the current Blocks context and return its parts.

    `visitors` are the page's; `tabs` are the page's, one of which this is.
    """
    parts: Parts = {"tabs": tabs}
    handlers = CreateHandlers(services, visitors)
    with gr.Row(elem_id="create"):
        with gr.Column(elem_id="panel", min_width=0):
            with gr.Column(elem_id="compose", min_width=0):
                _compose(parts)
            with gr.Column(elem_id="controls", min_width=0):
                _shape(parts, handlers.variants())
                _direction(parts, handlers)
                _seed(parts)
                _advanced(parts)
            with gr.Row(elem_id="actions"):
                parts["generate"] = gr.Button("Generate", variant="primary", elem_id="generate")
                parts["stop"] = gr.Button("Stop", variant="stop", visible=False, elem_id="stop")
        with gr.Column(elem_id="results", min_width=0):
            _results(parts)
    _wire(parts, handlers)
    return parts


def _compose(parts: Parts) -> None:
    # One line that grows: Gradio then submits on Enter and breaks the line on Shift+Enter.
    parts["prompt"] = controls.text(
        "prompt", info=None, lines=1, max_lines=8, autofocus=True, placeholder=help_text("prompt")
    )
    parts["world"] = gr.HTML(visible=False, elem_id="world")
    parts["examples"] = gr.Dataset(
        components=["textbox"],
        samples=[],
        samples_per_page=EXAMPLES_SHOWN,
        label="Try one of these",
        visible=False,
        elem_id="examples",
    )
    with gr.Accordion("Words the model knows", open=False, visible=False, elem_id="words") as parts["words_group"]:
        parts["words"] = gr.HTML()


def _shape(parts: Parts, variants: list[tuple[str, str]]) -> None:
    parts["variant"] = controls.choice("variant", variants, info=None, elem_classes="segments")
    parts["variant_text"] = gr.HTML(fragments.variant_text(VARIANTS[default("variant")]), elem_classes="beneath")
    ratios = [(name, name) for name in choices("aspect_ratio")]
    parts["aspect_ratio"] = controls.choice("aspect_ratio", ratios, info=None)
    parts["size_text"] = gr.HTML(
        fragments.size_text(default("aspect_ratio"), default("resolution")), elem_id="size-text", elem_classes="beneath"
    )
    resolutions = [("1K", "1K"), ("512 draft", "512")]
    parts["resolution"] = controls.choice("resolution", resolutions, info=None, elem_classes="segments")


def _direction(parts: Parts, handlers: CreateHandlers) -> None:
    with gr.Accordion("Direction", open=True, elem_id="direction"):
        creativity.build_creativity(parts)
        _sliders(parts)
        references.build_references(parts)
        moodboard.build_moodboard_choice(parts, handlers.boards.names(), handlers.visitors.shared)
        style_choice.build_style_choice(parts, handlers.styles.names())


def _sliders(parts: Parts) -> None:
    with gr.Row(elem_id="starting-points"):
        for point in STARTING_POINTS:
            name = f"start_{point.label}"
            parts[name] = gr.Button(point.label, size="sm", min_width=0, elem_classes="starting-point")
    for slider in SLIDERS:
        parts[slider] = controls.slider(slider)
        parts[controls.mechanism_of(slider)] = gr.HTML(
            elem_id=f"{slider}-mechanism", elem_classes=["beneath", "mechanism"]
        )
    parts["random_mode"] = controls.toggle("random_mode")
    with gr.Column(visible=False, elem_id="random-panel") as parts["random_panel"]:
        with gr.Row(elem_id="locks"):
            for slider in SLIDERS:
                parts[controls.lock_of(slider)] = controls.lock(slider, min_width=0)
        parts["spread"] = controls.slider("spread")
        parts["exploration_seed"] = controls.optional_number("exploration_seed", placeholder="drawn for you")


def _seed(parts: Parts) -> None:
    counts = [(str(count), count) for count in range(1, 5)]
    parts["batch"] = controls.choice("batch", counts, elem_classes="segments")
    with gr.Row(elem_id="seed-row"):
        parts["seed"] = controls.optional_number("seed", info=None, placeholder="drawn for you", min_width=0)
        parts["random_seed"] = gr.Checkbox(True, label="New seed every time", elem_id="random-seed", min_width=0)


def _advanced(parts: Parts) -> None:
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        parts["negative_prompt"] = controls.text("negative_prompt", lines=2, max_lines=6)
        parts["steps"] = controls.optional_number("steps", placeholder="the variant's own")
        parts["guidance_scale"] = controls.optional_number("guidance_scale", placeholder="the variant's own")
        parts["defaults"] = gr.HTML(elem_id="defaults", elem_classes="beneath")
        references.build_range_switch(parts)
    parts["settings_file"] = gr.File(
        label="Load settings from a picture",
        file_types=[".png"],
        height=92,
        elem_id="settings-file",
        elem_classes="drop-line",
    )


def _results(parts: Parts) -> None:
    parts["stage"] = gr.HTML(fragments.EMPTY_STAGE, elem_id="stage")
    parts["gallery"] = gr.Gallery(
        label="Results",
        show_label=False,
        visible=False,
        interactive=False,
        object_fit="contain",
        buttons=["download", "fullscreen"],
        elem_id="gallery",
    )
    runs.build_queue(parts)
    with gr.Row(elem_id="looked-at"):
        parts["details"] = gr.HTML(visible=False, elem_id="details")
        with gr.Row(visible=False, elem_id="picture-actions") as parts["picture_actions"]:
            parts["reuse"] = gr.Button("Reuse settings", size="sm", elem_id="reuse", min_width=0)
            parts["pin"] = gr.Button("Pin", size="sm", elem_id="pin", min_width=0)
            parts["around"] = gr.Button("Around this", size="sm", elem_id="around", min_width=0)
            parts["as_reference"] = gr.Button("Use as style reference", size="sm", elem_id="as-reference", min_width=0)
            parts["to_board"] = gr.Button("Add to moodboard", size="sm", elem_id="to-board", min_width=0)
    parts["recent"] = gr.Gallery(
        label="Recent",
        visible=False,
        interactive=False,
        allow_preview=False,
        columns=12,
        rows=1,
        object_fit="cover",
        buttons=[],
        elem_id="recent",
    )
    parts["status"] = gr.HTML("Starting the engine", elem_id="status")
    # Only ids are kept on the server: the browser is never asked which files it shows.
    parts["shown_ids"], parts["recent_ids"], parts["selected"] = gr.State([]), gr.State([]), gr.State(0)
    # Names the browser as owner of its pictures. The secret only keeps Gradio from drawing a new one at every start,
    # after which no browser's entry could be read.
    parts["browser"] = gr.BrowserState("", storage_key="krea-studio-browser", secret="krea-studio")


def _wire(parts: Parts, handlers: CreateHandlers) -> None:
    wiring = Wiring(parts)
    at_once = wiring.at_once
    at_once(
        any_of(parts["generate"].click, *(parts[box].submit for box in ("prompt", *controls.OPTIONAL_NUMBERS))),
        handlers.begin,
        reads=("browser", "watched", *RUN_CONTROLS),
        writes=(*RESULTS, *runs.PARTS, "seed"),
        trigger_mode="once",
    )
    watching = ("browser", "watched", "drawn")
    at_once(
        parts["news"].click,
        handlers.news,
        reads=(*watching, "variant"),
        writes=(*RESULTS, *RECENT, *runs.PARTS, "status"),
        trigger_mode="once",
    )
    at_once(parts["stop"].click, handlers.stop, reads=("browser", "watched"), writes=("stage", "stop"))
    at_once(parts["queue"].click, handlers.cancel, reads=watching, writes=(*RESULTS, *runs.PARTS))

    at_once(parts["variant"].change, handlers.variant_chosen, reads=("variant",), writes=FACTS)
    at_once(
        any_of(parts["aspect_ratio"].change, parts["resolution"].change),
        handlers.size_chosen,
        reads=("aspect_ratio", "resolution"),
        writes=("size_text",),
    )
    at_once(
        parts["examples"].click,
        handlers.example_chosen,
        reads={"example": "examples"},
        writes=("prompt",),
    )

    at_once(
        parts["gallery"].select, handlers.picture_chosen, reads=("shown_ids",), writes=("stage", "details", "selected")
    )
    at_once(parts["recent"].select, handlers.recent_chosen, reads=("recent_ids",), writes=RESULTS)
    recalled = (
        *RECALLED, *LOCKS, "random_panel", "random_seed", "stage", *references.REFERENCES, "wide_strengths",
        *moodboard.CHOICE, *moodboard.TOLD, *style_choice.STYLES, *creativity.PARTS, "expand",
    )  # fmt: skip
    at_once(parts["reuse"].click, handlers.reuse, reads=("shown_ids", "selected"), writes=recalled)
    pinned = (*RANDOM, "seed", "random_seed", "stage")
    at_once(parts["pin"].click, handlers.pin, reads=("shown_ids", "selected"), writes=pinned)
    around = at_once(
        parts["around"].click, handlers.around, reads=("shown_ids", "selected"), writes=(*RANDOM, "spread")
    )
    around.success(None, js=PRESS_GENERATE, api_visibility="private")
    for point in STARTING_POINTS:
        at_once(
            parts[f"start_{point.label}"].click,
            functools.partial(handlers.starting_point, point),
            reads=(),
            writes=RANDOM,
        )
    at_once(
        parts["random_mode"].change, handlers.random_mode_switched, reads=("random_mode",), writes=("random_panel",)
    )
    at_once(
        parts["settings_file"].upload,
        handlers.settings_dropped,
        reads={"picture": "settings_file"},
        writes=(*recalled, "settings_file"),
    )

    _wire_creativity(wiring, handlers)
    _wire_references(wiring, handlers)
    _wire_moodboard(parts, handlers, at_once)
    _wire_styles(wiring, handlers)

    page = gr.context.Context.root_block
    at_once(page.load, handlers.opened, reads=watching, writes=(*RECENT, *RESULTS, *runs.PARTS))
    at_once(page.load, handlers.variant_chosen, reads=("variant",), writes=FACTS)


def _wire_creativity(wiring: Wiring, handlers: CreateHandlers) -> None:
    parts = wiring.parts
    changed = functools.partial(
        wiring.at_once,
        handler=handlers.creativity.changed,
        reads=creativity.READ,
        writes=(*creativity.PARTS, "expand"),
    )
    expand = creativity.ExpandHandlers(handlers.visitors, handlers.creativity)
    wiring.at_once(
        parts["expand"].click,
        expand.expanded,
        reads=(
            *("browser", "prompt", "variant", "creativity", "seed", "random_seed"),
            *moodboard.CHOICE,
            *style_choice.CHOICE,
        ),
        writes=("stage", "expand", timer_of(creativity.WATCH)),
        trigger_mode="once",
    )
    wiring.at_once(
        parts[timer_of(creativity.WATCH)].tick,
        expand.follow_expansions,
        reads=("browser", shown_of(creativity.WATCH), "prompt", "creativity"),
        writes=(*creativity.PARTS, "prompt", "creativity", "stage", "expand", *parts_of(creativity.WATCH)),
        trigger_mode="once",
    )
    wiring.at_once(
        gr.context.Context.root_block.load,
        expand.found_again,
        reads=("browser",),
        writes=("expand", timer_of(creativity.WATCH)),
    )
    for event in (parts["prompt"].change, parts["creativity"].change):
        changed(event)
    wiring.at_once(parts["clear_expansion"].click, handlers.creativity.cleared, reads=(), writes=creativity.PARTS)


def _wire_references(wiring: Wiring, handlers: CreateHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    places = ("references", *references.STRENGTHS, "wide_strengths")
    filled = (*references.REFERENCES, "stage")
    # One after another, also where a second one is dropped while the first is read.
    wiring.on(
        parts["reference_file"].upload,
        handlers.references.dropped,
        reads={"files": "reference_file", **{name: name for name in places}},
        writes=(*filled, "reference_file"),
        trigger_mode="multiple",
        concurrency_id="references",
        concurrency_limit=1,
    )
    at_once(
        parts["as_reference"].click,
        handlers.used_as_reference,
        reads=("shown_ids", "selected", *places),
        writes=filled,
    )
    for place, name in enumerate(references.REMOVES):
        at_once(parts[name].click, functools.partial(handlers.references.removed, place), reads=places, writes=filled)
    at_once(
        parts["wide_strengths"].input,
        handlers.references.range_switched,
        reads=("wide_strengths", *references.STRENGTHS),
        writes=references.STRENGTHS,
    )


def _wire_moodboard(parts: Parts, handlers: CreateHandlers, at_once: Callable[..., Any]) -> None:
    chosen = ("moodboard", "variant", "moodboard_content")
    at_once(parts["moodboard"].input, handlers.boards.chosen_by_hand, reads=(), writes=("moodboard_content",))
    # Also with the tab, which "Use in Create" opens: the chosen board may have been changed on another one.
    at_once(
        any_of(parts["moodboard"].change, parts["variant"].change, parts["tabs"].change),
        handlers.boards.described,
        reads=chosen,
        writes=moodboard.TOLD,
    )
    at_once(
        parts["to_board"].click,
        handlers.added_to_board,
        reads=("shown_ids", "selected", *chosen),
        writes=("stage", *moodboard.TOLD),
    )
    at_once(
        parts["board_file"].upload,
        handlers.dropped_on_board,
        reads={"files": "board_file", **{name: name for name in chosen}},
        writes=("stage", *moodboard.TOLD, "board_file"),
        trigger_mode="multiple",
    )


def _wire_styles(wiring: Wiring, handlers: CreateHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    places = (*style_choice.CHOICE, "variant")
    at_once(
        parts["add_style"].input,
        handlers.styles.added,
        reads=("add_style", *places),
        writes=("add_style", *style_choice.STYLES, "stage"),
    )
    for place in range(style_choice.PLACES):
        at_once(
            parts[style_choice.REMOVES[place]].click,
            functools.partial(handlers.styles.removed, place),
            reads=places,
            writes=style_choice.STYLES,
        )
        at_once(
            parts[style_choice.PROMPTS[place]].click,
            functools.partial(handlers.styles.prompt_tried, place),
            reads=("chosen_styles",),
            writes=("prompt", "stage"),
        )
    at_once(
        any_of(parts["variant"].change, *(parts[weight].release for weight in style_choice.WEIGHTS)),
        handlers.styles.noted,
        reads=places,
        writes=style_choice.NOTES,
    )
    # Another tab or page may have changed the library meanwhile.
    at_once(
        any_of(gr.context.Context.root_block.load, parts["tabs"].change),
        handlers.styles.refreshed,
        reads=places,
        writes=("add_style", *style_choice.STYLES),
    )
