"""A server that was killed goes on where it was: the same pictures, each once, for those who asked."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from PIL import Image

from krea_studio.errors import DEFECT, InvalidRequest, StorageError
from krea_studio.library.records import Records
from krea_studio.library.refusals import Refusal
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.runs import runs as module
from krea_studio.runs.entry import now
from krea_studio.runs.rows import Row, Rows, picture_id
from krea_studio.runs.run import Kind, State
from krea_studio.runs.runs import RESTARTED, Runs
from krea_studio.studio import Generation, Studio
from tests.doubles import drawn, picture
from tests.library.styles.test_styles import taken_in
from tests.runs.conftest import LIMIT_SECONDS, Gate, Stage, ended, request_of, shot_of, until
from tests.strategies import ready_data, seeds

ROOT = Path(__file__).parents[2]
ADA, BOB = Person("ada"), Person("bob")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is closed leaves its driver in the engine, as one that is killed."""
    monkeypatch.setattr(module, "LEAVING_SECONDS", 0.0)


def state_of(library: Library, run_id: str) -> tuple[str, str]:
    """What the row of a run says of its end."""
    with library.records.transaction() as connection:
        return connection.execute("SELECT state, failure FROM run WHERE id = ?", (run_id,)).fetchone()


def set_row(library: Library, run_id: str, column: str, value: str) -> None:
    with library.records.transaction() as connection:
        connection.execute(f"UPDATE run SET {column} = ? WHERE id = ?", (value, run_id))


def left_waiting(stage: Stage, runs: Runs, *requests: tuple[GenerationRequest, Person]) -> list[str]:
    """Runs of a server that is killed before it draws anything for them."""
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    blocking = runs.submit(request_of(), Person("somebody"))
    gate.reached()
    ids = [runs.submit(request, person) for request, person in requests]
    runs.stop(blocking)
    runs.close()
    set_row(stage.library, blocking, "state", State.STOPPED)
    return ids


def killed(stage: Stage, runs: Runs) -> tuple[str, str, Gate]:
    """Runs of a server that is killed while it draws the third picture of one; the other waits."""
    gate, script = stage.gated(request_of(seed=12))
    first, second = plan(request_of(batch=2), 10).shots
    stage.engine.scripts = [list(drawn(first)), list(drawn(second)), script]
    mine = runs.submit(request_of(seed=10, batch=4), ADA)
    gate.reached()
    other = runs.submit(request_of(seed=30), BOB)
    until(runs, mine, lambda run: len(run.finished) == 2)
    runs.close()
    return mine, other, gate


@pytest.mark.parametrize("emptied", [False, True])
def test_what_was_deleted_is_not_drawn_again(stage: Stage, runs: Runs, emptied: bool) -> None:
    mine, _, _ = killed(stage, runs)
    stage.library.bin.delete(runs.watch(mine).finished[0].id, ADA)
    if emptied:
        assert stage.library.bin.empty(ADA) == 1
    again = stage.serve()
    again.resume()
    resumed = ended(again, mine, ADA)
    assert resumed.state is State.DONE and sorted(stage.seeds()) == [12, 13, 30]
    assert [record.recipe.seed for record in resumed.finished] == [11, 12, 13]
    assert [record.recipe.seed for record in reversed(stage.library.recent(9, ADA))] == [11, 12, 13]


def test_a_run_whose_pictures_were_all_deleted_has_ended(stage: Stage, runs: Runs) -> None:
    (run,) = left_waiting(stage, runs, (request_of(batch=2), ADA))
    for place in range(2):
        record = stage.library.save(
            shot_of().recipe("mini-turbo"), picture(shot_of()), 1.0, ADA, picture_id(run, place)
        )
        stage.library.bin.delete(record.id, ADA)
    again = stage.serve()
    again.resume()
    assert ended(again, run, ADA).state is State.DONE and stage.seeds() == []


def test_what_was_refused_is_not_drawn_again(stage: Stage, runs: Runs) -> None:
    (run,) = left_waiting(stage, runs, (request_of(batch=2), ADA))
    stage.library.refusals.add(Refusal(picture_id(run, 0), ADA.id, 7, 0.9, "by colour", "mini-turbo", now()))
    again = stage.serve()
    again.resume()
    resumed = ended(again, run, ADA)
    assert stage.seeds() == [8] and [record.recipe.seed for record in resumed.finished] == [8]
    assert resumed.state is State.DONE and "the picture of seed 7" in resumed.failure


def test_a_run_goes_on_from_its_first_picture_that_is_not_there(stage: Stage, runs: Runs) -> None:
    mine, other, gate = killed(stage, runs)
    before, first = runs.watch(mine), stage.engine
    assert state_of(stage.library, mine) == ("running", "") and state_of(stage.library, other) == ("waiting", "")

    again = stage.serve()
    again.resume()
    resumed, waited = ended(again, mine, ADA), ended(again, other, BOB)
    assert resumed.state is waited.state is State.DONE
    assert sorted(stage.seeds()) == [12, 13, 30], "what was kept is not drawn again"
    assert resumed.records[:2] == before.records[:2] and resumed.shots == before.shots
    assert resumed.created_at == before.created_at and resumed.title == before.title
    assert [record.recipe.seed for record in resumed.finished] == [10, 11, 12, 13]
    assert {record.owner for record in resumed.finished} == {"ada"}
    assert [(record.recipe.seed, record.owner) for record in waited.finished] == [(30, "bob")]
    assert len(stage.library.recent(9)) == 5
    assert state_of(stage.library, mine) == state_of(stage.library, other) == ("done", "")
    with pytest.raises(InvalidRequest, match="There is no run"):
        again.watch(mine, BOB)

    gate.open()
    limit = time.monotonic() + LIMIT_SECONDS
    while first.ended < 3 and time.monotonic() < limit:
        time.sleep(0.01)
    assert len(stage.library.recent(9)) == 5 and len(first.plans) == 3, "the first server does nothing any more"


def test_nothing_is_taken_up_twice(stage: Stage, runs: Runs) -> None:
    mine, other, _ = killed(stage, runs)
    again = stage.serve()
    again.resume()
    ended(again, mine), ended(again, other)
    again.close()
    third = stage.serve()
    third.resume()
    assert third.of() == []


def test_a_server_s_own_runs_are_left_alone(stage: Stage, runs: Runs) -> None:
    mine, other, _ = killed(stage, runs)
    again = stage.serve()
    gate, script = stage.gated(request_of(seed=50))
    stage.engine.scripts = [script]
    own = again.submit(request_of(seed=50, batch=2))  # it comes before the server looks for the others
    gate.reached()
    again.resume(), again.resume()
    assert [run.id for run in again.of()] == [own, mine, other]
    gate.open()
    for run_id in (own, mine, other):
        assert ended(again, run_id).state is State.DONE
    assert sorted(stage.seeds()) == [12, 13, 30, 50, 51]


def test_a_run_that_was_stopped_is_not_taken_up(stage: Stage, runs: Runs) -> None:
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    run_id = runs.submit(request_of(batch=2))
    waiting = runs.submit(request_of())
    gate.reached()
    runs.stop(waiting)
    runs.close()
    assert state_of(stage.library, waiting)[0] == "stopped"
    again = stage.serve()
    again.resume()
    assert [run.id for run in again.of()] == [run_id]
    assert ended(again, run_id).state is State.DONE


def test_what_was_all_drawn_is_done(stage: Stage, runs: Runs) -> None:
    run_id = runs.submit(request_of(batch=2), ADA)
    ended(runs, run_id)
    runs.close()
    set_row(stage.library, run_id, "state", State.RUNNING)
    again = stage.serve()
    again.resume()
    run = again.watch(run_id, ADA)
    assert run.state is State.DONE and len(run.finished) == 2
    assert stage.engine.plans == [] and state_of(stage.library, run_id) == ("done", "")


def test_a_row_that_cannot_be_read_fails_with_words(stage: Stage, runs: Runs) -> None:
    wrong, no_json, unknown, fine = left_waiting(stage, runs, *[(request_of(seed=k), ADA) for k in (1, 2, 3, 4)])
    set_row(stage.library, wrong, "request", json.dumps({"prompt": 5}))
    set_row(stage.library, no_json, "request", "{")
    set_row(stage.library, unknown, "kind", "animate")
    set_row(stage.library, unknown, "request", "{}")
    again = stage.serve()
    again.resume()
    for run_id in (wrong, no_json, unknown):
        run = again.watch(run_id, ADA)
        assert run.state is State.FAILED and "cannot read what was asked for" in run.failure
        assert state_of(stage.library, run_id) == ("failed", run.failure)
    assert ended(again, fine).state is State.DONE and stage.seeds() == [4]


def test_what_cannot_be_drawn_any_more_says_why(
    stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken_in(stage.library.styles, "woodcut")
    styled, defect = left_waiting(
        stage, runs, (request_of(styles=[{"name": "woodcut"}]), ADA), (request_of(seed=666), ADA)
    )
    stage.library.styles.delete("woodcut")
    again, begin = stage.serve(), Studio.begin

    def broken(studio: Studio, request: GenerationRequest, person: Person) -> Generation:
        if request.seed == 666:
            raise ZeroDivisionError
        return begin(studio, request, person)

    monkeypatch.setattr(Studio, "begin", broken)
    again.resume()
    run = again.watch(styled, ADA)
    assert run.state is State.FAILED and "import it again" in run.failure
    run = again.watch(defect, ADA)
    assert (run.state, run.failure) == (State.FAILED, DEFECT) and "ZeroDivisionError" in caplog.text


def test_what_is_done_beside_the_device_is_to_be_begun_again(stage: Stage, runs: Runs) -> None:
    gate = stage.gate()
    run_id = runs.begin(Kind.ANALYZE, "Dusk", lambda report, check: gate() or check(), ADA)
    gate.reached()
    runs.close()
    again = stage.serve()
    again.resume()
    run = again.watch(run_id, ADA)
    assert (run.state, run.failure, run.title, run.kind) == (State.STOPPED, RESTARTED, "Dusk", Kind.ANALYZE)


class TestAsItWasAskedFor:
    def resumed(self, stage: Stage, runs: Runs, **wishes: Any) -> None:
        """Check that a run with these wishes has the same shots when it is taken up again, and the files of each."""
        (run_id,) = left_waiting(stage, runs, (request_of(batch=2, **wishes), ADA))
        before = runs.watch(run_id)
        again = stage.serve()
        again.resume()
        run = ended(again, run_id)
        assert run.state is State.DONE and run.shots == before.shots
        assert len(stage.engine.files) == 2
        for each in stage.engine.files:
            assert bool(each.pictures) == ("moodboard" in wishes) and bool(each.styles) == ("styles" in wishes)

    def test_seed_and_sliders_that_chance_decided(self, stage: Stage, runs: Runs) -> None:
        self.resumed(stage, runs, seed=None, random_mode=True, locked_sliders=["movement"], spread=30)

    def test_a_moodboard_as_it_was(self, stage: Stage, runs: Runs) -> None:
        looks = [stage.library.references.add_picture(Image.new("RGB", (64, 64), (90 * k, 80, 160))) for k in range(3)]
        stage.library.moodboards.create("Dusk")
        stage.library.moodboards.add_references("Dusk", looks)
        runs.studio.analyze("Dusk")
        self.resumed(stage, runs, moodboard={"name": "Dusk", "strength": 0.7})

    def test_a_style_by_its_weights(self, stage: Stage, runs: Runs) -> None:
        taken_in(stage.library.styles, "woodcut")
        self.resumed(stage, runs, styles=[{"name": "Woodcut", "weight": 0.5}])

    def test_a_prompt_that_is_written_out(self, stage: Stage, runs: Runs) -> None:
        self.resumed(stage, runs, creativity="high")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    records = Records(tmp_path_factory.mktemp("rows") / "records.sqlite3")
    yield records
    records.close()


@given(ready_data, seeds, seeds, seeds)
def test_a_request_survives_its_row(
    records: Records, data: dict[str, Any], seed: int, explored: int, other: int
) -> None:
    first = plan(parse_request(data), seed, explored)
    kept = Row(secrets.token_hex(16), Kind.GENERATE, "ada", "a title", State.WAITING, now(), request_of_plan(first))
    with closing(Rows(records)) as killed:
        killed.add(kept)
    with closing(Rows(records)) as rows:
        (row,) = rows.unfinished()
        rows.change(row.id, State.DONE, now())
    assert row == kept
    assert plan(row.asked, row.asked.seed, other).shots == first.shots


def request_of_plan(resolved: GenerationPlan) -> GenerationRequest:
    return Generation(SimpleNamespace(deadline_seconds=1.0), resolved, LOCAL).asked


class TestSecondServer:
    def test_it_takes_up_nothing_and_leaves_no_rows(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        mine = runs.submit(request_of())
        gate.reached()

        second = stage.serve()
        second.resume()
        assert second.of() == [] and stage.engine.plans == []
        own_gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        own = second.submit(request_of(seed=30))
        own_gate.reached()

        runs.close()
        third = stage.serve()
        third.resume()
        assert [run.id for run in third.of()] == [mine], "what the second one draws is left to it"
        assert ended(third, mine).state is State.DONE
        own_gate.open()
        assert ended(second, own).state is State.DONE

    def test_a_lock_that_cannot_be_had_is_no_failure(self, stage: Stage, runs: Runs) -> None:
        (stage.library.folder / "runs.lock").mkdir()
        runs.resume()
        assert ended(runs, runs.submit(request_of())).state is State.DONE


def test_a_row_that_cannot_be_written_refuses_the_run(
    stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(rows: Rows, row: Row) -> None:
        raise StorageError("The disk is full — free some space")

    monkeypatch.setattr("krea_studio.runs.rows.Rows.add", full)
    with pytest.raises(StorageError, match="full"):
        runs.submit(request_of())
    assert runs.of() == [] and stage.engine.plans == []


def test_the_id_of_a_picture_follows_from_its_run_and_place() -> None:
    ids = {picture_id(run, place) for run in ("0" * 32, "f" * 32) for place in range(4)}
    assert len(ids) == 8 and all(len(each) == 16 and int(each, 16) >= 0 for each in ids)
    assert picture_id("0" * 32, 1) == picture_id("0" * 32, 1)


KILLED = """
import os, signal, sys, time
from krea_studio.expansion.writers import Expanders
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.request import parse_request
from krea_studio.runs.limits import Limits
from krea_studio.runs.runs import Runs
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import Settings
from krea_studio.studio import Studio
from tests.doubles import JudgedByColour, ScriptedEngine, drawn

class DyingEngine(ScriptedEngine):
    def run(self, plan, tell, check, files):
        if self.plans:
            while not library.recent(1):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        super().run(plan, tell, check, files)

library, engine = Library(sys.argv[1]), DyingEngine()
expanders, content_filter = Expanders(Settings(), engine, engine), ContentFilter(JudgedByColour())
runs = Runs(Studio(engine, engine, library, expanders, 600.0, content_filter), Limits(32))
request = parse_request({"prompt": "a fox", "resolution": "512", "steps": 2, "batch": 3})
print(runs.submit(request, Person("ada")), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="it needs signals")
def test_a_process_that_is_killed_loses_nothing(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(stage.library.folder)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_id = done.stdout.strip()
    (kept,) = stage.library.recent(9)
    runs = stage.serve()
    runs.resume()
    run = ended(runs, run_id, ADA)
    assert run.state is State.DONE and run.records[0] == kept
    assert stage.seeds() == [(kept.recipe.seed + place) % 2**32 for place in (1, 2)]
