"""The transformers that a LoRA can be for: shapes as the real classes have them, and weights only when asked for."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Krea2Transformer2DModel
from safetensors.torch import load_file

from krea_studio.engine.checkpoints.formats.configs import published_config
from krea_studio.engine.checkpoints.table import CHECKPOINTS, Checkpoint, resolve
from krea_studio.engine.lora.layers import architectures, linear_layers
from krea_studio.errors import Unavailable


def of(name: str) -> Any:
    return architectures([CHECKPOINTS[name]])[0]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def test_the_published_shape_is_that_of_the_class() -> None:
    """diffusers took its defaults from the published config."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(Krea2Transformer2DModel.__init__).parameters.items()
        if name != "self"
    }
    assert defaults.items() <= {name: _tuple(value) for name, value in published_config().items()}.items()
    raw = of("krea-2-raw")
    assert len(raw.layers) == 264 and raw.layers == of("krea-2-turbo").layers
    assert raw.layers["transformer_blocks.27.attn.to_k"] == (1536, 6144)
    assert "transformer_blocks.28.attn.to_k" not in raw.layers


def test_shapes_are_those_of_the_loaded_transformer_also_under_an_adapter(load: Callable[[str], Any]) -> None:
    transformer = load("turbo").pipeline.transformer
    turbo = of("mini-turbo")
    assert linear_layers(transformer) == turbo.layers == of("mini-medium").layers
    assert len(of("mini-large").layers) > len(turbo.layers)
    from peft import LoraConfig

    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), adapter_name="shapes")
    try:
        assert linear_layers(transformer) == turbo.layers
    finally:
        transformer.delete_adapters("shapes")


def test_weights_are_read_layer_by_layer_from_one_file_or_several() -> None:
    for name in ("mini-turbo", "mini-large"):
        known = of(name)
        assert known.has_weights
        whole = {}
        for path in known.place.glob("*.safetensors"):
            whole |= load_file(path)
        for layer in list(known.layers)[::7]:
            assert torch.equal(known.weight(layer), whole[f"{layer}.weight"])
            out, width = known.layers[layer]
            rows = known.weight(layer, most_values=3 * width)
            assert torch.equal(rows, whole[f"{layer}.weight"][: min(3, out)])


def test_what_is_not_here_has_a_shape_but_no_weights() -> None:
    raw = of("krea-2-raw")
    assert not raw.has_weights
    with pytest.raises(Unavailable, match="Krea 2 Raw are not on this machine"):
        raw.weight("img_in")
    assert architectures([resolve("somebody/their-krea")]) == ()


def test_a_folder_says_its_own_shape_and_a_damaged_one_none(own_folder: Path) -> None:
    checkpoint = Checkpoint("own", "Own", str(own_folder))
    assert architectures([checkpoint])[0].layers == of("mini-turbo").layers
    config = own_folder / "transformer" / "config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({**said, "num_layers": 2}))
    assert len(architectures([checkpoint])[0].layers) < len(of("mini-turbo").layers)
    for text in ("{", "[]", json.dumps({**said, "_class_name": "FluxTransformer2DModel"})):
        config.write_text(text)
        assert architectures([checkpoint]) == ()


def test_a_checkpoint_goes_by_several_names() -> None:
    raw = of("krea-2-raw")
    assert all(raw.names(text) for text in ("krea-2-raw", "Krea 2 Raw", " krea/Krea-2-Raw ", "krea-2-RAW"))
    assert not any(raw.names(text) for text in ("", "krea", "krea-2-turbo", "sdxl"))
