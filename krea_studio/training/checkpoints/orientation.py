"""Teaches a fresh transformer's first blocks what all the rest builds on: where a token is, and what is wanted there.

A Krea 2 transformer knows a token's place by how its attention turns alone, the prompt by attending to text, and the
scene that its noise is coupled to by a mean over all tokens. Learning to draw teaches this last and badly; asked for it
in so many numbers (`readings`), the first blocks learn it within minutes. They leave the token's noise as it is. Part of
the pictures are given without words and with noise that says nothing: so a reference's look is read from its picture.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop
from krea_studio.training.checkpoints import architecture, coupling, initialization, readings, text
from krea_studio.training.checkpoints.latents import Chunks
from krea_studio.training.checkpoints.patches import grid_of, pack, part_of
from krea_studio.training.checkpoints.readings import Learner
from krea_studio.training.checkpoints.samples import UNCONDITIONAL_SHARE, Batch, as_said, captions_of, freed, noise_for
from krea_studio.training.flow import Grid, fastest_precision, noise_times, prepare, velocity
from krea_studio.training.world.captions import ATTRIBUTES, Caption, caption
from krea_studio.training.world.scenes import LAYOUT_NAMES, random_scene

SCHEDULE = loop.Schedule(16_000, 1.5e-3, cooling=0.6)
# Few tokens of many pictures teach most a second; but attention among all tokens is another than among some.
BATCHES = {
    Batch("1K", 12, 48): 0.4,
    Batch("512", 12, 48): 0.15,
    Batch("1K", 3, 256): 0.15,
    Batch("512", 3): 0.15,
    Batch("1K", 1): 0.15,
}
START_SHARE = 0.5  # of the batches, at t = 1
PROMPTED_SHARE = 0.8  # of the other batches, whose tokens are each told other things than the noise says
HEARD_PLACES = (initialization.HEARD, initialization.HEARD + coupling.NUMBERS)
ALONE_SHARE = 0.15  # of the batches, whose pictures alone tell what is in them
REST_WEIGHT = 0.3  # of the numbers beside those that are read, which stay as they came in
SHARED = ("img_in", "time_embed", "time_mod_proj")  # with the other blocks
READER_CAPTIONS, LISTENER_CAPTIONS = 100, 1500
READER_SEED = 11_000_000


def install(
    model: Krea2Transformer2DModel,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    latents: Path,
    folder: Path,
    device: str,
    seed: int = 0,
) -> None:
    """Give a settled transformer first blocks that have learned (or go on learning) to read.

    What they read of the look goes on from token to token (`initialization.install_look`).
    """
    small = architecture.transformer(layers=readings.BLOCKS).to(device)
    initialization.settle(small, seed)
    for name in SHARED:
        getattr(small, name).load_state_dict(getattr(model, name).state_dict())
    captions = [caption(random_scene(READER_SEED + k), random.Random(k)) for k in range(LISTENER_CAPTIONS)]
    listened = text.encode(encoder, tokenizer, [each.text for each in captions])
    conditioning = listened[0][:READER_CAPTIONS], listened[1][:READER_CAPTIONS]
    initialization.install_reader(small, conditioning, seed)
    initialization.install_listener(small, listened, torch.stack([_named(each) for each in captions]), seed)
    small.requires_grad_(False)
    # Not the parts that painters have taught: a state of before would bring back how these were then.
    own = {name: child for name, child in small.named_children() if name not in (*SHARED, "final_layer")}
    learned = nn.ModuleDict(own).requires_grad_(True)
    initialization.keep_reader(small)
    learner = Learner(small)
    _train(learner, learned, encoder, tokenizer, latents, folder, device, seed)
    model.load_state_dict(learned.state_dict(), strict=False)
    initialization.install_look(model, _states(learner, conditioning, seed), seed)


def _named(words: Caption) -> torch.Tensor:
    """What a caption names, (54,): 1 for each such value, 0 for all else."""
    values = [float(words.named.get(name) == value) for name, each in ATTRIBUTES.items() for value in each]
    return torch.tensor([*values, *(0.0 for _ in LAYOUT_NAMES)])


@torch.no_grad()
def _states(learner: Learner, conditioning: tuple[torch.Tensor, torch.Tensor], seed: int) -> torch.Tensor:
    """What is left of some tokens of pictures that are nothing but noise, (n, width)."""
    grid, generator = Grid(32, 32), torch.Generator().manual_seed(seed)
    chosen = part_of(grid, 48, True, generator)
    count, channels = len(conditioning[0]), learner.model.config.in_channels
    noise = torch.randn(count, len(chosen), channels, generator=generator).to(learner.model.device)
    velocity(learner.model, noise, torch.ones(count, device=noise.device), grid, conditioning, chosen, torch.float32)
    return learner.states(len(chosen)).flatten(0, 1)


class _Prompter:
    """Tells each token other things than the noise says, where the reader of a model's first block would tell them.

    All tokens of a picture are told the same; so of each step's pictures the blocks would see one example each. Told
    apart, they see as many as there are tokens.
    """

    def __init__(self, model: Krea2Transformer2DModel) -> None:
        self._model, self._block = model, model.transformer_blocks[0]
        self._told: torch.Tensor | None = None
        self._block.attn.register_forward_hook(self._tell)

    def prompt(self, means: torch.Tensor, times: torch.Tensor) -> None:
        """At the next call, at times (batch,), tell the last tokens that the noise's means are these (batch, n, 20)."""
        with torch.no_grad():
            embedded = self._model.time_embed(times, torch.float32)
            modulation = self._model.time_mod_proj(F.gelu(embedded, approximate="tanh")).unflatten(-1, (6, -1))
            gate = (modulation.view(len(times), 6, -1) + self._block.scale_shift_table)[:, None, 2]
            self._told = initialization.heard(torch.zeros_like(gate).expand(-1, means.shape[1], -1), means) / gate

    def cease(self) -> None:
        self._told = None

    def _tell(self, attention: nn.Module, arguments: tuple, found: torch.Tensor) -> torch.Tensor | None:
        if self._told is None:
            return None
        texts, tokens = found.tensor_split([found.shape[1] - self._told.shape[1]], 1)
        before, _, after = tokens.tensor_split(HEARD_PLACES, -1)
        own = self._told.tensor_split(HEARD_PLACES, -1)[1]
        return torch.cat([texts, torch.cat([before, own, after], -1)], 1)


def _train(
    learner: Learner,
    learned: nn.Module,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
    latents: Path,
    folder: Path,
    device: str,
    seed: int,
) -> None:
    precision, chunks = fastest_precision(learner.model), Chunks(latents, {batch.kind for batch in BATCHES})
    prompter = _Prompter(learner.model)
    prepare(learner.model, first=1)
    rest = torch.ones(learner.model.img_in.out_features, dtype=torch.bool, device=device)
    rest[readings.FIRST : readings.FIRST + readings.COUNT] = False

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        common = loop.common_draw(f"orientation-{seed}", step)
        batch = common.choices(list(BATCHES), list(BATCHES.values()))[0]
        clean, seeds = chunks.draw(batch.kind, batch.pictures, generator)
        alone, begins, grid = common.random() < ALONE_SHARE, common.random() < START_SHARE, grid_of(clean)
        prompted = common.random() < PROMPTED_SHARE and not alone
        chosen, total = part_of(grid, batch.tokens, True, generator), grid.rows * grid.columns
        draw = random.Random(f"orientation-{seed}-{step}")
        tokens, captions = (
            coupling.silent(pack(clean)[:, chosen]),
            captions_of(seeds, draw, 1.0 if alone else UNCONDITIONAL_SHARE),
        )
        noise = noise_for(tokens, seeds, captions, total, generator)
        times = torch.ones(len(seeds)) if begins and not alone else noise_times(len(seeds), total, generator)
        noise = noise if prompted else freed(noise, times, total, generator)
        conditioning = text.encode(encoder, tokenizer, [c.text for c in captions])
        t = times[:, None, None]
        mixed, times = ((1 - t) * tokens + t * noise).to(device), times.to(device)
        wanted = torch.stack([readings.of_scene(random_scene(each)) for each in seeds])[:, None]
        if prompted:
            numbers = torch.randn(len(seeds), len(chosen), coupling.NUMBERS, generator=generator)
            prompter.prompt((t * numbers / total**0.5).to(device), times)
            wanted = as_said(wanted, captions, numbers)
        velocity(learner.model, mixed, times, grid, conditioning, chosen, precision)
        prompter.cease()
        states = learner.states(len(chosen))
        read = readings.loss(states, readings.of_place(*grid, chosen), wanted)
        entered = learner.model.img_in(mixed)
        return read + REST_WEIGHT * F.mse_loss(states[..., rest], entered[..., rest])

    # What is kept from learning would fade otherwise.
    loop.run("orientation", learned, loss_of, SCHEDULE, folder, seed, decay=0.99, weight_decay=0)
