"""A cache within a budget: the oldest leaves, except for what the present round has used."""

from dataclasses import dataclass

from krea_studio.engine.cache import ByteCache


@dataclass(frozen=True)
class Value:
    name: str
    bytes: int = 10


def made(cache: ByteCache[Value], names: str) -> str:
    """The names, of `names`, that had to be made."""
    missing = []
    for name in names:
        cache.get(name, lambda name=name: missing.append(name) or Value(name))
    return "".join(missing)


def test_the_least_recently_used_leaves_between_rounds() -> None:
    cache: ByteCache[Value] = ByteCache(30)
    assert made(cache, "abca") == "abc"
    cache.new_round()
    assert made(cache, "da") == "d"  # b was the oldest
    assert made(cache, "b") == "b" and cache.bytes == 30


def test_a_round_larger_than_the_budget_is_found_again_in_part() -> None:
    cache: ByteCache[Value] = ByteCache(30)
    made(cache, "abcde")
    for _ in range(3):
        cache.new_round()
        assert made(cache, "abcde") == "de"
        assert cache.bytes == 30


def test_nothing_is_kept_without_a_budget_and_all_can_be_forgotten() -> None:
    nothing: ByteCache[Value] = ByteCache(0)
    assert made(nothing, "aa") == "aa" and nothing.bytes == 0
    cache: ByteCache[Value] = ByteCache(30)
    made(cache, "ab")
    cache.clear()
    assert cache.bytes == 0 and made(cache, "ab") == "ab"
