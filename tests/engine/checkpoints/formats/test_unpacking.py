"""Every packed format against numbers that others computed, or against what was packed."""

import numpy as np
import pytest
import torch

from krea_studio.engine.checkpoints.formats.containers import GGML_TYPES
from krea_studio.engine.checkpoints.formats.layers import GGML
from krea_studio.engine.checkpoints.formats.unpacking import row_parts, unpack
from tests.model_files import rotation

# Of a block whose byte k is 37 k + 11, with float16 0.02 and 0.04 at these places, by gguf 0.19: its first value, the
# one five after its middle, its last, and the sum of all, each times its place.
GGUF = {
    "Q4_0": ([0], -0.0600128, -0.160034, 0, -10.3622),
    "Q4_1": ([0, 2], 0.340073, 0.14003, 0.28006, 100.802),
    "Q5_0": ([0], 0.180038, -0.120026, 0.0200043, 2.24048),
    "Q5_1": ([0, 2], 0.42009, 0.640137, 0.14003, 179.178),
    "Q8_0": ([0], 1.70036, 1.8804, -0.960205, -161.635),
    "IQ4_NL": ([0], -0.70015, -2.54054, 0.0200043, -138.41),
    "IQ4_XS": ([0], 1.30028, 9.54204, -0.320068, -41831.6),
    "Q2_K": ([80, 82], 0.660141, -0.120026, 0, -2078.88),
    "Q3_K": ([108], 1.62035, 0.160034, 0.840179, 3543.66),
    "Q4_K": ([0, 2], 4.78102, 2.64056, -0.0800171, 122940),
    "Q5_K": ([0, 2], 14.7031, 15.1232, 1.12024, 292069),
    "Q6_K": ([208], -28.6261, 7.28156, -1.20026, 15691.8),
}


@pytest.mark.parametrize("kind", sorted(GGML))
def test_ggml_blocks_are_read_as_ggml_does(kind: str) -> None:
    count, width = next((count, width) for name, count, width in GGML_TYPES.values() if name == kind)
    halves, *expected = GGUF[kind]
    block = (np.arange(width) * 37 + 11).astype(np.uint8)
    for number, place in enumerate(halves, start=1):
        block[place : place + 2] = np.array([0.02 * number], np.float16).view(np.uint8)
    raw = {"values": torch.from_numpy(np.tile(block, 6))}
    numbers = unpack(kind, 2 * count, 0, row_parts(kind, (3, 2 * count), raw))
    assert numbers.shape == (3, 2 * count) and (numbers[0, :count] == numbers[2, count:]).all()
    one = numbers[0, :count].double()
    found = [one[0], one[count // 2 + 5], one[-1], (one * torch.arange(1, count + 1)).sum()]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("group", [4, 16, 64, 256])
def test_the_rotation_is_its_own_inverse_and_the_published_one(group: int) -> None:
    identity = torch.eye(group)
    parts = {"values": (identity * 100).to(torch.int8).view(torch.uint8), "scale": torch.full((group, 1), 0.01)}
    assert torch.allclose(unpack("int8 convrot", group, group, parts), rotation(group), atol=1e-6)
    assert torch.allclose(rotation(group) @ rotation(group), identity, atol=1e-6)


def test_scales_in_tiles_go_to_their_blocks() -> None:
    """By the place of single numbers in cuBLAS's tiles: row 33, block 2 is the 38th byte of row 1's sixteen."""
    tiles = torch.full((2, 512), 127, dtype=torch.uint8)
    tiles[0, 1 * 16 + 1 * 4 + 2] = 130
    raw = {"values": torch.ones(200, 128).to(torch.float8_e4m3fn).view(torch.uint8).flatten(), "scale": tiles.flatten()}
    numbers = unpack("mxfp8", 128, 0, row_parts("mxfp8", (200, 128), raw))
    assert (numbers[33, 64:96] == 8).all() and numbers.sum() == 200 * 128 + 32 * 7
