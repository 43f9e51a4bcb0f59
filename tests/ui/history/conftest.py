"""What the tests of the tab History share: one driven as a browser drives it, and pictures to find."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from krea_studio.library.pictures.metadata import png_bytes
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.history.handlers import HistoryHandlers
from krea_studio.ui.visitors import Visitors
from tests.doubles import picture

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def made(library: Library, number: int, owner: str = "local", **wishes: Any) -> Record:
    """A picture that was made `number` days after the 20th of November, at noon."""
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512", **wishes}), int(number) + 1).shots[0]
    recipe, image = shot.recipe("mini-turbo"), picture(shot)
    at = NOON + timedelta(days=number)
    picture_id = f"{int(number * 1000):016x}"
    return library.take_in(recipe, png_bytes(image, recipe), image, at, Person(owner), picture_id)


class Tab:
    """The tab at one address, for one visitor: what it shows after each event."""

    def __init__(self, services: Services, shared: bool = False, browser: str = "") -> None:
        visitors = Visitors(shared)
        self.create = CreateTab(services, visitors)
        self.handlers = HistoryHandlers(services, visitors, self.create.moodboard)
        self.visitor = SimpleNamespace(username=None, session_hash="one")
        self.browser = browser
        self.address = "?tab=history"
        self.values: dict[str, Any] = {"undo": {"visible": False}, "deleted": {"value": []}}

    def go(self, address: str) -> "Tab":
        """Follow a link, or open the page there."""
        self.address = address
        return self.takes(self.handlers.went(self.visitor, self.browser, address))

    def do(self, handler: str, *picked: Record | str, **given: Any) -> "Tab":
        """Press what calls a handler, for these pictures where there are any."""
        if picked:
            given["picked"] = [each if isinstance(each, str) else each.id for each in picked]
        if handler in ("star", "delete", "undo", "restore", "empty"):
            given["address"] = self.address
        return self.takes(getattr(self.handlers, handler)(self.visitor, self.browser, **given))

    def takes(self, update: dict[str, Any]) -> "Tab":
        """An update arrives, and the browser's address follows it."""
        for part, value in update.items():
            changed = value if isinstance(value, dict) and "__type__" in value else {"value": value}
            self.values[part] = {**self.values.get(part, {}), **changed}
        if "address" in update:
            self.address = update["address"]
        return self

    def __getitem__(self, part: str) -> Any:
        return self.values[part].get("value", "")

    def sees(self, part: str) -> bool:
        return self.values[part].get("visible", True)

    @property
    def notice(self) -> str:
        return self["notice"] if self.sees("notice") else ""


@pytest.fixture
def tab(services: Services) -> Tab:
    return Tab(services)
