"""From stored bytes to numbers: every packed format as a function of a layer's rows, in PyTorch, on any device.

All of them are read row by row, so that a few rows tell what a layer is like. float8: values times a scale, one or one
a row. int8: the same; ConvRot rotates groups along a row by a regular Hadamard matrix, which is its own inverse
(comfy-kitchen, `int8_utils.py`). mxfp8 and nvfp4: a scale for each block of a row, stored in cuBLAS's tiles of 128 rows
by 4 blocks. GGUF: blocks of 32 or 256 values with their scales among them (ggml-quants.c).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch

from krea_studio.engine.checkpoints.formats.containers import GGML_TYPES
from krea_studio.engine.checkpoints.formats.layers import (
    BLOCK,
    FLOAT8,
    GGML,
    INT8,
    MXFP8,
    NVFP4,
    PLAIN,
    ROTATED,
    SCALED,
)

_GGML_BYTES = {name: width for name, _, width in GGML_TYPES.values()}
_FLOAT8 = {form: getattr(torch, form) for form in FLOAT8.values()}
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
# The levels of IQ4_NL and IQ4_XS (ggml-common.h, kvalues_iq4nl).
_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def row_parts(form: str, shape: tuple[int, ...], raw: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The stored bytes of a layer of `shape` (rows, columns) in `form` → parts of which every one has a row a row.

    `values` (rows, bytes) uint8; `scale` float32 (rows or 1, 1), or the blocks' own bytes (rows, blocks) uint8;
    `scale_2` float32 (1, 1).
    """
    rows = shape[0]
    parts = {"values": raw["values"].view(rows, -1)}
    if form in BLOCK:
        parts["scale"] = _untiled(raw["scale"], rows, shape[1] // BLOCK[form]).contiguous()
    elif "scale" in raw:
        parts["scale"] = raw["scale"].float().view(-1, 1)
    if "scale_2" in raw:
        parts["scale_2"] = raw["scale_2"].float().view(1, 1)
    return parts


def unpack(form: str, columns: int, group: int, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(rows, columns) float32 from a layer's `row_parts`; `group` is the length of a ConvRot rotation, 0 for none."""
    values = parts["values"]
    if form in GGML:
        return _GGML[form](values.view(len(values), -1, _GGML_BYTES[form])).view(len(values), columns)
    if form == NVFP4:
        levels = torch.tensor([*_E2M1, *(-level for level in _E2M1)], device=values.device)
        numbers = levels[torch.stack([values >> 4, values & 15], -1).int()].view(len(values), -1, BLOCK[form])
        scale = parts["scale"].view(torch.float8_e4m3fn).float() * parts["scale_2"]
        return (numbers * scale[..., None]).view(len(values), columns)
    if form == MXFP8:
        scale = torch.exp2(parts["scale"].float() - 127)
        numbers = values.view(torch.float8_e4m3fn).float().view(len(values), -1, BLOCK[form])
        return (numbers * scale[..., None]).view(len(values), columns)
    if form in (INT8, ROTATED):
        numbers = values.view(torch.int8).float() * parts["scale"]
        if form == INT8:
            return numbers
        return (numbers.view(len(values), -1, group) @ _hadamard(group, values.device)).view(len(values), columns)
    if form in PLAIN.values():
        return values.view(getattr(torch, form)).float()
    numbers = values.view(_FLOAT8[form.removesuffix(SCALED)]).float()
    return numbers * parts["scale"] if "scale" in parts else numbers


def _untiled(tiles: torch.Tensor, rows: int, blocks: int) -> torch.Tensor:
    """Block scales in cuBLAS's order of 128 × 4 tiles, each 32 × 4 × 4 → (rows, blocks)."""
    high, wide = -(-rows // 128), -(-blocks // 4)
    plain = tiles.view(torch.uint8).reshape(high, wide, 32, 4, 4).permute(0, 3, 2, 1, 4)
    return plain.reshape(high * 128, wide * 4)[:rows, :blocks]


@lru_cache(maxsize=16)
def _hadamard(size: int, device: torch.device) -> torch.Tensor:
    """The regular Hadamard matrix of a power of four, orthonormal and symmetric."""
    seed = torch.tensor(
        [[1.0, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], device=device, dtype=torch.float32
    )
    matrix = seed
    while len(matrix) < size:
        matrix = torch.kron(matrix, seed)
    return matrix / size**0.5


def _half(blocks: torch.Tensor, begin: int) -> torch.Tensor:
    """The float16 at a byte of each block, (…, 1) float32."""
    return blocks[..., begin : begin + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: torch.Tensor) -> torch.Tensor:
    """(…, n) bytes → (…, 2n): all low halves, then all high ones."""
    return torch.cat([packed & 15, packed >> 4], -1)


def _bits(packed: torch.Tensor) -> torch.Tensor:
    """(…, 4) bytes → (…, 32): their bits, the lowest of the first byte first."""
    shifts = torch.arange(8, device=packed.device, dtype=torch.uint8)
    return (packed[..., None] >> shifts & 1).flatten(-2)


def _q4_0(blocks: torch.Tensor) -> torch.Tensor:
    return _half(blocks, 0) * (_nibbles(blocks[..., 2:]).float() - 8)


def _q4_1(blocks: torch.Tensor) -> torch.Tensor:
    return _half(blocks, 0) * _nibbles(blocks[..., 4:]).float() + _half(blocks, 2)


def _q5_0(blocks: torch.Tensor) -> torch.Tensor:
    numbers = _nibbles(blocks[..., 6:]) | _bits(blocks[..., 2:6]) << 4
    return _half(blocks, 0) * (numbers.float() - 16)


def _q5_1(blocks: torch.Tensor) -> torch.Tensor:
    numbers = _nibbles(blocks[..., 8:]) | _bits(blocks[..., 4:8]) << 4
    return _half(blocks, 0) * numbers.float() + _half(blocks, 2)


def _q8_0(blocks: torch.Tensor) -> torch.Tensor:
    return _half(blocks, 0) * blocks[..., 2:].contiguous().view(torch.int8).float()


def _iq4_nl(blocks: torch.Tensor) -> torch.Tensor:
    return _half(blocks, 0) * _iq4(_nibbles(blocks[..., 2:]))


def _iq4_xs(blocks: torch.Tensor) -> torch.Tensor:
    """Half scale, 2 bits and 4 bits of each of 8 scales, 8 × 16 bytes of levels."""
    low = blocks[..., 4:8]
    low = torch.stack([low & 15, low >> 4], -1).flatten(-2)
    high = blocks[..., 2:4].contiguous().view(torch.int16).int() & 0xFFFF
    high = high >> (2 * torch.arange(8, device=blocks.device)) & 3
    scale = _half(blocks, 0) * ((low.int() | high << 4).float() - 32)
    numbers = _iq4(_nibbles(blocks[..., 8:].unflatten(-1, (8, 16))))
    return scale[..., None] * numbers


def _iq4(numbers: torch.Tensor) -> torch.Tensor:
    return torch.tensor(_IQ4, device=numbers.device, dtype=torch.float32)[numbers.int()]


def _q2_k(blocks: torch.Tensor) -> torch.Tensor:
    """16 bytes of scale and minimum, 64 of 2-bit numbers, half scale, half minimum; 16 sub-blocks of 16."""
    scale = _half(blocks, 80) * (blocks[..., :16] & 15).float()
    least = _half(blocks, 82) * (blocks[..., :16] >> 4).float()
    numbers = _quarters(blocks[..., 16:80]).unflatten(-1, (16, 16)).float()
    return scale[..., None] * numbers - least[..., None]


def _q3_k(blocks: torch.Tensor) -> torch.Tensor:
    """32 bytes of high bits, 64 of low 2 bits, 12 of 6-bit scales, half scale; 16 sub-blocks of 16."""
    scales = blocks[..., 96:108]
    low = torch.cat([scales[..., :8] & 15, scales[..., :8] >> 4], -1)
    shifts = torch.tensor([0, 2, 4, 6], device=blocks.device, dtype=torch.uint8)
    high = (scales[..., None, 8:] >> shifts[:, None] & 3).flatten(-2)
    scale = _half(blocks, 108) * ((low | high << 4).float() - 32)
    eighth = torch.arange(8, device=blocks.device, dtype=torch.uint8)
    high_bits = (blocks[..., None, :32] >> eighth[:, None] & 1).flatten(-2)
    numbers = _quarters(blocks[..., 32:96]).float() - 4 * (1 - high_bits.float())
    return scale[..., None] * numbers.unflatten(-1, (16, 16))


def _quarters(packed: torch.Tensor) -> torch.Tensor:
    """(…, 64) bytes → (…, 256) numbers of 2 bits: 32 bytes hold four runs of 32, the lowest bits first."""
    shifts = torch.tensor([0, 2, 4, 6], device=packed.device, dtype=torch.uint8)
    return (packed.unflatten(-1, (2, 1, 32)) >> shifts[:, None] & 3).flatten(-3)


def _scales_and_minima(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, 12) bytes of Q4_K and Q5_K → 8 scales and 8 minima of 6 bits."""
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = torch.cat([first & 63, third & 15 | first >> 6 << 4], -1)
    minima = torch.cat([second & 63, third >> 4 | second >> 6 << 4], -1)
    return scales.float(), minima.float()


def _q4_k(blocks: torch.Tensor) -> torch.Tensor:
    """Half scale, half minimum, 12 bytes of scales, 128 of 4-bit numbers; 8 sub-blocks of 32."""
    return _k45(blocks, _nibbles(blocks[..., 16:].unflatten(-1, (4, 32))).unflatten(-1, (2, 32)).flatten(-3, -2))


def _q5_k(blocks: torch.Tensor) -> torch.Tensor:
    """As Q4_K, with 32 bytes of fifth bits before the numbers."""
    numbers = _nibbles(blocks[..., 48:].unflatten(-1, (4, 32))).unflatten(-1, (2, 32)).flatten(-3, -2)
    eighth = torch.arange(8, device=blocks.device, dtype=torch.uint8)
    return _k45(blocks, numbers | (blocks[..., None, 16:48] >> eighth[:, None] & 1) << 4)


def _k45(blocks: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    scales, minima = _scales_and_minima(blocks[..., 4:16])
    scale, least = _half(blocks, 0) * scales, _half(blocks, 2) * minima
    return scale[..., None] * numbers.float() - least[..., None]


def _q6_k(blocks: torch.Tensor) -> torch.Tensor:
    """128 bytes of low 4 bits, 64 of high 2 bits, 16 scales, half scale; 16 sub-blocks of 16."""
    low = _nibbles(blocks[..., :128].unflatten(-1, (2, 64))).flatten(-2)
    numbers = (low | _quarters(blocks[..., 128:192]) << 4).float() - 32
    scale = _half(blocks, 208) * blocks[..., 192:208].contiguous().view(torch.int8).float()
    return scale[..., None] * numbers.unflatten(-1, (16, 16))


_GGML: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "IQ4_NL": _iq4_nl,
    "IQ4_XS": _iq4_xs,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
