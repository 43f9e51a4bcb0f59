"""The use case: a request in, pictures on disk out, told as it goes.

Knows neither gradio nor torch: the engine makes the pictures, the library keeps them. A picture is announced (`Saved`)
only when it is on disk with its recipe; while it is being written the engine goes on with the next one. Everything is
done in the caller's thread, which is told of it by `tell`; `check` is called in between and may raise to give up.
"""

import secrets
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from math import ceil
from pathlib import Path

from krea_studio.board_analysis import BoardAnalysis
from krea_studio.deadline import Clock
from krea_studio.direction.moodboards import Moodboard
from krea_studio.direction.references import attended_pictures, board_words
from krea_studio.engine.base import Engine, Event, ImageReady, LanguageModel, Loading, Step
from krea_studio.errors import InvalidRequest, Refused, Stopped
from krea_studio.expansion.creativity import Expanded, Expander, as_written, expand
from krea_studio.expansion.writers import Expanders, ForOneRun
from krea_studio.library.records import Record
from krea_studio.library.references import gone
from krea_studio.library.refusals import Refusal
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import GenerationPlan, plan, plan_sweep
from krea_studio.recipe.recipe import Shot, with_triggers
from krea_studio.recipe.request import RAW, SEED_LIMIT, Expansion, GenerationRequest, bounds
from krea_studio.recipe.sweep import Sweep
from krea_studio.redrawing import differences
from krea_studio.safety.content_filter import REFUSED, ContentFilter
from krea_studio.safety.previews import blurred
from krea_studio.validation import shown

MOST_OF_A_BATCH = int(bounds("batch")[1])


@dataclass(frozen=True)
class Started:
    """The first event of a run: what will be drawn, seeds included; prompts are written out picture by picture.

    `here` are the shots of a sweep whose pictures the library has already.
    """

    plan: GenerationPlan
    here: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Saved:
    """The picture of shot `shot` is on disk and recorded."""

    record: Record
    shot: int


@dataclass(frozen=True)
class Expanding:
    """The prompt of shot `shot` is being written out."""

    shot: int


@dataclass(frozen=True)
class Withheld:
    """The picture of shot `shot` was drawn, and the content filter did not let it be kept; `message` is for people."""

    shot: int
    message: str


StudioEvent = Started | Expanding | Loading | Step | Saved | Withheld


def go_on() -> None:
    """A `check` that never gives up."""


def draw_seed() -> int:
    """A seed that nobody chose, 0 to 2**32 − 1."""
    return secrets.randbelow(SEED_LIMIT)


class Studio:
    """One engine, one language model, one library, who expands prompts, and the filter that all pictures pass.

    `deadline_seconds` is the longest that the pictures of one request may be drawn.
    """

    def __init__(
        self,
        engine: Engine,
        language_model: LanguageModel,
        library: Library,
        expanders: Expanders,
        deadline_seconds: float,
        content_filter: ContentFilter,
    ):
        self.engine = engine
        self.language_model = language_model
        self.library = library
        self.expanders = expanders
        self.deadline_seconds = deadline_seconds
        self.content_filter = content_filter
        self._boards = BoardAnalysis(engine, language_model, library)

    def begin(self, asked: GenerationRequest | Sweep, person: Person = LOCAL) -> "Generation":
        """A request or sweep with everything decided and looked up, ready to be drawn; `person` will own the pictures.

        Raises InvalidRequest or StorageError where the request or the library cannot be used, or a file that it refers
        to is gone or damaged; InvalidRequest or Unavailable where the engine's abilities say that it cannot be drawn;
        Refused for words that may not be drawn.
        """
        resolved = self._planned(asked, person)
        for variant in dict.fromkeys(shot.variant for shot in resolved.shots):
            shots = [shot for shot in resolved.shots if shot.variant == variant]
            self.engine.abilities(variant).require(shots)
            self.content_filter.require(shots, self.is_embedded(variant))
        generation = Generation(self, resolved, person)
        generation.require_files()
        self.library.check_writable()
        return generation

    def _planned(self, asked: GenerationRequest | Sweep, person: Person) -> GenerationPlan:
        if isinstance(asked, Sweep):
            seed = draw_seed() if asked.request.seed is None else asked.request.seed
            return plan_sweep(asked.known(partial(self._known, person=person)), seed)
        return plan(self._known(asked, person), draw_seed() if asked.seed is None else asked.seed, draw_seed())

    def _known(self, request: GenerationRequest, person: Person) -> GenerationRequest:
        """The request with what it names by name: its moodboard's content, its styles' weights and words."""
        for each in request.style_references:
            if each.strength and not self.library.moodboards.of(person).shows(each.image):
                raise gone(each.image)
        return self._with_styles(self._with_moodboard(request, person), person)

    def is_embedded(self, variant: str) -> bool:
        """Whether `variant` is run by a checkpoint that ships with the studio."""
        return self.engine.checkpoint_of(variant).embedded

    def generate(
        self,
        asked: GenerationRequest | Sweep,
        person: Person = LOCAL,
        tell: Callable[[StudioEvent], None] = lambda event: None,
        check: Callable[[], None] = go_on,
    ) -> list[Record]:
        """Draw and keep all pictures of a request; tells Started, then of each picture up to Saved, in their order.

        A sweep's that are in the library already are not drawn again. One that must not be kept is told as Withheld,
        and the others are returned. However it ends, what was finished is on disk and was told. Raises as `begin` does,
        what ended the run, and Refused where no picture may be kept.
        """
        generation = self.begin(asked, person)
        places, here = range(len(generation.plan.shots)), generation.here()
        tell(Started(generation.plan, frozenset(here)))
        writing: deque[tuple[int, Future[Record]]] = deque()
        records: list[Record] = []
        failures: list[BaseException] = []
        refusals: list[Refused] = []

        def announce() -> None:
            place, written = writing.popleft()
            event: Saved | Withheld
            try:
                try:
                    records.append(written.result())
                    event = Saved(records[-1], place)
                except Refused as refusal:
                    refusals.append(refusal)
                    event = Withheld(place, refusal.message)
                tell(event)
            except BaseException as error:  # it keeps none of the others back
                failures.append(error)

        def going_on() -> None:
            check()
            while writing and writing[0][1].done():
                announce()
            if failures:
                raise Stopped("The run is over: a picture before could not be kept or told")  # never seen

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture-writer") as writer:
            try:
                for place in places:
                    if place in here:
                        writing.append((place, _finished(here[place])))
                        continue
                    ready = generation.draw(place, tell, going_on)
                    writing.append((place, writer.submit(generation.keep, ready)))
            except BaseException as error:
                failures.append(error)
            while writing:
                announce()
        if failures:
            raise failures[0]
        if refusals and not records:
            raise refusals[0]
        return records

    def expand(
        self, request: GenerationRequest, seed: int, check: Callable[[], None] = go_on, person: Person = LOCAL
    ) -> Expansion:
        """The request's prompt written out as it will be for the picture of `seed`, unless it brings its own text.

        `check` is called in between and may raise to give up. Raises InvalidRequest for a request at raw, and for what
        no plan can be made of; Refused for words that may not be drawn; Unavailable where a writer is asked for that
        there is not.
        """
        if request.creativity == RAW:
            raise InvalidRequest("Creativity is raw, which draws the prompt as it is written — choose another one")
        shot = plan(self._known(request, person), seed, 0).shots[0]
        self.content_filter.require([shot], self.is_embedded(shot.variant))
        return shot.expansion or self.expansion_of(shot, self.expanders.of(shot.variant), check)

    def expansion_of(self, shot: Shot, expander: Expander, check: Callable[[], None]) -> Expansion:
        """A shot's prompt as `expander` writes it out; as it is written where that may not be drawn."""

        def tokens(text: str) -> int:
            return self.language_model.count_tokens(shot.variant, text)[0]

        _, most_tokens = self.language_model.count_tokens(shot.variant, "")
        toward, _, _ = board_words(shot, self.engine.checkpoint_of(shot.variant).vocabulary)
        # Both are read beside it; a line's end between them is a token.
        most_tokens -= tokens(with_triggers("", shot.styles)) + (tokens(toward) + 1 if toward else 0)
        found = _kept(expand(shot.prompt, shot.creativity, shot.seed, expander, tokens, most_tokens, check))
        try:
            expanded = shot.model_copy(update={"expansion": found})
            self.content_filter.require([expanded], self.is_embedded(shot.variant))
        except Refused:
            return _kept(as_written(shot.prompt, shot.seed, "The content filter refused the expansion"))
        return found

    def analyze(
        self,
        name: str,
        report: Callable[[float], None] = lambda fraction: None,
        check: Callable[[], None] = go_on,
        person: Person = LOCAL,
    ) -> Moodboard:
        """See BoardAnalysis.analyze."""
        return self._boards.analyze(name, report, check, person)

    def analysis_due(self, board: Moodboard) -> bool:
        """See BoardAnalysis.due."""
        return self._boards.due(board)

    def _with_moodboard(self, request: GenerationRequest, person: Person) -> GenerationRequest:
        """The request with its moodboard's present content, unless it brings its own or the strength is 0."""
        choice = request.moodboard
        if choice is None or choice.content is not None or not choice.strength:
            return request
        content = self.library.moodboards.of(person).get(choice.name).content()
        return request.model_copy(update={"moodboard": choice.model_copy(update={"content": content})})

    def _with_styles(self, request: GenerationRequest, person: Person) -> GenerationRequest:
        """The request with the weights and trigger words of its styles, the library's where it does not say."""
        known = []
        for choice in request.styles:
            if choice.weight:
                styles, identity = self.library.styles.of(person), choice.identity
                card = styles.get(choice.name) if identity is None else styles.by_identity(identity, choice.name)
                trigger = card.trigger if choice.trigger is None else choice.trigger
                choice = choice.model_copy(update={"name": card.name, "identity": card.identity, "trigger": trigger})
            known.append(choice)
        return request.model_copy(update={"styles": tuple(known)})


class Generation:
    """One request on its way: its plan, and its pictures one by one, in whatever order and between whatever else.

    To the engine it is the Files of its plan.
    """

    def __init__(self, studio: Studio, resolved: GenerationPlan, person: Person) -> None:
        self.plan = resolved
        self.person = person
        self._studio = studio
        # A sweep has as long for every four pictures as a batch has.
        self._clock = Clock(studio.deadline_seconds * ceil(len(resolved.shots) / MOST_OF_A_BATCH))
        self._expanders: dict[str, Expander] = {}
        self._written: dict[int, Shot] = {}

    @property
    def asked(self) -> GenerationRequest | Sweep:
        """What gives this very plan again, with what was drawn by chance."""
        asked, drawn = self.plan.asked, self.plan.shots[0].exploration
        if isinstance(asked, Sweep):
            return asked.model_copy(update={"request": asked.request.model_copy(update={"seed": self.plan.seed})})
        return asked.model_copy(update={"seed": self.plan.seed, **({"exploration_seed": drawn.seed} if drawn else {})})

    @property
    def writes_elsewhere(self) -> bool:
        """Whether prompts are written out for it by a writer that does not need the device."""
        written = any(shot.creativity != RAW and shot.expansion is None for shot in self.plan.shots)
        return written and self._studio.expanders.elsewhere

    def write(self, place: int, tell: Callable[[Expanding], None], check: Callable[[], None]) -> Shot:
        """Shot `place` with its prompt written out, where that is asked for; only once for each."""
        shot = self._written.get(place, self.plan.shots[place])
        if shot.creativity != RAW and shot.expansion is None:
            tell(Expanding(place))
            # One for all pictures of a variant: it asks a writer that was late no second time.
            if shot.variant not in self._expanders:
                self._expanders[shot.variant] = ForOneRun(self._studio.expanders.of(shot.variant))
            expander = self._expanders[shot.variant]
            shot = shot.model_copy(update={"expansion": self._studio.expansion_of(shot, expander, check)})
            self._written[place] = shot
        return shot

    def draw(
        self, place: int, tell: Callable[[Expanding | Loading | Step], None], check: Callable[[], None]
    ) -> ImageReady:
        """The picture of shot `place`, its prompt written out first where that is asked for and not done yet.

        Raises what stands in the way; Stopped where this and the pictures before it were drawn for too long.
        """
        planned = self.plan.shots[place]
        content_filter = self._studio.content_filter
        content_filter.prepare([planned], self._studio.is_embedded(planned.variant))
        shot = self.write(place, tell, check)
        made: list[ImageReady] = []

        def told(event: Event) -> None:
            if isinstance(event, ImageReady):
                made.append(replace(event, shot=place))
            elif isinstance(event, Step):
                if event.step == 0:
                    # By now it is known who draws: another checkpoint may have been chosen meanwhile.
                    content_filter.prepare([shot], event.embedded)
                    self._clock.start()
                # Until it was judged, nobody recognises a picture that the filter may refuse; the embedded ones never
                # do such.
                preview = blurred(event.preview) if event.preview and not event.embedded else event.preview
                tell(replace(event, shot=place, preview=preview))
            else:
                tell(event)

        def going_on() -> None:
            check()
            self._clock.check()

        try:
            self._studio.engine.run(replace(self.plan, shots=(shot,)), told, going_on, self)
        finally:
            self._clock.pause()
        return made[0]

    def drawn_before(self, place: int) -> Record | None:
        """Of a sweep, a picture in the library that shot `place` would make again here, as far as is known."""
        shot, studio = self.plan.shots[place], self._studio
        if not isinstance(self.plan.asked, Sweep) or (shot.creativity != RAW and shot.expansion is None):
            return None
        here = studio.engine.weights(shot.variant)
        for record in studio.library.drawn(shot, self.person):
            if here and record.recipe.weights == here and not differences(record.recipe, studio.engine):
                return record
        return None

    def here(self) -> dict[int, Record]:
        """By place, what `drawn_before` finds of all shots."""
        places = range(len(self.plan.shots))
        return {place: before for place in places if (before := self.drawn_before(place))}

    def keep(self, ready: ImageReady, picture_id: str | None = None) -> Record:
        """Write a picture to disk, under a name of its own or the one given.

        Raises Refused where it must not be kept, of which a note is kept instead; Unavailable where nothing can tell
        that; StorageError.
        """
        studio, recipe = self._studio, ready.recipe
        checkpoint = studio.engine.checkpoint_of(recipe.variant)
        # Another one may run the variant since.
        embedded = checkpoint.embedded and checkpoint.name == recipe.checkpoint
        score = studio.content_filter.refused(ready.image, embedded)
        if score is not None:
            studio.library.refusals.add(
                Refusal(
                    picture_id or secrets.token_hex(8),
                    self.person.id,
                    recipe.seed,
                    score,
                    studio.content_filter.classifier.name,
                    recipe.checkpoint,
                    datetime.now(UTC),
                )
            )
            raise Refused(REFUSED.format(seed=recipe.seed))
        return studio.library.save(recipe, ready.image, ready.seconds, self.person, picture_id)

    def require_files(self) -> None:
        """Raise InvalidRequest where a file that the shots name is gone, StorageError where a picture is damaged."""
        shots = self.plan.shots
        for image in dict.fromkeys(each.image for shot in shots for each in attended_pictures(shot)):
            self.picture(image)
        for identity in dict.fromkeys(identity for shot in shots for identity in shot.style_weights):
            self.style(identity)

    def style(self, identity: str) -> Path:
        """See Files.style."""
        return self._studio.library.styles.path(identity)

    def picture(self, image: str) -> bytes:
        """See Files.picture; of a moodboard's picture the board is told where it is lost."""
        asked = self.plan.asked
        board = (asked.request if isinstance(asked, Sweep) else asked).moodboard
        try:
            return self._studio.library.references.read(image)
        except InvalidRequest:
            if (
                board is None
                or board.content is None
                or image not in (each.image for each in board.content.representatives)
            ):
                raise
            raise InvalidRequest(
                f"A picture that stands for moodboard {shown(board.name)} is not in the library any more — add it to "
                "the board again, or remove it there and analyze the board"
            ) from None


def _kept(found: Expanded) -> Expansion:
    """What was written out, as recipes keep it."""
    return Expansion(
        text=found.text,
        writer=found.writer or "",
        model=(found.model or "")[: int(bounds("model", Expansion)[1])],
        seed=found.seed,
        notice=found.notice[: int(bounds("notice", Expansion)[1])],
    )


def _finished(record: Record) -> Future[Record]:
    done: Future[Record] = Future()
    done.set_result(record)
    return done
