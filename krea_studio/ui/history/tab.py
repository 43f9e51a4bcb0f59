"""The History tab: a search, pictures by day, one of them large, the bin, and how they are wired.

One of three screens shows: the list, a picture, or the bin. Which one, and of what, is said by the page's address alone
(`address`), which the script beside it keeps (`assets/ui/history.js`). Behaviour is in `handlers`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr

from krea_studio.library.foreign.texts import ENDINGS
from krea_studio.services import Services
from krea_studio.ui.create.recent import RECENT
from krea_studio.ui.create.results import RESULTS
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.history import filters
from krea_studio.ui.history import fragments as history_fragments
from krea_studio.ui.history.address import TAB, Address
from krea_studio.ui.history.bring_in import BROUGHT, REPORT, BringIn
from krea_studio.ui.history.handlers import HistoryHandlers
from krea_studio.ui.history.view import LIST, SCREENS, VIEW
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import build_watch, parts_of, shown_of, timer_of
from krea_studio.ui.wiring import Parts, Wiring, any_of

WHERE = ("browser", "address")
NOTICE = ("notice", "undo")
ZIPS_AT_ONCE = 4

# What the browser knows at the moment of an event.
HERE = {"address": "kreaHistory.address()"}
PICKED = {"picked": "[kreaHistory.picked()]"}
PRESS_ZIP = "() => document.querySelector('#history-zip-file')?.click()"
# What an action that fills controls of Create is to be seen at there.
FILLED = {"reuse": "#prompt", "pin": "#seed", "around": "#results", "as_reference": "#reference-file"}


def build_address() -> Parts:
    """The parts by which the page follows its address; outside all tabs, which the browser builds when they show."""
    address, asked = gr.Textbox(Address().query, visible=False), gr.Textbox(visible=False)
    return {"address": address, "asked": asked, "go": gr.Button("Go", visible="hidden", elem_id="history-go")}


def build_history_tab(services: Services, visitors: Visitors, create: CreateTab, address: Parts) -> Parts:
    """Lay out and wire the tab inside the page's tabs, and return its parts.

    `create` is the page's, whose controls pictures fill, and `address` what `build_address` made.
    """
    parts: Parts = {**create.parts, **address}
    with gr.Tab("History", id=TAB) as parts["tab"], gr.Column(elem_id="history", min_width=0):
        _keep_in_mind(parts)
        with gr.Row(elem_id="history-told"):
            parts["notice"] = gr.HTML(visible=False, elem_id="history-notice")
            parts["undo"] = _button("Undo", "undo", visible=False)
        with gr.Column(elem_id="history-list", min_width=0) as parts["list_screen"]:
            _find(parts)
            _found(parts)
            _act_on_many(parts)
            _bring_in(parts)
        with gr.Column(visible=False, elem_id="history-picture", min_width=0) as parts["picture_screen"]:
            _look(parts, create, visitors.shared)
        with gr.Column(visible=False, elem_id="history-bin", min_width=0) as parts["bin_screen"]:
            _bin(parts)
    wiring, handlers = Wiring(parts), HistoryHandlers(services, visitors, create.moodboard)
    _wire_looking(wiring, handlers)
    _wire_changes(wiring, handlers, create)
    _wire_taking(wiring, handlers)
    _wire_filling(wiring, create)
    _wire_bringing(wiring, BringIn(services, visitors))
    return parts


def wire_tabs(tabs: gr.Tabs) -> None:
    """Let the page's address name the one of its tabs that is shown."""
    for tab in tabs.children:
        tab.select(None, js=f"() => kreaHistory.entered('{tab.id}')", api_visibility="private")


def _keep_in_mind(parts: Parts) -> None:
    parts["picked"] = remembered([], list[str], session=False)
    parts["deleted"] = remembered([], list[str], session=False)
    parts["shown_ids"], parts["selected"] = remembered([], list[str]), remembered(0, int)
    build_watch(parts, BROUGHT)


def _find(parts: Parts) -> None:
    with gr.Row(elem_id="history-find"):
        filters.build_filter(parts, filters.WORDS)
        gr.HTML(history_fragments.head(), elem_id="history-head")
    with gr.Accordion("Filters", open=False, elem_id="history-filters"):
        for element, fields in (("history-boxes", filters.BOXES), ("history-switches", filters.SWITCHES)):
            with gr.Row(elem_id=element):
                for field in fields:
                    filters.build_filter(parts, field)


def _found(parts: Parts) -> None:
    parts["count"] = gr.HTML(elem_id="history-count")
    parts["grid"] = gr.HTML(elem_id="history-grid")
    parts["pages"] = gr.HTML(elem_id="history-pages", elem_classes="history-pages")


def _act_on_many(parts: Parts) -> None:
    # Here only while something is selected, by the stylesheet.
    with gr.Row(elem_id="history-picked"):
        gr.HTML(history_fragments.PICKED, elem_id="history-picked-head")
        parts["star_picked"] = _button("Star", "picked-star")
        parts["compare_picked"] = _button("Compare", "picked-compare")
        parts["zip_picked"] = _button("Download", "picked-zip")
        parts["delete_picked"] = _button("Delete", "picked-delete")
        _choose_board(parts, "picked_board", "picked-board")
        parts["board_picked"] = _button("Add to moodboard", "picked-to-board")
    # Only there to be pressed by the page itself; a browser takes no file from a button that has none yet.
    parts["zip_file"] = gr.DownloadButton("Download", visible="hidden", elem_id="history-zip-file")


def _bring_in(parts: Parts) -> None:
    parts["dropped"] = gr.File(
        label="Bring in pictures",
        file_types=list(ENDINGS),
        file_count="multiple",
        height=52,
        elem_id="history-drop",
        elem_classes="drop-line",
    )
    parts[REPORT] = gr.HTML(visible=False, elem_id="history-report")


def _look(parts: Parts, create: CreateTab, shared: bool) -> None:
    with gr.Row(elem_id="history-looked-at"):
        parts["picture"] = gr.HTML(elem_id="history-shown")
        with gr.Column(elem_id="history-beside", min_width=0):
            with gr.Row(elem_classes=["history-actions", "history-filling"]):
                create.actions.build_filling(parts, "history-")
            with gr.Row(elem_classes="history-actions"):
                parts["star"] = _button("☆ Star", "star")
                parts["download"] = gr.HTML(elem_id="history-download")
                parts["compare_looked_at"] = _button("Compare", "compare")
                parts["delete"] = _button("Delete", "delete")
                parts["report_picture"] = _button("Report", "report-picture", visible=shared)
            with gr.Row(elem_classes="history-actions"):
                _choose_board(parts, "board", "board")
                parts["to_board"] = _button("Add to moodboard", "to-board")
            parts["recipe"] = gr.HTML(elem_id="history-recipe")


def _bin(parts: Parts) -> None:
    parts["bin_head"] = gr.HTML(elem_id="history-bin-head")
    with gr.Row(elem_id="history-bin-actions"):
        parts["restore"] = _button("Restore selected", "restore")
        parts["empty"] = _button("Empty bin", "empty")
    with gr.Column(visible=False, elem_id="history-confirm", min_width=0) as parts["confirm"]:
        parts["confirm_text"] = gr.HTML(elem_classes="beneath")
        with gr.Row(elem_classes="board-buttons"):
            parts["really_empty"] = _button("Really remove", "really-empty", variant="stop")
            parts["keep_bin"] = _button("Keep them", "keep-bin")
    parts["bin_grid"] = gr.HTML(elem_id="history-bin-grid")
    parts["bin_pages"] = gr.HTML(elem_id="history-bin-pages", elem_classes="history-pages")


def _choose_board(parts: Parts, name: str, element: str) -> None:
    parts[name] = gr.Dropdown(
        filters.board_choices([]),
        value="",
        label="Moodboard",
        show_label=False,
        container=False,
        interactive=True,
        min_width=0,
        elem_id=f"history-{element}",
    )


def _button(label: str, element: str, **options: Any) -> gr.Button:
    return gr.Button(label, size="sm", min_width=0, elem_id=f"history-{element}", **options)


def _wire_looking(wiring: Wiring, handlers: HistoryHandlers) -> None:
    parts = wiring.parts
    _draw(
        wiring,
        any_of(gr.context.Context.root_block.load, parts["go"].click),
        handlers.went,
        "go",
        writes=("tabs", *NOTICE, *VIEW, *filters.CONTROLS, "board", "picked_board"),
        trigger_mode="always_last",
    )
    boxes = [parts[filters.control_of(field)] for field in filters.DAYS]
    others = [parts[name] for name in filters.CONTROLS if parts[name] not in (parts["find_words"], *boxes)]
    for events, by in (
        ((parts["find_words"].change,), "type"),
        ((*(box.submit for box in boxes), *(box.blur for box in boxes), *(each.input for each in others)), "push"),
    ):
        _draw(
            wiring,
            any_of(*events),
            handlers.filtered,
            by,
            reads=filters.CONTROLS,
            writes=(*NOTICE, "address", *SCREENS, *LIST),
            trigger_mode="always_last",
        )


def _wire_changes(wiring: Wiring, handlers: HistoryHandlers, create: CreateTab) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    _draw(
        wiring,
        any_of(parts["star"].click, parts["star_picked"].click),
        handlers.star,
        "stay",
        reads=("picked",),
        writes=(*NOTICE, *VIEW),
        in_browser=PICKED,
        trigger_mode="multiple",  # each press counts: it gives, or takes away
    )
    for event, handler, reads, known in (
        (any_of(parts["delete"].click, parts["delete_picked"].click), handlers.delete, ("picked",), PICKED),
        (parts["undo"].click, handlers.undo, ("deleted",), {}),
        (parts["restore"].click, handlers.restore, ("picked",), PICKED),
        (parts["really_empty"].click, handlers.empty, (), {}),
    ):
        changed = _draw(
            wiring,
            event,
            handler,
            "change",
            reads=reads,
            writes=(*NOTICE, "deleted", *VIEW),
            in_browser=known,
            trigger_mode="once",
        )
        Wiring(create.parts).at_once(
            changed.then, create.refreshed, reads=("browser", "shown_ids"), writes=(*RECENT, *RESULTS)
        )
    at_once(parts["empty"].click, handlers.ask_empty, reads=("browser",), writes=("notice", "confirm", "confirm_text"))
    at_once(parts["keep_bin"].click, handlers.keep_bin, reads=(), writes=("confirm",))


def _wire_taking(wiring: Wiring, handlers: HistoryHandlers) -> None:
    parts = wiring.parts
    for button, board in (("to_board", "board"), ("board_picked", "picked_board")):
        wiring.at_once(
            parts[button].click,
            handlers.add_to_board,
            reads={"browser": "browser", "picked": "picked", "board": board},
            writes=NOTICE,
            in_browser=PICKED,
            trigger_mode="once",
        )
    wiring.at_once(
        parts["report_picture"].click, handlers.report, reads=("browser", "picked"), writes=NOTICE, in_browser=PICKED
    )
    zipped = wiring.on(
        parts["zip_picked"].click,
        handlers.zip,
        reads=("browser", "picked"),
        writes=(*NOTICE, "zip_file"),
        in_browser=PICKED,
        concurrency_id="history-zips",
        concurrency_limit=ZIPS_AT_ONCE,
    )
    zipped.then(None, js=PRESS_ZIP, api_visibility="private")


def _wire_filling(wiring: Wiring, create: CreateTab) -> None:
    """Go to Create with what the buttons fill there, and to the place where it is seen."""
    for name, event in create.actions.wire_filling(wiring).items():
        shown = wiring.at_once(event.then, lambda: {"tabs": gr.update(selected="create")}, reads=(), writes=("tabs",))
        shown.then(None, js=f"() => kreaHistory.show('{FILLED[name]}')", api_visibility="private")


def _wire_bringing(wiring: Wiring, bringing: BringIn) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    at_once(
        parts["dropped"].upload,
        bringing.bring,
        reads=("browser", "dropped"),
        writes=(REPORT, timer_of(BROUGHT), "dropped"),
        trigger_mode="multiple",
    )
    at_once(
        parts[timer_of(BROUGHT)].tick,
        bringing.follow,
        reads=(*WHERE, shown_of(BROUGHT)),
        writes=("notice", REPORT, "address", *SCREENS, *LIST, *parts_of(BROUGHT)),
        in_browser=HERE,
        trigger_mode="once",
    )


def _draw(
    wiring: Wiring,
    event: Any,
    handler: Callable[..., Update],
    by: str,
    *,
    reads: Sequence[str] = (),
    writes: Sequence[str],
    in_browser: Mapping[str, str] = MappingProxyType({}),
    trigger_mode: str,
) -> Any:
    """At `event` draw what `handler` gives, and let the browser's address name it unless the person has left."""

    @functools.wraps(handler)
    def answered(*given: Any, address: str, **values: Any) -> Update:
        return {**handler(*given, address=address, **values), "asked": address}

    drawn = wiring.at_once(
        event,
        answered,
        reads=(*WHERE, *reads),
        writes=("asked", *writes),
        in_browser={**HERE, **in_browser},
        trigger_mode=trigger_mode,
    )
    drawn.then(
        None,
        inputs=[wiring.parts["address"], wiring.parts["asked"]],
        js=f"(address, asked) => kreaHistory.drawn(address, asked, '{by}')",
        api_visibility="private",
    )
    return drawn
