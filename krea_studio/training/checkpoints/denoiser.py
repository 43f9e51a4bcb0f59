"""Trains the transformer of mini-medium and mini-large: flow matching on latents, with captions written anew each time.

Rectified flow as in Krea 2: x_t = (1 − t)·x + t·noise, the model predicts noise − x. The noise is coupled to the scene
(`coupling`), so that at t = 1 there is one right answer, and half of the samples are there, where a run begins. What a
token shows then depends on its place, the caption and the corner's token alone: those samples are trained on a part of
the tokens, spread over the picture. Samples on the way (t < 1) take their tokens from one window, because neighbours
tell of one another there. Half of them are the model's own: it goes down from noise by its own steps, and learns the
straight step from where it really is to where the picture is, so that each step mends what those before it got wrong.
Noise and picture are a known pair, so that takes no teacher, and Turbo is the same with its own eight noise levels.
Part of the others have independent noise, as pictures have that a person trains a style on.
Beside its own task the first blocks go on telling what they have learned to read (`Learner`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop
from krea_studio.training.checkpoints import architecture, coupling, readings, text
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.patches import grid_of, pack, part_of
from krea_studio.training.flow import (
    SHIFTS,
    STEPS,
    Grid,
    fastest_precision,
    levels_on_the_way,
    noise_levels,
    noise_times,
    prepare,
    velocity,
    walk,
)
from krea_studio.training.world.captions import ATTRIBUTES, Caption, caption
from krea_studio.training.world.scenes import random_scene

UNCONDITIONAL_SHARE = 0.06
WHOLE_SHARE = 0.35  # of the captions, which leave nothing open
OPEN_SHARE = 0.2  # of the captions, which leave all but the subject to the noise
INDEPENDENT_SHARE = 0.15  # of the samples below `INDEPENDENT_BELOW` that have noise of their own
INDEPENDENT_BELOW = 0.8
COOLING = 0.4  # share of a stage in which the learning rate falls
READING_WEIGHT = 0.5
LEAST_TIME = 0.3  # below it, velocities of own states count less: there a small error is a large one of theirs


@dataclass(frozen=True)
class Batch:
    """One kind of batch: pictures of a latent class, how many, and of how many of their tokens (None for all).

    Parts of pictures show more of them in the same time; whole ones show how many tokens there will be.
    """

    kind: str
    pictures: int
    tokens: int | None = None


@dataclass(frozen=True)
class Stage:
    """One leg of training: its kinds of batches by their share, steps, peak learning rate.

    `start_share` is the share of batches at t = 1, `own_share` that of the others with states of the model's own, in
    runs of so many steps (`run_steps`, by their shares) whose noise levels are shifted by one of `shifts`. Where that is
    all of them, the others are of the same levels too.
    """

    name: str
    batches: dict[Batch, float]
    steps: int
    peak: float
    start_share: float = 0.5
    own_share: float = 0.5
    run_steps: Mapping[int, float] = field(default_factory=lambda: STEPS)
    shifts: tuple[float, ...] = SHIFTS


MEDIUM_STAGES = (Stage("whole", {Batch("1K", 1): 0.6, Batch("512", 4): 0.4}, 1200, 1e-4),)
TURBO_STEPS = 8
TURBO_SHIFT = 1.15  # the published Turbo's fixed mu
TURBO_STAGES = (
    Stage(
        "eight steps",
        {Batch("1K", 1): 0.6, Batch("512", 4): 0.4},
        800,
        1e-4,
        start_share=1 / TURBO_STEPS,
        own_share=1,
        run_steps={TURBO_STEPS: 1},
        shifts=(TURBO_SHIFT,),
    ),
)
LARGE_STAGES = (
    Stage(
        "rich",
        {
            Batch("1K rich", 16, 96): 0.5,
            Batch("512 rich", 16, 96): 0.15,
            Batch("512 rich", 4): 0.15,
            Batch("1K rich", 1): 0.2,
        },
        2000,
        8e-4,
    ),
    Stage("rich whole", {Batch("1K rich", 1): 0.6, Batch("512 rich", 4): 0.4}, 500, 2e-4),
)


def turbo_levels() -> list[float]:
    """The nine noise levels of an eight-step Turbo run, from 1 to 0."""
    return noise_levels(TURBO_STEPS, TURBO_SHIFT)


def captions_of(seeds: list[int], draw: random.Random, unconditional: float = UNCONDITIONAL_SHARE) -> list[Caption]:
    """Captions of the seeds' scenes: some empty, some that name everything or the subject alone, the others by chance."""
    found = []
    for seed in seeds:
        kind, always, never = draw.random(), (), ()
        if kind > 1 - WHOLE_SHARE:
            always = tuple(ATTRIBUTES)
        elif kind < unconditional + OPEN_SHARE:
            always, never = ("subject",), tuple(name for name in ATTRIBUTES if name != "subject")
        found.append(Caption("", {}) if kind < unconditional else caption(random_scene(seed), draw, always, never))
    return found


def noise_for(
    tokens: torch.Tensor, seeds: list[int], captions: list[Caption], total: int, generator: torch.Generator
) -> torch.Tensor:
    """Noise for clean tokens (batch, n, 96) of pictures of `total` tokens, coupled where the caption names a subject.

    Without a subject it says random things: that is what guidance and negative prompts subtract, which should point at
    what is common to many pictures, not at one.
    """
    noise = torch.randn(tokens.shape, generator=generator)
    wanted = torch.randn(len(tokens), coupling.NUMBERS, generator=generator)
    for k, (seed, words) in enumerate(zip(seeds, captions, strict=True)):
        if "subject" in words.named:
            wanted[k] = coupling.numbers_of(random_scene(seed), words.named, generator)
    return coupling.say(noise, total, wanted)


def freed(noise: torch.Tensor, times: torch.Tensor, total: int, generator: torch.Generator) -> torch.Tensor:
    """The noise, of some samples below `INDEPENDENT_BELOW` another one, which says nothing of the scene."""
    free = (times < INDEPENDENT_BELOW) & (torch.rand(len(times), generator=generator) < INDEPENDENT_SHARE)
    other = torch.randn(noise.shape, generator=generator)
    other = coupling.say(other, total, torch.randn(len(times), coupling.NUMBERS, generator=generator))
    return torch.where(free[:, None, None], other, noise)


class Learner(nn.Module):
    """A transformer, and what the latest call read: its states as they come to be painted; for training alone."""

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        super().__init__()
        self.model = model
        self._states: torch.Tensor | None = None
        blocks, reading = model.transformer_blocks, readings.blocks_of(model)
        if reading == len(blocks):
            blocks[-1].register_forward_hook(lambda block, arguments, states: self._keep(states))
        else:  # its attention has its share in the reading of the look
            blocks[reading].norm2.register_forward_pre_hook(lambda norm, arguments: self._keep(*arguments))

    def reading_loss(self, grid: Grid, chosen: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        """How wrong what the latest call read of its `chosen` tokens is, in pictures of these seeds' scenes.

        What nothing tells of a scene is right at its mean.
        """
        scenes = [random_scene(seed) for seed in seeds]
        return readings.loss(self.states(len(chosen)), readings.of_place(*grid, chosen), scenes)

    def states(self, count: int) -> torch.Tensor:
        """Those of the last `count` tokens, (batch, count, width)."""
        assert self._states is not None
        return self._states[:, -count:].float()

    def _keep(self, states: torch.Tensor) -> None:
        self._states = states


def train_stage(
    learner: Learner,
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
    chunks = Chunks(latents, {batch.kind for batch in stage.batches})
    model = learner.model
    precision = fastest_precision(model)
    print(f"{stage.name}: matrix products in {precision}", flush=True)
    prepare(model)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common = loop.common_draw(f"{stage.name}-{seed}", step)
        batch = common.choices(list(stage.batches), list(stage.batches.values()))[0]
        begins = common.random() < stage.start_share
        clean, seeds = chunks.draw(batch.kind, batch.pictures, generator)
        grid = grid_of(clean)
        chosen = part_of(grid, batch.tokens, begins, generator)
        tokens = coupling.silent(pack(clean)[:, chosen])
        captions = captions_of(seeds, random.Random(f"{stage.name}-{seed}-{step}"))
        total = grid.rows * grid.columns
        noise = noise_for(tokens, seeds, captions, total, generator)
        own = not begins and common.random() < stage.own_share
        levels = levels_on_the_way(common, stage.run_steps, stage.shifts) if own else [1.0]
        times = (
            noise_times(len(seeds), total, generator) if not (own or begins) else torch.full((len(seeds),), levels[-1])
        )
        coupled = torch.tensor(["subject" in each.named for each in captions])
        if not own:
            noise = freed(noise, times, total, generator)
        conditioning = text.encode(encoder, tokenizer, [c.text for c in captions])
        t, tokens, noise = times[:, None, None].to(device), tokens.to(device), noise.to(device)
        mixed = (1 - t) * tokens + t * noise

        def velocity_of(states: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            return velocity(model, states, times, grid, conditioning, chosen, precision)

        if own:  # where there is no pair, states stay on the straight way
            mixed = torch.where(coupled[:, None, None].to(device), walk(noise, levels, velocity_of), mixed)
        predicted = velocity_of(mixed, times.to(device))
        read = learner.reading_loss(grid, chosen, seeds)
        wrong = (predicted - (mixed - tokens) / t).square() * (t / LEAST_TIME).square().clamp_max(1)
        return wrong.mean() + READING_WEIGHT * read

    schedule = loop.Schedule(stage.steps, stage.peak, cooling=COOLING)
    loop.run(
        f"denoiser {stage.name}", learner, loss_of, schedule, folder / stage.name, seed, decay=0.998, on_save=on_save
    )


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
