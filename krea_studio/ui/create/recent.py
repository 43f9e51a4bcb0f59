"""What stands below the results of the Create tab: a strip of recent pictures, and the status line."""

import secrets

import gradio as gr

from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.ui.create.results import RESULTS, picture_at
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, pictures_of
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors, is_browser
from krea_studio.ui.wiring import Parts, Wiring

RECENT_PICTURES = 24
RECENT = ("browser", "recent", "recent_ids")


class RecentPanel:
    """The newest pictures of a visitor, over one library."""

    def __init__(self, library: Library, visitors: Visitors) -> None:
        self._library, self._visitors = library, visitors

    def build(self, parts: Parts) -> None:
        """Lay out the strip and the status line, and the entry in the browser by which pictures have an owner."""
        parts["recent"] = build_strip("Recent", "recent")
        parts["status"] = gr.HTML("Starting the engine", elem_id="status")
        parts["recent_ids"] = remembered([], list[str])
        # Names the browser as owner of its pictures. The secret only keeps Gradio from drawing a new one at every
        # start, after which no browser's entry could be read.
        parts["browser"] = gr.BrowserState("", storage_key="krea-studio-browser", secret="krea-studio")

    def wire(self, wiring: Wiring) -> None:
        """Let a click on a recent picture show it."""
        wiring.at_once(
            wiring.parts["recent"].select, self.show_picture, reads=("browser", "recent_ids"), writes=RESULTS
        )

    def show_picture(self, choice: gr.SelectData, visitor: gr.Request, browser: str, recent_ids: list[str]) -> Update:
        """A recent picture was clicked: show it in the place of the results."""
        person = self._visitors.person(visitor, browser)
        return guarded(
            lambda: {
                **pictures_of([picture_at(self._library, person, recent_ids, choice.index)]),
                "stage": gr.update(value="", visible=False),
            }
        )

    def strip(self, visitor: gr.Request, browser: str) -> Update:
        """The strip of the newest pictures: the visitor's own, or all of them on a page that is not shared."""
        browser = browser if is_browser(browser) else secrets.token_hex(16)
        person = self._visitors.person(visitor, browser)
        return {"browser": browser, **guarded(lambda: self._strip_of(person))}

    def _strip_of(self, person: Person) -> Update:
        records = self._library.recent(RECENT_PICTURES, person)
        return {
            "recent": gr.update(value=[str(record.thumbnail) for record in records], visible=bool(records)),
            "recent_ids": [record.id for record in records],
        }


def build_strip(label: str, element: str) -> gr.Gallery:
    """A row of small pictures to choose from, hidden while there are none."""
    return gr.Gallery(
        label=label,
        visible=False,
        interactive=False,
        allow_preview=False,
        columns=12,
        rows=1,
        object_fit="cover",
        buttons=[],
        elem_id=element,
    )
