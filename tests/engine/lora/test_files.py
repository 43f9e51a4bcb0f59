"""The peft config of a LoRA file, in its header or beside it: read in every form that is written, or told."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Krea2Transformer2DModel
from peft import LoraConfig
from safetensors.torch import save_file

from krea_studio.engine.checkpoints.table import CHECKPOINTS, supplier
from krea_studio.engine.lora.doctor import diagnose
from krea_studio.engine.lora.files import opened
from krea_studio.engine.lora.layers import architectures
from krea_studio.engine.lora.reading import LoraReading

(TURBO,) = architectures([CHECKPOINTS["mini-turbo"]])
LAYER = "transformer_blocks.0.attn.to_q"
CONFIG = json.dumps({"r": 2, "lora_alpha": 8, "peft_type": "LORA"})


def peft_file(folder: Path, config: bytes | None, name: str = "adapter_model.safetensors") -> Path:
    state = {f"{LAYER}.lora_A.weight": torch.ones(2, 256), f"{LAYER}.lora_B.weight": torch.ones(256, 2) / 1000}
    save_file({f"base_model.model.{key}": tensor for key, tensor in state.items()}, folder / name)
    if config is not None:
        (folder / "adapter_config.json").write_bytes(config)
    return folder / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_config_is_read_in_every_encoding_that_editors_save(encoding: str, tmp_path: Path) -> None:
    found = diagnose(peft_file(tmp_path, CONFIG.encode(encoding)), [TURBO])
    assert found.accepted and found.alphas == (8, 8) and not found.notes


@pytest.mark.parametrize(
    "content",
    [CONFIG.encode()[:-9], b"", b"[8]", b"null", b"\xff\xfe{", b"\x80abc", b"[" * 3000, CONFIG.encode("utf-16")[:-7]],
)
def test_a_config_that_cannot_be_read_is_told_and_not_taken_for_none(content: bytes, tmp_path: Path) -> None:
    found = diagnose(peft_file(tmp_path, content), [TURBO])
    (problem,) = found.problems
    assert (
        "its adapter_config.json, which says how strong it is, cannot be read (" in problem
        and problem.isprintable()
        and " — " in problem
    )
    assert "states no alpha" not in " ".join(found.notes)


def test_a_folder_in_the_place_of_a_config(tmp_path: Path) -> None:
    path = peft_file(tmp_path, None)
    path.with_name("adapter_config.json").mkdir()
    assert "cannot be read (Is a directory)" in diagnose(path, [TURBO]).problems[0]


def test_a_config_too_large_to_be_one(tmp_path: Path) -> None:
    assert "more than 200,000 bytes" in diagnose(peft_file(tmp_path, b" " * 200_001), [TURBO]).problems[0]


def test_a_config_belongs_to_the_file_that_peft_writes_beside_it(tmp_path: Path) -> None:
    assert diagnose(peft_file(tmp_path, b"damaged", "other.safetensors"), [TURBO]).accepted


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"peft_type": "ADALORA"}, "says that it is 'ADALORA', which is no LoRA"),
        ({"peft_type": "TOMORROW"}, "says that it is 'TOMORROW'"),
        ({"use_qalora": True}, "it is QALoRA (use_qalora in its config)"),
        ({"use_dora": True}, "its config says that it is a DoRA, but its magnitudes are not in it"),
        ({"kasa_config": {"beta": 1}}, "it is KaSA"),
        ({"use_bdlora": {"nblocks": 2}}, "it is BD-LoRA"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"layer_replication": [[0, 4], [2, 5]]}, "replicated"),
    ],
)
def test_matrices_that_are_no_plain_lora_are_told_by_their_config(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (problem,) = diagnose(peft_file(tmp_path, json.dumps(config).encode()), [TURBO]).problems
    assert words in problem and " — " in problem


@pytest.mark.parametrize(
    ("stated", "alpha"),
    [
        ({"r": 2, "lora_alpha": 8}, 8),
        ({"transformer.r": 2, "transformer.lora_alpha": 8}, 8),
        ({"lora_alpha": 4, "transformer.lora_alpha": 8}, 8),
        ({"text_encoder.lora_alpha": 4, "transformer.lora_alpha": 8}, 8),
        ({"text_encoder.lora_alpha": 4}, None),
        ({"r": 2, "alpha_pattern": {"to_q": 8}, "lora_alpha": 4}, 8),
    ],
)
def test_the_header_states_one_model_s_config_or_each_part_s(
    stated: dict[str, Any], alpha: float | None, tmp_path: Path
) -> None:
    state = {f"{LAYER}.lora_A.weight": torch.ones(2, 256), f"{LAYER}.lora_B.weight": torch.ones(256, 2) / 1000}
    save_file(state, tmp_path / "style.safetensors", {"lora_adapter_metadata": json.dumps(stated)})
    with opened(tmp_path / "style.safetensors") as file:
        assert LoraReading(file, TURBO.layers).alpha(LAYER) == alpha


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_what_a_transformer_of_diffusers_saves_has_the_strength_that_it_was_trained_at(
    more: dict[str, Any], tmp_path: Path
) -> None:
    source = supplier(CHECKPOINTS["mini-turbo"], "transformer").source
    model = Krea2Transformer2DModel.from_pretrained(source, subfolder="transformer")
    model.add_adapter(LoraConfig(r=4, lora_alpha=16, target_modules=[LAYER], **more))
    module = model.get_submodule(LAYER)
    torch.nn.init.normal_(module.lora_B["default"].weight, std=0.02, generator=torch.Generator().manual_seed(0))
    model.save_lora_adapter(tmp_path)
    (path,) = tmp_path.iterdir()
    wanted = module(torch.eye(256)).T - TURBO.weight(LAYER).float()
    with opened(path) as file, torch.no_grad():
        change = LoraReading(file, TURBO.layers).factors(LAYER, TURBO.weight)
        assert (change.up @ change.down - wanted).norm() < 1e-3 * wanted.norm()
