"""Results on the Create tab: the stage, the pictures, and which of them is looked at."""

import gradio as gr

from krea_studio.errors import StorageError
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.ui import fragments
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, pictures_of
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring

# What shows other pictures writes to, and what `picture_at` is given.
RESULTS = ("stage", "gallery", "shown_ids", "selected", "details", "picture_actions")
LOOKED_AT = ("shown_ids", "selected")


class ResultsPanel:
    """The pictures that are shown, over one library."""

    def __init__(self, library: Library, visitors: Visitors) -> None:
        self._library, self._visitors = library, visitors

    def build(self, parts: Parts) -> None:
        """Lay out the stage and the pictures."""
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
        parts["shown_ids"], parts["selected"] = remembered([], list[str]), remembered(0, int)

    def build_details(self, parts: Parts) -> None:
        """Lay out what is told of the looked-at picture."""
        parts["details"] = gr.HTML(visible=False, elem_id="details")

    def wire(self, wiring: Wiring) -> None:
        """Let a click on a picture choose it."""
        wiring.at_once(
            wiring.parts["gallery"].select,
            self.choose_picture,
            reads=("browser", "shown_ids"),
            writes=("stage", "details", "selected"),
        )

    def choose_picture(self, choice: gr.SelectData, visitor: gr.Request, browser: str, shown_ids: list[str]) -> Update:
        """A picture of the results was clicked: describe it, and let Reuse settings mean it."""
        person = self._visitors.person(visitor, browser)
        return guarded(
            lambda: {
                "details": fragments.details(picture_at(self._library, person, shown_ids, choice.index)),
                "selected": choice.index,
            }
        )

    def without_gone(self, person: Person, shown_ids: list[str]) -> Update:
        """The results without those that are not in the library any more; nothing where all are."""
        records = [record for each in shown_ids if (record := self._library.get(each, person))]
        return {} if len(records) == len(shown_ids) else pictures_of(records)


def picture_at(library: Library, person: Person, ids: list[str], index: int) -> Record:
    """The picture at a place of the ids that a page keeps. Raises StorageError where it is gone, or another's."""
    record = library.get(ids[index], person) if 0 <= index < len(ids) else None
    if record is None:
        raise StorageError("The picture is not in the library any more — reload the page")
    return record
