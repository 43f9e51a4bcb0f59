"""Every function of the page can be called by its number with whatever somebody likes, and none fails at it."""

import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import gradio as gr
import httpx
import pytest

from krea_studio.services import Services
from krea_studio.ui.server.launch import build_demo, launch_options
from tests.library.test_store import save

BODIES = 3
SEED = 18
TRACEBACK = "Traceback (most recent call last)"
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    7,
    1e308,
    10**30,
    "",
    "a fox",
    "?tab=history&picture=../../etc",
    "x" * 3_000,
    "\u202ereversed\u2066",
    "../../records.sqlite3",
    "0" * 32,
    "0123456789abcdef",
    [],
    [None],
    ["a", 1, {}],
    [[], [[]]],
    {},
    {"value": "a"},
    {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}},
    {"index": "x"},
)


def usual(part: Any) -> Any:
    """What the page sends of a part that nobody has touched."""
    value = part.get_config().get("value")
    return value if isinstance(value, str | int | float | list | None) else None


def bodies(chance: random.Random, function: Any) -> Iterator[dict[str, Any]]:
    """Calls of one function with values that no page sends."""
    for _ in range(BODIES):
        body: dict[str, Any] = {
            # Most are what the page has at first, else Gradio refuses them before anybody else sees them.
            "data": [chance.choice(VALUES) if chance.random() < 0.3 else usual(part) for part in function.inputs],
            "fn_index": function._id,
            "session_hash": f"s{chance.randrange(3)}",
        }
        if chance.random() < 0.7:
            body["event_data"] = chance.choice(
                (
                    {"index": chance.choice(VALUES), "value": None},
                    {"selected": 1},
                    {"index": [0, 1], "value": []},
                    {},
                    [],
                    7,
                )
            )
        yield body


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"], ids=["own", "shared"])
def served(
    services: Services, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[tuple[gr.Blocks, httpx.Client]]:
    monkeypatch.setenv("GRADIO_SERVER_NAME", request.param)
    save(services.library)
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    with httpx.Client(base_url=url.replace("0.0.0.0", "127.0.0.1"), timeout=60) as client:
        yield demo, client
    demo.close()


def test_nothing_fails_at_what_nobody_s_page_sends(
    served: tuple[gr.Blocks, httpx.Client],
    services: Services,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    demo, client = served
    chance, failures = random.Random(SEED), dict[str, str]()
    capsys.readouterr()
    for function in demo.fns.values():
        for body in bodies(chance, function):
            with caplog.at_level(logging.ERROR):
                text = json.dumps(body)
                answer = client.post("gradio_api/run/predict", json=body)
            told = capsys.readouterr().err + caplog.text
            caplog.clear()
            if TRACEBACK in told:
                failures[str(function.api_name)] = f"{function.api_name} {text[:300]}\n{told[-700:]}"
            assert str(services.library.folder) not in answer.text or answer.status_code == 200
    assert client.get("healthz").status_code == 200
    assert not failures, "\n\n".join(failures.values())


HALF = "\\ud800"  # of a pair, which no text may have


@pytest.mark.parametrize("place", ["queue/join", "run/predict", "call/generate", "call/v2/generate", "cancel", "none"])
@pytest.mark.parametrize("body", [f'"{HALF}"', f'{{"data": ["{HALF}"], "session_hash": "s", "event_id": "{HALF}"}}'])
def test_half_a_character_is_refused_and_the_connection_lives_on(
    served: tuple[gr.Blocks, httpx.Client], place: str, body: str
) -> None:
    _, client = served
    headers = {"content-type": "application/json"}
    for _ in range(3):
        answer = client.post(f"gradio_api/{place}", content=body, headers=headers)
        assert answer.status_code == 422
        assert "half a character" in answer.json()["detail"]


def test_a_whole_character_outside_the_basic_plane_is_taken(served: tuple[gr.Blocks, httpx.Client]) -> None:
    _, client = served
    answer = client.post("gradio_api/call/v2/inspect", json={"image": "\U0001f98a"})
    assert "half a character" not in answer.text


@pytest.mark.parametrize("body", ["[]", '{"data": 1}', '{"data": [NaN], "fn_index": "x"}', "{", ""])
def test_a_body_that_is_none_of_an_endpoint_s_is_refused_with_the_reason(
    served: tuple[gr.Blocks, httpx.Client], body: str
) -> None:
    _, client = served
    answer = client.post("gradio_api/queue/join", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body")


def test_a_call_without_a_session_does_not_stay_in_everybody_s_queue(
    served: tuple[gr.Blocks, httpx.Client],
) -> None:
    demo, client = served
    (function,) = [each for each in demo.fns.values() if each.api_name == "generate"]
    body = {"data": [None] * len(function.inputs), "fn_index": function._id, "session_hash": ""}
    answer = client.post("gradio_api/queue/join", json=body)
    assert (answer.status_code, answer.json()["detail"][:21]) == (422, "session_hash is empty")
    assert not demo._queue.pending_messages_per_session


@pytest.mark.parametrize("query", ["", "?session_hash=", "?session_hash=nobody", "?" + "a&" * 200])
def test_who_listens_where_nothing_was_called_is_told_so(served: tuple[gr.Blocks, httpx.Client], query: str) -> None:
    _, client = served
    answer = client.get(f"gradio_api/queue/data{query}")
    assert answer.status_code == 404
    assert "nothing to listen to" in answer.json()["detail"]


@pytest.mark.parametrize("number", [-1, 10**30, 9_999])
@pytest.mark.parametrize("place", ["queue/join", "run/predict"])
def test_a_function_that_is_not_there_is_told(served: tuple[gr.Blocks, httpx.Client], place: str, number: int) -> None:
    _, client = served
    answer = client.post(f"gradio_api/{place}", json={"data": [], "fn_index": number, "session_hash": "s"})
    assert answer.status_code == 404
    assert str(number)[:10] in answer.json()["detail"]
