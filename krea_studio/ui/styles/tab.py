"""The Styles tab: the library as cards, the chosen one beside them, and how both are wired.

It reads as the other tabs do: what is chosen and done in a panel, many pictures at its side, all below each other on a
phone. Behaviour is in `handlers`. Files and downloads are runs of their own (`watching`), so that nobody's picture
waits for somebody's style.
"""

import gradio as gr

from krea_studio.direction.styles import StyleCard
from krea_studio.library.pictures.formats import ENDINGS
from krea_studio.recipe.request import bounds, help_text, label
from krea_studio.recipe.sigmas import MOST_STEPS
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.create.panels.styles import PLACED, STYLES
from krea_studio.ui.styles import fragments as style_fragments
from krea_studio.ui.styles.handlers import TEXTS, StyleHandlers
from krea_studio.ui.styles.list import ALL, FILTERS
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import build_watch, shown_of, timer_of
from krea_studio.ui.wiring import Parts, Wiring, any_of

# What handlers read and write, in groups that go together.
LOOKING = ("search", "show")
NOTICE = ("notice", "refusal")
GRID = ("cards", "nothing")
VIEW = (
    "open_style", "heading", "cover", "report", "use", "favourite", "download", "texts", "manage",
    "delete", "confirm", "team",
)  # fmt: skip
RIGHTS = ("adding", "shared_note")
OPENED = (*NOTICE, *GRID, *VIEW, *TEXTS, "save", *RIGHTS, "add_style")
IMPORTING = (timer_of("imports"), "fetch", "download")
FOLLOWED = (*OPENED, *STYLES)

SHOW_QUESTION = "() => document.querySelector('#style-confirm')?.scrollIntoView({ block: 'nearest' })"


def build_styles_tab(services: Services, visitors: Visitors, tabs: gr.Tabs, create: Parts) -> None:
    """Lay out and wire the tab inside `tabs`; `visitors` are the page's.

    `create` are the parts of the Create tab: "Use in Create" fills a place there, and its list follows the library.
    """
    borrowed = ("add_style", *STYLES, "variant", "browser", "stage", "shown_ids", "selected")
    parts: Parts = {"tabs": tabs, **{name: create[name] for name in borrowed}}
    with gr.Tab("Styles", id="styles") as parts["tab"]:
        # In the page, not on the server: it comes with the texts that it belongs to, however late they come.
        parts["open_style"] = gr.Textbox("", visible=False)
        build_watch(parts, "imports")
        with gr.Row(elem_id="styles"):
            with gr.Column(elem_id="style-panel", min_width=0):
                _open(parts)
            with gr.Column(elem_id="style-results", min_width=0):
                _find(parts)
                _add(parts, services.settings.sign_in != "none")
                _grid(parts)
    handlers, wiring = StyleHandlers(services, visitors), Wiring(parts)
    _wire_looking(wiring, handlers)
    _wire_changes(wiring, handlers)
    _wire_imports(wiring, handlers)


def _open(parts: Parts) -> None:
    parts["heading"] = gr.HTML(style_fragments.NO_STYLE, elem_id="style-heading")
    parts["cover"] = gr.Image(
        label="Cover", show_label=False, interactive=False, buttons=[], visible=False, elem_id="style-cover"
    )
    with gr.Row(elem_classes="board-buttons", elem_id="style-actions"):
        parts["use"] = gr.Button("Use in Create", variant="primary", min_width=0, visible=False, elem_id="style-use")
        parts["download"] = gr.Button(
            "Download", variant="primary", min_width=0, visible=False, elem_id="style-download"
        )
        parts["favourite"] = gr.Button("☆ Favourite", min_width=0, visible=False, elem_id="style-favourite")
    parts["team"] = gr.Checkbox(label=fragments.SHARE, visible=False, min_width=0, elem_id="style-team")
    with gr.Column(visible=False, elem_id="style-texts", min_width=0) as parts["texts"]:
        for field, lines, most in zip(TEXTS, (1, 3, 1), map(_most_characters, TEXTS), strict=True):
            parts[field] = gr.Textbox(
                label=label(field, StyleCard),
                info=help_text(field, StyleCard),
                lines=lines,
                max_lines=4 * lines,
                max_length=most,
                min_width=0,
                elem_id=f"style-{field.replace('_', '-')}",
            )
        parts["save"] = gr.Button("Save", size="sm", min_width=0, elem_id="style-save")
    parts["report"] = gr.HTML(visible=False, elem_id="style-report")
    _manage(parts)


def _most_characters(field: str) -> int:
    """How long a text of a style's may be; its few steps are numbers, as many as there may be."""
    return 20 * MOST_STEPS if field == "speed" else int(bounds(field, StyleCard)[1])


def _manage(parts: Parts) -> None:
    with gr.Accordion("Manage", open=False, visible=False, elem_id="style-manage") as parts["manage"]:
        with gr.Row(elem_classes="board-buttons"):
            parts["new_name"] = gr.Textbox(
                label="Name", placeholder="Another name", max_lines=1, min_width=0, elem_id="style-new-name"
            )
            parts["rename"] = gr.Button("Rename", size="sm", min_width=0, scale=0, elem_id="style-rename")
        with gr.Row(elem_classes="board-buttons"):
            parts["cover_file"] = gr.UploadButton(
                "Cover from a file", file_types=["image", *ENDINGS], size="sm", min_width=0, elem_id="style-cover-file"
            )
            parts["cover_result"] = gr.Button(
                "Cover from the result", size="sm", min_width=0, elem_id="style-cover-result"
            )
        parts["delete"] = gr.Button("Delete", size="sm", min_width=0, elem_id="style-delete")
        with gr.Column(visible=False, elem_id="style-confirm", min_width=0) as parts["confirm"]:
            parts["confirm_text"] = gr.HTML(elem_classes="beneath")
            with gr.Row(elem_classes="board-buttons"):
                parts["really_delete"] = gr.Button(
                    "Really delete", variant="stop", size="sm", min_width=0, elem_id="style-really-delete"
                )
                parts["keep_style"] = gr.Button("Keep it", size="sm", min_width=0, elem_id="style-keep")


def _find(parts: Parts) -> None:
    with gr.Row(elem_id="style-find"):
        parts["search"] = gr.Textbox(
            label="Search",
            placeholder="Name, trigger words, base or source",
            max_lines=1,
            min_width=0,
            elem_id="style-search",
        )
        parts["show"] = gr.Dropdown(
            list(FILTERS.items()), value=ALL, label="Show", interactive=True, min_width=0, elem_id="style-show"
        )


def _add(parts: Parts, signing_in: bool) -> None:
    with gr.Row(visible=False, elem_id="style-adding") as parts["adding"]:
        parts["dropped"] = gr.File(
            label="Add a style file",
            file_types=[".safetensors"],
            height=52,
            elem_id="style-file",
            elem_classes="drop-line",
            min_width=0,
        )
        parts["repository"] = gr.Textbox(
            label="Or from the Hub",
            placeholder="owner/name",
            max_lines=1,
            min_width=0,
            elem_id="style-repository",
        )
        parts["fetch"] = gr.Button("Add", size="sm", min_width=0, scale=0, elem_id="style-fetch")
    told = style_fragments.OWNED if signing_in else style_fragments.SHARED
    parts["shared_note"] = gr.HTML(told, visible=False, elem_id="style-shared", elem_classes="beneath")
    parts["notice"] = gr.HTML(visible=False, elem_id="style-notice")
    parts["refusal"] = gr.HTML(visible=False, elem_id="style-refusal")


def _grid(parts: Parts) -> None:
    parts["cards"] = gr.Gallery(
        label="Styles",
        show_label=False,
        interactive=False,
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        elem_id="style-cards",
    )
    parts["nothing"] = gr.HTML(style_fragments.NOTHING_FOUND, visible=False, elem_id="style-nothing")


def _wire_looking(wiring: Wiring, handlers: StyleHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    page = gr.context.Context.root_block
    at_once(
        any_of(page.load, parts["tab"].select),
        handlers.refreshed,
        reads=("open_style", *LOOKING),
        writes=(*OPENED, *IMPORTING),
    )
    at_once(
        any_of(parts["search"].change, parts["show"].input),
        handlers.looked_for,
        reads=("open_style", *LOOKING),
        writes=(*GRID, *NOTICE),
        trigger_mode="always_last",
    )
    at_once(
        parts["cards"].select,
        handlers.chosen,
        reads=(),
        writes=OPENED,
        trigger_mode="multiple",
    )
    at_once(
        parts["use"].click,
        handlers.used,
        reads=("open_style", *PLACED),
        writes=("tabs", "add_style", *STYLES, "stage", *NOTICE),
    )


def _wire_changes(wiring: Wiring, handlers: StyleHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    at_once(parts["favourite"].click, handlers.favourite_switched, reads=("open_style", *LOOKING), writes=OPENED)
    at_once(
        parts["team"].input,
        handlers.shared,
        reads=("open_style", "team", *LOOKING),
        writes=OPENED,
        trigger_mode="always_last",
    )
    at_once(
        any_of(parts["save"].click, parts["trigger"].submit),
        handlers.saved,
        reads=("open_style", *LOOKING, *TEXTS),
        writes=OPENED,
    )
    at_once(
        any_of(parts["rename"].click, parts["new_name"].submit),
        handlers.renamed,
        reads=("open_style", "new_name", *LOOKING, *PLACED),
        writes=(*FOLLOWED, "new_name"),
    )
    at_once(
        parts["cover_file"].upload,
        handlers.cover_uploaded,
        reads=("open_style", *LOOKING, "cover_file"),
        writes=(*OPENED, "cover_file"),
    )
    at_once(
        parts["cover_result"].click,
        handlers.cover_from_result,
        reads=("browser", "open_style", *LOOKING, "shown_ids", "selected"),
        writes=OPENED,
    )
    asked = at_once(
        parts["delete"].click, handlers.ask_delete, reads=("open_style",), writes=(*NOTICE, "confirm", "confirm_text")
    )
    asked.then(None, js=SHOW_QUESTION, api_visibility="private")
    at_once(parts["keep_style"].click, handlers.keep_style, reads=(), writes=("confirm",))
    at_once(parts["really_delete"].click, handlers.deleted, reads=("open_style", *LOOKING), writes=OPENED)


def _wire_imports(wiring: Wiring, handlers: StyleHandlers) -> None:
    parts, at_once = wiring.parts, wiring.at_once
    # Not when the page is opened: Gradio closes the stream of events after the last queued one, and a run that is begun
    # at that moment would be cut off. What lies there then was taken in when the server started.
    wiring.on(
        parts["tab"].select,
        handlers.folder_taken_in,
        reads=("open_style", *LOOKING),
        writes=(*OPENED, *IMPORTING),
        trigger_mode="once",
        concurrency_id="style-folder",
        concurrency_limit=1,
    )
    at_once(
        parts["dropped"].upload,
        handlers.imported,
        reads=("dropped",),
        writes=(*NOTICE, *IMPORTING, "dropped"),
        trigger_mode="multiple",
    )
    at_once(
        any_of(parts["fetch"].click, parts["repository"].submit),
        handlers.fetched,
        reads=("repository",),
        writes=(*NOTICE, *IMPORTING),
        trigger_mode="once",
    )
    at_once(
        parts["download"].click,
        handlers.downloaded,
        reads=("open_style",),
        writes=(*NOTICE, *IMPORTING),
        trigger_mode="once",
    )
    at_once(
        parts[timer_of("imports")].tick,
        handlers.follow_imports,
        reads=(shown_of("imports"), "open_style", *LOOKING),
        writes=(*OPENED, *IMPORTING, shown_of("imports"), "repository"),
        trigger_mode="once",
    )
