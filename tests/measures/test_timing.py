"""Ratios of times that wander alike."""

from krea_studio.measures import timing


def test_ratios_are_of_interleaved_pairs(monkeypatch):
    now, calls = 0.0, []

    def slow():
        nonlocal now
        calls.append("slow")
        now += 3

    def fast():
        nonlocal now
        calls.append("fast")
        now += 2

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    assert timing.ratios(slow, fast, 4) == [1.5] * 4
    assert calls == ["slow", "fast", *["slow", "fast", "fast", "slow"] * 2]
