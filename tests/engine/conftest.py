"""Small plans and loaded pipelines for the engine's tests, on the checkpoints that the settings name."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from krea_studio.engine.base import Engine, Event, Files, ImageReady, Step
from krea_studio.engine.checkpoints.table import INDEX_FILE, PARTS, resolve, supplier
from krea_studio.errors import Stopped, StudioError
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.request import GenerationRequest
from krea_studio.settings import Settings
from tests.doubles import PlainFiles

NO_FILES = PlainFiles()


def small_plan(seed: int = 7, width: int = 192, height: int = 128, **fields: Any) -> GenerationPlan:
    """A plan for a picture that is drawn in a moment; `fields` are the request's."""
    request = GenerationRequest(**{"prompt": "a fox in the snow", "steps": 3, **fields})
    resolved = plan(request, seed)
    size = {"width": width, "height": height}
    return replace(resolved, shots=tuple(shot.model_copy(update=size) for shot in resolved.shots))


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def events_of(engine: Engine, resolved: GenerationPlan, files: Files = NO_FILES) -> list[Event]:
    """What a run tells that succeeds."""
    events: list[Event] = []
    engine.run(resolved, events.append, lambda: None, files)
    return events


def ready(engine: Engine, resolved: GenerationPlan, files: Files = NO_FILES) -> list[ImageReady]:
    """The plan's pictures as the engine tells of them."""
    found = [event for event in events_of(engine, resolved, files) if isinstance(event, ImageReady)]
    assert len(found) == len(resolved.shots)
    return found


def pictures(engine: Engine, resolved: GenerationPlan, files: Files = NO_FILES) -> list[np.ndarray]:
    """The plan's pictures as arrays of shape (height, width, 3)."""
    return [np.asarray(event.image) for event in ready(engine, resolved, files)]


def failure(engine: Engine, resolved: GenerationPlan, files: Files = NO_FILES) -> StudioError:
    """The error that ends a run which makes no picture."""
    events: list[Event] = []
    with pytest.raises(StudioError) as raised:
        engine.run(resolved, events.append, lambda: None, files)
    assert not any(isinstance(event, ImageReady) for event in events)
    return raised.value


def stop_after_a_step(engine: Engine, resolved: GenerationPlan, files: Files = NO_FILES) -> None:
    """A run that is stopped when its first step is done: it tells of no other, and the device is free."""
    events: list[Event] = []

    def check() -> None:
        if events and isinstance(events[-1], Step) and events[-1].step == 1:
            raise Stopped("enough")

    with pytest.raises(Stopped, match="enough"):
        engine.run(resolved, events.append, check, files)
    assert isinstance(events[-1], Step) and events[-1].step == 1
    assert not engine.status().busy


def break_after(engine: Engine, resolved: GenerationPlan, step: int, files: Files = NO_FILES, checks: int = 1) -> None:
    """A run that a defect ends, at so many checks after a step of its first shot; the device is free then."""
    events: list[Event] = []
    asked = 0

    def check() -> None:
        nonlocal asked
        if events and isinstance(events[-1], Step) and events[-1].step == step:
            asked += 1
            if asked == checks:
                raise ZeroDivisionError

    with pytest.raises(StudioError, match="ZeroDivisionError"):
        engine.run(resolved, events.append, check, files)
    assert isinstance(events[-1], Step) and events[-1].step == step
    assert not engine.status().busy


@pytest.fixture(scope="session")
def manager() -> Any:
    from krea_studio.engine.checkpoints.manager import PipelineManager
    from krea_studio.engine.checkpoints.memory import Room
    from krea_studio.licence import Licence

    return PipelineManager(Room(8 * 10**9), Licence(Path("outputs")))


@pytest.fixture
def load(manager: Any) -> Callable[[str], Any]:
    """The loaded pipeline of a variant, from a manager that keeps it for the session."""
    import torch

    def load(variant: str) -> Any:
        checkpoint = resolve(Settings().checkpoint_for(variant))
        return manager.get(checkpoint, torch.float32, "cpu", lambda event: None, lambda: None)

    return load


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A complete checkpoint folder that a test may spoil."""
    checkpoint = resolve(Settings().checkpoint_for("turbo"))
    folder = tmp_path / "own"
    for part in PARTS:
        shutil.copytree(Path(supplier(checkpoint, part).source) / part, folder / part)
    shutil.copy(Path(checkpoint.source) / INDEX_FILE, folder / INDEX_FILE)
    return folder
