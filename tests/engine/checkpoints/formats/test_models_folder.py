"""A folder of models: everything in it is told, and nothing in it holds the rest up."""

import gc
import json
import os
import time
from pathlib import Path

import pytest
import torch

from krea_studio.engine.checkpoints.formats.models_folder import listed, models_folder, parts_in
from krea_studio.errors import Unavailable
from tests.model_files import (
    comfy_decoder,
    comfy_encoder,
    encoder_state,
    native,
    of_published,
    transformer_state,
    write,
)


def test_a_folder_with_links_that_lead_back_and_spoiled_files_is_listed_whole(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write(models / "diffusion_models" / "krea2_raw.safetensors", native(transformer_state()))
    write(models / "text_encoders" / "qwen3vl_4b_bf16.safetensors", comfy_encoder(encoder_state()))
    write(models / "vae" / "qwen_image_vae.safetensors", comfy_decoder())
    write(models / "loras" / "style.safetensors", {"lora_unet_blocks_0.lora_down.weight": torch.ones(2, 2)})
    (models / "loras" / "notes.txt").write_text("nothing")
    (models / "unet").mkdir()
    (models / "unet" / "half.gguf").write_bytes(b"GGUF\3")
    (models / "unet" / "empty.safetensors").touch()
    (models / "unet" / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (models / "loop").symlink_to(models, target_is_directory=True)
    (models / "unet" / "itself.safetensors").symlink_to(models / "unet" / "itself.safetensors")
    found = {Path(facts["file"]).relative_to(models).as_posix(): facts for facts in listed(models, {})}
    assert len(found) == 8
    parts = {name: list(facts["parts"]) for name, facts in found.items() if "parts" in facts}
    assert parts == {
        "diffusion_models/krea2_raw.safetensors": ["transformer"],
        "text_encoders/qwen3vl_4b_bf16.safetensors": ["text_encoder"],
        "vae/qwen_image_vae.safetensors": ["vae"],
    }
    assert found["loras/style.safetensors"]["lora"]
    assert all(facts["refused"] for name, facts in found.items() if name not in parts)


def test_two_hundred_files_are_listed_about_as_soon_as_their_headers_are_parsed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Within a second where these are parsed in a tenth of one; a machine that does other things takes longer."""
    layers = {
        f"transformer.transformer_blocks.{k}.attn.to_q.lora_{side}.weight": torch.ones(2, 2)
        for k in range(200)
        for side in "AB"
    }
    for first, copies in (
        (write(tmp_path / "loras" / "000.safetensors", layers), 180),
        (of_published(tmp_path / "diffusion_models" / "000.safetensors"), 20),
    ):
        for number in range(1, copies):
            os.link(first, first.with_name(f"{number:03}.safetensors"))
    gc.collect()
    gc.freeze()  # what other tests left is not gone through again meanwhile
    request.addfinalizer(gc.unfreeze)
    began = time.thread_time()
    for path in tmp_path.rglob("*.safetensors"):
        with path.open("rb") as file:
            json.loads(file.read(int.from_bytes(file.read(8), "little")))
    parsed = time.thread_time() - began
    began = time.thread_time()
    found = list(listed(tmp_path, {}))
    assert time.thread_time() - began < 10 * parsed
    assert len(found) == 200 and sum(each["lora"] for each in found) == 180


def test_a_file_of_very_many_tensors_holds_nothing_up(tmp_path: Path) -> None:
    """Its header alone may take a second; what grows with the square of their number took minutes."""
    tensors = {f"blocks.{k}.attn.wq.weight": torch.ones(1) for k in range(20_000)}
    write(tmp_path / "a.safetensors", {**tensors, "txtfusion.projector.weight": torch.ones(1)})
    began = time.thread_time()
    (found,) = listed(tmp_path, {})
    assert found["refused"] and time.thread_time() - began < 10


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no folder"):
        list(listed(tmp_path / "none", {}))


def test_other_parts_are_found_where_comfyui_keeps_them(tmp_path: Path) -> None:
    models = tmp_path / "ComfyUI" / "models"
    file = write(models / "diffusion_models" / "krea" / "krea2_turbo.safetensors", {"a": torch.ones(1)})
    assert models_folder(file, None) == models and models_folder(file, tmp_path) == tmp_path
    assert set(parts_in(models, file)) == {"scheduler"}
    write(models / "clip" / "qwen3vl_4b_fp8_scaled.safetensors", comfy_encoder(encoder_state()))
    write(models / "text_encoders" / "qwen3vl_4b_bf16.safetensors", {"broken": torch.ones(1)})
    write(models / "vae" / "wan_2.1_vae.safetensors", comfy_decoder())
    tokenizer = models.parent / "comfy" / "text_encoders" / "qwen25_tokenizer"
    tokenizer.mkdir(parents=True)
    (tokenizer / "vocab.json").write_text("{}")
    found = parts_in(models, file)
    assert found["text_encoder"].parent.name == "clip", "a file that cannot be read is passed over"
    assert found["vae"].name == "wan_2.1_vae.safetensors" and found["tokenizer"] == tokenizer
