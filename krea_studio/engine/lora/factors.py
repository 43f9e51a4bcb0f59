"""From what a file has for one layer to two matrices that peft loads: ΔW = up · down, alpha and scales folded in.

LoRA is already that, and so is GLoRA once it is worked out with the layer's weights. LoKr is a Kronecker product, whose
singular values are the products of its two halves', so it is never built. DoRA, LoHa, rotations and full differences
are matrices of the layer's size; they become two thin ones by their largest singular values. What had to be left out is
told with every result; nothing is left out where the rank allows it. A change of fused layers is one matrix, of which
each layer has some rows. Knows shapes and values only, no files and no names of layers.

Definitions: LoRA arXiv 2106.09685, DoRA arXiv 2402.09353 (eq. 5), LoKr and LoHa arXiv 2309.14859, GLoRA arXiv
2306.07967, all in LyCORIS 4.1.3 (`modules/`, `functional/`); musubi-tuner's `networks/lokr.py`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from krea_studio.engine.lora import rotations

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
# Parts that are no matrices of a change, and the matrices of each kind.
_NO_MATRICES = ("alpha", "magnitude", "bias", "rescale")
KINDS = (
    ("LoRA", {"down", "up"}),
    ("full difference", {"diff"}),
    *(("LoKr", first | second) for first in ({"w1"}, {"w1_a", "w1_b"}) for second in ({"w2"}, {"w2_a", "w2_b"})),
    ("LoHa", {"h1_a", "h1_b", "h2_a", "h2_b"}),
    ("GLoRA", {"a1", "a2", "b1", "b2"}),
    ("OFT or BOFT", {"rotations"}),
)
# The largest side up to which all singular values are found; beyond, only as many as may be kept and a few more.
_DENSE_SIDE = 1024
_MORE_VALUES, _POWER_STEPS = 8, 2
# Magnitudes and norms that differ by less are equal but for rounding.
_SAME_MAGNITUDE = 1e-4
WHOLE = slice(None)
"""All rows of a matrix."""


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


def shape_of(parts: Mapping[str, Shape]) -> tuple[int, int | None]:
    """The (out, in) of the change that parts of these shapes make; no `in` where they fit any.

    Raises Misfit where they make none.
    """
    kind = kind_of(parts)
    for part, sides in parts.items():
        if part not in (*_NO_MATRICES, "rotations") and (len(sides) != 2 or 0 in sides):
            raise Misfit(f"{part} is {_by(sides)}, not a matrix")
    shape = _turned_shape(parts) if kind == "OFT or BOFT" else _shape(kind, parts)
    if "magnitude" in parts and _magnitude_axis(parts["magnitude"], shape) is None:
        raise Misfit(f"its DoRA magnitudes are {_by(parts['magnitude'])} for a layer of {_by(shape)}")
    return shape


def kind_of(parts: Mapping[str, object]) -> str:
    """`LoRA`, `LoKr`, `LoHa`, `GLoRA`, `OFT or BOFT` or `full difference`.

    Raises Misfit where sides are missing or two kinds are mixed.
    """
    found = set(parts) - set(_NO_MATRICES)
    for kind, sides in KINDS:
        if found == sides:
            return kind
    if not found and "bias" in parts:
        raise Misfit("it changes the layer's bias alone, which a LoRA cannot")
    raise Misfit(f"the two sides of its change are not both there: it has {' and '.join(sorted(parts))}")


def needs_weights(parts: Mapping[str, object]) -> bool:
    """Whether the change is only known with the weights that it changes."""
    return "magnitude" in parts or kind_of(parts) in ("GLoRA", "OFT or BOFT")


def rank_of(parts: Mapping[str, Shape]) -> int | None:
    """The rank by which alpha is divided; None for a change of whole matrices only."""
    for part, axis in (("down", 0), ("w2_b", 0), ("w1_b", 0), ("h1_b", 0), ("b2", 0)):
        if part in parts:
            return parts[part][axis]
    return None


def scale_of(
    parts: Mapping[str, Shape], alpha: float | None, root: bool = False, whole_rank: float | None = None
) -> float:
    """What the product of the matrices is multiplied with: alpha / rank, or alpha / √rank with `root` (rsLoRA).

    It is 1 where no alpha is stated, and for changes of whole matrices only, except where their trainer divides alpha
    by a `whole_rank` there too.
    """
    rank = rank_of(parts) or whole_rank
    return 1.0 if alpha is None or rank is None else alpha / (math.sqrt(rank) if root else rank)


def factors(
    parts: Mapping[str, torch.Tensor],
    scale: float,
    base: Callable[[], torch.Tensor] | None,
    rows: slice = WHOLE,
    begun: Factors | None = None,
) -> Factors:
    """The change that the parts of one layer make at weight 1, or these `rows` of it.

    `parts` has the matrices of one kind, `magnitude` for DoRA, `rescale` and `alpha` (a bound of the rotations) for
    OFT. What `needs_weights` gets the whole weight (out, in) from `base`. `begun` is what the change was when training
    began, where that was taken off the weights. The parts must fit (`shape_of`) and be finite. Raises Misfit where
    `base` is needed and there is none.
    """
    kind = kind_of(parts)
    if base is None and needs_weights(parts):
        raise Misfit(f"it is a {kind}, which needs the weights of the checkpoint, and they are not on this machine")
    weight = base().float() if base is not None and needs_weights(parts) else torch.empty(0)
    kept = WHOLE if "magnitude" in parts else rows
    if kind == "LoRA":
        up = parts["up"][kept]
        change = Factors(parts["down"], up if scale == 1 else up.float() * scale)
    elif kind == "LoKr":
        change = _kronecker(parts, scale, kept)
    elif kind == "LoHa":
        change = _hadamard(parts, scale, kept)
    elif kind == "GLoRA":
        a1, a2, b1, b2 = (parts[part].float() for part in ("a1", "a2", "b1", "b2"))
        change = Factors(torch.cat([a2, b2]), scale * torch.cat([weight[kept] @ a1, b1[kept]], 1))
    elif kind == "full difference":
        change = low_rank(parts["diff"][kept].float())
    else:
        turned = rotations.turned(weight, parts["rotations"].float(), parts.get("rescale"), parts.get("alpha"))
        change = low_rank((turned - weight)[kept])
    if begun is not None:
        change = _difference(change, replace(begun, up=begun.up[kept]))
    if "magnitude" not in parts:
        return change
    return _decomposed(change, parts["magnitude"].float(), weight, rows)


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


def _kronecker(parts: Mapping[str, torch.Tensor], scale: float, rows: slice) -> Factors:
    """kron(w1, w2) by the singular values of its halves: kron(u₁s₁v₁, u₂s₂v₂) = kron(u₁, u₂) (s₁s₂) kron(v₁, v₂).

    Of `rows` the norm of what a cut left out is the root of what the rows' squares have lost: what is kept and what is
    left out of a row are orthogonal.
    """
    (left1, values1, right1), (left2, values2, right2) = (_half(parts, half) for half in ("w1", "w2"))
    products, order = torch.outer(values1, values2).flatten().sort(descending=True)
    kept = _kept(products)
    first, second = order[:kept] // len(values2), order[:kept] % len(values2)
    root = products[:kept].sqrt()
    down = torch.einsum("ki,kj->kij", right1[first], right2[second]).flatten(1) * root[:, None]
    up = torch.einsum("ik,jk->ijk", left1[:, first], left2[:, second]).flatten(0, 1)[rows] * root
    lost = float(products[kept:].double().square().sum()) ** 0.5
    whole = float(products.double().square().sum()) ** 0.5
    if lost <= EXACT_SHARE * whole:
        return Factors(down, up * scale)
    squares = [((left * values).double() ** 2).sum(1) for left, values in ((left1, values1), (left2, values2))]
    beyond = float(torch.outer(*squares).flatten()[rows].sum() - (up * root).double().square().sum())
    return Factors(down, up * scale, math.sqrt(max(beyond, 0.0)) * abs(scale))


def _half(parts: Mapping[str, torch.Tensor], half: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular vectors and values of w1 or w2."""
    if half in parts:
        return torch.linalg.svd(parts[half].float(), full_matrices=False)
    return _singular_of_product(parts[f"{half}_a"].float(), parts[f"{half}_b"].float())


def _hadamard(parts: Mapping[str, torch.Tensor], scale: float, rows: slice) -> Factors:
    """LoHa: two products, value by value times each other; the rank is at most the ranks' product."""
    left1, left2 = (parts[f"h{k}_a"][rows].float() for k in (1, 2))
    right1, right2 = (parts[f"h{k}_b"].float() for k in (1, 2))
    if left1.shape[1] * left2.shape[1] > EXACT_RANK:
        return low_rank(scale * (left1 @ right1) * (left2 @ right2))
    up = torch.einsum("or,os->ors", left1, left2).flatten(1) * scale
    return Factors(torch.einsum("ri,si->rsi", right1, right2).flatten(0, 1), up)


def _difference(change: Factors, begun: Factors) -> Factors:
    """One change less another, without what is in both, which is nearly all of them: half precision would not tell
    their difference from rounding.
    """
    up = torch.cat([change.up.double(), -begun.up.double()], 1)
    down = torch.cat([change.down.double(), begun.down.double()])
    left, values, right = _singular_of_product(up, down)
    return Factors((right * values.sqrt()[:, None]).float(), (left * values.sqrt()).float())


def _singular_of_product(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular vectors and values of the product of two thin matrices, without building it."""
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


def _decomposed(change: Factors, magnitude: torch.Tensor, base: torch.Tensor, rows: slice) -> Factors:
    """DoRA at weight 1, of `rows`: ΔW = m · (W + ΔV) / ‖W + ΔV‖ − W, the norm of each row, or of each column where m is
    a row.
    """
    axis = _magnitude_axis(tuple(magnitude.shape), tuple(base.shape))
    merged = base + change.up.float() @ change.down.float()
    norms = merged.norm(dim=axis, keepdim=True)
    scale = magnitude.reshape(norms.shape) / norms.clamp_min(1e-12)
    if float((scale - 1).abs().max()) <= _SAME_MAGNITUDE:
        return replace(change, up=change.up[rows])
    bent = low_rank((merged * scale - base)[rows])
    return replace(bent, lost=math.hypot(bent.lost, change.lost))


def _shape(kind: str, parts: Mapping[str, Shape]) -> tuple[int, int]:
    """The (out, in) of a change that its own matrices make."""
    if kind == "full difference":
        rows, columns = parts["diff"]
        return rows, columns
    if kind == "LoKr":
        first, second = (_half_shape(parts, half) for half in ("w1", "w2"))
        return first[0] * second[0], first[1] * second[1]
    if kind == "LoHa":
        shape, other = (_product_shape(parts, f"h{k}_a", f"h{k}_b", f"product {k}") for k in (1, 2))
        if shape != other:
            raise Misfit(f"its two products do not fit each other: {_by(shape)} and {_by(other)}")
        return shape
    if kind == "GLoRA":
        shape, inner = _product_shape(parts, "b1", "b2", "its change"), _product_shape(parts, "a1", "a2", "its factor")
        if inner != (shape[1], shape[1]):
            raise Misfit(f"its factor for the weights is {_by(inner)} for a layer of {_by(shape)}")
        return shape
    return _product_shape(parts, "up", "down", "its change")


def _turned_shape(parts: Mapping[str, Shape]) -> tuple[int, None]:
    if (rows := rotations.side(parts["rotations"])) is None:
        raise Misfit(f"its rotations are {_by(parts['rotations'])}, not blocks that are square")
    if "rescale" in parts and parts["rescale"] != (rows, 1):
        raise Misfit(f"its scales are {_by(parts['rescale'])} for a layer of {rows:,} outputs")
    return rows, None


def _product_shape(parts: Mapping[str, Shape], left: str, right: str, what: str) -> tuple[int, int]:
    """The shape of left · right. Raises Misfit where they do not fit each other."""
    first, second = parts[left], parts[right]
    if first[1] != second[0]:
        raise Misfit(f"the two sides of {what} do not fit each other: {_by(second)} and {_by(first)}")
    if second[0] > MOST_RANK:
        raise Misfit(f"its rank is {second[0]:,}, of at most {MOST_RANK:,}")
    return first[0], second[1]


def _magnitude_axis(magnitude: Shape, layer: tuple[int, int | None]) -> int | None:
    """The axis over which norms were taken: 1 for a magnitude for each output, 0 for each input; None for neither."""
    if magnitude in ((layer[0],), (layer[0], 1)):
        return 1
    return 0 if magnitude == (1, layer[1]) else None


def _half_shape(parts: Mapping[str, Shape], half: str) -> tuple[int, int]:
    if half not in parts:
        return _product_shape(parts, f"{half}_a", f"{half}_b", half)
    rows, columns = parts[half]
    return rows, columns


def _by(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if side is None else f"{side:,}" for side in shape) or "a single number"
