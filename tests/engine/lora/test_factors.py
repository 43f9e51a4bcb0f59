"""The arithmetic of formats: every kind of change becomes the same matrix in two thin ones, or says what it lost."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from krea_studio.engine.lora.factors import (
    CUT_RANK,
    EXACT_RANK,
    MOST_LEFT_OUT,
    MOST_RANK,
    Factors,
    Misfit,
    balanced,
    factors,
    kind_of,
    low_rank,
    magnitude_ratios,
    scale_of,
    shape_of,
)

SIDES = st.integers(1, 12)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def product(change: Factors) -> torch.Tensor:
    return change.up.double() @ change.down.double()


def near(change: Factors, wanted: torch.Tensor, share: float = 2e-4) -> bool:
    return bool((product(change) - wanted).norm() <= share * wanted.norm() + 1e-12)


@given(SIDES, SIDES, SIDES, SIDES, SIDES, SIDES, st.sampled_from(["", "1", "2", "12"]), st.floats(-3, 3))
def test_a_kronecker_product_is_what_its_definition_says(
    a: int, b: int, c: int, d: int, first: int, second: int, factored: str, scale: float
) -> None:
    w1_a, w1_b, w2_a, w2_b = drawn(a, first), drawn(first, b), drawn(c, second, seed=1), drawn(second, d, seed=1)
    parts = {"w1_a": w1_a, "w1_b": w1_b} if "1" in factored else {"w1": w1_a @ w1_b}
    parts |= {"w2_a": w2_a, "w2_b": w2_b} if "2" in factored else {"w2": w2_a @ w2_b}
    assert shape_of({part: tuple(tensor.shape) for part, tensor in parts.items()}) == (a * c, b * d)
    change = factors(parts, scale, None)
    wanted = scale * torch.kron((w1_a @ w1_b).double(), (w2_a @ w2_b).double())
    assert near(change, wanted) and change.lost == 0
    assert change.rank <= min(a, b, first) * min(c, d, second)
    assert math.isclose(change.norm, float(wanted.norm()), rel_tol=1e-3, abs_tol=1e-9)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_matrix_of_low_rank_is_kept_whole(out: int, width: int, rank: int) -> None:
    matrix = drawn(out, rank) @ drawn(rank, width, seed=1)
    change = low_rank(matrix)
    assert near(change, matrix.double()) and change.rank <= min(out, width, rank) and change.lost == 0


def falling(out: int, width: int, by: float) -> torch.Tensor:
    """A matrix of full rank whose singular values fall by this factor from one to the next."""
    left, right = (torch.linalg.qr(drawn(side, min(out, width), seed=side)).Q for side in (out, width))
    return left * by ** torch.arange(min(out, width)) @ right.T


def test_a_rank_that_is_too_high_is_cut_and_what_is_lost_is_told() -> None:
    matrix = falling(EXACT_RANK + 50, EXACT_RANK + 40, 0.9) + drawn(EXACT_RANK + 50, EXACT_RANK + 40) * 5e-4
    change = low_rank(matrix)
    assert change.rank == CUT_RANK and change.lost < MOST_LEFT_OUT * matrix.norm()
    assert change.lost == pytest.approx(float((matrix - product(change)).norm()), rel=1e-4)
    values = torch.linalg.svdvals(matrix)
    assert change.lost == pytest.approx(float(values[CUT_RANK:].norm()), rel=1e-3)


@pytest.mark.parametrize("side", [300, 1100])
def test_a_cut_goes_no_further_than_what_may_be_left_out(side: int) -> None:
    """Where rank 64 would leave out more, the rank grows, up to as much as is kept whole; more is lost only there."""
    matrix = falling(side, side + 10, 0.98)
    change = low_rank(matrix)
    assert CUT_RANK < change.rank < EXACT_RANK
    assert 0.09 < change.lost / matrix.norm() < MOST_LEFT_OUT
    assert low_rank(drawn(2 * side, 2 * side)).rank == EXACT_RANK
    halves = {"w1": drawn(20, 20), "w2": drawn(30, 30, seed=1)}
    cut = factors(halves, -2.0, None)
    wanted = -2 * torch.kron(halves["w1"], halves["w2"])
    assert CUT_RANK < cut.rank <= EXACT_RANK
    assert cut.lost == pytest.approx(float((wanted - product(cut)).norm()), rel=1e-3)


def test_a_large_matrix_is_cut_the_same_way_every_time_and_nobody_s_randomness_is_touched() -> None:
    exact = drawn(1100, 200) @ drawn(200, 1200, seed=1)
    noisy = drawn(1100, 8) @ drawn(8, 1200, seed=1) + drawn(1100, 1200, seed=2) * 0.003
    first, second = low_rank(noisy), low_rank(noisy)
    assert (first.up == second.up).all()
    assert first.rank == CUT_RANK and 0 < first.lost == pytest.approx(float((noisy - product(first)).norm()), rel=1e-3)
    whole = low_rank(exact)
    assert whole.rank == 200 and whole.lost == 0 and near(whole, exact.double())


def test_seeded_draws_beside_an_import_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import runs in a thread of its own: not even for a moment may torch's generator be another."""
    state, qr = torch.random.get_rng_state(), torch.linalg.qr

    def beside(matrix: torch.Tensor) -> object:
        assert (torch.random.get_rng_state() == state).all()
        return qr(matrix)

    monkeypatch.setattr("torch.linalg.qr", beside)
    low_rank(drawn(1030, 1030))
    assert (torch.random.get_rng_state() == state).all()


class TestDoRA:
    """Against peft's own DoRA, and against the definition where peft has none (magnitudes of inputs)."""

    def test_it_gives_what_peft_gives(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(24, 40, bias=False))
        weight = model[0].weight.detach().clone()
        bent = get_peft_model(model, LoraConfig(r=3, lora_alpha=6, target_modules=["0"], use_dora=True))
        layer = bent.base_model.model[0]
        with torch.no_grad():
            layer.lora_B["default"].weight.copy_(drawn(40, 3))
            magnitude = layer.lora_magnitude_vector["default"].weight
            magnitude.mul_(1 + 0.3 * drawn(40))
        parts = {
            "down": layer.lora_A["default"].weight.detach(),
            "up": layer.lora_B["default"].weight.detach(),
            "magnitude": magnitude.detach(),
        }
        change = factors(parts, 2.0, lambda: weight)
        with torch.no_grad():
            wanted = bent(torch.eye(24)).T - weight
        assert near(change, wanted.double()) and change.lost == 0

    @pytest.mark.parametrize("axis", [0, 1])
    def test_magnitudes_of_outputs_and_of_inputs(self, axis: int) -> None:
        weight, down, up = drawn(20, 30), drawn(2, 30, seed=1), drawn(20, 2, seed=2)
        merged = weight + 0.5 * up @ down
        norms = merged.norm(dim=axis, keepdim=True)
        magnitude = norms * (1 + 0.2 * drawn(*norms.shape, seed=3))
        change = factors({"down": down, "up": up, "magnitude": magnitude}, 0.5, lambda: weight)
        assert near(change, (magnitude * merged / norms - weight).double())

    def test_magnitudes_that_are_the_norms_change_nothing_of_the_lora(self) -> None:
        weight, down, up = drawn(20, 20), drawn(2, 20, seed=1), drawn(20, 2, seed=2)
        magnitude = (weight + up @ down).norm(dim=1)
        change = factors({"down": down, "up": up, "magnitude": magnitude}, 1.0, lambda: weight)
        assert (change.down == down).all() and (change.up == up).all()

    def test_the_weights_that_it_was_trained_on_are_the_nearest(self) -> None:
        weight, other = drawn(20, 30), drawn(20, 30, seed=1)
        magnitude = weight.norm(dim=1, keepdim=True) * 1.5
        assert magnitude_ratios(magnitude, weight).allclose(torch.tensor(1.5).log(), atol=1e-5)
        assert magnitude_ratios(magnitude, other).std() > 0.1
        assert magnitude_ratios(weight.norm(dim=0, keepdim=True), weight).abs().max() < 1e-5

    def test_without_weights_it_is_refused(self) -> None:
        parts = {"down": drawn(2, 4), "up": drawn(4, 2), "magnitude": drawn(4)}
        with pytest.raises(Misfit, match="needs the weights"):
            factors(parts, 1.0, None)


@given(st.integers(-40, 40), st.integers(-40, 40))
def test_balancing_loses_no_digit_and_makes_room_for_half_precision(down: int, up: int) -> None:
    change = Factors(drawn(3, 8) * 2.0**down, drawn(5, 3, seed=1) * 2.0**up)
    even = balanced(change)
    assert (product(even) == product(change)).all()
    assert 0.25 <= float(even.down.abs().max() / even.up.abs().max()) <= 4


def test_scales() -> None:
    lora, whole, halves = {"down": (4, 8), "up": (8, 4)}, {"w1": (2, 2), "w2": (4, 4)}, {"w1": (2, 2), "w2_b": (4, 4)}
    assert [scale_of(parts, None) for parts in (lora, whole, halves)] == [1, 1, 1]
    assert [scale_of(parts, 2.0) for parts in (lora, whole, halves)] == [0.5, 1, 0.5]
    assert scale_of(lora, 2.0, root=True) == 1
    assert scale_of(whole, 2.0, whole_rank=8) == 0.25


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"down": (4, 8)}, "not both there: it has down"),
        ({"down": (4, 8), "up": (8, 5)}, "do not fit each other: 4 × 8 and 8 × 5"),
        ({"down": (4, 8), "up": (8, 4), "diff": (8, 8)}, "not both there"),
        ({"down": (4, 8), "w2": (8, 4)}, "not both there"),
        ({"w1": (2, 2), "w2_a": (2, 2)}, "not both there"),
        ({"w1": (2, 2), "w2_a": (8, 3), "w2_b": (2, 8)}, "two sides of w2"),
        ({"down": (0, 8), "up": (8, 0)}, "not a matrix"),
        ({"down": (4, 8, 3, 3), "up": (8, 4, 1, 1)}, "down is 4 × 8 × 3 × 3, not a matrix"),
        ({"diff": (8,)}, "not a matrix"),
        ({"down": (100_000, 8), "up": (8, 100_000)}, f"rank is 100,000, of at most {MOST_RANK:,}"),
        ({"w1": (2, 2), "w2_a": (8, 9999), "w2_b": (9999, 8)}, "rank is 9,999"),
        ({"down": (4, 8), "up": (9, 4), "magnitude": (8,)}, "magnitudes are 8 for a layer of 9 × 8"),
    ],
)
def test_parts_that_make_no_change_of_a_matrix(parts: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(Misfit, match=words):
        shape_of(parts)


def test_kinds() -> None:
    assert kind_of({"down": 0, "up": 0, "alpha": 0, "magnitude": 0}) == "LoRA"
    assert kind_of({"w1_a": 0, "w1_b": 0, "w2": 0}) == "LoKr"
    assert kind_of({"diff": 0, "bias": 0}) == "full difference"
