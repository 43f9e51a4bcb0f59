"""The report on starts compares every target with the checkout of its own round."""

from krea_studio.measures.spaces import CHECKOUT, Started, table


def start(target: str, answer: float, picture: float) -> Started:
    return Started(target, 3, 48.6, answer, picture)


def test_ratios_are_of_one_round_and_medians_of_all() -> None:
    rounds = [
        {CHECKOUT: start(CHECKOUT, base, 2 * base), "team": start("team", ratio * base, 4 * base)}
        for base, ratio in ((10, 1.1), (20, 1.5), (40, 1.0))
    ]
    *_, checkout, team = table(rounds)
    assert checkout == "| make run |  |  | 20.0 s | 40.0 s | 1.00 × | 1.00 × |"
    assert team == "| team | 3 | 49 MB | 30.0 s | 80.0 s | 1.10 × | 2.00 × |"
