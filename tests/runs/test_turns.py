"""Owners take turns, and what is foretold of them is what happens."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from krea_studio.runs.turns import Waiting, next_turn, order


@st.composite
def lines(draw: st.DrawFn) -> tuple[list[Waiting], dict[str, int]]:
    """Runs of a few owners, in any order, and when some of them had their latest turn."""
    owners = st.sampled_from("abcd")
    runs = draw(st.lists(st.tuples(owners, st.integers(1, 4)), max_size=8))
    waiting = [Waiting(f"run {k}", owner, k, pictures) for k, (owner, pictures) in enumerate(runs)]
    turns = draw(st.lists(owners, unique=True))
    return draw(st.permutations(waiting)), {owner: 3 * number for number, owner in enumerate(turns, start=1)}


def played(waiting: Iterable[Waiting], served: dict[str, int]) -> list[str]:
    """Turn after turn as they are taken: the runs that had them."""
    left, served, turns = list(waiting), dict(served), []
    while (following := next_turn(left, served)) is not None:
        turns.append(following.run)
        served[following.owner] = max(served.values(), default=0) + 1
        left.remove(following)
        if following.pictures > 1:
            left.append(Waiting(following.run, following.owner, following.number, following.pictures - 1))
    return turns


@given(lines())
def test_the_order_is_that_of_the_turns(line: tuple[list[Waiting], dict[str, int]]) -> None:
    waiting, served = line
    assert order(waiting, served) == played(waiting, served)


@given(lines())
def test_everybody_gets_every_picture_and_an_owner_s_runs_stay_in_order(
    line: tuple[list[Waiting], dict[str, int]],
) -> None:
    waiting, served = line
    turns = order(waiting, served)
    assert sorted(turns) == sorted(each.run for each in waiting for _ in range(each.pictures))
    for owner in {each.owner for each in waiting}:
        own = {each.run: each.number for each in waiting if each.owner == owner}
        numbers = [own[run] for run in turns if run in own]
        assert numbers == sorted(numbers)


@given(lines())
def test_nobody_waits_longer_than_a_turn_of_each_other_owner(line: tuple[list[Waiting], dict[str, int]]) -> None:
    waiting, served = line
    owner_of = {each.run: each.owner for each in waiting}
    turns = [owner_of[run] for run in order(waiting, served)]
    for owner in set(turns):
        places = [-1, *(place for place, each in enumerate(turns) if each == owner)]
        for before, after in pairwise(places):
            others = turns[before + 1 : after]
            assert len(others) == len(set(others))


def test_many_runs_of_one_owner_hold_nobody_up() -> None:
    many = [Waiting(f"many {k}", "ada", k, 4) for k in range(30)]
    one = Waiting("one", "bob", 30, 2)
    assert order([*many, one], {"ada": 1})[:4] == ["one", "many 0", "one", "many 0"]
    assert order([*many, one], {"ada": 1, "bob": 2})[:2] == ["many 0", "one"], "one picture comes before, no more"


def test_who_is_alone_draws_one_run_after_the_other() -> None:
    runs = [Waiting("second", "ada", 2, 2), Waiting("first", "ada", 1, 1)]
    assert order(runs, {"ada": 5}) == ["first", "second", "second"]


def test_nobody_waits() -> None:
    assert next_turn([], {"ada": 1}) is None
    assert order([], {"ada": 1}) == []
