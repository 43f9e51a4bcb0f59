import threading
from dataclasses import replace

import numpy as np
import pytest

from krea_studio.engine.base import Failed, ImageReady, Loading, Queued, Step
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import InvalidRequest, Stopped, StudioError, Unavailable
from krea_studio.recipe.variants import VARIANTS
from krea_studio.settings import Settings
from tests.engine.conftest import pictures, small_plan


@pytest.fixture(autouse=True)
def no_threads_are_left():
    yield
    left = [thread for thread in threading.enumerate() if thread.name == "krea-studio-run"]
    for thread in left:
        thread.join(5)
        assert not thread.is_alive()


def failure(engine, resolved):
    """The error with which a run ends that makes no picture."""
    events = list(engine.run(resolved))
    assert isinstance(events[-1], Failed)
    assert not any(isinstance(event, ImageReady) for event in events)
    return events[-1].error


def first_step(run):
    return next(event for event in run if isinstance(event, Step))


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
    # The same object again is no news.
    events = list({id(event): event for event in engine.run(small_plan(batch=2, steps=2))}.values())
    news = [event for event in events if not isinstance(event, Loading)]
    told = [(type(event), event.shot, getattr(event, "step", None)) for event in news]
    assert told == [
        (Step, 0, 1), (Step, 0, 2), (ImageReady, 0, None),
        (Step, 1, 1), (Step, 1, 2), (ImageReady, 1, None),
    ]  # fmt: skip
    assert events[-1].recipe.checkpoint == engine.checkpoint_of("turbo").name and events[-1].seconds > 0


def test_previews_can_be_off_and_change_nothing(engine):
    quiet = LocalEngine(Settings(previews=False))
    events = list(quiet.run(small_plan()))
    assert all(event.preview is None for event in events if isinstance(event, Step))
    assert (np.asarray(events[-1].image) == pictures(engine, small_plan())[0]).all()


def test_the_next_picture_is_the_same_after_a_stop_a_failure_and_an_exception(engine, monkeypatch):
    for variant in ("turbo", "medium"):
        before = pictures(engine, small_plan(variant=variant, steps=2))[0]
        drawing = engine._drawing
        # stopped in the middle
        run = engine.run(small_plan(variant=variant, seed=99, steps=50))
        first_step(run)
        run.close()
        assert not engine.status().busy
        assert (pictures(engine, small_plan(variant=variant, steps=2))[0] == before).all()
        # refused
        failure(engine, small_plan(variant=variant, width=100))
        # a defect inside a step, and one in the decoder
        for owner, name in ((drawing.manager, "get"), (drawing, "picture")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, lambda *args, **kwargs: 1 / 0)
                assert "ZeroDivisionError" in failure(engine, small_plan(variant=variant)).message
        with monkeypatch.context() as patch:
            patch.setattr("krea_studio.engine.local.drawing.predicted_clean", lambda *args: 1 / 0)
            error = failure(engine, small_plan(variant=variant))
            assert type(error) is StudioError and error.__context__ is None
        assert (pictures(engine, small_plan(variant=variant, steps=2))[0] == before).all()


def test_two_at_once_are_both_right_and_one_that_stops_does_not_disturb_the_other(engine):
    alone = {seed: pictures(engine, small_plan(seed, steps=4))[0] for seed in (1, 2)}
    found, ended = {}, threading.Event()

    def draw(seed):
        found[seed] = pictures(engine, small_plan(seed, steps=4))[0]

    def give_up():
        run = engine.run(small_plan(3, steps=60))
        first_step(run)
        run.close()
        ended.set()

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (1, 2)] + [threading.Thread(target=give_up)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ended.is_set()
    assert all((found[seed] == alone[seed]).all() for seed in alone)


def test_who_waits_knows_the_place_and_can_leave(engine):
    runs = [engine.run(small_plan(seed, steps=60)) for seed in range(3)]
    first_step(runs[0])
    assert [next(run) for run in runs[1:]] == [Queued(0), Queued(1)]
    assert (engine.status().busy, engine.status().waiting) == (True, 2)
    runs[1].close()
    runs[0].close()
    assert first_step(runs[2]).shot == 0
    runs[2].close()
    assert (engine.status().busy, engine.status().waiting) == (False, 0)


def test_the_deadline_ends_a_run_and_keeps_what_is_finished():
    engine = LocalEngine(Settings(deadline_seconds=0.001))
    last = list(engine.run(small_plan()))[-1]
    assert isinstance(last.error, Stopped) and "KREA_STUDIO_DEADLINE_SECONDS" in last.error.message
    assert last.shot == 0


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
            patch.setattr(engine._drawing, "picture", lambda *args, error=error: (_ for _ in ()).throw(error))
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
    original = type(engine._drawing)._embedding

    def broken(drawing, loaded, text, *words):
        embedding = original(drawing, loaded, text, *words)
        return replace(embedding, values=embedding.values * float("nan"))

    monkeypatch.setattr(type(engine._drawing), "_embedding", broken)
    error = failure(engine, small_plan())
    assert isinstance(error, Unavailable) and "KREA_STUDIO_PRECISION" in error.message
