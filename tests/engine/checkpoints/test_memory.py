from hypothesis import given
from hypothesis import strategies as st

from krea_studio.engine.checkpoints.memory import decide, total

A, B, C = {"a": 10, "shared": 5}, {"b": 10, "shared": 5}, {"c": 20}
sizes = st.dictionaries(st.sampled_from("stuvwxyz"), st.integers(1, 50), min_size=1, max_size=4)


def test_shared_parts_count_once():
    assert total(A, B) == 25
    assert total() == 0


def test_the_least_recently_used_leaves_first_and_no_more_than_needed():
    decision = decide({"A": A, "C": C}, B, budget_bytes=45, can_offload=False)
    assert (decision.placement, decision.evict) == ("resident", ())
    decision = decide({"A": A, "C": C}, B, budget_bytes=36, can_offload=False)
    assert (decision.placement, decision.evict) == ("resident", ("A",))
    decision = decide({"C": C, "A": A}, B, budget_bytes=36, can_offload=False)
    assert (decision.placement, decision.evict) == ("resident", ("C",))


def test_what_does_not_fit_alone_is_offloaded_or_refused():
    assert decide({"C": C}, A, budget_bytes=12, can_offload=True).placement == "offload"
    assert decide({"C": C}, A, budget_bytes=12, can_offload=True).evict == ("C",)
    assert decide({"C": C}, A, budget_bytes=12, can_offload=False).placement == "refuse"
    assert decide({"C": C}, A, budget_bytes=9, can_offload=True).placement == "refuse"
    assert decide({"C": C}, A, budget_bytes=9, can_offload=True).evict == ()


@given(st.dictionaries(st.integers(), sizes, max_size=5), sizes, st.integers(1, 200), st.booleans())
def test_the_budget_holds(loaded, wanted, budget, can_offload):
    # One key means one part: sizes of the same key must agree.
    known = total(*loaded.values(), wanted) and {k: v for parts in (*loaded.values(), wanted) for k, v in parts.items()}
    loaded = {key: {part: known[part] for part in parts} for key, parts in loaded.items()}
    wanted = {part: known[part] for part in wanted}
    decision = decide(loaded, wanted, budget, can_offload)
    staying = [parts for key, parts in loaded.items() if key not in decision.evict]
    if decision.placement == "resident":
        assert total(*staying, wanted) <= budget
        assert list(decision.evict) == list(loaded)[: len(decision.evict)]
    elif decision.placement == "refuse":
        assert total(wanted) > budget and not decision.evict
