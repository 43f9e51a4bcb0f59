"""What the tab Moodboards does, driven as a page drives it: what handlers return is kept and given to the next."""

import functools
import inspect
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from krea_studio.direction.moodboards import MEASURED, Analysis, Cluster, Moodboard, Swatch
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.store import Library
from krea_studio.runs.run import Kind
from krea_studio.services import Services
from krea_studio.ui.create.panels.moodboard import choices_of
from krea_studio.ui.fragments import DEFECT
from krea_studio.ui.moodboards import fragments as moodboard_fragments
from krea_studio.ui.moodboards import tab as moodboards
from krea_studio.ui.moodboards.handlers import STOPPED, MoodboardHandlers
from krea_studio.ui.moodboards.tab import build_moodboards_tab
from krea_studio.ui.moodboards.words import WORDS, agrees, edited, read, texts_of
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.watching import shown_of, timer_of
from krea_studio.ui.wiring import Wiring
from tests.ui.conftest import PageEngine

COLOURS = ["#102040", "#c07038", "#f0e6d8", "#305038"]
HOSTILE = "<img src=x onerror=alert(1)>"


WATCHES = {"analyses": Kind.ANALYZE, "imports": Kind.IMPORT}


class Tab:
    """One visitor's tab: the values of its parts, and the events that its wiring knows."""

    def __init__(self, services: Services, wired: dict[str, tuple[set[str], set[str]]], shared: bool = False) -> None:
        self.handlers = MoodboardHandlers(services, Visitors(shared))
        self.wired = wired
        self.values: dict[str, Any] = dict.fromkeys({name for reads, _ in wired.values() for name in reads}, "")
        self.values |= {"kept_words": None, "looks": [], "image_ids": [], "look_ids": []}
        self.values |= {shown_of(name): [] for name in WATCHES}
        self.shown: dict[str, Any] = {}
        self.visitor = SimpleNamespace(username=None, session_hash=secrets.token_hex(4))
        self.services = services

    def do(self, name: str, *event: Any, **entered: Any) -> dict[str, Any]:
        """Enter values, fire an event, take in what comes back."""
        self.values |= entered
        self.take(name, self.update(name, *event))
        return self.shown

    def update(self, name: str, *event: Any) -> dict[str, Any]:
        handler = getattr(self.handlers, name)
        given = {part: self.values[part] for part in self.wired[name][0]}
        if "visitor" in inspect.signature(handler).parameters:
            given["visitor"] = self.visitor
        return handler(*event, **given)

    def take(self, name: str, update: dict[str, Any]) -> None:
        assert update, "Gradio refuses an answer without any part"
        assert set(update) <= self.wired[name][1], f"{name} writes to parts that its event does not name"
        for part, value in update.items():
            plain = value if isinstance(value, dict) and "__type__" in value else {"value": value}
            self.shown[part] = {**self.shown.get(part, {}), **plain}
            if "value" in plain:
                self.values[part] = plain["value"]

    def ticks(self, watch: str) -> bool:
        return self.shown.get(timer_of(watch), {}).get("active", False)

    def wait(self, watch: str) -> None:
        """Let the timer tick until it rests, each time after what goes on has ended."""
        while self.ticks(watch):
            for run in self.services.runs.of(kind=WATCHES[watch]):
                while not run.state.ended:
                    run = self.services.runs.watch(run.id, since=run.version, seconds=60)
            self.do(f"follow_{watch}")

    def analyze(self) -> None:
        self.do("analyze")
        self.wait("analyses")

    def add(self, pictures: list[str]) -> None:
        self.do("add", dropped=pictures)
        self.wait("imports")

    @property
    def notice(self) -> str:
        return self.shown.get("notice", {}).get("value") or ""

    @property
    def names(self) -> list[str]:
        return self.shown["boards"]["choices"]

    def words(self) -> dict[str, str]:
        return {field: self.values[field] for field in WORDS}


@pytest.fixture
def wired(services: Services, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[set[str], set[str]]]:
    """By handler: what its event reads and writes."""
    found: dict[str, tuple[set[str], set[str]]] = {}

    class Recording(Wiring):
        def on(self, event: Any, handler: Any, reads: Any, writes: Any, **options: Any) -> Any:
            found[handler.__name__] = set(reads), set(writes)
            return super().on(event, handler, reads, writes, **options)

    monkeypatch.setattr(moodboards, "Wiring", Recording)
    with gr.Blocks(), gr.Tabs() as tabs:
        with gr.Tab("Create"):
            chosen = gr.Dropdown(choices_of([]), value="")
        build_moodboards_tab(services, Visitors(shared=False), tabs, chosen, gr.State())
    return found


@pytest.fixture
def tab(services: Services, wired: dict[str, tuple[set[str], set[str]]]) -> Tab:
    """The tab as somebody finds it who opens the page."""
    for name in services.library.moodboards.names():
        services.library.moodboards.delete(name)
    tab = Tab(services, wired)
    tab.do("refreshed")
    return tab


@pytest.fixture
def other(services: Services, wired: dict[str, tuple[set[str], set[str]]], tab: Tab) -> Tab:
    """The same page, opened a second time."""
    other = Tab(services, wired)
    other.handlers = tab.handlers
    return other


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Files of pictures that all differ, in two looks."""
    files = []
    for number, colour in enumerate(COLOURS):
        file = tmp_path / f"{number}.png"
        picture = Image.new("RGB", (96, 96), colour)
        picture.paste((number, 40, 90), (0, 0, 30 + number, 40))
        picture.save(file)
        files.append(str(file))
    return files


@pytest.fixture
def board(tab: Tab, pictures: list[str]) -> Tab:
    """The tab with an analyzed board in it, called Dusk."""
    tab.do("create", board_name="Dusk")
    tab.add(pictures)
    tab.analyze()
    return tab


def test_without_boards_the_tab_says_how_to_begin(tab: Tab) -> None:
    assert tab.shown["no_board"]["visible"] is True
    assert tab.shown["view"]["visible"] is False
    assert all(tab.shown[button]["interactive"] is False for button in ("rename", "delete", "export", "use"))


def test_a_new_board_is_open_and_empty(tab: Tab) -> None:
    tab.do("create", board_name="  Dusk  ")
    assert tab.values["open_board"] == tab.values["boards"] == "Dusk"
    assert tab.values["board_name"] == ""
    assert "No pictures yet" in tab.values["facts"]
    assert tab.shown["analyze"]["interactive"] is False
    assert tab.shown["chosen"]["choices"] == [("None", ""), ("Dusk", "Dusk")]


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "dusk"])
def test_a_bad_name_is_one_notice_and_stays_in_its_box(tab: Tab, name: str) -> None:
    tab.do("create", board_name="Dusk")
    tab.do("create", board_name=name)
    assert tab.notice.count('role="alert"') == 1
    assert tab.values["board_name"] == name
    assert tab.names == ["Dusk"]
    tab.do("rename", board_name="Dawn")
    assert tab.notice == ""


def test_the_first_board_is_opened_when_none_is(board: Tab, other: Tab) -> None:
    board.do("create", board_name="Zebra")
    other.do("refreshed")
    assert other.values["open_board"] == "Dusk"
    assert other.words() == texts_of(board.handlers._boards(board.visitor).get("Dusk").analysis)


def test_pictures_are_shown_by_path_and_the_drop_zone_is_empty_again(
    tab: Tab, pictures: list[str], library: Library
) -> None:
    tab.do("create", board_name="Dusk")
    tab.do("add", dropped=[*pictures, pictures[0]])
    assert tab.values["dropped"] is None
    assert "Adding 5 pictures …" in tab.notice
    tab.wait("imports")
    assert "4 pictures added. 1 picture on the board already." in tab.notice
    assert [Path(path) for path, _ in tab.values["pictures"]] == [
        library.references.path(image) for image in tab.values["image_ids"]
    ]
    assert "Not analyzed yet" in tab.values["facts"]


def test_what_of_a_picture_is_not_used_is_told_when_it_is_added(tab: Tab, tmp_path: Path) -> None:
    Image.new("RGB", (900, 100), "teal").save(tmp_path / "view.png")
    (tmp_path / "._view.png").write_bytes(b"Mac OS X")
    tab.do("create", board_name="Dusk")
    tab.add([str(tmp_path / "view.png"), str(tmp_path / "._view.png")])
    assert "1 picture added. Of" in tab.notice and "view.png" in tab.notice


def test_one_bad_file_adds_nothing(tab: Tab, pictures: list[str], tmp_path: Path) -> None:
    stranger = tmp_path / f"{HOSTILE[:4]}.png"
    stranger.write_text("no picture")
    tab.do("create", board_name="Dusk")
    tab.add([*pictures, str(stranger)])
    assert "is not a PNG, JPEG, WebP, AVIF or HEIC picture" in tab.notice
    assert HOSTILE[:4] not in tab.notice
    tab.do("refreshed")
    assert tab.values["image_ids"] == []
    assert tab.values["dropped"] is None


def test_the_picture_that_was_clicked_is_removed(board: Tab) -> None:
    ids = list(board.values["image_ids"])
    board.do("picture_chosen", SimpleNamespace(index=2))
    assert board.shown["remove"]["interactive"] is True
    board.do("remove")
    assert board.values["image_ids"] == [*ids[:2], ids[3]]
    assert board.shown["remove"]["interactive"] is False
    assert "1 picture was added or removed since it was analyzed" in board.values["facts"]
    assert board.shown["analyze"]["value"] == "Analyze again"


@pytest.mark.parametrize("index", [-1, 4, 400])
def test_a_picture_that_is_none_cannot_be_removed(board: Tab, index: int) -> None:
    board.do("picture_chosen", SimpleNamespace(index=index))
    assert board.shown["remove"]["interactive"] is False
    board.do("remove")
    assert 'role="alert"' in board.notice


def test_a_picture_whose_file_is_gone_can_still_be_removed(board: Tab, library: Library) -> None:
    lost = board.values["image_ids"][1]
    library.references.path(lost).unlink()
    board.do("refreshed")
    assert isinstance(board.values["pictures"][1][0], Image.Image)
    board.do("picture_chosen", SimpleNamespace(index=1))
    board.do("remove")
    assert lost not in board.values["image_ids"]


def test_an_analysis_fills_the_columns(board: Tab) -> None:
    analysis = board.handlers._boards(board.visitor).get("Dusk").analysis
    assert board.words() == texts_of(analysis)
    assert all(board.shown[field]["interactive"] is True for field in WORDS)
    assert board.shown["found"]["visible"] is True
    assert "Measured from the pictures" in board.values["facts"]
    assert analysis.palette[0].colour in board.values["palette"]
    assert len(board.values["look_pictures"]) == len(board.shown["looks"]["choices"]) == len(analysis.clusters)
    assert board.values["looks"] == [str(place) for place in range(len(analysis.clusters))]
    assert (board.shown["analyze"]["visible"], board.shown["stop"]["visible"]) == (True, False)


class Held:
    """An analysis that goes on until it is released, or stopped; `given_up` is then how."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        self.given_up: list[str] = []
        self.analyze = services.studio.analyze
        monkeypatch.setattr(services.studio, "analyze", self)

    def __call__(self, name: str, report: Any, check: Any, person: Any) -> Moodboard:
        report(0.4)
        self.begun.set()
        while not self.released.wait(0.01):
            try:
                check()
            except Exception as error:
                self.given_up.append(type(error).__name__)
                raise
        return self.analyze(name, report, check, person)


@pytest.fixture
def held(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(services, monkeypatch)
    yield held
    held.released.set()
    for run in services.runs.of(kind=Kind.ANALYZE):
        while not run.state.ended:
            run = services.runs.watch(run.id, since=run.version, seconds=60)


@pytest.fixture
def analyzing(tab: Tab, pictures: list[str], held: Held) -> Tab:
    """The tab with a board Dusk that is being analyzed."""
    tab.do("create", board_name="Dusk")
    tab.add(pictures)
    tab.do("ask_delete")
    tab.do("analyze")
    assert held.begun.wait(60)
    return tab


def test_words_cannot_be_typed_while_they_are_found(analyzing: Tab, held: Held) -> None:
    assert all(analyzing.shown[part]["interactive"] is False for part in (*WORDS, "looks"))
    assert analyzing.shown["stop"]["visible"] is True
    assert analyzing.shown["analyze"]["visible"] is False
    analyzing.do("follow_analyses")
    assert 'aria-valuenow="40"' in analyzing.values["progress"]
    assert analyzing.ticks("analyses")
    held.released.set()
    analyzing.wait("analyses")
    assert all(analyzing.shown[part]["interactive"] is True for part in (*WORDS, "looks"))
    assert analyzing.shown["progress"]["visible"] is False


def test_a_board_is_neither_renamed_nor_deleted_while_it_is_analyzed(analyzing: Tab, held: Held, other: Tab) -> None:
    tab = analyzing
    assert [tab.shown[button]["interactive"] for button in ("rename", "delete")] == [False, False]
    assert tab.shown["confirm"]["visible"] is False
    for page in (tab, other):
        for event in ("rename", "delete"):
            page.do(event, open_board="Dusk", board_name="Dawn")
            assert "«Dusk» is being analyzed" in page.notice
    assert tab.handlers._boards(tab.visitor).names() == ["Dusk"]
    held.released.set()
    tab.wait("analyses")
    assert tab.handlers._boards(tab.visitor).get("Dusk").analysis is not None
    assert [tab.shown[button]["interactive"] for button in ("rename", "delete")] == [True, True]
    tab.do("rename", board_name="Dawn")
    assert tab.names == ["Dawn"]


def test_stop_gives_the_analysis_up(analyzing: Tab, held: Held) -> None:
    assert not analyzing.update("stopping")
    analyzing.do("follow_analyses")
    assert "Stopping…" in analyzing.shown["progress"]["value"]
    analyzing.wait("analyses")
    assert held.given_up == ["Stopped"]
    assert STOPPED in analyzing.notice
    assert (analyzing.shown["analyze"]["visible"], analyzing.shown["stop"]["visible"]) == (True, False)
    assert all(analyzing.shown[field]["interactive"] is True for field in WORDS)
    assert analyzing.handlers._boards(analyzing.visitor).get("Dusk").analysis is None


def test_only_stop_ends_an_analysis(analyzing: Tab, held: Held, services: Services) -> None:
    held.released.set()  # and nobody looks
    (run,) = services.runs.of(kind=Kind.ANALYZE)
    while not run.state.ended:
        run = services.runs.watch(run.id, since=run.version, seconds=60)
    assert services.library.moodboards.get("Dusk").analysis is not None


def test_a_page_that_is_opened_shows_the_analysis_that_goes_on(analyzing: Tab, held: Held, other: Tab) -> None:
    analyzing.handlers._boards(analyzing.visitor).create("A board before it")
    other.do("refreshed")
    assert other.values["open_board"] == "Dusk"
    assert 'aria-valuenow="40"' in other.values["progress"]
    assert (other.shown["analyze"]["visible"], other.shown["stop"]["visible"]) == (False, True)
    assert not any(other.shown[part]["interactive"] for part in (*WORDS, "looks", "rename", "delete"))
    held.released.set()
    for page in (other, analyzing):
        page.wait("analyses")
        assert page.words() == texts_of(page.handlers._boards(page.visitor).get("Dusk").analysis)
        assert (page.shown["analyze"]["visible"], page.shown["stop"]["visible"]) == (True, False)


def test_another_page_s_stop_works(analyzing: Tab, held: Held, other: Tab) -> None:
    other.do("refreshed")
    other.update("stopping")
    for page in (other, analyzing):
        page.wait("analyses")
        assert STOPPED in page.notice


def test_an_analysis_that_goes_on_is_not_begun_twice(analyzing: Tab, services: Services, other: Tab) -> None:
    other.do("analyze", open_board="Dusk")
    assert len(services.runs.of(kind=Kind.ANALYZE)) == 1
    assert other.ticks("analyses") and 'role="progressbar"' in other.values["progress"]


def test_a_lost_answer_comes_again(analyzing: Tab, held: Held, services: Services) -> None:
    held.released.set()
    (run,) = services.runs.of(kind=Kind.ANALYZE)
    while not run.state.ended:
        run = services.runs.watch(run.id, since=run.version, seconds=60)
    lost = analyzing.update("follow_analyses")
    assert lost["keywords"]["value"]
    analyzing.wait("analyses")
    assert analyzing.values["keywords"] == lost["keywords"]["value"]


def test_an_analysis_leaves_another_board_alone(analyzing: Tab, held: Held) -> None:
    analyzing.do("create", board_name="Dawn")
    assert all(analyzing.shown[part]["interactive"] is True for part in (*WORDS, "looks", "rename", "delete"))
    analyzing.values["keywords"] = "typed meanwhile"
    analyzing.do("follow_analyses")
    assert "Analyzing Dusk" in analyzing.values["progress"]
    held.released.set()
    analyzing.wait("analyses")
    assert analyzing.values["open_board"] == "Dawn"
    assert analyzing.values["keywords"] == "typed meanwhile"
    assert analyzing.handlers._boards(analyzing.visitor).get("Dusk").analysis is not None


def test_a_board_that_is_analyzed_stays_locked_when_it_is_opened_again(analyzing: Tab) -> None:
    analyzing.do("create", board_name="Dawn")
    analyzing.do("choose", boards="Dusk")
    assert not any(analyzing.shown[part]["interactive"] for part in (*WORDS, "looks", "rename", "delete"))
    assert analyzing.shown["stop"]["visible"] is True


def test_an_analysis_that_fails_is_a_notice(tab: Tab, pictures: list[str], library: Library) -> None:
    tab.do("create", board_name="Dusk")
    tab.add(pictures)
    library.references.path(tab.values["image_ids"][0]).unlink()
    tab.analyze()
    assert tab.notice.count('role="alert"') == 1
    assert (tab.shown["analyze"]["visible"], tab.shown["stop"]["visible"]) == (True, False)


def test_unchanged_pictures_are_not_analyzed_again(board: Tab) -> None:
    board.do("save", keywords="mine")
    board.analyze()
    assert "nothing to analyze" in board.notice
    assert board.values["keywords"] == "mine"


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("keywords", ", ".join(map(str, range(13))), "Keywords has 13 entries"),
        ("keywords", "calm\n" + "x" * 81, "Keywords, number 2 has 81 characters"),
        ("avoids", ", ".join(map(str, range(13))), "Avoids has 13 entries"),
        ("taste_profile", "x" * 2001, "Taste profile has 2,001 characters"),
        ("taste_profile", "\ud800", "Taste profile is not valid Unicode"),
    ],
)
def test_bad_words_are_one_notice_and_nothing_is_lost(board: Tab, field: str, text: str, words: str) -> None:
    before = board.handlers._boards(board.visitor).get("Dusk")
    good = next(name for name in WORDS if name != field)
    board.do("save", **{field: text, good: "kept"})
    assert board.notice.count('role="alert"') == 1
    assert words in board.notice
    assert "Not saved" in board.values["saved"]
    after = board.handlers._boards(board.visitor).get("Dusk").analysis
    assert getattr(after, field) == getattr(before.analysis, field)
    assert getattr(after, good) in ("kept", ("kept",))
    assert board.values[field] == text
    board.do("save", **{field: "fine"})
    assert board.notice == ""
    assert getattr(board.handlers._boards(board.visitor).get("Dusk").analysis, field) in ("fine", ("fine",))


def test_saving_writes_into_no_box(board: Tab) -> None:
    for text in ("  b ,, a\n\n a", "x" * 81 + ",y"):
        board.values["keywords"] = text
        update = board.update("save")
        assert not set(update) & set(WORDS)


def test_a_measured_board_is_analyzed_again_when_a_writer_comes(board: Tab, engine: PageEngine) -> None:
    assert board.shown["analyze"]["value"] == "Analyze"
    engine.writer = lambda variant, seeing=False: "a model" if variant == "medium" else None
    answer = {"taste_profile": "Written.", "keywords": ["calm"], "avoids": []}
    engine.write = lambda *_: json.dumps(answer)
    board.do("refreshed")
    assert board.shown["analyze"]["value"] == "Analyze again" and "language model" in board.values["facts"]
    board.analyze()
    assert board.values["taste_profile"] == "Written." and "Written by a model" in board.values["facts"]
    assert board.shown["analyze"]["value"] == "Analyze"
    board.analyze()
    assert "nothing to analyze" in board.notice


def test_bad_words_keep_their_board_open(board: Tab) -> None:
    board.do("create", board_name="Dawn")
    board.do("choose", boards="Dusk")
    board.values["keywords"] = "x" * 81
    for event in ("choose", "create", "analyze"):
        board.do(event, boards="Dawn", board_name="New")
        assert "81 characters" in board.notice
        assert board.values["open_board"] == board.values["boards"] == "Dusk"
        assert board.values["keywords"] == "x" * 81
    assert board.names == ["Dawn", "Dusk"]


def test_typed_words_are_saved_before_another_board_opens(board: Tab) -> None:
    board.values["avoids"] = "neon\nfog"
    board.do("create", board_name="Dawn")
    assert board.handlers._boards(board.visitor).get("Dusk").analysis.avoids == ("neon", "fog")
    assert board.words() == dict.fromkeys(WORDS, "")
    assert board.shown["found"]["visible"] is False


def test_two_pages_change_different_boxes_of_one_board(board: Tab, other: Tab) -> None:
    other.do("refreshed")
    board.do("save", keywords="one")
    other.do("save", avoids="two")
    analysis = board.handlers._boards(board.visitor).get("Dusk").analysis
    assert (analysis.keywords, analysis.avoids) == (("one",), ("two",))
    board.do("refreshed")
    assert (board.values["keywords"], board.values["avoids"]) == ("one", "two")


def test_what_comes_by_itself_overwrites_nothing_that_was_typed(board: Tab, other: Tab) -> None:
    other.do("refreshed")
    other.do("save", taste_profile="theirs")
    board.values["keywords"] = "half a wor"
    board.values["board_name"] = "half a na"
    update = board.update("refreshed")
    assert not set(update) & {*WORDS, "board_name", "kept_words", "open_board"}
    board.take("refreshed", update)
    board.do("save")
    saved = board.handlers._boards(board.visitor).get("Dusk").analysis
    assert (saved.taste_profile, saved.keywords) == ("theirs", ("half a wor",))


def test_own_spelling_of_a_list_is_not_rewritten_by_itself(board: Tab) -> None:
    board.do("save", keywords="calm\nclay,  calm")
    update = board.update("refreshed")
    assert "keywords" not in update


def test_a_board_deleted_elsewhere_is_told_and_leaves_the_list(board: Tab, other: Tab) -> None:
    board.do("create", board_name="Dawn")
    board.do("choose", boards="Dusk")
    other.do("refreshed")
    other.do("choose", boards="Dusk")
    other.do("ask_delete")
    assert "Dusk" in other.values["confirm_text"]
    other.do("delete")
    for event in ("rename", "ask_delete", "delete", "remove", "switch_looks", "use", "export", "analyze", "add"):
        board.do(event, board_name="New", dropped=["a.png"])
        assert "There is no moodboard" in board.notice, event
        assert (board.names, board.values["boards"]) == (["Dawn"], None)
    board.do("save", keywords="still here")
    assert "There is no moodboard" in board.notice
    board.do("refreshed")
    assert board.values["keywords"] == "still here"
    board.do("choose", boards="Dawn")
    assert board.values["open_board"] == "Dawn"
    assert board.notice == ""


def test_a_board_deleted_elsewhere_makes_room_for_the_first(board: Tab, other: Tab) -> None:
    board.do("create", board_name="Dawn")
    board.do("choose", boards="Dusk")
    other.do("refreshed")
    other.do("delete", open_board="Dusk")
    board.do("refreshed")
    assert board.values["open_board"] == "Dawn"
    assert "Dusk" in board.notice
    assert 'role="status"' in board.notice


def test_choosing_a_board_that_is_gone_stays_where_it_was(board: Tab) -> None:
    board.do("choose", boards="Gone")
    assert board.values["boards"] == board.values["open_board"] == "Dusk"
    assert "There is no moodboard" in board.notice


def test_the_create_tab_follows_a_new_name_and_a_deletion(board: Tab) -> None:
    board.do("use")
    assert board.values["chosen"] == "Dusk"
    assert board.shown["tabs"]["selected"] == "create"
    board.do("rename", board_name="Dawn")
    assert (board.values["chosen"], board.values["open_board"]) == ("Dawn", "Dawn")
    board.do("delete")
    assert board.values["chosen"] == ""
    assert board.shown["chosen"]["choices"] == [("None", "")]


def test_the_create_tab_s_choice_is_else_left_alone(board: Tab) -> None:
    board.values["chosen"] = "from a recipe"
    board.shown.pop("chosen")
    board.do("create", board_name="Dawn")
    board.do("rename", board_name="Noon")
    board.do("delete")
    assert "value" not in board.shown["chosen"]
    assert ("from a recipe", "from a recipe") in board.shown["chosen"]["choices"]


def test_only_what_can_steer_is_used(board: Tab, pictures: list[str]) -> None:
    board.do("switch_looks", looks=[])
    assert "All its looks are switched off" in board.values["facts"]
    board.do("use")
    assert "nothing to steer by" in board.notice
    board.do("create", board_name="Dawn")
    board.do("use")
    assert "was not analyzed" in board.notice
    assert "tabs" not in board.shown


def test_looks_are_switched_one_by_one(board: Tab) -> None:
    board.do("switch_looks", looks=["1"])
    clusters = board.handlers._boards(board.visitor).get("Dusk").analysis.clusters
    assert [cluster.on for cluster in clusters] == [place == 1 for place in range(len(clusters))]


def test_looks_of_an_older_analysis_are_not_switched(board: Tab, library: Library) -> None:
    first, *rest = board.values["image_ids"]
    newer = Analysis(clusters=(Cluster(images=(first, *rest)),), written_by="some-model")
    library.moodboards.keep_analysis("Dusk", newer)
    board.do("switch_looks", looks=[])
    assert "analyzed again meanwhile" in board.notice
    assert library.moodboards.get("Dusk").analysis == newer
    assert board.values["looks"] == ["0"]
    assert "Written by some-model" in board.values["facts"]


def test_a_board_goes_out_and_comes_in_as_a_zip(board: Tab) -> None:
    before = board.handlers._boards(board.visitor).get("Dusk")
    board.do("export")
    archive = board.values["download"]
    assert Path(archive).name == "dusk.zip"
    board.do("import_", archive=archive)
    assert board.values["archive"] is None
    assert "Importing …" in board.notice
    board.wait("imports")
    assert board.values["open_board"] == "Dusk 2"
    assert board.handlers._boards(board.visitor).get("Dusk 2").analysis == before.analysis
    assert board.notice == ""


def test_imports_that_are_begun_together_all_arrive(board: Tab, pictures: list[str], tmp_path: Path) -> None:
    board.do("export")
    added = tmp_path / "added.png"
    Image.new("RGB", (64, 64), "teal").save(added)
    board.do("add", dropped=[str(added)])
    board.do("import_", archive=board.values["download"])
    board.wait("imports")
    assert board.names == ["Dusk", "Dusk 2"]
    assert len(board.handlers._boards(board.visitor).get("Dusk").images) == len(pictures) + 1


def test_a_page_that_is_opened_shows_an_import_that_goes_on(
    board: Tab, other: Tab, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, import_ = threading.Event(), services.library.moodboards.import_
    monkeypatch.setattr(
        services.library.moodboards, "import_", lambda path: import_(path) if released.wait(60) else None
    )
    board.do("export")
    board.do("import_", archive=board.values["download"])
    other.do("refreshed")
    assert "Importing …" in other.notice
    released.set()
    other.wait("imports")
    assert other.values["open_board"] == "Dusk 2"


@pytest.mark.parametrize(("name", "file"), [("Été / 夏 ../x", "t-x.zip"), ("夏", "moodboard.zip"), ("a" * 200, None)])
def test_a_board_s_name_is_no_path(tab: Tab, name: str, file: str | None) -> None:
    tab.do("create", board_name=name)
    tab.do("export")
    assert tab.notice == ""
    assert Path(tab.values["download"]).name == (file or "a" * 60 + ".zip")


def test_a_failed_export_leaves_no_older_one_to_take(board: Tab, library: Library) -> None:
    board.do("export")
    library.references.path(board.values["image_ids"][0]).unlink()
    board.do("export")
    assert board.values["download"] is None
    assert 'role="alert"' in board.notice


def test_a_stranger_s_zip_is_a_notice(tab: Tab, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.zip"
    stranger.write_text("no zip")
    tab.do("import_", archive=str(stranger))
    tab.wait("imports")
    assert "is not a plain zip" in tab.notice
    assert tab.values["open_board"] == ""


@pytest.mark.parametrize("event", ["refreshed", "create", "analyze", "use", "save"])
def test_a_defect_is_logged_not_shown(
    board: Tab, event: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret path")

    for method in ("get", "create", "change_analysis"):
        monkeypatch.setattr(Moodboards, method, broken)
    board.do(event, keywords="touched" if event == "save" else board.values["keywords"])
    assert DEFECT in board.notice
    assert "secret path" not in board.notice
    assert "secret path" in caplog.text


def test_broken_storage_is_a_notice(board: Tab, library: Library) -> None:
    for path in library.moodboards.folder.glob("*.json"):
        path.write_text("{")
    board.do("refreshed", keywords="touched")
    assert 'role="alert"' in board.notice
    assert board.names == []


PHRASES = st.lists(
    st.text(st.characters(exclude_characters=",", exclude_categories=("C", "Z")), min_size=1, max_size=80),
    max_size=12,
    unique=True,
)


@given(keywords=PHRASES, avoids=PHRASES)
def test_words_survive_their_boxes(keywords: list[str], avoids: list[str]) -> None:
    image = "0" * 32
    analysis = Analysis(keywords=keywords, avoids=avoids, clusters=[Cluster(images=[image])], written_by=MEASURED)
    texts = texts_of(analysis)
    assert agrees(analysis, texts)
    assert functools.reduce(lambda found, field: edited(found, field, texts[field]), WORDS, analysis) == analysis


@given(st.text())
def test_reading_a_list_again_changes_nothing(text: str) -> None:
    words = read("keywords", text)
    assert read("keywords", "\n".join(words)) == read("keywords", ", ".join(words)) == words


def test_people_s_text_is_escaped_everywhere() -> None:
    image = "0" * 32
    analysis = Analysis(clusters=[Cluster(images=[image])], written_by=HOSTILE)
    board = Moodboard(name=HOSTILE, images=[image], analysis=analysis)
    for markup in (
        moodboard_fragments.facts(board, False),
        moodboard_fragments.deleting(board),
        moodboard_fragments.progress(HOSTILE, 0.5),
    ):
        assert "<img" not in markup
        assert "&lt;img" in markup


def test_the_palette_can_be_read() -> None:
    image = "0" * 32
    analysis = Analysis(
        palette=[Swatch(colour="#102040", share=0.614), Swatch(colour="#c07038", share=0.1)],
        clusters=[Cluster(images=[image])],
        written_by=MEASURED,
    )
    markup = moodboard_fragments.palette(analysis)
    assert "#102040 <span>61 %</span>" in markup
    assert 'aria-labelledby="palette-title"' in markup
    assert moodboard_fragments.palette(None) == ""


def test_looks_count_the_pictures_that_are_still_there() -> None:
    one, two, three, gone = (str(digit) * 32 for digit in range(4))
    clusters = [Cluster(images=[gone, one, two]), Cluster(images=[three])]
    board = Moodboard(name="Dusk", images=[one, two, three], analysis=Analysis(clusters=clusters, written_by=MEASURED))
    assert moodboard_fragments.looks(board) == ["67 % · 2 pictures", "33 % · 1 picture"]


def test_strangers_on_a_shared_page_use_boards_and_change_none(
    services: Services, wired: dict[str, tuple[set[str], set[str]]], board: Tab, pictures: list[str]
) -> None:
    board.analyze()
    before = services.library.moodboards.get("Dusk")
    stranger = Tab(services, wired, shared=True)
    stranger.do("refreshed")
    assert not any(stranger.shown[part]["interactive"] for part in ("rename", "delete", "analyze", "looks", *WORDS))
    changes: dict[str, dict[str, Any]] = {
        "create": {"board_name": "Mine"},
        "rename": {"board_name": "Mine"},
        "ask_delete": {},
        "delete": {},
        "add": {"dropped": pictures},
        "remove": {"selected_image": before.images[0]},
        "switch_looks": {"looks": []},
        "import_": {"archive": "any.zip"},
        "analyze": {},
        "save": {WORDS[0]: "mine"},
    }
    for name, entered in changes.items():
        stranger.do(name, **entered)
        assert "signed in" in stranger.notice, name
    assert services.library.moodboards.names() == ["Dusk"] and services.library.moodboards.get("Dusk") == before
    stranger.do("use")
    assert stranger.shown["chosen"]["value"] == "Dusk" and "signed in" not in stranger.notice
