"""Sliders in the engine: nothing at zero, a sign, a range, and clear words for a file that does not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from krea_studio.direction.sliders import SLIDER_LORA, TEXT_DIRECTION, Contrast
from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.controls import adapters
from krea_studio.engine.controls.slider_files import find, path_in, read
from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.pipeline.prompts import PromptEmbedding
from krea_studio.errors import Unavailable
from krea_studio.recipe.request import SLIDERS
from krea_studio.settings import Settings
from tests.engine.conftest import break_after, failure, pictures, ready, small_plan, stop_after_a_step

LAYERS = ("attn.to_q", "attn.to_out.0")


def lora(transformer: torch.nn.Module, seed: int, strength: float = 0.05) -> dict[str, torch.Tensor]:
    """Random adapter tensors for two layers of every block."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for k in range(len(transformer.transformer_blocks)):
        for name in LAYERS:
            layer = transformer.get_submodule(f"transformer_blocks.{k}.{name}")
            wide, tall = getattr(layer, "base_layer", layer).weight.shape[::-1]
            key = f"{adapters.PREFIX}transformer_blocks.{k}.{name}.lora_"
            tensors[f"{key}A.weight"] = torch.randn(4, wide, generator=draw) / wide**0.5
            tensors[f"{key}B.weight"] = torch.randn(tall, 4, generator=draw) * strength
    return tensors


def write(folder: Path, name: str, tensors: dict[str, torch.Tensor], **said: str) -> Path:
    path = path_in(folder, resolve("mini-turbo"), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"slider": name, "trained_on": "mini-medium", "maximum_weight": "1.0", **said})
    return path


@pytest.fixture(params=[SLIDER_LORA, TEXT_DIRECTION])
def mechanism(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def settings(mechanism: str, tmp_path: Path, load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with which sliders work by one mechanism or the other."""
    settings = Settings(sliders=tmp_path / "sliders", cache=tmp_path / "cache", previews=False)
    if mechanism == SLIDER_LORA:
        for seed, slider in enumerate(SLIDERS):
            write(settings.sliders, slider, lora(load("turbo").pipeline.transformer, seed))
    else:
        monkeypatch.setattr("krea_studio.engine.controls.slider_files.SHIPPED", tmp_path / "none")
    return settings


@pytest.fixture
def studio(settings: Settings) -> LocalEngine:
    return LocalEngine(settings)


def test_zero_is_nothing_also_after_a_run_a_stop_and_a_failure(studio: LocalEngine, engine) -> None:
    before = pictures(engine, small_plan())[0]
    assert (pictures(studio, small_plan())[0] == before).all()
    bent = pictures(studio, small_plan(intensity=80, movement=-50))[0]
    assert (bent != before).any()
    assert (pictures(studio, small_plan())[0] == before).all()
    stop_after_a_step(studio, small_plan(complexity=100, steps=50))
    assert (pictures(studio, small_plan())[0] == before).all()
    break_after(studio, small_plan(intensity=-100), 1)
    assert (pictures(studio, small_plan())[0] == before).all()
    assert (pictures(studio, small_plan(intensity=80, movement=-50))[0] == bent).all()


def test_a_value_has_a_sign_and_a_size(settings: Settings) -> None:
    drawing = Drawing(settings)
    loaded = drawing.manager.get(resolve("mini-turbo"), torch.float32, "cpu", lambda event: None, lambda: None)
    drawing.sliders.prepare(loaded, ("intensity",), lambda event: None, lambda: None)
    transformer, plain = loaded.pipeline.transformer, PromptEmbedding(*loaded.pipeline.get_text_hidden_states("a fox"))
    x = torch.randn(1, 16, transformer.config.in_channels, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def predicted(value: int) -> torch.Tensor:
        values = {"intensity": value} if value else {}
        text = drawing.sliders.shifted(loaded, plain, values)
        positions = loaded.pipeline.prepare_position_ids(text.values.shape[1], 4, 4, "cpu")
        with adapters.weighted(loaded.pipeline.transformer, drawing.sliders.weights(loaded, values)):
            answer = transformer(x, text.values, torch.tensor([0.5]), positions, text.mask, return_dict=False)
        return answer[0].flatten()

    small, large, opposite = (predicted(value) - predicted(0) for value in (20, 60, -20))
    assert 1.5 < large.norm() / small.norm() < 6
    assert torch.nn.functional.cosine_similarity(small, opposite, dim=0) < -0.8


def test_sliders_work_together_and_with_guidance(studio: LocalEngine) -> None:
    one, two = (
        pictures(studio, small_plan(**values))[0] for values in ({"intensity": 60}, {"intensity": 60, "movement": 60})
    )
    assert (one != two).any()
    plain, bent = (pictures(studio, small_plan(variant="medium", steps=2, **v))[0] for v in ({}, {"complexity": 60}))
    assert (plain != bent).any()


def test_a_picture_tells_by_what_its_sliders_worked(studio: LocalEngine, mechanism: str) -> None:
    (told,) = ready(studio, small_plan(intensity=5, movement=-5))
    assert told.recipe.slider_mechanisms.keys() == {"intensity", "movement"}
    assert all(words.startswith(f"{mechanism} ") for words in told.recipe.slider_mechanisms.values())


def test_values_change_without_reading_anything_again(studio: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(studio, small_plan(**dict.fromkeys(SLIDERS, 10)))
    for reader in ("lora.reading.load", "controls.text_directions.load_file"):
        monkeypatch.setattr(f"krea_studio.engine.{reader}", lambda *args: 1 / 0)
    monkeypatch.setattr("krea_studio.engine.controls.text_directions.mean_states", lambda *args: 1 / 0)
    pictures(studio, small_plan(intensity=90, complexity=-90, movement=1))


class TestFiles:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(sliders=tmp_path / "sliders", cache=tmp_path / "cache", previews=False)

    @pytest.fixture
    def tensors(self, load: Callable[[str], Any]) -> dict[str, torch.Tensor]:
        return lora(load("turbo").pipeline.transformer, 0)

    def refused(self, settings: Settings, words: str, variant: str = "turbo") -> None:
        """The run fails with these words, and the same engine then draws as before."""
        engine = LocalEngine(settings)
        before = pictures(engine, small_plan(variant=variant))[0]
        error = failure(engine, small_plan(variant=variant, intensity=50))
        assert isinstance(error, Unavailable) and words in error.message
        assert (pictures(engine, small_plan(variant=variant))[0] == before).all()

    def test_a_half_written_file(self, settings: Settings, tensors: dict[str, torch.Tensor]) -> None:
        path = write(settings.sliders, "intensity", tensors)
        whole = path.read_bytes()
        for length in (0, 4, 200, len(whole) - 1):
            path.write_bytes(whole[:length])
            self.refused(settings, "damaged or only half written")
            assert "half written" in LocalEngine(settings).abilities("turbo").of("intensity").reason

    def test_a_file_of_another_slider_or_without_a_range(
        self, settings: Settings, tensors: dict[str, torch.Tensor]
    ) -> None:
        write(settings.sliders, "intensity", tensors, slider="movement")
        self.refused(settings, "is not the LoRA of intensity: its metadata say 'movement'")
        write(settings.sliders, "intensity", tensors, maximum_weight="nan")
        self.refused(settings, "maximum_weight ('nan')")

    def test_keys_that_match_nothing(self, settings: Settings, tensors: dict[str, torch.Tensor]) -> None:
        for wrong in ("transformer.blocks.0.attn.to_q.lora_A.weight", "lora_unet_blocks_0.lora_down.weight"):
            write(settings.sliders, "intensity", {**tensors, wrong: torch.zeros(4, 256)})
            self.refused(settings, "of another architecture")

    def test_another_width_a_missing_side_and_no_numbers(
        self, settings: Settings, tensors: dict[str, torch.Tensor]
    ) -> None:
        first, second = list(tensors)[:2]
        write(settings.sliders, "intensity", {**tensors, first: torch.zeros(4, 512)})
        self.refused(settings, "wide here and 512 there")
        write(settings.sliders, "intensity", {k: v for k, v in tensors.items() if k != second})
        self.refused(settings, "the two sides of")
        write(settings.sliders, "intensity", {**tensors, first: tensors[first] * float("nan")})
        self.refused(settings, "no numbers")

    def test_a_person_s_own_comes_before_the_shipped_one(
        self, settings: Settings, tensors: dict[str, torch.Tensor]
    ) -> None:
        path = write(settings.sliders, "movement", tensors)
        for name in ("mini-turbo", "mini-medium"):
            assert find(resolve(name), "movement", settings.sliders) == path
        assert find(resolve("mini-large"), "movement", settings.sliders) != path
        assert read(path, "movement").maximum_weight == 1.0

    def test_a_checkpoint_change_between_two_runs(self, settings: Settings, tensors: dict[str, torch.Tensor]) -> None:
        for slider in SLIDERS:
            write(settings.sliders, slider, tensors)
        engine = LocalEngine(settings)
        first = pictures(engine, small_plan(intensity=50))[0]
        plain = pictures(engine, small_plan(variant="medium", steps=2))[0]
        pictures(engine, small_plan(variant="medium", steps=2, intensity=50))
        assert (pictures(engine, small_plan(intensity=50))[0] == first).all()
        assert (pictures(engine, small_plan(variant="medium", steps=2))[0] == plain).all()


class TestDirections:
    def test_kept_on_disk_by_encoder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings(sliders=tmp_path / "none", cache=tmp_path / "cache", previews=False)
        monkeypatch.setattr("krea_studio.engine.controls.slider_files.SHIPPED", tmp_path / "none")
        first = pictures(LocalEngine(settings), small_plan(complexity=60))[0]
        (kept,) = (settings.cache / "text-directions").iterdir()
        assert load_file(kept)["unit"].norm(dim=-1).allclose(torch.ones(3))
        with monkeypatch.context() as patch:
            patch.setattr("krea_studio.engine.controls.text_directions.mean_states", lambda *args: 1 / 0)
            assert (pictures(LocalEngine(settings), small_plan(complexity=60))[0] == first).all()
        kept.write_bytes(b"half")
        assert (pictures(LocalEngine(settings), small_plan(complexity=60))[0] == first).all()

    @pytest.mark.parametrize("place", ["behind a file", "in a folder that cannot be made", "in a device"])
    def test_what_cannot_be_kept_is_used_all_the_same(
        self, load: Callable[[str], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
    ) -> None:
        from krea_studio.engine.controls import text_directions

        (tmp_path / "file").touch()
        folders = (tmp_path / "file" / "cache", Path("/proc/none/cache"), Path("/dev/null"))
        folder = dict(zip(("behind a file", "in a folder that cannot be made", "in a device"), folders, strict=True))
        found = text_directions.find(
            load("turbo").pipeline,
            [Contrast("a plain fox", "a fox", "a crowded fox")],
            folder[place] / "direction.safetensors",
            lambda share: None,
            lambda: None,
        )
        assert found.unit.norm(dim=-1).allclose(torch.ones(3))
        assert "A text direction is not kept" in caplog.text

    def test_only_rows_that_are_read_are_moved(self) -> None:
        from krea_studio.engine.controls.text_directions import Direction, shifted

        values = torch.randn(1, 6, 3, 8, generator=torch.Generator().manual_seed(0))
        mask = torch.tensor([[True, True, True, False, False, True]])
        unit = torch.nn.functional.normalize(torch.ones(3, 8), dim=-1)
        text = PromptEmbedding(values, mask)
        moved = shifted(text, [(Direction(unit), 0.5)])
        assert shifted(text, []) is text
        assert (moved.values[:, ~mask[0]] == values[:, ~mask[0]]).all()
        for tap in range(3):
            shift = (moved.values - values)[0, mask[0], tap]
            median = values[0, mask[0], tap].norm(dim=-1).median()
            assert shift.norm(dim=-1).allclose(0.5 * median.expand(4), atol=1e-5)
