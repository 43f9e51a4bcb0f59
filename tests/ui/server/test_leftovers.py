"""What nobody comes back for is not kept."""

import asyncio
import os
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder

from krea_studio.engine.base import Step
from krea_studio.runs.run import State
from krea_studio.services import Services
from krea_studio.ui.server import leftovers
from krea_studio.ui.server.launch import build_demo, launch_options
from krea_studio.ui.server.leftovers import BROKEN_UPLOAD_SECONDS, Leftovers, Listeners, remove_broken_uploads


class PlainQueue:
    """A queue with what sessions have not taken; `ended` are those whose events were cleaned away."""

    def __init__(self, **events: set[str]) -> None:
        self.pending_messages_per_session = {session: ["news"] for session in events}
        self.pending_event_ids_session = dict(events)
        self.ended: list[str] = []

    async def clean_events(self, session_hash: str) -> None:
        self.ended.append(session_hash)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do asynchronous work in a thread: the browser's tests leave a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def test_what_nobody_has_listened_to_for_a_while_is_dropped_and_nothing_else() -> None:
    queue = PlainQueue(gone={"e1"}, here={"e2"}, by_event={"e3"})
    listeners, clock = Listeners(), SimpleNamespace(now=0.0)
    dropping = Leftovers(queue, listeners, 10.0, lambda: clock.now)  # type: ignore[arg-type]
    listeners.open.update(["here", "e3"])
    for clock.now, left in ((0.0, 3), (9.0, 3), (10.0, 2), (99.0, 2)):
        run(dropping.drop())
        assert len(queue.pending_messages_per_session) == len(queue.pending_event_ids_session) == left
    assert queue.ended == ["gone"]
    del listeners.open["here"]
    for clock.now, left in ((108.0, 2), (109.0, 1)):
        run(dropping.drop())
        assert len(queue.pending_messages_per_session) == left


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/gradio_api/queue/data", b"session_hash=abc", "abc"),
        ("/studio/gradio_api/queue/data", b"session_hash=abc", "abc"),
        ("/gradio_api/call/generate/0a1b", b"", "0a1b"),
        ("/gradio_api/call/v2/generate/0a1b", b"", "0a1b"),
        ("/healthz", b"session_hash=abc", None),
    ],
)
def test_a_stream_counts_while_it_is_open(path: str, query: bytes, name: str | None) -> None:
    listeners = Listeners()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert list(listeners.open) == ([name] if name else [])
        raise ConnectionError

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query}
    with pytest.raises(ConnectionError):
        run(listeners.counting(app)(scope, None, None))  # type: ignore[arg-type]
    assert not listeners.open


@pytest.fixture
def served(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[gr.Blocks, httpx.Client]]:
    """A page for strangers that looks for leftovers all the time."""
    monkeypatch.setattr(leftovers, "LOOK_SECONDS", 0.1)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    object.__setattr__(services, "settings", services.settings.model_copy(update={"unwatched_seconds": 3.0}))
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    with httpx.Client(base_url=url.replace("0.0.0.0", "127.0.0.1"), timeout=60) as client:
        yield demo, client
    demo.close()


def test_a_run_whose_stream_is_never_opened_is_ended_and_leaves_nothing(
    served: tuple[gr.Blocks, httpx.Client], services: Services
) -> None:
    demo, client = served
    services.engine.scripts = [[partial(time.sleep, 0.1), Step(0, 1, 8)] * 3000]  # type: ignore[attr-defined]
    called = client.post("gradio_api/call/v2/generate", json={"prompt": "a fox", "resolution": "512"})
    assert called.status_code == 200
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        runs = services.runs.of()
        if runs and runs[-1].state.ended and not demo._queue.pending_messages_per_session:
            break
        time.sleep(0.1)
    assert services.runs.of()[-1].state is State.STOPPED
    assert not demo._queue.pending_messages_per_session and not demo._queue.pending_event_ids_session
    assert not demo._queue.event_ids_to_events


def test_a_run_that_is_listened_to_goes_on(served: tuple[gr.Blocks, httpx.Client], services: Services) -> None:
    _, client = served
    event = client.post("gradio_api/call/v2/generate", json={"prompt": "a fox", "resolution": "512"}).json()["event_id"]
    answer = client.get(f"gradio_api/call/v2/generate/{event}")
    assert "event: complete" in answer.text and len(services.library.recent(9)) == 1


def test_a_session_has_no_copy_of_the_page(served: tuple[gr.Blocks, httpx.Client]) -> None:
    demo, client = served
    function = next(number for number, each in demo.fns.items() if not each.queue and not each.inputs)
    client.post("gradio_api/run/predict", json={"data": [], "fn_index": function, "session_hash": "one"})
    session = demo.state_holder["one"]
    assert len(session.config_values) == 0 and list(session.components) == []


def test_beginnings_of_uploads_go_and_whole_ones_stay() -> None:
    folder = Path(get_upload_folder())
    (folder / "whole").mkdir(parents=True, exist_ok=True)
    old, new, whole = folder / "tmpold", folder / "tmpnew", folder / "whole" / "tmp.png"
    for path in (old, new, whole):
        path.write_bytes(b"x")
    for path in (old, whole):
        os.utime(path, (0, time.time() - BROKEN_UPLOAD_SECONDS - 1))
    remove_broken_uploads()
    assert [path.exists() for path in (old, new, whole)] == [False, True, True]
    new.unlink()
