"""A Krea 2 block whose pointwise work goes over memory less often: the same function, exact to rounding.

On a CPU half of a block's time is in norms, rotary turns and gates, of which each small step reads and writes all
tokens. Here a norm and its modulation are one step after the lengths are known, queries and keys are turned in place as
complex numbers, and a gate is added in the step that applies it. Layers are called as ever, so that adapters and packed
weights work in them. Only where nobody asks for gradients, in float32 on a CPU; anything else takes the stock way.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import Krea2Transformer2DModel
from diffusers.models.transformers.transformer_krea2 import Krea2AttnProcessor, Krea2RMSNorm
from torch import nn
from torch.nn import functional as F

Rotary = tuple[torch.Tensor, torch.Tensor]


@contextmanager
def fewer_passes(transformer: Krea2Transformer2DModel) -> Iterator[None]:
    """The transformer with such blocks, while the context lasts; attention that is not the stock one stays."""
    with ExitStack() as stack:
        attention = _Attention()
        for block in transformer.transformer_blocks:
            stack.enter_context(with_forward(block, _computed_by(block, _block)))
            stack.enter_context(with_forward(block.ff, _computed_by(block.ff, _feed_forward)))
            if type(block.attn.processor) is Krea2AttnProcessor:
                stack.callback(block.attn.set_processor, block.attn.processor)
                block.attn.set_processor(attention)
        yield


@contextmanager
def with_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """`module` with another forward, while the context lasts."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _computed_by(module: nn.Module, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A forward of `module` that is `function` where that counts, else the one that it has."""
    stock = module.forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return stock(x, *args, **kwargs) if _takes_the_stock_way(x) else function(module, x, *args, **kwargs)

    return forward


def _takes_the_stock_way(x: torch.Tensor) -> bool:
    return torch.is_grad_enabled() or x.dtype != torch.float32 or x.device.type != "cpu"


def _block(
    block: Any,
    x: torch.Tensor,
    temb: torch.Tensor,
    image_rotary_emb: Rotary,
    attention_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    modulation = temb.unflatten(-1, (6, -1)) + block.scale_shift_table
    scale, shift, gate, later_scale, later_shift, later_gate = modulation.unbind(-2)
    seen = _modulated(x, block.norm1, scale, shift)
    read = block.attn(seen, attention_mask=attention_mask, image_rotary_emb=image_rotary_emb)
    x = torch.addcmul(x, gate, read)
    return torch.addcmul(x, later_gate, block.ff(_modulated(x, block.norm2, later_scale, later_shift)))


def _feed_forward(ff: Any, x: torch.Tensor) -> torch.Tensor:
    return ff.down(F.silu(ff.gate(x), inplace=True).mul_(ff.up(x)))


def _modulated(x: torch.Tensor, norm: Krea2RMSNorm, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """(1 + scale) · norm(x) + shift."""
    return torch.addcmul(shift, x * _shrinkage(x, norm), (norm.weight + 1) * (scale + 1))


def _shrinkage(x: torch.Tensor, norm: Krea2RMSNorm) -> torch.Tensor:
    """What the norm multiplies each of (…, width) with before its gains, (…, 1)."""
    squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return squares.div_(x.shape[-1]).add_(norm.eps).rsqrt_()


class _Attention:
    """The stock attention processor with queries and keys that are normed and turned in place."""

    # What diffusers looks for in a processor.
    _attention_backend = None
    _parallel_config = None

    def __init__(self) -> None:
        self._stock = Krea2AttnProcessor()
        self._table: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> torch.Tensor:
        if image_rotary_emb is None or _takes_the_stock_way(hidden_states):
            return self._stock(attn, hidden_states, attention_mask, image_rotary_emb)
        table = self._turns(image_rotary_emb)
        query = _turned(attn.to_q(hidden_states), attn.norm_q, table, attn.num_heads)
        key = _turned(attn.to_k(hidden_states), attn.norm_k, table, attn.num_kv_heads)
        value = attn.to_v(hidden_states).unflatten(-1, (attn.num_kv_heads, attn.head_dim))
        groups = attn.num_heads // attn.num_kv_heads
        if groups > 1:
            key, value = (each.repeat_interleave(groups, dim=2) for each in (key, value))
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        return attn.to_out[0](read.transpose(1, 2).flatten(2, 3).mul_(attn.to_gate(hidden_states).sigmoid_()))

    def _turns(self, rotary: Rotary) -> torch.Tensor:
        """The rotary table as complex numbers, (tokens, 1, width / 2), made once for each table."""
        cosines, sines = rotary
        if self._table is None or self._table[0] is not cosines:
            # Each turn stands twice, for the two numbers of a pair.
            turns = torch.complex(cosines[:, ::2].contiguous(), sines[:, ::2].contiguous())
            self._table = cosines, turns[:, None]
        return self._table[1]


def _turned(x: torch.Tensor, norm: Krea2RMSNorm, table: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries or keys (batch, tokens, heads · width), normed and turned in place: (batch, tokens, heads, width)."""
    x = x.unflatten(-1, (heads, -1))
    x.mul_(_shrinkage(x, norm)).mul_(norm.weight + 1)
    torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(table)
    return x
