"""Prompts to embeddings: refused when too long, encoded once, kept.

The pipeline reads at most 512 text tokens, 5 of which end its chat template, and cuts the rest off without a word; here
a longer prompt is an error that says how long it is. Encoding goes through the pipeline's own method, so the
embeddings are the stock ones; trimmed ones leave out the padding, which the masks exclude anyway.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from diffusers import Krea2Pipeline

from krea_studio.errors import InvalidRequest

PIPELINE_TOKENS = 512
CACHE_BYTES = 256 * 2**20  # about a hundred trimmed prompts of the real model, some thousands of the embedded one


@dataclass(frozen=True)
class PromptEmbedding:
    """`values` of shape (1, tokens, text layers, text width), `mask` (1, tokens), true where a token is read."""

    values: torch.Tensor
    mask: torch.Tensor

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
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[Hashable, PromptEmbedding] = OrderedDict()

    def embedding(self, pipeline: Krea2Pipeline, encoder: Hashable, text: str, trimmed: bool) -> PromptEmbedding:
        """The embedding of `text` by the pipeline's encoder, whose identity is `encoder`; encoded when not kept.

        `text` must fit (`require_fitting`). Trimmed, it has no padding; otherwise 512 tokens, as stock.
        """
        key = (encoder, pipeline.text_encoder_select_layers, trimmed, text)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = _encode(pipeline, text, trimmed)
            while len(self._kept) > 1 and sum(kept.bytes for kept in self._kept.values()) > self._budget_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found


@torch.no_grad()
def _encode(pipeline: Krea2Pipeline, text: str, trimmed: bool) -> PromptEmbedding:
    length = PIPELINE_TOKENS
    if trimmed:
        length = count_tokens(pipeline, text) + pipeline.prompt_template_encode_num_suffix_tokens
    return PromptEmbedding(*pipeline.get_text_hidden_states(text, max_sequence_length=length))
