"""Runs that outlive tabs and servers, and a line that is fair: in Chromium, each test with a server of its own."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from krea_studio.library.store import Library
from tests.browser.conftest import expect_ready, open_advanced
from tests.browser.studio import PATIENCE_MS, free_port, serving, start

pytestmark = pytest.mark.browser
STRANGERS = {"GRADIO_SERVER_NAME": "0.0.0.0", "KREA_STUDIO_UNWATCHED_SECONDS": "8"}


def opened(browser: Browser, address: str) -> Page:
    """The page of a new visitor, set to small pictures of a hundred steps as they were written."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    expect_ready(page)
    page.locator("#resolution").get_by_text("512 draft").click()
    page.locator("#creativity").get_by_text("Raw", exact=True).click()
    open_advanced(page)
    page.get_by_label("Steps").fill("100")
    return page


def generate(page: Page, prompt: str, pictures: int = 1) -> None:
    page.locator("#batch").get_by_text(str(pictures), exact=True).click()
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()


def test_a_server_that_is_killed_goes_on(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    address, server = f"http://127.0.0.1:{port}/", start(tmp_path, port)
    try:
        page = opened(browser, address)
        page.get_by_role("textbox", name="Seed", exact=True).fill("7")
        generate(page, "a fox", 3)
        expect(page.locator("#stop")).to_be_visible()
        generate(page, "a whale")
        expect(page.locator("#queue li")).to_have_count(1)
        expect(page.locator("#stage")).to_contain_text(re.compile(r"Picture [23] of 3 · step [1-9]"))
        server.kill()
        server.wait()
        server = start(tmp_path, port)
        expect(page.locator("#stage")).to_contain_text(re.compile(r"Picture [23] of 3 · step [1-9]"))
        other = opened(browser, address)
        expect(other.locator("#details")).to_contain_text("a whale")
        expect(other.locator("#stop")).to_be_hidden()
    finally:
        server.kill()
        server.wait()
    library = Library(tmp_path / "library")
    drawn = [(record.recipe.prompt, record.recipe.seed) for record in reversed(library.recent(9))]
    library.close()
    assert sorted(drawn[:3]) == [("a fox", 7), ("a fox", 8), ("a fox", 9)]
    assert [prompt for prompt, _ in drawn[3:]] == ["a whale"]


def test_owners_take_turns_and_who_left_gives_the_engine_back(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, **STRANGERS, KREA_STUDIO_PERSON_RUNS="20") as address:
        many, one = opened(browser, address), opened(browser, address)
        one.get_by_label("Steps").fill("30")
        many.locator("#resolution").get_by_text("1K", exact=True).click()  # the first is drawn as long as more are made
        for number in range(10):
            generate(many, f"a cactus {number}", 4)
            expect(many.locator("#stage")).to_contain_text("step")
            expect(many.locator("#queue li")).to_have_count(number)
        generate(one, "a rocket")
        expect(one.locator("#stage")).to_contain_text("Waiting for the engine")
        many.get_by_role("button", name="Stop", exact=True).click()
        expect(one.locator("#details")).to_contain_text("a rocket")
        many.context.close()
        library = Library(tmp_path / "library")
        others = {record.recipe.prompt for record in library.recent(99)} - {"a rocket"}
        assert others <= {"a cactus 0", "a cactus 1"}, "the runs of another one came first"

        leaver, stayer = opened(browser, address), one
        leaver.locator("#resolution").get_by_text("1K", exact=True).click()
        generate(leaver, "a mushroom", 4)
        expect(leaver.locator("#stage")).to_contain_text("step")
        leaver.context.close()
        generate(stayer, "a bird")
        expect(stayer.locator("#details")).to_contain_text("a bird")
        stayer.wait_for_timeout(10_000)
        prompts = [record.recipe.prompt for record in library.recent(99)]
        assert prompts.count("a mushroom") < 4 and len([each for each in prompts if "cactus" in each]) < 8
        library.close()
