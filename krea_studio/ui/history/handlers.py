"""What the tab History does when something happens on it: each handler returns new values by the names of its parts.

What is to be shown comes with every request, as the browser's own address has it. What is done is done to the pictures
that the browser says are meant: the selected ones, the open one, or the one that has the focus.
"""

import secrets
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.files import whole, write_error
from krea_studio.library.records import Record
from krea_studio.people import Person
from krea_studio.runs.shares import Thing
from krea_studio.services import Services
from krea_studio.ui.create.actions import REPORTED
from krea_studio.ui.create.panels.moodboard import MoodboardPanel
from krea_studio.ui.history import filters
from krea_studio.ui.history import fragments as history_fragments
from krea_studio.ui.history.address import TAB, Address, tab_of
from krea_studio.ui.history.view import GONE, HistoryView
from krea_studio.ui.notices import guarded, note, problem, visible
from krea_studio.ui.presenter import Update
from krea_studio.ui.visitors import Visitors

TABS = ("create", TAB, "sweep", "compare", "moodboards", "styles")
NOTHING_PICKED = "No picture is chosen — select some first"
NO_BOARD = "No moodboard is chosen — choose one in the list, or make one under Moodboards"


class HistoryHandlers:
    """The tab's behaviour, over one set of services and the page's visitors; `boards` puts pictures on moodboards."""

    def __init__(self, services: Services, visitors: Visitors, boards: MoodboardPanel) -> None:
        self._library, self._runs, self._visitors, self._boards = services.library, services.runs, visitors, boards
        self._shares = services.shares
        self._view = HistoryView(services.library)

    def went(self, visitor: gr.Request, browser: str, address: str) -> Update:
        """The page is at another address, or was opened: its tab, and what that shows."""
        tab = tab_of(address)
        if tab != TAB:
            return {"tabs": gr.update(selected=tab if tab in TABS else TABS[0])}
        person, place = self._visitors.person(visitor, browser), Address.of(address)
        boards = gr.update(choices=filters.board_choices(filters.names_of("moodboard", self._library, person)))
        return {
            "tabs": gr.update(selected=TAB),
            "board": boards,
            "picked_board": boards,
            **filters.filled(place.wanted, self._library, person),
            **guarded(lambda: {**note(""), "undo": visible(False), **self._gone_to(person, place)}, problem),
        }

    def filtered(self, visitor: gr.Request, browser: str, address: str, **values: Any) -> Update:
        """A filter or the words were changed: the first page of what is found; what is refused changes no address."""
        wanted, before = Address(filters.wanted_of(values)), Address.of(address)
        if wanted.wanted == before.wanted and not before.refusals:
            return filters.refused({})
        if refusals := wanted.refusals:
            return filters.refused(refusals)
        person = self._visitors.person(visitor, browser)
        return guarded(lambda: {**note(""), "undo": visible(False), **self._view.list(person, wanted)}, problem)

    def star(self, visitor: gr.Request, browser: str, address: str, picked: list[str]) -> Update:
        """Give the pictures stars, or take these away where all have one."""
        person = self._visitors.person(visitor, browser)

        def starred() -> Update:
            records = self._records(person, picked)
            on = not all(record.starred for record in records)
            for record in records:
                self._library.history.star(record.id, person, on)
            return self._shown(person, Address.of(address))

        return self._guarded(starred)

    def delete(self, visitor: gr.Request, browser: str, address: str, picked: list[str]) -> Update:
        """Move the pictures into the bin; where the open one goes, the one beside it is opened."""
        person, place = self._visitors.person(visitor, browser), Address.of(address)

        def deleted() -> Update:
            records = self._records(person, picked)
            following = self._after(person, place, [record.id for record in records])
            done, failure = _each(records, lambda record: self._library.bin.delete(record.id, person))
            for record in done:
                self._runs.forget(record.id)
            gone = [record.id for record in done]
            told = failure or f"{history_fragments.count(len(done))} moved to the bin."
            return {
                **self._shown(person, following if place.picture in gone else place),
                **(problem(told) if failure else note(told)),
                "undo": visible(bool(done)),
                "deleted": gone,
            }

        return self._guarded(deleted)

    def undo(self, visitor: gr.Request, browser: str, address: str, deleted: list[str]) -> Update:
        """Put back what was deleted last; where a picture is open, that one is again."""
        place = Address.of(address)
        if place.picture and deleted:
            place = place.opening(deleted[0])
        return self._restored(self._visitors.person(visitor, browser), place, deleted)

    def restore(self, visitor: gr.Request, browser: str, address: str, picked: list[str]) -> Update:
        """Put back pictures of the bin."""
        return self._restored(self._visitors.person(visitor, browser), Address.of(address), picked)

    def ask_empty(self, visitor: gr.Request, browser: str) -> Update:
        """Ask before the bin is emptied."""
        person = self._visitors.person(visitor, browser)

        def asked() -> Update:
            pictures = len(self._library.bin.records(person))
            return {"confirm_text": history_fragments.emptying(pictures), "confirm": visible(True)}

        return guarded(asked, problem)

    def keep_bin(self) -> Update:
        """The bin shall not be emptied."""
        return {"confirm": visible(False)}

    def empty(self, visitor: gr.Request, browser: str, address: str) -> Update:
        """Remove for good what is in the bin."""
        person = self._visitors.person(visitor, browser)

        def emptied() -> Update:
            pictures = self._library.bin.empty(person)
            return {
                **self._shown(person, Address.of(address)),
                **note(f"{history_fragments.count(pictures)} removed for good."),
            }

        return self._guarded(emptied)

    def add_to_board(self, visitor: gr.Request, browser: str, picked: list[str], board: str | None) -> Update:
        """Put the pictures on a moodboard."""
        person = self._visitors.person(visitor, browser)

        def added() -> Update:
            if not board:
                raise InvalidRequest(NO_BOARD)
            paths = [record.path for record in self._records(person, picked)]
            return note(" ".join(f"{told}." for told in self._boards.added(person, paths, board)))

        return self._guarded(added)

    def report(self, visitor: gr.Request, browser: str, picked: list[str]) -> Update:
        """The pictures are noted as ones that whoever runs the studio should look at."""
        person = self._visitors.person(visitor, browser)

        def reported() -> Update:
            for record in self._records(person, picked):
                self._library.reports.add(record.id, person)
            return note(REPORTED)

        return self._guarded(reported)

    def zip(self, visitor: gr.Request, browser: str, picked: list[str]) -> Update:
        """Write the pictures into a zip that the browser can take; Gradio removes it a day later."""
        person = self._visitors.person(visitor, browser)

        def zipped() -> Update:
            records = self._records(person, picked)
            path = Path(get_upload_folder()) / "exports" / secrets.token_hex(16) / "pictures.zip"
            size = sum(record.path.stat().st_size for record in records)
            with self._shares.taking(self._visitors.payer(visitor), Thing.EXPORTS, size=size):
                _write_zip(path, records)
            return {"zip_file": str(path)}

        # What could not be written must not leave an older zip to be taken instead.
        return {"zip_file": None, **self._guarded(zipped)}

    def _gone_to(self, person: Person, place: Address) -> Update:
        """What the address names, which the browser has already, unless its picture is not there."""
        shown = self._shown(person, place)
        missing = place.picture and not Address.of(shown["address"]).picture
        return {**shown, "address": shown["address"] if missing else ""}

    def _shown(self, person: Person, address: Address) -> Update:
        """What the address names; the list with the reason where its picture is not there."""
        try:
            return self._view.of(person, address)
        except InvalidRequest as error:
            return {**self._view.list(person, address.opening("")), **problem(error.message)}

    def _restored(self, person: Person, place: Address, ids: Sequence[str]) -> Update:
        def restored() -> Update:
            if not ids:
                raise InvalidRequest(NOTHING_PICKED)
            done, failure = _each(ids, lambda picture: self._library.bin.restore(picture, person))
            told = failure or f"{history_fragments.count(len(done))} restored."
            return {
                **self._shown(person, place),
                **(problem(told) if failure else note(told)),
                "undo": visible(False),
            }

        return self._guarded(restored)

    def _after(self, person: Person, place: Address, leaving: Sequence[str]) -> Address:
        """Where to go from an open picture that leaves, alone: to the next older one, else the next newer one."""
        record = self._library.get(place.picture, person)
        if record is None or place.refusals:
            return place.opening("")
        newer, older = self._view.beside(person, place, record)
        beside = next((each for each in (older, newer) if each and each.id not in leaving), None)
        return place.opening(beside.id if beside else "")

    def _records(self, person: Person, picked: Sequence[str]) -> list[Record]:
        """The pictures that are meant. Raises InvalidRequest where there are none of them any more."""
        if not picked:
            raise InvalidRequest(NOTHING_PICKED)
        records = [record for picture in dict.fromkeys(picked) if (record := self._library.get(picture, person))]
        if not records:
            raise InvalidRequest(GONE)
        return records

    def _guarded(self, action: Callable[[], Update]) -> Update:
        """What `action` gives, without the last notice; or a notice of what was wrong."""
        return guarded(lambda: {**note(""), "undo": visible(False), **action()}, problem)


def _each(items: Sequence[Any], change: Callable[[Any], Record]) -> tuple[list[Record], str]:
    """Change one after the other, up to the first that cannot be: what is changed, and what was wrong, if anything."""
    done: list[Record] = []
    for item in items:
        try:
            done.append(change(item))
        except StudioError as error:
            counted = f"{len(done)} of {len(items)} are done. " if done else ""
            return done, counted + error.message
    return done, ""


def _write_zip(path: Path, records: Sequence[Record]) -> None:
    """Write pictures into a zip as they are: they are compressed already. Raises StorageError."""
    try:
        with whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for record in records:
                archive.write(record.path, record.path.name)
    except OSError as error:
        raise write_error(error, path, "The zip") from None
