"""Trains the transformer of mini-medium and mini-large: flow matching on latents, with captions written anew each time.

Rectified flow as in Krea 2: x_t = (1 − t)·x + t·noise, the model predicts noise − x. Times are drawn from a
logit-normal that leans towards noise: neighbouring cells of these pictures are alike, so a layout shows through much
noise, and what the words decide (which subject, in which colours) is decided while t is above 0.9.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from diffusers.pipelines.krea2.pipeline_krea2 import calculate_shift
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import architecture, loop, text
from krea_studio.training.captions import caption
from krea_studio.training.latents import Chunks
from krea_studio.training.world import random_scene

UNCONDITIONAL_SHARE = 0.1


@dataclass(frozen=True)
class Stage:
    """One leg of training: shares of the latent classes, steps, peak learning rate, batch by token count, lean to noise."""

    name: str
    kinds: dict[str, float]
    steps: int
    peak: float
    batch_of: dict[int, int]
    lean: float = 0.3


MEDIUM_STAGES = (
    Stage("256", {"256": 1.0}, 5600, 2.4e-3, {80: 16}, lean=1.0),
    Stage("512", {"512": 0.65, "256": 0.35}, 1600, 1.2e-3, {80: 16, 300: 5}),
    Stage("1K", {"1K": 0.45, "512": 0.35, "256": 0.2}, 7900, 1.6e-3, {80: 16, 300: 5, 1200: 1}, lean=0.0),
)
LARGE_STAGES = (Stage("textured", {"1K textured": 0.4, "512 textured": 0.6}, 120, 5e-4, {300: 4, 1200: 1}),)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(batch, 6, h, w) → tokens (batch, h·w / 16, 96), in the pipeline's order."""
    b, c, h, w = latents.shape
    p = architecture.PATCH_SIZE
    return latents.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p)


class Grid(NamedTuple):
    """Rows and columns of tokens, and the distance between neighbours in positions."""

    rows: int
    columns: int
    stride: int = 1

    def positions(self, text_tokens: int, device: torch.device) -> torch.Tensor:
        """Positions (text + rows · columns, 3): the pipeline's own, spread so that a token sits in its square's middle."""
        positions = Krea2Pipeline.prepare_position_ids(text_tokens, self.rows, self.columns, device).float()
        positions[text_tokens:, 1:] = positions[text_tokens:, 1:] * self.stride + (self.stride - 1) / 2
        return positions


def grid_of(latents: torch.Tensor, stride: int = 1) -> Grid:
    """The grid of latents (batch, 6, h, w)."""
    return Grid(latents.shape[2] // architecture.PATCH_SIZE, latents.shape[3] // architecture.PATCH_SIZE, stride)


def velocity(
    model: Krea2Transformer2DModel,
    tokens: torch.Tensor,
    times: torch.Tensor,
    grid: Grid,
    conditioning: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """The model's prediction, with its matrix products in bfloat16, for tokens (batch, n, 96) at times (batch,)."""
    embeds, valid = conditioning
    positions = grid.positions(embeds.shape[1], tokens.device)
    with torch.autocast(tokens.device.type, torch.bfloat16):
        predicted = model(tokens, embeds, times, positions, encoder_attention_mask=valid, return_dict=False)[0]
    return predicted.float()


def noise_times(count: int, token_count: int, generator: torch.Generator, lean: float) -> torch.Tensor:
    """Times (count,) in 0…1 to train at: 15 % are 1, where a run begins, the others logit-normal around `lean`.

    A lean of 1 puts about half of them above 0.9, where layouts are learned; a lower one leaves more for edges. The
    scheduler's own shift for a picture of so many tokens comes on top, as larger pictures bear more noise.
    """
    mu = calculate_shift(token_count, 256, 6400, 0.5, 1.15)
    times = torch.sigmoid(mu + lean + 1.4 * torch.randn(count, generator=generator))
    return times.where(torch.rand(count, generator=generator) > 0.15, torch.ones(()))


def captions_of(seeds: list[int], draw: random.Random, unconditional: float = UNCONDITIONAL_SHARE) -> list[str]:
    return ["" if draw.random() < unconditional else caption(random_scene(seed), draw).text for seed in seeds]


def train_stage(
    model: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    stage: Stage,
    latents: Path,
    folder: Path,
    device: str,
    seed: int = 0,
    on_save: Callable[[int], None] | None = None,
) -> None:
    """Train (or go on training) one stage in place."""
    chunks = Chunks(latents, stage.kinds)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        clean, seeds, stride = chunks.draw(stage.batch_of, generator)
        grid = grid_of(clean, stride)
        tokens = pack(clean).to(device)
        noise = torch.randn(tokens.shape, generator=generator).to(device)
        times = noise_times(len(seeds), tokens.shape[1], generator, stage.lean).to(device)
        prompts = captions_of(seeds, random.Random(f"{stage.name}-{seed}-{step}"))
        conditioning = text.encode(encoder, tokenizer, prompts)
        t = times[:, None, None]
        predicted = velocity(model, (1 - t) * tokens + t * noise, times, grid, conditioning)
        return F.mse_loss(predicted, noise - tokens)

    loop.run(
        f"denoiser {stage.name}", model, loss_of, loop.Schedule(stage.steps, stage.peak), folder / stage.name, seed,
        decay=0.998, on_save=on_save,
    )  # fmt: skip


def expanded(medium: Krea2Transformer2DModel) -> Krea2Transformer2DModel:
    """mini-large before its own training: mini-medium's blocks, with new ones between that change nothing yet.

    A new block copies the one before it with its two output projections at zero (block expansion, Wu et al. 2024,
    LLaMA Pro, arXiv 2401.02415).
    """
    large = architecture.transformer("mini-large")
    state = {k: v for k, v in medium.state_dict().items() if not k.startswith("transformer_blocks.")}
    old, new = len(medium.transformer_blocks), len(large.transformer_blocks)
    sources = sorted(k % old for k in range(new))
    for k, source in enumerate(sources):
        repeated = k > 0 and sources[k - 1] == source
        for name, value in medium.transformer_blocks[source].state_dict().items():
            silent = repeated and name in ("attn.to_out.0.weight", "ff.down.weight")
            state[f"transformer_blocks.{k}.{name}"] = torch.zeros_like(value) if silent else value.clone()
    large.load_state_dict(state)
    return large
