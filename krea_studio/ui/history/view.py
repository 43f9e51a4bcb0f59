"""What a person sees at an address: pages of pictures, one picture, or the bin, as updates of the tab's parts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import gradio as gr

from krea_studio.errors import InvalidRequest
from krea_studio.library.history.history import PAGE, Page
from krea_studio.library.history.search import Search, moment_of
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.ui.history import filters
from krea_studio.ui.history import fragments as history_fragments
from krea_studio.ui.history.address import Address
from krea_studio.ui.notices import visible
from krea_studio.ui.presenter import Update

LIST = ("count", "grid", "pages", *filters.REFUSALS)
PICTURE = ("picture", "recipe", "download", "star", "shown_ids", "selected")
BIN = ("bin_head", "bin_grid", "bin_pages", "empty", "confirm")
SCREENS = ("list_screen", "picture_screen", "bin_screen")
VIEW = ("address", *SCREENS, *LIST, *PICTURE, *BIN)

GONE = "The picture is not here any more, or never was — choose another one"


class HistoryView:
    """The pictures of one library, as pages show them."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def of(self, person: Person, address: Address) -> Update:
        """What the address names. Raises InvalidRequest where its picture is not there, StorageError."""
        if address.bin:
            return self._bin(person, address)
        if address.picture:
            return self._picture(person, address)
        return self.list(person, address)

    def list(self, person: Person, address: Address) -> Update:
        """A page of pictures; what is wrong with a filter stands beneath its control, and nothing is found by it."""
        refusals = address.refusals
        shown = {**_screen("list_screen", address), **filters.refused(refusals)}
        if refusals:
            return {**shown, "count": "", "pages": "", "grid": history_fragments.NOTHING_FOUND}
        search = address.search
        total = self._library.history.count(search, person)
        address, page = self._page(search, person, address)
        nothing = history_fragments.NOTHING_FOUND if address.wanted else history_fragments.NOTHING_MADE
        if total:
            nothing = history_fragments.NOTHING_HERE
        newer, older = self._beside(search, person, address, page)
        return {
            **shown,
            "count": history_fragments.found(total, filters.told_of(address.wanted), address),
            "grid": history_fragments.grid(page.records, self._counts(search, person, page.records), address)
            or nothing,
            "pages": history_fragments.pages(newer, older),
        }

    def beside(self, person: Person, address: Address, record: Record) -> tuple[Record | None, Record | None]:
        """The next newer and the next older picture of what was found. Raises InvalidRequest, StorageError."""
        search, page = address.search, self._library.history.page
        newer = page(search, person, before=record.key, limit=1).records
        older = page(search, person, after=record.key, limit=1).records
        return next(iter(newer), None), next(iter(older), None)

    def _counts(self, search: Search, person: Person, records: Sequence[Record]) -> dict[date, int]:
        """How many pictures the days of these have in all."""
        days = [record.created_at.astimezone().date() for record in records]
        return self._library.history.counts(search, person, min(days), max(days)) if days else {}

    def _page(self, search: Search, person: Person, address: Address) -> tuple[Address, Page]:
        page = self._library.history.page(search, person, after=address.after, before=address.before)
        if address.before is not None and not page.more and len(page.records) < PAGE:
            address = address.at()  # so near to the newest pictures that a full page begins with them
            page = self._library.history.page(search, person)
        return address, page

    def _beside(
        self, search: Search, person: Person, address: Address, page: Page
    ) -> tuple[Address | None, Address | None]:
        """The addresses of the newer and the older page."""
        if not page.records:
            return (address.at() if address.after is not None or address.before is not None else None), None
        first, last, look = page.records[0].key, page.records[-1].key, self._library.history.page
        downward = address.before is None
        is_newer = bool(look(search, person, before=first, limit=1).records) if downward else page.more
        is_older = page.more if downward else bool(look(search, person, after=last, limit=1).records)
        return address.at(before=first) if is_newer else None, address.at(after=last) if is_older else None

    def _picture(self, person: Person, address: Address) -> Update:
        record = self._library.get(address.picture, person)
        if record is None:
            raise InvalidRequest(GONE)
        if address.refusals:
            address = Address(picture=address.picture)
        newer, older = self.beside(person, address, record)
        return {
            **_screen("picture_screen", address),
            "picture": history_fragments.picture(
                record,
                address.opening(newer.id) if newer else None,
                address.opening(older.id) if older else None,
                self._page_with(person, address, record),
            ),
            "recipe": history_fragments.recipe(record),
            "download": history_fragments.download(record),
            "star": "★ Starred" if record.starred else "☆ Star",
            "shown_ids": [record.id],
            "selected": 0,
        }

    def _page_with(self, person: Person, address: Address, record: Record) -> Address:
        """The page that the picture is on: the one of the address, or else one that begins with it."""
        _, page = self._page(address.search, person, address)
        if any(each.id == record.id for each in page.records):
            return address.opening("")
        return address.at(after=record.key + 1)

    def _bin(self, person: Person, address: Address) -> Update:
        """A page of the bin, which begins after a moment of deletion, or ends before one."""
        records = self._library.bin.records(person)
        moments = [moment_of(record.deleted_at) for record in records if record.deleted_at]
        begin = 0
        if address.after is not None:
            begin = sum(moment >= address.after for moment in moments)
        elif address.before is not None:
            begin = max(0, sum(moment > address.before for moment in moments) - PAGE)
        begin = begin if begin < len(moments) else 0  # what was there was restored
        end = begin + PAGE
        newer = address.at(before=moments[begin]) if begin else None
        older = address.at(after=moments[end - 1]) if end < len(moments) else None
        return {
            **_screen("bin_screen", replace(address, picture="")),
            "bin_head": history_fragments.bin_head(len(records)),
            "bin_grid": history_fragments.binned(records[begin:end]),
            "bin_pages": history_fragments.pages(newer, older),
            "empty": gr.update(interactive=bool(records)),
            "confirm": visible(False),
        }


def _screen(name: str, address: Address) -> Update:
    return {"address": address.query, **{each: visible(each == name) for each in SCREENS}}
