"""What a style's file says of few steps, and what it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.direction.speed import BY_METADATA, BY_NAME, Speed, guessed, preset_of, read_speed
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import parse_request
from krea_studio.recipe.sigmas import turbo_sigmas


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("krea2_turbo_lora_rank_64_bf16.safetensors", 8),
        ("krea2_turbo_4step_rank_64_lora_comfyui.safetensors", 4),
        ("Krea2-Turbo-Distill-3step-LoRA.safetensors", 3),
        ("krea2_turbo_distill_8step_r128.safetensors", 8),
        ("lightning 2 Steps.safetensors", 2),
    ],
)
def test_a_distillation_is_told_by_its_name(name: str, steps: int) -> None:
    found = guessed(name, "", {})
    assert found and (found.steps, found.sigmas, found.told) == (steps, None, BY_NAME)
    assert f"made for {steps} steps without guidance" in found.words and BY_NAME in found.words


@pytest.mark.parametrize(
    "name",
    [
        "krea2_turbo_sda_v1.0_comfy", "my_style_krea2_turbo_lora", "krea2_darkbrush", "turbo_style_step_4",
        "dottrmstr-krea2t_c1-st3000", "turbo-000012-steps", "turbo_1500steps", "woodcut_10_steps", "turbo_40step",
        "turbo_4step_distilled_from_8_steps", "", ".safetensors",
    ],
)  # fmt: skip
def test_other_names_say_nothing(name: str) -> None:
    assert guessed(f"{name}.safetensors", "", {}) is None


def test_the_title_counts_as_a_name_and_may_not_contradict_it() -> None:
    found = guessed("download.safetensors", "Turbo 4-step", {})
    assert found and found.steps == 4
    assert guessed("turbo_3step.safetensors", "Turbo 4-step", {}) is None


def test_sizes_are_told_where_they_are_known() -> None:
    found = guessed("krea2_turbo_4step_rank_64_lora.safetensors", "", {})
    assert found and found.words == (
        "made for 4 steps without guidance, 13 sizes up to 1824 × 1024 (guessed from its name)"
    )
    stated = guessed("a.safetensors", "", {"num_inference_steps": "4", "trained_sizes": "1024x1024"})
    assert stated and stated.sizes == "1024x1024"


def test_metadata_come_before_the_name() -> None:
    said = {"num_inference_steps": "3", "sigmas": "[1.0, 0.8, 0.5, 0.0]"}
    found = guessed("turbo_4step.safetensors", "", said)
    assert found == Speed(steps=3, sigmas=(1.0, 0.8, 0.5), told=BY_METADATA)
    assert guessed("a.safetensors", "", {"sigmas": "1 0.4"}) == Speed(steps=2, sigmas=(1.0, 0.4), told=BY_METADATA)


@pytest.mark.parametrize(
    "said",
    [
        {"num_inference_steps": "many"}, {"num_inference_steps": "0"}, {"num_inference_steps": "9" * 5000},
        {"sigmas": "1, 2"}, {"sigmas": "0.5, 0.9"}, {"num_inference_steps": "4", "sigmas": "1, 0.5"}, {"steps": "4"},
        {"sigmas": "1, " * 10_000},
    ],
)  # fmt: skip
def test_what_metadata_do_not_say_soundly_they_do_not_say(said: dict[str, str]) -> None:
    assert guessed("a.safetensors", "", said) is None


@given(
    st.text(max_size=80),
    st.text(max_size=40),
    st.dictionaries(st.sampled_from(["sigmas", "inference_steps"]), st.text()),
)
def test_whatever_a_stranger_writes_breaks_nothing(name: str, title: str, said: dict[str, str]) -> None:
    found = guessed(name, title, said)
    assert found is None or parse_request({"prompt": "a fox", **found.preset}).steps == found.steps


def test_a_preset_is_part_of_a_request_with_the_sigmas_said() -> None:
    assert preset_of({"Four": Speed(steps=4)}) == {"steps": 4, "guidance_scale": 0.0, "sigmas": turbo_sigmas(4)}
    own = Speed(steps=2, sigmas=(1.0, 0.4))
    assert parse_request({"prompt": "a fox", **own.preset}).sigmas == (1.0, 0.4)
    with pytest.raises(InvalidRequest, match="No chosen style is known"):
        preset_of({})
    with pytest.raises(InvalidRequest, match="'Four' and 'Two' are each made for few steps"):
        preset_of({"Four": Speed(steps=4), "Two": own})


def test_a_person_says_steps_or_sigmas_and_what_they_leave_stays_a_guess() -> None:
    guess = Speed(steps=4, sizes="two sizes", told=BY_NAME)
    assert read_speed(" 4 ", guess) is guess
    assert read_speed("3", guess) == Speed(steps=3, sizes="two sizes")
    assert read_speed("1, 0.5, 0") == Speed(steps=2, sigmas=(1.0, 0.5))
    assert read_speed("", guess) is None
    for wrong in ("0", "1000", "four", "0.5, 0.9", "9" * 5000, "1, " * 500):
        with pytest.raises(InvalidRequest, match="The style's few steps are"):
            read_speed(wrong)
