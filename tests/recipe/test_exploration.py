"""Random mode: recorded, within its limits, and spread out."""

from itertools import combinations
from math import dist
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from krea_studio.recipe.exploration import BLOCK, Exploration
from krea_studio.recipe.request import FULL_SPREAD, SLIDERS
from tests.strategies import seeds, sliders

NEUTRAL = dict.fromkeys(SLIDERS, 0)
explorations = st.builds(
    Exploration,
    seed=seeds,
    number=st.integers(0, 9),
    spread=st.integers(1, FULL_SPREAD),
    locked=st.lists(st.sampled_from(SLIDERS), max_size=3).map(tuple),
    around=st.fixed_dictionaries(dict.fromkeys(SLIDERS, sliders)),
)


@given(explorations)
def test_draws_keep_their_limits_and_repeat(exploration: Exploration) -> None:
    values = exploration.values()
    assert values == exploration.values()
    for slider, value in values.items():
        assert type(value) is int and -100 <= value <= 100
        assert abs(value - exploration.around[slider]) <= exploration.spread
        if slider in exploration.locked:
            assert value == exploration.around[slider]


@given(explorations)
def test_a_lock_changes_nothing_for_the_other_sliders(exploration: Exploration) -> None:
    free = exploration.model_copy(update={"locked": ()}).values()
    for slider, value in exploration.values().items():
        assert slider in exploration.locked or value == free[slider]


def batch(seed: int) -> list[dict[str, int]]:
    return [
        Exploration(seed=seed, number=number, spread=FULL_SPREAD, locked=(), around=NEUTRAL).values()
        for number in range(BLOCK)
    ]


@given(seeds)
def test_four_pictures_lie_in_four_quarters_of_every_slider(seed: int) -> None:
    for slider in SLIDERS:
        drawn = sorted(values[slider] for values in batch(seed))
        for quarter, value in enumerate(drawn):
            assert quarter * 201 // BLOCK <= value + 100 <= (quarter + 1) * 201 // BLOCK


def test_a_batch_is_spread_out_more_than_independent_draws() -> None:
    def nearest(points: list[tuple[int, ...]]) -> float:
        return min(dist(a, b) for a, b in combinations(points, 2))

    together = [nearest([tuple(values.values()) for values in batch(seed)]) for seed in range(200)]
    apart = [nearest([tuple(batch(4 * seed + k)[0].values()) for k in range(BLOCK)]) for seed in range(200)]
    assert mean(together) > 1.3 * mean(apart)
    assert min(together) > 60


def test_every_value_comes_up_over_many_seeds() -> None:
    seen = {values["movement"] for seed in range(1500) for values in batch(seed)}
    assert seen == set(range(-100, 101))


def test_other_seeds_draw_otherwise() -> None:
    assert len({tuple(batch(seed)[0].values()) for seed in range(100)}) > 95
