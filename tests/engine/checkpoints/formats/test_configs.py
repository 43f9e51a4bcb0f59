"""What ships of the published model's configs, and the shapes that follow from a config."""

import json

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, Krea2Transformer2DModel
from transformers import AutoConfig, Qwen3VLModel

from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, published_config, transformer_shapes
from krea_studio.engine.checkpoints.table import ASSETS


@pytest.mark.parametrize("name", ["mini-medium", "mini-large", None])
def test_the_shapes_are_those_of_the_class(name: str | None) -> None:
    config = (
        json.loads((ASSETS / name / "transformer" / "config.json").read_text("utf-8")) if name else published_config()
    )
    with torch.device("meta"):
        model = Krea2Transformer2DModel.from_config(config)
    assert transformer_shapes(config) == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_the_shipped_configs_make_the_published_model() -> None:
    """ComfyUI's qwen3vl_4b_bf16 has 8,875,719,384 bytes, 252 linear layers of its language model, and a header."""
    with torch.device("meta"):
        encoder = Qwen3VLModel(AutoConfig.from_pretrained(PUBLISHED / "text_encoder"))
        decoder = AutoencoderKLQwenImage.from_config(AutoencoderKLQwenImage.load_config(PUBLISHED / "vae"))
    assert 0 < 8_875_719_384 - 2 * sum(weight.numel() for weight in encoder.parameters()) < 200_000
    layers = [layer for layer in encoder.language_model.layers.modules() if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 252 and decoder.config.z_dim * 4 == published_config()["in_channels"]
    assert FlowMatchEulerDiscreteScheduler.from_pretrained(PUBLISHED / "scheduler").config.use_dynamic_shifting
