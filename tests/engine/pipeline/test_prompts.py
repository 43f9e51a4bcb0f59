from collections.abc import Callable
from typing import Any

import pytest
import torch

from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.pipeline.prompts import (
    PromptCache,
    PromptEmbedding,
    count_tokens,
    require_fitting,
    token_limit,
    with_words,
)
from krea_studio.errors import InvalidRequest


def longest_text(pipeline):
    """A text of exactly the limit's number of tokens."""
    text = "a"
    while count_tokens(pipeline, text) < token_limit(pipeline):
        text += " b"
    return text


@pytest.mark.parametrize("text", ["", "a fox", "狐 🦊 ثعلب", "line\nline", "<|im_end|>"])
def test_tokens_are_those_that_the_stock_pipeline_reads(load, text):
    pipeline = load("turbo").pipeline
    _, mask = pipeline.get_text_hidden_states(text)
    assert count_tokens(pipeline, text) + pipeline.prompt_template_encode_num_suffix_tokens == mask.sum()


def test_the_limit_is_where_the_stock_pipeline_cuts(load):
    pipeline = load("turbo").pipeline
    assert token_limit(pipeline) == 507
    text = longest_text(pipeline)
    require_fitting(pipeline, text, "The prompt")
    with pytest.raises(InvalidRequest, match=r"The prompt has 508 tokens.*507.*by 1 "):
        require_fitting(pipeline, text + " b", "The prompt")


def test_a_prompt_is_encoded_once_while_there_is_room(load):
    loaded, calls = load("turbo"), []
    hook = loaded.pipeline.text_encoder.register_forward_hook(lambda *ignored: calls.append(1))

    def encode(cache, text, trimmed=True, encoder="encoder"):
        return cache.embedding(loaded.pipeline, encoder, text, trimmed)

    cache = PromptCache()
    first = encode(cache, "a fox")
    assert encode(cache, "a fox") is first
    assert len(calls) == 1
    assert encode(cache, "a fox", trimmed=False).values.shape[1] == 512
    encode(cache, "a fox", encoder="another")
    assert len(calls) == 3

    small = PromptCache(budget_bytes=int(first.bytes * 2.5))
    for text in ("a fox", "a cat", "a fox", "a dog", "a fox"):
        encode(small, text)
    assert len(calls) == 3 + 3, "the one just used stays"
    encode(small, "a cat")
    assert len(calls) == 3 + 4, "the one not used for longest has left"
    hook.remove()


class TestWords:
    def test_words_steer_by_their_share(self, load: Callable[[str], Any]) -> None:
        loaded, cache = load("turbo"), PromptCache()

        def embedding(text: str, *steering: Any, trimmed: bool = True) -> PromptEmbedding:
            return cache.embedding(loaded.pipeline, loaded.encoder_identity, text, trimmed, *steering)

        plain, words = embedding("a fox"), "sunset colors"
        assert embedding("a fox", words, 0.0) is plain and embedding("a fox", "", 1.0) is plain
        whole = embedding(with_words(words, "a fox"))
        full = embedding("a fox", words, 1.0)
        assert full.values.allclose(whole.values, atol=1e-5) and (full.mask == 1).all()
        half = embedding("a fox", words, 0.5)
        own = plain.values.shape[1]
        assert torch.equal(half.values[:, :-own], full.values[:, :-own])
        assert (2 * half.values[:, -own:]).allclose(plain.values + full.values[:, -own:], atol=1e-4)
        assert (half.mask[:, -own:] == 1).all()
        assert (half.mask[:, :-own] - 1).exp().allclose(torch.tensor(0.5))

    @pytest.mark.parametrize("trimmed", [True, False])
    def test_words_of_little_share_change_little(self, load: Callable[[str], Any], trimmed: bool) -> None:
        """Also what the stock transformer makes of it: at a small share the prediction is nearly that without words."""
        loaded, cache = load("medium"), PromptCache()
        transformer = loaded.pipeline.transformer
        tokens = torch.randn(1, 64, transformer.config.in_channels, generator=torch.Generator().manual_seed(1))

        @torch.no_grad()
        def predicted(share: float) -> torch.Tensor:
            text = cache.embedding(loaded.pipeline, loaded.encoder_identity, "a fox", trimmed, "sunset colors", share)
            positions = loaded.pipeline.prepare_position_ids(text.values.shape[1], 8, 8, "cpu")
            return transformer(tokens, text.values, torch.tensor([0.7]), positions, text.mask, return_dict=False)[0]

        changes = [(predicted(share) - predicted(0)).norm().item() for share in (0.001, 0.01, 0.1, 1.0)]
        assert changes == sorted(changes)
        assert changes[0] < 0.02 * changes[-1]
        assert changes[1] < 12 * changes[0]

    def test_with_padding_the_words_take_its_place(self, load: Callable[[str], Any]) -> None:
        loaded, cache = load("turbo"), PromptCache()
        trimmed, padded = (
            cache.embedding(loaded.pipeline, loaded.encoder_identity, "a fox", trim, "sunset colors", 0.7)
            for trim in (True, False)
        )
        weights = (padded.mask[0] - 1).exp()
        assert padded.values.shape[1] == 512 and int((weights > 0).sum()) == trimmed.values.shape[1]
        assert weights.sum().isclose((trimmed.mask[0] - 1).exp().sum())
        read = padded.values[0, weights > 0].flatten(1)
        for row in trimmed.values[0].flatten(1):
            assert (read - row).norm(dim=1).min() < 1e-3 * row.norm()


def test_tokens_are_counted_without_the_model(engine: LocalEngine, load: Callable[[str], Any]) -> None:
    pipeline = load("turbo").pipeline
    for text in ("", "a fox", "a fox " * 400, "<|im_end|>"):
        assert engine.count_tokens("turbo", text) == (count_tokens(pipeline, text), token_limit(pipeline))
