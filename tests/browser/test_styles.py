"""Creativity and styles as people use them: in Chromium, against the real server and the embedded checkpoints."""

import io
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from krea_studio.library.pictures.metadata import read_recipe
from tests.browser.conftest import Visit, show_tab
from tests.browser.test_create import SMALLEST_TARGET_PX, choose_draft
from tests.style_files import style_file

pytestmark = pytest.mark.browser

PROMPT = "a lighthouse at sea"
SEED = "7"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two styles for the embedded Turbo, and a file that is none."""
    folder = tmp_path_factory.mktemp("styles")
    etching = {"name": "Etching", "trigger": "etched lines", "suggested_prompt": "a fox, etched lines"}
    found = [
        style_file(folder / "etching.safetensors", 1, **etching),
        style_file(folder / "charcoal.safetensors", 2, name="Charcoal", trigger="charcoal drawing"),
        folder / "broken.safetensors",
    ]
    found[2].write_bytes(b"\x80\x04 a pickle")
    return found


def generate(page: Page, prompt: str = PROMPT, seed: str = SEED) -> str:
    """Generate one picture with a seed; returns its caption."""
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    page.get_by_role("textbox", name="Seed", exact=True).fill(seed)
    expect(page.get_by_role("checkbox", name="New seed every time")).not_to_be_checked()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#gallery .caption-label")).to_have_count(1)
    return page.locator("#gallery .caption-label").inner_text()


def png(page: Page) -> bytes:
    """The file of the picture that is shown."""
    with urllib.request.urlopen(page.locator("#gallery img").first.get_attribute("src")) as answer:
        return answer.read()


def pixels(page: Page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(page))).convert("RGB"))


def recipe(page: Page, folder: Path) -> dict[str, Any]:
    path = folder / "picture.png"
    path.write_bytes(png(page))
    return read_recipe(path).as_json()


def choose_creativity(page: Page, level: str) -> None:
    page.locator("#creativity").get_by_text(level, exact=True).click()


def add_style(page: Page, name: str, place: int) -> None:
    """Take a style from the list; Gradio fills a place just after it shows it, sooner than a person types."""
    page.locator("#add-style input").click()
    page.get_by_role("option", name=name, exact=True).click()
    expect(page.locator("#add-style input")).to_have_value("")
    expect(weight(page, place)).to_have_value("100")
    page.wait_for_timeout(500)


def weight(page: Page, place: int) -> Locator:
    return page.locator(f"#style-{place}-weight input[type=number]")


def open_styles(page: Page) -> None:
    show_tab(page, "Styles")
    expect(page.locator("#style-cards img").first).to_be_visible()


def card(page: Page, name: str) -> Locator:
    return page.locator("#style-cards .caption-label").filter(has_text=name)


def import_style(page: Page, file: Path, name: str) -> None:
    page.locator("#style-file input[type=file]").set_input_files(file)
    expect(page.locator("#style-notice")).to_contain_text(name)
    expect(page.locator("#style-heading")).to_contain_text(name)
    expect(card(page, name)).to_be_visible()


def scrolls_sideways(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_a_prompt_is_expanded_edited_and_drawn_as_edited(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    choose_draft(page)
    page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)
    choose_creativity(page, "Medium")
    page.get_by_role("button", name="Expand the prompt").click()
    box = page.locator("#expanded-prompt textarea")
    expect(box).to_be_visible()
    edited = f"{box.input_value()}, dusk"
    assert "lighthouse" in edited
    box.fill(edited)
    generate(page)
    expect(page.locator("#details")).to_contain_text(edited)
    expect(page.locator("#details")).to_contain_text("then edited")
    told = recipe(page, tmp_path)
    assert told["prompt"] == PROMPT
    assert told["expansion"]["text"] == edited and told["expansion"]["edited"]


def test_styles_are_imported_used_together_removed_and_leave_nothing_behind(
    visit: Visit, files: list[Path], tmp_path: Path
) -> None:
    page = visit()
    choose_draft(page)
    choose_creativity(page, "Raw")
    generate(page)
    plain = pixels(page)

    open_styles(page)
    page.locator("#style-file input[type=file]").set_input_files(files[2])
    expect(page.locator("#style-refusal")).to_contain_text("refused")
    import_style(page, files[0], "Etching")
    expect(page.locator("#style-report")).to_contain_text("0 unmatched")
    expect(page.locator("#style-report")).to_contain_text("Mini Turbo")
    expect(page.locator("#style-refusal")).to_be_hidden()
    import_style(page, files[1], "Charcoal")
    card(page, "Etching").click()
    expect(page.locator("#style-heading")).to_contain_text("Etching")
    page.get_by_role("button", name="Use in Create").nth(-1).click()

    expect(weight(page, 1)).to_have_value("100")
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(PROMPT)
    add_style(page, "Charcoal", 2)
    weight(page, 2).fill("-40")
    weight(page, 2).press("Tab")
    page.get_by_label("charcoal drawing").uncheck()
    assert generate(page).endswith("styles Etching 100 %, Charcoal −40 %")
    both = pixels(page)
    assert (both != plain).any()
    told = recipe(page, tmp_path)
    assert told["prompt"] == PROMPT
    assert [(each["name"], each["weight"], each["trigger"]) for each in told["styles"]] == [
        ("Etching", 1.0, "etched lines"),
        ("Charcoal", -0.4, ""),
    ]

    page.locator("#style-1-remove").click()
    expect(weight(page, 2)).to_be_hidden()
    expect(weight(page, 1)).to_have_value("-40")
    assert generate(page).endswith("style Charcoal −40 %")
    assert (pixels(page) != both).any()

    page.locator("#style-1-remove").click()
    expect(weight(page, 1)).to_be_hidden()
    assert "style" not in generate(page)
    assert np.array_equal(pixels(page), plain)

    page.locator("#recent button").nth(2).click()
    expect(page.locator("#details")).to_contain_text("Etching 100 %, Charcoal −40 %")
    page.get_by_role("button", name="Reuse settings").click()
    expect(weight(page, 1)).to_have_value("100")
    expect(weight(page, 2)).to_have_value("-40")
    expect(page.get_by_label("charcoal drawing")).not_to_be_checked()
    generate(page)
    assert np.array_equal(pixels(page), both)

    add_style(page, "Etching", 1)
    expect(page.get_by_role("alert")).to_contain_text("chosen already")
    page.get_by_role("button", name="Try its prompt").click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a fox, etched lines")


@pytest.mark.parametrize("width", [390, 1440])
def test_styles_fit_the_screen_and_the_finger(visit: Visit, files: list[Path], width: int) -> None:
    page = visit(width=width, height=844)
    open_styles(page)
    if not card(page, "Etching").count():
        import_style(page, files[0], "Etching")
    card(page, "Etching").click()
    expect(page.locator("#style-heading")).to_contain_text("Etching")
    assert not scrolls_sideways(page)
    for element in ("#style-search input", "#style-repository input", "#style-use", "#style-save"):
        box = page.locator(element).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, element
        assert box["height"] >= SMALLEST_TARGET_PX, element
    page.locator("#style-use").click()
    expect(weight(page, 1)).to_be_visible()
    for element in ("#style-1-weight", "#style-1-remove", "#style-1-trigger label"):
        box = page.locator(element).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, element
    assert not scrolls_sideways(page)


def test_styles_are_found_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit()
    open_styles(page)
    page.get_by_role("textbox", name="Search").fill("retro anime")
    expect(page.locator("#style-cards .caption-label")).to_have_count(1)
    page.locator("#style-cards .thumbnail-item").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#style-heading")).to_contain_text("Retro anime")
    page.get_by_role("button", name="Download", exact=True).press("Enter")
    expect(page.locator("#style-notice").get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="Download", exact=True)).to_be_enabled()


def test_a_style_is_deleted_only_after_a_question_that_is_in_view(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    open_styles(page)
    import_style(page, style_file(tmp_path / "passing.safetensors", 3, name="Passing"), "Passing")
    page.locator("#style-manage > button").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("button", name="Really delete").locator("visible=true")).to_be_in_viewport()
    page.get_by_role("button", name="Really delete").locator("visible=true").click()
    expect(page.locator("#style-notice")).to_contain_text("is deleted")
    expect(card(page, "Passing")).to_have_count(0)
