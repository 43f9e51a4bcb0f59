"""Flow matching on the stock transformer: a grid of tokens, the model's prediction, at which noise levels to learn.

x_t = (1 − t)·x + t·noise, the model predicts noise − x, as in Krea 2.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from diffusers.pipelines.krea2.pipeline_krea2 import calculate_shift


class Grid(NamedTuple):
    """Rows and columns of tokens."""

    rows: int
    columns: int

    def positions(self, text_tokens: int, device: torch.device) -> torch.Tensor:
        """The pipeline's own positions, (text + rows · columns, 3)."""
        return Krea2Pipeline.prepare_position_ids(text_tokens, self.rows, self.columns, device)


def velocity(
    model: Krea2Transformer2DModel,
    tokens: torch.Tensor,
    times: torch.Tensor,
    grid: Grid,
    conditioning: tuple[torch.Tensor, torch.Tensor],
    chosen: torch.Tensor | None = None,
    precision: torch.dtype = torch.bfloat16,
) -> torch.Tensor:
    """The model's prediction for tokens (batch, n, 96) at times (batch,), its matrix products in `precision`.

    `chosen` are the tokens' numbers in the grid where they are not all of it.
    """
    embeds, valid = conditioning
    length = embeds.shape[1]
    positions = grid.positions(length, tokens.device)
    if chosen is not None:
        positions = torch.cat([positions[:length], positions[length:][chosen.to(tokens.device)]])
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        predicted = model(tokens, embeds, times, positions, encoder_attention_mask=valid, return_dict=False)[0]
    return predicted.float()


def fastest_precision(model: Krea2Transformer2DModel) -> torch.dtype:
    """float32 or bfloat16 for the matrix products, whichever takes a step sooner here; bfloat16 for halved weights.

    CPUs without units for bfloat16 emulate it, and take 13 times as long.
    """
    if model.dtype != torch.float32:
        return torch.bfloat16
    device, config = model.device, model.config
    embeds = torch.zeros(4, 30, config.num_text_layers, config.text_hidden_dim, device=device)
    conditioning = embeds, torch.ones(4, 30, dtype=torch.bool, device=device)
    tokens, times = torch.randn(4, 144, config.in_channels, device=device), torch.ones(4, device=device)
    taken: dict[torch.dtype, float] = {}
    with torch.no_grad():
        for precision in 3 * (torch.float32, torch.bfloat16):
            started = time.perf_counter()
            velocity(model, tokens, times, Grid(12, 12), conditioning, precision=precision).sum().item()
            taken[precision] = min(taken.get(precision, math.inf), time.perf_counter() - started)
    return min(taken, key=lambda precision: taken[precision])


def prepare(model: Krea2Transformer2DModel, first: int = 0) -> None:
    """Make a model's steps of training fast: blocks are compiled, and on a CPU attention is plain matrix products.

    Blocks before the `first` stay as they are: a hook that does something else at every call would have them compiled
    anew.

    There the gradients of torch's blockwise attention take longer than all else in a block of short sequences.
    """
    if model.device.type == "cpu":
        model.set_attention_backend("_native_math")
    # One picture or several, whole or in part, at the first block or a later one: each has graphs of its own.
    torch._dynamo.config.recompile_limit = 64
    # A block whose parts have hooks is another than the same block without them.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    for block in model.transformer_blocks[first:]:
        block.compile(dynamic=True)


def noise_times(count: int, token_count: int, generator: torch.Generator) -> torch.Tensor:
    """Times (count,) in 0…1 on the way: logit-normal, shifted as the scheduler does for a picture of so many tokens."""
    mu = calculate_shift(token_count, 256, 6400, 0.5, 1.15)
    return torch.sigmoid(mu + 1.4 * torch.randn(count, generator=generator))


def noise_levels(steps: int, mu: float) -> list[float]:
    """The noise levels of a run, from 1 to 0, one more than its steps, as the scheduler computes them."""
    shift = math.exp(mu)
    return [shift / (shift + 1 / (1 - k / steps) - 1) for k in range(steps)] + [0.0]


@torch.no_grad()
def walk(
    states: torch.Tensor, levels: Sequence[float], velocity_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """What becomes of states (batch, …) by steps down the noise levels; `velocity_of` takes states and times (batch,)."""
    for here, there in pairwise(levels):
        times = torch.full((len(states),), here, device=states.device)
        states = states + (there - here) * velocity_of(states, times)
    return states
