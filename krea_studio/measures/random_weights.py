"""Files of random weights in the published model's names and formats, of any size, written as they are made.

What a model computes of them means nothing; what reading, unpacking and computing cost is the same as of trained ones.
The numbers of a layer repeat after some millions, so that gigabytes are written as fast as the disk takes them.
"""

import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch

from krea_studio.engine.checkpoints.formats.configs import Shapes
from krea_studio.engine.checkpoints.formats.names import original_parameter

INT8, Q4_K, BF16 = "int8 convrot", "Q4_K", "bfloat16"
FORMATS = (INT8, Q4_K)
ROTATED_BY = 256
DEVIATION = 0.02  # of a layer's weights
_REPEATED = 2**22
_GGML = {"F32": 0, "Q4_K": 12, "BF16": 30}
_ALIGNMENT_BYTES = 32
_STATEMENT = json.dumps(
    {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": ROTATED_BY}, separators=(",", ":")
).encode()


def write(path: Path, form: str, shapes: Shapes) -> None:
    """Write parameters of these shapes, under Krea's own names: big layers in `form`, everything else in bfloat16.

    A safetensors file for int8 and bfloat16, a GGUF for Q4_K, as publishers write them.
    """
    torch.manual_seed(0)
    shapes = {name: _as_published(name, shape) for name, shape in shapes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if form == Q4_K:
            _write_gguf(file, shapes)
        else:
            _write_safetensors(file, form, shapes)


def _as_published(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A block's table is in one row there."""
    return (prod(shape),) if name.startswith("transformer_blocks") and name.endswith("scale_shift_table") else shape


def is_big(name: str, shape: tuple[int, ...]) -> bool:
    """Whether publishers quantise this parameter."""
    return len(shape) == 2 and name.endswith(".weight") and "blocks." in name


def _write_safetensors(file: BinaryIO, form: str, shapes: Shapes) -> None:
    planned: list[tuple[str, str, tuple[int, ...], int]] = []  # name, number format, shape, bytes
    for name, shape in shapes.items():
        own = original_parameter(name)
        if form == INT8 and is_big(name, shape):
            layer = own.removesuffix(".weight")
            planned += [
                (own, "I8", shape, prod(shape)),
                (f"{layer}.weight_scale", "F32", (shape[0], 1), 4 * shape[0]),
                (f"{layer}.comfy_quant", "U8", (len(_STATEMENT),), len(_STATEMENT)),
            ]
        else:
            planned.append((own, "BF16", shape, 2 * prod(shape)))
    header, end = {}, 0
    for name, kind, shape, size in planned:
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write(len(text).to_bytes(8, "little") + text)
    for name, kind, _, size in planned:
        if kind == "U8":
            file.write(_STATEMENT)
        else:
            file.writelines(_repeated(_values(kind, name), size))


def _write_gguf(file: BinaryIO, shapes: Shapes) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    planned = []
    for name, shape in shapes.items():
        # diffusers unpacks layers alone: of other parameters it computes with the bytes, unless they are whole.
        kind = "Q4_K" if is_big(name, shape) else "BF16" if name.endswith(".weight") and len(shape) == 2 else "F32"
        size = prod(shape) // 256 * 144 if kind == "Q4_K" else prod(shape) * (4 if kind == "F32" else 2)
        planned.append((original_parameter(name), kind, shape, size))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(planned), 1)
    head += text("general.architecture") + struct.pack("<I", 8) + text("krea2")
    end = 0
    for name, kind, shape, size in planned:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), _GGML[kind], end)
        end += size + -size % _ALIGNMENT_BYTES
    file.write(head + b"\0" * (-len(head) % _ALIGNMENT_BYTES))
    for name, kind, _, size in planned:
        file.writelines(_repeated(_values(kind, name), size))
        file.write(b"\0" * (-size % _ALIGNMENT_BYTES))


def _values(kind: str, name: str) -> bytes:
    """Bytes of a number format that repeat in a parameter."""
    if kind == "I8":
        return (torch.randn(_REPEATED) * 32).round().clamp(-127, 127).to(torch.int8).numpy().tobytes()
    if kind == "F32" and name.endswith("weight_scale"):
        return struct.pack("<f", DEVIATION / 32)
    if kind == "Q4_K":
        # Half scale, half minimum, 12 bytes of 6-bit scales and minima, 128 of 4-bit numbers: around zero when the
        # minimum is as long as the middle number. Of even draws of all three the deviation is 258 scales.
        blocks = torch.randint(256, (_REPEATED // 144, 144), dtype=torch.uint8)
        scale = torch.tensor([DEVIATION / 258, 7.5 * DEVIATION / 258], dtype=torch.float16)
        blocks[:, :4] = scale.view(torch.uint8)
        return blocks.numpy().tobytes()
    numbers = DEVIATION * torch.randn(_REPEATED)
    return (numbers if kind == "F32" else numbers.bfloat16().view(torch.int16)).numpy().tobytes()


def _repeated(values: bytes, size: int) -> Iterator[bytes]:
    while size > 0:
        yield values[:size] if size < len(values) else values
        size -= len(values)
