"""The History tab as people use it: in Chromium, against the real server; what is looked for was brought in before."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from krea_studio.library.history.history import PAGE
from tests.browser.conftest import Visit
from tests.browser.test_create import SMALLEST_TARGET_PX
from tests.library.test_folder_import import own

pytestmark = pytest.mark.browser

ASKED = re.compile(r"/gradio_api/(run|queue/join)")  # what the page asks the server to do
HERONS = PAGE + 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of two pages of herons, the last three of which are at dusk, and a file that is none."""
    folder = tmp_path_factory.mktemp("herons")
    found = [
        own(folder / f"{k:03}.png", seed=k, prompt=f"a heron{' at dusk' if k >= HERONS - 3 else ''}")
        for k in range(HERONS)
    ]
    other = folder / "notes.png"
    other.write_text("no picture")
    return [*found, other]


@pytest.fixture
def page(visit: Visit, files: list[Path]) -> Page:
    """A page on which the herons are found, newest first."""
    page = visit(width=1280)
    open_history(page)
    search(page).fill("heron")
    expect(count(page)).to_have_text(re.compile(f"^(0|{HERONS}) pictures"))
    if count(page).inner_text().startswith("0 "):
        page.locator("#history-drop input[type=file]").set_input_files(files)
        expect(page.locator("#history-report")).to_contain_text(f"{HERONS} taken in, 1 left out")
        expect(page.locator("#history-report")).to_contain_text("notes.png")
        expect(count(page)).to_contain_text(f"{HERONS} pictures")
    expect(page).to_have_url(re.compile(r"\?tab=history&words=heron$"))
    expect(shots(page)).to_have_count(PAGE)
    return page


def open_history(page: Page) -> None:
    page.get_by_role("tab", name="History").click()
    expect(count(page)).to_contain_text("picture")


def search(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Search", exact=True)


def count(page: Page) -> Locator:
    return page.locator("#history-count p")


def shots(page: Page) -> Locator:
    return page.locator("#history-grid a.shot")


def opened(page: Page) -> str:
    """The seed of the open picture."""
    return page.locator("#history-recipe dt:text-is('Seed') + dd").inner_text()


def test_search_filter_open_star_delete_undo_and_back(page: Page) -> None:
    search(page).fill("heron dusk")
    expect(count(page)).to_contain_text("3 pictures")
    shots(page).first.click()
    expect(page.locator("#history-recipe")).to_contain_text("a heron at dusk")
    expect(page).to_have_url(re.compile(r"words=heron\+dusk&picture=\w{16}$"))
    page.get_by_role("button", name="☆ Star").click()
    expect(page.get_by_role("button", name="★ Starred")).to_be_visible()
    page.go_back()
    expect(shots(page)).to_have_count(3)
    expect(page.locator("#history-grid .star[aria-pressed=true]")).to_have_count(1)

    page.get_by_role("button", name="Filters").click()
    page.get_by_role("checkbox", name="Starred").check()
    expect(count(page)).to_have_text("1 picture · starred")
    shots(page).first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#history-notice")).to_contain_text("1 picture moved to the bin")
    expect(page.locator("#history-grid")).to_contain_text("No picture is like that")
    page.get_by_role("button", name="Undo").click()
    expect(shots(page)).to_have_count(1)

    page.go_back()  # the place of the picture that was deleted is the list's now
    page.go_back()
    expect(count(page)).to_contain_text("3 pictures")
    expect(page.get_by_role("checkbox", name="Starred")).not_to_be_checked()
    page.go_forward()
    expect(count(page)).to_have_text("1 picture · starred")
    page.locator("#history-grid .star").click()
    expect(count(page)).to_have_text("0 pictures · starred")


def test_an_answer_that_comes_late_leaves_who_went_back_where_they_are(page: Page) -> None:
    search(page).fill("heron dusk")
    expect(count(page)).to_contain_text("3 pictures")
    shots(page).first.click()
    expect(page.locator("#history-recipe")).to_contain_text("a heron at dusk")
    held: list[Route] = []
    page.route(ASKED, lambda route: route.continue_() if held else held.append(route))
    with page.expect_request(ASKED):
        page.get_by_role("button", name="☆ Star").click()
    page.go_back()
    expect(count(page)).to_contain_text("3 pictures")
    held[0].continue_()
    expect(page.locator("#history-grid .star[aria-pressed=true]")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"words=heron\+dusk$"))
    page.locator("#history-grid .star[aria-pressed=true]").click()
    expect(page.locator("#history-grid .star[aria-pressed=true]")).to_have_count(0)


def test_a_second_tab_and_a_reload_show_what_the_address_names(page: Page) -> None:
    page.get_by_role("link", name="Older →").click()
    expect(shots(page)).to_have_count(HERONS - PAGE)
    sources = [image.get_attribute("src") for image in page.locator("#history-grid img").all()]
    second = page.context.new_page()
    second.goto(page.url)
    page.reload()
    for each in (second, page):
        expect(shots(each)).to_have_count(HERONS - PAGE)
        expect(search(each)).to_have_value("heron")
        assert [image.get_attribute("src") for image in each.locator("#history-grid img").all()] == sources
    shots(page).first.click()
    expect(page.locator("#history-shown img")).to_be_visible()
    second.goto(page.url)
    expect(second.locator("#history-shown img")).to_have_js_property("complete", True)
    assert opened(second) == opened(page)
    second.close()

    page.get_by_role("button", name="Reuse settings").locator("visible=true").click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a heron")
    expect(page).to_have_url(re.compile(r"\?tab=create$"))
    page.go_back()
    expect(page.locator("#history-shown img")).to_be_visible()


def test_the_keyboard_goes_through_pages_and_stays_out_of_texts(page: Page) -> None:
    search(page).press("Delete")
    search(page).press("End")
    search(page).press("f")
    expect(search(page)).to_have_value("heronf")
    expect(count(page)).to_contain_text("0 pictures")
    search(page).press("Backspace")
    expect(page).to_have_url(re.compile("words=heron$"))  # before it, the list may be drawn once more
    expect(shots(page)).to_have_count(PAGE)

    shots(page).nth(PAGE - 2).focus()
    page.keyboard.press("ArrowRight")
    expect(shots(page).nth(PAGE - 1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#history-shown img")).to_be_visible()
    last = opened(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#history-recipe dt:text-is('Seed') + dd")).not_to_have_text(last)
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="★ Starred")).to_be_visible()
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="☆ Star")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("after="))
    expect(shots(page)).to_have_count(HERONS - PAGE)
    expect(shots(page).first).to_be_visible()  # it is there behind the picture as well, where nothing takes the focus

    shots(page).first.focus()
    page.keyboard.press("Delete")
    expect(page.locator("#history-notice")).to_contain_text("1 picture moved to the bin")
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.locator("#history-notice")).to_contain_text("1 picture restored")


@pytest.mark.parametrize("width", [390, 1280])
def test_many_are_chosen_and_the_bin_gives_them_back(visit: Visit, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.get_by_role("checkbox", name=re.compile("^Select a heron")).nth(1).check(force=True)
    shots(page).nth(4).click(modifiers=["ControlOrMeta"])
    expect(page.locator("#history-picked-count")).to_have_text("2 selected")
    bar = page.locator("#history-picked")
    for button in bar.get_by_role("button").all():
        assert button.bounding_box()["height"] >= SMALLEST_TARGET_PX or button.get_attribute("id").endswith("none")
    with page.expect_download() as download:
        bar.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "pictures.zip"
    assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    bar.get_by_role("button", name="Delete").click()
    expect(page.locator("#history-notice")).to_contain_text("2 pictures moved to the bin")
    page.get_by_role("link", name="Bin").click()
    images = page.locator("#history-bin-grid img")
    expect(images).to_have_count(2)
    assert images.first.evaluate("image => image.naturalWidth") > 0
    for left in (1, 0):
        page.get_by_role("button", name=re.compile("^Restore a heron")).first.click()
        expect(images).to_have_count(left)
    page.get_by_role("link", name="← All pictures").locator("visible=true").click()
    expect(page).to_have_url(re.compile(r"\?tab=history$"))
