"""What the tests of the tab History share: one driven as a browser drives it, and pictures to find."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar

import gradio as gr
import pytest

from krea_studio.library.pictures.metadata import png_bytes
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.create.tab import CreateTab, build_create_tab
from krea_studio.ui.history import tab as tab_module
from krea_studio.ui.history.handlers import HistoryHandlers
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Wiring
from tests.doubles import picture
from tests.ui.conftest import PageEngine

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def made(library: Library, number: int, owner: str = "local", **wishes: Any) -> Record:
    """A picture that was made `number` days after the 20th of November, at noon."""
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512", **wishes}), int(number) + 1).shots[0]
    recipe, image = shot.recipe("mini-turbo"), picture(shot)
    at = NOON + timedelta(days=number)
    picture_id = f"{int(number * 1000):016x}"
    return library.take_in(recipe, png_bytes(image, recipe), image, at, Person(owner), picture_id)


@pytest.fixture(scope="session", autouse=True)
def wired(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What each handler's event may write, as the tab is wired."""

    class Recording(Wiring):
        def on(self, event: Any, handler: Any, reads: Any, writes: Any, **options: Any) -> Any:
            Tab.wired[handler.__name__] = set(writes)
            return super().on(event, handler, reads, writes, **options)

    library = Library(tmp_path_factory.mktemp("wired"))
    services = services_over(Settings(library=library.folder), library, engine := PageEngine(), engine)
    with pytest.MonkeyPatch.context() as patch, gr.Blocks():
        patch.setattr(tab_module, "Wiring", Recording)
        visitors, address = Visitors(shared=False), tab_module.build_address()
        with gr.Tabs() as tabs:
            with gr.Tab("Create"):
                create = build_create_tab(services, visitors, tabs)
            tab_module.build_history_tab(services, visitors, create, address)
    services.runs.close()
    library.close()


class Tab:
    """The tab at one address, for one visitor: what it shows after each event."""

    wired: ClassVar[dict[str, set[str]]] = {}

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
        return self.takes(self.handlers.went(self.visitor, self.browser, address), "went")

    def do(self, handler: str, *picked: Record | str, **given: Any) -> "Tab":
        """Press what calls a handler, for these pictures where there are any."""
        if picked:
            given["picked"] = [each if isinstance(each, str) else each.id for each in picked]
        if handler in ("star", "delete", "undo", "restore", "empty"):
            given["address"] = self.address
        return self.takes(getattr(self.handlers, handler)(self.visitor, self.browser, **given), handler)

    def takes(self, update: dict[str, Any], handler: str) -> "Tab":
        """An update of a handler's arrives, and the browser's address follows it."""
        assert set(update) <= self.wired[handler], f"{handler} writes to parts that its event does not name"
        for part, value in update.items():
            changed = value if isinstance(value, dict) and "__type__" in value else {"value": value}
            self.values[part] = {**self.values.get(part, {}), **changed}
        if update.get("address"):
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
