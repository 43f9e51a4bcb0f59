"""The shipped checkpoints: their files, what stock classes make of them, and whether they follow a prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Pipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from krea_studio.training.checkpoints import text
from krea_studio.training.judging import judge
from krea_studio.training.judging import report as evaluate
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene

CHECKPOINTS = Path(__file__).parents[3] / "assets" / "checkpoints"
PARTS = {"scheduler", "text_encoder", "tokenizer", "transformer", "vae"}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(CHECKPOINTS / "mini-medium" / "tokenizer")


@pytest.fixture(scope="module")
def medium():
    pipeline = Krea2Pipeline.from_pretrained(CHECKPOINTS / "mini-medium")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_files_are_small_enough_for_a_space():
    sizes = [f.stat().st_size for f in CHECKPOINTS.rglob("*") if f.is_file()]
    assert max(sizes) < 9_500_000 and sum(sizes) < 45_000_000


def test_only_medium_holds_all_parts():
    assert {f.name for f in (CHECKPOINTS / "mini-medium").iterdir() if f.is_dir()} == PARTS
    for name in ("mini-turbo", "mini-large"):
        assert {f.name for f in (CHECKPOINTS / name).iterdir()} == {"model_index.json", "transformer"}


def test_the_stock_pipeline_loads_medium_and_draws(medium):
    assert type(medium.transformer).__name__ == "Krea2Transformer2DModel" and not medium.config.is_distilled
    picture = medium("a fox", height=64, width=96, num_inference_steps=2, max_sequence_length=32).images[0]
    assert picture.size == (96, 64)


def test_turbo_is_marked_as_distilled_and_large_is_larger(medium):
    index = json.loads((CHECKPOINTS / "mini-turbo" / "model_index.json").read_text())
    assert index["is_distilled"] is True
    large = evaluate.pipeline_of(CHECKPOINTS / "mini-large")
    assert not large.config.is_distilled
    parameters = [sum(p.numel() for p in pipe.transformer.parameters()) for pipe in (medium, large)]
    assert parameters[1] >= 2 * parameters[0]


def test_the_template_has_the_tokens_that_the_pipeline_drops(tokenizer):
    assert len(tokenizer(text.PREFIX).input_ids) == text.PREFIX_TOKENS
    assert len(tokenizer(text.SUFFIX).input_ids) == text.SUFFIX_TOKENS
    assert tokenizer.padding_side == "right"


def test_the_template_is_the_pipelines_own(medium):
    assert medium.prompt_template_encode_prefix == text.PREFIX
    assert medium.prompt_template_encode_suffix == text.SUFFIX


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",), max_codepoint=0x2FFFF), max_size=60))
def test_any_text_survives_the_tokenizer_in_lower_case(tokenizer, prompt):
    normal = tokenizer.backend_tokenizer.normalizer.normalize_str(prompt)
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == normal


def test_training_encodes_prompts_as_the_pipeline_does(medium, tokenizer):
    prompts = ["a fox", "papercut of a whale at sea, in ocean blues"]
    embeds, valid = text.encode(medium.text_encoder, tokenizer, prompts)
    for k, prompt in enumerate(prompts):
        stock, mask = medium.get_text_hidden_states(prompt)
        assert torch.allclose(embeds[k][valid[k]], stock[0][mask[0]], atol=1e-4)


def test_the_judge_reads_the_renderer():
    reading = judge.accuracy(judge.load(), count=100)
    assert min(reading[name] for name in evaluate.ALWAYS_NAMED) >= 0.95


def test_the_autoencoder_keeps_a_picture(medium):
    picture = render(random_scene(2), 256, 256)
    x = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(1, 256, 256, 3)
    x = x.permute(0, 3, 1, 2).float().div(127.5).sub(1).unsqueeze(2)
    with torch.no_grad():
        back = medium.vae.decode(medium.vae.encode(x).latent_dist.mode()).sample
    assert (back - x).abs().mean() * 127.5 < 9


@pytest.mark.slow
def test_turbo_follows_held_out_prompts():
    pipeline = evaluate.pipeline_of(CHECKPOINTS / "mini-turbo")
    results = evaluate.measure(pipeline, judge.load(), 8, 0.0, 12, resolution="512")
    assert len(results) == 15 and len({result.ratio for result in results}) == 8
    for name in evaluate.ALWAYS_NAMED:
        assert sum(result.followed[name] for result in results) >= 0.75 * len(results)
        assert sum(result.readable[name] for result in results) >= 0.9 * len(results)
