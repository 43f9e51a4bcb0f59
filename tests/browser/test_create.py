"""The Create tab as people use it: in Chromium, against the real server and the embedded checkpoints.

Only what can be seen is waited for. Pictures are 512-class drafts, except where a run must last until it is stopped.
"""

import re
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit, expect_ready, open_advanced

pytestmark = pytest.mark.browser

SMALLEST_TARGET_PX = 40
CAPTION = re.compile(r"^\d+ · ([\d.]+ s|\d+ min.*)$")
DRAWN = re.compile(
    r"^(?P<seed>\d+) · .* · intensity (?P<intensity>\S+), complexity (?P<complexity>\S+), movement (?P<movement>\S+)$"
)


def choose_draft(page: Page) -> None:
    page.locator("#resolution").get_by_text("512 draft").click()


def generate(page: Page, prompt: str) -> None:
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()


def expect_pictures(page: Page, count: int) -> None:
    """The run has ended with `count` pictures in view."""
    expect(page.locator("#gallery .caption-label")).to_have_count(count)
    expect(page.locator("#gallery .caption-label").first).to_have_text(CAPTION)
    expect_rest(page)
    for picture in page.locator("#gallery img").all():
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("picture => picture.naturalWidth") > 0


def expect_rest(page: Page) -> None:
    """Nothing is watched any more."""
    expect(page.locator("#stop")).to_be_hidden()


def start_a_long_run(page: Page, prompt: str) -> None:
    """A run that would take minutes, past its first step."""
    open_advanced(page)
    page.get_by_label("Steps").fill("100")
    page.locator("#batch").get_by_text("4", exact=True).click()
    generate(page, prompt)
    expect(page.locator("#stage")).to_contain_text(re.compile(r"Picture 1 of 4 · step \d+ of 100"))


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#stage")).to_contain_text("Stopped")
    expect_rest(page)


def test_type_generate_stop_generate_reload(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_be_focused()
    start_a_long_run(page, "a fox over rolling hills")
    expect(page.locator("#stage img")).to_be_visible()
    stop(page)

    page.get_by_label("Steps").fill("")
    page.locator("#batch").get_by_text("2", exact=True).click()
    choose_draft(page)
    generate(page, "a lighthouse at sea, midnight colors")
    expect_pictures(page, 2)
    expect(page.locator("#details")).to_contain_text("512 × 512")
    expect(page.locator("#status")).to_contain_text("Loaded: mini-turbo")
    seed = page.get_by_role("textbox", name="Seed", exact=True).input_value()
    expect(page.locator("#gallery .caption-label").first).to_contain_text(seed)

    page.reload()
    expect(page.locator("#recent img")).not_to_have_count(0)
    page.locator("#recent").get_by_role("button").first.click()
    expect(page.locator("#details")).to_contain_text("a lighthouse at sea, midnight colors")


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit()
    choose_draft(page)
    prompt = page.get_by_role("textbox", name="Prompt", exact=True)
    prompt.click()
    page.keyboard.type("a whale")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("ocean colors")
    expect(prompt).to_have_value("a whale\nocean colors")
    page.keyboard.press("Enter")
    expect_pictures(page, 1)
    expect(prompt).to_have_value("a whale\nocean colors")


def test_one_of_two_visitors_cancels_the_other_is_served(visit: Visit) -> None:
    first, second = visit(), visit()
    choose_draft(second)
    start_a_long_run(first, "a cactus")
    generate(second, "a rocket")
    expect(second.locator("#stage")).to_contain_text("Waiting for the engine")
    stop(second)
    expect(first.locator("#stage")).to_contain_text("step")

    generate(second, "a rocket")
    expect(second.locator("#stage")).to_contain_text("Waiting for the engine")
    stop(first)
    expect_pictures(second, 1)
    expect(first.locator("#gallery")).to_have_count(0)


# A line on which every answer comes late, and not in the order in which it was sent.
LATE = """
    const plain = window.fetch;
    let asked = 0;
    window.fetch = async (input, init) => {
        const answer = await plain(input, init);
        if (String(input.url ?? input).includes("/gradio_api/run/")) {
            await new Promise((done) => setTimeout(done, 200 + 350 * (asked++ % 4)));
        }
        return answer;
    };
"""


def test_pictures_are_shown_also_on_a_line_that_is_late(visit: Visit) -> None:
    page = visit(script=LATE)
    choose_draft(page)
    page.locator("#batch").get_by_text("2", exact=True).click()
    for prompt in ("a fox", "a whale"):
        generate(page, prompt)
        expect(page.locator("#details")).to_contain_text(prompt)
        expect_pictures(page, 2)


# A line on which the answer to what is pressed comes as late as the test says.
SLOW = """
    const plain = window.fetch;
    window.fetch = async (input, init) => {
        const late = window.lateMs ?? 0;
        const answer = await plain(input, init);
        if (String(input.url ?? input).includes("/gradio_api/run/")) {
            await new Promise((done) => setTimeout(done, late));
        }
        return answer;
    };
"""


def test_neither_a_run_nor_a_stop_right_after_stop_is_lost(visit: Visit) -> None:
    page = visit(script=SLOW)
    start_a_long_run(page, "a fox")
    expect(page.locator("#stage")).to_contain_text(re.compile(r"step \d\d of 100"))
    page.evaluate("window.lateMs = 30_000")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.evaluate("window.lateMs = 0")
    page.get_by_label("Steps").fill("99")  # by which the next run is told from the one that is stopped
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage")).to_contain_text("of 99")
    stop(page)
    page.get_by_label("Steps").fill("")
    page.locator("#batch").get_by_text("1", exact=True).click()
    choose_draft(page)
    generate(page, "a fox")
    expect_pictures(page, 1)


def test_a_closed_tab_a_reload_and_a_second_tab_lose_nothing(visit: Visit) -> None:
    page = visit()
    open_advanced(page)
    page.get_by_label("Steps").fill("100")
    page.locator("#batch").get_by_text("3", exact=True).click()
    generate(page, "a mushroom")
    # From its first picture on, and large ones: a busy machine may take as long for two pages as for a draft.
    going_on = re.compile("Picture [1-3] of 3")
    expect(page.locator("#stage")).to_contain_text(going_on)
    page.reload()
    other = page.context.new_page()
    other.goto(page.url)
    for each in (other, page):
        expect(each.locator("#stage")).to_contain_text(going_on)
    expect(page.locator("#gallery .caption-label").first).to_have_text(CAPTION)
    page.close()
    expect_pictures(other, 3)
    expect(other.locator("#details")).to_contain_text("a mushroom")


def test_runs_that_wait_are_listed_and_can_be_cancelled(visit: Visit) -> None:
    page = visit()
    start_a_long_run(page, "a cactus")
    page.get_by_label("Steps").fill("")
    choose_draft(page)
    page.locator("#batch").get_by_text("1", exact=True).click()
    for prompt in ("a rocket", "a whale"):
        generate(page, prompt)
        expect(page.locator("#queue")).to_contain_text(prompt)
    expect(page.locator("#queue li")).to_have_count(2)
    page.locator("#queue li", has_text="a rocket").get_by_role("button", name="Cancel").click()
    expect(page.locator("#queue li")).to_have_count(1)
    expect(page.locator("#stage")).to_contain_text("step")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect_pictures(page, 1)
    expect(page.locator("#details")).to_contain_text("a whale")
    expect(page.locator("#queue")).to_be_hidden()


def test_what_is_entered_before_the_server_has_answered_stays(visit: Visit) -> None:
    page = visit()
    answers = []

    def late(route: Route) -> None:
        answers.append(route)
        page.wait_for_timeout(1500)
        route.continue_()

    page.route(re.compile("/gradio_api/run/"), late)
    page.reload()
    page.locator("#advanced").get_by_role("button").click()
    page.wait_for_timeout(500)
    expect(page.locator("#defaults")).not_to_contain_text("steps")
    page.get_by_label("Steps").fill("9")
    page.get_by_role("spinbutton", name="number input for Intensity").fill("40")
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a fox")
    expect_ready(page)
    page.wait_for_timeout(1000)
    assert answers
    expect(page.get_by_label("Steps")).to_have_value("9")
    expect(page.get_by_role("spinbutton", name="number input for Intensity")).to_have_value("40")
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a fox")


def test_a_seed_that_is_entered_is_used(visit: Visit) -> None:
    page = visit()
    choose_draft(page)
    page.get_by_role("textbox", name="Seed", exact=True).fill("41")
    expect(page.get_by_role("checkbox", name="New seed every time")).not_to_be_checked()
    generate(page, "a tree")
    expect_pictures(page, 1)
    expect(page.locator("#gallery .caption-label")).to_have_text(re.compile("^41 · "))


def test_settings_come_back_from_a_picture(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    choose_draft(page)
    page.locator("#aspect-ratio").get_by_text("4:5").click()
    expect(page.locator("#size-text")).to_contain_text("448 × 576")
    generate(page, "a sailboat")
    expect_pictures(page, 1)
    seed = page.get_by_role("textbox", name="Seed", exact=True).input_value()
    picture = tmp_path / "picture.png"
    urllib.request.urlretrieve(page.locator("#gallery img").get_attribute("src"), picture)

    newcomer = visit()
    newcomer.locator("#settings-file input[type=file]").set_input_files(picture)
    expect(newcomer.locator("#stage")).to_contain_text(f"Settings of seed {seed} are in the controls")
    expect(newcomer.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a sailboat")
    expect(newcomer.get_by_role("checkbox", name="New seed every time")).not_to_be_checked()
    expect(newcomer.locator("#size-text")).to_contain_text("448 × 576")
    newcomer.get_by_role("button", name="Generate", exact=True).click()
    expect_pictures(newcomer, 1)
    again = newcomer.locator("#gallery img").get_attribute("src")
    assert pixels(newcomer, again) == pixels(page, page.locator("#gallery img").get_attribute("src"))


def pixels(page: Page, address: str) -> list[int]:
    """A picture's values, as the browser decodes it, sampled over its whole area."""
    return page.evaluate(
        """async (address) => {
            const bitmap = await createImageBitmap(await (await fetch(address)).blob());
            const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
            canvas.drawImage(bitmap, 0, 0);
            const values = canvas.getImageData(0, 0, bitmap.width, bitmap.height).data;
            return Array.from(values.filter((_, index) => index % 97 === 0));
        }""",
        address,
    )


@pytest.mark.parametrize(
    ("prompt", "words"), [("", "Prompt is empty"), ("   ", "Prompt is empty"), ("x" * 20_000, "20,000 characters")]
)
def test_bad_input_is_one_message_and_the_server_lives(visit: Visit, prompt: str, words: str) -> None:
    page = visit()
    choose_draft(page)
    generate(page, prompt)
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text(words)
    generate(page, "a flower")
    expect_pictures(page, 1)


@pytest.mark.parametrize("prompt", ["🦊🌊 a fox", "שועל ליד הים", "<img src=x onerror=alert(1)> a fox"])
def test_unusual_text_is_drawn_and_shown_as_written(visit: Visit, prompt: str) -> None:
    page = visit()
    choose_draft(page)
    generate(page, prompt)
    expect_pictures(page, 1)
    expect(page.locator("#details .said").first).to_have_text(prompt)


def test_an_example_fills_the_prompt(visit: Visit) -> None:
    page = visit()
    example = page.locator("#examples").get_by_role("button").first
    expect(example).to_contain_text(re.compile("[a-z]{3}"))
    beginning = example.inner_text().strip().rstrip(".…")
    example.click()
    prompt = page.get_by_role("textbox", name="Prompt", exact=True)
    expect(prompt).to_have_value(re.compile("^" + re.escape(beginning)))
    page.locator("#words").get_by_role("button").click()
    expect(page.locator("#words")).to_contain_text("Palette")


def test_what_a_variant_cannot_use_is_greyed_and_kept(visit: Visit) -> None:
    page = visit()
    choose_draft(page)
    open_advanced(page)
    negative, reason = page.get_by_label("Negative prompt"), page.locator("#negative-prompt-mechanism")
    page.locator("#variant").get_by_text("Medium", exact=True).click()
    expect(negative).to_be_enabled()
    expect(reason).to_be_hidden()
    negative.fill("boats and birds")
    page.locator("#variant").get_by_text("Turbo", exact=True).click()
    expect(negative).to_be_disabled()
    expect(reason).to_contain_text("The guidance scale is 0 here")
    generate(page, "a tree")
    expect_pictures(page, 1)
    page.locator("#guidance-scale input").fill("2")
    expect(negative).to_be_enabled()
    expect(negative).to_have_value("boats and birds")


def test_random_mode_then_pin_gives_the_same_picture(visit: Visit) -> None:
    page = visit()
    choose_draft(page)
    expect(page.locator("#intensity-mechanism")).to_have_text("Slider LoRA")
    page.get_by_role("checkbox", name="Random mode").check()
    page.locator("#batch").get_by_text("4", exact=True).click()
    generate(page, "papercut of a fox in the mountains, autumn colors")
    captions = page.locator("#gallery .caption-label")
    expect(captions).to_have_count(4)
    expect_rest(page)
    told = [DRAWN.search(caption).groupdict() for caption in captions.all_inner_texts()]
    assert len({tuple(values.items()) for values in told}) == 4

    second = page.locator("#gallery .thumbnail-item").nth(1)
    second.click()
    expect(page.locator("#details")).to_contain_text(f"Seed {told[1]['seed']}")
    kept = page.locator("#gallery img").first.get_attribute("src")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("checkbox", name="Random mode")).not_to_be_checked()
    expect(page.get_by_role("textbox", name="Seed", exact=True)).to_have_value(told[1]["seed"])
    for slider in ("intensity", "complexity", "movement"):
        value = told[1][slider].replace("−", "-").replace("+", "")
        expect(page.locator(f"#{slider} input[type=number]")).to_have_value(value)
    before = pixels(page, kept)
    page.locator("#batch").get_by_text("1", exact=True).click()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(captions).to_have_count(1)
    expect_rest(page)
    assert pixels(page, page.locator("#gallery img").first.get_attribute("src")) == before

    page.get_by_role("button", name="Around this").click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect_rest(page)
    expect(page.get_by_role("checkbox", name="Random mode")).to_be_checked()
    (near,) = (DRAWN.search(caption).groupdict() for caption in captions.all_inner_texts())
    for slider in ("intensity", "complexity", "movement"):
        assert abs(number(near[slider]) - number(told[1][slider])) <= 25


def number(text: str) -> int:
    return int(text.replace("−", "-"))


def test_starting_points_set_the_sliders(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Cinematic").click()
    expect(page.locator("#intensity input[type=number]")).to_have_value("60")
    expect(page.locator("#movement input[type=number]")).to_have_value("30")
    page.get_by_role("button", name="Quick exploration").click()
    expect(page.get_by_role("checkbox", name="Random mode")).to_be_checked()
    expect(page.locator("#intensity input[type=number]")).to_have_value("0")
    expect(page.get_by_label("Lock movement")).to_be_visible()


def test_a_phone_needs_no_sideways_scrolling(visit: Visit) -> None:
    page = visit(width=390, height=844, has_touch=True, is_mobile=True)
    button = page.get_by_role("button", name="Generate", exact=True)
    expect(button).to_be_in_viewport(ratio=1)
    choose_draft(page)
    page.locator("#batch").get_by_text("2", exact=True).click()
    expect(button).to_be_in_viewport(ratio=1)
    generate(page, "a house in the mountains " + "unbreakable" * 20)
    expect_pictures(page, 2)
    page.get_by_role("checkbox", name="Random mode").check()
    for group in ("words", "advanced"):
        page.locator(f"#{group}").get_by_role("button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = {part: page.locator(f"#{part}").bounding_box() for part in ("compose", "results", "controls")}
    assert boxes["compose"]["y"] < boxes["results"]["y"] < boxes["controls"]["y"]
    targets = page.locator("#panel :is(button, .segments label, #aspect-ratio label, input[type=text], textarea)")
    for target in targets.all():
        box = target.bounding_box()
        if target.is_visible() and box:
            assert box["height"] >= SMALLEST_TARGET_PX, target.evaluate("element => element.outerHTML.slice(0, 200)")


def test_dark_and_light_follow_the_system_and_the_button(visit: Visit) -> None:
    def brightness(page: Page) -> int:
        return page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")

    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert brightness(dark) < 60 < 200 < brightness(light)
    light.get_by_role("button", name="Switch between light and dark").click()
    assert brightness(light) < 60
    light.reload()
    expect(light.locator("#status")).to_contain_text("oad")
    expect(light.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    assert brightness(light) < 60
