"""Style references and moodboards as people use them: in Chromium, against the real server and embedded checkpoints."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene
from tests.browser.conftest import Visit, expect_ready
from tests.browser.test_create import choose_draft

pytestmark = pytest.mark.browser

PROMPT = "a lighthouse at sea"


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five pictures of one look, as files."""
    folder = tmp_path_factory.mktemp("looks")
    paths = [folder / f"look {number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        render(replace(random_scene(40 + number), style="flat", palette="candy"), 256, 192).save(path)
    return paths


def drop(page: Page, zone: str, path: Path) -> None:
    """Drop a file on a zone, as a person does from the desktop."""
    files = page.evaluate_handle(
        """async ([name, bytes]) => {
            const files = new DataTransfer();
            const type = name.endsWith("png") ? "image/png" : "image/jpeg";
            files.items.add(new File([new Uint8Array(bytes)], name, { type }));
            return files;
        }""",
        [path.name, list(path.read_bytes())],
    )
    for kind in ("dragenter", "dragover", "drop"):
        page.locator(f"{zone} button").first.dispatch_event(kind, {"dataTransfer": files})


def strength(page: Page, place: int):
    return page.locator(f"#reference-{place}-strength input[type=number]")


def generate(page: Page) -> str:
    """Generate one picture; returns its caption."""
    page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#gallery .caption-label")).to_have_count(1)
    return page.locator("#gallery .caption-label").inner_text()


def test_references_are_dropped_weighed_and_dragged_from_the_results(visit: Visit, looks: list[Path]) -> None:
    page = visit()
    choose_draft(page)
    drop(page, "#reference-file", looks[0])
    expect(strength(page, 1)).to_have_value("50")
    strength(page, 1).fill("80")
    strength(page, 1).press("Tab")
    assert generate(page).endswith("style reference at 80 %")
    expect(page.locator("#status")).to_contain_text("References:")

    page.locator("#gallery img").first.drag_to(page.locator("#reference-file"))
    expect(strength(page, 2)).to_be_visible()
    expect(strength(page, 1)).to_have_value("80")
    assert generate(page).endswith("style references at 80 %, 50 %")

    page.get_by_role("button", name="Use as style reference").click()
    expect(strength(page, 3)).to_be_visible()
    page.locator("#reference-1-remove").click()
    expect(strength(page, 3)).to_be_hidden()
    expect(strength(page, 1)).to_have_value("50")
    page.get_by_role("button", name="Reuse settings").click()
    expect(strength(page, 1)).to_have_value("80")
    expect(strength(page, 2)).to_have_value("50")
    expect(strength(page, 3)).to_be_hidden()


def drop_before_it_is_read(page: Page, zone: str, path: Path) -> None:
    """Drop a file as soon as the zone is free, which it is while what was dropped before is being read."""
    with page.expect_response(re.compile("/queue/join|/run/")):
        drop(page, zone, path)
    page.wait_for_timeout(500)


def test_what_is_dropped_while_another_is_read_is_not_lost(visit: Visit, looks: list[Path], tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    render(random_scene(9), 256, 192).resize((4000, 3000)).save(large)
    page = visit()
    for path in (large, looks[0], looks[1]):
        drop_before_it_is_read(page, "#reference-file", path)
    expect(strength(page, 3)).to_be_visible()
    expect(strength(page, 4)).to_be_hidden()

    page.get_by_role("tab", name="Moodboards").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Dropped")
    page.get_by_role("button", name="Create board").click()
    expect(page.locator("#board-facts")).to_contain_text("Dropped")
    for path in (large, looks[0], looks[1]):
        drop_before_it_is_read(page, "#board-drop", path)
    expect(page.locator("#board-pictures img")).to_have_count(3)


def test_what_is_no_picture_is_one_message(visit: Visit, looks: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    page = visit()
    drop(page, "#reference-file", text)
    expect(page.get_by_role("alert")).to_contain_text("is not a PNG, JPEG, WebP, AVIF or HEIC picture")
    page.locator("#reference-file input[type=file]").set_input_files(looks)
    expect(page.get_by_role("alert")).to_contain_text("give at most 4")
    page.locator("#reference-file input[type=file]").set_input_files(looks[:4])
    expect(strength(page, 4)).to_be_visible()


def test_text_that_is_pasted_with_a_picture_of_itself_is_text(visit: Visit, looks: list[Path]) -> None:
    page = visit()
    for texts, taken in ((["text/plain"], False), ([], True)):
        refused = page.evaluate(
            """([texts, bytes]) => {
                const copied = new DataTransfer();
                for (const type of texts) copied.setData(type, "a fox");
                copied.items.add(new File([new Uint8Array(bytes)], "cells.png", { type: "image/png" }));
                const paste = new ClipboardEvent("paste", { clipboardData: copied, bubbles: true, cancelable: true });
                return !document.querySelector("#prompt textarea").dispatchEvent(paste);
            }""",
            [texts, list(looks[0].read_bytes())],
        )
        assert refused is taken
    expect(strength(page, 1)).to_be_visible()
    expect(strength(page, 2)).to_be_hidden()


def test_the_chosen_moodboard_s_line_is_true_and_takes_results(visit: Visit, looks: list[Path]) -> None:
    page = visit()
    choose_draft(page)
    page.get_by_role("tab", name="Moodboards").click()
    expect(page.locator("#boards input")).to_have_value(re.compile("."))
    page.get_by_role("textbox", name="Name", exact=True).fill("Lines")
    page.get_by_role("button", name="Create board").click()
    expect(page.locator("#board-facts")).to_contain_text("Lines")
    page.locator("#board-drop input[type=file]").set_input_files(looks[:3])
    expect(page.locator("#board-pictures img")).to_have_count(3)
    page.get_by_role("tab", name="Create").click()
    page.locator("#moodboard input").click()
    page.get_by_role("option", name="Lines").click()
    line = page.locator("#moodboard-text")
    expect(line).to_contain_text("was not analyzed")
    page.get_by_role("tab", name="Moodboards").click()
    page.get_by_role("button", name="Analyze", exact=True).click()
    expect(page.locator("#board-palette")).to_contain_text("%")
    page.get_by_role("button", name="Use in Create").click()
    expect(line).to_contain_text("3 of 3 pictures steer")

    generate(page)
    page.locator("#gallery img").first.drag_to(page.locator("#moodboard-choice"))
    expect(page.locator("#stage")).to_contain_text("has 4 pictures now")
    expect(line).to_contain_text("Changed since it was analyzed")
    page.get_by_role("button", name="Reuse settings").click()
    expect(line).to_contain_text("As recorded in the picture: 3 pictures steer")


def test_a_moodboard_is_made_analyzed_edited_used_and_kept(visit: Visit, looks: list[Path]) -> None:
    page = visit()
    page.get_by_role("tab", name="Moodboards").click()
    expect(page.locator("#boards input")).to_have_value(re.compile("."))  # the examples are there
    name = page.get_by_role("textbox", name="Name", exact=True)
    name.fill("Sweets")
    page.get_by_role("button", name="Create board").click()
    expect(page.locator("#board-facts")).to_contain_text("Sweets")
    page.locator("#board-drop input[type=file]").set_input_files(looks)
    expect(page.locator("#board-pictures img")).to_have_count(5)
    page.get_by_role("button", name="Analyze", exact=True).click()
    expect(page.locator("#board-palette")).to_contain_text("%")
    keywords = page.get_by_role("textbox", name="Keywords")
    expect(keywords).to_have_value(re.compile("."))
    keywords.fill(keywords.input_value() + ", candy colors")
    page.get_by_role("textbox", name="Avoids").click()
    expect(page.locator("#board-saved")).to_contain_text("aved")

    page.get_by_role("button", name="Use in Create").click()
    expect(page.locator("#moodboard input")).to_have_value("Sweets")
    expect(page.locator("#moodboard-text")).to_contain_text("5 of 5 pictures steer")
    choose_draft(page)
    assert generate(page).endswith("moodboard «Sweets» at 35 %")

    page.reload()
    expect_ready(page)
    page.get_by_role("tab", name="Moodboards").click()
    page.locator("#boards input").click()
    page.get_by_role("option", name="Sweets").click()
    expect(page.locator("#board-pictures img")).to_have_count(5)
    expect(page.get_by_role("textbox", name="Keywords")).to_have_value(re.compile("candy colors$"))
