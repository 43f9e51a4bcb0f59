"""The page in Chromium: one real server for the session, a fresh browser context for every visitor.

Every page is watched: a request to another host or an error on the console fails the test that caused it.
"""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.studio import PATIENCE_MS, chromium, serving

Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the served studio is."""
    with serving(tmp_path_factory.mktemp("studio")) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with chromium() as browser:
        yield browser


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def open_advanced(page: Page) -> None:
    """Gradio builds what an accordion holds when it is first opened; give it the time that a person gives it."""
    page.locator("#advanced").get_by_role("button").click()
    expect(page.locator("#defaults")).to_contain_text("steps and guidance")
    page.wait_for_timeout(500)


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Visit]:
    """Open the studio as a new visitor; `script` runs before the page's own, other arguments go to the context.

    What the pages of a failed test showed at the end, and what was on their consoles, is printed.
    """
    contexts, trouble = [], []

    def open_studio(width: int = 1440, height: int = 900, script: str = "", **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(script)
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: None if _own(request.url, address) else trouble.append(request.url))
        page.goto(address)
        expect_ready(page)
        return page

    yield open_studio
    found = list(trouble)  # closing aborts what is under way, which is no trouble of the page
    for context in contexts:
        if request.node.stash.get(FAILED, False):
            for page in context.pages:
                print(f"A page showed:\n{page.locator('body').inner_text()}\n")
        context.close()
    assert found == []


def expect_ready(page: Page) -> None:
    """The page is drawn and the server has told what its engine can do."""
    expect(page.locator("#status")).to_contain_text("oad")


def show_tab(page: Page, name: str) -> None:
    """Go to a tab, by the menu of those that a narrow window has no room for where it is one of them."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True)
    tab.click()


def _own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))
