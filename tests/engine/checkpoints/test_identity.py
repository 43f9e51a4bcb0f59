"""An identity changes with the weights and with nothing else, and a picture has that of the weights that drew it."""

import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from krea_studio.engine.base import ImageReady
from krea_studio.engine.checkpoints.identity import BLOCK_BYTES, BLOCKS, part_weights, weights_of
from krea_studio.engine.checkpoints.table import CHECKPOINTS, PREVIEW_FILE, WEIGHTED_PARTS, Checkpoint, resolve
from krea_studio.engine.checkpoints.weight_files import WeightFiles
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.settings import Settings
from tests.engine.conftest import ready, small_plan


def own(folder: Path) -> Checkpoint:
    return Checkpoint("own", "Own", str(folder))


def weight_files(folder: Path) -> list[Path]:
    return [next((folder / part).glob("*.safetensors")) for part in WEIGHTED_PARTS]


def change_one_weight(path: Path) -> None:
    """Another value of the last number of the largest tensor."""
    tensors = load_file(path)
    largest = max(tensors.values(), key=torch.Tensor.numel)
    largest.view(-1)[-1] += 0.25
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_copy_has_the_identity_of_what_was_copied_and_keeps_it_when_moved(own_folder: Path, tmp_path: Path) -> None:
    identity = weights_of(resolve(Settings().checkpoint_for("turbo")))
    assert identity is not None and weights_of(own(own_folder)) == identity
    moved = own_folder.rename(tmp_path / "elsewhere")
    for path in moved.rglob("*"):
        os.utime(path, ns=(1, 1))
    assert weights_of(own(moved)) == identity
    assert weights_of(own(own_folder)) is None


def test_what_draws_nothing_is_not_counted(own_folder: Path) -> None:
    identity = weights_of(own(own_folder))
    (own_folder / "vae" / PREVIEW_FILE).write_bytes(b"a map for previews")
    (own_folder / "vae" / "config.json").write_text("{}")
    weight_files(own_folder)[1].rename(own_folder / "text_encoder" / "model.bf16.safetensors")
    (own_folder / "transformer" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"beside the full ones")
    assert weights_of(own(own_folder)) == identity


@pytest.mark.parametrize("part", range(len(WEIGHTED_PARTS)), ids=WEIGHTED_PARTS)
def test_one_weight_makes_another_identity(own_folder: Path, part: int) -> None:
    identity = weights_of(own(own_folder))
    change_one_weight(weight_files(own_folder)[part])
    assert weights_of(own(own_folder)) not in (None, identity)


TICKS = count(1)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WEIGHTED_PARTS) - 1), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_byte_is_overlooked(own_folder: Path, part: int, place: float, flipped: int) -> None:
    identity = weights_of(own(own_folder))
    path = weight_files(own_folder)[part]
    with path.open("r+b") as file:
        position = int(place * path.stat().st_size)
        file.seek(position)
        byte = file.read(1)[0]
        for value, same in ((byte ^ flipped, False), (byte, True)):
            file.seek(position)
            file.write(bytes([value]))
            file.flush()
            # Two writes may fall within one tick of the file system's clock.
            tick = next(TICKS)
            os.utime(path, ns=(tick, tick))
            assert (weights_of(own(own_folder)) == identity) is same


def test_parts_with_each_other_s_weights_are_another_checkpoint() -> None:
    found = {name: weights_of(CHECKPOINTS[name]) for name in ("mini-medium", "mini-turbo", "mini-large")}
    assert None not in found.values() and len(set(found.values())) == 3


def test_a_file_of_gigabytes_is_read_in_parts_all_over_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    size_bytes = 20 * BLOCKS * BLOCK_BYTES
    seen = set()
    for number, place in enumerate((None, 0, size_bytes // 2, size_bytes - BLOCK_BYTES)):
        with path.open("wb") as file:
            file.truncate(size_bytes)  # a hole, which takes no room
            if place is not None:
                file.seek(place)
                # Longer than the way from one block to the next, as any layer is.
                file.write(b"\x01" * min(20 * BLOCK_BYTES, size_bytes - place))
        os.utime(path, ns=(number, number))
        seen.add(part_weights(WeightFiles("", (path,), (), ())))
    assert len(seen) == 4


def test_what_is_not_whole_has_no_identity(own_folder: Path) -> None:
    large = Path(CHECKPOINTS["mini-large"].source) / "transformer"
    shutil.rmtree(own_folder / "transformer")
    assert weights_of(own(own_folder)) is None
    shutil.copytree(large, own_folder / "transformer")
    assert weights_of(own(own_folder)) == weights_of(CHECKPOINTS["mini-large"])
    next((own_folder / "transformer").glob("*-00002-of-*")).unlink()
    assert weights_of(own(own_folder)) is None


def test_a_repository_has_the_identity_of_its_files(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = resolve("someone/Small")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert weights_of(repository) is None
    kept = tmp_path / "hub" / "models--someone--Small"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a" * 40)
    shutil.copytree(own_folder, kept / "snapshots" / ("a" * 40))
    assert weights_of(repository) == weights_of(own(own_folder)) is not None


@pytest.fixture
def engine_of(own_folder: Path, tmp_path: Path) -> Callable[[], LocalEngine]:
    """A new engine whose Turbo is a folder that a test may change."""
    return lambda: LocalEngine(Settings(checkpoint_turbo=str(own_folder), cache=tmp_path / "cache", previews=False))


def drawn(engine: LocalEngine) -> ImageReady:
    (told,) = ready(engine, small_plan(steps=2))
    return told


def test_a_picture_has_the_identity_of_the_weights_that_drew_it(
    own_folder: Path, engine_of: Callable[[], LocalEngine]
) -> None:
    engine = engine_of()
    asked_before = engine.weights("turbo")
    first = drawn(engine)
    assert first.recipe.weights == asked_before == engine.weights("turbo") == weights_of(own(own_folder))
    change_one_weight(weight_files(own_folder)[0])
    again = drawn(engine)
    assert again.recipe.weights == engine.weights("turbo") == weights_of(own(own_folder)) != first.recipe.weights
    assert again.image.tobytes() == drawn(engine_of()).image.tobytes()


def test_a_part_that_got_other_weights_is_not_shared(manager: Any, own_folder: Path) -> None:
    def load(name: str) -> Any:
        checkpoint = Checkpoint(name, name, str(own_folder))
        return manager.get(checkpoint, torch.float32, "cpu", lambda event: None, lambda: None)

    before = load("before")
    change_one_weight(weight_files(own_folder)[0])
    after = load("after")
    assert after.pipeline.vae is not before.pipeline.vae and after.decoder is not before.decoder
    assert after.pipeline.text_encoder is before.pipeline.text_encoder
    assert after.weights != before.weights and after.encoder_weights == before.encoder_weights


def test_where_there_is_no_checkpoint_there_is_no_identity() -> None:
    assert LocalEngine(Settings(checkpoint_turbo="nonsense")).weights("turbo") is None
    assert LocalEngine(Settings(checkpoint_turbo="krea-2-turbo")).weights("turbo") is None
