"""Files of weights as people hold them, made of the embedded checkpoint: every format, every prefix.

What is written here follows the formats' own descriptions, not the code that reads them: scales are laid into tiles
number by number, and the rotation is applied to the rows before they are rounded.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from krea_studio.engine.checkpoints.formats.configs import published_shapes
from krea_studio.engine.checkpoints.table import ASSETS, CHECKPOINTS

State = dict[str, torch.Tensor]
Quantiser = Callable[[str, torch.Tensor], tuple[State, dict | None]]
MEDIUM = ASSETS / "mini-medium"
_RENAMED = (
    ("transformer_blocks.", "blocks."),
    ("text_fusion.", "txtfusion."),
    ("img_in.", "first."),
    ("time_embed.linear_1.", "tmlp.0."),
    ("time_embed.linear_2.", "tmlp.2."),
    ("time_mod_proj.", "tproj.1."),
    ("txt_in.norm.weight", "txtmlp.0.scale"),
    ("txt_in.linear_1.", "txtmlp.1."),
    ("txt_in.linear_2.", "txtmlp.3."),
    ("final_layer.linear.", "last.linear."),
    ("final_layer.norm.weight", "last.norm.scale"),
    ("final_layer.scale_shift_table", "last.modulation.lin"),
    (".attn.to_q.", ".attn.wq."),
    (".attn.to_k.", ".attn.wk."),
    (".attn.to_v.", ".attn.wv."),
    (".attn.to_out.0.", ".attn.wo."),
    (".attn.to_gate.", ".attn.gate."),
    (".attn.norm_q.weight", ".attn.qknorm.qnorm.scale"),
    (".attn.norm_k.weight", ".attn.qknorm.knorm.scale"),
    (".norm1.weight", ".prenorm.scale"),
    (".norm2.weight", ".postnorm.scale"),
    (".ff.", ".mlp."),
    (".scale_shift_table", ".mod.lin"),
)


def transformer_state(name: str = "mini-turbo") -> State:
    """The weights of an embedded transformer, float16 as it ships, under diffusers' names."""
    return load_file(Path(CHECKPOINTS[name].source) / "transformer" / "diffusion_pytorch_model.safetensors")


def native(state: Mapping[str, torch.Tensor]) -> State:
    """The same under Krea's own names, with each block's table in one row."""
    renamed = {}
    for name, tensor in state.items():
        flat = name.startswith("transformer_blocks") and name.endswith("scale_shift_table")
        for old, new in _RENAMED:
            name = (
                name.replace(old, new)
                if old.startswith(".")
                else new + name[len(old) :]
                if name.startswith(old)
                else name
            )
        renamed[name] = tensor.flatten() if flat else tensor
    return renamed


def is_big(name: str, tensor: torch.Tensor) -> bool:
    """Whether it is one of the layers that publishers quantise."""
    return tensor.dim() == 2 and name.endswith(".weight") and ("blocks." in name)


def quantised(
    state: State, quantiser: Quantiser, big: Callable[[str, torch.Tensor], bool] = is_big
) -> tuple[State, dict]:
    """A state with its big layers packed, and what the header is to say of them."""
    packed, layers = {}, {}
    for name, tensor in state.items():
        if big(name, tensor):
            tensors, stated = quantiser(name.removesuffix(".weight"), tensor.float())
            packed |= tensors
            if stated is not None:
                layers[name.removesuffix(".weight")] = stated
        else:
            packed[name] = tensor
    return packed, layers


def write(
    path: Path, state: State, layers: Mapping[str, object] | None = None, prefix: str = "", **metadata: str
) -> Path:
    """Write a safetensors file, every name after `prefix`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if layers:
        metadata["_quantization_metadata"] = json.dumps({"format_version": "1.0", "layers": layers})
    save_file({prefix + name: tensor.clone().contiguous() for name, tensor in state.items()}, path, metadata or None)
    return path


def fp8_scaled(layer: str, weight: torch.Tensor) -> tuple[State, dict]:
    scale = weight.abs().max() / 448
    state = {f"{layer}.weight": (weight / scale).to(torch.float8_e4m3fn), f"{layer}.weight_scale": scale}
    stated = {"format": "float8_e4m3fn"}
    if layer.endswith(("attn.gate", "attn.wo")):
        stated["full_precision_matrix_mult"] = True
    return state, stated


def fp8_old_spelling(layer: str, weight: torch.Tensor) -> tuple[State, None]:
    state, _ = fp8_scaled(layer, weight)
    scale = state.pop(f"{layer}.weight_scale")
    return state | {f"{layer}.scale_weight": scale.view(1), f"{layer}.scale_input": torch.ones(1)}, None


def fp8_plain(layer: str, weight: torch.Tensor) -> tuple[State, None]:
    return {f"{layer}.weight": weight.to(torch.float8_e4m3fn)}, None


def rotation(size: int) -> torch.Tensor:
    """Entry by entry: the product over the base-4 digits of row and column of the 4 × 4 matrix's entries."""
    seed = torch.tensor([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]])
    row, column = torch.arange(size)[:, None], torch.arange(size)[None]
    matrix, left = torch.ones(size, size), size
    while left > 1:
        matrix *= seed[row % 4, column % 4]
        row, column, left = row // 4, column // 4, left // 4
    return matrix / size**0.5


def _statement(layer: str, said: dict) -> State:
    text = json.dumps(said).encode().ljust(72, b"\0")
    return {f"{layer}.comfy_quant": torch.frombuffer(bytearray(text), dtype=torch.uint8)}


def int8_convrot(layer: str, weight: torch.Tensor, group: int = 64) -> tuple[State, None]:
    rotated = (weight.view(len(weight), -1, group) @ rotation(group).T).view_as(weight)
    scale = rotated.abs().amax(1, keepdim=True) / 127
    state = {f"{layer}.weight": (rotated / scale).round().to(torch.int8), f"{layer}.weight_scale": scale}
    return state | _statement(layer, {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": group}), None


def int8_plain(layer: str, weight: torch.Tensor) -> tuple[State, None]:
    scale = weight.abs().max() / 127
    state = {f"{layer}.weight": (weight / scale).round().to(torch.int8), f"{layer}.weight_scale": scale}
    return state | _statement(layer, {"format": "int8_tensorwise"}), None


def tiled(scales: torch.Tensor) -> torch.Tensor:
    """(rows, blocks) bytes → cuBLAS's order, by its formula for the place of one number within its tile of 512."""
    rows, blocks = scales.shape
    high, wide = -(-rows // 128), -(-blocks // 4)
    row, block = torch.arange(rows)[:, None], torch.arange(blocks)[None]
    place = (row // 128 * wide + block // 4) * 512 + row % 32 * 16 + row % 128 // 32 * 4 + block % 4
    flat = torch.zeros(high * wide * 512, dtype=torch.uint8)
    flat[place.flatten()] = scales.flatten()
    return flat.view(high * 128, wide * 4)


def mxfp8(layer: str, weight: torch.Tensor) -> tuple[State, dict]:
    blocks = weight.view(len(weight), -1, 32)
    exponent = (blocks.abs().amax(-1) / 448).clamp_min(2.0**-126).log2().ceil()
    values = (blocks / exponent.exp2()[..., None]).to(torch.float8_e4m3fn).view(weight.shape)
    scale = tiled((exponent + 127).to(torch.uint8))
    if layer.endswith("attn.wq"):  # some writers give the bytes their own type
        scale = scale.view(torch.float8_e8m0fnu)
    return {f"{layer}.weight": values, f"{layer}.weight_scale": scale}, {"format": "mxfp8"}


def nvfp4(layer: str, weight: torch.Tensor) -> tuple[State, dict]:
    whole = weight.abs().max() / (6 * 448)
    blocks = weight.view(len(weight), -1, 16)
    scale = (blocks.abs().amax(-1) / 6 / whole).to(torch.float8_e4m3fn)
    numbers = blocks / (scale.float() * whole).clamp_min(1e-12)[..., None]
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    codes = (numbers.abs()[..., None] - levels).abs().argmin(-1) | (numbers < 0).long() << 3
    codes = codes.view(len(weight), -1, 2).to(torch.uint8)
    return {
        f"{layer}.weight": codes[..., 0] << 4 | codes[..., 1],
        f"{layer}.weight_scale": tiled(scale.view(torch.uint8)).view(torch.float8_e4m3fn),
        f"{layer}.weight_scale_2": whole,
    }, {"format": "nvfp4"}


GGML_NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "Q6_K": 14, "I8": 24, "BF16": 30, "IQ2_XS": 17}


def ggml_bytes(kind: str, tensor: torch.Tensor) -> bytes:
    """A tensor's numbers in one of ggml's types."""
    if kind == "BF16":
        return tensor.bfloat16().view(torch.int16).numpy().tobytes()
    if kind in ("F32", "F16"):
        return tensor.numpy().astype({"F32": np.float32, "F16": np.float16}[kind]).tobytes()
    blocks = tensor.float().numpy().reshape(-1, 32)
    if kind == "Q8_0":
        scale = (np.abs(blocks).max(1, keepdims=True) / 127).astype(np.float16)
        codes = np.rint(blocks / np.maximum(scale.astype(np.float32), 1e-8)).clip(-127, 127).astype(np.int8)
        return b"".join(s.tobytes() + c.tobytes() for s, c in zip(scale, codes, strict=True))
    assert kind == "Q4_0"
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    scale = (furthest / -8).astype(np.float16)
    wide = np.where(scale == 0, 1, scale.astype(np.float32))
    codes = (np.rint(blocks / wide) + 8).clip(0, 15).astype(np.uint8)
    packed = codes[:, :16] | codes[:, 16:] << 4
    return b"".join(s.tobytes() + c.tobytes() for s, c in zip(scale, packed, strict=True))


def write_gguf(path: Path, state: State, kind_of: Callable[[str, torch.Tensor], str], **pairs: str) -> Path:
    """Write a GGUF file, version 3, each tensor in the type that `kind_of` names."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    pairs = {"general.architecture": "krea2", **pairs}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(state), len(pairs))
    for key, value in pairs.items():
        head += text(key) + struct.pack("<I", 8) + text(value)
    body = b""
    for name, tensor in state.items():
        kind = kind_of(name, tensor)
        shape = list(reversed(tensor.shape))
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, GGML_NUMBERS[kind], len(body))
        body += ggml_bytes(kind, tensor)
        body += b"\0" * (-len(body) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + body)
    return path


def q8_0(name: str, tensor: torch.Tensor) -> str:
    return "Q8_0" if is_big(name, tensor) else "F32"


def of_published(path: Path) -> Path:
    """A file of the published model's size as far as its header goes, with nothing but a hole behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in native(
        {name: torch.empty(shape, device="meta") for name, shape in published_shapes().items()}
    ).items():
        big = tensor.dim() == 2 and "blocks." in name
        size = tensor.numel() * (1 if big else 2)
        dtype = "F8_E4M3" if big else "BF16"
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
        if big:
            scale = name.replace(".weight", ".weight_scale")
            header[scale] = {"dtype": "F32", "shape": [], "data_offsets": [end, end + 4]}
            end += 4
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


COMFY_LANGUAGE, COMFY_VISION = "model.", "model.visual."


def comfy_encoder(state: Mapping[str, torch.Tensor]) -> State:
    """A Qwen3-VL's weights under the names that ComfyUI's files have."""
    return {
        name.replace("language_model.", COMFY_LANGUAGE)
        if name.startswith("language_model.")
        else name.replace("visual.", COMFY_VISION): tensor
        for name, tensor in state.items()
    }


def encoder_state() -> State:
    """The weights of the embedded text encoder, as `Qwen3VLModel` names them."""
    return load_file(MEDIUM / "text_encoder" / "model.safetensors")


def comfy_decoder() -> State:
    """The weights of the embedded image decoder under the names of Wan's and ComfyUI's files."""
    state = load_file(MEDIUM / "vae" / "diffusion_pytorch_model.safetensors")
    residual = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    whole = {
        "quant_conv": "conv1",
        "post_quant_conv": "conv2",
        "conv_in": "conv1",
        "norm_out": "head.0",
        "conv_out": "head.2",
    }
    renamed, ups = {}, _upsamples(state)
    for name, tensor in state.items():
        side, _, rest = name.partition(".")
        layer, leaf = rest.rsplit(".", 1) if "." in rest else ("", rest)
        if side in whole:
            new = f"{whole[side]}.{rest}"
        elif layer in whole:
            new = f"{side}.{whole[layer]}.{leaf}"
        else:
            words = rest.split(".")
            inner = ".".join(residual.get(word, {"conv_shortcut": "shortcut"}.get(word, word)) for word in words)
            inner = inner.replace("mid_block.attentions.0", "middle.1")
            inner = inner.replace("mid_block.resnets.0", "middle.0").replace("mid_block.resnets.1", "middle.2")
            inner = inner.replace("down_blocks", "downsamples")
            for old, number in ups.items():
                if inner.startswith(old + "."):
                    inner = f"upsamples.{number}.{inner[len(old) + 1 :]}"
            new = f"{side}.{inner}"
        renamed[new] = tensor
    return renamed


def _upsamples(state: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Wan numbers the decoder's blocks and upsamplers through."""
    found = []
    for name in state:
        words = name.split(".")
        if words[:2] == ["decoder", "up_blocks"]:
            key = ".".join(words[1:5])
            if key not in found:
                found.append(key)
    order = sorted(found, key=lambda key: (int(key.split(".")[1]), "upsamplers" in key, int(key.split(".")[3])))
    return {key: number for number, key in enumerate(order)}
