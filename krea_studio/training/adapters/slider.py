"""Trains a slider LoRA on any checkpoint: `python -m krea_studio train-slider intensity --checkpoint mini-medium`.

Concept sliders (Gandikota et al. 2023, arXiv 2311.12092) in velocity space. At states from the checkpoint's own way
from noise to picture, three predictions are made without the adapter: for a scene as it is, and with the words of each
pole. At weight 1 the adapter must give for the bare scene what the positive pole would add, at −1 the opposite. What
must stay is anchored: the components of that change that lie along the other sliders' contrasts are taken out of it,
and where pictures show that another slider's look still comes along, a share of its contrast can be taken out as well.
Afterwards pictures are drawn at rising weights, and the weight at value 100 is the largest that still behaves.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from diffusers import Krea2Pipeline
from PIL import Image
from torch.nn import functional as F

from krea_studio.direction.measures import MEASURES, layout_correlation
from krea_studio.direction.sliders import Contrast, contrasts
from krea_studio.engine.checkpoints.manager import LoadedPipeline
from krea_studio.engine.checkpoints.table import Checkpoint, resolve
from krea_studio.engine.controls import slider_files
from krea_studio.engine.controls.adapters import ensure_loaded, weighted
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import SLIDERS
from krea_studio.settings import load_settings
from krea_studio.training import loop
from krea_studio.training.adapters.adapter import encoded, learning, load, prompt_length, tensors_of, write
from krea_studio.training.adapters.options import CALIBRATION_WEIGHTS, parsed
from krea_studio.training.flow import Grid, fastest_precision, velocity

COMMAND = "python -m krea_studio train-slider"
ADAPTER = "slider"
LAYERS = r"transformer_blocks\.\d+\.attn\.(to_q|to_k|to_v|to_out\.0)"
STATE_STEPS = 12
STATE_GUIDANCE = 2.5
BATCH = 6
CALIBRATION_PROMPTS = 6
CALIBRATION_STEPS = 12


@dataclass(frozen=True)
class Task:
    """One slider to train: how strong a contrast, the adapter's rank, how long, at which picture side in pixels.

    `against` has shares of other sliders' contrasts to take out; `layout` is how much of it the pictures at the ends
    must keep, as a correlation of lightness; `most_weight` is the largest adapter weight for an end.
    """

    slider: str
    steps: int
    rank: int
    strength: float
    side: int
    trajectories: int
    layout: float
    most_weight: float
    against: Mapping[str, float]
    seed: int


def train(
    loaded: LoadedPipeline, task: Task, work: Path, told: Callable[[str], None] = print
) -> dict[str, torch.Tensor]:
    """The trained adapter's tensors under their names in the transformer, which is left as it was.

    State is kept in `work`, so that an interrupted training goes on.
    """
    pipeline, vocabulary = loaded.pipeline, loaded.checkpoint.info.vocabulary
    scenes = contrasts(task.slider, vocabulary, task.trajectories, task.seed)
    others = {s: contrasts(s, vocabulary, task.trajectories, task.seed) for s in SLIDERS if s != task.slider}
    states, sigmas = _states(pipeline, [scene.neutral for scene in scenes], task, work / "states.pt", told)
    transformer, precision = pipeline.transformer, fastest_precision(pipeline.transformer)
    token_px = pipeline.vae_scale_factor * pipeline.patch_size
    grid = Grid(task.side // token_px, task.side // token_px)

    def predicted(x: torch.Tensor, times: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        return velocity(transformer, x, times, grid, encoded(pipeline, prompts), precision=precision)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(scenes), (BATCH,), generator=generator)
        steps = torch.randint(len(sigmas), (BATCH,), generator=generator)
        x, times = states[picked, steps].float().to(transformer.device), sigmas[steps].to(transformer.device)
        chosen = [scenes[k] for k in picked.tolist()]
        bare = random.Random(f"bare-{task.seed}-{number}")
        chosen = [_without_scene(c) if bare.random() < 0.15 else c for c in chosen]
        with torch.no_grad():
            transformer.disable_lora()
            still = predicted(x, times, [c.neutral for c in chosen])
            change = predicted(x, times, [c.positive for c in chosen]) - predicted(
                x, times, [c.negative for c in chosen]
            )
            for other, theirs in others.items():
                pair = [theirs[k] for k in picked.tolist()]
                along = predicted(x, times, [c.positive for c in pair]) - predicted(
                    x, times, [c.negative for c in pair]
                )
                change = change - _projection(change, along) - task.against.get(other, 0.0) * along
            transformer.enable_lora()
        losses = []
        for sign in (1.0, -1.0):
            transformer.set_adapters(ADAPTER, sign)
            bent = predicted(x, times, [c.neutral for c in chosen])
            loss = F.mse_loss(bent, still + sign * task.strength * change) / 2
            # The first sign's gradients are added at once, so that only one graph is in memory.
            losses.append(loss if sign < 0 else _backward(loss))
        return sum(losses)

    with learning(transformer, ADAPTER, task.rank, task.rank, LAYERS, task.seed) as adapter:
        loop.run(
            f"{task.slider} slider", adapter, loss_of, loop.Schedule(task.steps, 1e-3, warmup=20), work, task.seed,
            decay=0.98,
        )  # fmt: skip
        return tensors_of(transformer, ADAPTER)


def calibrated(loaded: LoadedPipeline, task: Task, path: Path, told: Callable[[str], None] = print) -> float:
    """The adapter weight at value 100 for the LoRA in `path`.

    The largest of `CALIBRATION_WEIGHTS` that the task allows, up to which the slider's measure keeps rising on both
    sides and layouts are kept.
    """
    pipeline = loaded.pipeline
    name = f"calibrated_{path.stat().st_mtime_ns}"
    ensure_loaded(pipeline, name, path)
    prompts = [
        c.neutral for c in contrasts(task.slider, loaded.checkpoint.info.vocabulary, CALIBRATION_PROMPTS, seed=-1)
    ]
    measure = MEASURES[task.slider]

    def drawn(weight: float) -> list[Image.Image]:
        with torch.no_grad(), weighted(pipeline.transformer, {name: weight} if weight else {}):
            return _pictures(pipeline, prompts, task)

    neutral = drawn(0.0)
    low = high = mean(map(measure, neutral))
    allowed = [weight for weight in CALIBRATION_WEIGHTS if weight <= task.most_weight]
    found = allowed[0]
    for weight in allowed:
        below, above = drawn(-weight), drawn(weight)
        lower, higher = mean(map(measure, below)), mean(map(measure, above))
        layout = mean(layout_correlation(a, b) for side in (below, above) for a, b in zip(side, neutral, strict=True))
        told(f"  weight {weight}: {lower:.4g} … {higher:.4g}, layout {layout:.3f}")
        if lower >= low or higher <= high or layout < task.layout:
            break
        low, high, found = lower, higher, weight
    pipeline.transformer.delete_adapters(name)
    return found


def save(
    tensors: dict[str, torch.Tensor], path: Path, task: Task, checkpoint: Checkpoint, maximum_weight: float
) -> None:
    """Write the adapter, with what it is in its metadata."""
    metadata = {
        "slider": task.slider,
        "trained_on": checkpoint.name,
        "maximum_weight": str(maximum_weight),
        "rank": str(task.rank),
        "strength": str(task.strength),
        "steps": str(task.steps),
        "against": ", ".join(f"{other} {share:g}" for other, share in task.against.items()),
    }
    write(tensors, path, metadata)


def _states(
    pipeline: Krea2Pipeline, prompts: Sequence[str], task: Task, path: Path, told: Callable[[str], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """States on the way from noise to picture, (prompts, steps, tokens, channels), and their noise levels (steps,)."""
    if path.exists():
        kept = torch.load(path, weights_only=True)
        return kept["states"], kept["sigmas"]
    ways: list[list[torch.Tensor]] = []
    for start in range(0, len(prompts), BATCH):
        way: list[torch.Tensor] = []

        def keep(pipe: Krea2Pipeline, index: int, timestep: torch.Tensor, tensors: dict, way: list = way) -> dict:
            way.append(tensors["latents"].half().cpu())
            return {}

        some = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(task.seed * 100_003 + start + k) for k in range(len(some))]
        noise = torch.cat(
            [
                pipeline.prepare_latents(
                    1, pipeline.vae.config.z_dim, task.side, task.side, torch.float32, pipeline._execution_device, g
                )
                for g in generators
            ]
        )
        way.append(noise.half().cpu())
        with torch.no_grad():
            pipeline(
                some, height=task.side, width=task.side, num_inference_steps=STATE_STEPS,
                guidance_scale=0.0 if pipeline.config.is_distilled else STATE_GUIDANCE,
                latents=noise.to(pipeline.dtype), max_sequence_length=prompt_length(pipeline, some),
                callback_on_step_end=keep, output_type="latent",
            )  # fmt: skip
        ways.append(torch.stack(way[:-1], 1))
        told(f"{task.slider} slider: states {start + len(some)}/{len(prompts)}")
    states, sigmas = torch.cat(ways), pipeline.scheduler.sigmas[:STATE_STEPS].float().cpu()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"states": states, "sigmas": sigmas}, path)
    return states, sigmas


def _pictures(pipeline: Krea2Pipeline, prompts: list[str], task: Task) -> list[Image.Image]:
    return pipeline(
        prompts, height=task.side, width=task.side, num_inference_steps=CALIBRATION_STEPS,
        guidance_scale=0.0 if pipeline.config.is_distilled else STATE_GUIDANCE,
        max_sequence_length=prompt_length(pipeline, prompts),
        generator=[torch.Generator().manual_seed(task.seed + k) for k in range(len(prompts))],
    ).images  # fmt: skip


def _without_scene(contrast: Contrast) -> Contrast:
    """The pole's words alone: guidance subtracts the prediction for no prompt, so that must be bent too."""
    cut = len(contrast.neutral) + len(", ")
    return Contrast(contrast.negative[cut:], "", contrast.positive[cut:])


def _projection(of: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """The component of each sample of `of` that lies along its sample of `along`, both (batch, tokens, channels)."""
    share = (of * along).sum((1, 2), keepdim=True) / along.square().sum((1, 2), keepdim=True).clamp_min(1e-12)
    return share * along


def _backward(loss: torch.Tensor) -> torch.Tensor:
    loss.backward()
    return loss.detach()


def _name_of(task: Task) -> str:
    """Names what can go on from the same state: everything that shapes the training, but not for how long."""
    shaping = (task.rank, task.strength, task.side, task.trajectories, sorted(task.against.items()), task.seed)
    return f"{task.slider}-{hashlib.sha256(repr(shaping).encode()).hexdigest()[:8]}"


def _share(text: str, slider: str) -> tuple[str, float]:
    """`movement=0.2` as a name and a number. Raises InvalidRequest for another slider's name or no share."""
    name, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    others = [other for other in SLIDERS if other != slider]
    if name not in others or not 0 <= share <= 1:
        raise InvalidRequest(
            f"--against is {text!r} — give {' or '.join(others)}, = and a share from 0 to 1, as in {others[0]}=0.2"
        )
    return name, share


def main(argv: Sequence[str]) -> int:
    """`SLIDER [--checkpoint NAME] [--out FILE] …`: train, calibrate, write. Raises StudioError when it cannot."""
    settings = load_settings()
    chosen = parsed("slider", argv)
    for name in ("steps", "rank", "strength", "side", "trajectories"):
        if not getattr(chosen, name) > 0:
            raise InvalidRequest(f"--{name} is {getattr(chosen, name)} — give a number above 0")
    checkpoint = resolve(chosen.checkpoint)
    if not 0 <= chosen.keep_layout <= 1:
        raise InvalidRequest(f"--keep-layout is {chosen.keep_layout} — give a correlation from 0 to 1")
    if not chosen.most_weight >= CALIBRATION_WEIGHTS[0]:
        raise InvalidRequest(f"--most-weight is {chosen.most_weight} — give {CALIBRATION_WEIGHTS[0]} or more")
    against = dict(_share(text, chosen.slider) for text in chosen.against)
    task = Task(
        chosen.slider, chosen.steps, chosen.rank, chosen.strength, chosen.side, chosen.trajectories, chosen.keep_layout,
        chosen.most_weight, against, chosen.seed,
    )  # fmt: skip
    out = chosen.out or slider_files.path_in(settings.sliders, checkpoint, chosen.slider)
    work = chosen.work / f"{Path(checkpoint.name).name}-{_name_of(task)}"
    loaded = load(checkpoint, settings)
    tensors = train(loaded, task, work)
    save(tensors, out, task, checkpoint, 1.0)
    print("calibrating", flush=True)
    save(tensors, out, task, checkpoint, calibrated(loaded, task, out))
    print(f"written: {out}")
    return 0
