"""The tab Compare as people use it: pictures that are zoomed and moved together, a wipe, and what differs."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, expect_ready

pytestmark = pytest.mark.browser


def transforms(page: Page) -> list[str]:
    return [
        each.evaluate("image => getComputedStyle(image).transform") for each in page.locator("#compare-view img").all()
    ]


def test_two_results_are_zoomed_together_wiped_and_told_apart(visit: Visit) -> None:
    page = visit()
    page.locator("#resolution").get_by_text("512 draft").click()
    page.locator("#creativity").get_by_text("Raw", exact=True).click()
    page.locator("#batch").get_by_text("2", exact=True).click()
    page.get_by_role("textbox", name="Seed", exact=True).fill("7")
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a fox over rolling hills")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#gallery .caption-label")).to_have_count(2)
    expect(page.locator("#stop")).to_be_hidden()
    page.get_by_role("button", name="Compare", exact=True).click()
    frames = page.locator("#compare-view .frame")
    expect(frames).to_have_count(2)
    expect(page.locator("#compare-table")).to_contain_text(re.compile(r"Seed\s*7\s*8"))
    expect(page.locator("#compare-table tbody tr")).to_have_count(1)
    for picture in page.locator("#compare-view img").all():
        expect(picture).to_have_js_property("naturalWidth", 512)

    plain = transforms(page)
    frames.first.hover(position={"x": 40, "y": 40})
    page.mouse.wheel(0, -300)
    expect(page.locator("#compare-view output")).not_to_have_text("100 %")
    zoomed = transforms(page)
    assert zoomed[0] == zoomed[1] != plain[0]
    page.mouse.down()
    page.mouse.move(200, 500, steps=3)
    page.mouse.up()
    moved = transforms(page)
    assert moved[0] == moved[1] != zoomed[0]
    page.locator("#compare-view .panes").focus()
    page.keyboard.press("ArrowRight")
    assert len(set(transforms(page))) == 1 and transforms(page) != moved
    page.get_by_role("button", name="Reset the zoom").click()
    assert transforms(page) == plain

    page.get_by_role("button", name="Wipe", exact=True).click()
    handle = page.get_by_role("slider", name="Wipe between the two pictures")
    handle.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert float(handle.input_value()) == 60
    right = page.locator(".pane[data-side=right] .frame")
    assert right.evaluate("each => getComputedStyle(each).clipPath") == "inset(0px 0px 0px 60%)"

    page.goto(page.get_by_role("link", name="Link to these").evaluate("link => link.href"))
    expect_ready(page)
    expect(page.locator("#compare-view .frame")).to_have_count(2)
    page.get_by_role("button", name="Draw all with a new seed").click()
    expect(page.get_by_role("button", name="Show the pictures before")).to_be_visible()
    expect(page.locator("#compare-table")).not_to_contain_text(re.compile(r"Seed\s*7\s*8"))
    page.get_by_role("button", name="Show the pictures before").click()
    expect(page.locator("#compare-table")).to_contain_text(re.compile(r"Seed\s*7\s*8"))
    page.get_by_role("button", name="Remove picture A").click()
    expect(page.locator("#compare-view .frame")).to_have_count(1)
