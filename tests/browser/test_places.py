"""Where the page runs: behind a reverse proxy on a sub-path, with a proxy in its environment, as a Space."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import expect_ready
from tests.browser.studio import PATIENCE_MS, serving

pytestmark = pytest.mark.browser

SUB_PATH = "/tools/studio"
ENVIRONMENT = {"GRADIO_ROOT_PATH": SUB_PATH, "ALL_PROXY": "socks5://127.0.0.1:9"}
SPACE = {"SPACE_ID": "team/studio", "SPACE_HOST": "team-studio.hf.space", "SYSTEM": "spaces"}
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


@contextmanager
def reverse_proxy(target: str, elsewhere: list[str]) -> Iterator[str]:
    """A reverse proxy as people set one up: SUB_PATH is taken off, the host is told, answers go on as they come.

    `elsewhere` gets the paths that belong to other sites of the host.
    """
    host = urlsplit(target).netloc

    class Forwards(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{SUB_PATH}/"):
                elsewhere.append(self.path)
                self.send_response(204)
                self.end_headers()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = http.client.HTTPConnection(host, timeout=120)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            headers |= {
                "Host": self.headers["Host"],
                "X-Forwarded-Host": self.headers["Host"],
                "X-Forwarded-Proto": "http",
            }
            asked.request(self.command, self.path.removeprefix(SUB_PATH), body, headers)
            answer = asked.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (*HOP_BY_HOP, "date", "server"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                while part := answer.read1(2**16):
                    self.wfile.write(part)
                    self.wfile.flush()
            except (OSError, http.client.HTTPException):
                pass  # one of the two has gone away
            asked.close()

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forwards)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{SUB_PATH}/"
    server.shutdown()
    server.server_close()


def draw(page: Page, address: str) -> None:
    """Open the page, draw a picture on it, and see it."""
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    expect_ready(page)
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a fox")
    page.get_by_role("button", name="Generate", exact=True).click()
    picture = page.locator("#gallery img").first
    expect(picture).to_be_visible(timeout=PATIENCE_MS)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") >= 512


def test_the_page_draws_on_a_sub_path_where_the_environment_names_a_proxy(browser: Browser, tmp_path: Path) -> None:
    elsewhere, strangers, trouble = [], [], []
    with serving(tmp_path, **ENVIRONMENT) as target, reverse_proxy(target, elsewhere) as address:
        page = browser.new_page()
        own = (address, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(own) else strangers.append(request.url))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        draw(page, address)
        page.close()
    assert strangers == [] and trouble == []
    assert set(elsewhere) <= {"/favicon.ico"}, "which a browser asks of every host"


def test_a_space_draws_and_its_page_fetches_nothing_from_elsewhere(browser: Browser, tmp_path: Path) -> None:
    """Gradio's own page asks a font service for a typeface there; the browser is told not to."""
    answered, refused = [], []
    with serving(tmp_path, **SPACE) as address:
        page = browser.new_page()
        own = (address, "data:", "blob:")
        page.on("response", lambda answer: None if answer.url.startswith(own) else answered.append(answer.url))
        page.on("requestfailed", lambda r: None if r.url.startswith(own) else refused.append((r.url, r.failure)))
        draw(page, address)
        page.close()
    assert answered == []
    assert all(reason == "csp" for _, reason in refused), refused
