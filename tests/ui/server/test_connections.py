"""Who begins a request and says no more is not waited for, and nobody takes all connections."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from krea_studio.services import Services
from krea_studio.ui.server import connections
from krea_studio.ui.server.launch import build_demo, start
from tests.engine.conftest import until
from tests.ui.server.test_launch import free_port

HALF = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b"POST /gradio_api/call/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture
def port(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where the page is served that waits a second and keeps four connections."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 4)
    here = replace(services, settings=services.settings.model_copy(update={"port": free_port()}))
    demo = build_demo(here)
    start(demo, here)
    yield here.settings.port
    demo.close(verbose=False)


def say(port: int, text: bytes) -> socket.socket:
    held = socket.create_connection(("127.0.0.1", port), timeout=60)
    held.sendall(text)
    return held


def is_healthy(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60, trust_env=False).status_code == 200


@pytest.mark.parametrize("begun", [b"", HALF, BODY, HALF + b"\r\n" + HALF])
def test_a_request_that_does_not_come_to_its_end_is_given_up(port: int, begun: bytes) -> None:
    with say(port, begun) as held:
        told = b""
        while piece := held.recv(10_000):  # until it is closed
            told += piece
    assert told.count(b"200 OK") == (begun.count(HALF) > 1)
    assert is_healthy(port)


def test_what_is_being_answered_may_take_longer(port: int) -> None:
    address = f"http://127.0.0.1:{port}/gradio_api/heartbeat/one"
    with httpx.stream("GET", address, timeout=60, trust_env=False) as stream:
        lines = stream.iter_lines()
        next(lines)
        time.sleep(2.5)
        assert is_healthy(port)
        assert next(lines) is not None


def test_connections_over_the_limit_are_closed_until_there_is_room(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 600.0)  # they stay until they are closed from here
    held = [say(port, b"") for _ in range(4)]

    def has_room() -> bool:
        try:
            return is_healthy(port)
        except httpx.HTTPError:
            return False

    assert not has_room()
    for each in held:
        each.close()
    until(has_room)


@pytest.mark.parametrize(
    ("host", "there", "refused"),
    [
        ("127.0.0.1", 99, False),  # a proxy here, behind which everybody is
        ("203.0.113.5", 49, False),
        ("203.0.113.5", 50, True),
        ("203.0.113.6", 50, False),
    ],
)
def test_one_address_has_half_of_them(host: str, there: int, refused: bool) -> None:
    protocol = type("Limited", (connections._Limited,), {"most": 100})()
    other = host if host == "127.0.0.1" else "203.0.113.5"
    protocol.connections = [SimpleNamespace(client=(other, port)) for port in range(there)]
    assert protocol._is_one_too_many((host, 1)) == refused


def test_all_files_that_the_system_allows_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(connections.resource, "getrlimit", lambda kind: (256, 4096))
    monkeypatch.setattr(connections.resource, "setrlimit", lambda kind, limits: told.append(limits))
    assert connections._open_files() == 4096 and told == [(4096, 4096)]
