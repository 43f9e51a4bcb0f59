import threading
import time

import pytest

from krea_studio.engine.base import Failed, ImageReady, Loading, Queued, Step
from krea_studio.engine.local.bridge import Line, Run, stream
from krea_studio.errors import InvalidRequest, Stopped, StudioError

IDLE = Loading("idle")


def drain(work, line=None, deadline_seconds=60.0):
    return list(stream(work, line or Line(), deadline_seconds, IDLE))


def until(condition, seconds=5.0):
    """Wait for something another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def steps_until_stopped(run: Run):
    """Work that never ends by itself."""
    number = 0
    while True:
        run.check()
        number += 1
        run.emit(Step(0, number, 10**9))
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_threads_are_left():
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


def test_events_come_in_order_and_the_line_is_free_at_the_end():
    line = Line()
    assert drain(lambda run: [run.emit(Step(0, n, 3)) for n in (1, 2, 3)], line) == [Step(0, n, 3) for n in (1, 2, 3)]
    assert line.length == 0


def test_silence_repeats_the_latest_news_but_never_a_picture():
    picture = ImageReady(0, None, 0.1, None)

    def work(run):
        time.sleep(0.4)
        run.emit(Step(0, 1, 1))
        run.emit(picture)
        time.sleep(0.4)

    seen = drain(work)
    assert seen[0] is IDLE
    assert seen.count(picture) == 1
    assert seen[-1] == Step(0, 1, 1)


@pytest.mark.parametrize("error", [InvalidRequest("the size is odd — give an even one"), ValueError("a defect")])
def test_what_goes_wrong_is_the_last_event(error, caplog):
    line = Line()

    def work(run):
        run.shot = 2
        run.emit(Step(2, 1, 9))
        raise error

    last = drain(work, line)[-1]
    assert isinstance(last, Failed) and last.shot == 2
    assert isinstance(last.error, StudioError) and str(error) in last.error.message
    assert last.error.__traceback__ is None
    assert line.length == 0


def test_closing_ends_the_work_and_frees_the_line():
    line = Line()
    run = stream(steps_until_stopped, line, 60, IDLE)
    next(run)
    started = time.monotonic()
    run.close()
    assert time.monotonic() - started < 1
    assert line.length == 0


def test_a_reader_that_is_thrown_away_ends_the_work():
    line = Line()
    run = stream(steps_until_stopped, line, 60, IDLE)
    next(run)
    del run
    until(lambda: line.length == 0)


def test_an_iterator_that_was_never_read_takes_no_place():
    line = Line()
    run = stream(steps_until_stopped, line, 60, IDLE)
    run.close()
    assert line.length == 0


def test_the_deadline_ends_the_work_once_its_clock_runs():
    def work(run):
        time.sleep(0.1)  # loading does not count
        run.check()
        run.start_clock()
        steps_until_stopped(run)

    last = drain(work, deadline_seconds=0.05)[-1]
    assert isinstance(last.error, Stopped) and "0.05 seconds" in last.error.message


def test_runs_take_turns_and_know_their_place():
    line, go = Line(), threading.Event()
    order = []

    def work(name):
        def work(run):
            order.append(name)
            run.emit(Step(0, 1, 1))
            while not go.wait(0.01):
                run.check()

        return work

    runs = [stream(work(name), line, 60, IDLE) for name in "abcd"]
    firsts = [next(run) for run in runs]
    assert firsts == [Step(0, 1, 1), Queued(0), Queued(1), Queued(2)]
    runs[1].close()  # one in the middle gives up: the ones behind it move on, the one at work does not notice
    until(lambda: line.length == 3)
    assert next(event for event in runs[2] if event == Queued(0))
    assert next(event for event in runs[3] if event == Queued(1))
    go.set()
    for run in (runs[0], runs[2], runs[3]):
        list(run)
    assert order == ["a", "c", "d"]
    assert line.length == 0


def test_only_one_works_at_a_time():
    line = Line()
    at_work, most = 0, 0

    def work(run):
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.01)
        at_work -= 1

    threads = [threading.Thread(target=drain, args=(work, line)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
