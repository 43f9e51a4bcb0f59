"""The Create tab driven as a browser drives it: what its controls hold, and a page that begins and watches runs."""

import re
from types import SimpleNamespace
from typing import Any

from PIL import Image

from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import SLIDERS, default, parse_request
from krea_studio.services import Services
from krea_studio.ui.create.panels import references, styles
from krea_studio.ui.create.panels.references import STRENGTHS
from krea_studio.ui.create.panels.sliders import LOCKS
from krea_studio.ui.create.panels.styles import TRIGGERS, WEIGHTS
from krea_studio.ui.create.runs import NOTHING_DRAWN, Watched
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.presenter import news_of
from tests.doubles import picture

BROWSER = "0123456789abcdef" * 2

ME = SimpleNamespace(username=None)


def values(**changed: Any) -> dict[str, Any]:
    """What the page's controls hold when it is opened, at raw and in draft size, with changes."""
    plain = ("negative_prompt", "variant", "aspect_ratio", "creativity", *SLIDERS, "random_mode", "spread", "batch")
    return {
        **{name: default(name) for name in plain},
        **dict.fromkeys(("seed", "steps", "guidance_scale", "sigmas", "exploration_seed"), ""),
        **dict.fromkeys(LOCKS, False),
        **{"references": [], **dict.fromkeys(STRENGTHS, references.USUAL_STRENGTH)},
        **{"moodboard": "", "moodboard_strength": 35, "moodboard_content": None},
        **{"chosen_styles": [], **dict.fromkeys(WEIGHTS, styles.USUAL_WEIGHT), **dict.fromkeys(TRIGGERS, True)},
        **{"expanded_prompt": "", "expansion": None},
        **{"prompt": "a fox", "resolution": "512", "random_seed": True, "browser": "", "greyed": []},
        **changed,
    }


def of_controls(update: dict[str, Any]) -> dict[str, Any]:
    """What an update writes into the controls of a run."""
    return {name: value for name, value in update.items() if name in values()}


class Tab:
    """One tab of the page: what Gradio keeps of it, what it shows, and what its browser asks for."""

    def __init__(self, create: CreateTab, visitor: SimpleNamespace, browser: str = "") -> None:
        self.create, self.visitor, self.browser = create, visitor, browser
        self.watched, self.drawn, self.stage = Watched(), NOTHING_DRAWN, ""
        self.updates: list[dict[str, Any]] = []

    def generate(self, **changed: Any) -> dict[str, Any]:
        """Press Generate."""
        controls = values(**{"browser": self.browser, **changed})
        return self.takes(self.create.runs.begin(self.visitor, watched=self.watched, **controls))

    def open(self) -> dict[str, Any]:
        """Load the page."""
        return self.takes(self.create.runs.open(self.visitor, self.browser, self.watched, self.drawn))

    def news(self) -> dict[str, Any]:
        """What the page is told when it asks for news."""
        return self.create.runs.news(self.visitor, self.browser, "turbo", self.watched, self.drawn)

    def look(self, seconds: float = 0.0) -> dict[str, Any]:
        """Ask how the run on the stage stands, and for news where there are any."""
        named = re.search(r'data-run="(\w+)" data-version="(\d+)" data-news="(\w+)"', self.stage)
        if not named:
            return {}
        runs = self.create.services.runs
        run = runs.watch(named[1], LOCAL, int(named[2]), seconds)
        return self.takes(self.news()) if news_of(run, runs) != named[3] else {}

    def takes(self, update: dict[str, Any]) -> dict[str, Any]:
        """An update arrives."""
        self.drawn = update.get("drawn", self.drawn)
        if "stage" in update:
            self.stage = update["stage"]["value"]
        self.updates.append(update)
        return update

    def look_until_rest(self) -> None:
        while "data-run" in self.stage:
            self.look(0.2)


def run(create: CreateTab, visitor: SimpleNamespace, **changed: Any) -> list[dict[str, Any]]:
    """Press Generate and look until nothing is watched any more."""
    tab = Tab(create, visitor, changed.pop("browser", ""))
    tab.generate(**changed)
    tab.look_until_rest()
    return tab.updates


def stages(updates: list[dict[str, Any]]) -> list[str]:
    return [update["stage"]["value"] for update in updates if "value" in update.get("stage", {})]


def kept(library: Library, owner: str = "local", **wishes: Any) -> Any:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512", **wishes}), wishes.get("seed", 7)).shots[0]
    return library.save(shot.recipe("mini-turbo"), picture(shot), 1.0, Person(owner))


def taken_over(controls: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """The controls of a run after an update of the page."""
    plain = {
        name: value["value"] if isinstance(value, dict) and "__type__" in value else value
        for name, value in of_controls(update).items()
        if not (isinstance(value, dict) and "value" not in value)
    }
    return {**controls, **plain}


def look_of(library: Library, colour: str) -> str:
    return library.references.add_picture(Image.new("RGB", (64, 64), colour))


def board(services: Services, name: str, *images: str) -> None:
    services.library.moodboards.create(name)
    services.library.moodboards.add_references(name, images)
