import pytest

from krea_studio.engine.prompts import PromptCache, count_tokens, require_fitting, token_limit
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
