"""What page and run cost one another: `python -m tests.browser.air` writes docs/measurements/page.md.

Server and browser share this machine's cores, as on a laptop. Four pictures are drawn with the page open and by the
engine alone, in turns, and with the page and nine more that watch the same run, which ask as `studio.js` does; Stop is
pressed at different moments of long runs.
"""

import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import psutil
from playwright.sync_api import Page, expect

from krea_studio.library.store import RECORDS_FILE, Library
from krea_studio.services import build_services
from krea_studio.settings import Settings
from tests.browser.studio import PATIENCE_MS, ROOT, chromium, serving

REPORT = ROOT / "docs" / "measurements" / "page.md"
PAIRS = 5
STOPS_SECONDS = (0.4, 1.1, 2.3, 3.7, 5.2)
WATCHERS = 10
WATCHED_MS = 400  # between an answer and the next question, as in studio.js
FIRST_EVENT = """
    () => new Promise((told) => {
        const began = performance.now();
        const seen = new MutationObserver(() => {
            if (!document.querySelector("#stage .running")) return;
            seen.disconnect();
            told(performance.now() - began);
        });
        seen.observe(document.body, { subtree: true, childList: true });
        document.querySelector("#generate").click();
    })
"""
PROMPT = "papercut of a fox in the mountains under the moon, in autumn colors"
WATCH_LONG_TASKS = """
    window.longTasks = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longTasks.push(entry.duration);
    }).observe({ type: "longtask" });
"""


def main() -> None:
    """Measure, print and write the report."""
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        alone = build_services(Settings(library=folder / "alone"))
        (folder / "served").mkdir()
        with serving(folder / "served") as url:
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            expect(page.locator("#status")).to_contain_text("oad")
            page.evaluate(WATCH_LONG_TASKS)
            library = Library(folder / "served" / "library")
            server, chromes = _processes(folder / "served")
            _fill(page, 4)
            _draw(page)  # both are warm then
            alone.studio.generate(_request())
            page.evaluate("window.longTasks = []")
            paired, shares = [], []
            for _ in range(PAIRS):
                before = _cpu_seconds([server]), _cpu_seconds(chromes())
                _draw(page)
                served, browsed = _cpu_seconds([server]) - before[0], _cpu_seconds(chromes()) - before[1]
                shares.append(browsed / (served + browsed))
                with_page = sum(record.seconds for record in library.recent(4))
                without = sum(record.seconds for record in alone.studio.generate(_request()))
                paired.append(with_page / without)
            watched, begun = [], []
            for _ in range(PAIRS):
                times = {}
                for others in (0, WATCHERS - 1):
                    with _watching(url, library, others):
                        begun.append(_draw(page))
                    times[others] = sum(record.seconds for record in library.recent(4))
                watched.append(times[WATCHERS - 1] / times[0])
            longest = max(page.evaluate("window.longTasks"), default=0.0)
            late = [_stop(page, library, seconds) for seconds in STOPS_SECONDS]
    rows = [
        ("Drawing four pictures with the page open / without it", _spread(paired, "{:.2f}"), "≤ 1.05"),
        (f"The same with {WATCHERS} pages that watch the run / one", _spread(watched, "{:.2f}"), "≤ 1.05"),
        ("From the click on Generate to the first news of the run", _spread(begun, "{:.0f} ms"), "≤ 100 ms"),
        ("The browser's share of the CPU time of a run", _spread(shares, "{:.1%}"), "≤ 10 %"),
        ("Longest task of the browser's main thread during runs", f"{longest:.0f} ms", "≤ 200 ms"),
        ("From the click on Stop to the run's end, less a step", _spread(late, "{:.2f} s"), "≤ 1 s"),
    ]
    table = "\n".join(f"| {what} | {measured} | {target} |" for what, measured, target in rows)
    REPORT.write_text(
        "# The page beside a run\n\n"
        "Written by `python -m tests.browser.air`; run it again to measure another machine. Server and browser share "
        f"{psutil.cpu_count()} cores. Medians, with the least and the greatest in brackets.\n\n"
        f"| what | measured | target |\n|---|---:|---:|\n{table}\n"
    )
    print(REPORT.read_text())


def _request(pictures: int = 4):
    from krea_studio.recipe.request import parse_request

    return parse_request({"prompt": PROMPT, "batch": pictures, "seed": 7})


def _fill(page: Page, pictures: int) -> None:
    page.locator("#creativity").get_by_text("Raw", exact=True).click()
    page.locator("#batch").get_by_text(str(pictures), exact=True).click()
    page.get_by_role("textbox", name="Seed", exact=True).fill("7")
    page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)


def _draw(page: Page) -> float:
    """Draw a run, and give the milliseconds from the click to the first news of it."""
    milliseconds = page.evaluate(FIRST_EVENT)
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    return milliseconds


@contextmanager
def _watching(url: str, library: Library, watchers: int) -> Iterator[None]:
    """So many more pages that watch the run which begins meanwhile, until its end."""
    last = _last_run(library)
    with ThreadPoolExecutor(max(1, watchers)) as pool:
        for _ in range(watchers):
            pool.submit(_watch, url, library, last)
        yield


def _watch(url: str, library: Library, last: str) -> None:
    while (run := _last_run(library)) == last:
        time.sleep(0.02)
    version, ended = -1, False
    with httpx.Client(base_url=url, timeout=PATIENCE_MS / 1000) as client:
        while not ended:
            told = client.get(f"/runs/{run}", params={"since": version}).json()
            version, ended = told["version"], told["ended"]
            time.sleep(WATCHED_MS / 1000)


def _last_run(library: Library) -> str:
    with closing(sqlite3.connect(library.folder / RECORDS_FILE)) as connection:
        found = connection.execute("SELECT id FROM run ORDER BY created_at DESC LIMIT 1").fetchone()
    return found[0] if found else ""


def _stop(page: Page, library: Library, seconds: float) -> float:
    """Seconds from the click on Stop to the end of a run of long pictures, less one of its steps."""
    advanced = page.locator("#advanced").get_by_role("button").first
    if not page.get_by_label("Steps").is_visible():
        advanced.click()
        page.wait_for_timeout(500)
    page.get_by_label("Steps").fill("100")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage")).to_contain_text(re.compile(r"step \d+ of 100"))
    page.wait_for_timeout(1000 * seconds)
    label = page.locator("#stage").inner_text()
    pressed = time.time()
    page.locator("#stop").click()
    expect(page.locator("#stop")).to_be_hidden()
    with sqlite3.connect(library.folder / RECORDS_FILE) as connection:
        began, ended = connection.execute("SELECT started_at, ended_at FROM run ORDER BY created_at DESC").fetchone()
    steps = int(re.search(r"step (\d+) of", label)[1])
    step = (pressed - datetime.fromisoformat(began).timestamp()) / max(1, steps)
    return max(0.0, datetime.fromisoformat(ended).timestamp() - pressed - step)


def _processes(folder: Path):
    """The server's process, and a function that lists the browser's."""
    children = psutil.Process().children(recursive=True)
    server = next(each for each in children if "app.py" in " ".join(each.cmdline()))

    def chromes() -> list[psutil.Process]:
        return [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]

    return server, chromes


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in processes)


def _spread(values: list[float], form: str) -> str:
    low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} ({low} – {high})"


if __name__ == "__main__":
    main()
