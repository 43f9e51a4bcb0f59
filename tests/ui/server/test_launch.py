"""A start where the environment makes it hard: proxies, busy machines, IPv6, folders that cannot be written."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import pytest

from krea_studio.errors import InvalidRequest, StorageError, Unavailable
from krea_studio.services import Services
from krea_studio.ui.server.launch import build_demo, serve_demo

CLOSED = "http://127.0.0.1:9"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "PORT", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def answer(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], int]]:
    """Serve the page at a host, and return the status with which it answers there."""
    demos: list[gr.Blocks] = []
    monkeypatch.setattr(gr.Blocks, "block_thread", lambda demo: demos.append(demo))

    def answer(host: str, port: int = 0) -> int:
        settings = services.settings.model_copy(update={"host": host, "port": port or free_port()})
        here = replace(services, settings=settings)
        serve_demo(build_demo(here), here)
        name = f"[{host}]" if ":" in host else host
        return httpx.get(f"http://{name}:{settings.port}/healthz", trust_env=False, timeout=30).status_code

    yield answer
    for demo in demos:
        demo.close(verbose=False)


PROXIES = {"HTTP_PROXY": CLOSED, "ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks://127.0.0.1:9"}


@pytest.mark.parametrize("variable", PROXIES)
def test_a_proxy_is_not_asked_for_this_machine(
    answer: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, PROXIES[variable])
    assert answer("127.0.0.1") == 200
    assert os.environ[variable] == PROXIES[variable], "others go through it as before"


@pytest.mark.parametrize("host", ["::1", "0.0.0.0"])
def test_every_way_to_write_this_machine_is_served(
    answer: Callable[[str], int], capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert answer(host) == 200
    url = httpx.URL(capsys.readouterr().out.split()[-1])
    assert url.host == {"0.0.0.0": "localhost"}.get(host, host)


def test_a_page_that_is_slow_at_first_is_served(answer: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    assert answer("127.0.0.1") == 200


def test_a_port_that_is_taken_is_one_line(answer: Callable[[str, int], int]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Unavailable, match="Port .* cannot be used — "):
            answer("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("path", ["studio", "studio/", "studio.example/tools"])
def test_a_sub_path_that_is_none_is_one_line(services: Services, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("GRADIO_ROOT_PATH", path)
    with pytest.raises(InvalidRequest, match=f"GRADIO_ROOT_PATH is '{path}' — give"):
        build_demo(services)


@pytest.mark.parametrize("folder", ["/dev/null/uploads", "/proc/none", "file"])
def test_a_folder_for_uploads_that_cannot_be_written_is_one_line(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", folder)
    with pytest.raises(StorageError, match=f"uploads, {folder}, cannot be written .* — set GRADIO_TEMP_DIR"):
        build_demo(services)
