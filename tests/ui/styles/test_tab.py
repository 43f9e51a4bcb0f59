"""Styles on the page: the places on the Create tab, and the tab Styles, driven as a page drives them.

What handlers return is kept and given to the next. The doctor is the engine's own, over files for the embedded
checkpoints.
"""

import inspect
import secrets
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from krea_studio.direction.speed import BY_NAME, Speed
from krea_studio.direction.styles import OFFICIAL, SHIPPED, StyleFacts
from krea_studio.errors import Unavailable
from krea_studio.library.styles.styles import Styles
from krea_studio.people import LOCAL
from krea_studio.recipe.request import GenerationRequest, StyleChoice, parse_request
from krea_studio.recipe.sigmas import sigmas_text, turbo_sigmas
from krea_studio.runs.run import Kind
from krea_studio.services import Services
from krea_studio.ui.create.panels.styles import (
    CARDS,
    CHOICE,
    NOTES,
    PLACES,
    SPEEDS,
    TRIGGERS,
    USUAL_WEIGHT,
    WEIGHTS,
    StylesPanel,
)
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.styles import tab as styles
from krea_studio.ui.styles.handlers import StyleHandlers
from krea_studio.ui.styles.list import ALL, FAVOURITES, OFFICIAL_KEY, TO_DOWNLOAD
from krea_studio.ui.styles.tab import build_styles_tab
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import shown_of, timer_of
from krea_studio.ui.wiring import Wiring
from tests.style_files import style_file
from tests.ui.create.driving import run, stages

HOSTILE = "<img src=x onerror=alert(1)>"
STRANGER, MEMBER = SimpleNamespace(username=None), SimpleNamespace(username="ana")
IMPORTED, TIMER = shown_of("imports"), timer_of("imports")
Wired = dict[str, tuple[set[str], set[str]]]


def kept(library: Styles, name: str, **facts: Any) -> str:
    """A style in the library, with weights of its own; returns its identity."""
    from safetensors.torch import save_file
    from torch import full

    with library.incoming() as weights:
        save_file({"transformer.a.lora_A.weight": full((1, 2), float(len(library.names())))}, weights)
        return library.keep(weights, name, StyleFacts(**{"trigger": f"{name} words", **facts})).identity


@pytest.fixture
def library_of_styles(services: Services) -> Styles:
    """Woodcut, which fits the page's Turbo, and Fresco, which is for another checkpoint and has no words."""
    found = services.library.styles
    kept(found, "Woodcut", made_for=("Mini turbo",), suggested_prompt="a ship, woodcut print")
    kept(found, "Fresco", made_for=("Krea 2 Turbo",), trigger="")
    return found


class Visitor:
    """One visitor's page: the values of the parts that styles have, and the events that their wiring knows."""

    def __init__(self, services: Services, wired: Wired, shared: bool = False, who: Any = STRANGER) -> None:
        self.tab = StyleHandlers(services, Visitors(shared))
        who = SimpleNamespace(username=who.username, session_hash=secrets.token_hex(4))
        self.services, self.choice = services, StylesPanel(services, Visitors(shared))
        self.wired, self.who = wired, who
        self.values: dict[str, Any] = {
            "chosen_styles": [], "variant": "turbo", "open_style": "", "search": "", "show": ALL,
            "add_style": None, "trigger": "", "suggested_prompt": "", "speed": "", "new_name": "",
            "browser": "", "shown_ids": [], "selected": 0, IMPORTED: [],
            **dict.fromkeys(WEIGHTS, USUAL_WEIGHT), **dict.fromkeys(TRIGGERS, True),
        }  # fmt: skip
        self.shown: dict[str, Any] = {}

    def do(self, name: str, *event: Any, **entered: Any) -> dict[str, Any]:
        """Enter values, fire an event of the tab Styles, and take in all that comes back."""
        self.values |= entered
        handler = getattr(self.tab, name)
        given = {part: self.values[part] for part in self.wired[name][0]}
        if "visitor" in inspect.signature(handler).parameters:
            given["visitor"] = self.who
        update = handler(*event, **given)
        assert set(update) <= self.wired[name][1], f"{name} writes to parts that its event does not name"
        self.take(update)
        return self.shown

    def wait(self) -> None:
        """Let the timer tick until it rests, each time after the imports have ended."""
        while self.shown.get(TIMER, {}).get("active"):
            for each in self.services.runs.of(kind=Kind.IMPORT):
                while not each.state.ended:
                    each = self.services.runs.watch(each.id, since=each.version, seconds=60)
            self.do("follow_imports")

    def take_in(self, name: str, **entered: Any) -> None:
        """Fire an event that begins an import, and see what comes of it."""
        self.do(name, **entered)
        self.wait()

    def add(self, name: str) -> dict[str, Any]:
        """Pick a style from the list on the Create tab."""
        self.values["add_style"] = name
        self.take(self.choice.add(**self.given("add_style")))
        return self.shown

    def given(self, *names: str) -> dict[str, Any]:
        """What the places' handlers are given, and further parts."""
        given = (*names, "chosen_styles", "variant", *WEIGHTS, *TRIGGERS)
        return {"visitor": self.who, **{name: self.values[name] for name in given}}

    def take(self, update: dict[str, Any]) -> None:
        for part, value in update.items():
            plain = value if isinstance(value, dict) and "__type__" in value else {"value": value}
            self.shown[part] = {**self.shown.get(part, {}), **plain}
            if "value" in plain:
                self.values[part] = plain["value"]

    def open(self, name: str) -> None:
        self.do("refreshed", search="", show=ALL)
        index = next(index for index, caption in enumerate(self.captions) if caption.startswith(name))
        _, caption = self.shown["cards"]["value"][index]
        self.do("chosen", SimpleNamespace(index=index, value={"caption": caption}))

    @property
    def captions(self) -> list[str]:
        return [caption.removeprefix("★ ") for _, caption in self.shown["cards"]["value"]]

    @property
    def names(self) -> list[str]:
        return [caption.split("\n")[0] for caption in self.captions]

    @property
    def notice(self) -> str:
        return self.shown.get("notice", {}).get("value") or ""

    @property
    def wished(self) -> list[dict[str, Any]]:
        """The styles as a request has them, without which weights they are."""
        asked = self.choice.fields(self.values)["styles"]
        assert all(self.services.library.styles.by_identity(each.pop("identity"), each["name"]) for each in asked)
        return asked


@pytest.fixture
def wired(services: Services, monkeypatch: pytest.MonkeyPatch) -> Wired:
    """By handler of the tab Styles: what its event reads and writes."""
    found: Wired = {}

    class Recording(Wiring):
        def on(self, event: Any, handler: Any, reads: Any, writes: Any, **options: Any) -> Any:
            found[handler.__name__] = set(reads), set(writes)
            return super().on(event, handler, reads, writes, **options)

    monkeypatch.setattr(styles, "Wiring", Recording)
    with gr.Blocks():
        parts: dict[str, Any] = {name: gr.State() for name in ("variant", "browser", "stage", "shown_ids", "selected")}
        StylesPanel(services, Visitors(shared=False)).build(parts)
        with gr.Tabs() as tabs:
            build_styles_tab(services, Visitors(shared=False), tabs, parts)
    return found


@pytest.fixture
def page(services: Services, wired: Wired, library_of_styles: Styles) -> Visitor:
    """A page on the two styles, which is not shared."""
    return Visitor(services, wired)


def test_styles_fill_the_places_with_weight_words_and_prompt(page: Visitor) -> None:
    page.add("Woodcut")
    page.add("Fresco")
    assert page.values["add_style"] is None
    assert [page.shown[card]["visible"] for card in CARDS[:3]] == [True, True, False]
    assert page.shown[TRIGGERS[0]]["label"] == "Woodcut words" and page.shown[TRIGGERS[0]]["visible"]
    assert not page.shown[TRIGGERS[1]]["visible"]
    assert page.wished == [
        {"name": "Woodcut", "weight": 1.0, "trigger": None},
        {"name": "Fresco", "weight": 1.0, "trigger": None},
    ]
    assert page.choice.try_prompt(0, page.who, page.values["chosen_styles"]) == {"prompt": "a ship, woodcut print"}


def test_a_style_of_few_steps_offers_them_and_sets_them_on_a_click_alone(
    page: Visitor, library_of_styles: Styles
) -> None:
    kept(library_of_styles, "Four", made_for=("Mini turbo",), speed=Speed(steps=4, told=BY_NAME))
    page.add("Woodcut")
    page.add("Four")
    assert [page.shown[button]["visible"] for button in SPEEDS[:3]] == [False, True, False]
    assert page.shown[SPEEDS[1]]["value"] == "Use its 4 steps"
    assert "Made for 4 steps without guidance (guessed from its name)." in page.shown[NOTES[1]]["value"]
    assert not {"steps", "guidance_scale", "sigmas"} & set(page.shown)
    used = page.choice.use_speed(1, page.who, page.values["chosen_styles"])
    assert (used["steps"], used["guidance_scale"], used["sigmas"]) == ("4", "0.0", sigmas_text(turbo_sigmas(4)))
    assert "4 steps without guidance are set" in used["stage"]["value"]
    assert "alert" in page.choice.use_speed(0, page.who, page.values["chosen_styles"])["stage"]["value"]


def test_few_steps_are_shown_and_changed(page: Visitor, library_of_styles: Styles) -> None:
    kept(library_of_styles, "Four", speed=Speed(steps=4, told=BY_NAME))
    page.open("Four")
    assert page.values["speed"] == "4" and "guessed from its name" in page.shown["report"]["value"]
    page.do("saved", trigger="four")
    assert library_of_styles.get("Four").speed == Speed(steps=4, told=BY_NAME)
    page.do("saved", speed="1, 0.5, 0")
    assert library_of_styles.get("Four").speed == Speed(steps=2, sigmas=(1.0, 0.5)) and page.values["speed"] == "1, 0.5"
    page.do("saved", speed="often")
    assert "alert" in page.notice and library_of_styles.get("Four").speed == Speed(steps=2, sigmas=(1.0, 0.5))


def test_a_chip_that_is_off_leaves_the_words_out(page: Visitor) -> None:
    page.add("Woodcut")
    page.values[TRIGGERS[0]] = False
    assert page.wished[0]["trigger"] == ""


def test_a_style_is_chosen_once(page: Visitor) -> None:
    page.add("Woodcut")
    page.add("Woodcut")
    assert "chosen already" in page.shown["stage"]["value"]
    assert len(page.values["chosen_styles"]) == 1 and page.values["add_style"] is None


def test_a_ninth_style_is_refused(page: Visitor, services: Services) -> None:
    for number in range(PLACES - 1):
        kept(services.library.styles, f"Style {number}")
    for name in services.library.styles.names():
        page.add(name)
    assert f"{PLACES} styles are chosen" in page.shown["stage"]["value"]
    assert len(page.values["chosen_styles"]) == PLACES


def test_a_removed_style_lets_the_others_move_up(page: Visitor) -> None:
    page.add("Woodcut")
    page.add("Fresco")
    page.values |= {WEIGHTS[0]: 30.0, WEIGHTS[1]: -70.0}
    page.take(page.choice.remove(0, **page.given()))
    assert page.wished == [{"name": "Fresco", "weight": -0.7, "trigger": None}]
    assert page.shown[CARDS[1]]["visible"] is False


def test_a_style_for_another_checkpoint_says_so_before_a_run(page: Visitor) -> None:
    page.add("Woodcut")
    page.add("Fresco")
    assert not page.shown[NOTES[0]]["visible"]
    assert "Made for Krea 2 Turbo, not for Mini turbo" in page.shown[NOTES[1]]["value"]
    page.take(page.choice.note(**{**page.given(), "variant": "medium"}))
    assert "not for Mini medium" in page.shown[NOTES[0]]["value"]


def test_words_of_a_style_that_is_turned_away_from_are_told_to_be_idle(page: Visitor) -> None:
    page.add("Woodcut")
    page.take(page.choice.note(**{**page.given(), WEIGHTS[0]: -50.0}))
    assert "above 0" in page.shown[NOTES[0]]["value"]


def test_a_style_that_is_deleted_meanwhile_stays_in_its_place_and_says_so(
    page: Visitor, library_of_styles: Styles
) -> None:
    page.add("Woodcut")
    library_of_styles.delete("Woodcut")
    page.take(page.choice.refresh(**page.given()))
    assert "Not in the library any more" in page.shown[NOTES[0]]["value"]
    assert page.choice.fields(page.values)["styles"][0]["name"] == "Woodcut"


def test_reading_the_styles_again_sets_no_weight_and_no_chip(page: Visitor) -> None:
    page.add("Woodcut")
    update = page.choice.refresh(**page.given())
    assert all("value" not in update[name] for name in (*WEIGHTS, *TRIGGERS))


def test_a_place_holds_the_weights_whatever_their_name_is_now(page: Visitor, library_of_styles: Styles) -> None:
    page.add("Woodcut")
    chosen = library_of_styles.get("Woodcut").identity
    library_of_styles.rename("Woodcut", "Linocut")
    library_of_styles.rename("Fresco", "Woodcut")
    page.take(page.choice.refresh(**page.given()))
    (asked,) = page.choice.fields(page.values)["styles"]
    assert (asked["name"], asked["identity"]) == ("Linocut", chosen)


def test_a_run_with_styles_is_drawn_and_named(services: Services, library_of_styles: Styles, page: Visitor) -> None:
    page.add("Woodcut")
    chosen = {name: page.values[name] for name in CHOICE} | {WEIGHTS[0]: 80.0}
    updates = run(CreateTab(services, Visitors(shared=False)), STRANGER, **chosen)
    (record,) = services.library.recent(1)
    assert record.recipe.prompt == "a fox"
    assert record.recipe.as_json()["styles"] == [
        {
            "name": "Woodcut",
            "weight": 0.8,
            "trigger": "Woodcut words",
            "identity": library_of_styles.get("Woodcut").identity,
        }
    ]
    gallery = [update["gallery"]["value"] for update in updates if "gallery" in update][-1]
    assert gallery[0][1].endswith("style Woodcut 80 %")


def test_a_run_with_a_style_that_is_gone_is_one_notice(services: Services, page: Visitor) -> None:
    page.add("Woodcut")
    services.library.styles.delete("Woodcut")
    chosen = {name: page.values[name] for name in CHOICE}
    notices = stages(run(CreateTab(services, Visitors(shared=False)), STRANGER, **chosen))
    assert len(notices) == 1 and "not in the library any more" in notices[0] and "Woodcut" in notices[0]


def recalled(page: Visitor, *choices: StyleChoice) -> str:
    request: GenerationRequest = parse_request({"prompt": "a fox", "styles": [each.model_dump() for each in choices]})
    update, told = page.choice.recall(request, LOCAL)
    page.take(update)
    return " ".join(told)


@pytest.mark.parametrize(("trigger", "sent"), [("Woodcut words", None), ("", ""), ("old words", "old words")])
def test_a_recipe_brings_its_styles_back_exactly(
    page: Visitor, library_of_styles: Styles, trigger: str, sent: str | None
) -> None:
    identity = library_of_styles.get("Woodcut").identity
    told = recalled(page, StyleChoice(name="Woodcut", weight=0.3333333333333333, trigger=trigger, identity=identity))
    assert told == ""
    assert page.wished == [{"name": "Woodcut", "weight": 0.3333333333333333, "trigger": sent}]
    assert page.shown[TRIGGERS[0]]["label"] == (trigger or "Woodcut words")


def test_a_recipe_s_styles_are_found_under_another_name_or_told_to_be_gone(
    page: Visitor, library_of_styles: Styles
) -> None:
    identity = library_of_styles.get("Woodcut").identity
    library_of_styles.rename("Woodcut", "Linocut")
    told = recalled(
        page,
        StyleChoice(name="Gone", identity="0" * 32, trigger=""),
        StyleChoice(name="Fresco", identity="1" * 32, trigger=""),
        StyleChoice(name="Woodcut", identity=identity, trigger="Woodcut words"),
    )
    assert [each["name"] for each in page.wished] == ["Linocut"]
    assert "«Gone» is not in the library any more" in told and "«Fresco» is another file here" in told
    assert "«Woodcut» is called «Linocut» here" in told


def test_cards_are_searched_and_filtered(page: Visitor, library_of_styles: Styles) -> None:
    page.do("refreshed")
    assert page.names[:2] == ["Fresco", "Woodcut"] and len(page.names) == 2 + len(OFFICIAL)
    assert page.values["open_style"] == library_of_styles.get("Fresco").identity
    page.do("looked_for", search="woodcut WORDS")
    assert page.names == ["Woodcut"]
    page.do("looked_for", search="", show="fits-turbo")
    assert page.names == ["Woodcut"]
    page.do("looked_for", search="retro", show=TO_DOWNLOAD)
    assert page.names == ["Retro anime"]
    page.do("looked_for", search="nothing like it", show=ALL)
    assert page.shown["cards"]["visible"] is False and page.shown["nothing"]["visible"] is True


def test_a_favourite_has_a_star_and_a_filter_of_its_own(page: Visitor) -> None:
    page.open("Woodcut")
    page.do("favourite_switched")
    assert [caption for _, caption in page.shown["cards"]["value"]][1].startswith("★ Woodcut")
    page.do("looked_for", show=FAVOURITES)
    assert page.names == ["Woodcut"]
    page.do("favourite_switched", show=ALL)
    assert "★" not in str(page.shown["cards"]["value"])


def test_words_and_prompt_are_edited(page: Visitor, library_of_styles: Styles) -> None:
    page.open("Woodcut")
    assert page.values["trigger"] == "Woodcut words"
    page.do("saved", trigger="carved lines", suggested_prompt="a boat")
    card = library_of_styles.get("Woodcut")
    assert (card.trigger, card.suggested_prompt) == ("carved lines", "a boat")
    page.do("saved", trigger="x" * 300)
    assert "alert" in page.notice and library_of_styles.get("Woodcut").trigger == "carved lines"


def test_refreshing_keeps_what_is_being_written(page: Visitor) -> None:
    page.open("Woodcut")
    page.do("refreshed", trigger="half a wo")
    assert page.values["trigger"] == "half a wo"


def test_a_style_is_renamed_on_both_tabs(page: Visitor, library_of_styles: Styles) -> None:
    page.add("Woodcut")
    page.open("Woodcut")
    page.do("renamed", new_name="Linocut")
    assert library_of_styles.names() == ["Fresco", "Linocut"]
    assert page.wished[0]["name"] == "Linocut" and "Linocut" in page.shown[WEIGHTS[0]]["label"]
    page.do("renamed", new_name="fresco")
    assert "There is a style" in page.notice and library_of_styles.names() == ["Fresco", "Linocut"]


def test_a_style_is_deleted_after_a_question(page: Visitor, library_of_styles: Styles) -> None:
    page.open("Woodcut")
    page.do("ask_delete")
    assert page.shown["confirm"]["visible"] and "Woodcut" in page.shown["confirm_text"]["value"]
    page.do("deleted")
    assert library_of_styles.names() == ["Fresco"] and page.shown["add_style"]["choices"] == ["Fresco"]
    assert page.shown["confirm"]["visible"] is False


def test_a_style_that_ships_cannot_be_deleted(
    services: Services, wired: Wired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file
    from torch import ones

    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save_file({"a.lora_A.weight": ones(1, 2)}, shipped / "glass.safetensors", {"name": "Glass", "trigger": "glass"})
    monkeypatch.setattr(services.library, "styles", Styles(services.library.styles.folder, shipped))
    page = Visitor(services, wired)
    page.open("Glass")
    assert SHIPPED in page.captions[0] and page.shown["delete"]["visible"] is False
    page.do("deleted")
    assert "ships with the studio" in page.notice and services.library.styles.names() == ["Glass"]


def test_covers_come_from_a_file_and_from_the_result(
    page: Visitor, services: Services, library_of_styles: Styles, tmp_path: Path
) -> None:
    page.open("Woodcut")
    page.do("cover_from_result")
    assert "no result" in page.notice
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "teal.png")
    page.do("cover_uploaded", cover_file=str(tmp_path / "teal.png"))
    assert Path(page.shown["cover"]["value"]).is_file() and page.shown["cover"]["visible"]
    run(CreateTab(services, Visitors(shared=False)), STRANGER)
    (record,) = services.library.recent(1)
    page.do("cover_from_result", shown_ids=[record.id])
    card = library_of_styles.by_identity(page.values["open_style"])
    assert library_of_styles.cover(card).stat().st_size > 0 and not page.notice


def test_use_fills_a_place_and_goes_to_create(page: Visitor) -> None:
    page.open("Woodcut")
    page.do("used")
    assert page.wished[0]["name"] == "Woodcut" and page.shown["tabs"]["selected"] == "create"
    assert "prompt" not in page.shown
    page.do("used")
    assert "chosen already" in page.shown["stage"]["value"]


def test_an_imported_file_shows_its_report_and_is_listed(
    page: Visitor, library_of_styles: Styles, tmp_path: Path
) -> None:
    file = style_file(tmp_path / "etching.safetensors", name="Etching", trigger="etched lines")
    page.do("imported", dropped=str(file))
    assert "Examining etching.safetensors …" in page.notice and page.values["dropped"] is None
    page.wait()
    card = library_of_styles.get("Etching")
    assert page.values["open_style"] == card.identity and page.values["trigger"] == "etched lines"
    assert "0 unmatched" in page.shown["report"]["value"] and "«Etching» is in the library" in page.notice
    assert "Etching" in page.names and "Etching" in page.shown["add_style"]["choices"]
    page.take_in("imported", dropped=str(style_file(tmp_path / "again.safetensors", name="Other")))
    assert "in the library already" in page.notice and "Other" not in library_of_styles.names()


@pytest.mark.parametrize("content", [b"", b"no tensors", b"PK\x03\x04 a pickle in a zip"])
def test_a_refused_file_shows_why_and_leaves_the_library_as_it_was(
    page: Visitor, library_of_styles: Styles, tmp_path: Path, content: bytes
) -> None:
    before = library_of_styles.names()
    file = tmp_path / f"{HOSTILE.replace('/', '')}.safetensors"
    file.write_bytes(content)
    page.take_in("imported", dropped=str(file))
    assert "alert" in page.notice and library_of_styles.names() == before
    assert HOSTILE not in page.notice + page.shown["refusal"]["value"]


def test_a_stranger_s_words_are_shown_as_text(services: Services, wired: Wired) -> None:
    kept(
        services.library.styles,
        HOSTILE,
        trigger=HOSTILE,
        format=HOSTILE,
        stated_base=HOSTILE,
        notes=[HOSTILE],
    )
    page = Visitor(services, wired)
    page.open(HOSTILE)
    page.add(HOSTILE)
    page.do("ask_delete")
    drawn = ("heading", "report", "confirm_text", "notice", NOTES[0])
    assert all(HOSTILE not in str(page.shown.get(part, "")) for part in drawn)
    assert "&lt;img" in page.shown["report"]["value"]


def held(intake: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let a method of the intake begin only once this is set."""
    released, work = threading.Event(), getattr(intake, method)
    monkeypatch.setattr(intake, method, lambda *given: work(*given) if released.wait(60) else None)
    return released


def test_krea_s_own_styles_are_listed_and_say_when_they_cannot_be_had(
    page: Visitor, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    installing, asking = (held(services.intake, name, monkeypatch) for name in ("install", "import_from_hub"))
    page.open("Retro anime")
    assert page.values["open_style"] == OFFICIAL_KEY + "retroanime"
    assert "Purple retro anime style" in page.shown["report"]["value"]
    assert page.shown["download"]["visible"] and not page.shown["use"]["visible"]
    page.do("downloaded")
    assert (page.shown["download"]["value"], page.shown["download"]["interactive"]) == ("Downloading…", False)
    installing.set()
    page.wait()
    assert "alert" in page.notice
    assert (page.shown["download"]["value"], page.shown["download"]["interactive"]) == ("Download", True)
    page.do("fetched", repository="someone/some-style")
    assert (page.shown["fetch"]["value"], page.shown["fetch"]["interactive"]) == ("Adding…", False)
    assert "Asking the Hub …" in page.notice
    asking.set()
    page.wait()
    assert "alert" in page.notice and page.values["repository"] == "someone/some-style"
    assert (page.shown["fetch"]["value"], page.shown["fetch"]["interactive"]) == ("Add", True)


def test_a_style_of_the_hub_is_opened_and_its_box_is_empty_again(
    page: Visitor, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = style_file(tmp_path / "etching.safetensors", name="Etching")
    monkeypatch.setattr(services.intake, "import_from_hub", lambda text: services.intake.import_file(file))
    page.take_in("fetched", repository="someone/etching")
    assert "«Etching» is in the library" in page.notice and page.values["repository"] == ""
    assert page.shown["heading"]["value"].count("Etching")


def test_a_download_goes_on_without_its_page_and_is_shown_by_the_next(
    page: Visitor, services: Services, wired: Wired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = style_file(tmp_path / "retroanime.safetensors")
    monkeypatch.setattr(services.intake, "install", lambda name: services.intake.import_file(file, name))
    released = held(services.intake, "install", monkeypatch)
    page.open("Retro anime")
    page.do("downloaded")
    page.do("imported", dropped=str(style_file(tmp_path / "etching.safetensors", 3, name="Etching")))
    again = Visitor(services, wired)
    again.tab = page.tab
    again.do("refreshed")
    assert again.shown["download"]["value"] == "Downloading…"
    assert "Adding" in again.notice
    released.set()
    for each in (again, page):
        each.wait()
        assert each.shown["download"]["value"] == "Download"
        assert {"retroanime", "Etching"} <= set(each.names)


def test_a_download_that_is_done_leaves_the_button_ready_for_the_next(
    page: Visitor, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = style_file(tmp_path / "retroanime.safetensors")
    monkeypatch.setattr(services.intake, "install", lambda name: services.intake.import_file(file, name))
    page.open("Retro anime")
    page.take_in("downloaded")
    assert "«retroanime» is in the library" in page.notice
    button = page.shown["download"]
    assert (button["visible"], button["value"], button["interactive"]) == (False, "Download", True)
    page.open("Vintage tarot")
    assert page.shown["download"]["visible"] and page.shown["download"]["value"] == "Download"


def test_a_dropped_file_does_not_stay_among_the_uploads(services: Services, wired: Wired) -> None:
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True)
    for shared in (False, True):
        page = Visitor(services, wired, shared=shared)
        file = style_file(uploads / "etching.safetensors", name="Etching")
        page.take_in("imported", dropped=str(file))
        assert not file.exists() and page.values["dropped"] is None


CHANGES = {
    "favourite_switched": {}, "saved": {"trigger": "mine"}, "renamed": {"new_name": "Mine"}, "deleted": {},
    "ask_delete": {}, "cover_uploaded": {"cover_file": "teal.png"}, "cover_from_result": {},
    "fetched": {"repository": "someone/some-style"}, "downloaded": {},
}  # fmt: skip


def test_strangers_on_a_shared_page_use_styles_and_change_none(
    services: Services, wired: Wired, library_of_styles: Styles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*args: Any, **options: Any) -> None:
        raise AssertionError("the network was asked for somebody who may not")

    monkeypatch.setattr(services.intake, "_hub", SimpleNamespace(find=reached, download=reached))
    page = Visitor(services, wired, shared=True)
    page.open("Woodcut")
    before = [path.read_bytes() for path in sorted(library_of_styles.folder.glob("*.json"))]
    hidden = ("adding", "manage", "favourite", "save", "delete", "download")
    assert not any(page.shown[part]["visible"] for part in hidden) and page.shown["shared_note"]["visible"]
    assert page.shown["trigger"]["interactive"] is False
    for name, entered in CHANGES.items():
        page.do(name, **entered)
        assert "signed in" in page.notice, name
    page.do("imported", dropped=str(style_file(tmp_path / "mine.safetensors", name="Mine")))
    assert "signed in" in page.notice
    assert before == [path.read_bytes() for path in sorted(library_of_styles.folder.glob("*.json"))]
    page.do("used")
    assert page.choice.fields(page.values)["styles"][0]["name"] == "Woodcut"


def test_who_is_signed_in_changes_styles_of_a_shared_page(
    services: Services, wired: Wired, library_of_styles: Styles
) -> None:
    page = Visitor(services, wired, shared=True, who=MEMBER)
    page.open("Woodcut")
    assert page.shown["adding"]["visible"] and page.shown["manage"]["visible"]
    page.do("renamed", new_name="Linocut")
    assert library_of_styles.names() == ["Fresco", "Linocut"]


def test_the_settings_folder_joins_the_library(
    services: Services, wired: Wired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Visitor(services, wired)
    page.do("refreshed")
    services.settings.styles.mkdir(parents=True)
    style_file(services.settings.styles / "etching.safetensors", name="Etching")
    (services.settings.styles / "broken.safetensors").write_bytes(b"nothing")
    page.do("folder_taken_in")
    assert "Etching" in page.names and "broken.safetensors" in page.shown["refusal"]["value"]
    (services.settings.styles / "broken.safetensors").unlink()
    style_file(services.settings.styles / "etching.safetensors", seed=8, name="Etching")
    page.do("folder_taken_in")
    assert "has changed: «Etching»" in page.notice and page.names.count("Etching") == 1
    (services.settings.styles / "broken.safetensors").write_bytes(b"nothing")
    stranger = Visitor(services, wired, shared=True)
    stranger.do("folder_taken_in")
    assert "refusal" not in stranger.shown and not stranger.notice


def test_a_defect_is_said_to_be_one(page: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    page.open("Woodcut")
    monkeypatch.setattr(page.tab, "_styles", lambda visitor: int("no number"))
    page.do("favourite_switched")
    assert "The studio itself failed" in page.notice


def test_a_library_that_cannot_be_read_is_a_notice_and_an_empty_list(
    page: Visitor, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(styles: Styles) -> None:
        raise Unavailable("The disk is gone — put it back")

    monkeypatch.setattr(Styles, "cards", unreadable)
    page.do("refreshed")
    assert "The disk is gone" in page.notice
    assert page.choice.names(LOCAL) == []
