"""The README's pictures of the page: `python -m tests.browser.screenshots` writes docs/images/.

A real run on the embedded checkpoints, at desktop and phone width, with fixed seeds, so that the pictures change only
when the page or the model does.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.studio import PATIENCE_MS, ROOT, chromium, serving

IMAGES = ROOT / "docs" / "images"
RUNS = [
    ("papercut of a fox in the mountains under the moon, in autumn colors", "1:1", "7", "2"),
    ("neon sign of a whale at sea, midnight colors, dynamic", "16:9", "11", "1"),
    ("watercolor painting of a lighthouse on the waves in ocean blues, with a strong wind", "1:1", "5", "1"),
    ("mosaic of a red fox on a sunny day, forest greens", "1:1", "3", "1"),
    ("a hot air balloon over rolling hills in the sun, flat poster, sunset colors, vivid", "3:2", "7", "1"),
]
VIEWS = {
    "desktop.png": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "desktop-dark.png": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone.png": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
}


def main() -> None:
    """Make the runs once, then take each view of the last one."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url, chromium() as browser:
        page = _open(browser, url, VIEWS["desktop.png"])
        for run in RUNS:
            _generate(page, *run)
        for name, view in VIEWS.items():
            page = _open(browser, url, view)
            _generate(page, *RUNS[-1])
            page.evaluate("window.scrollTo(0, 0)")
            if "phone" in name:
                page.locator("#results").scroll_into_view_if_needed()
            page.mouse.move(0, 0)
            page.screenshot(path=IMAGES / name)
            print(IMAGES / name)


def _open(browser: Browser, url: str, view: dict[str, object]) -> Page:
    page = browser.new_context(**view).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    expect(page.locator("#status")).to_contain_text("oad")
    return page


def _generate(page: Page, prompt: str, aspect_ratio: str, seed: str, batch: str) -> None:
    page.locator("#aspect-ratio").get_by_text(aspect_ratio, exact=True).click()
    page.locator("#batch").get_by_text(batch, exact=True).click()
    page.get_by_role("textbox", name="Seed", exact=True).fill(seed)
    expect(page.get_by_role("checkbox", name="New seed every time")).not_to_be_checked()
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#gallery .caption-label")).to_have_count(int(batch))


if __name__ == "__main__":
    main()
