"""From what a file has for one layer to two matrices that peft loads: ΔW = up · down, alpha and scales folded in.

LoRA is already that. LoKr is a Kronecker product, whose singular values are the products of its two halves', so it is
never built. DoRA and full differences are matrices of the layer's size; they become two thin ones by their largest
singular values. What had to be left out is told with every result; nothing is left out where the rank allows it.
Knows shapes and values only, no files and no names of layers.

Definitions: LoRA arXiv 2106.09685, DoRA arXiv 2402.09353 (eq. 5), LoKr arXiv 2309.14859 and LyCORIS 4.1.3
(`modules/lokr.py`, `functional/general.py`), musubi-tuner's `networks/lokr.py`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

Shape = tuple[int, ...]

# A rank up to which a change that is no LoRA is kept whole. One of more is cut to the second, because an adapter costs
# time and memory in proportion, or to as much more, up to the first, as leaves out no more than is allowed.
EXACT_RANK = 256
CUT_RANK = 64
# Two matrices may leave out so much of a change that is no LoRA, as a share of its Frobenius norm: a hundredth of its
# energy. On mini-turbo pictures then differ, on average, by the same share of the style's own effect.
MOST_LEFT_OUT = 0.1
# A cut stays below it, because half precision moves norms a little afterwards.
_CUT_SHARE = 0.95 * MOST_LEFT_OUT
# What may be left out of a change that counts as whole, as a share of its Frobenius norm: rounding of 16-bit values.
EXACT_SHARE = 1e-4
MOST_RANK = 1024
# The largest side up to which all singular values are found; beyond, only as many as may be kept and a few more.
_DENSE_SIDE = 1024
_MORE_VALUES, _POWER_STEPS = 8, 2
# Magnitudes and norms that differ by less are equal but for rounding.
_SAME_MAGNITUDE = 1e-4


class Misfit(ValueError):
    """The parts of one layer do not make a change of a matrix; the message says why and is followed by what to do."""


@dataclass(frozen=True)
class Factors:
    """A layer's change, ΔW = up · down: `down` (rank, in), `up` (out, rank).

    `lost` is the Frobenius norm of what a cut left out, 0 where the product is the whole change.
    """

    down: torch.Tensor
    up: torch.Tensor
    lost: float = 0.0

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def norm(self) -> float:
        """The Frobenius norm of the product, from the two Gram matrices, so that it is never built."""
        down, up = self.down.double(), self.up.double()
        return math.sqrt(max(float(((up.T @ up) * (down @ down.T)).sum()), 0.0))

    @property
    def finite(self) -> bool:
        return bool(self.down.isfinite().all() and self.up.isfinite().all())


def shape_of(parts: Mapping[str, Shape]) -> tuple[int, int]:
    """The (out, in) of the change that parts of these shapes make. Raises Misfit where they make none."""
    kind = kind_of(parts)
    for part, shape in parts.items():
        if part not in ("alpha", "magnitude", "bias") and (len(shape) != 2 or 0 in shape):
            raise Misfit(f"{part} is {_by(shape)}, not a matrix")
    if kind == "LoRA":
        down, up = parts["down"], parts["up"]
        if down[0] != up[1]:
            raise Misfit(f"the two sides of its change do not fit each other: {_by(down)} and {_by(up)}")
        if down[0] > MOST_RANK:
            raise Misfit(f"its rank is {down[0]:,}, of at most {MOST_RANK:,}")
        shape = up[0], down[1]
    elif kind == "LoKr":
        first, second = (_half_shape(parts, half) for half in ("w1", "w2"))
        shape = first[0] * second[0], first[1] * second[1]
    else:
        rows, columns = parts["diff"]
        shape = rows, columns
    if "magnitude" in parts and _magnitude_axis(parts["magnitude"], shape) is None:
        raise Misfit(f"its DoRA magnitudes are {_by(parts['magnitude'])} for a layer of {_by(shape)}")
    return shape


def kind_of(parts: Mapping[str, object]) -> str:
    """`LoRA`, `LoKr` or `full difference`. Raises Misfit where sides are missing or two kinds are mixed."""
    found = set(parts) - {"alpha", "magnitude", "bias"}
    if found == {"down", "up"}:
        return "LoRA"
    if found == {"diff"}:
        return "full difference"
    for first in ({"w1"}, {"w1_a", "w1_b"}):
        for second in ({"w2"}, {"w2_a", "w2_b"}):
            if found == first | second:
                return "LoKr"
    raise Misfit(f"the two sides of its change are not both there: it has {' and '.join(sorted(parts))}")


def rank_of(parts: Mapping[str, Shape]) -> int | None:
    """The rank by which alpha is divided; None for a change of whole matrices only."""
    for part, axis in (("down", 0), ("w2_b", 0), ("w1_b", 0)):
        if part in parts:
            return parts[part][axis]
    return None


def scale_of(
    parts: Mapping[str, Shape], alpha: float | None, root: bool = False, whole_rank: int | None = None
) -> float:
    """What the product of the matrices is multiplied with: alpha / rank, or alpha / √rank with `root` (rsLoRA).

    It is 1 where no alpha is stated, and for changes of whole matrices only, except where their trainer divides alpha
    by a `whole_rank` there too.
    """
    rank = rank_of(parts) or whole_rank
    return 1.0 if alpha is None or rank is None else alpha / (math.sqrt(rank) if root else rank)


def factors(parts: Mapping[str, torch.Tensor], scale: float, base: Callable[[], torch.Tensor] | None) -> Factors:
    """The change that the parts of one layer make at weight 1.

    `parts` has the matrices of one kind, and `magnitude` for DoRA, which needs the layer's own weight (out, in) from
    `base`. The parts must fit (`shape_of`) and be finite. Raises Misfit for DoRA without `base`.
    """
    kind = kind_of(parts)
    if kind == "LoRA":
        change = Factors(parts["down"], parts["up"] if scale == 1 else parts["up"].float() * scale)
    elif kind == "LoKr":
        change = _kronecker(parts, scale)
    else:
        change = low_rank(parts["diff"].float())
    if "magnitude" not in parts:
        return change
    if base is None:
        raise Misfit("it is a DoRA, which needs the weights of the checkpoint, and they are not on this machine")
    return _decomposed(change, parts["magnitude"].float(), base().float())


def magnitude_ratios(magnitude: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """The logarithms of DoRA magnitudes over the norms of a layer's weight (out, in), one for each output or input.

    Near 0 for the weights that they were trained on, because training starts from their norms.
    """
    norms = base.float().norm(dim=_magnitude_axis(tuple(magnitude.shape), tuple(base.shape)))
    return (magnitude.float().flatten().abs().clamp_min(1e-12) / norms.clamp_min(1e-12)).log()


def low_rank(matrix: torch.Tensor) -> Factors:
    """Two thin matrices for one (out, in): all of it where its rank is at most EXACT_RANK.

    Otherwise CUT_RANK of it, and more, up to EXACT_RANK, as long as more than MOST_LEFT_OUT would be left out.
    """
    left, values, right, beyond = _singular(matrix)
    kept = _kept(values, beyond)
    root = values[:kept].sqrt()
    down, up = right[:kept] * root[:, None], left[:, :kept] * root
    lost = float((matrix - up @ down).norm())
    return Factors(down.contiguous(), up.contiguous(), lost if lost > EXACT_SHARE * float(matrix.norm()) else 0.0)


def balanced(change: Factors) -> Factors:
    """The same product with both sides equally large, by a power of two, so that no digit is lost and half precision
    holds both; zeros where the product is zero because a side is.
    """
    down, up = (float(side.abs().max()) for side in (change.down, change.up))
    if not (down and up):
        return replace(change, down=torch.zeros_like(change.down), up=torch.zeros_like(change.up))
    shift = 2.0 ** round(math.log2(up / down) / 2)
    return replace(change, down=change.down.float() * shift, up=change.up.float() / shift)


def _kronecker(parts: Mapping[str, torch.Tensor], scale: float) -> Factors:
    """kron(w1, w2) by the singular values of its halves: kron(u₁s₁v₁, u₂s₂v₂) = kron(u₁, u₂) (s₁s₂) kron(v₁, v₂)."""
    (left1, values1, right1), (left2, values2, right2) = (_half(parts, half) for half in ("w1", "w2"))
    products, order = torch.outer(values1, values2).flatten().sort(descending=True)
    kept = _kept(products)
    first, second = order[:kept] // len(values2), order[:kept] % len(values2)
    root = products[:kept].sqrt()
    down = torch.einsum("ki,kj->kij", right1[first], right2[second]).flatten(1) * root[:, None]
    up = torch.einsum("ik,jk->ijk", left1[:, first], left2[:, second]).flatten(0, 1) * (root * scale)
    lost = float(products[kept:].double().square().sum()) ** 0.5
    whole = float(products.double().square().sum()) ** 0.5
    return Factors(down, up, lost * abs(scale) if lost > EXACT_SHARE * whole else 0.0)


def _half(parts: Mapping[str, torch.Tensor], half: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular vectors and values of w1 or w2; of a product of two thin matrices without building it."""
    if half in parts:
        return torch.linalg.svd(parts[half].float(), full_matrices=False)
    left, right = parts[f"{half}_a"].float(), parts[f"{half}_b"].float()
    basis_left, small_left = torch.linalg.qr(left)
    basis_right, small_right = torch.linalg.qr(right.T)
    inner_left, values, inner_right = torch.linalg.svd(small_left @ small_right.T, full_matrices=False)
    return basis_left @ inner_left, values, inner_right @ basis_right.T


def _singular(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """(out, k), (k,), (k, in), largest first, and the norm of what is beyond these k; of a large matrix not all.

    The largest ones by a randomized range with power steps: Halko, Martinsson and Tropp, arXiv 0909.4061, algorithms
    4.4 and 5.1. It draws from a generator of its own: torch's is everybody's, and pictures are drawn with it meanwhile.
    """
    if min(matrix.shape) <= _DENSE_SIDE:
        return *torch.linalg.svd(matrix, full_matrices=False), 0.0
    draw = torch.Generator().manual_seed(0)
    basis = matrix @ torch.randn(matrix.shape[1], EXACT_RANK + _MORE_VALUES, generator=draw)
    for _ in range(_POWER_STEPS):
        basis = matrix @ torch.linalg.qr(matrix.T @ torch.linalg.qr(basis).Q).Q
    basis = torch.linalg.qr(basis).Q
    inside = basis.T @ matrix
    left, values, right = torch.linalg.svd(inside, full_matrices=False)
    return basis @ left, values, right, float((matrix - basis @ inside).norm())


def _kept(values: torch.Tensor, beyond: float = 0.0) -> int:
    """How many of these singular values, largest first, are kept; at least one. Others have the norm `beyond`."""
    squares = values.double().square()
    whole = squares.sum() + beyond**2
    rest = (whole - squares.cumsum(0)).clamp_min(0).sqrt() / whole.clamp_min(1e-300).sqrt()
    enough = int((rest > EXACT_SHARE).sum()) + 1
    if enough > EXACT_RANK:
        enough = max(CUT_RANK, min(int((rest > _CUT_SHARE).sum()) + 1, EXACT_RANK))
    return min(enough, len(values))


def _decomposed(change: Factors, magnitude: torch.Tensor, base: torch.Tensor) -> Factors:
    """DoRA at weight 1: ΔW = m · (W + ΔV) / ‖W + ΔV‖ − W, the norm of each row, or of each column where m is a row."""
    axis = _magnitude_axis(tuple(magnitude.shape), tuple(base.shape))
    merged = base + change.up.float() @ change.down.float()
    norms = merged.norm(dim=axis, keepdim=True)
    scale = magnitude.reshape(norms.shape) / norms.clamp_min(1e-12)
    if float((scale - 1).abs().max()) <= _SAME_MAGNITUDE:
        return change
    bent = low_rank(merged * scale - base)
    return replace(bent, lost=math.hypot(bent.lost, change.lost))


def _magnitude_axis(magnitude: Shape, layer: Shape) -> int | None:
    """The axis over which norms were taken: 1 for a magnitude for each output, 0 for each input; None for neither."""
    if magnitude in ((layer[0],), (layer[0], 1)):
        return 1
    return 0 if magnitude == (1, layer[1]) else None


def _half_shape(parts: Mapping[str, Shape], half: str) -> Shape:
    if half in parts:
        return parts[half]
    left, right = parts[f"{half}_a"], parts[f"{half}_b"]
    if left[1] != right[0]:
        raise Misfit(f"the two sides of {half} do not fit each other: {_by(left)} and {_by(right)}")
    if right[0] > MOST_RANK:
        raise Misfit(f"its rank is {right[0]:,}, of at most {MOST_RANK:,}")
    return left[0], right[1]


def _by(shape: Shape) -> str:
    return " × ".join(f"{side:,}" for side in shape) or "a single number"
