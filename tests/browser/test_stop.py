"""Stop in every phase of a run: in Chromium, on a server whose phases last until they have been seen.

The page presses Stop itself, at the moment in which it shows the phase.
"""

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from krea_studio.library.store import RECORDS_FILE
from tests.browser.studio import serving
from tests.browser.test_runs import generate, opened

pytestmark = pytest.mark.browser

PRESS_STOP_AT = """(label) => {
    window.pressedAt = "";
    const watching = new MutationObserver(() => {
        const shown = document.querySelector("#stage p")?.textContent ?? "";
        const stop = document.querySelector("#stop");
        if (!shown.match(label) || !stop?.offsetParent) return;
        watching.disconnect();
        window.pressedAt = shown;
        stop.click();
    });
    watching.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


@contextmanager
def writer() -> Iterator[tuple[dict[str, str], threading.Event]]:
    """The settings of a server's writer, which answers once the event is set."""
    may_answer = threading.Event()

    class Writer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            may_answer.wait(60)
            body = json.dumps({"choices": [{"message": {"content": "a fox in oil"}, "finish_reason": "stop"}]}).encode()
            with suppress(OSError):  # who asked has gone
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *told: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Writer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        yield {"KREA_STUDIO_EXPANDER_URL": url, "KREA_STUDIO_EXPANDER_MODEL": "slow"}, may_answer
        may_answer.set()
        server.shutdown()


def expect_stopped(page: Page) -> None:
    """The page has pressed Stop, and says that the run has ended by it."""
    page.wait_for_function("window.pressedAt")
    expect(page.locator("#stage")).to_contain_text("Stopped. Finished pictures are kept.")
    expect(page.locator("#stop")).to_be_hidden()


def draw_another(page: Page, prompt: str) -> None:
    """The engine is free: the next run, of two steps, is drawn."""
    page.get_by_label("Steps").fill("2")
    generate(page, prompt)
    expect(page.locator("#details")).to_contain_text(prompt)
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#gallery .caption-label")).to_have_count(1)
    page.get_by_label("Steps").fill("100")


def begin(page: Page, prompt: str, press_at: str) -> None:
    page.evaluate(PRESS_STOP_AT, press_at)
    generate(page, prompt)


def test_stop_is_answered_in_every_phase_and_the_next_run_draws(browser: Browser, tmp_path: Path) -> None:
    with writer() as (settings, may_write), serving(tmp_path, **settings) as address:
        page = opened(browser, address)
        begin(page, "a fox", ".")  # at once: the model is being loaded
        expect_stopped(page)
        draw_another(page, "a bird")

        page.locator("#creativity").get_by_text("Medium", exact=True).click()
        begin(page, "a fox", "Expanding")
        expect_stopped(page)
        may_write.set()
        draw_another(page, "a cactus")

        page.locator("#creativity").get_by_text("Raw", exact=True).click()
        begin(page, "a fox", "Step [1-9]")
        expect_stopped(page)
        draw_another(page, "a whale")

        begin(page, "a fox", "Finishing")
        expect(page.locator("#stage")).to_contain_text(re.compile("Step [1-9]"))
        with closing(sqlite3.connect(tmp_path / "library" / RECORDS_FILE, isolation_level=None)) as records:
            records.execute("BEGIN IMMEDIATE")  # the picture cannot be noted meanwhile
            page.wait_for_function("window.pressedAt")
            records.execute("ROLLBACK")
        expect(page.locator("#details")).to_contain_text("a fox")  # told as stopped, or done where Stop came too late
        expect(page.locator("#stop")).to_be_hidden()
        draw_another(page, "a tree")
        page.context.close()
