"""Adapters that took their beginning off the weights: taken off again where it can be known, told where it cannot."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from krea_studio.engine.lora.beginnings import known, why_unusable
from krea_studio.engine.lora.doctor import diagnose, write
from krea_studio.engine.lora.layers import Architecture, architectures
from krea_studio.engine.lora.report import Diagnosis

BY_NAME = {architecture.name: architecture for architecture in architectures()}
MEDIUM, TURBO, RAW = (BY_NAME[name] for name in ("mini-medium", "mini-turbo", "krea-2-raw"))
LAYERS = ("transformer_blocks.0.attn.to_q", "transformer_blocks.3.attn.to_k")


class Two(nn.Module):
    """Layers of a checkpoint under the names q and k, for peft to put an adapter on."""

    def __init__(self, base: Architecture) -> None:
        super().__init__()
        for name, layer in zip("qk", LAYERS, strict=True):
            out, width = base.layers[layer]
            self.add_module(name, nn.Linear(width, out, bias=False))
            getattr(self, name).weight.data = base.weight(layer).float().clone()


def begun(
    folder: Path, base: Architecture, trained: float = 0.02, **settings: Any
) -> tuple[Path, dict[str, torch.Tensor]]:
    """An adapter that peft began and that has changed since by noise, and its true change of each layer."""
    torch.manual_seed(0)
    model = get_peft_model(Two(base), LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q", "k"], **settings}))
    state, changes = {}, {}
    with torch.no_grad():
        for name, layer in zip("qk", LAYERS, strict=True):
            module = getattr(model.base_model.model, name)
            for side in ("A", "B"):
                matrix = getattr(module, f"lora_{side}")["default"].weight
                matrix.add_(trained * torch.randn_like(matrix))
                state[f"base_model.model.{layer}.lora_{side}.weight"] = matrix.contiguous().clone()
            if settings.get("use_dora"):
                state[f"base_model.model.{layer}.lora_magnitude_vector"] = module.lora_magnitude_vector[
                    "default"
                ].weight.clone()
            changes[layer] = module(torch.eye(module.in_features)).T - base.weight(layer).float()
    path = folder / "adapter_model.safetensors"
    save_file(state, path)
    config = model.peft_config["default"].to_dict()
    path.with_name("adapter_config.json").write_text(json.dumps(config, default=list))
    return path, changes


def kept(found: Diagnosis) -> dict[str, torch.Tensor]:
    path = found.path.with_name("kept.safetensors")
    write(found, path, {})
    state = load_file(path)
    return {
        layer: state[f"transformer.{layer}.lora_B.weight"].float() @ state[f"transformer.{layer}.lora_A.weight"].float()
        for layer in LAYERS
    }


@pytest.mark.parametrize("begin", ["pissa", "olora"])
@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_what_was_taken_off_the_weights_is_taken_off_the_adapter(
    begin: str, more: dict[str, Any], tmp_path: Path
) -> None:
    path, changes = begun(tmp_path, MEDIUM, init_lora_weights=begin, **more)
    found = diagnose(path, list(BY_NAME.values()))
    name = {"pissa": "PiSSA", "olora": "OLoRA"}[begin]
    assert found.accepted and found.base is MEDIUM, found.problems
    assert all(name in kind for kind in found.kinds) and "worked out with the weights of Mini Medium" in found.notes[0]
    for layer, change in kept(found).items():
        assert (change - changes[layer]).norm() < 2e-3 * changes[layer].norm(), layer


def test_an_untrained_one_does_nothing(tmp_path: Path) -> None:
    path, _ = begun(tmp_path, MEDIUM, trained=0.0, init_lora_weights="pissa")
    assert "it does next to nothing" in diagnose(path, list(BY_NAME.values())).problems[0]


def test_other_weights_than_its_own_are_told(tmp_path: Path) -> None:
    path, _ = begun(tmp_path, MEDIUM, init_lora_weights="pissa")
    state = {key: tensor.flip(1) for key, tensor in load_file(path).items()}
    save_file(state, path)
    problem = diagnose(path, [MEDIUM]).problems[0]
    assert "it is a PiSSA of other weights than those of Mini Medium" in problem


def test_without_the_weights_it_is_refused(tmp_path: Path) -> None:
    layer = "transformer_blocks.3.attn.to_k"
    out, width = RAW.layers[layer]
    state = {f"{layer}.lora_A.weight": torch.randn(2, width), f"{layer}.lora_B.weight": torch.randn(out, 2)}
    said = {
        "lora_adapter_metadata": json.dumps({"transformer.init_lora_weights": "olora", "transformer.lora_alpha": 2})
    }
    save_file(state, tmp_path / "style.safetensors", said)
    problem = diagnose(tmp_path / "style.safetensors", [RAW]).problems[0]
    assert "it is an OLoRA, which only works with the weights that it was trained on" in problem


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("pissa_niter_16", "PiSSA adapter, .* was drawn at random"),
        ("corda", "CorDA adapter, .* own data"),
        ("lora_ga", "LoRA-GA adapter, .* own data"),
        ("loftq", "LoftQ adapter, .* quantized"),
        ("tomorrow", "states 'tomorrow' for init_lora_weights, which is not known here"),
        ({"a": 1}, "is not known here"),
    ],
)
@pytest.mark.parametrize("part", ["transformer.", ""])
def test_a_beginning_that_nobody_can_know_is_told(stated: Any, words: str, part: str, tmp_path: Path) -> None:
    state = {f"{LAYERS[0]}.lora_A.weight": torch.randn(2, 256), f"{LAYERS[0]}.lora_B.weight": torch.randn(256, 2)}
    said = {"lora_adapter_metadata": json.dumps({f"{part}init_lora_weights": stated, f"{part}r": 2})}
    save_file(state, tmp_path / "style.safetensors", said)
    (problem,) = diagnose(tmp_path / "style.safetensors", [TURBO]).problems
    assert re.search(words, problem) and " — " in problem


@pytest.mark.parametrize("stated", [None, True, False, "gaussian", "eva", "orthogonal", "mica", "pissa", "OLoRA"])
def test_other_beginnings_are_no_reason_to_refuse(stated: Any) -> None:
    assert why_unusable(stated) is None
    assert (known(stated) is not None) == (stated in ("pissa", "OLoRA"))


@pytest.mark.parametrize("begin", ["gaussian", "orthogonal", "mica"])
def test_beginnings_that_leave_the_weights_alone_stay_in_the_change(begin: str, tmp_path: Path) -> None:
    path, changes = begun(tmp_path, MEDIUM, init_lora_weights=begin)
    for layer, change in kept(diagnose(path, [MEDIUM])).items():
        assert (change - changes[layer]).norm() < 2e-3 * changes[layer].norm(), layer
