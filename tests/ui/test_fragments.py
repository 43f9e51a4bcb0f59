"""What is drawn as HTML: escaped, in plain words, with the right numbers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from krea_studio.engine.base import CheckpointInfo, EngineStatus, gigabytes
from krea_studio.library.store import Library
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import parse_request
from krea_studio.recipe.variants import VARIANTS
from krea_studio.runs.run import Kind, Progress, Run, State
from krea_studio.ui import fragments
from tests.doubles import picture
from tests.ui.conftest import VOCABULARY

HOSTILE = "<img src=x onerror=alert(1)> & \"quoted\" 'שלום' 🦊"
EMBEDDED = CheckpointInfo("mini-turbo", "Mini Turbo", "nowhere", "", embedded=True, vocabulary=VOCABULARY)


def shot_of(**wishes: object):
    return plan(parse_request({"prompt": "a fox", **wishes}), seed=7).shots[0]


def run_of(shots: Sequence[Shot], progress: Progress | None, **facts: Any) -> Run:
    known = {"state": State.RUNNING, "title": "a fox", **facts}
    return Run(
        id="0" * 32,
        kind=Kind.GENERATE,
        owner="local",
        version=3,
        created_at=datetime.now(UTC),
        shots=tuple(shots),
        progress=progress,
        **known,
    )


def test_people_s_text_is_escaped_everywhere(library: Library) -> None:
    shot = shot_of(prompt=HOSTILE, resolution="512")
    record = library.save(shot.recipe("mini-turbo"), picture(shot), 1.0)
    hostile_words = replace(EMBEDDED, vocabulary={HOSTILE: [HOSTILE]})
    for markup in (
        fragments.notice(HOSTILE),
        fragments.details(record),
        fragments.words_by_group(hostile_words.vocabulary),
        fragments.variant_text(VARIANTS["turbo"], HOSTILE),
        fragments.stage(run_of([shot], Progress("loading", HOSTILE, 0.5)), "n"),
        fragments.queue([run_of([shot], None, title=HOSTILE)]),
        fragments.status_text(EngineStatus("cpu", "float32"), replace(EMBEDDED, label=HOSTILE)),
    ):
        assert "<img src=x" not in markup
        assert "&lt;img" in markup
        assert "🦊" in markup


def test_a_step_tells_picture_and_step_and_shows_the_preview() -> None:
    shots = plan(parse_request({"prompt": "a fox", "batch": 4, "aspect_ratio": "16:9"}), seed=7).shots
    markup = fragments.stage(run_of(shots, Progress("drawing", shot=1, step=5, steps=8, preview=b"\xff\xd8")), "n")
    assert "Picture 2 of 4 · step 5 of 8" in markup
    assert 'aria-valuenow="62"' in markup
    assert "data:image/jpeg;base64,/9g=" in markup
    assert "--width: 1376; --height: 768" in markup


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (None, "Starting"),
        (Progress("expanding"), "Expanding the prompt"),
        (Progress("loading", "Mini Turbo: vae", 0.5), "Loading · Mini Turbo: vae"),
        (Progress("drawing", step=0, steps=8), "Step 0 of 8"),
        (Progress("drawing", step=5, steps=8), "Step 5 of 8"),
        (Progress("drawing", step=8, steps=8), "Finishing the picture"),
    ],
)
def test_a_single_picture_is_not_counted(progress: Progress | None, words: str) -> None:
    assert fragments.label_of(run_of([shot_of()], progress)) == words


@pytest.mark.parametrize(("ahead", "words"), [(0, "you are next"), (1, "1 more before you"), (7, "7 more")])
def test_waiting_tells_the_place_and_when(ahead: int, words: str) -> None:
    waiting = run_of([shot_of()], None, state=State.WAITING, ahead=ahead, seconds_left=23.0)
    assert words in fragments.label_of(waiting) and "done in about 25 s" in fragments.label_of(waiting)


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "5 s"), (7.4, "5 s"), (88.0, "1 min 30 s"), (121.0, "2 min")])
def test_what_is_guessed_is_told_in_steps_of_five_seconds(seconds: float, text: str) -> None:
    waiting = run_of([shot_of()], None, state=State.WAITING, seconds_left=seconds)
    assert fragments.label_of(waiting).endswith(f"done in about {text}")
    assert f"done in about {text}<" in fragments.queue([waiting])


def test_a_prompt_that_is_written_out_meanwhile_is_told_while_waiting() -> None:
    waiting = run_of([shot_of()], Progress("expanding"), state=State.WAITING)
    assert fragments.label_of(waiting) == "Expanding the prompt"


def test_the_size_is_the_one_that_will_be_drawn() -> None:
    assert "Landscape · 1376 × 768 pixels" in fragments.size_text("16:9", "1K")
    assert "512 × 512" in fragments.size_text("1:1", "512")


def test_the_embedded_model_says_that_its_world_is_small() -> None:
    text = fragments.world_notice(EMBEDDED)
    assert "small model" in text
    assert "about 3 words" in text
    assert fragments.world_notice(replace(EMBEDDED, embedded=False, vocabulary=None)) == ""


def test_examples_are_no_words() -> None:
    words = fragments.words_by_group(VOCABULARY)
    assert "<dt>How dense</dt><dd>crowded</dd>" in words
    assert "a fox at dusk" not in words


def test_the_footer_says_that_the_project_is_unofficial_and_names_the_licence() -> None:
    assert "Unofficial project, not affiliated with Krea." in fragments.FOOTER
    assert "Krea 2 Community License" in fragments.FOOTER


def test_status_before_the_first_picture() -> None:
    text = fragments.status_text(EngineStatus("auto", "auto"), EMBEDDED)
    assert text == "<p>Mini Turbo loads with the first picture</p>"


def test_sizes_in_memory() -> None:
    assert gigabytes(61_400_000) == "61 MB"
    assert gigabytes(26_000_000_000) == "26.0 GB"


@pytest.mark.parametrize("name", ["mini-turbo", "krea/mini-turbo", "/far/away/mini-turbo/"])
def test_checkpoints_are_shown_by_their_last_name(name: str) -> None:
    assert fragments.short_name(name) == "mini-turbo"
