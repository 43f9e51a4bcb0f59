"""The tab Sweep as people use it: a table that fills, is stopped and goes on, and a sheet that gives it back."""

import io
import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, expect_ready, open_advanced

pytestmark = pytest.mark.browser

PRESS_STOP_FROM = """(count) => {
    const watching = new MutationObserver(() => {
        const shown = parseInt(document.querySelector("#sweep-stage .facts")?.textContent ?? "0");
        if (shown < count) return;
        watching.disconnect();
        document.querySelector("#sweep-stop").click();
    });
    watching.observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
FACTS, CELL = "#sweep-stage .facts", "#sweep-stage button.cell"


def set_up(page: Page, steps: int = 4) -> None:
    """Drafts of few steps and one seed, as they were written."""
    page.locator("#resolution").get_by_text("512 draft").click()
    page.locator("#creativity").get_by_text("Raw", exact=True).click()
    page.get_by_role("textbox", name="Seed", exact=True).fill("7")
    open_advanced(page)
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("textbox", name="Prompt", exact=True).fill("mosaic of a red fox, forest greens")
    page.get_by_role("tab", name="Sweep").click()
    expect(page.locator("#sweep-base")).to_contain_text("seed 7")


def vary(page: Page, axis: str, what: str, values: str) -> None:
    page.get_by_label(axis, exact=True).click()
    page.get_by_role("option", name=what, exact=True).click()
    page.get_by_role("textbox", name=f"{axis}: values").fill(values)


def pixels(address: str) -> np.ndarray:
    with urllib.request.urlopen(address) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))


def test_a_sweep_is_stopped_goes_on_is_reused_and_comes_back_from_its_sheet(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    set_up(page)
    vary(page, "Down", "Words", "fox → owl, whale")
    expect(page.locator("#sweep-plan")).to_contain_text("15 pictures")
    page.evaluate(PRESS_STOP_FROM, 7)
    page.get_by_role("button", name="Start sweep").click()
    expect(page.locator("#sweep-stage .canvas img")).to_be_visible()
    expect(page.locator("#sweep-stage")).to_contain_text("Stopped. Finished pictures are kept. Go on draws the other")
    stopped_at = page.locator(CELL).count()
    assert 7 <= stopped_at < 15
    kept = [each.get_attribute("data-picture") for each in page.locator(CELL).all()]

    page.reload()
    expect_ready(page)
    page.get_by_role("tab", name="Sweep").click()
    expect(page.locator(CELL)).to_have_count(stopped_at)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(FACTS)).to_have_text("15 of 15 pictures")
    expect(page.locator("#sweep-stop")).to_be_hidden()
    assert set(kept) <= {each.get_attribute("data-picture") for each in page.locator(CELL).all()}

    page.get_by_role("button", name="Open Intensity 100, fox → owl").click()
    opened = page.locator("#sweep-picture img")
    expect(opened).to_have_js_property("naturalWidth", 512)
    cell = pixels(opened.evaluate("image => image.src"))
    page.get_by_role("button", name="Reuse in Create").click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("mosaic of a red owl, forest greens")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#details")).to_contain_text("intensity +100")
    expect(page.locator("#stop")).to_be_hidden()
    assert np.array_equal(pixels(page.locator("#gallery img").first.get_attribute("src")), cell)

    page.get_by_role("tab", name="Sweep").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the sheet").click()
    download.value.save_as(tmp_path / "sheet.png")
    newcomer = visit()
    newcomer.locator("#settings-file input[type=file]").set_input_files(tmp_path / "sheet.png")
    expect(newcomer.locator("#sweep-notice")).to_contain_text("The sweep of 15 pictures is here")
    expect(newcomer.get_by_role("textbox", name="Across: values")).to_have_value("-100, -50, 0, 50, 100")
    expect(newcomer.get_by_role("textbox", name="Down: values")).to_have_value("fox → owl, whale")
    expect(newcomer.locator("#sweep-plan")).to_contain_text("15 pictures, all of them here already")
    newcomer.get_by_role("button", name="Start sweep").click()
    expect(newcomer.locator(FACTS)).to_have_text("15 of 15 pictures")


def test_a_large_table_scrolls_in_itself_and_mistakes_are_said_beside_their_box(visit: Visit) -> None:
    page = visit(width=390, height=844)
    set_up(page, steps=1)
    vary(page, "Down", "Intensity", "0:10:0")
    expect(page.locator("#sweep-y-error")).to_contain_text("with step 0")
    vary(page, "Down", "Complexity", "0,10")
    expect(page.locator("#sweep-y-error")).to_be_hidden()
    page.get_by_role("textbox", name="Across: values").fill("-100:100")
    expect(page.locator("#sweep-plan")).to_contain_text("201 × 2 = 402 pictures, of at most 100")
    page.get_by_role("textbox", name="Across: values").fill("-45:45:10")
    expect(page.locator("#sweep-plan")).to_contain_text("20 pictures")
    page.get_by_role("button", name="Start sweep").click()
    expect(page.locator(FACTS)).to_have_text(re.compile("^(20|1\\d) of 20"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    scroll = page.locator(".sweep-scroll")
    assert scroll.evaluate("each => each.scrollWidth > each.clientWidth")
    assert page.locator(".sweep-table thead th").first.evaluate("each => each.offsetWidth") >= 56
