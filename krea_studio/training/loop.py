"""The loop that every training stage shares: seeded steps, a schedule, an average of weights, progress, resuming.

A stage gives a function from step number to loss and the modules to train. The loop keeps its state in one file and
goes on from there after an interruption; with the same seed, device and thread count a run that was never interrupted
gives the same weights. It knows nothing of pictures or text.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed, nn

from krea_studio.errors import InvalidRequest


def place() -> tuple[int, int]:
    """This process's number among those that work together (torch.distributed), and how many they are."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def _agreed(mine: bool) -> bool:
    """What the first process says, in all of them."""
    if place()[1] == 1:
        return mine
    said = torch.tensor(mine)
    distributed.broadcast(said, 0)
    return bool(said)


def common_draw(name: str, number: int) -> random.Random:
    """What processes that train together decide alike about a step, such as its kind of batch: none waits for another."""
    return random.Random(f"{name}-{number // place()[1]}")


@dataclass(frozen=True)
class Schedule:
    """Learning rate: a linear rise over `warmup` steps, the peak, in the last `cooling` share a cosine to a twentieth.

    Up to where it cools it does not depend on how many steps there are, so a run may be given more of them.
    """

    steps: int
    peak: float
    warmup: int = 100
    cooling: float = 1.0

    def at(self, step: int) -> float:
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        cools = max(self.warmup, self.steps * (1 - self.cooling))
        progress = min(1.0, max(0.0, step - cools) / max(1, self.steps - cools))
        return self.peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


class Optimizer:
    """AdamW over all that a module learns, at one learning rate.

    Muon gets as much out of a token and takes twice as long on a CPU; and here, where nothing is noisy, small batches
    of many steps learn several times as much in the same time as large ones.
    """

    def __init__(self, module: nn.Module, weight_decay: float = 0.01):
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self._adam = torch.optim.AdamW(
            self.parameters, lr=1.0, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True
        )

    def step(self, learning_rate: float, max_norm: float = 1.0) -> float:
        """Apply the gathered gradients, averaged over processes and clipped to `max_norm`; returns their norm before."""
        _, processes = place()
        for p in self.parameters:
            if p.grad is None:  # not every step asks for everything
                p.grad = torch.zeros_like(p)
        if processes > 1:
            gradients = torch.cat([p.grad.flatten() for p in self.parameters])
            distributed.all_reduce(gradients)
            gradients /= processes
            for p, gradient in zip(self.parameters, gradients.split([p.numel() for p in self.parameters]), strict=True):
                p.grad.copy_(gradient.view_as(p))
        norm = nn.utils.clip_grad_norm_(self.parameters, max_norm, foreach=True)
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.step()
        for p in self.parameters:
            p.grad = None
        return float(norm)

    def state_dict(self) -> dict:
        return self._adam.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self._adam.load_state_dict(state)


class Average:
    """Exponential moving average of a module's weights; early on it forgets faster, so it never holds the start."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.weights = {n: p.detach().clone() for n, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        latest = {name: parameter.detach() for name, parameter in module.named_parameters()}
        torch._foreach_lerp_([self.weights[name] for name in latest], list(latest.values()), 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            parameter.copy_(self.weights[name])


def run(
    name: str,
    module: nn.Module,
    loss_of: Callable[[int, torch.Generator], torch.Tensor],
    schedule: Schedule,
    folder: Path,
    seed: int = 0,
    decay: float = 0.999,
    weight_decay: float = 0.01,
    save_every_seconds: float = 180,
    on_save: Callable[[int], None] | None = None,
) -> None:
    """Train `module` for `schedule.steps` steps and leave the averaged weights in it.

    `loss_of(number, generator)` draws its batch with the given generator, which is seeded by the batch's number, so
    that an interrupted run sees the same batches. Where several processes train together (torch.distributed), each
    takes its own batches and the first one reports and saves. State lies in `folder/state.pt` with the time spent, and
    is replaced whole; one without what the optimizer remembers lets that begin anew.
    """
    rank, processes = place()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "state.pt"
    optimizer, average, first, spent = Optimizer(module, weight_decay), Average(module, decay), 0, 0.0
    if path.exists():
        state = torch.load(path, map_location=next(module.parameters()).device, weights_only=True)
        module.load_state_dict(state["module"])
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        average.weights, first, spent = state["average"], state["step"], state["seconds"]
        if first > schedule.steps:
            raise InvalidRequest(
                f"{name} has learned for {first} steps already, which is more than the {schedule.steps} wanted — ask for "
                f"more steps, or remove {path} to begin anew"
            )
        print(f"{name}: going on at step {first} of {schedule.steps}", flush=True)

    def save(step: int) -> None:
        if rank > 0:
            return
        state = {
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.weights,
            "step": step,
            "seconds": spent + time.monotonic() - started,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    started, saved, shown, recent = time.monotonic(), time.monotonic(), 0.0, []
    generator = torch.Generator()
    for step in range(first, schedule.steps):
        number = step * processes + rank
        generator.manual_seed(seed * 1_000_003 + number)
        loss = loss_of(number, generator)
        loss.backward()
        optimizer.step(schedule.at(step))
        average.update(module, step)
        recent.append(float(loss.detach()))
        now = time.monotonic()
        if rank == 0 and (now - shown > 15 or step + 1 == schedule.steps):
            rate = (step + 1 - first) / (now - started)
            left = (schedule.steps - step - 1) / rate
            mean = sum(recent) / len(recent)
            print(
                f"{name}: step {step + 1}/{schedule.steps} loss {mean:.4f} {rate:.2f} it/s, {left / 60:.1f} min left",
                flush=True,
            )
            shown, recent = now, []
        if _agreed(now - saved > save_every_seconds):
            save(step + 1)
            saved = now
            if on_save and rank == 0:
                on_save(step + 1)
    save(schedule.steps)
    average.copy_to(module)
