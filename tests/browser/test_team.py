"""Two accounts of one studio in Chromium: what the one makes, the other sees from when it is shared until it is not."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from krea_studio.accounts.accounts import Accounts
from tests.browser.conftest import expect_ready, show_tab
from tests.browser.studio import PATIENCE_MS, serving
from tests.style_files import style_file

pytestmark = pytest.mark.browser

PASSWORDS = {"ada": "seven foxes in snow", "ben": "eleven owls at dawn"}
BOARD, STYLE = "Low Tide", "Etching"
WIDE, NARROW = (1440, 900), (390, 844)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a studio with two accounts."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "library").mkdir()
    accounts = Accounts(folder / "library")
    for name, password in PASSWORDS.items():
        accounts.add(name, password)
    with serving(folder, KREA_STUDIO_SIGN_IN="accounts") as url:
        yield url


@pytest.fixture
def pages(browser: Browser, team: str) -> Iterator[dict[str, Page]]:
    """A signed-in page for each account: ada's is wide, ben's is a phone's."""
    with ExitStack() as stack:
        found = {}
        for name, (width, height) in zip(PASSWORDS, (WIDE, NARROW), strict=True):
            context = stack.enter_context(browser.new_context(viewport={"width": width, "height": height}))
            found[name] = context.new_page()
            found[name].set_default_timeout(PATIENCE_MS)
            sign_in(found[name], team, name)
        yield found


def sign_in(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Sign in").click()
    expect_ready(page)


def reload(page: Page) -> None:
    """Load the page anew: what it lists from now on is no older."""
    page.reload()
    expect_ready(page)


def open_tab(page: Page, name: str) -> None:
    """Go to a tab, and wait until the server has told what is on it."""
    show_tab(page, name)
    if name == "Styles":
        expect(page.locator("#style-cards img").first).to_be_visible()
    else:
        expect(page.locator("#boards input")).not_to_have_value("")


def boards(page: Page) -> list[str]:
    page.locator("#boards input").click()
    expect(page.get_by_role("option").first).to_be_visible()
    found = page.get_by_role("option").all_inner_texts()
    page.keyboard.press("Escape")
    return [name.removeprefix("✓").strip() for name in found]


def open_board(page: Page, name: str) -> None:
    page.locator("#boards input").click()
    page.get_by_role("option", name=name).click()
    expect(page.locator("#board-facts")).to_contain_text(name)


def styles(page: Page) -> list[str]:
    return [caption.split("\n")[0] for caption in page.locator("#style-cards .caption-label").all_inner_texts()]


def open_style(page: Page, name: str) -> None:
    page.locator("#style-cards .caption-label").filter(has_text=name).click()
    expect(page.locator("#style-heading")).to_contain_text(name)


def switch(page: Page, kind: str, on: bool) -> None:
    """Use the box that shares, and wait until the server has done so."""
    box = page.locator(f"#{kind}-team input")
    expect(box).to_be_checked(checked=not on)
    box.click()
    expect(page.locator(f"#{kind}-notice")).to_contain_text("is shared with" if on else "is not shared with")


def expect_drawn(page: Page, pictures: str) -> None:
    """The pictures are given to this page, not only named."""
    page.wait_for_function(
        "pictures => { const found = [...document.querySelectorAll(pictures)];"
        " return found.length > 0 && found.every(each => each.complete && each.naturalWidth > 0) }",
        arg=pictures,
    )


def fits(page: Page) -> bool:
    return not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_what_one_account_makes_the_other_sees_while_it_is_shared(pages: dict[str, Page], tmp_path: Path) -> None:
    ada, ben = pages["ada"], pages["ben"]
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "look.png")

    open_tab(ada, "Moodboards")
    ada.locator("#board-name input, #board-name textarea").fill(BOARD)
    ada.get_by_role("button", name="Create board").click()
    expect(ada.locator("#board-facts")).to_contain_text(BOARD)
    ada.locator("#board-drop input[type=file]").set_input_files(tmp_path / "look.png")
    expect(ada.locator("#board-pictures img")).to_have_count(1)
    expect_drawn(ada, "#board-pictures img")
    expect(ada.locator("#board-team input")).not_to_be_checked()
    address = ada.locator("#board-pictures img").evaluate("picture => picture.src")
    assert ada.request.get(address).ok and ben.request.get(address).status in (403, 404)

    open_tab(ada, "Styles")
    ada.locator("#style-file input[type=file]").set_input_files(
        style_file(tmp_path / "etching.safetensors", 1, name=STYLE, trigger="etched lines")
    )
    expect(ada.locator("#style-notice")).to_contain_text("is in the library")
    expect(ada.locator("#style-heading")).to_contain_text(STYLE)
    expect(ada.locator("#style-team input")).not_to_be_checked()

    reload(ben)
    open_tab(ben, "Styles")
    assert STYLE not in styles(ben) and "Woodcut" in styles(ben)
    open_tab(ben, "Moodboards")
    assert BOARD not in boards(ben)

    switch(ada, "style", True)
    open_tab(ada, "Moodboards")
    switch(ada, "board", True)

    reload(ben)
    open_tab(ben, "Styles")
    open_style(ben, STYLE)
    expect(ben.locator("#style-team")).to_contain_text("Shared by ada")
    expect(ben.locator("#style-team input")).to_be_disabled()
    expect(ben.locator("#style-manage")).to_be_hidden()
    assert fits(ben)
    ben.locator("#style-use").click()
    expect(ben.locator("#style-1-weight input[type=number]")).to_have_value("100")
    open_tab(ben, "Moodboards")
    open_board(ben, BOARD)
    expect(ben.locator("#board-team")).to_contain_text("Shared by ada")
    expect_drawn(ben, "#board-pictures img")
    assert fits(ben)

    switch(ada, "board", False)
    open_tab(ada, "Styles")
    switch(ada, "style", False)
    reload(ben)
    open_tab(ben, "Styles")
    assert STYLE not in styles(ben)
    open_tab(ben, "Moodboards")
    assert BOARD not in boards(ben) and ben.request.get(address).status in (403, 404)
