"""Prompts to embeddings: refused when too long, encoded once, kept.

The pipeline reads at most 512 text tokens, 5 of which end its chat template, and cuts the rest off without a word; here
a longer prompt is an error that says how long it is. Encoding goes through the pipeline's own method, so the
embeddings are the stock ones; trimmed ones leave out the padding, which the masks exclude anyway.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from diffusers import Krea2Pipeline

from krea_studio.engine.cache import ByteCache
from krea_studio.errors import InvalidRequest

PIPELINE_TOKENS = 512
# What the stock transformer adds to the logits of image tokens where its mask has numbers: it puts ones beside them.
FULLY_READ = 1.0
CACHE_BYTES = 256 * 2**20  # about a hundred trimmed prompts of the real model, some thousands of the embedded one


@dataclass(frozen=True)
class PromptEmbedding:
    """`values` of shape (1, tokens, text layers, text width), `mask` (1, tokens), true where a token is read.

    A mask of numbers is added to the logits of the tokens instead: FULLY_READ for one that is read, more or less for
    one that counts more or less, minus infinity for one that is not read.
    """

    values: torch.Tensor
    mask: torch.Tensor

    @property
    def read(self) -> torch.Tensor:
        """(1, tokens), true where a token is read at all."""
        return self.mask if self.mask.dtype == torch.bool else self.mask > -math.inf

    @property
    def bytes(self) -> int:
        return self.values.nbytes + self.mask.nbytes


def token_limit(pipeline: Krea2Pipeline) -> int:
    """How many tokens of a prompt the pipeline reads: 507."""
    return PIPELINE_TOKENS - pipeline.prompt_template_encode_num_suffix_tokens


def count_tokens(pipeline: Krea2Pipeline, text: str) -> int:
    """Tokens of `text` inside the chat template, without those of the template."""
    tokens = pipeline.tokenizer(pipeline.prompt_template_encode_prefix + text).input_ids
    return len(tokens) - pipeline.prompt_template_encode_start_idx


def require_fitting(pipeline: Krea2Pipeline, text: str, name: str) -> None:
    """Raise InvalidRequest, naming the field `name`, when the pipeline would cut `text`."""
    tokens, limit = count_tokens(pipeline, text), token_limit(pipeline)
    if tokens > limit:
        raise InvalidRequest(
            f"{name} has {tokens:,} tokens, and the model reads at most {limit} — "
            f"shorten it by {tokens - limit:,} tokens"
        )


class PromptCache:
    """The latest embeddings, up to `budget_bytes`, least recently used out first. For one thread at a time."""

    def __init__(self, budget_bytes: int = CACHE_BYTES) -> None:
        self._kept: ByteCache[PromptEmbedding] = ByteCache(budget_bytes)

    def embedding(
        self, pipeline: Krea2Pipeline, encoder: Hashable, text: str, trimmed: bool, words: str = "", share: float = 0.0
    ) -> PromptEmbedding:
        """The embedding of `text` by the pipeline's encoder, whose identity is `encoder`; encoded when not kept.

        `text` must fit (`require_fitting`). Trimmed, it has no padding; otherwise 512 tokens, as stock. `words` steer
        it by `share`, 0 or more, as if they stood before it (`with_words`, which must fit too): at 1 it is read with
        them, at 0 without them.
        """
        plain = self._encoded(pipeline, encoder, text, trimmed)
        if not (words and share):
            return plain
        longer = with_words(words, text)
        with_them = self._encoded(pipeline, encoder, longer, trimmed=True)
        return _steered(plain, with_them, _common_tail(pipeline, text, longer), share)

    def _encoded(self, pipeline: Krea2Pipeline, encoder: Hashable, text: str, trimmed: bool) -> PromptEmbedding:
        self._kept.new_round()
        key = (encoder, pipeline.text_encoder_select_layers, trimmed, text)
        return self._kept.get(key, lambda: _encode(pipeline, text, trimmed))


def with_words(words: str, text: str) -> str:
    """`text` after words that steer it, on a line of its own: its tokens are then those that it has alone."""
    return f"{words}\n{text}"


def _common_tail(pipeline: Krea2Pipeline, text: str, longer: str) -> int:
    """How many tokens at the end both texts share inside the chat template, those of its suffix included."""
    first, second = (
        pipeline.tokenizer(pipeline.prompt_template_encode_prefix + each).input_ids[::-1] for each in (text, longer)
    )
    own = len(first) - pipeline.prompt_template_encode_start_idx
    same = next((k for k in range(own) if first[k] != second[k]), own)
    return same + pipeline.prompt_template_encode_num_suffix_tokens


def _steered(plain: PromptEmbedding, with_words: PromptEmbedding, tail: int, share: float) -> PromptEmbedding:
    """From an embedding to that with words before it: the last `tail` rows are those of the text in both.

    The words get rows of their own, which count in every softmax by their share, and rows of the text move from what
    they are to what they become. Padding, where there is any, gives its place to the words.
    """
    read = plain.mask[0].nonzero()[:, 0]
    own, words = plain.values[:, read].clone(), with_words.values[:, :-tail]
    own[:, -tail:] += min(share, 1.0) * (with_words.values[:, -tail:] - own[:, -tail:])
    if len(read) == plain.values.shape[1]:
        values = torch.cat([words, own], 1)
        bias = values.new_full(values.shape[:2], FULLY_READ)
        bias[:, : words.shape[1]] += math.log(share)
        return PromptEmbedding(values, bias)
    values, bias = plain.values.clone(), plain.values.new_full(plain.mask.shape, -math.inf)
    free = (~plain.mask[0].bool()).nonzero()[: words.shape[1], 0]
    values[:, read], values[:, free] = own, words
    bias[:, read], bias[:, free] = FULLY_READ, FULLY_READ + math.log(share)
    return PromptEmbedding(values, bias)


@torch.no_grad()
def _encode(pipeline: Krea2Pipeline, text: str, trimmed: bool) -> PromptEmbedding:
    length = PIPELINE_TOKENS
    if trimmed:
        length = count_tokens(pipeline, text) + pipeline.prompt_template_encode_num_suffix_tokens
    return PromptEmbedding(*pipeline.get_text_hidden_states(text, max_sequence_length=length))
