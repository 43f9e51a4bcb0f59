"""Writes trained modules as checkpoint folders that stock `Krea2Pipeline.from_pretrained` loads.

Weights are stored in half precision and in shards small enough for a Space's git. mini-turbo and mini-large hold only
their transformer and model index; the other parts are mini-medium's.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage, Krea2Pipeline, Krea2Transformer2DModel
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.engine.pipeline import preview
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder
from krea_studio.training.checkpoints import architecture
from krea_studio.training.world.captions import vocabulary

MAX_SHARD = "9MB"


def _halved(module: torch.nn.Module) -> torch.nn.Module:
    return copy.deepcopy(module).half()


def _forget_origin(folder: Path) -> None:
    """Take out of the configurations where the modules were loaded from, a path of the machine that trained them."""
    for path in folder.rglob("config.json"):
        configuration = json.loads(path.read_text(encoding="utf-8"))
        if configuration.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")


def base(
    folder: Path,
    transformer: Krea2Transformer2DModel,
    vae: AutoencoderKLQwenImage,
    encoder: Qwen3VLModel,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Write mini-medium whole, and the vocabulary beside the checkpoint folders."""
    pipeline = Krea2Pipeline(
        scheduler=architecture.scheduler(),
        vae=_halved(vae),
        text_encoder=_halved(encoder),
        tokenizer=tokenizer,
        transformer=_halved(transformer),
        text_encoder_select_layers=architecture.TEXT_TAPS,
        is_distilled=False,
        patch_size=architecture.PATCH_SIZE,
    )
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size=MAX_SHARD)
    # transformers loads in the precision that the configuration names; the arithmetic is float32, as in the rest.
    configuration = folder / "text_encoder" / "config.json"
    content = configuration.read_text(encoding="utf-8").replace('"float16"', '"float32"')
    configuration.write_text(content, encoding="utf-8")
    _forget_origin(folder)
    map_for_previews(folder)
    words = json.dumps(vocabulary(), indent=1)
    (folder.parent / "vocabulary.json").write_text(words + "\n", encoding="utf-8")


def map_for_previews(folder: Path) -> None:
    """Write the map for previews beside the VAE, fitted to its weights as they are read, so that no run has to."""
    pipeline = Krea2Pipeline.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    preview.save(preview.fit(pipeline, SingleFrameDecoder(pipeline.vae)), folder / "vae")


def derived(folder: Path, transformer: Krea2Transformer2DModel, medium: Path, distilled: bool) -> None:
    """Write a checkpoint that shares everything but its transformer with the one in `medium`."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (folder / "transformer").glob("*"):
        stale.unlink()
    _halved(transformer).save_pretrained(folder / "transformer", safe_serialization=True, max_shard_size=MAX_SHARD)
    _forget_origin(folder)
    index = json.loads((medium / "model_index.json").read_text(encoding="utf-8"))
    index["is_distilled"] = distilled
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
