"""Pictures that are dropped on the tab History come into the library, as those of `history import` do.

That is a run of its own, which the page watches: it tells what was taken in, and of every other file why not.
"""

import functools
from collections.abc import Sequence

import gradio as gr

from krea_studio.files import without_clutter
from krea_studio.library.folder_import import FoundFile, import_files
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.runs.run import Kind, State
from krea_studio.runs.runs import Check, Report
from krea_studio.services import Services
from krea_studio.ui.create.panels.references import NOTHING_CAME
from krea_studio.ui.history import fragments as history_fragments
from krea_studio.ui.history.address import Address
from krea_studio.ui.history.view import HistoryView
from krea_studio.ui.notices import guarded, note, problem
from krea_studio.ui.presenter import Update, shown
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import Watch

BROUGHT = "brought"
REPORT = "import_report"


class BringIn:
    """What is brought in, over one set of services and the page's visitors."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._library, self._visitors = services.library, visitors
        self._imports = Watch(services.runs, Kind.IMPORT, BROUGHT)
        self._view = HistoryView(services.library)

    def bring(self, visitor: gr.Request, browser: str, dropped: list[str] | None) -> Update:
        """Begin to take in files that were dropped; `follow` tells what came of it."""
        person = self._visitors.person(visitor, browser)

        def begun() -> Update:
            files = without_clutter(dropped or [])
            work = functools.partial(_taken_in, self._library, files, person)
            began = self._imports.begin(visitor, person, "Bringing in pictures", work)
            return {**began, **note(f"Bringing in {history_fragments.count(len(files))} …", REPORT)}

        told = functools.partial(problem, part=REPORT)
        return {"dropped": None, **(guarded(begun, told) if dropped else told(NOTHING_CAME))}

    def follow(self, visitor: gr.Request, browser: str, address: str, brought_shown: list[str]) -> Update:
        """What came of it, and the pictures that are there now, where no other one is open."""
        person, update = self._visitors.person(visitor, browser), Update()
        runs = self._imports.look(visitor, person, brought_shown)
        for run in (run for run in runs if run.state.ended):
            if run.state is State.DONE:
                update |= {REPORT: shown(history_fragments.brought_in(run.result))}
            else:
                update |= problem(run.failure, REPORT)
            place = Address.of(address)
            if not place.picture and not place.bin:
                update |= guarded(functools.partial(self._view.list, person, place), problem)
        return {**update, **self._imports.looked(runs, brought_shown)}


def _taken_in(library: Library, files: Sequence[str], person: Person, report: Report, check: Check) -> list[FoundFile]:
    """What became of each file."""
    found = []
    for each in import_files(library, files, person):
        check()
        found.append(each)
        report(len(found) / len(files))
    return found
