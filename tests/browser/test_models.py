"""A file of weights, chosen on the page: what it takes is told, and the next picture is drawn by it."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from krea_studio.library.store import Library
from tests.browser.conftest import expect_ready, open_advanced
from tests.browser.studio import PATIENCE_MS, serving
from tests.model_files import native, transformer_state, write

pytestmark = pytest.mark.browser


def draw(page: Page, prompt: str, count: int) -> None:
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#recent img")).to_have_count(count, timeout=PATIENCE_MS)


def test_choose_a_file_see_the_plan_draw_and_switch_variant(browser: Browser, tmp_path: Path) -> None:
    models = tmp_path / "models"
    file = write(models / "diffusion_models" / "own_turbo.safetensors", native(transformer_state()))
    with serving(tmp_path, KREA_STUDIO_MODELS=str(models), KREA_STUDIO_BASE="mini-medium") as address:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        expect_ready(page)
        page.locator("#resolution").get_by_text("512 draft").click()
        open_advanced(page)
        expect(page.locator("#model input")).to_have_value("Mini Turbo")
        expect(page.locator("#model-text")).to_contain_text("MB of weights")
        page.locator("#model input").click()
        page.get_by_role("option", name="own_turbo.safetensors").click()
        expect(page.locator("#model-text")).to_contain_text("A single file, run as Turbo")
        expect(page.locator("#status")).to_contain_text("own_turbo.safetensors")
        draw(page, "a fox", 1)
        # Another variant has its own; the choice is kept for this one, by the page that opens anew too.
        page.locator("#variant").get_by_text("Medium", exact=True).click()
        expect(page.locator("#model input")).to_have_value("Mini Medium")
        page.reload()
        expect_ready(page)
        open_advanced(page)
        expect(page.locator("#model input")).to_have_value("own_turbo.safetensors")
        page.locator("#model input").fill("/nowhere/other.safetensors")
        page.locator("#model input").press("Enter")
        expect(page.locator("#model-text")).to_contain_text("/nowhere/other.safetensors")
        expect(page.locator("#model input")).to_have_value("own_turbo.safetensors")
        page.close()
    (record,) = Library(tmp_path / "library").recent(5)
    assert record.recipe.checkpoint == str(file)
