from collections.abc import Callable
from typing import Any

import pytest
import torch

from krea_studio.engine.prompts import (
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
        assert embedding("a fox", words, 1.0).values.allclose(whole.values, atol=1e-5)
        half, away = (embedding("a fox", words, share) for share in (0.5, -0.5))
        neutral = torch.cat([plain.values.mean(1, keepdim=True).expand_as(whole.values[:, :-plain.values.shape[1]]),
                             plain.values], 1)  # fmt: skip
        assert (half.values + away.values).allclose(2 * neutral, atol=1e-4)

    def test_with_padding_the_words_take_its_place(self, load: Callable[[str], Any]) -> None:
        loaded, cache = load("turbo"), PromptCache()
        trimmed, padded = (
            cache.embedding(loaded.pipeline, loaded.encoder_identity, "a fox", trim, "sunset colors", 0.7)
            for trim in (True, False)
        )
        assert padded.values.shape[1] == 512 and int(padded.mask.sum()) == trimmed.values.shape[1]
        read = padded.values[0, padded.mask[0].bool()].flatten(1)
        for row in trimmed.values[0].flatten(1):
            assert (read - row).norm(dim=1).min() < 1e-3 * row.norm()
