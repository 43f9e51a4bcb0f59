"""What supervisors are told, and strangers are not."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest

from krea_studio.people import LOCAL
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services
from krea_studio.ui.server.launch import build_demo, launch_options
from krea_studio.ui.server.logs import JsonLines

STRANGERS = ({"X-Forwarded-For": "203.0.113.5"}, {"X-Forwarded-Host": "127.0.0.1"}, {"Host": "192.0.2.1"})


@pytest.fixture
def client(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    url = url.replace("0.0.0.0", "127.0.0.1").replace("localhost", "127.0.0.1")
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client
    demo.close()


def test_numbers_are_told_on_this_machine_alone(client: httpx.Client, services: Services) -> None:
    run = services.runs.submit(parse_request({"prompt": "a secret fox", "resolution": "512"}), LOCAL)
    version = -1
    while not (seen := services.runs.watch(run, LOCAL, version, 5)).state.ended:
        version = seen.version
    told = client.get("metrics").text
    for line in (
        'krea_studio_runs_total{kind="generate",outcome="done"} 1',
        "krea_studio_pictures_drawn_total 1",
        "krea_studio_drawing_seconds_total 0.5",
        "krea_studio_runs_waiting 0",
        "krea_studio_pictures 1",
        "krea_studio_pictures_refused 0",
    ):
        assert line in told.splitlines()
    assert "secret" not in told and "local" not in told
    for headers in STRANGERS:
        assert client.get("metrics", headers=headers).status_code == 404


def test_readiness_is_told_to_all_and_what_is_loaded_on_this_machine(client: httpx.Client) -> None:
    told = client.get("readyz").json()
    assert told == {
        "status": "ready",
        "device": "cpu",
        "loaded": ["somewhere/mini-turbo"],
        "waiting": 0,
        "running": 0,
    }
    for headers in STRANGERS:
        assert client.get("readyz", headers=headers).json() == {"status": "ready"}


def test_a_library_that_cannot_be_written_is_not_ready(
    client: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krea_studio.library.store.make_folder", _full)
    answer = client.get("readyz")
    assert answer.status_code == 503 and "full" in answer.json()["reason"]
    assert client.get("readyz", headers=STRANGERS[0]).json() == {"status": "not ready"}


def _full(folder: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_line_of_the_log_is_an_object() -> None:
    record = logging.LogRecord("krea_studio", logging.WARNING, "", 1, "a\n%s", ("fox",), None)
    told = json.loads(line := JsonLines().format(record))
    assert "\n" not in line
    assert (told["level"], told["logger"], told["message"]) == ("warning", "krea_studio", "a\nfox")
