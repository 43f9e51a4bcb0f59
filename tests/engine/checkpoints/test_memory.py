from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.engine.checkpoints.activations import Activations
from krea_studio.engine.checkpoints.memory import Room, Weights, decide, held, plan, total, ways

A, B, C = {"a": 10, "shared": 5}, {"b": 10, "shared": 5}, {"c": 20}
NONE = Activations(0, 0, 0, 0)
FEW = Weights(10, 5, 0, 2)
sizes = st.dictionaries(st.sampled_from("stuvwxyz"), st.integers(1, 50), min_size=1, max_size=4)
count = st.integers(0, 100)
weights = st.builds(
    lambda drawer, reader, vae, share: Weights(drawer, reader, vae, drawer * share // 100), count, count, count, count
)
needs = st.builds(
    lambda reading, drawing, decoding, share: Activations(reading, drawing, decoding, decoding * share // 100),
    count, count, count, count,
)  # fmt: skip
rooms = st.builds(Room, st.integers(1, 500), st.none() | st.integers(1, 300), st.booleans())


def test_shared_parts_count_once() -> None:
    assert total(A, B) == 25
    assert total() == 0


@pytest.mark.parametrize(
    ("loaded", "budget", "leave"),
    [({"A": A, "C": C}, 45, ()), ({"A": A, "C": C}, 36, ("A",)), ({"C": C, "A": A}, 36, ("C",))],
)
def test_the_least_recently_used_leaves_first_and_no_more_than_needed(loaded, budget, leave) -> None:
    for room, beside in ((Room(10, budget), 99), (Room(budget), 0), (Room(budget + 3), 3)):
        decision = decide(loaded, B, FEW, replace(NONE, drawing=beside), room)
        assert (decision.plan.placement, decision.evict) == ("resident", leave)


# The published model in 8 bits with its text encoder in 16 bits, in tenths of gigabytes, and a run at 1K and at 2K.
EIGHT_BITS = Weights(131, 89, 3, 19)
ONE_K, TWO_K = Activations(4, 10, 13, 8), Activations(4, 32, 52, 8)


@pytest.mark.parametrize(
    ("free", "run", "placement", "visit", "tiled"),
    [
        (300, ONE_K, "resident", "none", False),
        (230, ONE_K, "encoder aside", "beside", False),
        (230, TWO_K, "encoder aside", "beside", False),
        (180, ONE_K, "encoder aside", "instead", False),
        (180, TWO_K, "encoder aside", "instead", True),
        (142, ONE_K, "offload", "none", False),
        (120, ONE_K, "streamed", "beside", False),
        (80, ONE_K, "streamed", "never", False),
        (50, TWO_K, "refuse", "none", False),
        (54, TWO_K, "streamed", "never", True),
    ],
)
def test_cards_and_what_they_are_planned_for(free, run, placement, visit, tiled) -> None:
    found = plan(EIGHT_BITS, run, Room(free, moves=True))
    assert (found.placement, found.visit, found.tiled) == (placement, visit, tiled)
    assert found.peak > free if placement == "refuse" else found.peak <= free


def test_a_budget_is_bytes_of_weights_whatever_a_run_needs() -> None:
    assert plan(EIGHT_BITS, TWO_K, Room(1000, 223, moves=True)).placement == "resident"
    assert plan(EIGHT_BITS, TWO_K, Room(1000, 222, moves=True)).placement == "encoder aside"
    refused = plan(EIGHT_BITS, TWO_K, Room(1000, 100))
    assert (refused.placement, refused.peak) == ("refuse", 223)


@given(weights, needs, rooms)
def test_a_plan_fits_and_is_the_cheapest_that_does(of, run, room) -> None:
    found = plan(of, run, room)
    planned = [way.planned(run, room) for way in ways(of, room.moves)]
    fitting = [each for each in planned if each]
    if found.placement == "refuse":
        assert not fitting and found.peak > room.bytes
        return
    assert found == fitting[0]
    if room.budget is None:
        assert found.peak <= room.free
    if found.tiled:
        # Whole, it would not have fitted, and tiles take less.
        assert run.tiles < run.decoding
        assert all(
            way.decoding + run.decoding > room.free for way in ways(of, room.moves) if way.planned(run, room) == found
        )


@given(weights, needs, rooms, st.integers(0, 200))
def test_more_room_never_makes_a_plan_dearer(of, run, room, more) -> None:
    order = [(way.placement, way.visit) for way in ways(of, True)] + [("refuse", "none")]
    larger = replace(room, free=room.free + more, budget=None if room.budget is None else room.budget + more)
    places = [order.index((each.placement, each.visit)) for each in (plan(of, run, larger), plan(of, run, room))]
    assert places == sorted(places)


@given(weights, needs, needs, rooms)
def test_what_stays_as_it_is_fits_too_or_is_planned_anew(of, first, second, room) -> None:
    found = plan(of, first, room)
    if found.placement == "refuse":
        return
    stays = held(found, of, second, room)
    if stays is None:
        assert plan(of, second, room).placement != found.placement or plan(of, second, room).visit != found.visit
    else:
        assert (stays.placement, stays.visit) == (found.placement, found.visit)
        assert room.budget is not None or stays.peak <= room.free


@given(st.dictionaries(st.integers(), sizes, max_size=5), sizes, needs, rooms)
def test_the_room_holds_all_that_stays(loaded, wanted, run, room) -> None:
    # One key means one part: sizes of the same key must agree.
    known = {key: value for parts in (*loaded.values(), wanted) for key, value in parts.items()}
    loaded = {key: {part: known[part] for part in parts} for key, parts in loaded.items()}
    wanted = {part: known[part] for part in wanted}
    whole = total(wanted)
    decision = decide(loaded, wanted, Weights(whole, 0, 0, whole), run, room)
    staying = [parts for key, parts in loaded.items() if key not in decision.evict]
    if decision.plan.placement == "resident":
        used = total(*staying, wanted)
        assert used <= room.budget if room.budget is not None else used + run.drawing <= room.free
        assert list(decision.evict) == list(loaded)[: len(decision.evict)]
    elif decision.plan.placement == "refuse":
        assert not decision.evict
    else:
        assert not staying
