"""How much one person may ask for."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from krea_studio.errors import Unavailable
from krea_studio.people import LOCAL, Person
from krea_studio.runs.limits import Limits, Tally
from krea_studio.runs.run import Kind, State
from tests.runs.conftest import Stage, ended, request_of

ADA, BEN = Person("ada"), Person("ben")


def test_one_person_cannot_take_the_whole_line(stage: Stage) -> None:
    runs = stage.serve(Limits(5, runs=2))
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    first, second = runs.submit(request_of(), ADA), runs.submit(request_of(), ADA)
    gate.reached()
    for ask in (
        lambda: runs.submit(request_of(), ADA),
        lambda: runs.begin(Kind.EXPAND, "a fox", lambda report, check: None, ADA),
    ):
        with pytest.raises(Unavailable, match="2 of your runs wait or go on, and one person may have 2 here"):
            ask()
    others = [runs.submit(request_of(), BEN), *(runs.submit(request_of(), LOCAL) for _ in range(2))]
    with pytest.raises(Unavailable, match="5 runs are waiting already"):
        runs.submit(request_of(), LOCAL)
    gate.open()
    assert [ended(runs, run, LOCAL).state for run in (first, second, *others)] == [State.DONE] * 5
    assert ended(runs, runs.submit(request_of(), ADA), ADA).state is State.DONE


def test_pictures_of_an_hour_count_whether_they_are_kept_or_deleted(stage: Stage) -> None:
    runs = stage.serve(Limits(32, pictures_an_hour=3))
    with pytest.raises(Unavailable, match="3 pictures an hour here, and you asked for 4 at once — ask for fewer"):
        runs.submit(request_of(batch=4), ADA)
    run = ended(runs, runs.submit(request_of(batch=2), ADA), ADA)
    stage.library.bin.delete(run.records[0].id, ADA)
    with pytest.raises(Unavailable, match="asked for 2 beside 2 of the last hour — try again in 60 minutes"):
        runs.submit(request_of(batch=2), ADA)
    assert ended(runs, runs.submit(request_of(), ADA), ADA).state is State.DONE
    assert ended(runs, runs.submit(request_of(batch=3), BEN), BEN).state is State.DONE
    assert ended(runs, runs.submit(request_of(batch=4), LOCAL), LOCAL).state is State.DONE


def test_the_wait_ends_when_enough_pictures_are_an_hour_old() -> None:
    now = datetime.now(UTC)
    made = [now - timedelta(minutes=minutes) for minutes in (50, 40, 10)]
    tally = Tally(Limits(32, pictures_an_hour=4), lambda owner, since: made)
    tally.require(ADA, 1, [])
    for wanted, minutes in ((2, 10), (3, 20), (4, 50)):
        with pytest.raises(Unavailable, match=f"try again in {minutes} minutes, or ask for fewer"):
            tally.require(ADA, wanted, [])
    with pytest.raises(Unavailable, match="beside 3 of the last hour and 4 to come — wait until these are drawn"):
        tally.require(ADA, 1, [SimpleNamespace(owner="ada", open_places=lambda: [0, 1, 2, 3])])
    tally.note("ada")
    with pytest.raises(Unavailable, match="asked for 1 beside 4 of the last hour — try again in 10 minutes"):
        tally.require(ADA, 1, [])


def test_no_way_round_the_limits(stage: Stage) -> None:
    """By asking many times at once, by going on with what was stopped, by emptying the bin."""
    runs = stage.serve(Limits(99, runs=2, pictures_an_hour=6))
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    held = runs.submit(request_of(), BEN)
    gate.reached()

    def ask() -> str | None:
        try:
            return runs.submit(request_of(batch=2), ADA)
        except Unavailable:
            return None

    with ThreadPoolExecutor(8) as pool:
        taken = [run for run in pool.map(lambda _: ask(), range(16)) if run]
    assert len(taken) == 2
    for run in taken:
        runs.stop(run, ADA)
    others = [runs.submit(request_of(batch=3), ADA) for _ in range(2)]
    with pytest.raises(Unavailable, match="of your runs wait"):
        runs.go_on(taken[0], ADA)
    gate.open()
    for run in others:
        ended(runs, run, ADA)
    for record in stage.library.recent(9, ADA):
        stage.library.bin.delete(record.id, ADA)
    stage.library.bin.empty(ADA)
    for again in (lambda: runs.go_on(taken[0], ADA), lambda: runs.submit(request_of(), ADA)):
        with pytest.raises(Unavailable, match="beside 6 of the last hour"):
            again()
    ended(runs, held, LOCAL)
