"""What another tool's settings become here is always a request that can be drawn, and every loss has a line."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.errors import InvalidRequest
from krea_studio.library.foreign.settings import MOST_LEFT, Lora, Settings, real, whole
from krea_studio.library.foreign.translation import nearest_shape, translated
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, RESOLUTIONS, size_of
from krea_studio.recipe.plan import require_plannable
from krea_studio.recipe.request import PROMPT_CHARACTERS, SEED_LIMIT
from tests.strategies import anything

any_text = st.text(st.characters(exclude_categories=()), max_size=40) | st.sampled_from(["", "x" * 20_000, "\ud800"])
any_settings = st.builds(
    Settings,
    prompt=st.none() | any_text,
    negative_prompt=any_text,
    **dict.fromkeys(("seed", "steps", "cfg", "width", "height"), anything | st.integers(-5, 200) | st.floats(-5, 40)),
    model=any_text | st.sampled_from(["krea2_turbo_fp8", "Krea-2-Raw", "sd_xl_base"]),
    loras=st.lists(st.builds(Lora, any_text, anything), max_size=3).map(tuple),
    left=st.lists(st.tuples(any_text, anything), max_size=3).map(tuple),
    sliders=st.dictionaries(st.sampled_from(["intensity", "movement"]), anything, max_size=2),
    sigmas=any_text | st.sampled_from(["1, 0.5", "0.5, 1", "1 nan"]),
)


@given(any_settings)
def test_any_settings_become_a_request_that_can_be_drawn(settings: Settings) -> None:
    found = translated(settings)
    request = found.request("a fox")
    require_plannable(request)
    assert {field: getattr(request, field) for field in found.fields if field != "sigmas"} == {
        field: value for field, value in found.fields.items() if field != "sigmas"
    }
    for line in found.lines:
        assert line and len(line.splitlines()) == 1 and len(line) < 400
        assert line.encode() and all(c.isprintable() for c in line)


@given(any_settings)
def test_what_is_not_taken_over_as_it_is_has_a_line(settings: Settings) -> None:
    found = translated(settings)
    told = " ".join(found.lines)
    for name, word, taken in (
        ("seed", "Seed", lambda value, field: whole(value) == field),
        ("steps", "Steps", lambda value, field: whole(value) == field),
        ("cfg", "CFG scale", lambda value, field: abs(real(value) - 1 - field) < 1e-5),
    ):
        value = getattr(settings, name)
        field = found.fields.get({"cfg": "guidance_scale"}.get(name, name))
        assert value is None or (field is not None and taken(value, field)) or f"{word} " in told
    assert len(found.left) >= min(len(settings.loras), MOST_LEFT)


@pytest.mark.parametrize(
    ("cfg", "guidance", "told"),
    [
        (1, 0.0, ""),
        ("1.0", 0.0, ""),
        (5.5, 4.5, ""),
        (1.1, 0.1, ""),
        ("7", 6.0, ""),
        (21, 20.0, ""),
        (0.5, 0.0, "CFG scale 0.5 is below 1"),
        (0, 0.0, "CFG scale 0 is below 1"),
        (-3, 0.0, "CFG scale -3 is below 1"),
        (21.5, 20, "CFG scale 21.5 is a guidance above 20 here"),
        (10**400, 20, "CFG scale a whole number of 1329 bits is a guidance above 20"),
        (float("nan"), None, "CFG scale nan is no number"),
        ("1e999", None, "CFG scale '1e999' is no number"),
        ([7, 6], None, "CFG scale [7, 6] is no number"),
        (True, None, "CFG scale True is no number"),
        (None, None, ""),
    ],
)
def test_the_usual_scale_is_one_more_than_guidance_here(cfg: Any, guidance: float | None, told: str) -> None:
    found = translated(Settings(prompt="a fox", cfg=cfg))
    assert found.fields.get("guidance_scale") == guidance
    assert told in " ".join(found.lines)
    assert told or not any("CFG" in line for line in found.lines)


@pytest.mark.parametrize(
    ("steps", "taken", "told"),
    [
        (8, 8, ""),
        ("28", 28, ""),
        (20.0, 20, ""),
        (100, 100, ""),
        (101, 100, "Steps 101 is more than there can be here — it is set to 100"),
        (0, None, "Steps 0 is no number of steps"),
        (7.5, None, "Steps 7.5 is no number of steps"),
        ("many", None, "Steps 'many' is no number of steps"),
        ("٨", None, "is no number of steps"),
    ],
)
def test_steps_are_taken_or_told(steps: Any, taken: int | None, told: str) -> None:
    found = translated(Settings(prompt="a fox", steps=steps))
    assert found.fields.get("steps") == taken and told in " ".join(found.lines)


@pytest.mark.parametrize("seed", [SEED_LIMIT, 2**64 - 1, -1, 1.5, "x", {}])
def test_a_seed_that_cannot_be_is_told_and_not_wrapped(seed: Any) -> None:
    found = translated(Settings(prompt="a fox", seed=seed))
    assert "seed" not in found.fields
    assert any(line.startswith("Seed ") and f"from 0 to {SEED_LIMIT - 1}" in line for line in found.lines)
    assert translated(Settings(prompt="a fox", seed=str(SEED_LIMIT - 1))).fields["seed"] == SEED_LIMIT - 1


@pytest.mark.parametrize("ratio", ASPECT_RATIOS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_size_of_the_studio_is_taken_as_it_is(ratio: str, resolution: str) -> None:
    width, height = size_of(ratio, resolution)
    found = translated(Settings(prompt="a fox", width=width, height=height))
    assert (found.fields["aspect_ratio"], found.fields["resolution"]) == (ratio, resolution)
    assert not any("pixels become" in line for line in found.lines)


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_another_size_becomes_the_nearest_and_is_told(width: int, height: int) -> None:
    ratio, resolution = nearest_shape(width, height)

    def distance(name: str) -> float:
        row = ASPECT_RATIOS[name]
        across = width / height * row.height / row.width
        return max(across, 1 / across)

    assert all(distance(ratio) <= distance(other) + 1e-9 for other in ASPECT_RATIOS)
    turned = {"4:3": None, "2.35:1": None, "4:5": None}
    if ratio not in turned and width != height:
        assert nearest_shape(height, width)[1] == resolution
    told = " ".join(translated(Settings(prompt="a", width=width, height=height)).lines)
    assert size_of(ratio, resolution) == (width, height) or f"{width} × {height} pixels become" in told


@pytest.mark.parametrize("size", [(0, 512), (-8, 8), (512, None), ("wide", 8), (10**30, 1), (float("inf"), 8), ([], 1)])
def test_a_size_that_is_none_is_told(size: tuple[Any, Any]) -> None:
    found = translated(Settings(prompt="a fox", width=size[0], height=size[1]))
    assert "aspect_ratio" not in found.fields
    assert any("is no size of a picture" in line for line in found.lines)


@pytest.mark.parametrize(
    ("settings", "variant", "why"),
    [
        (Settings(model="krea2_turbo_fp8_scaled"), "turbo", "the model was 'krea2_turbo_fp8_scaled'"),
        (Settings(model="Krea-2-Raw", cfg=1), "medium", "the model was 'Krea-2-Raw'"),
        (Settings(model="krea 2 large"), "large", "the model was"),
        (Settings(model="sd_xl_base", cfg=7), "medium", "it was drawn with guidance"),
        (Settings(model="sdxl-turbo", cfg=1), "turbo", "it was drawn without guidance"),
        (Settings(model="flux1-krea-dev"), "turbo", "nothing says which Krea 2 it was"),
        (Settings(model="krea2-drawing"), "turbo", "nothing says which Krea 2 it was"),
        (Settings(model="krea2RawV10", cfg=1), "medium", "the model was 'krea2RawV10'"),
        (Settings(negative_prompt="rain"), "medium", "it has a negative prompt"),
    ],
)
def test_why_a_variant_is_chosen_is_told(settings: Settings, variant: str, why: str) -> None:
    found = translated(settings)
    assert found.fields["variant"] == variant
    assert any(f"is chosen, as {why}" in line for line in found.lines)
    named = settings.model and "the model was" not in why
    assert bool(named) == any(line.startswith("Model ") for line in found.left)


@pytest.mark.parametrize("settings", [{"cfg": 1}, {"model": "krea2_turbo"}])
def test_a_negative_prompt_that_did_nothing_is_left_out_and_told(settings: dict[str, Any]) -> None:
    found = translated(Settings(prompt="a fox", negative_prompt="rain", **settings))
    assert "negative_prompt" not in found.fields
    assert any("The negative prompt 'rain' is left out" in line for line in found.lines)


def test_a_prompt_that_is_too_long_is_told_and_one_that_is_not_is_whole() -> None:
    long = translated(Settings(prompt="x" * (PROMPT_CHARACTERS + 1), seed=3))
    assert "prompt" not in long.fields and long.fields["seed"] == 3
    assert any(f"has {PROMPT_CHARACTERS + 1:,} characters" in line for line in long.lines)
    assert translated(Settings(prompt="x" * PROMPT_CHARACTERS)).fields["prompt"] == "x" * PROMPT_CHARACTERS


def test_a_prompt_of_millions_of_characters_takes_no_time() -> None:
    begun = time.thread_time()
    found = translated(Settings(prompt="\x1b(" * 4_000_000, negative_prompt=" " * 8_000_000))
    assert time.thread_time() - begun < 2
    assert any("has 8,000,000 characters" in line for line in found.lines)


def test_what_no_keyboard_types_goes_out_of_a_prompt() -> None:
    found = translated(Settings(prompt="a\0 fox\r\nin \x1b[31msnow \ud800"))
    assert found.fields["prompt"] == "a fox\nin [31msnow ?"
    assert any("Half of a character" in line for line in found.lines)


def test_marks_that_turn_text_around_are_escaped_in_lines() -> None:
    found = translated(Settings(prompt="a", left=(("Sam\u202epler\n", "eu\u202eler\n"),), loras=(Lora("x\u202e\n"),)))
    assert all(c.isprintable() for line in found.lines for c in line)


@pytest.mark.parametrize("prompt", ["a (blue:1.3) fox", "a ((blue)) fox", "a fox <segment:face> eyes"])
def test_what_is_read_as_words_here_is_told_and_stays(prompt: str) -> None:
    found = translated(Settings(prompt=prompt))
    assert found.fields["prompt"] == prompt
    assert any("are read as plain words here" in line for line in found.lines)
    assert not any("plain words" in line for line in translated(Settings(prompt="a (blue) fox: 3 < 4")).lines)


def test_without_a_prompt_of_its_own_that_of_the_page_is_taken() -> None:
    found = translated(Settings(seed=3, notes=("The prompt comes out of Writer (node 4), which is not known here",)))
    assert found.request("a whale").prompt == "a whale"
    with pytest.raises(InvalidRequest, match=r"Writer \(node 4\), which is not known here — write a prompt"):
        found.request(" ")


def test_the_sampler_that_the_studio_has_is_no_loss() -> None:
    assert translated(Settings(prompt="a", left=(("Sampler", "Euler"), ("scheduler", "euler")))).left == ()
    assert translated(Settings(prompt="a", left=(("Sampler", "Euler a"),))).left == ("Sampler 'Euler a'",)


def test_of_very_many_settings_the_number_is_told() -> None:
    found = translated(Settings(prompt="a", left=tuple((f"setting {n}", n) for n in range(5000))))
    assert len(found.left) == MOST_LEFT + 1 and found.left[-1] == f"and {5000 - MOST_LEFT:,} more"
