"""Styles in the transformer: weighed picture by picture, kept within a budget, and gone without a trace."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from krea_studio.engine.controls import adapters
from krea_studio.engine.controls.styles import Styles, adapter_of
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import Unavailable
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.request import parse_request
from krea_studio.settings import Settings
from tests.doubles import PlainFiles
from tests.engine.conftest import failure, pictures

ONE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def files(load: Callable[[str], Any], tmp_path: Path) -> dict[str, Path]:
    """Two random styles for mini-turbo."""
    transformer = load("turbo").pipeline.transformer
    found = {}
    for seed, identity in enumerate((ONE, OTHER)):
        draw, tensors = torch.Generator().manual_seed(seed), {}
        for block in (1, 2):
            name = f"transformer_blocks.{block}.attn.to_v"
            layer = transformer.get_submodule(name)
            rows, columns = getattr(layer, "base_layer", layer).weight.shape
            tensors[f"{adapters.PREFIX}{name}.lora_A.weight"] = torch.randn(4, columns, generator=draw) / 4
            tensors[f"{adapters.PREFIX}{name}.lora_B.weight"] = torch.randn(rows, 4, generator=draw) / 16
        found[identity] = tmp_path / f"{identity}.safetensors"
        save_file(tensors, found[identity])
    return found


@pytest.fixture(scope="module")
def studio() -> Iterator[LocalEngine]:
    yield LocalEngine(Settings(previews=False))


def planned(weights: dict[str, float], **fields: Any) -> GenerationPlan:
    styles = [{"name": identity, "weight": weight, "identity": identity} for identity, weight in weights.items()]
    request = parse_request({"prompt": "a fox", "resolution": "512", "steps": 2, "styles": styles, **fields})
    return plan(request, 7)


@pytest.fixture
def drawn(studio: LocalEngine, files: dict[str, Path]) -> Callable[..., np.ndarray]:
    """The picture with styles at these weights; `fields` are others of the request."""

    def drawn(weights: dict[str, float], **fields: Any) -> np.ndarray:
        (picture,) = pictures(studio, planned(weights, **fields), PlainFiles(styles=files))
        return picture.astype(float)

    return drawn


@pytest.mark.parametrize("fields", [{}, {"intensity": 40, "complexity": 20, "movement": -30}])
def test_zero_is_nothing_and_removal_is_exact(drawn: Callable[..., np.ndarray], fields: dict[str, int]) -> None:
    before = drawn({}, **fields)
    assert (drawn({ONE: 0.0}, **fields) == before).all()
    one, both = (
        drawn({ONE: 1.0}, **fields),
        drawn({ONE: 1.0, OTHER: -0.7}, **fields),
    )
    assert np.abs(one - before).mean() > 1 and np.abs(both - one).mean() > 1
    assert (drawn({OTHER: -0.7, ONE: 1.0}, **fields) == both).all()
    assert (drawn({ONE: 1.0}, **fields) == one).all()
    assert (drawn({}, **fields) == before).all()


def test_the_effect_grows_with_the_weight(drawn: Callable[..., np.ndarray]) -> None:
    before = drawn({})
    changes = [np.abs(drawn({ONE: weight}) - before).mean() for weight in (0.1, 0.3, 1.0)]
    assert changes == sorted(changes) and changes[0] > 0


def test_a_file_that_is_gone_or_of_another_checkpoint_ends_the_run_and_leaves_no_trace(
    studio: LocalEngine, drawn: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    before = drawn({})
    narrow = tmp_path / "narrow.safetensors"
    layer = f"{adapters.PREFIX}transformer_blocks.0.attn.to_q"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(8, 2)}, narrow)
    for path, words in ((tmp_path / "gone.safetensors", "is gone — import"), (narrow, "another architecture")):
        assert words in failure(studio, planned({"3" * 32: 1.0}), PlainFiles(styles={"3" * 32: path})).message
        assert (drawn({}) == before).all()


def bytes_in_float32(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return sum(4 * file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118 - no mapping


class TestBudget:
    def test_the_least_recently_used_leaves_and_what_a_run_needs_stays(
        self, load: Callable[[str], Any], files: dict[str, Path]
    ) -> None:
        loaded, size = load("turbo"), bytes_in_float32(files[ONE])
        styles = Styles(budget_bytes=int(1.5 * size))
        styles.prepare(loaded, {ONE: "one"}, files.__getitem__)
        present = loaded.pipeline.transformer.peft_config
        styles.prepare(loaded, {}, files.__getitem__)
        assert adapter_of(ONE) in present and styles.bytes == size
        styles.prepare(loaded, {OTHER: "other"}, files.__getitem__)
        assert adapter_of(ONE) not in present and adapter_of(OTHER) in present
        styles.prepare(loaded, {ONE: "one", OTHER: "other"}, files.__getitem__)
        assert {adapter_of(ONE), adapter_of(OTHER)} <= set(present) and styles.bytes == 2 * size
        styles.prepare(loaded, {}, files.__getitem__)
        assert styles.bytes <= 1.5 * size
        loaded.pipeline.transformer.delete_adapters([name for name in present if name.startswith("style_")])

    def test_one_budget_holds_for_all_checkpoints(self, load: Callable[[str], Any], files: dict[str, Path]) -> None:
        styles = Styles(budget_bytes=int(1.5 * bytes_in_float32(files[ONE])))
        for variant, other in (("turbo", "medium"), ("medium", "turbo")):
            styles.prepare(load(variant), {ONE: "one"}, files.__getitem__)
            assert adapter_of(ONE) in load(variant).pipeline.transformer.peft_config
            assert adapter_of(ONE) not in getattr(load(other).pipeline.transformer, "peft_config", {})
        load("medium").pipeline.transformer.delete_adapters(adapter_of(ONE))
        styles.prepare(load("medium"), {}, files.__getitem__)
        assert styles.bytes == 0

    def test_kept_ones_are_not_read_again(self, load: Callable[[str], Any], files: dict[str, Path], tmp_path: Path):
        loaded, styles = load("turbo"), Styles(budget_bytes=10**9)
        path = tmp_path / "once.safetensors"
        path.write_bytes(files[ONE].read_bytes())
        styles.prepare(loaded, {ONE: "one"}, lambda identity: path)
        path.unlink()
        styles.prepare(loaded, {ONE: "one"}, lambda identity: 1 / 0)
        with pytest.raises(Unavailable, match="Style 'Ink' cannot be used with Mini Turbo: its file .* is gone"):
            styles.prepare(loaded, {OTHER: "Ink"}, lambda identity: path)
        loaded.pipeline.transformer.delete_adapters([adapter_of(ONE)])
