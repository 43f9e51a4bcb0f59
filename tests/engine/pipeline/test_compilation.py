"""Compiled steps compute what stock blocks do, in graphs that nothing makes anew; they come when nobody waits."""

import io
import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch._dynamo.testing import CompileCounter

from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.pipeline import compilation
from krea_studio.engine.pipeline.compilation import Compilation, Compiled
from krea_studio.engine.pipeline.passes import InPlace, fewer_passes
from krea_studio.errors import Unavailable
from krea_studio.library.references import picture_id
from krea_studio.settings import Settings
from tests.doubles import PlainFiles
from tests.engine.conftest import small_plan
from tests.engine.pipeline.test_passes import Inputs

WOODCUT = Path(__file__).parents[3] / "assets" / "styles" / "woodcut.safetensors"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [True, False])
def test_the_steps_are_the_stock_ones(load: Any, precision: torch.dtype, masked: bool) -> None:
    """To the bit, where the graphs are run as they are: in every precision, norms in their own."""
    transformer = deepcopy(load("medium").pipeline.transformer)
    for name, module in transformer.named_modules():
        if list(module.children()) == [] and "norm" not in name:
            module.to(precision)
    inputs = Inputs(transformer)
    inputs.tokens, inputs.text = inputs.tokens.to(precision), inputs.text.to(precision)
    for parameter in (parameter for name, parameter in transformer.named_parameters() if "table" in name):
        parameter.data = parameter.data.to(precision)
    with torch.no_grad():
        stock = inputs.through(transformer, masked)
        with fewer_passes(transformer, Compiled("eager")):
            assert torch.equal(inputs.through(transformer, masked), stock)


def test_what_torch_makes_of_them_rounds_alike() -> None:
    """Made by its compiler, in half precision and for two numbers of tokens: to a bit of the last place."""
    draw = torch.Generator().manual_seed(0)
    compiled, plain = Compiled(), Compiled("eager")
    norm = compilation.Krea2RMSNorm(64)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(64, generator=draw) / 8)
        for tokens in (40, 96):
            x, scale, shift = (torch.randn(1, count, 64, generator=draw).to(torch.bfloat16) for count in (tokens, 1, 1))
            made, expected = (each.modulated(x, norm, scale, shift) for each in (compiled, plain))
            assert made.dtype == torch.bfloat16
            assert torch.allclose(made.float(), expected.float(), rtol=2**-7, atol=2**-9)


def test_graphs_are_made_once_whatever_is_drawn(tmp_path: Path) -> None:
    """Other sizes, guidance, sliders, styles, references, a moodboard, and none of them again: no graph is new."""
    counter, kept = CompileCounter(), io.BytesIO()
    Image.radial_gradient("L").resize((128, 96)).convert("RGB").save(kept, "PNG")
    picture = picture_id(Image.open(kept))
    files = PlainFiles({picture: kept.getvalue()}, {"1" * 32: WOODCUT})
    drawing = Drawing(Settings(previews=False, compile="off"))
    drawing.compilation = Compilation("on", "cpu", torch.float32, lambda: Compiled(counter))
    look = [{"image": picture, "strength": 0.8}]
    board = {"name": "b", "strength": 0.5, "content": {"representatives": [{"image": picture, "share": 1.0}]}}
    made = []
    for fields in (
        {},
        {"width": 256, "height": 64},
        {"prompt": "an owl above a stormy sea, neon, with many birds"},
        {"guidance_scale": 3.0, "negative_prompt": "fog"},
        {"intensity": 60, "movement": -30},
        {"styles": [{"name": "Woodcut", "weight": 0.7, "identity": "1" * 32}]},
        {"style_references": look, "moodboard": board},
        {"variant": "medium", "intensity": 20, "style_references": look},
        {},
    ):
        plan = small_plan(**{"steps": 2, **fields})
        checkpoint = resolve(Settings().checkpoint_for(plan.shots[0].variant))
        drawing.draw(checkpoint, plan, lambda event: None, lambda: None, files)
        made.append(counter.frame_count)
    assert made[0] >= 5 and set(made) == {made[0]}


class Own(InPlace):
    """Steps that are told from others, made when `free` is set."""

    free = threading.Event()

    def opened(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        assert self.free.wait(60)
        return super().opened(x, gate)


def test_nobody_waits_for_them_where_they_come_by_themselves(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "pays_on", lambda device: True)
    transformer, steps = load("turbo").pipeline.transformer, Own()
    made = Compilation("auto", "cpu", torch.float32, lambda: steps)
    assert made.steps(transformer) is not steps
    made.drawn(transformer)
    assert made.steps(transformer) is not steps
    Own.free.set()
    made.wait()
    assert made.steps(transformer) is steps


@pytest.mark.parametrize(("choice", "device"), [("off", "cuda"), ("auto", "cpu"), ("auto", "mps")])
def test_none_are_made_where_nobody_wants_them(load: Any, choice: Any, device: str) -> None:
    transformer = load("turbo").pipeline.transformer
    made = Compilation(choice, device, torch.float32, lambda: pytest.fail("nobody asked"))
    made.drawn(transformer)
    made.wait()
    assert type(made.steps(transformer)) is InPlace


class Broken(InPlace):
    def activated(self, gate: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no compiler was found\nand more")


def test_where_they_cannot_be_made_the_usual_ones_stay_or_it_is_said(
    load: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transformer = load("turbo").pipeline.transformer
    with pytest.raises(Unavailable, match=r"^The steps cannot be compiled here \(no compiler was found\) — set KREA_"):
        Compilation("on", "cpu", torch.float32, Broken).steps(transformer)
    monkeypatch.setattr(compilation, "pays_on", lambda device: True)
    made = Compilation("auto", "cpu", torch.float32, Broken)
    made.drawn(transformer)
    made.wait()
    made.drawn(transformer)
    made.wait()
    assert type(made.steps(transformer)) is InPlace
    assert [record.getMessage() for record in caplog.records] == [
        "Pictures are drawn without compiled steps: no compiler was found"
    ]
