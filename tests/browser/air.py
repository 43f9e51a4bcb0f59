"""What page and run cost one another: `python -m tests.browser.air` writes docs/measurements/page.md.

Server and browser share this machine's cores, as on a laptop. Four pictures are drawn with the page open and by the
engine alone, in turns; Stop is pressed at different moments of long runs.
"""

import re
import sqlite3
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil
from playwright.sync_api import Page, expect

from krea_studio.library.store import RECORDS_FILE, Library
from krea_studio.services import build_services
from krea_studio.settings import Settings
from tests.browser.studio import PATIENCE_MS, ROOT, chromium, serving

REPORT = ROOT / "docs" / "measurements" / "page.md"
PAIRS = 5
STOPS_SECONDS = (0.4, 1.1, 2.3, 3.7, 5.2)
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
            longest = max(page.evaluate("window.longTasks"), default=0.0)
            late = [_stop(page, library, seconds) for seconds in STOPS_SECONDS]
    rows = [
        ("Drawing four pictures with the page open / without it", _spread(paired, "{:.2f}"), "≤ 1.05"),
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


def _draw(page: Page) -> None:
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()


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
