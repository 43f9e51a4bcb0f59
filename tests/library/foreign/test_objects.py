"""What InvokeAI, SwarmUI, Fooocus, RuinedFooocus and NovelAI write as JSON is read by their own keys."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.library.foreign import objects
from krea_studio.library.foreign.settings import MOST_LEFT, Lora, Settings
from krea_studio.library.foreign.tools import TOOLS
from krea_studio.library.foreign.translation import translated

INVOKEAI: dict[str, Any] = {
    "app_version": "6.10.0",
    "generation_mode": "krea2_txt2img",
    "positive_prompt": "a fox",
    "negative_prompt": "rain",
    "width": 1376,
    "height": 768,
    "seed": 7,
    "cfg_scale": 5.5,
    "steps": 28,
    "model": {"key": "k", "hash": "blake3:0", "name": "Krea-2-Raw", "base": "krea-2", "type": "main"},
    "loras": [{"model": {"key": "l", "name": "detail", "type": "lora"}, "weight": 0.6}],
    "krea2_rebalance_enabled": False,
    "krea2_rebalance_multiplier": 4,
    "krea2_seed_variance_enabled": True,
    "krea2_seed_variance_strength": 0.3,
    "vae": {"name": "qwen_image_vae", "type": "vae"},
    "ref_images": [],
}
SWARMUI: dict[str, Any] = {
    "prompt": "a fox",
    "negativeprompt": "rain",
    "model": "krea/krea2_raw.safetensors",
    "seed": 7,
    "steps": 28,
    "cfgscale": 5.5,
    "aspectratio": "16:9",
    "width": 1376,
    "height": 768,
    "sampler": "dpmpp_2m",
    "loras": ["folder/detail"],
    "loraweights": ["0.6"],
    "swarm_version": "0.9.7.4",
}
FOOOCUS: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "rain",
    "full_prompt": ["cinematic a fox"],
    "styles": "['Fooocus V2']",
    "performance": "Speed",
    "seed": "7",
    "steps": 28,
    "guidance_scale": 5.5,
    "resolution": "(1376, 768)",
    "base_model": "juggernautXL",
    "refiner_model": "None",
    "lora_combined_1": "detail : 0.6",
    "loras": [["detail", 0.6, "4852"]],
    "metadata_scheme": "fooocus",
    "version": "Fooocus v2.5.5",
}
RUINED: dict[str, Any] = {
    "Prompt": "a fox",
    "Negative": "rain",
    "seed": 7,
    "steps": 28,
    "cfg": 5.5,
    "width": 1376,
    "height": 768,
    "sampler_name": "dpmpp_2m",
    "base_model_name": "juggernautXL.safetensors",
    "base_model_hash": "be9e",
    "loras": [["4852", "0.6 - folder\\detail.safetensors"]],
    "denoise": None,
    "software": "RuinedFooocus",
}
NOVELAI: dict[str, Any] = {
    "prompt": "a fox",
    "uc": "rain",
    "seed": 7,
    "steps": 28,
    "scale": 5.5,
    "width": 1376,
    "height": 768,
    "sampler": "k_euler_ancestral",
    "noise_schedule": "karras",
    "signed_hash": "x",
}
WRITTEN = {
    "InvokeAI": {"invokeai_metadata": json.dumps(INVOKEAI)},
    "SwarmUI": {"parameters": json.dumps({"sui_image_params": SWARMUI, "sui_extra_data": {"date": "2026-01-01"}})},
    "Fooocus": {"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"},
    "RuinedFooocus": {"parameters": json.dumps(RUINED)},
    "NovelAI": {"Software": "NovelAI", "Source": "NovelAI Diffusion V4.5", "Comment": json.dumps(NOVELAI)},
}


def read(texts: dict[str, str]) -> tuple[str, Settings]:
    found = next((found for tool in TOOLS if (found := tool.read(texts))), None)
    assert found
    return found


@pytest.mark.parametrize("tool", WRITTEN)
def test_what_is_common_to_all_is_read(tool: str) -> None:
    name, settings = read(WRITTEN[tool])
    assert name == tool and settings.notes == ()
    fields = translated(settings).fields
    assert fields == {
        **{"prompt": "a fox", "negative_prompt": "rain", "seed": 7, "steps": 28, "guidance_scale": 4.5},
        **{"variant": "medium", "aspect_ratio": "16:9", "resolution": "1K"},
    }


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("InvokeAI", {"Krea2 seed variance enabled True", "Krea2 seed variance strength 0.3", "Vae 'qwen_image_vae'"}),
        ("SwarmUI", {"Sampler 'dpmpp_2m'"}),
        ("Fooocus", {"Styles \"['Fooocus V2']\"", "Performance 'Speed'", "Model 'juggernautXL'"}),
        ("RuinedFooocus", {"Sampler name 'dpmpp_2m'", "Model 'juggernautXL'"}),
        ("NovelAI", {"Sampler 'k_euler_ancestral'", "Noise schedule 'karras'", "Model 'NovelAI Diffusion V4.5'"}),
    ],
)
def test_all_else_is_told_with_its_value_and_nothing_that_is_off(tool: str, told: set[str]) -> None:
    left = translated(read(WRITTEN[tool])[1]).left
    loras = set() if tool == "NovelAI" else {"LoRA 'detail' at 0.6"}
    assert set(left) == told | loras


def test_models_as_invokeai_told_them_before_4_are_read() -> None:
    older = {
        **INVOKEAI,
        "model": {"model_name": "sdxl-base", "base_model": "sdxl"},
        "loras": [{"lora": {"model_name": "detail"}, "weight": 0.5}],
    }
    _, settings = read({"invokeai_metadata": json.dumps(older)})
    assert (settings.model, settings.loras) == ("sdxl-base", (Lora("detail", 0.5),))


def test_other_ways_of_drawing_than_from_words_are_told() -> None:
    _, settings = read({"invokeai_metadata": json.dumps({**INVOKEAI, "generation_mode": "krea2_img2img"})})
    assert ("generation mode", "krea2_img2img") in settings.left


@pytest.mark.parametrize(
    "prompt",
    ["a fox [rain, fog] in snow [dark]", [{"prompt": "a fox [rain, fog]", "weight": 1}, {"prompt": "[dark] snow"}]],
)
def test_invokeai_2_has_its_negative_prompt_in_brackets(prompt: Any) -> None:
    image = {
        "prompt": prompt,
        "steps": 50,
        "cfg_scale": 7.5,
        "height": 512,
        "width": 512,
        "seed": 9,
        "sampler": "k_lms",
    }
    written = {
        "model_weights": "sd-1.5",
        "app_version": "2.3.5",
        "image": {**image, "type": "txt2img", "hires_fix": False},
    }
    tool, settings = read({"sd-metadata": json.dumps(written), "Dream": '"a fox" -s 50'})
    assert tool == "InvokeAI" and settings.negative_prompt == "rain, fog, dark"
    assert settings.prompt and "[" not in settings.prompt and "a fox" in settings.prompt
    assert (settings.seed, settings.cfg, settings.model) == (9, 7.5, "sd-1.5")
    assert settings.left == (("sampler", "k_lms"),)


@pytest.mark.parametrize(("names", "weights"), [(["a", "b"], ["0.5", "1"]), ("a,b", "0.5,1"), (["a", "b"], ["0.5"])])
def test_swarmuis_lists_come_as_lists_or_texts(names: Any, weights: Any) -> None:
    data = {**SWARMUI, "loras": names, "loraweights": weights}
    _, settings = read({"parameters": json.dumps({"sui_image_params": data})})
    assert [(lora.name, str(lora.weight)) for lora in settings.loras] == [("a", "0.5"), ("b", "1")]


def test_fooocus_a1111_scheme_is_told_as_fooocus() -> None:
    text = "a fox\nSteps: 30, Sampler: x, Seed: 1, Size: 8x8, CFG scale: 4"
    assert read({"parameters": text, "fooocus_scheme": "a1111"})[0] == "Fooocus"


def test_novelais_older_pictures_have_the_prompt_beside() -> None:
    data = {key: value for key, value in NOVELAI.items() if key != "prompt"}
    texts = {**WRITTEN["NovelAI"], "Description": "a fox", "Comment": json.dumps(data)}
    assert read(texts)[1].prompt == "a fox"


def test_novelais_prompts_for_characters_are_told() -> None:
    captions = {"base_caption": "a fox", "char_captions": [{"char_caption": "girl, red hat", "centers": []}]}
    texts = {**WRITTEN["NovelAI"], "Comment": json.dumps({**NOVELAI, "v4_prompt": {"caption": captions}})}
    assert ("character prompts", ["girl, red hat"]) in read(texts)[1].left
    for broken in (3, {}, {"caption": 3}, {"caption": {"char_captions": [3]}}):
        texts["Comment"] = json.dumps({**NOVELAI, "v4_prompt": broken})
        assert not any(name == "character prompts" for name, _ in read(texts)[1].left)


@pytest.mark.parametrize("key", ["Comment", "Description", "Software"])
def test_a_comment_of_others_is_not_novelais(key: str) -> None:
    texts = {**WRITTEN["NovelAI"], "Software": "GIMP", key: json.dumps(NOVELAI)}
    assert objects.read_novelai(texts) is None


@pytest.mark.parametrize("prompt", [None, 7, ["a"], {"text": "a"}])
def test_a_prompt_that_is_no_text_is_told(prompt: Any) -> None:
    _, settings = read({"invokeai_metadata": json.dumps({**INVOKEAI, "positive_prompt": prompt})})
    assert settings.prompt is None and len(settings.notes) == 1 and "prompt" in settings.notes[0]


@pytest.mark.parametrize(
    "data",
    [
        {f"k{n}_enabled": False for n in range(200_000)},
        {f"k{n}": n for n in range(200_000)},
        {"_" * 4_000_000: 1, "a_enabled": False},
        {"loras": [[]] * 1_000_000, "x": [0] * 1_000_000},
    ],
    ids=["all off", "many keys", "a long key", "lists"],
)
def test_hostile_objects_take_no_time(data: dict[str, Any]) -> None:
    text = json.dumps({"positive_prompt": "a fox", **data})
    begun = time.thread_time()
    found = translated(read({"invokeai_metadata": text})[1])
    assert time.thread_time() - begun < 5
    assert len(found.left) <= MOST_LEFT + 1 and all(len(line) < 400 for line in found.lines)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(list(WRITTEN)), st.data())
def test_wrong_types_anywhere_end_in_lines(tool: str, data: st.DataObject) -> None:
    texts = dict(WRITTEN[tool])
    key = next(key for key, text in texts.items() if text.startswith("{"))
    written = json.loads(texts[key])
    inner = written["sui_image_params"] if tool == "SwarmUI" else written
    for _ in range(data.draw(st.integers(1, 4))):
        inner[data.draw(st.sampled_from(list(inner)))] = data.draw(json_values)
    texts[key] = json.dumps(written)
    found = next((found for tool in TOOLS if (found := tool.read(texts))), None)
    for line in translated(found[1]).lines if found else ():
        assert len(line.splitlines()) == 1 and all(c.isprintable() for c in line)
