"""Calls that no program means to make: of any function, with anything, cut off and mistyped."""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from krea_studio.measures.served import ROOT, SERVE, TRACEBACK, served
from krea_studio.recipe.request import GenerationRequest

PATIENCE_SECONDS = 10.0
SEED = 7
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1.5e308, "", "x" * 5_000, "\0", "\ud800", "../../etc/hostname", [], [None], [[[]]], {},
    {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}, {"value": 1}, "7:1", "<b>",
)  # fmt: skip
ENDPOINTS = ("generate", "add_reference", "inspect", "nothing", "")
PLACES = (
    "",
    "config",
    "gradio_api/info",
    "gradio_api/file=/etc/hostname",
    "gradio_api/queue/data",
    "healthz",
    "readyz",
)


@dataclass(frozen=True)
class Calls:
    """Answers to calls that no program means to make, by status, and tracebacks in the log."""

    statuses: Counter[str]
    tracebacks: int
    healthy: bool


def odd_calls(work: Path, number: int) -> Calls:
    """Call a new studio below `work` so many times with what no program means to send."""
    chance, statuses = random.Random(SEED), Counter[str]()
    with served(SERVE, ROOT, work / "odd") as studio:
        with httpx.Client(base_url=studio.address, timeout=PATIENCE_SECONDS, trust_env=False) as client:
            functions = len(client.get("config").json()["dependencies"])
            for _ in range(number):
                statuses[_answer(client, *_odd_call(chance, functions))] += 1
            healthy = client.get("healthz").status_code == 200
        time.sleep(1)  # what was begun is told
        tracebacks = studio.log.read_text("utf-8").count(TRACEBACK)
    return Calls(statuses, tracebacks, healthy)


def _answer(client: httpx.Client, method: str, place: str, content: bytes) -> str:
    """The status of the answer to a call, or what came instead."""
    status = ""
    try:
        with client.stream(method, place, content=content, headers={"content-type": "application/json"}) as answer:
            status = str(answer.status_code)
            for _ in zip(range(3), answer.iter_lines(), strict=False):  # a stream may have no end
                pass
    except httpx.TimeoutException:
        return status or "no answer"  # in a stream, nothing may come
    except httpx.HTTPError as error:
        return type(error).__name__
    return status


def _odd_call(chance: random.Random, functions: int) -> tuple[str, str, bytes]:
    """Method, path and body of a call."""

    def value() -> Any:
        return chance.choice(VALUES)

    if chance.random() < 0.1:
        return "GET", chance.choice(PLACES) + chance.choice(("", "?session_hash=", f"?{value()!r}"[:200])), b""
    kind, body = chance.randrange(5), dict[Any, Any]()
    names = list(GenerationRequest.model_fields)
    if kind == 0:
        place = f"gradio_api/call/{chance.choice(ENDPOINTS)}"
        body = {"data": [value() for _ in range(chance.choice((0, 1, len(names))))]}
    elif kind == 1:
        place = f"gradio_api/call/v2/{chance.choice(ENDPOINTS)}"
        body = {chance.choice((*names, "image", "odd")): value() for _ in range(chance.randrange(6))}
    elif kind == 2:
        place = "gradio_api/queue/join"
        body = {"data": value(), "fn_index": chance.choice((value(), chance.randrange(functions)))}
        body |= {"session_hash": value()}
    elif kind == 3:
        place = "gradio_api/run/predict"
        body = {"data": [value() for _ in range(chance.randrange(4))], "fn_index": chance.randrange(functions)}
        body |= {"session_hash": "s", "event_data": value()}
    else:
        place, body = (
            chance.choice(("gradio_api/cancel", "gradio_api/reset", "gradio_api/upload")),
            {"event_id": value()},
        )
    content = json.dumps(body if chance.random() < 0.9 else value()).encode()
    return "POST", place, content[: chance.randrange(len(content) + 1)] if chance.random() < 0.1 else content
