"""What needs no device is a run too: it reports, has a result, and can be stopped."""

import pytest

from krea_studio.errors import DEFECT, InvalidRequest, Unavailable
from krea_studio.people import Person
from krea_studio.runs.run import Kind, Progress, State
from krea_studio.runs.runs import Check, Report, Runs
from tests.runs.conftest import Stage, ended, request_of

ADA = Person("ada")


def test_it_reports_and_has_a_result(stage: Stage, runs: Runs) -> None:
    gate = stage.gate()

    def work(report: Report, check: Check) -> str:
        report(0.5)
        gate()
        check()
        return "found"

    run_id = runs.begin(Kind.ANALYZE, "Dusk  of\nfoxes", work, ADA)
    gate.reached()
    run = runs.watch(run_id, ADA)
    assert (run.kind, run.title, run.state, run.shots) == (Kind.ANALYZE, "Dusk of foxes", State.RUNNING, ())
    assert run.progress == Progress("working", share=0.5)
    gate.open()
    run = ended(runs, run_id, ADA)
    assert (run.state, run.result, run.failure, run.progress) == (State.DONE, "found", "", None)
    with pytest.raises(InvalidRequest, match="There is no run"):
        runs.watch(run_id, Person("bob"))


def test_it_is_done_while_the_device_draws(stage: Stage, runs: Runs) -> None:
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    drawing = runs.submit(request_of())
    gate.reached()
    assert ended(runs, runs.begin(Kind.EXPAND, "a fox", lambda report, check: 7)).result == 7
    assert runs.watch(drawing).state is State.RUNNING
    gate.open()
    assert ended(runs, drawing).state is State.DONE


def test_a_title_with_half_of_a_character_is_kept(runs: Runs) -> None:
    assert ended(runs, runs.begin(Kind.IMPORT, "ada/\ud83dfox", lambda report, check: 7)).title == "ada/?fox"


def test_it_ends_where_it_checks(stage: Stage, runs: Runs) -> None:
    gate = stage.gate()

    def work(report: Report, check: Check) -> None:
        gate()
        check()

    run_id = runs.begin(Kind.IMPORT, "a style", work)
    gate.reached()
    runs.stop(run_id)
    assert not runs.watch(run_id).state.ended
    gate.open()
    run = ended(runs, run_id)
    assert (run.state, run.failure, run.result) == (State.STOPPED, "Stopped.", None)


def test_one_that_waits_is_never_begun(stage: Stage, runs: Runs) -> None:
    gates, begun = [stage.gate(), stage.gate()], []
    busy = [runs.begin(Kind.ANALYZE, "busy", lambda report, check, gate=gate: gate()) for gate in gates]
    for gate in gates:
        gate.reached()
    waiting = runs.begin(Kind.ANALYZE, "waits", lambda report, check: begun.append(1))
    assert runs.watch(waiting).state is State.WAITING
    runs.stop(waiting)
    assert runs.watch(waiting).state is State.STOPPED
    for gate in gates:
        gate.open()
    assert all(ended(runs, run_id).state is State.DONE for run_id in busy)
    assert ended(runs, runs.begin(Kind.ANALYZE, "next", lambda report, check: None)).state is State.DONE
    assert begun == []


@pytest.mark.parametrize(
    ("error", "message"), [(Unavailable("no model — fetch one"), "no model — fetch one"), (ZeroDivisionError(), DEFECT)]
)
def test_it_fails_with_words(runs: Runs, caplog: pytest.LogCaptureFixture, error: Exception, message: str) -> None:
    def work(report: Report, check: Check) -> None:
        raise error

    run = ended(runs, runs.begin(Kind.ANALYZE, "Dusk", work))
    assert (run.state, run.failure) == (State.FAILED, message)
    assert ("ZeroDivisionError" in caplog.text) == (message == DEFECT)
