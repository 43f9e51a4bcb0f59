"""A start where the environment makes it hard, and an end that leaves a whole library."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import pytest

from krea_studio.errors import InvalidRequest, StorageError, Unavailable
from krea_studio.library.store import RECORDS_FILE, Library
from krea_studio.runs.rows import Rows
from krea_studio.services import Services
from krea_studio.ui.server.launch import address, build_demo, start

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
def serve(services: Services) -> Iterator[Callable[[str], httpx.URL]]:
    """Serve the page at a host, see that it answers there, and return the address that is told."""
    demos: list[gr.Blocks] = []

    def serve(host: str, port: int = 0) -> httpx.URL:
        settings = services.settings.model_copy(update={"host": host, "port": port or free_port()})
        here = replace(services, settings=settings)
        demo = build_demo(here)
        url = start(demo, here)
        demos.append(demo)
        name = f"[{host}]" if ":" in host else host
        health = httpx.get(f"http://{name}:{settings.port}/healthz", trust_env=False, timeout=60)
        assert health.status_code == 200
        return httpx.URL(url)

    yield serve
    for demo in demos:
        demo.close(verbose=False)


PROXIES = {"HTTP_PROXY": CLOSED, "ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks://127.0.0.1:9"}


@pytest.mark.parametrize("variable", PROXIES)
def test_a_proxy_is_not_asked_for_this_machine(
    serve: Callable[[str], httpx.URL], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, PROXIES[variable])
    serve("127.0.0.1")
    assert os.environ[variable] == PROXIES[variable], "others go through it as before"


@pytest.mark.parametrize("host", ["::1", "0.0.0.0"])
def test_every_way_to_write_this_machine_is_served(serve: Callable[[str], httpx.URL], host: str) -> None:
    assert serve(host).host == {"0.0.0.0": "localhost"}.get(host, host)


def test_a_page_that_is_slow_at_first_is_served(
    serve: Callable[[str], httpx.URL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    serve("127.0.0.1")


def test_a_port_that_is_taken_is_one_line(serve: Callable[[str, int], httpx.URL]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Unavailable, match="Port .* cannot be used — "):
            serve("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no-such-name.invalid", "There is no address 'no-such-name.invalid'"),
        ("192.0.2.7", "192.0.2.7 is not an address of this machine"),
        ("2001:db8::7", "2001:db8::7 is not an address of this machine"),
    ],
)
def test_a_host_that_is_not_here_is_one_line(serve: Callable[[str], httpx.URL], host: str, reason: str) -> None:
    with pytest.raises(Unavailable, match=f"^{re.escape(reason)} — set KREA_STUDIO_HOST"):
        serve(host)


@pytest.mark.parametrize("variable", ["PORT", "GRADIO_SERVER_PORT"])
@pytest.mark.parametrize("port", ["0", "-1", "70000", "http", "9" * 5000])
def test_a_port_that_is_none_is_one_line(
    services: Services, monkeypatch: pytest.MonkeyPatch, variable: str, port: str
) -> None:
    monkeypatch.setenv(variable, port)
    with pytest.raises(InvalidRequest, match=f"^{variable} is '{port[:60]}.* — give a number from 1 to 65535"):
        address(services.settings)
    monkeypatch.setenv(variable, "7999")
    assert address(services.settings)[1] == 7999


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


SERVING = """
import sys, threading, time
from krea_studio.runs import runs
from krea_studio.library.store import Library
from krea_studio.recipe.request import parse_request
from krea_studio.services import services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.launch import build_demo, serve_demo
from tests.library.test_store import save
from tests.ui.conftest import PageEngine

runs.LEAVING_SECONDS = 0.5
halt = lambda: (print("drawing", flush=True), time.sleep(600))
library = Library(sys.argv[1])
save(library)
engine = PageEngine([halt])
services = services_over(Settings(library=library.folder, port=int(sys.argv[2])), library, engine, engine)
demo = build_demo(services)
threading.Thread(target=lambda: time.sleep(600)).start()  # such as a download that nobody can end
services.runs.submit(parse_request({"prompt": "a fox", "resolution": "512"}))
serve_demo(demo, services)
"""


def test_a_server_that_is_asked_to_end_leaves_all_that_the_next_one_needs(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", SERVING, str(tmp_path / "library"), str(port)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout
        waited = {"drawing", "Krea Studio is at"}
        while waited and (line := server.stdout.readline()):
            waited = {words for words in waited if words not in line}
        server.send_signal(signal.SIGTERM)  # which is handled as Ctrl+C is
        told, _ = server.communicate(timeout=60)
    assert (server.returncode, waited) == (0, set())
    assert "1 run will go on when the studio is started again" in told and "Traceback" not in told
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "library" / RECORDS_FILE, tmp_path / "copy")
    copy = Library(tmp_path / "copy")
    assert copy.records.count() == 1
    assert [row.asked.prompt for row in Rows(copy.records).unfinished() if row.asked] == ["a fox"]
    copy.close()
