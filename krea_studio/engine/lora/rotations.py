"""Orthogonal fine-tuning: weights turned by small rotations, as LyCORIS writes OFT and BOFT.

Every rotation is a block that Cayley's transform makes of a skew-symmetric matrix. OFT turns blocks of neighbouring
outputs once; BOFT turns, stage after stage, blocks of outputs that are twice as far apart as in the stage before, as in
a butterfly. Knows matrices only.

Definitions: OFT arXiv 2306.07280, BOFT arXiv 2311.06243, LyCORIS 4.1.3 (`functional/diag_oft.py`, `…/boft.py`).
"""

import torch

_MOST_STAGES = 32


def side(blocks: tuple[int, ...]) -> int | None:
    """How many outputs blocks turn, (count, b, b) or (stages, count, b, b); None for blocks of other shapes."""
    if len(blocks) not in (3, 4) or blocks[-1] != blocks[-2] or 0 in blocks or blocks[:-3] > (_MOST_STAGES,):
        return None
    outputs = blocks[-3] * blocks[-1]
    apart = 2 ** blocks[0] * (blocks[-1] // 2) if len(blocks) == 4 else 1
    return outputs if apart and outputs % apart == 0 else None


def turned(
    weight: torch.Tensor, blocks: torch.Tensor, rescale: torch.Tensor | None, bound: torch.Tensor | None
) -> torch.Tensor:
    """A weight (out, in) after all rotations, then each row times `rescale` (out, 1).

    `bound`, times the number of outputs, is the largest norm that the skew-symmetric matrices have together; 0 is none.
    """
    skew = blocks - blocks.transpose(-1, -2)
    most = float(bound) * weight.shape[0] if bound is not None else 0.0
    if most > 0 and (norm := float(skew.norm()) + 1e-8) > most:
        skew = skew * (most / norm)
    one = torch.eye(blocks.shape[-1])
    # (1 + Q)(1 − Q)⁻¹; both sides commute.
    rotations = torch.linalg.solve(one - skew, one + skew)
    if blocks.ndim == 3:
        # LyCORIS multiplies with the transposed block here, and with the block itself in BOFT.
        parts = weight.unflatten(0, (blocks.shape[0], blocks.shape[1]))
        found = (rotations.transpose(-1, -2) @ parts).flatten(0, 1)
    else:
        found = weight
        for stage, turn in enumerate(rotations):
            apart = 2**stage * (blocks.shape[-1] // 2)
            swapped = found.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2)
            swapped = (turn @ swapped.unflatten(0, (-1, blocks.shape[-1]))).flatten(0, 1)
            found = swapped.unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return found if rescale is None else found * rescale.float()
