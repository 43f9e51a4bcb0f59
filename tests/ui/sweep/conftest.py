"""The Sweep tab driven as a browser drives it."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from krea_studio.runs.run import Run
from krea_studio.services import Services
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.sweep.asked import NOTHING, rows_with
from krea_studio.ui.sweep.handlers import SweepHandlers
from krea_studio.ui.visitors import Visitors
from tests.ui.create.driving import values

LIMIT_SECONDS = 60.0


class SweepPage:
    """One page: what it shows of a sweep, and what is pressed on it."""

    def __init__(self, services: Services, shared: bool = False, browser: str = "") -> None:
        visitors = Visitors(shared)
        self.services, self.browser = services, browser
        self.visitor = SimpleNamespace(username=None)
        self.handlers = SweepHandlers(services, visitors, CreateTab(services, visitors))
        self.run = self.cell = ""

    @property
    def shown(self) -> dict[str, Any]:
        return {"visitor": self.visitor, "browser": self.browser, "sweep_run": self.run}

    def boxes(self, **changed: Any) -> dict[str, Any]:
        """What stands in Create's controls, with a seed of its own, and in the boxes of the axes."""
        axes = {name: NOTHING for name in rows_with(())}
        own = {"seed": "3", "random_seed": False, "steps": "2", "sweep_kept": [], "sweep_allow": False}
        found = values(**{**axes, **own, **changed})
        return {name: value for name, value in found.items() if name != "browser"}

    def start(self, **changed: Any) -> dict[str, Any]:
        """Press Start."""
        return self.takes(self.handlers.begin(**self.shown, **self.boxes(**changed)))

    def press(self, name: str) -> dict[str, Any]:
        """Press Stop, Go on, or what asks for news."""
        return self.takes(getattr(self.handlers, name)(**self.shown, sweep_cell=self.cell))

    def takes(self, update: dict[str, Any]) -> dict[str, Any]:
        """An update arrives."""
        self.run, self.cell = update.get("sweep_run", self.run), update.get("sweep_cell", self.cell)
        return update

    def ended(self) -> Run:
        """The sweep that is shown, once it has ended."""
        runs = self.services.runs
        run = runs.watch(self.run)
        while not run.state.ended:
            before = run.version
            run = runs.watch(self.run, since=before, seconds=LIMIT_SECONDS)
            assert run.version > before, "nothing happens any more"
        return run


@pytest.fixture
def sweep(services: Services) -> SweepPage:
    return SweepPage(services)


def table(update: dict[str, Any]) -> str:
    """The words of a sweep's table."""
    return " ".join(re.sub("<[^>]*>", " ", update["sweep_stage"]["value"]).split())


def cells(update: dict[str, Any]) -> dict[str, str]:
    """The pictures in a table by what is told of their cells."""
    found = re.findall(r'data-picture="(\w+)"[^>]*aria-label="Open ([^"]*)"', update["sweep_stage"]["value"])
    return {told: picture for picture, told in found}
