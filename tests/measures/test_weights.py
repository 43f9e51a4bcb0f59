"""Random files of weights are what they are said to be, and what is measured on them tells right from wrong."""

import json
from pathlib import Path

import pytest
import torch

from krea_studio.engine.checkpoints.formats import loading
from krea_studio.engine.checkpoints.formats.configs import published_config, transformer_shapes
from krea_studio.engine.checkpoints.formats.model_file import TRANSFORMER, model_file
from krea_studio.measures import random_weights, weights

SMALL = {
    "attention_head_dim": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 512,
    "text_hidden_dim": 256, "text_intermediate_size": 512, "text_num_attention_heads": 4,
    "text_num_key_value_heads": 4, "num_layers": 2, "num_text_layers": 3, "axes_dims_rope": [16, 24, 24],
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(published_config() | SMALL))
    return folder


def file_of(form: str, folder: Path) -> Path:
    path = folder / ("random.gguf" if form == random_weights.Q4_K else "random.safetensors")
    random_weights.write(path, form, transformer_shapes(published_config() | SMALL))
    return path


@pytest.mark.parametrize("form", [*random_weights.FORMATS, random_weights.BF16])
def test_layers_are_in_the_format_and_look_trained(form: str, tmp_path: Path) -> None:
    file = model_file(file_of(form, tmp_path))
    stored = file.parts[TRANSFORMER].stored
    shapes = transformer_shapes(published_config() | SMALL)
    big = [name for name, shape in shapes.items() if random_weights.is_big(name, shape)]
    assert stored.keys() == shapes.keys() and {stored[name].format for name in big} == {form}
    for name in big[:3]:
        numbers = loading.unpacked_weight(file, stored[name])
        assert numbers.std().item() == pytest.approx(random_weights.DEVIATION, rel=0.3)
        assert abs(numbers.mean().item()) < 0.3 * random_weights.DEVIATION
    assert stored["img_in.weight"].format == "bfloat16"


@pytest.mark.parametrize("form", random_weights.FORMATS)
def test_a_file_is_read_loaded_and_stepped(form: str, tmp_path: Path, config: Path) -> None:
    path = file_of(form, tmp_path)
    assert weights.read(path, config)["seconds"] > 0
    found = weights.load(path, config)
    assert "failure" not in found and found["step"] > 0
    assert "it is no Krea 2" in weights.look(path, config)["failure"]  # which has other dimensions


def test_weights_that_a_loader_got_wrong_are_told(tmp_path: Path, config: Path) -> None:
    path = file_of(random_weights.INT8, tmp_path)
    model = loading.load(model_file(path), TRANSFORMER, config, torch.bfloat16)
    weights._unpacked(model)
    assert weights._wrong_weights(model, path, config) == ""
    layer = model.transformer_blocks[0].attn.to_q
    layer.weight.data *= 100  # as without its scale
    assert "its weights are wrong by up to" in weights._wrong_weights(model, path, config)


def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    found = weights._in_a_process("read", tmp_path / "none", tmp_path)
    assert "No such file" in found["failure"]
