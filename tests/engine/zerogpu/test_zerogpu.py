"""The ZeroGPU engine, with the package `spaces` where it is installed and with something in its place otherwise.

What crosses to the process that has the GPU is pickled here, both ways, whoever lends.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from krea_studio.engine.base import Chat, Event, ImageReady, Step
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.zerogpu.duration import LEAST_SECONDS, MOST_SECONDS, Durations
from krea_studio.engine.zerogpu.engine import ZeroGPUEngine
from krea_studio.engine.zerogpu.quota import in_words
from krea_studio.engine.zerogpu.worker import Failed, SentFiles, events
from krea_studio.errors import InvalidRequest, Stopped, StudioError, Unavailable
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.request import parse_request
from krea_studio.services import build_services
from krea_studio.settings import Settings
from tests.doubles import PlainFiles

ROOT = Path(__file__).parents[3]


def planned(**fields: object) -> GenerationPlan:
    return plan(parse_request({"prompt": "a fox", "resolution": "512", **fields}), seed=7)


class Lender:
    """In the place of `spaces.GPU`: pickles what goes in and comes out, and notes for how long a GPU was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.given_back = 0
        self.refuse_with: Exception | None = None

    def __call__(self, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorate(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            def lent(*arguments: Any) -> Iterator[Any]:
                self.asked.append(duration(*arguments))
                if self.refuse_with:
                    raise self.refuse_with
                going = task(*pickle.loads(pickle.dumps(arguments)))
                try:
                    for each in going:
                        yield pickle.loads(pickle.dumps(each))
                finally:
                    going.close()  # type: ignore[attr-defined]
                    self.given_back += 1

            return lent

        return decorate


@pytest.fixture(scope="module")
def lender() -> Lender:
    return Lender()


@pytest.fixture(scope="module")
def borrowing(lender: Lender, tmp_path_factory: pytest.TempPathFactory) -> ZeroGPUEngine:
    return ZeroGPUEngine(Settings(library=tmp_path_factory.mktemp("library")), lend=lender)


def run(engine: LocalEngine, asked: GenerationPlan, check: Callable[[], None] = lambda: None) -> list[Event]:
    told: list[Event] = []
    engine.run(asked, told.append, check, PlainFiles())
    return told


def test_what_draws_is_placed_before_the_first_run(borrowing: ZeroGPUEngine) -> None:
    loaded = {each.name for each in borrowing.status().loaded}
    assert loaded == {"mini-medium", "mini-large", "mini-turbo"}


def test_a_borrowed_gpu_draws_the_local_engine_s_pictures(
    borrowing: ZeroGPUEngine, engine: LocalEngine, lender: Lender
) -> None:
    before = lender.given_back
    asked = planned(batch=2)
    here, there = ([each for each in run(e, asked) if isinstance(each, ImageReady)] for e in (engine, borrowing))
    assert [each.image.tobytes() for each in here] == [each.image.tobytes() for each in there]
    assert [each.recipe for each in here] == [each.recipe for each in there]
    assert lender.given_back == before + 1 and not borrowing.status().busy


def test_a_stop_ends_it_within_a_step_and_gives_the_gpu_back(borrowing: ZeroGPUEngine, lender: Lender) -> None:
    before, told = lender.given_back, []

    def check() -> None:
        if any(isinstance(event, Step) and event.step == 2 for event in told):
            raise Stopped("Stopped.")

    with pytest.raises(Stopped):
        borrowing.run(planned(steps=20), told.append, check, PlainFiles())
    assert max(event.step for event in told if isinstance(event, Step)) == 2
    assert lender.given_back == before + 1
    assert "zerogpu-drawing" not in {thread.name for thread in threading.enumerate()}
    assert run(borrowing, planned())


def test_what_cannot_be_drawn_is_told_as_by_the_local_engine(borrowing: ZeroGPUEngine, engine: LocalEngine) -> None:
    asked = planned(prompt="fox " * 900)
    messages = []
    for each in (engine, borrowing):
        with pytest.raises(InvalidRequest) as caught:
            run(each, asked)
        messages.append(caught.value.message)
    assert messages[0] == messages[1]


def test_what_no_gpu_is_lent_for_is_told_in_words(borrowing: ZeroGPUEngine, lender: Lender) -> None:
    class Error(Exception):
        title = "ZeroGPU quota exceeded"
        message = "You have exceeded your free ZeroGPU quota (60s requested vs. 20s left). Try again in 1:02:03. "

    lender.refuse_with = Error()
    try:
        with pytest.raises(
            Unavailable, match=r"lends you no GPU now \(.* Try again in 1:02:03; \d+ s were asked for\) — "
        ):
            run(borrowing, planned())
        lender.refuse_with = ZeroDivisionError("no")
        with pytest.raises(StudioError, match="The engine failed"):
            run(borrowing, planned())
    finally:
        lender.refuse_with = None
    assert not borrowing.status().busy


def test_a_run_that_was_ended_for_its_length_is_given_longer_the_next_time(
    borrowing: ZeroGPUEngine, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Error(Exception):
        title = "ZeroGPU worker error"
        message = "GPU task aborted"

    monkeypatch.setattr(borrowing, "_durations", Durations())
    monkeypatch.setattr(lender, "refuse_with", Error())
    asked = planned(resolution="1K", steps=20)
    before = len(lender.asked)
    for _ in range(6):
        with pytest.raises(Unavailable, match="ended before the picture was finished .* — try again"):
            run(borrowing, asked)
    seconds = lender.asked[before:]
    assert seconds[0] < seconds[1] < MOST_SECONDS and seconds[-1] == MOST_SECONDS
    Error.message = "RuntimeError"
    borrowing._durations = Durations()
    for _ in range(2):
        with pytest.raises(Unavailable):
            run(borrowing, asked)
    assert lender.asked[-2] == lender.asked[-1] == seconds[0]


def test_an_error_of_another_s_is_none_of_quota() -> None:
    assert in_words(ValueError("no"), 10) is None


def test_without_the_package_it_is_told_before_anything_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    with pytest.raises(Unavailable, match=r"ENGINE is 'zerogpu', which needs the package spaces \(.*\) — install it"):
        build_services(Settings(engine="zerogpu"))


def test_no_language_model_borrows_a_gpu(borrowing: ZeroGPUEngine) -> None:
    assert borrowing.writer("turbo") is None
    with pytest.raises(Unavailable, match="phrasebook"):
        borrowing.write("turbo", Chat("a fox"), lambda: None)


def test_a_longer_run_asks_for_longer_within_bounds_and_learns() -> None:
    durations = Durations()
    (small,), (large,) = (planned(resolution=size, steps=20).shots for size in ("512", "1K"))
    guided = large.model_copy(update={"guidance_scale": 4.5})
    seconds = [durations.seconds(shots) for shots in ([small], [large], [guided], [guided] * 40)]
    assert seconds == sorted(seconds) and seconds[-1] == MOST_SECONDS
    durations.learn(large, 0.2)
    assert durations.seconds([large]) == LEAST_SECONDS
    durations.learn(large, 40.0)
    assert durations.seconds([large]) >= 60


def test_a_defect_crosses_as_a_message_and_the_last_event_is_the_last() -> None:
    def draw(tell: Callable[[Event], None], check: Callable[[], None]) -> None:
        tell(Step(0, 0, 8))
        raise ValueError("no")

    step, failed = events(draw)
    assert step == Step(0, 0, 8)
    assert failed == Failed(StudioError, "The engine failed (ValueError: no) — try again; the log has the details")


def test_files_are_sent_with_the_plan_that_names_them() -> None:
    image = "0" * 32
    fields = {"style_references": [{"image": image, "strength": 0.5}]}

    class Files(PlainFiles):
        def picture(self, image: str) -> bytes:
            return image.encode()

    sent = SentFiles.of(planned(**fields), Files())
    assert pickle.loads(pickle.dumps(sent)).picture(image) == image.encode()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("spaces") is None, reason="the package spaces is not installed")
def test_the_package_itself_forks_draws_and_stops(tmp_path: Path) -> None:
    environment = os.environ | {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": "http://127.0.0.1:1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "tests.engine.zerogpu.forking", str(tmp_path / "library")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["same"] and told["elsewhere"] and told["drawn_by_the_server"] == 0
    assert told["stopped_at"] == 2 and told["released"] == told["lent"]
    assert told["requests"] == ["visitor"] * told["lent"]
    assert "lends you no GPU now" in told["refusal"] and "vs. 20s left" in told["refusal"]
