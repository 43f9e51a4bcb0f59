"""What a file is by its header: what is known is said in full, what cannot be used is refused by its name."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from krea_studio.engine.checkpoints.formats.configs import transformer_shapes
from krea_studio.engine.checkpoints.formats.model_file import model_file, report
from krea_studio.errors import Unavailable
from tests.model_files import (
    MEDIUM,
    comfy_decoder,
    comfy_encoder,
    encoder_state,
    fp8_scaled,
    int8_convrot,
    native,
    of_published,
    quantised,
    transformer_state,
    write,
    write_gguf,
)

MINI = {"mini": transformer_shapes(json.loads((MEDIUM / "transformer" / "config.json").read_text("utf-8")))}


def test_a_file_of_thirteen_gigabytes_is_told_in_under_a_second(tmp_path: Path) -> None:
    path = of_published(tmp_path / "krea2_turbo_fp8_scaled.safetensors")
    begin = time.thread_time()
    found = report(path)
    assert time.thread_time() - begin < 1
    assert not found["refused"] and found["bytes"] > 13e9 and found["variant_guess"] == "turbo"
    part = found["parts"]["transformer"]
    assert part["model"] == "Krea 2" and part["formats"] == {"float8_e4m3fn scaled": 256, "bfloat16": 174}
    assert 13e9 < model_file(path).bytes_in_memory("transformer", 2) < 13.3e9
    path.unlink()


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("krea2_turbo_bf16", "turbo"),
        ("Krea-2-Raw-Q8_0", "medium"),
        ("krea2TurboOfficialComfy_krea2RawInt8Convrot", None),
        ("model", None),
    ],
)
def test_the_variant_is_a_guess_by_the_name(tmp_path: Path, name: str, guess: str | None) -> None:
    path = write(tmp_path / f"{name}.safetensors", native(transformer_state()))
    assert model_file(path).variant == guess


@pytest.mark.parametrize(
    "prefix", ["", "model.diffusion_model.", "diffusion_model.", "net.", "transformer.", "model.transformer."]
)
def test_every_prefix_is_found(tmp_path: Path, prefix: str) -> None:
    for state in (native(transformer_state()), transformer_state()):
        path = write(tmp_path / "model.safetensors", state, prefix=prefix)
        found = model_file(path)
        assert found.prefixes == {"transformer": prefix} and not found.others
        assert set(found.parts["transformer"].stored) == set(transformer_state())


def test_what_kreas_own_file_has_beside_is_left_out_and_said(tmp_path: Path) -> None:
    state = native(transformer_state()) | {"last.up.weight": torch.ones(8, 8), "last.down.weight": torch.ones(8, 8)}
    part = report(write(tmp_path / "turbo.safetensors", state), MINI)["parts"]["transformer"]
    assert set(part["left_out"]) == {"last.up.weight", "last.down.weight"} and part["tensors"] == 107


def _lora(state: dict) -> dict:
    return {"diffusion_model.blocks.0.attn.wq.lora_A.weight": torch.ones(2, 8)}


def _with(**tensors: torch.Tensor) -> Callable[[dict], dict]:
    return lambda state: state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_lora, "is a LoRA"),
        (_with(blocks__0__attn__wq__svdq_l1=torch.ones(2, 2)), "SVDQuant"),
        (_with(blocks__0__attn__to_qkv_gate__weight=torch.ones(2, 2)), "Nunchaku"),
        (_with(blocks__0__attn__wq__pre_quant_scale=torch.ones(2)), "ModelOpt AWQ"),
        (_with(**{"blocks__0__attn__wq__weight__absmax": torch.ones(2)}), "bitsandbytes"),
        (_with(blocks__0__attn__wq__zero_point=torch.ones(2)), "SDNQ"),
        (lambda state: {"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)}, "FLUX"),
        (lambda state: {"weight": torch.ones(2, 2)}, "no model that is known here"),
        (lambda state: {}, "no tensors"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(tmp_path: Path, change: Callable[[dict], dict], word: str) -> None:
    path = write(tmp_path / "model.safetensors", change(native(transformer_state())))
    assert word in report(path)["refused"] and " — " in report(path)["refused"]
    with pytest.raises(Unavailable, match=word):
        model_file(path)


def test_ggufs_of_other_converters_are_refused_by_name(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "a.gguf", native(transformer_state()), lambda *_: "F16", **{"comfy.gguf.quant.first": "{}"}
    )
    with pytest.raises(Unavailable, match="Q8_CR"):
        model_file(path)


def test_one_shard_of_several_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path / "model-00001-of-00003.safetensors", transformer_state())
    with pytest.raises(Unavailable, match="one of 3 shards"):
        model_file(path)


def test_an_all_in_one_file_is_split_by_its_prefixes(tmp_path: Path) -> None:
    path = write(tmp_path / "all.safetensors", all_in_one())
    found = model_file(path)
    assert set(found.parts) == {"transformer", "text_encoder", "vae"} and not found.others
    assert [len(part.stored) for part in found.parts.values()] == [138, 95, 107]
    assert not any(part.unknown for part in found.parts.values())


def all_in_one() -> dict[str, torch.Tensor]:
    packed, _ = quantised(native(transformer_state()), int8_convrot)
    return {
        **{f"model.diffusion_model.{name}": tensor for name, tensor in packed.items()},
        **{f"text_encoders.qwen3vl_4b.transformer.{name}": t for name, t in comfy_encoder(encoder_state()).items()},
        **{f"vae.{name}": tensor for name, tensor in comfy_decoder().items()},
    }


def test_a_plain_qwen3_is_no_text_encoder_for_krea(tmp_path: Path) -> None:
    """It has the shapes of a Qwen3-VL without its vision tower, and other weights."""
    state = {name: tensor for name, tensor in comfy_encoder(encoder_state()).items() if "visual." not in name}
    with pytest.raises(Unavailable, match="plain Qwen3"):
        model_file(write(tmp_path / "qwen_3_4b.safetensors", state))
    assert "text_encoder" in model_file(write(tmp_path / "qwen3vl_4b_novision.safetensors", state)).parts


def _spoiled(spoil: Callable[[dict, dict], None]) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        state, layers = quantised(native(transformer_state()), fp8_scaled)
        spoil(state, layers)
        return write(path, state, layers)

    return make


LAYER = "blocks.0.attn.wq"


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda s, q: q.update({LAYER: {"format": "convrot_w4a4"}}), "convrot_w4a4"),
        (lambda s, q: q.update({LAYER: {"format": "nvfp4"}}), "said to be nvfp4 and holds F8_E4M3"),
        (lambda s, q: q.update({LAYER: "float8"}), "statement of"),
        (lambda s, q: q.update({LAYER: {"format": ["float8_e4m3fn"]}}), "which is not read here"),
        (lambda s, q: q.update({LAYER: {"format": "int8_tensorwise", "convrot": True}}), "said to be int8"),
        (lambda s, q: s.update({f"{LAYER}.weight_scale": torch.ones(7)}), "needs a scale"),
        (lambda s, q: s.update({f"{LAYER}.weight_scale_2": torch.ones(1)}), "without it"),
        (lambda s, q: s.update({f"{LAYER}.scale_weight": torch.ones(1)}), "two tensors for its scale"),
        (lambda s, q: s.update({"blocks.0.attn.nothing.weight_scale": torch.ones(1)}), "belong to nothing"),
        (lambda s, q: s.update({"last.linear.weight_scale": torch.ones(1)}), "without it"),
        (lambda s, q: s.update({f"{LAYER}.weight": torch.ones(4, 4, dtype=torch.int16)}), "said to be"),
        (lambda s, q: s.update({"blocks.0.extra.weight": torch.ones(2, 2)}), "belong to nothing"),
        (lambda s, q: s.pop("blocks.1.mod.lin"), "it lacks 1 of 107 parameters"),
        (lambda s, q: s.update({"first.bias": torch.ones(3)}), "has the shape (3,)"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_layer(
    tmp_path: Path, spoil: Callable[[dict, dict], None], word: str
) -> None:
    path = _spoiled(spoil)(tmp_path / "model.safetensors")
    found = report(path, MINI)
    assert word in found["refused"], found["refused"]


def test_a_statement_is_read_whatever_its_padding_and_names_with_any_prefix(tmp_path: Path) -> None:
    state, layers = quantised(native(transformer_state()), fp8_scaled)
    stated = {f"model.diffusion_model.{name}": said for name, said in layers.items()}
    path = write(tmp_path / "model.safetensors", state, stated, prefix="diffusion_model.")
    assert report(path, MINI)["parts"]["transformer"]["formats"]["float8_e4m3fn scaled"] == 56
    for padding in (b"", b"\0", b"\0" * 40, b"  \0"):
        state, _ = quantised(native(transformer_state()), int8_convrot)
        key = f"{LAYER}.comfy_quant"
        text = bytes(state[key].numpy()).rstrip(b"\0") + padding
        state[key] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        path = write(tmp_path / "model.safetensors", state)
        assert report(path, MINI)["parts"]["transformer"]["formats"]["int8 convrot"] == 56


@pytest.mark.parametrize("said", [{"convrot_groupsize": size} for size in (0, 7, 64.0, "64", None, True, 4096)])
def test_a_rotation_that_cannot_be_is_refused(tmp_path: Path, said: dict) -> None:
    state, _ = quantised(native(transformer_state()), int8_convrot)
    text = json.dumps({"format": "int8_tensorwise", "convrot": True} | said).encode()
    state[f"{LAYER}.comfy_quant"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    with pytest.raises(Unavailable, match="is rotated by"):
        model_file(write(tmp_path / "model.safetensors", state))


def test_numbers_in_a_row_have_one_scale(tmp_path: Path) -> None:
    state = native(transformer_state())
    state["first.weight"] = torch.ones(256).to(torch.float8_e4m3fn)
    state["first.weight_scale"] = torch.ones(256)
    with pytest.raises(Unavailable, match="needs a scale"):
        model_file(write(tmp_path / "model.safetensors", state))
