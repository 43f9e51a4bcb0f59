"""The loop that every training shares."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from krea_studio.training import loop


def loss_on(module: nn.Module):
    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(16, 4, generator=generator)
        return (module(x) - x.sum(1, keepdim=True)).pow(2).mean()

    return loss_of


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(4, 1)


def test_the_loop_learns(tmp_path):
    module = small()
    loop.run("sum", module, loss_on(module), loop.Schedule(300, 0.05, warmup=10), tmp_path, decay=0.9)
    assert torch.allclose(module.weight, torch.ones(1, 4), atol=0.02)


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    class Interrupted(Exception):
        pass

    whole = small()
    loop.run("whole", whole, loss_on(whole), loop.Schedule(40, 0.05, warmup=5), tmp_path / "whole")

    broken, steps = small(), []
    plain = loss_on(broken)

    def until(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == 25 and not steps:
            steps.append(step)
            raise Interrupted
        return plain(step, generator)

    schedule = loop.Schedule(40, 0.05, warmup=5)
    with pytest.raises(Interrupted):
        loop.run("broken", broken, until, schedule, tmp_path / "broken", save_every_seconds=0)
    fresh = small()
    plain = loss_on(fresh)
    loop.run("broken", fresh, until, schedule, tmp_path / "broken")
    assert torch.equal(whole.weight, fresh.weight) and torch.equal(whole.bias, fresh.bias)


def test_a_schedule_rises_then_falls_to_a_twentieth():
    schedule = loop.Schedule(1000, 1.0, warmup=100)
    rates = [schedule.at(k) for k in range(1000)]
    assert max(rates) == rates[99] == pytest.approx(1.0, abs=0.01)
    assert all(a >= b for a, b in zip(rates[100:], rates[101:], strict=False))
    assert rates[-1] == pytest.approx(0.05, abs=0.001)


def test_a_schedule_that_cools_late_begins_alike_whatever_its_length():
    short, long = (loop.Schedule(steps, 1.0, warmup=10, cooling=0.4) for steps in (1000, 2000))
    assert [short.at(k) for k in range(600)] == [long.at(k) for k in range(600)]
    assert short.at(599) == 1.0 and short.at(999) == pytest.approx(0.05, abs=0.001)


def test_a_state_without_what_the_optimizer_remembers_goes_on_from_its_weights(tmp_path):
    module = small()
    loop.run("sum", module, loss_on(module), loop.Schedule(300, 0.05, warmup=10), tmp_path, decay=0.9)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["optimizer"]
    torch.save(state | {"step": 290}, tmp_path / "state.pt")
    again = small()
    loop.run("sum", again, loss_on(again), loop.Schedule(300, 0.05, warmup=10), tmp_path, decay=0.9)
    assert torch.allclose(again.weight, torch.ones(1, 4), atol=0.02)
