"""The Sweep tab: what varies in a panel, the table of what was drawn at its side, and how both are wired.

It reads the controls of Create and writes into them, and has none of its own beside the axes. Behaviour is in
`handlers`.
"""

import functools
from typing import Any

import gradio as gr

from krea_studio.recipe.axes import KINDS, Axis
from krea_studio.recipe.sweep import MOST_CELLS
from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.remembered import remembered
from krea_studio.ui.sweep import fragments
from krea_studio.ui.sweep.asked import AXES, ERRORS, NOTHING, ROWS, WHERE, example, part_of
from krea_studio.ui.sweep.handlers import FORESEEN, NOTICE, SweepHandlers
from krea_studio.ui.sweep.view import VIEW
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of

FIRST = "intensity"  # what the first axis varies at first
ASKED = (*ROWS, "sweep_kept", "sweep_allow")
SHOWN = ("sweep_run", "sweep_cell")
OPENED = ("sweep_cell", "sweep_opened")
TAKEN = (*ROWS, "sweep_kept", "sweep_allow", NOTICE)

OPEN_SCRIPT = """
element.addEventListener("click", (event) => {
  const cell = event.target.closest("button[data-picture]");
  if (cell) trigger("click", { picture: cell.dataset.picture });
});
"""
SHOW_OPENED = "() => document.querySelector('#sweep-opened')?.scrollIntoView({ block: 'nearest' })"
PRESS_DOWNLOAD = "() => document.querySelector('#sweep-download')?.click()"
SHEETS_AT_ONCE = 2


def build_sweep_tab(services: Services, visitors: Visitors, create: CreateTab) -> Parts:
    """Lay out and wire the tab inside the page's tabs, and return its parts, those of Create among them.

    `visitors` are the page's; a sweep starts from the controls of `create`.
    """
    parts: Parts = dict(create.parts)
    # Also there while another tab is shown: the browser asks how the sweep stands, and on a page of strangers that is
    # what keeps it going.
    with gr.Tab("Sweep", id="sweep", render_children=True) as parts["sweep_tab"]:
        parts["sweep_run"], parts["sweep_cell"] = remembered("", str), remembered("", str)
        parts["sweep_kept"] = remembered([], list[Axis])
        parts["sweep_news"] = gr.Button("News of the sweep", visible="hidden", elem_id="sweep-news")
        with gr.Row(elem_id="sweep"):
            with gr.Column(elem_id="sweep-panel", min_width=0):
                _ask(parts)
            with gr.Column(elem_id="sweep-results", min_width=0):
                _show(parts)
    handlers, wiring = SweepHandlers(services, visitors, create), Wiring(parts)
    _wire_asking(wiring, handlers, create)
    _wire_run(wiring, handlers, create)
    _wire_cells(wiring, handlers, create)
    return parts


def _ask(parts: Parts) -> None:
    parts["sweep_base"] = gr.HTML(elem_id="sweep-base")
    for axis in AXES:
        _axis(parts, axis)
    parts["sweep_allow"] = gr.Checkbox(False, label=f"Allow more than {MOST_CELLS} pictures", elem_id="sweep-allow")
    parts["sweep_plan"] = gr.HTML(elem_id="sweep-plan")
    with gr.Row(elem_id="sweep-actions"):
        parts["sweep_begin"] = gr.Button("Start sweep", variant="primary", min_width=0, elem_id="sweep-begin")
        parts["sweep_stop"] = gr.Button("Stop sweep", variant="stop", visible=False, min_width=0, elem_id="sweep-stop")
    parts["sweep_file"] = gr.File(
        label="Load a sweep from its sheet",
        file_types=[".png"],
        height=52,
        elem_id="sweep-file",
        elem_classes="drop-line",
    )


def _axis(parts: Parts, axis: str) -> None:
    """One axis: what varies, of which one, its values, and what is wrong with them."""
    first = axis == AXES[0]
    named = {part: part_of(axis, part) for part in ("what", "which", "values", "error")}
    with gr.Column(elem_classes="sweep-axis", min_width=0):
        parts[named["what"]] = gr.Dropdown(
            [("Nothing", NOTHING), *((kind.label, what) for what, kind in KINDS.items())],
            value=FIRST if first else NOTHING,
            label=WHERE[axis],
            interactive=True,
            elem_id=f"sweep-{axis}-what",
        )
        parts[named["which"]] = gr.Textbox(
            label=f"{WHERE[axis]}: of which one",
            max_lines=1,
            visible=False,
            elem_id=f"sweep-{axis}-which",
        )
        parts[named["values"]] = gr.Textbox(
            example(FIRST) if first else "",
            label=f"{WHERE[axis]}: values",
            show_label=False,
            max_lines=1,
            visible=first,
            elem_id=f"sweep-{axis}-values",
        )
        parts[named["error"]] = gr.HTML(visible=False, elem_id=f"sweep-{axis}-error")


def _show(parts: Parts) -> None:
    parts[NOTICE] = gr.HTML(visible=False, elem_id="sweep-notice")
    with gr.Column(visible=False, elem_id="sweep-opened", min_width=0) as parts["sweep_opened"]:
        parts["sweep_picture"] = gr.HTML(elem_id="sweep-picture")
        with gr.Row(elem_classes="board-buttons"):
            parts["sweep_reuse"] = gr.Button("Reuse in Create", size="sm", min_width=0, elem_id="sweep-reuse")
            parts["sweep_compare"] = gr.Button("Add to Compare", size="sm", min_width=0, elem_id="sweep-compare")
            parts["sweep_close"] = gr.Button("Close", size="sm", min_width=0, elem_id="sweep-close")
    parts["sweep_stage"] = gr.HTML(fragments.EMPTY, elem_id="sweep-stage", js_on_load=OPEN_SCRIPT)
    with gr.Row(elem_id="sweep-after"):
        parts["sweep_go_on"] = gr.Button("Go on", visible=False, min_width=0, elem_id="sweep-go-on")
        parts["sweep_sheet"] = gr.Button("Download the sheet", visible=False, min_width=0, elem_id="sweep-sheet")
        # Only there to be pressed by the page itself; a browser takes no file from a button that has none yet.
        parts["sweep_download"] = gr.DownloadButton("Sheet", visible="hidden", elem_id="sweep-download")


def _wire_asking(wiring: Wiring, handlers: SweepHandlers, create: CreateTab) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    controls = create.abilities.reads
    for axis in AXES:
        what, which, values = (part_of(axis, part) for part in ("what", "which", "values"))
        at_once(
            parts[what].input,
            functools.partial(handlers.choose_axis, axis),
            reads={"what": what},
            writes=(which, values),
        )
    written = (part for name in ROWS if isinstance(part := parts[name], gr.Textbox))
    at_once(
        any_of(
            *(part.change for part in written),
            *(parts[part_of(axis, "what")].input for axis in AXES),
            parts["sweep_allow"].input,
        ),
        handlers.foresee,
        reads=("browser", *controls, *ASKED),
        writes=FORESEEN,
        trigger_mode="always_last",
    )
    at_once(
        any_of(parts["sweep_begin"].click, *(parts[part_of(axis, "values")].submit for axis in AXES)),
        handlers.begin,
        reads=("browser", "sweep_run", *controls, *ASKED),
        writes=(*ERRORS, "sweep_plan", *VIEW, *OPENED, NOTICE),
        trigger_mode="once",
    )
    taken = (*create.recall.writes, *TAKEN)
    at_once(parts["sweep_file"].upload, handlers.drop, reads={"dropped": "sweep_file"}, writes=(*taken, "sweep_file"))
    at_once(create.recall.dropped.then, handlers.take_sheet, reads=("sheet",), writes=(*taken, "tabs"))


def _wire_run(wiring: Wiring, handlers: SweepHandlers, create: CreateTab) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    shown: dict[str, Any] = {"reads": ("browser", *SHOWN), "writes": (*VIEW, NOTICE)}
    at_once(
        any_of(gr.context.Context.root_block.load, parts["sweep_tab"].select),
        handlers.open,
        reads=("browser", *SHOWN, *create.abilities.reads, *ASKED),
        writes=(*FORESEEN, *VIEW, NOTICE),
    )
    at_once(parts["sweep_news"].click, handlers.news, **shown, trigger_mode="once")
    # Pressed again while the line is slow, each counts: by then it may be another sweep that is shown.
    at_once(parts["sweep_stop"].click, handlers.stop, **shown, trigger_mode="multiple")
    at_once(parts["sweep_go_on"].click, handlers.go_on, **shown, trigger_mode="once")
    drawn = wiring.on(
        parts["sweep_sheet"].click,
        handlers.sheet,
        reads=("browser", "sweep_run"),
        writes=("sweep_download", NOTICE),
        concurrency_id="sweep-sheets",
        concurrency_limit=SHEETS_AT_ONCE,
    )
    drawn.then(None, js=PRESS_DOWNLOAD, api_visibility="private")


def _wire_cells(wiring: Wiring, handlers: SweepHandlers, create: CreateTab) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    opened = at_once(
        parts["sweep_stage"].click,
        handlers.open_cell,
        reads=("browser", "sweep_run"),
        writes=(*VIEW, *OPENED, "sweep_picture", NOTICE),
        trigger_mode="multiple",
    )
    opened.then(None, js=SHOW_OPENED, api_visibility="private")
    at_once(
        parts["sweep_close"].click, handlers.close_cell, reads=("browser", "sweep_run"), writes=(*VIEW, *OPENED, NOTICE)
    )
    at_once(
        parts["sweep_reuse"].click,
        handlers.reuse,
        reads=("browser", "sweep_cell"),
        writes=(*create.recall.writes, "tabs", NOTICE),
    )
