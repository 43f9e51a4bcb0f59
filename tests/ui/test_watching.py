"""Runs that a page watches: begun by short events, shown until the page has shown their end."""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import gradio as gr
import pytest

from krea_studio.people import LOCAL, Person
from krea_studio.runs.run import Kind, Run, State
from krea_studio.services import Services
from krea_studio.ui.create.panels.creativity import CreativityPanel
from krea_studio.ui.moodboards.handlers import MoodboardHandlers
from krea_studio.ui.styles.handlers import StyleHandlers
from krea_studio.ui.visitors import UNKNOWN
from krea_studio.ui.watching import Watch, over, shown_of, timer_of

PAGE, OTHER = (SimpleNamespace(session_hash=name) for name in ("one", "two"))
SHOWN, TIMER = shown_of("imports"), timer_of("imports")


@pytest.fixture
def watch(services: Services) -> Watch:
    return Watch(services.runs, Kind.IMPORT, "imports")


def ended(services: Services, run: Run) -> Run:
    while not run.state.ended:
        run = services.runs.watch(run.id, since=run.version, seconds=60)
    return run


@pytest.mark.parametrize("handlers", [MoodboardHandlers, StyleHandlers, CreativityPanel])
def test_no_event_streams(handlers: type) -> None:
    assert not [name for name, each in vars(handlers).items() if inspect.isgeneratorfunction(each)]


def test_a_run_is_looked_at_until_its_end_was_shown(services: Services, watch: Watch) -> None:
    released = threading.Event()
    began = watch.begin(PAGE, LOCAL, "one", lambda report, check: released.wait(60), "button")
    assert began[TIMER]["active"] is True
    (run,) = watch.look(PAGE, LOCAL)
    assert (run.title, watch.begun_by(run), run.state.ended) == ("one", "button", False)
    assert watch.looked([run], ["before"])[SHOWN] == ["before"]
    assert watch.looked([run])[TIMER]["active"] is True
    released.set()
    ended(services, run)
    for _ in range(2):  # the first answer was lost
        (run,) = watch.look(PAGE, LOCAL, ["before"])
        assert (run.state, run.result) == (State.DONE, True)
    update = watch.looked([run], ["before"])
    assert update[SHOWN] == ["before", run.id] and update[TIMER]["active"] is False
    assert watch.look(PAGE, LOCAL, update[SHOWN]) == []


def test_none_of_many_that_are_begun_at_once_is_lost(watch: Watch) -> None:
    with ThreadPoolExecutor(8) as clicks:
        list(clicks.map(lambda number: watch.begin(PAGE, LOCAL, str(number), lambda *_: None, "x"), range(16)))
    runs = watch.look(PAGE, LOCAL)
    assert sorted(int(run.title) for run in runs) == list(range(16))
    assert {watch.begun_by(run) for run in runs} == {"x"}


def test_pages_watch_their_own_and_what_their_visitor_began(services: Services, watch: Watch) -> None:
    released = threading.Event()
    ana, bo = Person("ana", may_change_library=True), Person("bo")
    watch.begin(PAGE, ana, "hers", lambda report, check: released.wait(60))
    services.runs.begin(Kind.IMPORT, "of another tab", lambda report, check: released.wait(60), ana)
    assert watch.look(OTHER, ana) == []
    assert watch.going_on(bo) == watch.going_on(UNKNOWN) == []
    (run,) = watch.going_on(ana)
    watch.watch(OTHER, [run.id, run.id])
    assert [each.title for each in watch.look(OTHER, ana)] == ["hers"]
    assert watch.look(OTHER, bo) == [], "the session alone shows nothing"
    released.set()
    ended(services, run)
    assert watch.going_on(ana) == []


def test_two_updates_become_one() -> None:
    both = over(
        {"a": gr.update(value=1, interactive=True), "b": "text", "c": 1, "d": 1},
        {"a": gr.update(interactive=False), "b": gr.update(visible=False), "c": 2, "e": 3},
    )
    assert both["a"] == gr.update(value=1, interactive=False)
    assert both["b"] == gr.update(value="text", visible=False)
    assert (both["c"], both["d"], both["e"]) == (2, 1, 3)
