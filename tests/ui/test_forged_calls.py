"""Every function of the page can be called by its number with whatever somebody likes, and none of ours fails at it.

Gradio answers some of what is no value of a component with a traceback of its own; the studio's code is never in one.
"""

import json
import logging
import random
import re
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
FRAME = re.compile(r'File "[^"]*/(krea_studio/[^"]+)", line \d+')
PASSING = ("krea_studio/ui/server/",)  # what stands around Gradio passes its failures on
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
                ({"index": chance.choice(VALUES), "value": None}, {"selected": 1}, {"index": [0, 1], "value": []}, {})
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


def test_no_code_of_the_studio_fails_at_what_nobody_s_page_sends(
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
            for failed in told.split("Traceback (most recent call last)")[1:]:
                own = [frame for frame in FRAME.findall(failed) if not frame.startswith(PASSING)]
                if own:
                    failures.setdefault(own[-1], f"{function.api_name} {text[:300]}\n{failed[-700:]}")
            assert str(services.library.folder) not in answer.text or answer.status_code == 200
    assert client.get("healthz").status_code == 200
    assert not failures, "\n\n".join(failures.values())
