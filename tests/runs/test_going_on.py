"""A run that ended early is begun again: what it lacks is drawn, what it has stays. Sweeps are runs."""

from collections.abc import Callable
from functools import partialmethod
from typing import Any

import pytest

from krea_studio.errors import InvalidRequest
from krea_studio.people import Person
from krea_studio.recipe.axes import parse_axis
from krea_studio.recipe.plan import plan_sweep
from krea_studio.recipe.recipe import Recipe, Shot
from krea_studio.recipe.sweep import Sweep, parse_sweep
from krea_studio.runs.rows import picture_id
from krea_studio.runs.run import State
from krea_studio.runs.runs import Runs
from tests.doubles import drawn
from tests.runs.conftest import Gate, Stage, ended, request_of, until

ADA, BOB = Person("ada"), Person("bob")


def sweep_of(*axes: str) -> Sweep:
    return parse_sweep(request_of(), [parse_axis(axis) for axis in axes])


def stands_still(stage: Stage, runs: Runs, asked: Sweep, pictures: int) -> tuple[str, Gate]:
    """A sweep of which so many pictures are on disk, and what holds up the next one."""
    gate, scripts = stage.gate(), [drawn(shot) for shot in plan_sweep(asked, 7).shots[: pictures + 1]]
    stage.engine.scripts = [*scripts[:-1], [scripts[-1][0], gate, *scripts[-1][1:]]]
    run_id = runs.submit(asked, ADA)
    gate.reached()
    until(runs, run_id, lambda run: len(run.finished) == pictures, ADA)
    return run_id, gate


def stopped_in_its_third(stage: Stage, runs: Runs, asked: Sweep) -> str:
    """A sweep of which two pictures are on disk."""
    run_id, gate = stands_still(stage, runs, asked, 2)
    runs.stop(run_id, ADA)
    gate.open()
    assert ended(runs, run_id, ADA).state is State.STOPPED
    return run_id


def test_a_sweep_draws_every_cell_and_says_where_each_stands(runs: Runs) -> None:
    run = ended(runs, runs.submit(sweep_of("seed=1:3", "intensity=-50,50"), ADA), ADA)
    assert run.state is State.DONE and run.title == "seed × intensity: a fox"
    found = [(record.recipe.seed, record.recipe.intensity) for record in run.finished]
    assert sorted(found) == [(seed, slider) for seed in (1, 2, 3) for slider in (-50, 50)]
    assert [record.id for record in run.finished] == [picture_id(run.id, place) for place in range(6)]


def test_what_it_lacks_is_drawn_and_what_it_has_stays(stage: Stage, runs: Runs) -> None:
    run_id = stopped_in_its_third(stage, runs, sweep_of("seed=1:5"))
    before = runs.watch(run_id, ADA)
    drawn = len(stage.engine.plans)
    runs.go_on(run_id, ADA)
    after = ended(runs, run_id, ADA)
    assert after.state is State.DONE and after.version > before.version
    assert after.records[:2] == before.records[:2] and after.shots == before.shots
    assert [plan.shots[0].seed for plan in stage.engine.plans[drawn:]] == [3, 4, 5]
    assert len(stage.library.recent(9)) == 5


def test_so_does_another_server(stage: Stage, runs: Runs) -> None:
    run_id = stopped_in_its_third(stage, runs, sweep_of("intensity=-100:100:50", "steps=1"))
    runs.close()
    again = stage.serve()
    again.resume()
    assert again.of() == []
    again.go_on(run_id, ADA)
    run = ended(again, run_id, ADA)
    assert sorted(record.recipe.intensity for record in run.finished) == [-100, -50, 0, 50, 100]
    assert len(stage.engine.plans) == 3


def test_the_last_sweep_of_a_person_is_found_again(stage: Stage, runs: Runs) -> None:
    assert runs.last_sweep(ADA) is None
    ended(runs, runs.submit(sweep_of("seed=1"), ADA), ADA)
    run_id = stopped_in_its_third(stage, runs, sweep_of("seed=2:6"))
    before = runs.last_sweep(ADA)
    assert before and before.id == run_id and before.cells == tuple((place,) for place in range(5))
    ended(runs, runs.submit(request_of(), ADA), ADA)
    runs.close()
    again = stage.serve()
    again.resume()
    found = again.last_sweep(ADA)
    assert found and (found.state, found.failure) == (State.STOPPED, before.failure)
    assert (found.asked, found.cells, found.records) == (before.asked, before.cells, before.records)
    assert again.last_sweep(BOB) is None and again.last_sweep() is None
    again.go_on(run_id, ADA)
    assert len(ended(again, run_id, ADA).finished) == 5 and len(stage.engine.plans) == 3


def test_one_that_was_killed_goes_on_by_itself(stage: Stage, runs: Runs) -> None:
    run_id, _ = stands_still(stage, runs, sweep_of("seed=1:3"), 1)
    runs.close()
    again = stage.serve()
    again.resume()
    assert [record.recipe.seed for record in ended(again, run_id, ADA).finished] == [1, 2, 3]
    assert sorted(stage.seeds()) == [2, 3]


def test_what_does_not_lack_anything_is_done(runs: Runs) -> None:
    run_id = runs.submit(request_of())
    ended(runs, run_id)
    runs.go_on(run_id)
    assert ended(runs, run_id).state is State.DONE and len(runs.studio.library.recent(9)) == 1


def test_only_one_s_own_that_has_ended(stage: Stage, runs: Runs) -> None:
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    run_id = runs.submit(request_of(batch=2), ADA)
    gate.reached()
    with pytest.raises(InvalidRequest, match="goes on already — stop it first"):
        runs.go_on(run_id, ADA)
    for stranger, wanted in ((BOB, run_id), (ADA, "f" * 32), (ADA, ""), (ADA, "\ud800")):
        with pytest.raises(InvalidRequest, match="There is no run"):
            runs.go_on(wanted, stranger)


@pytest.fixture
def known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The engine's weights are known, and stand in every recipe."""
    monkeypatch.setattr(Shot, "recipe", partialmethod(_recipe, Shot.recipe, stage))

    def known(weights: str) -> None:
        stage.engine.identities = {"turbo": weights}

    return known


def _recipe(shot: Shot, plain: Callable[..., Recipe], stage: Stage, checkpoint: str, **facts: Any) -> Recipe:
    return plain(shot, checkpoint, **{"weights": stage.engine.identities.get("turbo"), **facts})


def test_a_cell_that_was_drawn_before_is_not_drawn_again(
    stage: Stage, runs: Runs, known: Callable[[str], None]
) -> None:
    known("a" * 16)
    first = ended(runs, runs.submit(sweep_of("seed=1:3"), ADA), ADA)
    own = ended(runs, runs.submit(request_of(seed=2, intensity=40), ADA), ADA)
    drawn_so_far = len(stage.engine.plans)
    second = ended(runs, runs.submit(sweep_of("intensity=0,40", "seed=2:4"), ADA), ADA)
    records = {(record.recipe.intensity, record.recipe.seed): record.id for record in second.finished}
    assert records[0, 2] == first.finished[1].id and records[40, 2] == own.finished[0].id
    assert len(stage.engine.plans) == drawn_so_far + 3

    bob = ended(runs, runs.submit(sweep_of("seed=1:2"), BOB), BOB)
    assert {record.owner for record in bob.finished} == {"bob"}, "another's pictures are not theirs"
    again = runs.submit(request_of(seed=1), ADA)
    assert ended(runs, again, ADA).finished[0].id == picture_id(again, 0), "who asks for one picture gets a new one"
    known("b" * 16)
    other = ended(runs, runs.submit(sweep_of("seed=1:3"), ADA), ADA)
    assert not {record.id for record in other.finished} & {record.id for record in first.finished}
