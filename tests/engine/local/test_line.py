import threading
import time
from collections.abc import Iterator

import pytest

from krea_studio.engine.local.line import Line, turn
from krea_studio.errors import Stopped
from tests.engine.conftest import until


def ignored() -> None:
    pass


class Visit(threading.Thread):
    """A turn taken in a thread of its own, which writes its name down and holds the turn until told to go on."""

    def __init__(self, line: Line, name: str, order: list[str]) -> None:
        super().__init__(name=name)
        self.line, self.order, self.go_on = line, order, threading.Event()
        self.given_up, self.checks = False, 0
        place = line.length
        self.start()
        until(lambda: line.length == place + 1)

    def check(self) -> None:
        self.checks += 1
        if self.given_up:
            raise Stopped("given up")

    def run(self) -> None:
        try:
            with turn(self.line, self.check):
                self.order.append(self.name)
                assert self.go_on.wait(60)
        except Stopped:
            pass


@pytest.fixture(autouse=True)
def no_threads_are_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


def test_turns_come_in_order_and_who_gives_up_holds_up_nobody() -> None:
    line = Line()
    order: list[str] = []
    first, *waiting = visits = [Visit(line, name, order) for name in "abcd"]
    waiting[0].given_up = True  # one in the middle: those behind it move on, the one whose turn it is does not notice
    waiting[0].join(60)
    assert line.length == 3 and order == ["a"]
    for visit in visits:
        visit.go_on.set()
        visit.join(60)
    assert order == ["a", "c", "d"] and line.length == 0
    assert first.checks == 0


def test_who_waits_is_asked_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    line, waits = Line(), list[float]()
    wait = line.wait
    monkeypatch.setattr(line, "wait", lambda place, seconds: waits.append(seconds) or wait(place, seconds))
    first, second = (Visit(line, name, []) for name in "ab")
    until(lambda: second.checks >= 4)
    assert max(waits) <= 1 / 4, "between two questions"
    for visit in (first, second):
        visit.go_on.set()


@pytest.mark.parametrize("error", [Stopped("enough"), ValueError("a defect"), KeyboardInterrupt()])
def test_the_line_is_free_whatever_goes_wrong(error: BaseException) -> None:
    line = Line()
    with pytest.raises(type(error)), turn(line, ignored):
        assert line.length == 1
        raise error
    assert line.length == 0

    def fail() -> None:
        raise error

    first = Visit(line, "a", [])
    with pytest.raises(type(error)), turn(line, fail):
        pytest.fail("the turn had not come")
    assert line.length == 1
    first.go_on.set()


def test_only_one_has_the_turn() -> None:
    line = Line()
    at_work, most = 0, 0

    def work() -> None:
        nonlocal at_work, most
        with turn(line, ignored):
            at_work += 1
            most = max(most, at_work)
            time.sleep(0.01)
            at_work -= 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
