"""A Krea 2 block whose pointwise work goes over memory less often: the same function, exact to rounding.

Half of a block's time on a CPU, and much of it on a GPU, is in norms, rotary turns and gates, of which each small step
reads and writes all tokens. Here these are few larger steps, `Steps`. Layers are called between them as ever, so
adapters, packed weights and weights that come and go work in them. `InPlace` has the steps for float32 on a CPU: a norm
and its modulation are one once the lengths are known, queries and keys are turned in place as complex numbers, and a
gate is added in the step that applies it. Whoever asks for gradients, or has numbers that the steps do not take, gets
the stock block.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from diffusers import Krea2Transformer2DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_krea2 import Krea2AttnProcessor, Krea2RMSNorm
from torch import nn
from torch.nn import functional as F

Rotary = tuple[torch.Tensor, torch.Tensor]


class Steps(Protocol):
    """What a block does between its layers. Inputs may be overwritten where a layer has just made them."""

    def take(self, x: torch.Tensor) -> bool:
        """Whether they are for such numbers."""

    def modulated(self, x: torch.Tensor, norm: Krea2RMSNorm, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """(1 + scale) · norm(x) + shift of tokens (batch, tokens, width)."""

    def turned(self, x: torch.Tensor, norm: Krea2RMSNorm, rotary: Rotary) -> torch.Tensor:
        """Queries or keys (batch, tokens, heads, width), normed and turned by a table of (tokens, width)."""

    def added(self, x: torch.Tensor, gate: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x + gate · y."""

    def activated(self, gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """silu(gate) · x."""

    def opened(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """sigmoid(gate) · x."""


@contextmanager
def fewer_passes(transformer: Krea2Transformer2DModel, steps: Steps) -> Iterator[None]:
    """The transformer with such blocks, while the context lasts; attention that is not the stock one stays."""
    with ExitStack() as stack:
        for block in transformer.transformer_blocks:
            stack.enter_context(with_forward(block, _computed_by(block, _block, steps)))
            stack.enter_context(with_forward(block.ff, _computed_by(block.ff, _feed_forward, steps)))
            if type(block.attn.processor) is Krea2AttnProcessor:
                stack.callback(block.attn.set_processor, block.attn.processor)
                block.attn.set_processor(_Attention(block.attn.processor, steps))
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


def _computed_by(module: nn.Module, function: Callable[..., torch.Tensor], steps: Steps) -> Callable[..., torch.Tensor]:
    """A forward of `module` that is `function` where that counts, else the one that it has."""
    stock = module.forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if torch.is_grad_enabled() or not steps.take(x):
            return stock(x, *args, **kwargs)
        return function(steps, module, x, *args, **kwargs)

    return forward


def _block(
    steps: Steps,
    block: Any,
    x: torch.Tensor,
    temb: torch.Tensor,
    image_rotary_emb: Rotary,
    attention_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    modulation = temb.unflatten(-1, (6, -1)) + block.scale_shift_table
    scale, shift, gate, later_scale, later_shift, later_gate = modulation.unbind(-2)
    seen = steps.modulated(x, block.norm1, scale, shift)
    x = steps.added(x, gate, block.attn(seen, attention_mask=attention_mask, image_rotary_emb=image_rotary_emb))
    return steps.added(x, later_gate, block.ff(steps.modulated(x, block.norm2, later_scale, later_shift)))


def _feed_forward(steps: Steps, ff: Any, x: torch.Tensor) -> torch.Tensor:
    return ff.down(steps.activated(ff.gate(x), ff.up(x)))


class _Attention:
    """The stock attention processor with other steps."""

    def __init__(self, stock: Krea2AttnProcessor, steps: Steps) -> None:
        self._stock, self._steps = stock, steps
        # What diffusers looks for in a processor.
        self._attention_backend, self._parallel_config = stock._attention_backend, stock._parallel_config

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> torch.Tensor:
        steps = self._steps
        if image_rotary_emb is None or torch.is_grad_enabled() or not steps.take(hidden_states):
            return self._stock(attn, hidden_states, attention_mask, image_rotary_emb)
        query = attn.to_q(hidden_states).unflatten(-1, (attn.num_heads, -1))
        key = attn.to_k(hidden_states).unflatten(-1, (attn.num_kv_heads, -1))
        value = attn.to_v(hidden_states).unflatten(-1, (attn.num_kv_heads, -1))
        query = steps.turned(query, attn.norm_q, image_rotary_emb)
        key = steps.turned(key, attn.norm_k, image_rotary_emb)
        groups = attn.num_heads // attn.num_kv_heads
        if groups > 1:
            key, value = (each.repeat_interleave(groups, dim=2) for each in (key, value))
        read = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return attn.to_out[0](steps.opened(read.flatten(2, 3), attn.to_gate(hidden_states)))


class InPlace:
    """The steps for float32 on a CPU, which overwrite what they may."""

    def __init__(self) -> None:
        self._turns: tuple[torch.Tensor, torch.Tensor] | None = None

    def take(self, x: torch.Tensor) -> bool:
        return x.dtype == torch.float32 and x.device.type == "cpu"

    def modulated(self, x: torch.Tensor, norm: Krea2RMSNorm, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(shift, x * _shrinkage(x, norm), (norm.weight + 1) * (scale + 1))

    def turned(self, x: torch.Tensor, norm: Krea2RMSNorm, rotary: Rotary) -> torch.Tensor:
        x.mul_(_shrinkage(x, norm)).mul_(norm.weight + 1)
        torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(self._table(rotary))
        return x

    def added(self, x: torch.Tensor, gate: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(x, gate, y)

    def activated(self, gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return F.silu(gate, inplace=True).mul_(x)

    def opened(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return x.mul_(gate.sigmoid_())

    def _table(self, rotary: Rotary) -> torch.Tensor:
        """The rotary table as complex numbers, (tokens, 1, width / 2), made once for each table."""
        cosines, sines = rotary
        if self._turns is None or self._turns[0] is not cosines:
            # Each turn stands twice, for the two numbers of a pair.
            turns = torch.complex(cosines[:, ::2].contiguous(), sines[:, ::2].contiguous())
            self._turns = cosines, turns[:, None]
        return self._turns[1]


def _shrinkage(x: torch.Tensor, norm: Krea2RMSNorm) -> torch.Tensor:
    """What the norm multiplies each of (…, width) with before its gains, (…, 1)."""
    squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return squares.div_(x.shape[-1]).add_(norm.eps).rsqrt_()
