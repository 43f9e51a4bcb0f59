"""Runs go on without anybody listening, end by Stop alone, and do one another no harm."""

import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from types import SimpleNamespace

import pytest

from krea_studio.engine.base import Loading, Step
from krea_studio.errors import DEFECT, InvalidRequest, StorageError, Unavailable
from krea_studio.expansion.creativity import ENDPOINT
from krea_studio.expansion.writers import Expanders
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.recipe import Recipe
from krea_studio.runs import runs as module
from krea_studio.runs.entry import STOPPED
from krea_studio.runs.limits import Limits
from krea_studio.runs.priority import NICENESS
from krea_studio.runs.run import Kind, Progress, State
from krea_studio.runs.runs import Runs
from tests.doubles import REFUSED_SEED, drawn
from tests.runs.conftest import LIMIT_SECONDS, Stage, ended, request_of, shot_of, until

ADA, BOB = Person("ada"), Person("bob")


def drawn_seeds(runs: Runs, run_id: str) -> list[int]:
    return [record.recipe.seed for record in runs.watch(run_id).finished]


class ChatServer:
    """An expander beside the device that waits at the gate of a seed."""

    writer, model = ENDPOINT, "double"

    def __init__(self, gates: dict[int, Callable[[], object]]) -> None:
        self._gates = gates

    def write(self, prompt: str, level: str, seed: int, check: Callable[[], None], *_: object) -> str:
        self._gates[seed]()
        check()
        return f"{prompt} at {'dusk' if seed % 2 else 'dawn'}"


def written_by(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Expanders, "elsewhere", True)
    monkeypatch.setattr(Expanders, "of", lambda expanders, variant: server)


class TestForgetting:
    def test_a_deleted_picture_is_in_no_run_any_more_and_is_not_drawn_again(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [drawn(shot_of()), script]
        run_id = runs.submit(request_of(batch=2), ADA)
        gate.reached()
        first = until(runs, run_id, lambda run: run.finished, ADA).finished[0]
        before = runs.watch(run_id, ADA).version
        stage.library.bin.delete(first.id, ADA)
        runs.forget(first.id)
        assert runs.watch(run_id, ADA).finished == []
        assert runs.watch(run_id, ADA).version > before
        gate.open()
        run = ended(runs, run_id, ADA)
        assert (run.state, len(run.finished), run.records[0]) == (State.DONE, 1, None)
        assert len(stage.engine.plans) == 2

    def test_other_pictures_stay(self, stage: Stage, runs: Runs) -> None:
        run_id = runs.submit(request_of(batch=2))
        kept = ended(runs, run_id).finished
        runs.forget("0123456789abcdef")
        assert runs.watch(run_id).finished == kept


class TestGoingOn:
    def test_a_run_is_drawn_in_the_context_of_who_asked_for_it(self, stage: Stage, runs: Runs) -> None:
        asks: ContextVar[str] = ContextVar("asks")
        seen: list[str] = []
        looks = [lambda: seen.append(asks.get("nobody")), *drawn(shot_of())]
        stage.engine.scripts = [looks, looks]
        for name in ("ada", "bob"):
            context = copy_context()
            context.run(asks.set, name)
            ended(runs, context.run(runs.submit, request_of()))
        assert seen == ["ada", "bob"]

    def test_a_run_that_ended_holds_nothing_of_who_asked_for_it(self, stage: Stage, runs: Runs) -> None:
        class Asked:
            """As a server's request, with all that came in it."""

        asks: ContextVar[Asked] = ContextVar("asks")

        def ask() -> tuple[str, weakref.ref[Asked]]:
            asked = Asked()
            context = copy_context()
            context.run(asks.set, asked)
            return context.run(runs.submit, request_of()), weakref.ref(asked)

        stage.engine.scripts = [drawn(shot_of())]
        run_id, asked = ask()
        ended(runs, run_id)
        let_go = time.monotonic() + LIMIT_SECONDS
        while asked() and time.monotonic() < let_go:  # the device's thread leaves the run after it ended
            gc.collect()
            time.sleep(0.01)
        assert asked() is None and runs.watch(run_id).state is State.DONE

    def test_a_run_is_taken_on_at_once_and_drawn_unwatched(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = runs.submit(request_of(batch=2), ADA)
        gate.reached()
        run = runs.watch(run_id, ADA)
        assert (run.id, run.kind, run.owner, run.title, run.state) == (
            *(run_id, Kind.GENERATE, "ada", "a fox", State.RUNNING),
        )
        assert [shot.seed for shot in run.shots] == [7, 8] and run.records == (None, None)
        gate.open()
        run = ended(runs, run_id)
        assert (run.state, run.failure, run.progress) == (State.DONE, "", None)
        assert run.finished == list(run.records)
        assert [(record.recipe.seed, record.owner) for record in run.finished] == [(7, "ada"), (8, "ada")]
        assert all(record.path.is_file() for record in run.finished)
        assert stage.library.recent(9, ADA) == run.finished[::-1]

    def test_what_cannot_be_drawn_is_refused_at_once(self, stage: Stage, runs: Runs) -> None:
        with pytest.raises(InvalidRequest, match="There is no style 'woodcut'"):
            runs.submit(request_of(styles=[{"name": "woodcut"}]))
        assert runs.of() == [] and stage.engine.plans == []

    def test_what_it_does_is_told(self, stage: Stage, runs: Runs) -> None:
        loading, drawing, last = stage.gate(), stage.gate(), stage.gate()
        *_, ready = drawn(shot_of())
        stage.engine.scripts = [
            [
                Loading("a", 0.5),
                loading,
                Step(0, 0, 2),
                Step(0, 1, 2, b"x", embedded=True),
                drawing,
                Step(0, 2, 2),
                last,
                ready,
            ]
        ]
        run_id = runs.submit(request_of(creativity="low"))
        for gate, progress in (
            (loading, Progress("loading", "a", 0.5)),
            (drawing, Progress("drawing", step=1, steps=2, preview=b"x")),
            (last, Progress("drawing", step=2, steps=2, preview=b"x")),
        ):
            gate.reached()
            assert runs.watch(run_id).progress == progress
            gate.open()
        assert ended(runs, run_id).progress is None

    def test_a_prompt_is_written_out_in_the_run(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate, count = stage.gate(), stage.engine.count_tokens
        monkeypatch.setattr(stage.engine, "count_tokens", lambda *asked: gate() or count(*asked))
        run_id = runs.submit(request_of(creativity="low"))
        gate.reached()
        assert runs.watch(run_id).progress == Progress("expanding")
        gate.open()
        assert ended(runs, run_id).finished[0].recipe.expansion.writer == "phrasebook"

    def test_a_server_that_writes_slowly_holds_nobody_s_pictures_up(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = stage.gate(), stage.gate()
        written_by(ChatServer({10: first, 11: second}), monkeypatch)
        slow = runs.submit(request_of(creativity="low", batch=2, seed=10), ADA)
        first.reached()
        assert ended(runs, runs.submit(request_of(seed=20), BOB)).state is State.DONE
        waits = runs.watch(slow, ADA)
        assert (waits.state, waits.progress) == (State.WAITING, Progress("expanding"))
        drawing, script = stage.gated(request_of(seed=30))
        stage.engine.scripts = [script]
        runs.submit(request_of(seed=30), BOB)
        drawing.reached()
        later = runs.submit(request_of(seed=40), BOB)
        first.open()
        until(runs, slow, lambda run: run.progress == Progress("expanding", shot=1), ADA)
        drawing.open()
        assert ended(runs, later, BOB).state is State.DONE
        second.open()
        found = ended(runs, slow, ADA).finished
        assert [record.recipe.expansion.text for record in found] == ["a fox at dawn", "a fox at dusk"]
        assert stage.seeds() == [20, 30, 10, 40, 11], "its place in line is kept"

    def test_a_run_whose_prompt_is_being_written_is_stopped_at_once(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = stage.gate()
        written_by(ChatServer({10: gate}), monkeypatch)
        run_id = runs.submit(request_of(creativity="low", seed=10))
        gate.reached()
        runs.stop(run_id)
        assert runs.watch(run_id).state is State.STOPPED
        gate.open()
        assert ended(runs, runs.submit(request_of(seed=20))).state is State.DONE
        assert stage.seeds() == [20]

    def test_a_server_that_cannot_be_reached_fails_no_run(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away() -> None:
            raise Unavailable("The endpoint is away — start it")

        written_by(ChatServer({10: away}), monkeypatch)
        (record,) = ended(runs, runs.submit(request_of(creativity="low", seed=10))).finished
        assert record.recipe.expansion.text == "a fox" and "is away" in record.recipe.expansion.notice

    def test_owners_take_turns_picture_by_picture(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        first = runs.submit(request_of(batch=4, seed=10), ADA)
        gate.reached()
        second = runs.submit(request_of(seed=20), ADA)
        other = runs.submit(request_of(batch=2, seed=30), BOB)
        gate.open()
        for run_id in (first, second, other):
            assert ended(runs, run_id).state is State.DONE
        assert stage.seeds() == [10, 30, 11, 31, 12, 13, 20]

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
    def test_page_and_browser_come_first(self, stage: Stage, runs: Runs) -> None:
        found = []
        stage.engine.scripts = [
            [lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())), *drawn(shot_of())]
        ]
        ended(runs, runs.submit(request_of()))
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert found == [min(own + NICENESS, 19)]

    def test_a_run_s_pictures_are_the_same_whoever_draws_between(self, stage: Stage, runs: Runs) -> None:
        mine, other = runs.submit(request_of(batch=3, seed=10), ADA), runs.submit(request_of(batch=3, seed=30), BOB)
        ended(runs, mine), ended(runs, other)
        assert (drawn_seeds(runs, mine), drawn_seeds(runs, other)) == ([10, 11, 12], [30, 31, 32])


class TestWatching:
    def test_it_waits_for_news(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = runs.submit(request_of())
        gate.reached()
        run = runs.watch(run_id)
        assert runs.watch(run_id, since=run.version, seconds=0.02).version == run.version
        threading.Timer(0.05, gate.open).start()
        assert runs.watch(run_id, since=run.version, seconds=LIMIT_SECONDS).version > run.version
        assert ended(runs, run_id).version > run.version

    def test_it_does_not_wait_where_there_are_news(self, runs: Runs) -> None:
        run_id = runs.submit(request_of())
        run = ended(runs, run_id)
        begun = time.monotonic()
        assert runs.watch(run_id, since=0, seconds=LIMIT_SECONDS).state is run.state
        assert time.monotonic() - begun < LIMIT_SECONDS / 2

    def test_it_ends_with_the_server(self, stage: Stage, runs: Runs) -> None:
        run_id = runs.submit(request_of())
        ended(runs, run_id)
        threading.Timer(0.05, runs.close).start()
        begun = time.monotonic()
        runs.watch(run_id, since=sys.maxsize, seconds=LIMIT_SECONDS)
        assert time.monotonic() - begun < LIMIT_SECONDS / 2

    def test_a_stranger_sees_and_stops_nothing(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = runs.submit(request_of(), ADA)
        gate.reached()
        for forbidden in (runs.watch, runs.stop):
            with pytest.raises(InvalidRequest, match="There is no run"):
                forbidden(run_id, BOB)
        assert runs.of(BOB) == []
        assert [run.id for run in runs.of(ADA)] == [run.id for run in runs.of(LOCAL)] == [run_id]
        gate.open()
        assert ended(runs, run_id).state is State.DONE

    def test_runs_are_listed_by_kind_oldest_first(self, runs: Runs) -> None:
        first, second = runs.submit(request_of()), runs.submit(request_of(seed=8))
        third = runs.begin(Kind.ANALYZE, "Dusk", lambda report, check: None)
        assert [run.id for run in runs.of()] == [first, second, third]
        assert [run.id for run in runs.of(kind=Kind.GENERATE)] == [first, second]

    def test_a_run_of_long_ago_is_forgotten(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "ENDED_KEPT", 2)
        ids = []
        for _ in range(4):
            ids.append(runs.submit(request_of()))
            ended(runs, ids[-1])
        assert [run.id for run in runs.of()] == ids[1:]
        with pytest.raises(InvalidRequest, match="There is no run .* — its pictures are in the library"):
            runs.watch(ids[0])

    def test_what_comes_before_and_how_long_it_takes(self, stage: Stage, runs: Runs) -> None:
        half, script = stage.gated(request_of(), before=2)  # step 1 of 2 is told
        stage.engine.scripts = [list(drawn(shot_of())), script]
        first = runs.submit(request_of(), ADA)
        assert ended(runs, first).seconds_left is None
        mine = runs.submit(request_of(batch=2), ADA)
        half.reached()
        next_one = runs.submit(request_of(), ADA)
        other = runs.submit(request_of(), BOB)
        # A picture takes half a second here, and one is half done: then come Bob's, mine, and my next run's.
        expected = {mine: (0, 0.25 + 0.5 + 0.5), other: (1, 0.25 + 0.5), next_one: (2, 0.25 + 0.5 + 0.5 + 0.5)}
        for run_id, (ahead, seconds) in expected.items():
            run = runs.watch(run_id)
            assert (run.ahead, run.seconds_left) == (ahead, pytest.approx(seconds))
        assert [(run.ahead, run.seconds_left) for run in runs.of()][1:] == [
            (ahead, pytest.approx(seconds)) for ahead, seconds in (expected[mine], expected[next_one], expected[other])
        ]
        half.open()
        run = ended(runs, next_one)
        assert (run.ahead, run.seconds_left) == (0, None)

    def test_how_long_is_not_known_before_anything_like_it_was_drawn(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = runs.submit(request_of())
        gate.reached()
        assert runs.watch(run_id).seconds_left is None
        gate.open()
        ended(runs, run_id)

        again = stage.serve()
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = again.submit(request_of())
        gate.reached()
        assert again.watch(run_id).seconds_left == pytest.approx(0.5), "the library knows"


class TestStopping:
    def test_a_run_that_waits(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        first, waiting = runs.submit(request_of()), runs.submit(request_of(seed=8))
        gate.reached()
        runs.stop(waiting)
        run = runs.watch(waiting)
        assert (run.state, run.failure, run.finished) == (State.STOPPED, STOPPED, [])
        gate.open()
        assert ended(runs, first).state is State.DONE
        assert stage.seeds() == [7]

    def test_a_run_that_is_drawn_ends_at_its_next_step_and_the_device_is_free(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of(), before=2)
        stage.engine.scripts = [list(drawn(shot_of())), script]
        run_id = runs.submit(request_of(batch=4))
        gate.reached()
        following = runs.submit(request_of(seed=30))
        before = runs.watch(run_id)
        runs.stop(run_id)
        told = runs.watch(run_id, since=before.version, seconds=60)
        assert (before.stopping, told.stopping, told.state) == (False, True, State.RUNNING)
        gate.open()
        run = ended(runs, run_id)
        assert not run.stopping
        assert (run.state, run.failure) == (State.STOPPED, STOPPED)
        assert [record.recipe.seed for record in run.finished] == [7]
        assert run.finished == [record for record in stage.library.recent(9) if record.recipe.seed == 7]
        assert ended(runs, following).state is State.DONE
        assert stage.seeds() == [7, 8, 30]

    def test_a_run_between_its_turns(self, stage: Stage, runs: Runs) -> None:
        mine, my_script = stage.gated(request_of())
        other, other_script = stage.gated(request_of(seed=30))
        stage.engine.scripts = [my_script, other_script]
        run_id = runs.submit(request_of(batch=2), ADA)
        mine.reached()
        others = runs.submit(request_of(batch=2, seed=30), BOB)
        mine.open()
        other.reached()
        until(runs, run_id, lambda run: run.records[0])
        runs.stop(run_id, ADA)
        assert runs.watch(run_id).state is State.STOPPED
        other.open()
        assert ended(runs, others).state is State.DONE
        assert drawn_seeds(runs, run_id) == [7] and stage.seeds() == [7, 30, 31]

    def test_a_run_after_its_last_step_does_not_wait_for_another_turn(self, stage: Stage, runs: Runs) -> None:
        mine, other = stage.gate(), stage.gate()
        stage.engine.scripts = [[*drawn(shot_of()), mine], [other, *drawn(shot_of())]]
        run_id = runs.submit(request_of(batch=2), ADA)
        mine.reached()
        others = runs.submit(request_of(batch=3, seed=30), BOB)
        runs.stop(run_id, ADA)
        mine.open()
        other.reached()
        assert ended(runs, run_id).state is State.STOPPED
        other.open()
        assert ended(runs, others).state is State.DONE
        assert drawn_seeds(runs, run_id) == [7] and stage.seeds() == [7, 30, 31, 32]

    def test_it_has_ended_when_what_was_drawn_is_on_disk(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writing, save = stage.gate(), stage.library.save
        monkeypatch.setattr(stage.library, "save", lambda *arguments: writing() or save(*arguments))
        drawing, script = stage.gated(request_of(seed=8))
        stage.engine.scripts = [list(drawn(shot_of())), script]
        run_id = runs.submit(request_of(batch=2))
        drawing.reached(), writing.reached()
        runs.stop(run_id)
        drawing.open()
        assert not runs.watch(run_id, since=sys.maxsize, seconds=0.05).state.ended
        writing.open()
        run = ended(runs, run_id)
        assert run.state is State.STOPPED and [record.recipe.seed for record in run.finished] == [7]

    @pytest.mark.parametrize("phase", ["decoding", "writing"])
    def test_after_the_last_step_it_is_told_and_the_picture_is_kept(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch, phase: str
    ) -> None:
        here, save = stage.gate(), stage.library.save
        if phase == "decoding":
            stage.engine.scripts = [[*drawn(shot_of()), here]]
        else:
            monkeypatch.setattr(stage.library, "save", lambda *arguments: here() or save(*arguments))
        run_id = runs.submit(request_of())
        here.reached()
        runs.stop(run_id)
        assert not runs.watch(run_id).state.ended
        here.open()
        run = ended(runs, run_id)
        assert (run.state, run.failure, drawn_seeds(runs, run_id)) == (State.STOPPED, STOPPED, [7])

    def test_one_that_has_ended_stays_as_it_is(self, runs: Runs) -> None:
        run_id = runs.submit(request_of())
        run = ended(runs, run_id)
        runs.stop(run_id)
        assert runs.watch(run_id).state is run.state is State.DONE


class TestFailing:
    def test_one_run_leaves_the_others(self, stage: Stage, runs: Runs) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script, [Step(0, 0, 2), Unavailable("no weights — download them")]]
        run_id = runs.submit(request_of(batch=3))
        following = runs.submit(request_of(seed=30))
        gate.reached(), gate.open()
        run = ended(runs, run_id)
        assert (run.state, run.failure) == (State.FAILED, "no weights — download them")
        assert [record.recipe.seed for record in run.finished] == [7]
        assert ended(runs, following).state is State.DONE
        assert stage.seeds() == [7, 8, 30]

    def test_a_defect_is_logged_and_the_next_run_works(
        self, stage: Stage, runs: Runs, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage.engine.scripts = [[ZeroDivisionError()]]
        run = ended(runs, runs.submit(request_of()))
        assert (run.state, run.failure) == (State.FAILED, DEFECT)
        assert "ZeroDivisionError" in caplog.text
        assert ended(runs, runs.submit(request_of())).state is State.DONE

    def test_a_picture_that_cannot_be_written_ends_its_run_alone(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save = stage.library.save

        def save_most(recipe: Recipe, *arguments: object) -> object:
            if recipe.seed == 8:
                raise StorageError("The disk is full — free some space")
            return save(recipe, *arguments)

        monkeypatch.setattr(stage.library, "save", save_most)
        mine, other = runs.submit(request_of(batch=4), ADA), runs.submit(request_of(batch=4, seed=30), BOB)
        run = ended(runs, mine)
        assert (run.state, run.failure) == (State.FAILED, "The disk is full — free some space")
        assert run.records[:2] == (run.finished[0], None) and run.progress is None
        assert ended(runs, other).state is State.DONE
        assert ended(runs, runs.submit(request_of(seed=50), ADA)).state is State.DONE

    def test_a_run_that_failed_to_write_draws_no_more_than_a_step(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writing = stage.gate()

        def full(*arguments: object) -> None:
            writing()
            raise StorageError("The disk is full — free some space")

        monkeypatch.setattr(stage.library, "save", full)
        drawing, script = stage.gated(request_of(seed=8))
        stage.engine.scripts = [list(drawn(shot_of())), script]
        run_id = runs.submit(request_of(batch=4))
        drawing.reached(), writing.reached()
        writing.open()
        assert ended(runs, run_id).state is State.FAILED
        drawing.open()
        following = ended(runs, runs.submit(request_of(seed=30)))
        assert following.state is State.FAILED and stage.seeds() == [7, 8, 30]
        assert runs.watch(run_id).progress is None


def test_too_many_runs_are_refused(stage: Stage) -> None:
    runs = stage.serve(Limits(2))
    gate, script = stage.gated(request_of())
    stage.engine.scripts = [script]
    first, second = runs.submit(request_of()), runs.submit(request_of())
    gate.reached()
    for ask in (
        lambda: runs.submit(request_of()),
        lambda: runs.begin(Kind.EXPAND, "a fox", lambda report, check: None),
    ):
        with pytest.raises(Unavailable, match=r"2 runs are waiting already — .* raise KREA_STUDIO_QUEUE_SIZE"):
            ask()
    gate.open()
    ended(runs, first), ended(runs, second)
    assert ended(runs, runs.submit(request_of())).state is State.DONE


class TestUnwatched:
    @pytest.fixture
    def now(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The time by which looks at a run are counted; it stands still until a test moves it on."""
        now = [0.0]
        for name in ("entry", "runs"):
            clock = SimpleNamespace(monotonic=lambda: now[0])
            monkeypatch.setattr(f"krea_studio.runs.{name}.time", clock)
        return now

    @pytest.fixture
    def runs(self, stage: Stage, now: list[float]) -> Runs:
        return stage.serve(unwatched_seconds=120.0)

    def test_a_run_that_nobody_looks_at_ends(self, stage: Stage, runs: Runs, now: list[float]) -> None:
        gate, script = stage.gated(request_of(seed=8))
        stage.engine.scripts = [list(drawn(shot_of())), script]
        run_id = runs.submit(request_of(batch=4))
        gate.reached()
        now[0] += 121
        gate.open()
        following = ended(runs, runs.submit(request_of(seed=30)))
        run = runs.watch(run_id)
        assert run.state is State.STOPPED and run.failure.startswith("Nobody looked at the run for 120 seconds")
        assert [record.recipe.seed for record in run.finished] == [7]
        assert following.state is State.DONE and stage.seeds() == [7, 8, 30]

    def test_one_that_waits_is_not_begun(self, stage: Stage, runs: Runs, now: list[float]) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        mine, waiting = runs.submit(request_of(), ADA), runs.submit(request_of(seed=30), BOB)
        gate.reached()
        now[0] += 121
        runs.watch(mine)
        gate.open()
        assert ended(runs, mine).state is State.DONE
        assert ended(runs, waiting).state is State.STOPPED and stage.seeds() == [7]

    @pytest.mark.parametrize("look", [lambda runs, run_id: runs.watch(run_id, ADA), lambda runs, run_id: runs.of(ADA)])
    def test_one_that_is_looked_at_goes_on(self, stage: Stage, runs: Runs, now: list[float], look: object) -> None:
        gates = [stage.gate() for _ in range(3)]
        begun, *events = drawn(shot_of())
        stage.engine.scripts = [[begun, *(step for gate in gates for step in (gate, Step(0, 1, 2))), *events]]
        run_id = runs.submit(request_of(), ADA)
        for gate in gates:
            gate.reached()
            now[0] += 100
            look(runs, run_id)
            gate.open()
        assert ended(runs, run_id).state is State.DONE

    def test_who_waits_for_news_looks(self, stage: Stage, runs: Runs, now: list[float]) -> None:
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = runs.submit(request_of())
        gate.reached()
        watching = threading.Thread(target=runs.watch, args=(run_id, LOCAL, sys.maxsize, LIMIT_SECONDS))
        watching.start()
        limit = time.monotonic() + LIMIT_SECONDS
        while not runs._entries[run_id].watchers and time.monotonic() < limit:
            time.sleep(0.01)
        now[0] += 1000
        gate.open()
        assert ended(runs, run_id).state is State.DONE
        runs.close()
        watching.join(LIMIT_SECONDS)

    def test_on_one_s_own_machine_nobody_has_to(self, stage: Stage, now: list[float]) -> None:
        runs = stage.serve()
        gate, script = stage.gated(request_of())
        stage.engine.scripts = [script]
        run_id = runs.submit(request_of())
        gate.reached()
        now[0] += 10**6
        gate.open()
        assert ended(runs, run_id).state is State.DONE


class TestTheContentFilter:
    def test_a_run_goes_on_without_a_refused_picture_and_says_so(self, runs: Runs) -> None:
        run = ended(runs, runs.submit(request_of(batch=3, seed=REFUSED_SEED - 1)))
        assert run.state is State.DONE and f"the picture of seed {REFUSED_SEED}" in run.failure
        assert run.withheld == {1}
        assert [record and record.recipe.seed - REFUSED_SEED for record in run.records] == [-1, None, 1]

    @pytest.mark.parametrize("batch", [1, 2])
    def test_one_that_is_stopped_while_its_picture_is_judged_tells_both(
        self, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch, batch: int
    ) -> None:
        gate, classifier = stage.gate(), runs.studio.content_filter.classifier
        judge = classifier.score
        monkeypatch.setattr(classifier, "score", lambda image: gate() or judge(image))
        run_id = runs.submit(request_of(batch=batch, seed=REFUSED_SEED))
        gate.reached()
        runs.stop(run_id)
        gate.open()
        run = ended(runs, run_id)
        assert (run.state, run.withheld) == (State.STOPPED, frozenset({0}))
        assert run.failure.startswith(
            "Stopped. Finished pictures are kept. The content filter did not pass the picture"
        )
        row = runs._rows.find(run_id)
        assert row and (row.state, row.failure) == (run.state, run.failure)

    def test_a_run_of_which_nothing_is_kept_has_failed(self, runs: Runs) -> None:
        run = ended(runs, runs.submit(request_of(seed=REFUSED_SEED)))
        assert run.state is State.FAILED and "content filter" in run.failure and run.finished == []
