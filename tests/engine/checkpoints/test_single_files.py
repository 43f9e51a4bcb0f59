"""Name a file and it runs: the folder's pictures, adapters beside packed layers, and what is missing told by name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from krea_studio.engine.base import Loading
from krea_studio.engine.checkpoints.choices import Choices
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED
from krea_studio.engine.checkpoints.identity import weights_of
from krea_studio.engine.checkpoints.table import index_path, missing, resolve
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.lora.layers import architectures
from krea_studio.errors import Stopped, Unavailable
from krea_studio.settings import Settings
from tests.engine.conftest import NO_FILES, failure, pictures, ready, small_plan
from tests.model_files import (
    MEDIUM,
    comfy_decoder,
    comfy_encoder,
    encoder_state,
    fp8_scaled,
    int8_convrot,
    native,
    nvfp4,
    of_published,
    q8_0,
    quantised,
    transformer_state,
    write,
    write_gguf,
)

PLAIN, BENT = small_plan(variant="turbo"), small_plan(variant="turbo", intensity=80)


def on(path: Path, base: str | None = "mini-medium", **fields: Any) -> Settings:
    return Settings(checkpoint_turbo=str(path), base=base, **fields)


def native_file(path: Path) -> Path:
    return write(path, native(transformer_state()), prefix="diffusion_model.")


@pytest.fixture(scope="module")
def of_folder() -> tuple[np.ndarray, np.ndarray]:
    """The folder's pictures without and with a slider."""
    engine = LocalEngine(Settings())
    plain, bent, again = (pictures(engine, each)[0] for each in (PLAIN, BENT, PLAIN))
    assert (plain == again).all(), "an adapter that was on leaves nothing behind"
    return plain, bent


def test_a_file_draws_the_folders_pictures_to_the_last_value(tmp_path: Path, of_folder: Any) -> None:
    settings = on(native_file(tmp_path / "turbo.safetensors"))
    engine = LocalEngine(settings)
    assert not engine.abilities("turbo").unavailable
    (made,) = ready(engine, PLAIN)
    assert (np.asarray(made.image) == of_folder[0]).all()
    assert made.recipe.weights == engine.weights("turbo") == weights_of(Choices(settings).of("turbo"))
    assert (pictures(engine, BENT)[0] == of_folder[1]).all()


def _packed(quantiser: Any) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "a.safetensors", *quantised(native(transformer_state()), quantiser))


FILES = {
    "fp8": _packed(fp8_scaled),
    "int8": _packed(int8_convrot),
    "nvfp4": _packed(nvfp4),
    "gguf": lambda folder: write_gguf(folder / "a.gguf", native(transformer_state()), q8_0),
}


@pytest.mark.parametrize("kind", FILES)
def test_adapters_work_beside_packed_layers_and_leave_nothing_behind(tmp_path: Path, kind: str, of_folder: Any) -> None:
    engine = LocalEngine(on(FILES[kind](tmp_path)))
    plain, bent, again = (pictures(engine, each)[0].astype(float) for each in (PLAIN, BENT, PLAIN))
    assert (plain == again).all()
    moved, meant = bent - plain, of_folder[1].astype(float) - of_folder[0]
    assert np.corrcoef(moved.ravel(), meant.ravel())[0, 1] > 0.9
    assert np.abs(plain - of_folder[0]).mean() < 4 < np.abs(moved).mean()


def comfy_folder(tmp_path: Path, *without: str) -> Path:
    """A models folder as ComfyUI has it, beside a base that has configs, tokenizer and scheduler but no weights."""
    models, base = tmp_path / "models", tmp_path / "base"
    shutil.copytree(MEDIUM, base, ignore=shutil.ignore_patterns("*.safetensors"))
    native_file(models / "diffusion_models" / "krea2_turbo.safetensors")
    if "text_encoder" not in without:
        write(models / "text_encoders" / "qwen3vl_4b_bf16.safetensors", comfy_encoder(encoder_state()))
    if "vae" not in without:
        write(models / "vae" / "qwen_image_vae.safetensors", comfy_decoder())
    return models / "diffusion_models" / "krea2_turbo.safetensors"


def test_a_models_folder_gives_what_the_file_lacks(tmp_path: Path, of_folder: Any) -> None:
    settings = on(comfy_folder(tmp_path), str(tmp_path / "base"))
    engine = LocalEngine(settings)
    assert dict(Choices(settings).of("turbo").places)["vae"].name == "qwen_image_vae.safetensors"
    assert (pictures(engine, PLAIN)[0] == of_folder[0]).all()
    assert engine.weights("turbo") == weights_of(Choices(settings).of("turbo"))


@pytest.mark.parametrize(
    ("part", "file"), [("text_encoder", "qwen3vl_4b_bf16.safetensors"), ("vae", "qwen_image_vae.safetensors")]
)
def test_what_is_missing_is_told_with_the_file_and_its_place(tmp_path: Path, part: str, file: str) -> None:
    path = comfy_folder(tmp_path, part)
    engine = LocalEngine(on(path, str(tmp_path / "base")))
    reason = engine.abilities("turbo").unavailable
    assert part in reason and file in reason
    assert file in failure(engine, PLAIN).message


def test_without_a_base_the_published_model_is_meant(tmp_path: Path) -> None:
    path = native_file(tmp_path / "krea2_raw.safetensors")
    assert "img_in.weight has the shape (256, 96)" in (missing(resolve(str(path))) or "")
    assert "KREA_STUDIO_BASE" in (missing(resolve(str(path))) or "")


def test_a_published_file_alone_is_told_all_that_it_needs(tmp_path: Path) -> None:
    path = of_published(tmp_path / "models" / "diffusion_models" / "krea2_turbo_fp8_scaled.safetensors")
    reason = missing(resolve(str(path))) or ""
    for file in ("tokenizer.json", "qwen_image_vae.safetensors", "qwen3vl_4b_bf16.safetensors", "KREA_STUDIO_BASE"):
        assert file in reason
    assert index_path(resolve(str(path))) == PUBLISHED / "model_index.json"
    assert resolve(str(path)).adapters_of == "krea-2-raw"
    path.unlink()


def test_an_all_in_one_file_needs_only_a_tokenizer(tmp_path: Path, of_folder: Any) -> None:
    state = {
        **{f"model.diffusion_model.{name}": tensor for name, tensor in native(transformer_state()).items()},
        **{f"text_encoders.qwen3vl_4b.transformer.{name}": t for name, t in comfy_encoder(encoder_state()).items()},
        **{f"vae.{name}": tensor for name, tensor in comfy_decoder().items()},
    }
    path = write(tmp_path / "checkpoints" / "all_turbo.safetensors", state)
    shutil.copytree(MEDIUM, tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    engine = LocalEngine(on(path, str(tmp_path / "base")))
    assert (pictures(engine, PLAIN)[0] == of_folder[0]).all()


def test_a_file_that_is_refused_leaves_what_was_loaded(tmp_path: Path) -> None:
    state, layers = quantised(native(transformer_state()), fp8_scaled)
    state["blocks.2.attn.wq.weight_scale"] = torch.tensor(1.0)
    engine = LocalEngine(on(write(tmp_path / "a.safetensors", state, layers)))
    pictures(engine, small_plan(variant="medium"))
    loaded = engine.status().loaded
    assert "transformer_blocks.2.attn.to_q.weight" in failure(engine, PLAIN).message
    assert engine.status().loaded == loaded and [each.name for each in loaded] == ["mini-medium"]
    assert ready(engine, small_plan(variant="medium"))


def test_a_part_of_another_size_is_refused_before_anything_leaves(tmp_path: Path) -> None:
    path = comfy_folder(tmp_path, "text_encoder")
    other = {
        name: torch.ones(8) if name.endswith("input_layernorm.weight") else t for name, t in encoder_state().items()
    }
    write(tmp_path / "models" / "text_encoders" / "qwen3vl_4b_bf16.safetensors", comfy_encoder(other))
    engine = LocalEngine(on(path, str(tmp_path / "base"), memory_budget_gb=0.06))
    pictures(engine, small_plan(variant="medium"))
    loaded = engine.status().loaded
    assert "input_layernorm.weight has the shape (8,)" in failure(engine, PLAIN).message
    assert engine.status().loaded == loaded and [each.name for each in loaded] == ["mini-medium"]


def test_a_large_file_is_given_up_within_a_layer(tmp_path: Path) -> None:
    engine = LocalEngine(on(native_file(tmp_path / "turbo.safetensors")))
    pictures(engine, small_plan(variant="medium"))
    loaded, told = engine.status().loaded, []

    def give_up() -> None:
        if any(isinstance(event, Loading) and "transformer" in event.what for event in told[:-3]):
            raise Stopped("enough")

    with pytest.raises(Stopped):
        engine.run(PLAIN, told.append, give_up, NO_FILES)
    assert isinstance(told[-1], Loading) and (told[-1].fraction or 0) < 1
    assert engine.status().loaded == loaded
    assert ready(engine, PLAIN)


def test_a_file_is_run_as_what_its_setting_says(tmp_path: Path) -> None:
    path = native_file(tmp_path / "krea2_raw.safetensors")
    settings = on(path, checkpoint_medium=str(path))
    turbo, medium = Choices(settings).of("turbo"), Choices(settings).of("medium")
    assert (turbo.distilled, medium.distilled, resolve(str(path)).distilled) == (True, False, False)
    assert "its name says medium" in turbo.note.lower() and "name says" not in medium.note
    engine = LocalEngine(settings)
    one, other = (pictures(engine, small_plan(variant=each, guidance_scale=0))[0] for each in ("turbo", "medium"))
    assert (one != other).any(), "each has its own schedule"
    assert engine.status().bytes < 1.2 * engine.status().loaded[0].bytes, "and they share the weights"


def test_a_files_name_is_that_of_its_content(tmp_path: Path) -> None:
    path = native_file(tmp_path / "a.safetensors")
    copy = shutil.copy(path, tmp_path / "b.safetensors")
    identity = weights_of(resolve(str(path), "mini-medium"))
    assert identity == weights_of(resolve(str(copy), "mini-medium")) is not None
    state = load_file(copy)
    state["diffusion_model.first.bias"] += 1
    save_file(state, copy)
    assert weights_of(resolve(str(copy), "mini-medium")) not in (None, identity)


def test_a_lora_is_diagnosed_for_a_file_as_for_its_base(tmp_path: Path) -> None:
    (own,) = architectures([resolve(str(_packed(fp8_scaled)(tmp_path)), "mini-medium")])
    (base,) = architectures([resolve("mini-turbo")])
    assert own.layers == base.layers and own.has_weights
    layer = "transformer_blocks.1.attn.to_k"
    apart = (own.weight(layer) - base.weight(layer).float()).norm() / base.weight(layer).float().norm()
    assert own.weight(layer).shape == own.layers[layer] and apart < 0.03
    assert own.weight(layer, 600).shape == (2, 256)


@pytest.mark.parametrize("text", ["none.safetensors", "models/none.gguf", "/no/such/file.SAFETENSORS"])
def test_a_file_that_is_not_there_is_no_repository(text: str) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        resolve(text)


def test_a_file_without_a_transformer_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "qwen3vl_4b.safetensors", comfy_encoder(encoder_state()))
    with pytest.raises(Unavailable, match="text_encoder and no transformer"):
        resolve(str(path))
