"""Softmax attention that also tells how much it attended to: the log-sum-exp of its logits.

Attention over two sets of keys is the mean of the attentions over each, weighted by the exponentials of these; that is
how partial attentions are merged. torch has kernels that return both, but no public function for them.
"""

import math

import torch

QUERIES_AT_ONCE = 512


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention (batch, heads, queries, width) and its log-sum-exp (batch, heads, queries) in float32.

    `key` and `value` may have a divisor of the query's heads (grouped queries). `mask` is true where a key is read, or
    a number to add to its logits, of a shape that broadcasts to (batch, heads, queries, keys).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    if query.device.type == "cpu":
        bias = None if mask is None else _as_bias(mask, query)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, attn_mask=bias)
    elif mask is None and _has_flash(query):
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[:2]
        lse = lse[..., : query.shape[2]]
    else:
        out, lse = by_products(query, key, value, mask)
    return out, lse.float()


def _has_flash(query: torch.Tensor) -> bool:
    """Whether torch's flash kernel takes it: half precision on a GPU of Ampere's generation or a later one."""
    return (
        query.device.type == "cuda"
        and query.dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _as_bias(mask: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    bias = mask.to(query.dtype)
    if mask.dtype == torch.bool:
        bias = torch.zeros_like(bias).masked_fill(~mask, -math.inf)
    return bias.expand(query.shape[0], -1, query.shape[2], -1)


def by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `attend`, with plain matrix products, some queries at a time so that the logits stay small."""
    outs, lses = [], []
    scaled = key.float().transpose(-1, -2) / math.sqrt(query.shape[-1])
    bias = None if mask is None else _as_bias(mask, query.float())
    for start in range(0, query.shape[2], QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        logits = query[:, :, rows].float() @ scaled
        if bias is not None:
            logits = logits + bias[:, :, rows]
        lse = logits.logsumexp(-1)
        outs.append((logits - lse[..., None]).exp() @ value.float())
        lses.append(lse)
    return torch.cat(outs, 2).to(query.dtype), torch.cat(lses, 2)
