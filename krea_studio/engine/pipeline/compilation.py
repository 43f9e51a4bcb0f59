"""A block's steps compiled by torch (`passes.Steps`), and when they are used.

Compiled are the steps between the layers, not the block: no slider, style, reference, packed weight or weight on its
way is ever in a graph, so none of them makes it anew, and one graph of each step serves all sizes. They round as the
stock steps do, but for sums over a token's numbers. The first of them take seconds, sometimes a minute, to be made.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Literal

import torch
from diffusers import Krea2Transformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_krea2 import Krea2RMSNorm
from torch.nn import functional as F

from krea_studio.engine.pipeline.passes import InPlace, Rotary, Steps
from krea_studio.errors import Unavailable

Choice = Literal["auto", "on", "off"]
logger = logging.getLogger(__name__)


def _normed(x: torch.Tensor, gains: torch.Tensor, eps: float) -> torch.Tensor:
    return F.rms_norm(x.float(), (x.shape[-1],), gains + 1.0, eps).to(x.dtype)


def _modulated(
    x: torch.Tensor, gains: torch.Tensor, eps: float, scale: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    return (1.0 + scale) * _normed(x, gains, eps) + shift


def _turned(x: torch.Tensor, gains: torch.Tensor, eps: float, cosines: torch.Tensor, sines: torch.Tensor) -> Any:
    return apply_rotary_emb(_normed(x, gains, eps), (cosines, sines), sequence_dim=1)


def _added(x: torch.Tensor, gate: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + gate * y


def _activated(gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return F.silu(gate) * x


def _opened(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(gate)


class Compiled:
    """The stock steps, each compiled; `backend` is torch's name of what makes the code, or a function that does."""

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        options = {"emulate_precision_casts": True} if backend == "inductor" else None

        def compiled(step: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            return torch.compile(step, backend=backend, options=options, fullgraph=True)

        self._modulated, self._turned = compiled(_modulated), compiled(_turned)
        self._added, self._activated, self._opened = compiled(_added), compiled(_activated), compiled(_opened)

    def take(self, x: torch.Tensor) -> bool:
        return True

    def modulated(self, x: torch.Tensor, norm: Krea2RMSNorm, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return self._modulated(_of_any_count(x), norm.weight, norm.eps, scale, shift)

    def turned(self, x: torch.Tensor, norm: Krea2RMSNorm, rotary: Rotary) -> torch.Tensor:
        cosines, sines = (_of_any_count(each, 0) for each in rotary)
        return self._turned(_of_any_count(x), norm.weight, norm.eps, cosines, sines)

    def added(self, x: torch.Tensor, gate: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._added(_of_any_count(x), gate, _of_any_count(y))

    def activated(self, gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self._activated(_of_any_count(gate), _of_any_count(x))

    def opened(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return self._opened(_of_any_count(x), _of_any_count(gate))


def _of_any_count(x: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """The same tensor, for a graph in which its tokens may be any number."""
    torch._dynamo.maybe_mark_dynamic(x, dim)
    return x


def pays_on(device: str) -> bool:
    """Whether compiled steps are faster there: measured on a CPU, where they are not; on CUDA as others found."""
    return device.startswith("cuda")


class Compilation:
    """Which steps the pictures of a device are drawn with.

    `on`: compiled, whoever waits for it. `auto`: compiled on a GPU of CUDA, where that is faster, as soon as a thread
    of its own has made them after a checkpoint's first picture, so that nobody waits. Else those of `InPlace`, with
    which a CPU is faster.
    """

    def __init__(
        self, choice: Choice, device: str, precision: torch.dtype, compiled: Callable[[], Steps] = Compiled
    ) -> None:
        self._device, self._precision = device, precision
        self._begins_by_itself = choice == "auto" and pays_on(device)
        self._steps: Steps | None = compiled() if choice == "on" or self._begins_by_itself else None
        self._at_once = choice == "on"
        self._made: set[tuple[Any, ...]] = set()
        self._making: threading.Thread | None = None

    def steps(self, transformer: Krea2Transformer2DModel) -> Steps:
        """The steps for the transformer's next picture. Raises Unavailable where they should be made and cannot be."""
        shape = _shape(transformer)
        if self._at_once and shape not in self._made:
            try:
                self._make(transformer)
            except Exception as error:
                raise Unavailable(
                    f"The steps cannot be compiled here ({_first_line(error)}) — set KREA_STUDIO_COMPILE to off, or "
                    "install what is missing"
                ) from error
        return self._steps if self._steps and shape in self._made else InPlace()

    def drawn(self, transformer: Krea2Transformer2DModel) -> None:
        """The transformer has drawn a picture, so that its steps may be made now."""
        idle = self._making is None or not self._making.is_alive()
        if self._begins_by_itself and idle and _shape(transformer) not in self._made:
            self._making = threading.Thread(target=self._make_aside, args=[transformer], daemon=True)
            self._making.start()

    def wait(self) -> None:
        """Until what is being made is there."""
        if self._making:
            self._making.join()

    def _make_aside(self, transformer: Krea2Transformer2DModel) -> None:
        try:
            self._make(transformer)
        except Exception as error:
            self._begins_by_itself = False
            logger.warning("Pictures are drawn without compiled steps: %s", _first_line(error))

    def _make(self, transformer: Krea2Transformer2DModel) -> None:
        assert self._steps is not None
        shape = _shape(transformer)
        with torch.no_grad():
            _run_once(self._steps, transformer, self._device, self._precision)
        self._made.add(shape)


def _shape(transformer: Krea2Transformer2DModel) -> tuple[Any, ...]:
    """What graphs are made for: equal for transformers that share them."""
    block = transformer.transformer_blocks[0]
    widths = block.attn.num_heads, block.attn.num_kv_heads, block.attn.head_dim, block.ff.gate.out_features
    return *widths, block.norm1.eps, block.norm1.weight.dtype


def _run_once(steps: Steps, transformer: Krea2Transformer2DModel, device: str, dtype: torch.dtype) -> None:
    """Every step with numbers as the transformer's blocks have them; its weights need not be on the device."""
    heads, kv_heads, head_width, inner, eps, norm_dtype = _shape(transformer)
    tokens, width = 32, heads * head_width

    def made(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    def norm(width: int) -> Krea2RMSNorm:
        return Krea2RMSNorm(width, eps).to(device, norm_dtype)

    scale, shift, gate, *_ = made(1, 1, 6, width).unbind(-2)
    steps.modulated(made(1, tokens, width), norm(width), scale, shift)
    rotary = torch.zeros(tokens, head_width, device=device), torch.zeros(tokens, head_width, device=device)
    for count in {heads, kv_heads}:
        steps.turned(made(1, tokens, count, head_width), norm(head_width), rotary)
    steps.added(made(1, tokens, width), gate, made(1, tokens, width))
    steps.activated(made(1, tokens, inner), made(1, tokens, inner))
    steps.opened(made(1, tokens, width), made(1, tokens, width))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
