import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from krea_studio.engine.base import ImageReady, Loading, Step
from krea_studio.engine.checkpoints.manager import PipelineManager
from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.engine.pipeline.prompts import PromptCache
from krea_studio.errors import InvalidRequest, Stopped, StudioError, Unavailable
from krea_studio.recipe.variants import VARIANTS
from krea_studio.settings import Settings
from tests.engine.conftest import NO_FILES, events_of, failure, pictures, small_plan, stop_after_a_step, until


def ignored(event):
    pass


def stopped():
    raise Stopped("enough")


def interrupted():
    raise KeyboardInterrupt


def test_a_seed_is_a_picture(engine):
    once, again, other = (pictures(engine, small_plan(seed))[0] for seed in (7, 7, 8))
    assert (once == again).all()
    assert (once != other).any()
    assert once.shape == (128, 192, 3) and once.dtype == np.uint8


@pytest.mark.parametrize("variant", ["turbo", "medium"])
def test_an_image_of_a_batch_is_its_seed_alone(engine, variant):
    batch = pictures(engine, small_plan(seed=2**32 - 2, batch=3, steps=2, variant=variant))
    for k, seed in enumerate((2**32 - 2, 2**32 - 1, 0)):
        (alone,) = pictures(engine, small_plan(seed=seed, steps=2, variant=variant))
        assert (batch[k] == alone).all()


def test_events_tell_each_shot_step_by_step(engine):
    pictures(engine, small_plan(steps=2))
    events = events_of(engine, small_plan(batch=2, steps=2))
    told = [(type(event), event.shot, getattr(event, "step", None)) for event in events]
    assert told == [
        (Step, 0, 0), (Step, 0, 1), (Step, 0, 2), (ImageReady, 0, None),
        (Step, 1, 0), (Step, 1, 1), (Step, 1, 2), (ImageReady, 1, None),
    ]  # fmt: skip
    assert events[-1].recipe.checkpoint == engine.checkpoint_of("turbo").name and events[-1].seconds > 0


def test_what_is_loaded_is_told_before_the_first_shot_begins():
    events = events_of(LocalEngine(Settings()), small_plan())
    begun = events.index(Step(0, 0, 3, embedded=True))
    assert events[0] == Loading("PyTorch and diffusers")
    assert [isinstance(event, Loading) for event in events] == [place < begun for place in range(len(events))]


def test_previews_can_be_off_and_change_nothing(engine):
    quiet = LocalEngine(Settings(previews=False))
    events = events_of(quiet, small_plan())
    assert all(event.preview is None for event in events if isinstance(event, Step))
    assert (np.asarray(events[-1].image) == pictures(engine, small_plan())[0]).all()


def test_the_next_picture_is_the_same_after_a_stop_a_failure_and_an_exception(engine, monkeypatch):
    for variant in ("turbo", "medium"):
        before = pictures(engine, small_plan(variant=variant, steps=2))[0]
        # stopped in the middle
        stop_after_a_step(engine, small_plan(variant=variant, seed=99, steps=50))
        assert (pictures(engine, small_plan(variant=variant, steps=2))[0] == before).all()
        with pytest.raises(KeyboardInterrupt):
            engine.run(small_plan(variant=variant, seed=99, steps=50), ignored, interrupted, NO_FILES)
        assert not engine.status().busy
        assert (pictures(engine, small_plan(variant=variant, steps=2))[0] == before).all()
        # refused
        failure(engine, small_plan(variant=variant, width=100))
        # a defect inside a step, and one in the decoder
        for owner, name in ((PipelineManager, "get"), (Drawing, "picture")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, lambda *args, **kwargs: 1 / 0)
                assert "ZeroDivisionError" in failure(engine, small_plan(variant=variant)).message
        with monkeypatch.context() as patch:
            patch.setattr("krea_studio.engine.local.drawing.predicted_clean", lambda *args: 1 / 0)
            assert type(failure(engine, small_plan(variant=variant))) is StudioError
        assert (pictures(engine, small_plan(variant=variant, steps=2))[0] == before).all()


@pytest.mark.parametrize("kind", [ValueError, Unavailable])
def test_an_error_keeps_nothing_of_its_run_alive(engine, monkeypatch, caplog, kind):
    made = []

    def fail(latents, *rest):
        made.append(weakref.ref(latents))
        try:
            raise OSError("no room")
        except OSError as error:
            raise kind("it broke — mend it") from error

    monkeypatch.setattr("krea_studio.engine.local.drawing.predicted_clean", fail)
    # What pytest keeps of the log has the traceback.
    caplog.set_level(logging.CRITICAL + 1, "krea_studio.engine.local.engine")
    error = failure(engine, small_plan())
    assert "it broke" in error.message and error.__context__ is error.__cause__ is None
    assert [latents() for latents in made] == [None]


def test_two_at_once_are_both_right_and_one_that_stops_does_not_disturb_the_other(engine):
    alone = {seed: pictures(engine, small_plan(seed, steps=4))[0] for seed in (1, 2)}
    with ThreadPoolExecutor() as pool:
        found = {seed: pool.submit(pictures, engine, small_plan(seed, steps=4)) for seed in alone}
        with pytest.raises(Stopped):
            engine.run(small_plan(3, steps=60), ignored, stopped, NO_FILES)
    assert all((found[seed].result()[0] == alone[seed]).all() for seed in alone)


def test_runs_stand_in_line_and_who_waits_can_leave(engine):
    pictures(engine, small_plan())
    told, end, leave = [], threading.Event(), threading.Event()

    def go_on():
        if leave.is_set():
            raise Stopped("given up")

    def hold():
        assert end.wait(60)
        raise Stopped("enough")

    def begin(name, check):
        waiting = engine.status().waiting + engine.status().busy
        run = pool.submit(engine.run, small_plan(steps=1), lambda event: told.append((name, event)), check, NO_FILES)
        until(lambda: engine.status().busy and engine.status().waiting == waiting)
        return run

    with ThreadPoolExecutor() as pool:
        first, second, third, fourth = (
            begin(name, check) for name, check in enumerate((hold, go_on, lambda: None, lambda: None))
        )
        assert engine.status().waiting == 3
        leave.set()
        with pytest.raises(Stopped, match="given up"):
            second.result(60)
        assert engine.status().waiting == 2 and not any(run.done() for run in (first, third, fourth))
        end.set()
        with pytest.raises(Stopped, match="enough"):
            first.result(60)
        third.result(60), fourth.result(60)
    assert [name for name, _ in told] == [0, 2, 2, 2, 3, 3, 3]
    assert (engine.status().busy, engine.status().waiting) == (False, 0)


def test_a_run_that_is_stopped_keeps_what_is_finished(engine):
    events = []

    def check():
        if any(isinstance(event, ImageReady) for event in events):
            raise Stopped("too slow — ask for less")

    with pytest.raises(Stopped, match="ask for less"):
        engine.run(small_plan(batch=3, steps=2), events.append, check, NO_FILES)
    assert [type(event) for event in events[-2:]] == [ImageReady, Step] and events[-1] == Step(1, 0, 2, embedded=True)


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"width": 200}, "200 × 128"),
        ({"prompt": "fox " * 600}, "The prompt has"),
        ({"variant": "medium", "negative_prompt": "fox " * 600}, "The negative prompt has"),
    ],
)
def test_what_would_be_rounded_or_cut_is_refused(engine, fields, named):
    error = failure(engine, small_plan(batch=2, **fields))
    assert isinstance(error, InvalidRequest) and named in error.message


def test_running_out_of_memory_is_told_with_advice(engine, monkeypatch):
    import torch

    pictures(engine, small_plan())
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Drawing, "picture", lambda *args, error=error: (_ for _ in ()).throw(error))
            found = failure(engine, small_plan())
        assert isinstance(found, Unavailable) and "ran out of memory — choose a smaller size" in found.message


def test_a_checkpoint_that_is_not_there_is_known_before_and_told_in_the_run(tmp_path, own_folder):
    (own_folder / "model_index.json").unlink()
    for name, reason in (("nonsense", "no checkpoint 'nonsense'"), (str(own_folder), "model_index.json")):
        engine = LocalEngine(Settings(checkpoint_turbo=name))
        assert reason in engine.abilities("turbo").unavailable
        assert name in engine.checkpoint_of("turbo").name
        error = failure(engine, small_plan())
        assert isinstance(error, Unavailable) and reason in error.message


def test_a_device_that_is_not_there_is_told():
    error = failure(LocalEngine(Settings(device="cuda:9")), small_plan())
    assert isinstance(error, Unavailable) and "cuda:9" in error.message and "KREA_STUDIO_DEVICE" in error.message


def test_status_and_abilities(engine):
    fresh = LocalEngine(Settings())
    assert fresh.status().loaded == () and fresh.status().device == Settings().device
    pictures(engine, small_plan())
    status = engine.status()
    assert engine.checkpoint_of("turbo").name in [row.name for row in status.loaded]
    assert 0 < status.bytes <= status.budget_bytes
    assert (status.device, status.precision) == ("cpu", "float32")
    assert [engine.abilities(variant).unavailable for variant in VARIANTS] == [""] * 3


def test_numbers_that_are_none_are_told_instead_of_shown(engine, monkeypatch):
    pictures(engine, small_plan())
    original = PromptCache.embedding

    def broken(*asked):
        embedding = original(*asked)
        return replace(embedding, values=embedding.values * float("nan"))

    monkeypatch.setattr(PromptCache, "embedding", broken)
    error = failure(engine, small_plan())
    assert isinstance(error, Unavailable) and "KREA_STUDIO_PRECISION" in error.message
