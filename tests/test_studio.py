"""A run: pictures are announced when they are on disk, in order, and whatever ends it, nothing is lost."""

import errno
import io
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from krea_studio.direction.analysis import measured_analysis
from krea_studio.direction.moodboards import Analysis
from krea_studio.engine.abilities import Abilities, Ability
from krea_studio.engine.base import Chat, EngineStatus, Event, Files, ImageReady, LoadedCheckpoint, Loading, Step
from krea_studio.errors import InvalidRequest, Refused, Stopped, StorageError, Unavailable
from krea_studio.expansion.board_words import INSTRUCTION
from krea_studio.expansion.creativity import Expanded
from krea_studio.expansion.writers import Expanders, ResidentWriter
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.store import Library
from krea_studio.people import Person
from krea_studio.recipe.axes import parse_axis
from krea_studio.recipe.plan import GenerationPlan, plan
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import SEED_LIMIT, GenerationRequest, parse_request
from krea_studio.recipe.sweep import parse_sweep
from krea_studio.safety.classifiers import classifier_of
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.safety.previews import blurred
from krea_studio.safety.rules import Rules
from krea_studio.services import Services
from krea_studio.settings import Settings
from krea_studio.studio import Expanding, Saved, Started, Studio, StudioEvent, Withheld
from tests.doubles import REFUSED_SEED, JudgedByColour, Script, ScriptedEngine, drawn
from tests.library.styles.test_styles import taken_in


def request_of(**fields: object) -> GenerationRequest:
    return parse_request({"prompt": "a fox", "resolution": "512", "steps": 2, "seed": 7, **fields})


class Told(list[StudioEvent]):
    """What a run told, in order; an event that a test asks for ends it, as Stop does."""

    def __init__(self, stop_at: StudioEvent | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.checks_after = 0

    def check(self) -> None:
        if self.stop_at in self:
            self.checks_after += 1
            raise Stopped("enough")

    @property
    def saved(self) -> list[Saved]:
        return [event for event in self if isinstance(event, Saved)]

    @property
    def places(self) -> list[int]:
        return [event.shot for event in self.saved]


def told_by(studio: Studio, request: GenerationRequest, told: Told | None = None) -> Told:
    """All events of a run; `told` has them also where the run fails."""
    told = Told() if told is None else told
    assert studio.generate(request, tell=told.append, check=told.check) == [event.record for event in told.saved]
    return told


class TestWithTheRealEngine:
    def test_pictures_follow_the_plan_and_are_on_disk(self, services: Services) -> None:
        announced: list[StudioEvent] = []

        def tell(event: StudioEvent) -> None:
            announced.append(event)
            if isinstance(event, Saved):
                assert event.record.path.is_file() and event.record.thumbnail.is_file()

        records = services.studio.generate(request_of(batch=2), Person("ada"), tell)
        started, *events = announced
        assert isinstance(started, Started)
        assert [(event.record, event.shot) for event in events if isinstance(event, Saved)] == [
            (record, place) for place, record in enumerate(records)
        ]
        for place, (shot, record) in enumerate(zip(started.plan.shots, records, strict=True)):
            assert (record.recipe.seed, record.owner) == (7 + place, "ada")
            drawn_by = record.recipe.checkpoint, services.engine.weights("turbo")
            assert drawn_by[1] is not None
            assert read_recipe(record.path) == record.recipe == shot.recipe(drawn_by[0], weights=drawn_by[1])
            with Image.open(record.path) as image:
                assert image.size == (512, 512) and image.mode == "RGB"
        steps = [(event.shot, event.step) for event in events if isinstance(event, Step)]
        assert steps == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]

    def test_a_seed_is_a_picture(self, services: Services) -> None:
        def pixels(request: GenerationRequest) -> list[bytes]:
            return [Image.open(record.path).tobytes() for record in services.studio.generate(request)]

        batch = pixels(request_of(batch=2))
        assert pixels(request_of()) + pixels(request_of(seed=8)) == batch
        recipe = services.library.recent(1)[0].recipe
        assert pixels(recipe.request()) == batch[1:]

    def test_a_run_ends_at_its_next_step_and_the_next_one_works(self, services: Services) -> None:
        told: list[StudioEvent] = []

        def stop() -> None:
            if any(isinstance(event, Step) and event.step for event in told):
                raise Stopped("enough")

        with pytest.raises(Stopped, match="enough"):
            services.studio.generate(request_of(batch=4, steps=100), tell=told.append, check=stop)
        assert sum(isinstance(event, Step) and event.step > 0 for event in told) == 1
        assert services.library.recent(9) == []
        assert not services.engine.status().busy
        assert len(services.studio.generate(request_of())) == 1


@pytest.fixture
def double() -> ScriptedEngine:
    return ScriptedEngine()


def studio_of(engine: ScriptedEngine, library: Library, deadline_seconds: float = 600.0, **settings: Any) -> Studio:
    content_filter = ContentFilter(JudgedByColour())
    return Studio(
        engine, engine, library, Expanders(Settings(**settings), engine, engine), deadline_seconds, content_filter
    )


@pytest.fixture
def studio(double: ScriptedEngine, library: Library) -> Studio:
    return studio_of(double, library)


def scripts_of(request: GenerationRequest) -> list[Script]:
    """What an engine tells of each picture of a request: a run of it has one."""
    return [list(drawn(shot)) for shot in plan(request, request.seed).shots]


def test_events_pass_and_pictures_become_records(studio: Studio, double: ScriptedEngine) -> None:
    request = request_of(batch=3)
    first, *others = scripts_of(request)
    double.scripts = [[Loading("a"), *first], *others]
    told = told_by(studio, request)
    assert isinstance(told[0], Started) and told[1] == Loading("a")
    assert [event for event in told if isinstance(event, Step)] == [
        Step(place, step, 2) for place in range(3) for step in (0, 1, 2)
    ]
    assert told.places == [0, 1, 2]
    assert [event.record.recipe.seed for event in told.saved] == [7, 8, 9]
    assert {event.record.recipe.checkpoint for event in told.saved} == {"mini-turbo"}
    assert [plan.shots for plan in double.plans] == [(shot,) for shot in told[0].plan.shots]
    assert double.ended == 3


def test_what_the_engine_cannot_do_is_told_before_anything_runs(
    studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    abilities = Abilities(controls={"movement": Ability(reason="Its file is damaged — train it again")})
    monkeypatch.setattr(double, "abilities", lambda variant: abilities)
    for wishes in ({"movement": 5}, {"random_mode": True, "creativity": "high"}):
        with pytest.raises(Unavailable, match="Movement does not work here. Its file is damaged — train it again"):
            studio.begin(request_of(**wishes))
    assert double.plans == []
    assert told_by(studio, request_of(intensity=5)).saved


def test_a_value_beyond_what_the_engine_can_is_told_before_anything_runs(
    studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    abilities = Abilities(controls={"intensity": Ability(bounds=(-50, 50))})
    monkeypatch.setattr(double, "abilities", lambda variant: abilities)
    for value in (60, -51):
        told = f"^Intensity is {value}, and works from −50 to 50 here — choose a value in that range$".replace("-", "−")
        with pytest.raises(InvalidRequest, match=told):
            studio.begin(request_of(intensity=value))
    with pytest.raises(InvalidRequest, match="by random mode, and works from −50 to 50 here — lower the spread"):
        studio.begin(request_of(random_mode=True, exploration_seed=1, batch=4))
    assert double.plans == []
    assert told_by(studio, request_of(intensity=50)).saved
    assert told_by(studio, request_of(random_mode=True, spread=50, batch=4)).saved


def test_a_seed_is_drawn_when_none_is_given(studio: Studio, double: ScriptedEngine) -> None:
    generations = [studio.begin(request_of(seed=None)) for _ in range(4)]
    seeds = [generation.plan.seed for generation in generations]
    assert len(set(seeds)) > 1 and all(0 <= seed < SEED_LIMIT for seed in seeds)
    assert [generation.asked.seed for generation in generations] == seeds
    assert double.plans == [], "nothing is drawn before somebody asks for a picture"


def test_what_chance_decided_is_in_the_request_of_a_generation(studio: Studio) -> None:
    begun = studio.begin(request_of(seed=None, random_mode=True, batch=4, locked_sliders=["movement"]))
    assert begun.asked.exploration_seed is not None
    assert studio.begin(begun.asked).plan.shots == begun.plan.shots


def test_pictures_may_be_drawn_in_any_order(studio: Studio, double: ScriptedEngine) -> None:
    begun = studio.begin(request_of(batch=3), Person("ada"))
    told: list[StudioEvent] = []
    for place in (2, 0):
        ready = begun.draw(place, told.append, lambda: None)
        assert (ready.shot, ready.recipe.seed) == (place, 7 + place)
        record = begun.keep(ready, f"{place:016x}")
        assert (record.id, record.owner) == (f"{place:016x}", "ada")
        assert studio.library.get(record.id) == record
    assert [event.shot for event in told if isinstance(event, Step)] == [2, 2, 2, 0, 0, 0]


def test_the_engine_goes_on_while_a_picture_is_written(
    studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(batch=2)
    may_write, save = threading.Event(), studio.library.save

    def slow_save(*arguments: object) -> object:
        assert may_write.wait(60)
        return save(*arguments)

    monkeypatch.setattr(studio.library, "save", slow_save)
    first, second = scripts_of(request)
    double.scripts = [first, [*second, may_write.set]]
    told = told_by(studio, request)
    assert told.index(Step(1, 2, 2)) < told.index(told.saved[0])
    assert told.places == [0, 1]


class SteppingEngine(ScriptedEngine):
    """Takes steps in its second run until `enough` says so."""

    def __init__(self, enough: Callable[[], bool]) -> None:
        super().__init__()
        self.enough = enough

    def run(self, plan: GenerationPlan, tell: Callable[[Event], None], check: Callable[[], None], files: Files) -> None:
        limit = time.monotonic() + 60
        while self.plans and not self.enough() and time.monotonic() < limit:
            check()
            time.sleep(0.01)
        super().run(plan, tell, check, files)


def test_a_picture_is_told_while_the_next_one_is_drawn(library: Library) -> None:
    told = Told()
    told_by(studio_of(SteppingEngine(lambda: bool(told.saved)), library), request_of(batch=2), told)
    assert told.places == [0, 1]
    assert told.index(told.saved[0]) < told.index(Step(1, 0, 2))


def test_a_picture_that_cannot_be_written_ends_the_next_one_within_a_step(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise StorageError("The disk is full — free some space")

    monkeypatch.setattr(library, "save", full)
    engine, told = SteppingEngine(lambda: False), Told()
    with pytest.raises(StorageError, match="full"):
        told_by(studio_of(engine, library), request_of(batch=2), told)
    assert len(engine.plans) == 1 and told.saved == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_failure_comes_after_the_pictures(studio: Studio, double: ScriptedEngine, place: int) -> None:
    request, told = request_of(batch=3), Told()
    double.scripts = [*scripts_of(request)[:place], [Step(0, 0, 2), Unavailable("no weights — download them")]]
    with pytest.raises(Unavailable, match="no weights"):
        told_by(studio, request, told)
    assert told.places == list(range(place))
    assert double.ended == place + 1


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_full_disk_ends_the_run_and_leaves_no_half_file(
    studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    written = []
    write = Path.write_bytes

    def write_until_full(path: Path, data: bytes) -> None:
        if ".png" in path.name:
            written.append(path)
            if len(written) > broken:
                write(path, data[:100])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    request, told = request_of(batch=3), Told()
    with pytest.raises(StorageError, match="full"):
        told_by(studio, request, told)
    assert told.places == list(range(broken))
    assert double.ended == len(double.plans)
    assert not list(studio.library.folder.rglob("*.part"))
    assert len(list(studio.library.folder.rglob("*.png"))) == broken

    monkeypatch.undo()
    assert told_by(studio, request).places == [0, 1, 2], "the studio works again when there is space"


def test_pictures_after_one_that_could_not_be_written_are_told_in_their_place(
    studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, save = threading.Event(), studio.library.save

    def save_but_the_first(recipe: Recipe, *arguments: object) -> object:
        assert may_write.wait(60)
        if recipe.seed == 7:
            raise StorageError("The disk is full — free some space")
        return save(recipe, *arguments)

    monkeypatch.setattr(studio.library, "save", save_but_the_first)
    request, told = request_of(batch=2), Told()
    first, second = scripts_of(request)
    double.scripts = [first, [*second, may_write.set]]
    with pytest.raises(StorageError, match="full"):
        told_by(studio, request, told)
    assert told.places == [1] and told.saved[0].record.recipe.seed == 8


def test_a_run_that_is_given_up_keeps_what_was_finished(studio: Studio, double: ScriptedEngine) -> None:
    request, told = request_of(batch=3), Told(stop_at=Step(2, 1, 2))
    first, second, _ = scripts_of(request)
    double.scripts = [first, second, [Step(0, 1, 2)] * 1000]
    with pytest.raises(Stopped, match="enough"):
        told_by(studio, request, told)
    assert told.checks_after == 1 and told.count(Step(2, 1, 2)) == 1
    assert told.places == [0, 1]
    assert double.ended == 3
    assert {record.recipe.seed for record in studio.library.recent(9)} == {7, 8}


def test_what_telling_raises_ends_the_run_as_itself(studio: Studio, double: ScriptedEngine) -> None:
    def tell(event: StudioEvent) -> None:
        if isinstance(event, Saved):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        studio.generate(request_of(batch=4), tell=tell)
    assert double.ended == len(double.plans)
    assert len(studio.library.recent(9)) == len(double.plans)


def test_a_defect_of_the_engine_is_not_hidden(studio: Studio, double: ScriptedEngine) -> None:
    request, told = request_of(batch=2), Told()
    double.scripts = [scripts_of(request)[0], [ZeroDivisionError()]]
    with pytest.raises(ZeroDivisionError):
        told_by(studio, request, told)
    assert told.places == [0]
    assert [record.recipe.seed for record in studio.library.recent(9)] == [7]


def test_what_cannot_run_is_refused_at_once(studio: Studio, double: ScriptedEngine) -> None:
    with pytest.raises(InvalidRequest, match="There is no style 'woodcut'"):
        studio.begin(request_of(styles=[{"name": "woodcut"}]))
    os.rename(studio.library.folder, studio.library.folder.with_name("moved"))
    studio.library.folder.touch()
    with pytest.raises(StorageError, match="cannot be written"):
        studio.begin(request_of())
    told = Told()
    with pytest.raises(StorageError, match="cannot be written"):
        told_by(studio, request_of(), told)
    assert double.plans == [] == told


class TestDeadline:
    @pytest.fixture
    def now(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The studio's time, which stands still until a test moves it on."""
        now = [0.0]
        monkeypatch.setattr("krea_studio.deadline.time", SimpleNamespace(monotonic=lambda: now[0]))
        return now

    def test_a_run_that_draws_too_long_is_ended_and_keeps_its_pictures(
        self, double: ScriptedEngine, library: Library, now: list[float]
    ) -> None:
        def pass_time() -> None:
            now[0] += 4

        request, told = request_of(batch=4), Told()
        double.scripts = [[begun, pass_time, *others] for begun, *others in scripts_of(request)]
        with pytest.raises(Stopped, match="longer than 10 seconds .* raise KREA_STUDIO_DEADLINE_SECONDS$"):
            told_by(studio_of(double, library, deadline_seconds=10), request, told)
        assert told.places == [0, 1]
        assert told.count(Step(2, 0, 2)) == 1 and Step(2, 1, 2) not in told
        assert told_by(studio_of(double, library, deadline_seconds=10), request_of()).saved

    def test_waiting_and_loading_are_not_counted(
        self, double: ScriptedEngine, library: Library, now: list[float]
    ) -> None:
        def pass_time() -> None:
            now[0] += 99

        request = request_of(batch=2)
        double.scripts = [[Loading("a"), pass_time, *script] for script in scripts_of(request)]
        begun = studio_of(double, library, deadline_seconds=10).begin(request)
        for place in (0, 1):
            begun.draw(place, lambda event: None, lambda: None)
            now[0] += 99  # somebody else's turn
        assert len(double.plans) == 2


class TestReferences:
    @pytest.fixture
    def looks(self, library: Library) -> list[str]:
        """Three plain pictures that the library keeps."""
        return [library.references.add_picture(Image.new("RGB", (64, 64), (90 * k, 80, 160))) for k in range(3)]

    def test_the_engine_is_given_the_pictures(self, studio: Studio, double: ScriptedEngine, looks: list[str]) -> None:
        wished = [{"image": looks[0], "strength": 0.4}, {"image": looks[1], "strength": 0.0}]
        studio.generate(request_of(style_references=wished))
        (files,) = double.files
        assert files.pictures == {looks[0]: studio.library.references.read(looks[0])}  # what is at 0 is not read

    def test_the_check_before_a_run_reads_no_picture_twice(
        self, studio: Studio, double: ScriptedEngine, looks: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, asked = studio.library.references.read, []
        monkeypatch.setattr(studio.library.references, "read", lambda image: asked.append(image) or read(image))
        wished = [
            {"image": image, "strength": strength} for image, strength in zip(looks, (0.4, 0.7, 0.0), strict=True)
        ]
        studio.begin(request_of(batch=4, style_references=[*wished, wished[0]]))
        assert sorted(asked) == sorted(looks[:2])

    def test_a_picture_that_goes_while_a_run_waits_ends_it(
        self, studio: Studio, double: ScriptedEngine, looks: list[str]
    ) -> None:
        begun = studio.begin(request_of(style_references=[{"image": looks[0]}]))
        studio.library.references.path(looks[0]).unlink()
        with pytest.raises(InvalidRequest, match="is not in the library any more"):
            begun.draw(0, lambda event: None, lambda: None)

    def test_a_picture_that_is_gone_is_told_before_the_run(
        self, studio: Studio, double: ScriptedEngine, looks: list[str]
    ) -> None:
        studio.library.references.path(looks[0]).unlink()
        with pytest.raises(InvalidRequest, match=f"{looks[0]} is not in the library any more"):
            studio.begin(request_of(style_references=[{"image": looks[0]}]))
        assert double.plans == []

    def test_a_picture_of_a_moodboard_that_is_gone_is_told_by_the_board(
        self, studio: Studio, double: ScriptedEngine, looks: list[str]
    ) -> None:
        boards = studio.library.moodboards
        boards.create("Dusk")
        boards.add_references("Dusk", looks)
        studio.analyze("Dusk")
        studio.library.references.path(boards.get("Dusk").content().representatives[0].image).unlink()
        with pytest.raises(InvalidRequest, match="^A picture that stands for moodboard 'Dusk' is not in the library"):
            studio.begin(request_of(moodboard={"name": "Dusk"}))
        assert double.plans == []

    def test_a_moodboard_brings_what_it_steers_by_and_records_it(
        self, studio: Studio, double: ScriptedEngine, looks: list[str]
    ) -> None:
        boards = studio.library.moodboards
        boards.create("Dusk")
        with pytest.raises(InvalidRequest, match="'Dusk' has no pictures"):
            studio.analyze("Dusk")
        boards.add_references("Dusk", looks)
        with pytest.raises(InvalidRequest, match="'Dusk' was not analyzed"):
            studio.begin(request_of(moodboard={"name": "Dusk"}))
        content = studio.analyze("Dusk").content()
        (record,) = studio.generate(request_of(moodboard={"name": "Dusk"}))
        assert double.plans[0].shots[0].moodboard.content == content
        assert set(double.files[0].pictures) == {each.image for each in content.representatives} == set(looks)

        boards.delete("Dusk")
        studio.generate(record.recipe.request())
        assert double.plans[1].shots == double.plans[0].shots
        assert double.files[1] == double.files[0]
        with pytest.raises(InvalidRequest, match="Dusk"):
            studio.begin(request_of(moodboard={"name": "Dusk"}))

    def test_an_analysis_is_not_made_twice(self, studio: Studio, looks: list[str]) -> None:
        studio.library.moodboards.create("Dusk")
        studio.library.moodboards.add_references("Dusk", looks)
        shares: list[float] = []
        first = studio.analyze("Dusk", shares.append)
        assert shares == sorted(shares) and shares[-1] == 1
        assert studio.analyze("Dusk", lambda share: 1 / 0) == first

        def stop() -> None:
            raise Stopped("enough")

        studio.library.moodboards.remove("Dusk", looks[0])
        with pytest.raises(Stopped):
            studio.analyze("Dusk", check=stop)
        assert studio.library.moodboards.get("Dusk").analysis == first.analysis


PROFILE = "Hazy blues under soft light."
ANSWER = {"taste_profile": PROFILE, "keywords": ["hazy blues", "fox fur"], "avoids": ["neon"], "subjects": ["foxes"]}


class WritingEngine(ScriptedEngine):
    """Its variant Large has a language model, which gives these answers or raises them."""

    def __init__(self, *answers: str | Exception):
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[str, Chat]] = []

    def writer(self, variant: str, seeing: bool = False) -> str | None:
        return "Qwen3-VL of a test" if variant == "large" else None

    def write(self, variant: str, chat: Chat, check: Callable[[], None]) -> str:
        self.asked.append((variant, chat))
        for _ in range(9):
            check()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class TestWrittenAnalysis:
    @pytest.fixture
    def library(self, library: Library) -> Library:
        """With a moodboard of ten pictures."""
        pictures = [Image.new("RGB", (64, 64), (20 * k, 80, 160)) for k in range(10)]
        library.moodboards.create("Dusk")
        library.moodboards.add_references("Dusk", [library.references.add_picture(each) for each in pictures])
        return library

    @pytest.fixture
    def measured(self, library: Library) -> Analysis:
        """What is found without a language model."""
        pictures = {
            image: Image.open(library.references.path(image)).convert("RGB")
            for image in library.moodboards.get("Dusk").images
        }
        return measured_analysis(pictures)

    def test_the_writers_words_take_the_place_of_the_measured_ones(self, library: Library, measured: Analysis) -> None:
        engine, shares = WritingEngine(json.dumps(ANSWER)), []
        board = studio_of(engine, library).analyze("Dusk", shares.append)
        words = {"taste_profile": PROFILE, "keywords": ("hazy blues",), "avoids": ("neon",)}
        assert board.analysis == measured.model_copy(update={**words, "written_by": "Qwen3-VL of a test"})
        representatives = [each.image for each in board.content().representatives]
        pictures = tuple(library.references.read(each) for each in representatives)
        assert engine.asked == [("large", Chat(INSTRUCTION, pictures))]
        assert len(representatives) == 8
        assert shares == sorted(shares) and 0.5 in shares and shares[-1] == 1
        assert sum(0.5 < share < 1 for share in shares) == 9

    def test_an_answer_that_cannot_be_used_is_asked_for_once_more(self, library: Library, measured: Analysis) -> None:
        engine = WritingEngine("I see foxes.", json.dumps(ANSWER))
        assert studio_of(engine, library).analyze("Dusk").analysis.taste_profile == PROFILE
        (first, second) = (chat.instruction for _, chat in engine.asked)
        assert second.startswith(first) and second != first

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            (["I see foxes.", "{}"], "The model's analysis cannot be used"),
            ([json.dumps(ANSWER | {"taste_profile": "Foxes.", "keywords": ["a fox"]})] * 2, "names subjects"),
            ([Unavailable("The weights are gone — fetch them")], "The weights are gone"),
        ],
    )
    def test_without_a_usable_answer_it_stays_measured(
        self,
        library: Library,
        measured: Analysis,
        caplog: pytest.LogCaptureFixture,
        answers: list[str | Exception],
        words: str,
    ) -> None:
        engine, shares = WritingEngine(*answers), []
        assert studio_of(engine, library).analyze("Dusk", shares.append).analysis == measured
        assert engine.answers == [] and shares[-1] == 1
        assert words in caplog.text

    def test_giving_up_keeps_the_board_as_it_was(self, library: Library) -> None:
        engine = WritingEngine(Stopped("enough"))
        with pytest.raises(Stopped):
            studio_of(engine, library).analyze("Dusk")
        assert library.moodboards.get("Dusk").analysis is None

    def test_a_measured_board_is_due_when_a_writer_comes(self, library: Library) -> None:
        double, engine = ScriptedEngine(), WritingEngine(json.dumps(ANSWER))
        measured = studio_of(double, library).analyze("Dusk")
        assert not studio_of(double, library).analysis_due(measured)
        assert studio_of(engine, library).analysis_due(measured)
        written = studio_of(engine, library).analyze("Dusk")
        assert written.analysis.taste_profile == PROFILE
        assert not any(studio_of(each, library).analysis_due(written) for each in (engine, double))
        assert studio_of(engine, library).analyze("Dusk") == written and len(engine.asked) == 1

    def test_what_is_loaded_is_asked_first(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = WritingEngine(json.dumps(ANSWER))
        loaded = (LoadedCheckpoint("mini-turbo", 1, ()),)
        monkeypatch.setattr(engine, "writer", lambda variant, seeing: f"the model of {variant}")
        monkeypatch.setattr(engine, "status", lambda: EngineStatus("cpu", "float32", loaded))
        assert studio_of(engine, library).analyze("Dusk").analysis.written_by == "the model of turbo"


class ThinkingEngine(ScriptedEngine):
    """Has a language model that expands every prompt in the same words, or never comes to an end."""

    def __init__(self, endless: bool = False):
        super().__init__()
        self.endless = endless
        self.asked: list[Chat] = []

    def writer(self, variant: str, seeing: bool = False) -> str | None:
        return "Qwen3-VL of a test"

    def write(self, variant: str, chat: Chat, check: Callable[[], None]) -> str:
        self.asked.append(chat)
        end = time.monotonic() + chat.timeout_seconds
        while self.endless:
            check()
            if time.monotonic() > end:
                raise Unavailable("The model is late — try again")
            time.sleep(0.01)
        return f"{chat.instruction} in the evening light, painted in oil"


class TestExpansion:
    def recipes(self, studio: Studio, request: GenerationRequest) -> list[Recipe]:
        return [record.recipe for record in studio.generate(request)]

    def test_raw_asks_nobody(self, library: Library) -> None:
        engine = ThinkingEngine()
        (recipe,) = self.recipes(studio_of(engine, library), request_of())
        assert recipe.expansion is None and engine.asked == []

    @pytest.mark.parametrize("level", ["low", "medium", "high"])
    def test_each_picture_s_prompt_is_written_out_with_its_seed(self, library: Library, level: str) -> None:
        engine = ThinkingEngine()
        studio = studio_of(engine, library)
        recipes = self.recipes(studio, request_of(batch=2, creativity=level))
        assert [recipe.expansion.seed for recipe in recipes] == [7, 8] == [chat.seed for chat in engine.asked]
        for recipe, shot in zip(recipes, [each.shots[0] for each in engine.plans], strict=True):
            assert recipe.prompt == "a fox" and recipe.creativity == level
            assert shot.conditioning_prompt == recipe.expansion.text != "a fox"
            assert (recipe.expansion.writer, recipe.expansion.model) == ("text encoder", "Qwen3-VL of a test")
            again = self.recipes(studio, recipe.request())
            assert again == [recipe]
        assert len(engine.asked) == 2, "a recipe is drawn with the text that it has"

    def test_the_phrasebook_is_there_without_a_model(self, studio: Studio, double: ScriptedEngine) -> None:
        texts = {level: studio.expand(request_of(creativity=level), 3) for level in ("low", "medium", "high")}
        assert all(each.writer == "phrasebook" and "a fox" in each.text for each in texts.values())
        (recipe,) = self.recipes(studio, request_of(creativity="medium", seed=3))
        assert recipe.expansion == texts["medium"]
        with pytest.raises(InvalidRequest, match="^Creativity is raw"):
            studio.expand(request_of(), 3)

    def test_a_text_that_is_given_is_drawn(self, studio: Studio, double: ScriptedEngine) -> None:
        request = request_of(batch=2, creativity="high", expansion={"text": "a fox in ink"})
        assert [recipe.expansion.writer for recipe in self.recipes(studio, request)] == ["person"] * 2
        assert [plan.shots[0].conditioning_prompt for plan in double.plans] == ["a fox in ink"] * 2

    def test_it_is_told_once_and_can_be_given_up(self, library: Library) -> None:
        engine, told = ThinkingEngine(endless=True), Told(stop_at=Expanding(0))
        with pytest.raises(Stopped, match="enough"):
            told_by(studio_of(engine, library), request_of(creativity="high"), told)
        started, *others = told
        assert isinstance(started, Started) and others == [Expanding(0)] and told.checks_after == 1
        assert engine.plans == [] and library.recent(5) == []

    def test_each_picture_is_written_out_before_it_is_drawn(self, library: Library) -> None:
        told = told_by(studio_of(ThinkingEngine(), library), request_of(batch=2, creativity="low"))
        steps = [event for event in told if isinstance(event, Expanding | Step) and getattr(event, "step", 0) == 0]
        assert steps == [Expanding(0), Step(0, 0, 2), Expanding(1), Step(1, 0, 2)]

    def test_a_writer_that_is_late_is_told_once_for_all_pictures(self, library: Library) -> None:
        engine = ThinkingEngine(endless=True)
        studio = studio_of(engine, library, expander_timeout_seconds=0.1)
        recipes = self.recipes(studio, request_of(batch=4, creativity="high"))
        assert len(recipes) == 4 and len(engine.asked) == 1, "what is late for one picture is not asked for the next"
        for recipe in recipes:
            assert recipe.expansion.text == "a fox"
            assert "The model is late — try again" in recipe.expansion.notice
        # The next run asks again, and so does a person who only wants the text.
        expansion = studio.expand(request_of(creativity="high"), 3)
        assert "The model is late" in expansion.notice and len(engine.asked) == 2

    def test_a_long_prompt_can_be_said_again(self) -> None:
        engine = ThinkingEngine()
        ResidentWriter(engine, "large", "a model", 60.0).write("a fox", "low", 3, lambda: None)
        assert engine.asked[0].max_tokens > engine.count_tokens("large", "")[1]

    def test_an_endless_answer_is_no_defect(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = ThinkingEngine()
        monkeypatch.setattr(engine, "write", lambda variant, chat, check: f"a fox. A {'x' * 10_000}.")
        engine.count_tokens = lambda variant, text: (1, 507)
        (recipe,) = self.recipes(studio_of(engine, library), request_of(creativity="high"))
        assert recipe.expansion.text == "a fox." and recipe.expansion.writer == "text encoder"

    def test_a_writer_that_is_not_there_is_a_failed_run(self, double: ScriptedEngine, library: Library) -> None:
        for expander, words in (("text encoder", "cannot write"), ("endpoint", "no address is set")):
            studio = studio_of(double, library, expander=expander)
            with pytest.raises((Unavailable, InvalidRequest), match=words):
                studio.generate(request_of(creativity="low"))
        assert double.plans == []

    def test_room_is_left_for_trigger_words(self, double: ScriptedEngine, library: Library) -> None:
        style = {"name": "woodcut", "trigger": "woodcut print " * 14, "weight": 1.0, "identity": "0" * 32}
        request = request_of(creativity="high", styles=[style])
        shot = plan(request, 3).shots[0]
        double.count_tokens = lambda variant, text: (len(text.split()), 32)
        studio = studio_of(double, library)
        expansion = studio.expansion_of(shot, studio.expanders.of(shot.variant), lambda: None)
        assert len(shot.model_copy(update={"expansion": expansion}).conditioning_prompt.split()) <= 32


class TestStyles:
    def test_a_style_brings_its_weights_and_its_words(
        self, studio: Studio, double: ScriptedEngine, library: Library
    ) -> None:
        card = taken_in(library.styles, "woodcut")
        (record,) = studio.generate(request_of(styles=[{"name": "Woodcut", "weight": 0.5}]))
        recipe = record.recipe
        assert recipe.as_json()["styles"] == [
            {"name": "woodcut", "weight": 0.5, "trigger": "woodcut print", "identity": card.identity}
        ]
        (shot,) = double.plans[0].shots
        assert shot.conditioning_prompt == "a fox, woodcut print" and shot.prompt == "a fox"
        assert double.files[0].styles == {card.identity: library.styles.path(card.identity)}

        library.styles.rename("woodcut", "linocut")
        assert len(studio.generate(recipe.request())) == 1
        library.styles.delete("linocut")
        with pytest.raises(InvalidRequest, match="import it again"):
            studio.begin(recipe.request())

    def test_at_weight_0_it_need_not_even_be_there(self, studio: Studio, double: ScriptedEngine) -> None:
        studio.generate(request_of(styles=[{"name": "gone", "weight": 0.0}]))
        assert double.files[0].styles == {} and double.plans[0].shots[0].conditioning_prompt == "a fox"


class TestTheContentFilter:
    def test_a_refused_picture_is_neither_kept_nor_returned(self, studio: Studio) -> None:
        told = told_by(studio, request_of(batch=3, seed=REFUSED_SEED - 1))
        assert told.places == [0, 2] and [event.record.recipe.seed - REFUSED_SEED for event in told.saved] == [-1, 1]
        (withheld,) = [event for event in told if isinstance(event, Withheld)]
        assert withheld.shot == 1 and str(REFUSED_SEED) in withheld.message
        (refusal,) = studio.library.refusals.of()
        assert (refusal.owner, refusal.seed, refusal.score) == ("local", REFUSED_SEED, 0.9)
        assert (refusal.classifier, refusal.checkpoint) == ("by colour", "mini-turbo")
        assert len(list(studio.library.folder.rglob("*.png"))) == 2

    def test_where_all_are_refused_the_run_is(self, studio: Studio) -> None:
        with pytest.raises(Refused, match=f"did not pass the picture of seed {REFUSED_SEED}, so it is not kept — "):
            studio.generate(request_of(seed=REFUSED_SEED))
        assert studio.library.recent(9) == [] and not list(studio.library.folder.rglob("*.png"))

    def test_nothing_is_drawn_where_it_cannot_be_loaded(self, studio: Studio, double: ScriptedEngine) -> None:
        studio.content_filter = ContentFilter(JudgedByColour(Unavailable("no filter — install it")))
        with pytest.raises(Unavailable, match="no filter"):
            studio.generate(request_of())
        assert double.plans == []
        assert told_by(studio, request_of()).saved, "and it is tried again"

    def test_where_it_fails_nothing_is_kept(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(studio.content_filter.classifier, "score", lambda image: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            studio.generate(request_of())
        assert studio.library.recent(9) == []

    def test_switched_off_it_judges_what_was_drawn_by_another_checkpoint_meanwhile(
        self, studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        studio.content_filter = ContentFilter(JudgedByColour(), on=False)
        assert len(studio.generate(request_of(seed=REFUSED_SEED))) == 1
        shot = plan(request_of(seed=REFUSED_SEED), REFUSED_SEED).shots[0]
        made = next(event for event in drawn(shot) if isinstance(event, ImageReady))
        double.scripts = [[replace(made, recipe=shot.recipe("another/checkpoint"))]]
        with pytest.raises(Refused):
            studio.generate(request_of(seed=REFUSED_SEED))


def test_the_embedded_checkpoints_pass_the_filter_that_ships(services: Services) -> None:
    services.studio.content_filter = ContentFilter(classifier_of(None))
    records = [services.studio.generate(request_of(variant=variant, steps=8))[0] for variant in ("turbo", "medium")]
    assert len(services.library.recent(9)) == len(records) == 2 and services.library.refusals.of() == []


class TestTheRulesForPrompts:
    RULES = '[[category]]\nname = "blorbs"\nphrases = ["blorb"]\n'

    @pytest.fixture
    def ruled(self, studio: Studio, tmp_path: Path) -> Studio:
        (tmp_path / "rules.toml").write_text(self.RULES)
        studio.content_filter = ContentFilter(JudgedByColour(), Rules(tmp_path / "rules.toml"))
        return studio

    def test_what_may_not_be_drawn_is_told_before_anything_runs(self, ruled: Studio, double: ScriptedEngine) -> None:
        for wishes in ({"prompt": "a blorb"}, {"negative_prompt": "blorb", "variant": "medium"}):
            with pytest.raises(Refused, match=r"refused by the content filter \(blorbs\)"):
                ruled.begin(request_of(**wishes))
        swept = parse_sweep(request_of(), [parse_axis("words=fox → blorb")])
        with pytest.raises(Refused, match="The prompt is refused"):
            ruled.begin(swept)
        with pytest.raises(Refused, match="The prompt is refused"):
            ruled.expand(request_of(prompt="a blorb", creativity="low"), 7)
        assert double.plans == [] and told_by(ruled, request_of()).saved

    def test_an_expansion_that_may_not_be_drawn_is_not(self, ruled: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        told = {"prompt": "a fox", "creativity": "high"}
        monkeypatch.setattr("krea_studio.studio.expand", lambda *_: Expanded("a fox and a blorb", "endpoint", "m", 7))
        (record,) = ruled.generate(request_of(**told))
        assert record.recipe.expansion.text == "a fox"
        assert record.recipe.expansion.notice.endswith("The content filter refused the expansion.")

    def test_switched_off_it_leaves_embedded_checkpoints_alone(
        self, ruled: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ruled.content_filter.on = False
        assert ruled.begin(request_of(prompt="a blorb"))
        another = replace(double.checkpoint_of("turbo"), embedded=False)
        monkeypatch.setattr(double, "checkpoint_of", lambda variant: another)
        with pytest.raises(Refused):
            ruled.begin(request_of(prompt="a blorb"))

    def test_an_expansion_is_looked_at_with_what_is_drawn_beside_it(
        self, ruled: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "rules.toml").write_text('[[category]]\nname = "pairs"\ntogether = [["wug"], ["gizmo"]]\n')
        monkeypatch.setattr("krea_studio.studio.expand", lambda *_: Expanded("a fox and a wug", "endpoint", "m", 7))
        taken_in(ruled.library.styles, "Ink")
        wishes = {"prompt": "a fox", "creativity": "high", "batch": 2}
        records = ruled.generate(request_of(**wishes, styles=[{"name": "Ink", "trigger": "gizmo"}]))
        assert [record.recipe.expansion.text for record in records] == ["a fox", "a fox"]
        assert all("refused the expansion" in record.recipe.expansion.notice for record in records)
        (record,) = ruled.generate(request_of(**wishes | {"batch": 1}))
        assert record.recipe.expansion.text == "a fox and a wug"

    def test_what_was_taken_on_for_an_embedded_checkpoint_is_looked_at_where_another_one_draws_it(
        self, ruled: Studio, double: ScriptedEngine
    ) -> None:
        ruled.content_filter.on = False
        request = request_of(prompt="a blorb")
        _, *steps, made = drawn(plan(request, 7).shots[0])
        for embedded in (True, False):
            begun = ruled.begin(request)
            double.scripts = [[Step(0, 0, 2, embedded=embedded), *steps, made]]
            if embedded:
                assert begun.draw(0, lambda event: None, lambda: None).recipe.prompt == "a blorb"
            else:
                with pytest.raises(Refused, match="The prompt is refused"):
                    begun.draw(0, lambda event: None, lambda: None)

    def test_without_its_rules_nothing_is_drawn(self, ruled: Studio, tmp_path: Path) -> None:
        (tmp_path / "rules.toml").unlink()
        with pytest.raises(Unavailable, match="nothing is drawn without them"):
            ruled.begin(request_of())


def test_previews_of_what_the_filter_may_refuse_are_blurred(
    studio: Studio, double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    Image.effect_noise((128, 128), 80).convert("RGB").save(file, "JPEG")
    preview, request = file.getvalue(), request_of()
    steps, made = drawn(plan(request, 7).shots[0])[:-1], drawn(plan(request, 7).shots[0])[-1]
    own = double.checkpoint_of("turbo")
    for chosen in (True, False):
        monkeypatch.setattr(double, "checkpoint_of", lambda variant, chosen=chosen: replace(own, embedded=chosen))
        for draws in (True, False):
            double.scripts = [[*(replace(step, preview=preview, embedded=draws) for step in steps), made]]
            told = told_by(studio, request)
            shown = {event.preview for event in told if isinstance(event, Step)}
            assert shown == {preview if draws else blurred(preview)}, "whichever one is chosen meanwhile"
