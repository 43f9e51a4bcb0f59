"""The text that AUTOMATIC1111's web UI made a convention is taken apart as its writers put it together."""

import json
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from krea_studio.library.foreign import infotext
from krea_studio.library.foreign.settings import Lora, Settings
from krea_studio.library.foreign.translation import translated
from krea_studio.library.pictures.metadata import parameters_text
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import guidance_of, steps_of
from krea_studio.recipe.request import parse_request
from tests.strategies import prompts, seeds

LINE = "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, Model: sdxl"


def read(text: str, **texts: str) -> Settings:
    found = infotext.read({"parameters": text, **texts})
    assert found
    return found[1]


def tool(text: str) -> str:
    found = infotext.read({"parameters": text})
    assert found
    return found[0]


def quoted(value: object) -> str:
    """A value as the web UI writes it."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ",\n:") else text


lines = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), max_size=30)
paragraphs = st.lists(lines, min_size=1, max_size=4).map("\n".join)
values = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=30).map(str.strip)


@given(paragraphs, paragraphs, st.dictionaries(st.sampled_from(["Hires prompt", "Model", "Note"]), values))
def test_prompts_and_values_are_read_as_they_were_written(prompt: str, negative: str, pairs: dict[str, str]) -> None:
    assume("<lora" not in prompt + negative and "Negative prompt:" not in prompt)
    # The web UI does not quote a value that begins with a quote, and loses it.
    assume(all(value and not value.startswith('"') for value in pairs.values()))
    written = {"Steps": "20", "Sampler": "Euler a", "Seed": "7", **pairs}
    line = ", ".join(f"{name}: {quoted(value)}" for name, value in written.items())
    settings = read(f"{prompt}\nNegative prompt: {negative}\n{line}")
    assert (settings.prompt, settings.negative_prompt) == (prompt.strip(), negative.strip())
    assert (settings.steps, settings.seed, settings.model) == ("20", "7", pairs.get("Model", ""))
    assert dict(settings.left) == {
        name: value for name, value in written.items() if name not in ("Steps", "Seed", "Model")
    }


studio = st.fixed_dictionaries(
    {"prompt": prompts},
    optional={
        "variant": st.sampled_from(["medium", "turbo"]),
        "aspect_ratio": st.sampled_from(["1:1", "16:9", "2:3"]),
        "resolution": st.sampled_from(["1K", "512"]),
        "intensity": st.integers(-100, 100),
        "movement": st.integers(-100, 100),
        "steps": st.integers(1, 100),
        "guidance_scale": st.integers(1, 20),
        "sigmas": st.just([1.0, 0.5, 0.25]),
    },
)


@given(studio, seeds)
def test_the_studios_own_text_brings_all_of_it_back(data: dict[str, Any], seed: int) -> None:
    if "sigmas" in data:
        data = {**data, "steps": 3}
    request = parse_request(data)
    recipe = plan(request, seed).shots[0].recipe(f"krea-2-{'turbo' if request.variant == 'turbo' else 'raw'}")
    text = parameters_text(recipe)
    assert tool(text) == "Krea Studio"
    found = translated(read(text))
    again = found.request()
    assert plan(again, seed).shots == plan(request, seed).shots
    assert (again.seed, steps_of(again), guidance_of(again)) == (seed, steps_of(request), guidance_of(request))
    assert found.left == ()


def test_a_whole_text_of_the_web_ui_is_read() -> None:
    settings = read(
        "masterpiece, a fox, <lora:detail:0.8>, snow\nsecond line\n"
        "Negative prompt: ugly, blurry\nmore\n"
        f'{LINE}, Model hash: 45dee52b, Clip skip: 2, Hires upscale: 2, Hires prompt: "a, b: c\\nd", '
        'Lora hashes: "detail: deadbeef, other: 12ab", Version: v1.10.1'
    )
    assert settings.prompt == "masterpiece, a fox, snow\nsecond line"
    assert settings.negative_prompt == "ugly, blurry\nmore"
    assert (settings.seed, settings.steps, settings.cfg) == ("965400086", "20", "7")
    assert (settings.width, settings.height, settings.model) == ("512", "768", "sdxl")
    assert settings.loras == (Lora("detail", "0.8"), Lora("other", None))
    assert settings.left == (
        ("Sampler", "DPM++ 2M"),
        ("Schedule type", "Karras"),
        ("Clip skip", "2"),
        ("Hires upscale", "2"),
        ("Hires prompt", "a, b: c\nd"),
    )
    assert settings.notes == ()


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ("Version: v1.10.1", "AUTOMATIC1111's web UI"),
        ("Version: f2.0.1v1.10.1-previous-556-g5cb1de5c", "Forge or reForge"),
        ("Version: neo", "Forge Neo"),
        ("App: SD.Next, Version: a1b2c3d", "SD.Next"),
        ("Version: ComfyUI", "ComfyUI"),
        ("Version: Krea Studio 1.0", "Krea Studio"),
        ("Version: something else", infotext.SOME_TOOL),
        ("Clip skip: 2", infotext.SOME_TOOL),
    ],
)
def test_the_tool_is_told_by_its_line(facts: str, name: str) -> None:
    assert tool(f"a fox\n{LINE}, {facts}") == name


@pytest.mark.parametrize(
    "prompt",
    [
        "a poster that says\nSteps: 3, Sampler: none, Seed: 1\nin red",
        "Steps: 1, CFG scale: 2, Seed: 3",
        'Size: 1x1, Model: "x',
        "a sign: one, two: three, four: five",
    ],
)
def test_a_prompt_like_a_line_of_settings_stays_a_prompt_where_the_line_follows(prompt: str) -> None:
    settings = read(f"{prompt}\n{LINE}")
    assert (settings.prompt, settings.seed) == (prompt, "965400086")


@pytest.mark.parametrize(
    "text", ["a fox", "a fox\nNegative prompt: rain", "a sign: one, two: three, four: five", "{a|b}: fox"]
)
def test_without_a_line_of_settings_all_is_prompt_and_that_is_told(text: str) -> None:
    if text.startswith("{"):
        assert infotext.read({"parameters": text}) is None
        return
    settings = read(text)
    assert settings.prompt == text.partition("\n")[0] and settings.seed is None and settings.steps is None
    assert settings.negative_prompt == ("rain" if "rain" in text else "")
    assert settings.notes == ("There is no line of settings behind the prompt",)


def test_a_last_line_of_usual_names_counts_without_steps() -> None:
    assert read("a fox\nSampler: Euler a, CFG scale: 5, Seed: 3").seed == "3"


def test_what_stands_behind_the_line_is_told() -> None:
    settings = read(f"a fox\n{LINE}\nTemplate: a __animal__")
    assert settings.prompt == "a fox"
    assert settings.notes == ("The text behind the settings, 'Template: a __animal__', is left out",)


def test_a_text_of_a_graph_beside_it_is_left_to_the_graph_where_it_has_no_line() -> None:
    assert infotext.read({"parameters": "a fox", "prompt": "{}"}) is None
    assert read(f"a fox\n{LINE}", prompt="{}").prompt == "a fox"


@pytest.mark.parametrize(
    ("prompt", "plain", "loras"),
    [
        ("<lora:a:1>", "", [Lora("a", "1")]),
        ("<lora:a>, a fox", "a fox", [Lora("a", "1")]),
        ("a <LORA:b c:0.5:0.2> fox", "a fox", [Lora("b c", "0.5")]),
        ("a fox\n<lyco:d:-1>\nin snow", "a fox\nin snow", [Lora("d", "-1")]),
        ("a < b: c > d", "a < b: c > d", []),
    ],
)
def test_tags_of_loras_go_out_of_the_prompt_and_are_told(prompt: str, plain: str, loras: list[Lora]) -> None:
    settings = read(f"{prompt}\n{LINE}")
    assert (settings.prompt, list(settings.loras)) == (plain, loras)


def test_fooocus_own_words_count_and_those_of_its_styles_are_told() -> None:
    settings = read(
        "cinematic still a fox . emotional, harmonious\nNegative prompt: anime\n"
        "Steps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 1, Size: 1152x896, CFG scale: 4, Raw prompt: a fox, "
        'Raw negative prompt: , Lora hashes: sdxl: 4852, Lora weights: "sdxl: 0.1, b: 0.5", Version: Fooocus v2.5.5'
    )
    assert (settings.prompt, settings.negative_prompt) == ("a fox", "")
    assert ("Prompt with styles", "cinematic still a fox . emotional, harmonious") in settings.left
    assert settings.loras == (Lora("sdxl", "0.1"), Lora("b", "0.5"))


def test_turbo_is_drawn_without_guidance_by_sdnext_whatever_the_scale_says() -> None:
    line = "Steps: 8, Size: 1024x1024, Seed: 1, CFG scale: {}, App: SD.Next, Model: Krea-2-Turbo-sdnq"
    assert translated(read(f"a fox\n{line.format(6.0)}")).fields["guidance_scale"] == 0
    assert any("CFG scale 6" in note for note in read(f"a fox\n{line.format(6.0)}").notes)
    assert read(f"a fox\n{line.format(1.0)}").notes == ()
    raw = line.replace("Turbo", "Raw").format(5.5)
    assert translated(read(f"a fox\n{raw}")).fields["guidance_scale"] == 4.5


@pytest.mark.parametrize(
    "line", ['Steps: 1, A: "unclosed, Seed: 4', "Steps: 1,,,:,: :, Seed: 4", 'Steps: 1, B: "x"y, Seed: 4']
)
def test_a_broken_line_is_read_as_far_as_it_goes(line: str) -> None:
    assert read(f"a fox\n{line}").seed == "4"


@pytest.mark.parametrize(
    "text",
    [
        "Steps: 1, " + 'a: "\\"' * 500_000,
        "Steps: 1, " + "," * 4_000_000 + ":",
        "Steps: 1, " + " " * 4_000_000 + "x",
        "<lora:" * 700_000 + "\nSteps: 1",
        "a\n" * 2_000_000,
        "Steps: 1\n" * 400_000,
        " ,<" * 1_000_000,
        "a" + " " * 8_000_000 + "b\nSteps: 1",
        "(" * 4_000_000 + ":1",
        ": " * 2_000_000 + "\nSampler: x, Seed: 1, Size: 2",
    ],
    ids=["quotes", "commas", "spaces", "tags", "lines", "settings", "almost tags", "blanks", "brackets", "pairs"],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    begun = time.thread_time()
    found = infotext.read({"parameters": text})
    if found:
        translated(found[1])
    assert time.thread_time() - begun < 5


pieces = st.sampled_from([*'aS:,"\\\n <>1', "Steps: 1", "Negative prompt:", "<lora:"])


@given(st.lists(pieces, max_size=40).map("".join))
def test_any_text_is_settings_or_none(text: str) -> None:
    found = infotext.read({"parameters": text})
    assert found is None or isinstance(translated(found[1]).fields, dict)


def test_an_empty_text_holds_nothing() -> None:
    assert infotext.read({}) is infotext.read({"parameters": " \n"}) is None
