"""The Moodboards tab: boards on one side, what is on the chosen one beside it, and how both are wired.

It reads as Create does: choosing and doing in a panel, pictures and what was found in them at its side, all below each
other on a phone. Behaviour is in `handlers`. Analyses and files are runs of their own (`watching`), so that nobody's
picture waits for somebody's moodboard.
"""

import gradio as gr

from krea_studio.library.pictures.formats import ENDINGS
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.moodboards import fragments as moodboard_fragments
from krea_studio.ui.moodboards.handlers import MoodboardHandlers
from krea_studio.ui.moodboards.words import HINTS, LABELS, WORDS
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import build_watch, parts_of, shown_of, timer_of
from krea_studio.ui.wiring import Parts, Wiring, any_of

# What handlers read and write, in groups that go together.
OPEN = ("open_board", "kept_words", *WORDS)
OPEN_AND_CHOSEN = (*OPEN, "chosen")
NOTICE = ("notice", "boards")
VIEW = (
    "facts", "pictures", "image_ids", "selected_image", "remove", "palette", "look_pictures", "looks", "look_ids",
    "analyze", "use", "dropped", "team",
)  # fmt: skip
ANALYZING = (timer_of("analyses"), "stop", "progress")
OPENED = (
    *NOTICE, *VIEW, *OPEN, *ANALYZING, "chosen", "rename", "delete", "export", "found", "saved", "confirm", "no_board",
    "view",
)  # fmt: skip

EXPORTS_AT_ONCE = 4
PRESS_DOWNLOAD = "() => document.querySelector('#board-download')?.click()"


def build_moodboards_tab(
    services: Services, visitors: Visitors, tabs: gr.Tabs, chosen: gr.Dropdown, recalled_content: gr.JSON
) -> None:
    """Lay out and wire the tab inside `tabs`; `visitors` are the page's.

    `chosen` is the Create tab's list of boards: it follows the boards, and "Use in Create" chooses there and
    clears `recalled_content`, so that the board steers as it is now.
    """
    parts: Parts = {"tabs": tabs, "chosen": chosen, "recalled_content": recalled_content}
    with gr.Tab("Moodboards", id="moodboards") as parts["tab"]:
        _keep_in_mind(parts)
        with gr.Row(elem_id="moodboards"):
            with gr.Column(elem_id="board-panel", min_width=0):
                _choose(parts)
                _manage(parts, visitors.shared, services.settings.sign_in != "none")
                _act(parts)
            with gr.Column(elem_id="board-results", min_width=0):
                _contents(parts)
    handlers, wiring = MoodboardHandlers(services, visitors), Wiring(parts)
    _wire_boards(wiring, handlers)
    _wire_files(wiring, handlers)
    _wire_contents(wiring, handlers)
    _wire_analysis(wiring, handlers)


def _choose(parts: Parts) -> None:
    with gr.Column(elem_id="board-choose", min_width=0):
        parts["boards"] = gr.Dropdown([], value=None, label="Board", interactive=True, elem_id="boards")
        parts["board_name"] = gr.Textbox(
            label="Name", placeholder="For a new board, or another one for this", max_lines=1, elem_id="board-name"
        )
        with gr.Row(elem_classes="board-buttons"):
            parts["create"] = gr.Button("Create board", size="sm", min_width=0, elem_id="board-create")
            parts["rename"] = _button("Rename", "board-rename")


def _manage(parts: Parts, shared: bool, signing_in: bool) -> None:
    with gr.Column(elem_id="board-manage", min_width=0):
        with gr.Row(elem_classes="board-buttons"):
            parts["export"] = _button("Export zip", "board-export")
            parts["archive"] = gr.UploadButton(
                "Import zip", file_types=[".zip"], size="sm", min_width=0, elem_id="board-import"
            )
            parts["delete"] = _button("Delete", "board-delete")
        with gr.Column(visible=False, elem_id="board-confirm", min_width=0) as parts["confirm"]:
            parts["confirm_text"] = gr.HTML(elem_classes="beneath")
            with gr.Row(elem_classes="board-buttons"):
                parts["really_delete"] = gr.Button(
                    "Really delete", variant="stop", size="sm", min_width=0, elem_id="board-really-delete"
                )
                parts["keep_board"] = gr.Button("Keep it", size="sm", min_width=0, elem_id="board-keep")
        parts["team"] = gr.Checkbox(label=fragments.SHARE, visible=False, min_width=0, elem_id="board-team")
        told = moodboard_fragments.OWNED if signing_in else moodboard_fragments.SHARED
        gr.HTML(told, visible=shared, elem_classes="beneath")
        # Only there to be pressed by the page itself; a browser takes no file from a button that has none yet.
        parts["download"] = gr.DownloadButton("Download", visible="hidden", elem_id="board-download")


def _act(parts: Parts) -> None:
    with gr.Column(elem_id="board-actions", min_width=0):
        parts["notice"] = gr.HTML(visible=False, elem_id="board-notice")
        parts["progress"] = gr.HTML(visible=False, elem_id="board-progress")
        with gr.Row(elem_classes="board-buttons"):
            parts["analyze"] = gr.Button("Analyze", min_width=0, interactive=False, elem_id="board-analyze")
            parts["stop"] = gr.Button("Stop", variant="stop", visible=False, min_width=0, elem_id="board-stop")
            parts["use"] = gr.Button(
                "Use in Create", variant="primary", min_width=0, interactive=False, elem_id="board-use"
            )


def _contents(parts: Parts) -> None:
    parts["no_board"] = gr.HTML(moodboard_fragments.NO_BOARD, visible=False, elem_id="board-none")
    with gr.Column(visible=False, elem_id="board-view", min_width=0) as parts["view"]:
        _pictures(parts)
        with gr.Column(visible=False, elem_id="board-found", min_width=0) as parts["found"]:
            _found(parts)


def _pictures(parts: Parts) -> None:
    parts["facts"] = gr.HTML(elem_id="board-facts")
    parts["pictures"] = _gallery("Pictures", "board-pictures", visible=False)
    with gr.Row(elem_id="board-picture-actions"):
        parts["dropped"] = gr.File(
            label="Add pictures",
            file_types=["image", *ENDINGS],
            file_count="multiple",
            height=52,
            elem_id="board-drop",
            elem_classes="drop-line",
        )
        parts["remove"] = _button("Remove picture", "board-remove")


def _found(parts: Parts) -> None:
    with gr.Row(elem_id="board-words"):
        for field in WORDS:
            parts[field] = gr.Textbox(
                label=LABELS[field],
                info=HINTS[field],
                lines=6,
                max_lines=12,
                min_width=0,
                elem_id=f"board-{field.removeprefix('taste_')}",
            )
    with gr.Row(elem_id="board-saving"):
        parts["save"] = gr.Button("Save", size="sm", min_width=0, elem_id="board-save")
        parts["saved"] = gr.HTML(moodboard_fragments.SAVED_BY_ITSELF, elem_id="board-saved", elem_classes="beneath")
    parts["palette"] = gr.HTML(elem_id="board-palette")
    # The boxes lie over the pictures, one on each: a picture is switched by a click on it.
    with gr.Column(elem_id="board-looks", min_width=0):
        parts["look_pictures"] = _gallery("Looks", "board-look-pictures")
        parts["looks"] = gr.CheckboxGroup(
            [], label="Looks", info="Looks that are switched off have no effect.", elem_id="board-clusters"
        )


def _keep_in_mind(parts: Parts) -> None:
    # In the page, not on the server: it comes with the texts that it belongs to, however late they come.
    parts["open_board"] = gr.Textbox("", visible=False)
    parts["kept_words"] = remembered(None, dict[str, str] | None, session=False)
    # Ids alone: the browser is never asked which files it shows.
    parts["image_ids"], parts["look_ids"] = remembered([], list[str]), remembered([], list[str])
    parts["selected_image"] = remembered("", str)
    build_watch(parts, "analyses")
    build_watch(parts, "imports")


def _wire_boards(wiring: Wiring, handlers: MoodboardHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    page = gr.context.Context.root_block
    at_once(
        any_of(page.load, parts["tab"].select),
        handlers.refreshed,
        reads=OPEN_AND_CHOSEN,
        writes=(*OPENED, timer_of("imports")),
    )
    at_once(parts["boards"].input, handlers.choose, reads=("boards", *OPEN_AND_CHOSEN), writes=OPENED)
    at_once(
        any_of(parts["create"].click, parts["board_name"].submit),
        handlers.create,
        reads=("board_name", *OPEN_AND_CHOSEN),
        writes=(*OPENED, "board_name"),
        trigger_mode="once",
    )
    at_once(
        parts["rename"].click,
        handlers.rename,
        reads=("board_name", "open_board", "chosen"),
        writes=(*OPENED, "board_name"),
    )
    at_once(
        parts["delete"].click, handlers.ask_delete, reads=("open_board",), writes=(*NOTICE, "confirm", "confirm_text")
    )
    at_once(parts["keep_board"].click, handlers.keep_board, reads=(), writes=("confirm",))
    at_once(parts["really_delete"].click, handlers.delete, reads=("open_board", "chosen"), writes=OPENED)
    at_once(
        parts["use"].click, handlers.use, reads=("open_board",), writes=(*NOTICE, "chosen", "recalled_content", "tabs")
    )


def _wire_files(wiring: Wiring, handlers: MoodboardHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    at_once(
        parts["dropped"].upload,
        handlers.add,
        reads=("open_board", "dropped"),
        writes=(*NOTICE, timer_of("imports"), "dropped"),
        trigger_mode="multiple",
    )
    at_once(
        parts["archive"].upload,
        handlers.import_,
        reads=("open_board", "archive"),
        writes=(*NOTICE, timer_of("imports"), "archive"),
        trigger_mode="multiple",
    )
    at_once(
        parts[timer_of("imports")].tick,
        handlers.follow_imports,
        reads=(shown_of("imports"), *OPEN_AND_CHOSEN),
        writes=(*OPENED, *parts_of("imports")),
        trigger_mode="once",
    )
    exported = wiring.on(
        parts["export"].click,
        handlers.export,
        reads=("open_board",),
        writes=(*NOTICE, "download"),
        concurrency_id="moodboard-exports",
        concurrency_limit=EXPORTS_AT_ONCE,
    )
    exported.then(None, js=PRESS_DOWNLOAD, api_visibility="private")


def _wire_contents(wiring: Wiring, handlers: MoodboardHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    at_once(
        parts["pictures"].select,
        handlers.picture_chosen,
        reads=("image_ids",),
        writes=("pictures", "selected_image", "remove"),
        trigger_mode="multiple",
    )
    at_once(parts["remove"].click, handlers.remove, reads=("open_board", "selected_image"), writes=(*NOTICE, *VIEW))
    at_once(
        any_of(parts["save"].click, *(parts[field].blur for field in WORDS)),
        handlers.save,
        reads=OPEN,
        writes=(*NOTICE, "kept_words", "saved"),
        trigger_mode="always_last",
    )
    at_once(
        parts["team"].input,
        handlers.share,
        reads=("open_board", "team"),
        writes=(*NOTICE, *VIEW),
        trigger_mode="always_last",
    )
    at_once(
        parts["looks"].input,
        handlers.switch_looks,
        reads=("open_board", "looks", "look_ids"),
        writes=(*NOTICE, *VIEW),
        trigger_mode="always_last",
    )


def _wire_analysis(wiring: Wiring, handlers: MoodboardHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    at_once(
        parts["analyze"].click,
        handlers.analyze,
        reads=OPEN,
        writes=(*NOTICE, *ANALYZING, "analyze", "looks", "rename", "delete", "confirm", *WORDS),
        trigger_mode="once",
    )
    at_once(parts["stop"].click, handlers.stopping, reads=(), writes=("progress",), trigger_mode="multiple")
    at_once(
        parts[timer_of("analyses")].tick,
        handlers.follow_analyses,
        reads=(shown_of("analyses"), "open_board", "chosen"),
        writes=(*OPENED, *parts_of("analyses")),
        trigger_mode="once",
    )


def _button(label: str, element: str) -> gr.Button:
    """A button that can be pressed once a board, or a picture, is there."""
    return gr.Button(label, size="sm", min_width=0, interactive=False, elem_id=element)


def _gallery(label: str, element: str, **options: bool) -> gr.Gallery:
    """Many small pictures, to be chosen and not enlarged."""
    return gr.Gallery(
        label=label,
        show_label=False,
        interactive=False,
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        elem_id=element,
        **options,
    )
