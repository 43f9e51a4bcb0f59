"""Training a slider: it learns its contrast with both signs, goes on after a stop, and leaves the model as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from krea_studio.engine.checkpoints.manager import PipelineManager
from krea_studio.engine.checkpoints.memory import Room
from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.controls import adapters, slider_files
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.licence import Licence
from krea_studio.training import slider
from krea_studio.training.adapter import encoded
from krea_studio.training.slider import Task

SMALL = Task(
    "intensity",
    steps=16,
    rank=4,
    strength=1.0,
    side=64,
    trajectories=6,
    layout=0.5,
    most_weight=4.0,
    against={},
    seed=0,
)


@pytest.fixture(scope="module")
def load() -> Callable[[str], Any]:
    manager = PipelineManager(Room(8 * 10**9), Licence(Path("outputs")))
    return lambda name: manager.get(resolve(name), torch.float32, "cpu", lambda event: None, lambda: None)


@pytest.fixture(scope="module")
def trained(load: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slider")
    path = folder / "intensity.safetensors"
    tensors = slider.train(load("mini-medium"), SMALL, folder / "work", told=lambda line: None)
    slider.save(tensors, path, SMALL, resolve("mini-medium"), 1.5)
    return path


def test_it_bends_the_prediction_along_its_contrast_both_ways(load: Callable[[str], Any], trained: Path) -> None:
    pipeline = load("mini-medium").pipeline
    adapters.ensure_loaded(pipeline, "bent", trained)
    x = torch.randn(4, 16, pipeline.transformer.config.in_channels, generator=torch.Generator().manual_seed(1))
    times = torch.full((4,), 0.7)
    scenes = slider.contrasts("intensity", load("mini-medium").checkpoint.info.vocabulary, 4, seed=99)

    @torch.no_grad()
    def predicted(prompts: list[str], weight: float = 0.0) -> torch.Tensor:
        with adapters.weighted(pipeline.transformer, {"bent": weight} if weight else {}):
            return slider.velocity(pipeline.transformer, x, times, slider.Grid(4, 4), encoded(pipeline, prompts))

    still = predicted([c.neutral for c in scenes])
    contrast = predicted([c.positive for c in scenes]) - predicted([c.negative for c in scenes])
    for weight in (1.0, -1.0):
        change = predicted([c.neutral for c in scenes], weight) - still
        cosine = torch.nn.functional.cosine_similarity(change.flatten(), contrast.flatten(), dim=0)
        assert cosine * weight > 0.4
    assert (predicted([c.neutral for c in scenes]) == still).all()


def test_the_file_says_what_it_is(trained: Path) -> None:
    found = slider_files.read(trained, "intensity")
    assert (found.slider, found.trained_on, found.maximum_weight) == ("intensity", "mini-medium", 1.5)
    assert trained.stat().st_size < 2 * 10**6


def test_training_leaves_the_transformer_as_it_was(load: Callable[[str], Any], tmp_path: Path) -> None:
    transformer = load("mini-turbo").pipeline.transformer
    before = {name: p.clone() for name, p in transformer.named_parameters()}
    slider.train(load("mini-turbo"), replace(SMALL, steps=2, slider="movement"), tmp_path, told=lambda line: None)
    after = {name.replace(".base_layer", ""): p for name, p in transformer.named_parameters()}
    assert after.keys() == before.keys()
    assert all((after[name] == p).all() for name, p in before.items())


def test_an_interrupted_training_goes_on(
    load: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    slider.train(load("mini-medium"), replace(SMALL, steps=2), tmp_path, told=said.append)
    assert said
    said.clear()
    slider.train(load("mini-medium"), replace(SMALL, steps=4), tmp_path, told=said.append)
    assert said == []
    assert "going on at step 2 of 4" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"rank": 8}, {"strength": 2.0}, {"against": {"movement": 0.2}}, {"seed": 1}])
def test_other_settings_do_not_go_on_from_the_same_state(change: dict[str, Any]) -> None:
    assert slider._name_of(replace(SMALL, **change)) != slider._name_of(SMALL)
    assert slider._name_of(replace(SMALL, steps=1, layout=0.9)) == slider._name_of(SMALL)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["intensity", "--steps", "0"], "--steps is 0 — give a number above 0"),
        (["intensity", "--strength", "nan"], "--strength is nan — give a number above 0"),
        (["intensity", "--keep-layout", "2"], "--keep-layout is 2.0 — give a correlation from 0 to 1"),
        (["intensity", "--most-weight", "0.1"], "--most-weight is 0.1 — give 0.5 or more"),
        (["intensity", "--against", "intensity=0.1"], "--against is 'intensity=0.1' — give complexity or movement"),
        (
            ["intensity", "--against", "movement"],
            "--against is 'movement' — .* a share from 0 to 1, as in complexity=0.2",
        ),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        slider.main(arguments)


def test_an_unknown_checkpoint_is_told() -> None:
    with pytest.raises(Unavailable, match="There is no checkpoint 'nonsense'"):
        slider.main(["intensity", "--checkpoint", "nonsense"])
