"""Trains a style LoRA on a folder of captioned pictures: `python -m krea_studio train-style FOLDER --name NAME --trigger WORDS`.

Flow matching as the checkpoint itself was trained: x_t = (1 − t)·x + t·noise, the model with the adapter predicts
noise − x. Pictures become latents of the checkpoint's own VAE once; every caption gets the trigger words, which a
person then adds to a prompt. Train on an undistilled checkpoint (Raw, Medium): the style also works on its Turbo, while
training on a distilled one undoes the distillation. State is kept, so that an interrupted training goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F

from krea_studio.engine.checkpoints.manager import LoadedPipeline
from krea_studio.engine.checkpoints.table import CHECKPOINTS, Checkpoint, resolve
from krea_studio.engine.pipeline.prompts import require_fitting
from krea_studio.engine.pipeline.single_frame import SingleFrameEncoder
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import bounds
from krea_studio.recipe.variants import VARIANTS
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import load_settings
from krea_studio.training import loop
from krea_studio.training.adapters import logbook
from krea_studio.training.adapters.adapter import (
    encoded,
    learning,
    load,
    prompt_length,
    require_writable,
    tensors_of,
    write,
)
from krea_studio.training.adapters.captioned import Captioned, cut, identity, read_folder, size_for, with_trigger
from krea_studio.training.adapters.options import RATE, SMALL_WORLD_RATE, TARGETS, parsed
from krea_studio.training.flow import Grid, fastest_precision, noise_times, velocity
from krea_studio.validation import shown

COMMAND = "python -m krea_studio train-style"
ADAPTER = "style"
BLOCKS = "transformer_blocks."
WITHOUT_CAPTION = 0.1  # share of pictures that are learned without words, which guidance needs
SAMPLES = 4
MOST = {
    "steps": 1_000_000,
    "rank": 256,
    "alpha": 1024,
    "size": 2048,
    "batch": 256,
    "sample_every": 1_000_000,
    "strength": 4,
}


@dataclass(frozen=True)
class Task:
    """One style to train.

    `alpha` / `rank` scales what the adapter adds; `targets` are ends of layer names within the blocks, or whole names;
    pictures have about `size`² pixels; samples are drawn every so many steps, 0 for never. Weight 1 of what is written
    is `strength` of what was learned.
    """

    name: str
    trigger: str
    steps: int
    rank: int
    alpha: float
    learning_rate: float
    targets: tuple[str, ...]
    size: int
    batch: int
    sample_every: int
    seed: int
    strength: float = 1.0


class Group(NamedTuple):
    """Pictures of one size: packed latents (n, tokens, channels) in half precision, and their numbers in the folder."""

    grid: Grid
    latents: torch.Tensor
    numbers: list[int]


def train(
    loaded: LoadedPipeline,
    pictures: Sequence[Captioned],
    task: Task,
    work: Path,
    content_filter: ContentFilter,
    told: Callable[[str], None] = print,
) -> dict[str, torch.Tensor]:
    """The trained adapter's tensors under their names in the transformer, which is left as it was.

    `work` keeps the state, the losses and the samples; latents are kept beside it, for other trainings on the same
    pictures. A sample that the content filter does not pass is left blank. Raises InvalidRequest for a target that is
    no layer and for a caption that is too long for the text encoder; before anything is trained Refused for words that
    may not be drawn, and Unavailable where samples could not be judged.
    """
    pipeline, transformer = loaded.pipeline, loaded.pipeline.transformer
    layers = layers_of(transformer, task.targets)
    prompts, embedded = [with_trigger(each.caption, task.trigger) for each in pictures], loaded.checkpoint.embedded
    called = [f"the caption of {picture.path.name}, with the trigger," for picture in pictures]
    content_filter.require_texts(zip(called, prompts, strict=True), embedded)
    if task.sample_every:
        content_filter.load(embedded)
    for name, prompt in zip(called, prompts, strict=True):
        require_fitting(pipeline, prompt, f"{name[0].upper()}{name[1:]}")
    work.mkdir(parents=True, exist_ok=True)
    groups = _groups(loaded, pictures, task.size, work.parent, told)
    read = _Read(pipeline, [*prompts, ""], told)
    shares = torch.tensor([float(len(group.numbers)) for group in groups])
    shown_ones, precision = _samples(groups), fastest_precision(transformer)

    def samples(path: Path) -> None:
        drawn = _drawn(pipeline, prompts, shown_ones, task.seed)
        logbook.sheet([content_filter.passed(each, embedded, told) for each in drawn], path)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        if task.sample_every and number and number % task.sample_every == 0:
            path = work / "samples" / f"step-{number:06d}.jpg"
            samples(path)
            told(f"{task.name}: samples in {path}")
        group = groups[int(torch.multinomial(shares, 1, generator=generator))]
        picked = torch.randint(len(group.numbers), (task.batch,), generator=generator)
        clean = group.latents[picked].float()
        noise = torch.randn(clean.shape, generator=generator)
        times = noise_times(task.batch, clean.shape[1], generator)
        silent = (torch.rand(task.batch, generator=generator) < WITHOUT_CAPTION).tolist()
        numbers = [-1 if bare else group.numbers[k] for k, bare in zip(picked.tolist(), silent, strict=True)]
        t = times[:, None, None]
        noisy, target, times = (x.to(transformer.device) for x in ((1 - t) * clean + t * noise, noise - clean, times))
        predicted = velocity(transformer, noisy, times, group.grid, read.batch(numbers), precision=precision)
        loss = F.mse_loss(predicted, target)
        logbook.note(work / "losses.csv", number + 1, float(loss.detach()))
        return loss

    with learning(transformer, ADAPTER, task.rank, task.alpha, layers, task.seed) as adapter:
        schedule = loop.Schedule(task.steps, task.learning_rate, warmup=min(50, task.steps // 4 + 1))
        loop.run(f"style {task.name}", adapter, loss_of, schedule, work, task.seed, decay=0.99)
        if task.sample_every:
            samples(work / "samples" / "finished.jpg")
        return tensors_of(transformer, ADAPTER, task.strength)


def layers_of(transformer: Krea2Transformer2DModel, targets: Sequence[str]) -> list[str]:
    """Names of the linear layers that the targets mean. Raises InvalidRequest for a target that means none."""
    linear = [
        name.removesuffix(".base_layer")  # under which an adapter that is there already keeps the stock layer
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name
    ]
    found: dict[str, None] = {}
    for target in targets:
        meant = [n for n in linear if n == target or (n.startswith(BLOCKS) and n.endswith("." + target))]
        if not meant:
            others = [name for name in linear if "blocks." not in name]
            raise InvalidRequest(
                f"--targets has {shown(target)}, which is no layer of this checkpoint — choose from "
                f"{', '.join(TARGETS)}, or the whole name of a linear layer such as {others[0]}"
            )
        found |= dict.fromkeys(meant)
    return list(found)


class _Read:
    """Prompts as conditioning, each read once and kept in main memory."""

    def __init__(self, pipeline: Krea2Pipeline, prompts: Sequence[str], told: Callable[[str], None]) -> None:
        self._device = pipeline.transformer.device
        self._read: dict[str, torch.Tensor] = {}
        for number, prompt in enumerate(prompts):
            if prompt not in self._read:
                values, mask = encoded(pipeline, [prompt])
                self._read[prompt] = values[0][mask[0]].cpu()
            if (number + 1) % 100 == 0:
                told(f"captions: {number + 1}/{len(prompts)}")
        self._prompts = list(prompts)

    def batch(self, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Conditioning of some prompts. Text has no places in this model, so padding may stand at the end."""
        found = [self._read[self._prompts[number]] for number in numbers]
        values = nn.utils.rnn.pad_sequence(found, batch_first=True)
        lengths = torch.tensor([len(each) for each in found])
        mask = torch.arange(values.shape[1])[None] < lengths[:, None]
        return values.to(self._device), mask.to(self._device)


def _groups(
    loaded: LoadedPipeline, pictures: Sequence[Captioned], side: int, folder: Path, told: Callable[[str], None]
) -> list[Group]:
    pipeline, source = loaded.pipeline, repr((loaded.parts["vae"].identity, side, identity(pictures)))
    path = folder / f"latents-{hashlib.sha256(source.encode()).hexdigest()[:8]}.pt"
    token_px = pipeline.vae_scale_factor * pipeline.patch_size
    sizes = [size_for(picture.size, side, token_px) for picture in pictures]
    if path.exists():
        latents = torch.load(path, weights_only=True)
    else:
        encoder, latents = SingleFrameEncoder(pipeline.vae), []
        for picture, size in zip(pictures, sizes, strict=True):
            made = encoder(cut(picture, size))
            latents.append(pipeline._pack_latents(made, *made.shape)[0].half().cpu())
            if len(latents) % 50 == 0 or len(latents) == len(pictures):
                told(f"latents: {len(latents)}/{len(pictures)}")
        torch.save(latents, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    found = []
    for size in dict.fromkeys(sizes):
        numbers = [k for k, own in enumerate(sizes) if own == size]
        grid = Grid(size[1] // token_px, size[0] // token_px)
        found.append(Group(grid, torch.stack([latents[k] for k in numbers]), numbers))
    return found


def _samples(groups: Sequence[Group]) -> list[tuple[int, Grid]]:
    """Which pictures' prompts are drawn as samples, from all over the folder, each with its picture's grid."""
    all_of_them = sorted((number, group.grid) for group in groups for number in group.numbers)
    return all_of_them[:: max(1, len(all_of_them) // SAMPLES)][:SAMPLES]


@torch.no_grad()
def _drawn(
    pipeline: Krea2Pipeline, prompts: Sequence[str], wanted: Sequence[tuple[int, Grid]], seed: int
) -> list[Image.Image]:
    token_px = pipeline.vae_scale_factor * pipeline.patch_size
    variant = VARIANTS["turbo" if pipeline.config.is_distilled else "medium"]
    return [
        pipeline(
            prompts[number], height=grid.rows * token_px, width=grid.columns * token_px,
            num_inference_steps=variant.steps, guidance_scale=variant.guidance_scale,
            max_sequence_length=prompt_length(pipeline, [prompts[number]]),
            generator=torch.Generator().manual_seed(seed + number),
        ).images[0]
        for number, grid in wanted
    ]  # fmt: skip


def metadata(task: Task, checkpoint: Checkpoint, pictures: Sequence[Captioned], prompt: str | None) -> dict[str, str]:
    """What the file says of itself; without a suggested prompt it suggests a caption of middling length."""
    example = sorted(pictures, key=lambda each: len(each.caption))[len(pictures) // 2]
    return {
        "name": task.name,
        "trigger": task.trigger,
        "trained_on": checkpoint.name,
        "made_for": ", ".join(_takers(checkpoint)),
        "rank": str(task.rank),
        "alpha": f"{task.alpha:g}",
        "learning_rate": f"{task.learning_rate:g}",
        "steps": str(task.steps),
        "pictures": str(len(pictures)),
        "strength": f"{task.strength:g}",
        "suggested_prompt": example.caption if prompt is None else prompt,
    }


def _takers(checkpoint: Checkpoint) -> list[str]:
    """The labels of the checkpoints that take what is trained on this one: itself, and those distilled from it."""
    return [checkpoint.label, *(row.label for row in CHECKPOINTS.values() if row.adapters_of == checkpoint.name)]


def _name_of(task: Task, pictures: Sequence[Captioned], checkpoint: str) -> str:
    """Names what can go on from the same state: everything that shapes the training, but not for how long."""
    shaping = (
        task.trigger, task.rank, task.alpha, task.learning_rate, task.targets, task.size, task.batch, task.seed,
        identity(pictures), checkpoint,
    )  # fmt: skip
    return f"{_file_name(task.name)}-{hashlib.sha256(repr(shaping).encode()).hexdigest()[:8]}"


def _file_name(name: str) -> str:
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-") or "style"


def _require_own(out: Path, name: str) -> None:
    """Refuse to replace another style's file."""
    if out.is_file():
        try:
            with safe_open(out, "pt") as file:
                there = (file.metadata() or {}).get("name")
        except (SafetensorError, OSError):
            there = None
        if there != name:
            held = f"holds the style {shown(there)}" if there else "is no style of this name"
            raise InvalidRequest(f"--out is {shown(str(out))}, which is there and {held} — name another file")


def _refuse_distilled(checkpoint: Checkpoint, even_distilled: bool) -> None:
    if even_distilled:
        print(f"warning: {checkpoint.label} is distilled; training on it undoes that, bit by bit", flush=True)
        return
    raise InvalidRequest(
        f"--checkpoint {checkpoint.name} is distilled, and training would undo that — train on "
        f"{checkpoint.adapters_of or 'the checkpoint that it was made from'}, whose styles work on it too, "
        "or add --even-distilled"
    )


def _task(chosen: argparse.Namespace, checkpoint: Checkpoint) -> Task:
    """The options as a task. Raises InvalidRequest for one that is out of range."""
    alpha = chosen.rank if chosen.alpha is None else chosen.alpha
    rate = chosen.learning_rate
    if rate is None:
        rate = SMALL_WORLD_RATE if checkpoint.embedded else RATE
    for option, most in MOST.items():
        number = alpha if option == "alpha" else getattr(chosen, option)
        if not (0 < number <= most or (number == 0 and option == "sample_every")):
            allowed = "from 0" if option == "sample_every" else "above 0"
            raise InvalidRequest(f"--{option.replace('_', '-')} is {number} — give a number {allowed} up to {most:,}")
    least, most = map(int, bounds("seed"))
    if not least <= chosen.seed <= most:
        raise InvalidRequest(f"--seed is {shown(chosen.seed)} — give a number from {least} up to {most:,}")
    if not 0 < rate < 1:
        raise InvalidRequest(f"--learning-rate is {rate} — give a number between 0 and 1, such as {RATE:g}")
    for option in ("name", "trigger"):
        text = " ".join(getattr(chosen, option).split())
        if not 0 < len(text) <= 100:
            raise InvalidRequest(f"--{option} is {shown(text)} — give 1 to 100 characters")
    return Task(
        " ".join(chosen.name.split()), " ".join(chosen.trigger.split()), chosen.steps, chosen.rank, alpha, rate,
        tuple(chosen.targets), chosen.size, chosen.batch, chosen.sample_every, chosen.seed, chosen.strength,
    )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """`FOLDER --name NAME --trigger WORDS …`: train and write the file. Raises StudioError when it cannot."""
    chosen = parsed("style", argv)
    checkpoint = resolve(chosen.checkpoint)
    task = _task(chosen, checkpoint)
    if checkpoint.adapters_of:
        _refuse_distilled(checkpoint, chosen.even_distilled)
    pictures = read_folder(chosen.folder, print)
    settings = load_settings()
    out = chosen.out or settings.styles / f"{_file_name(task.name)}.safetensors"
    _require_own(out, task.name)
    work = chosen.work / f"{Path(checkpoint.name).name}-{_name_of(task, pictures, checkpoint.name)}"
    for folder in (out.parent, work):
        require_writable(folder)
    print(f"{len(pictures)} pictures, {task.steps} steps; work is kept in {work}", flush=True)
    loaded = load(checkpoint, settings)
    if loaded.pipeline.config.is_distilled and not checkpoint.adapters_of:
        _refuse_distilled(checkpoint, chosen.even_distilled)
    tensors = train(loaded, pictures, task, work, ContentFilter.of(settings))
    write(tensors, out, metadata(task, checkpoint, pictures, chosen.prompt))
    print(f"written: {out}")
    plot = out.with_name(f"{out.stem}-loss.png")
    if logbook.plot(logbook.losses(work / "losses.csv"), f"{task.name}, {len(pictures)} pictures", plot):
        print(f"written: {plot}")
    else:
        print("no plot of the losses: it needs matplotlib — pip install matplotlib")
    return 0
