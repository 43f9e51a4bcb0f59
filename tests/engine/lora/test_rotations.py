"""Rotations of weights, beside plain matrices that say the same."""

import pytest
import torch

from krea_studio.engine.lora.rotations import side, turned


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def cayley(block: torch.Tensor) -> torch.Tensor:
    skew, one = block - block.T, torch.eye(block.shape[0])
    return (one + skew) @ torch.linalg.inv(one - skew)


def test_oft_turns_blocks_of_neighbouring_outputs() -> None:
    weight, blocks = drawn(12, 5), drawn(3, 4, 4, seed=1)
    wanted = torch.block_diag(*(cayley(block).T for block in blocks)) @ weight
    assert torch.allclose(turned(weight, blocks, None, None), wanted, atol=1e-6)
    scales = 1 + drawn(12, 1, seed=2)
    assert torch.allclose(turned(weight, blocks, scales, torch.tensor(0.0)), wanted * scales, atol=1e-6)


def test_boft_turns_blocks_that_are_ever_farther_apart() -> None:
    weight, blocks = drawn(8, 5), drawn(2, 2, 4, 4, seed=1)
    found = weight
    for places, stage in zip(([0, 2, 1, 3, 4, 6, 5, 7], [0, 4, 1, 5, 2, 6, 3, 7]), blocks, strict=True):
        swap = torch.eye(8)[places]
        found = swap.T @ torch.block_diag(*map(cayley, stage)) @ swap @ found
    assert torch.allclose(turned(weight, blocks, None, None), found, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 8, 8)])
def test_a_rotation_keeps_the_length_of_every_column(shape: tuple[int, ...]) -> None:
    outputs = side(shape)
    assert outputs is not None
    weight = drawn(outputs, 5)
    assert torch.allclose(turned(weight, drawn(*shape, seed=1), None, None).norm(dim=0), weight.norm(dim=0), atol=1e-5)
    assert torch.allclose(turned(weight, torch.zeros(shape), None, None), weight, atol=1e-6)


def test_a_bound_holds_the_rotations_back() -> None:
    weight, blocks = drawn(12, 5), drawn(3, 4, 4, seed=1)
    small = 12 * 1e-3 / float((blocks - blocks.transpose(1, 2)).norm())
    bounded = turned(weight, blocks, None, torch.tensor(1e-3))
    assert torch.allclose(bounded, turned(weight, blocks * small, None, None), atol=1e-6)
    assert torch.allclose(turned(weight, blocks, None, torch.tensor(9.0)), turned(weight, blocks, None, None))


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [
        ((3, 4, 4), 12), ((2, 2, 4, 4), 8), ((2, 6, 4, 4), 24), ((3, 4, 5), None), ((4, 4), None), ((0, 4, 4), None),
        ((3, 2, 4, 4), None), ((2, 2, 1, 1), None), ((2**40, 2, 4, 4), None),
    ],
)  # fmt: skip
def test_how_many_outputs_blocks_turn(shape: tuple[int, ...], outputs: int | None) -> None:
    assert side(shape) == outputs
