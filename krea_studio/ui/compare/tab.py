"""The Compare tab: pictures side by side, what differs below them, and how both are wired.

Behaviour is in `handlers`; zoom, drag and wipe are the browser's alone (`assets/ui/compare.js`). A tab that has
pictures to compare writes PUT, by what `CompareHandlers.put` gives.
"""

import gradio as gr

from krea_studio.services import Services
from krea_studio.ui.compare import fragments
from krea_studio.ui.compare.handlers import NOTICE, PUT, ROLLING, CompareHandlers
from krea_studio.ui.create.recent import build_strip
from krea_studio.ui.history.tab import PICKED
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of

LOOK_SECONDS = 1.0
RECENT = ("compare_recent", "compare_recent_ids")
REMOVE_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-remove]");
  if (button) trigger("click", { picture: button.dataset.remove });
});
"""


def build_compare_tab(services: Services, visitors: Visitors, create: Parts, history: Parts, sweep: Parts) -> None:
    """Lay out and wire the tab inside the page's tabs; `visitors` are the page's.

    `create`, `history` and `sweep` are the parts of these tabs, whose pictures can be compared.
    """
    borrowed = ("tabs", "browser", "stage", "shown_ids", "selected", "compare")
    parts: Parts = {name: create[name] for name in borrowed}
    parts |= {name: history[name] for name in ("picked", "compare_picked", "compare_looked_at")}
    parts |= {name: sweep[name] for name in ("sweep_cell", "sweep_compare", "sweep_notice")}
    with gr.Tab("Compare", id="compare") as parts["compare_tab"]:
        parts["compared"], parts["before"] = remembered([], list[str]), remembered([], list[str])
        parts["rolls"] = remembered([], list[str])
        parts["compare_timer"] = gr.Timer(LOOK_SECONDS, active=False)
        with gr.Column(elem_id="compare-tab", min_width=0):
            _lay_out(parts)
    handlers, wiring = CompareHandlers(services, visitors), Wiring(parts)
    _wire_pictures(wiring, handlers)
    _wire_rolls(wiring, handlers)


def _lay_out(parts: Parts) -> None:
    parts[NOTICE] = gr.HTML(visible=False, elem_id="compare-notice")
    parts["compare_view"] = gr.HTML(fragments.EMPTY, elem_id="compare-view", js_on_load=REMOVE_SCRIPT)
    with gr.Row(visible=False, elem_id="compare-again") as parts["compare_again"]:
        for name, label in {
            "compare_roll": "Draw all with a new seed",
            "compare_exchange": "Same seeds, exchange the sliders",
            "compare_stop": "Stop drawing",
            "compare_back": "Show the pictures before",
        }.items():
            shown = name in ("compare_roll", "compare_exchange")
            parts[name] = gr.Button(
                label, size="sm", min_width=0, visible=shown, elem_id=name.replace("_", "-"), scale=0
            )
    parts["compare_table"] = gr.HTML(elem_id="compare-table")
    parts["compare_recent"] = build_strip("Add a recent picture", "compare-recent")
    parts["compare_recent_ids"] = remembered([], list[str])
    parts["compare_file"] = gr.File(
        label="Add pictures of this library",
        file_types=[".png"],
        file_count="multiple",
        height=52,
        elem_id="compare-file",
        elem_classes="drop-line",
    )


def _wire_pictures(wiring: Wiring, handlers: CompareHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    there = ("browser", "compared")
    at_once(gr.context.Context.root_block.load, handlers.open_page, reads=there, writes=("tabs", *PUT, *RECENT))
    at_once(parts["compare_tab"].select, handlers.open, reads=there, writes=(*PUT, *RECENT))
    at_once(
        parts["compare"].click,
        handlers.add_results,
        reads=(*there, "shown_ids", "selected"),
        writes=("tabs", "stage", *PUT, *RECENT),
    )
    at_once(
        any_of(parts["compare_picked"].click, parts["compare_looked_at"].click),
        handlers.add_picked,
        reads=(*there, "picked"),
        writes=("tabs", *PUT, *RECENT),
        in_browser=PICKED,
    )
    at_once(
        parts["sweep_compare"].click, handlers.add_cell, reads=(*there, "sweep_cell"), writes=("sweep_notice", *PUT)
    )
    at_once(
        parts["compare_recent"].select,
        handlers.add_recent,
        reads=(*there, "compare_recent_ids"),
        writes=PUT,
        trigger_mode="multiple",
    )
    at_once(
        parts["compare_file"].upload,
        handlers.drop,
        reads={"browser": "browser", "compared": "compared", "dropped": "compare_file"},
        writes=(*PUT, "compare_file"),
    )
    at_once(parts["compare_view"].click, handlers.remove, reads=there, writes=PUT, trigger_mode="multiple")


def _wire_rolls(wiring: Wiring, handlers: CompareHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    there = ("browser", "compared")
    for name, handler in (("compare_roll", handlers.roll), ("compare_exchange", handlers.exchange)):
        at_once(parts[name].click, handler, reads=there, writes=(*ROLLING, *PUT), trigger_mode="once")
    at_once(
        parts["compare_timer"].tick,
        handlers.follow,
        reads=(*there, "rolls"),
        writes=(*ROLLING, *PUT, *RECENT, "before", "compare_back"),
        trigger_mode="once",
    )
    at_once(parts["compare_stop"].click, handlers.stop, reads=("browser", "rolls"), writes=(NOTICE,))
    at_once(
        parts["compare_back"].click,
        handlers.go_back,
        reads=("browser", "before"),
        writes=(*PUT, "before", "compare_back"),
    )
