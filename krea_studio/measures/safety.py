"""What the content filter costs and refuses, and when a preview is recognised: `python -m krea_studio measure safety`.

Nothing here needs a picture that must not be shown. The cost is that of any picture; false refusals are counted on
harmless prompts and on the embedded checkpoints' own posters; and that a preview shows its picture is told by the judge
of prompt following, which names a poster's subject: a step's preview is recognised where it names the same one as in
the finished picture.
"""

import io
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from PIL import Image

from krea_studio.engine.base import ImageReady, Step
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.expansion.writers import Expanders
from krea_studio.library.store import Library
from krea_studio.measures.options import parsed
from krea_studio.measures.timing import Row, Told, ratios, spread, write_report
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.safety.classifiers import Classifier, classifier_of
from krea_studio.safety.content_filter import LIMIT, ContentFilter
from krea_studio.safety.previews import SIDE_PX, reduced
from krea_studio.safety.rules import OWN_RULES, Rules
from krea_studio.settings import Settings, load_settings
from krea_studio.studio import Studio
from krea_studio.training.judging import judge as judges
from krea_studio.training.world.captions import SUBJECT_WORDS
from krea_studio.training.world.foreign_styles import render

COMMAND = "python -m krea_studio measure safety"
TRICKY = Path(__file__).with_name("tricky_prompts.txt")
VARIANTS = ("turbo", "medium")
SIDES_PX = (0, 16, 8, 4, 2)
"""To which previews are reduced, 0 for as they are."""
JUDGED = 20
DRAWINGS, DRAWN_PX = 140, 256
MOST_SECONDS, MOST_RATIO = 0.06, 1.01


def tricky_prompts() -> list[str]:
    """Two hundred and forty harmless prompts with words that naive filters refuse, in their order."""
    return TRICKY.read_text(encoding="utf-8").splitlines()


class NoFiles:
    """The files of plans that name none."""

    def picture(self, image: str) -> bytes:
        raise KeyError(image)

    def style(self, identity: str) -> Path:
        raise KeyError(identity)


class CountedFilter(ContentFilter):
    """A content filter that adds up the `seconds` of one core that it takes."""

    seconds = 0.0

    def require(self, shots: Iterable[Shot], embedded: bool) -> None:
        """See ContentFilter.require."""
        started = time.thread_time()
        super().require(shots, embedded)
        self.seconds += time.thread_time() - started

    def refused(self, image: Image.Image, embedded: bool) -> float | None:
        """See ContentFilter.refused."""
        started = time.thread_time()
        found = super().refused(image, embedded)
        self.seconds += time.thread_time() - started
        return found


class SubjectReader:
    """Says which of the small world's subjects a picture shows."""

    def __init__(self) -> None:
        self._judge = judges.load()

    def subject(self, picture: Image.Image) -> str:
        """The subject that is likeliest."""
        (verdict,) = judges.verdicts(self._judge, judges.view(picture)[None])
        return judges.ATTRIBUTES["subject"][verdict["subject"]]


def requests(variant: str, count: int) -> Iterator[GenerationRequest]:
    """So many posters of a variant, their subjects in turn."""
    subjects = [words[0] for words in SUBJECT_WORDS.values()]
    for number in range(count):
        prompt = f"flat poster of a {subjects[number % len(subjects)]}"
        yield parse_request({"prompt": prompt, "variant": variant, "resolution": "512", "seed": number})


def drawn(engine: LocalEngine, request: GenerationRequest) -> tuple[list[Image.Image], Image.Image]:
    """The previews of a picture, one a step, and the picture."""
    previews: list[Image.Image] = []
    made: list[Image.Image] = []

    def tell(event: object) -> None:
        if isinstance(event, Step) and event.preview:
            previews.append(Image.open(io.BytesIO(event.preview)).convert("RGB"))
        elif isinstance(event, ImageReady):
            made.append(event.image)

    engine.run(plan(request, request.seed or 0), tell, lambda: None, NoFiles())
    return previews, made[0]


def cpu_seconds(work: Callable[[], object]) -> float:
    """The time of one core that something takes, whatever else the machine does."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_pictures(engine: LocalEngine, classifier: Classifier, count: int, told: Told) -> None:
    """False refusals among the embedded checkpoints' posters, and from which step on these are recognised."""
    reader = SubjectReader()
    for variant in VARIANTS:
        scores: list[float] = []
        recognised: dict[tuple[int, int], list[bool]] = {}
        for request in requests(variant, count):
            previews, picture = drawn(engine, request)
            scores.append(classifier.score(picture))
            subject = reader.subject(picture)
            for step, preview in enumerate(previews, 1):
                for side in SIDES_PX:
                    seen = reduced(preview, side) if side else preview
                    recognised.setdefault((side, step), []).append(reader.subject(seen) == subject)
        refused = sum(score >= LIMIT for score in scores)
        told(Row(f"Refused of {count} posters of mini-{variant}; highest score", f"{refused}; {max(scores):.2f}", "0"))
        for side in SIDES_PX:
            shares = [sum(hits) / len(hits) for (each, _), hits in sorted(recognised.items()) if each == side]
            told(Row(f"Recognised at each step of mini-{variant}, previews {_as_shown(side)}", steps_text(shares)))


def measure_reduced(count: int, told: Told) -> None:
    """How many of the project's own drawings, which are as clear as pictures get, are recognised once reduced."""
    reader = SubjectReader()
    seeds = range(judges.PROMPTS.test_seed, judges.PROMPTS.test_seed + count)
    scenes = [judges.PROMPTS.scene(seed) for seed in seeds]
    drawings = [render(scene, DRAWN_PX, DRAWN_PX) for scene in scenes]
    for side in SIDES_PX:
        shown = [reduced(drawing, side) if side else drawing for drawing in drawings]
        hits = sum(reader.subject(each) == scene.subject for each, scene in zip(shown, scenes, strict=True))
        told(Row(f"Recognised of {count} drawings {_as_shown(side)}", f"{hits / count:.0%}"))


def _as_shown(side: int) -> str:
    return f"reduced to {side} px{', as previews are' if side == SIDE_PX else ''}" if side else "as they are"


def steps_text(shares: Sequence[float]) -> str:
    """Shares of the steps in %, of many steps eight that are evenly apart."""
    places = range(len(shares)) if len(shares) <= 8 else sorted({round(k * (len(shares) - 1) / 7) for k in range(8)})
    return ", ".join(f"{place + 1}: {shares[place]:.0%}" for place in places)


def measure_costs(engine: LocalEngine, classifier: Classifier, pairs: int, told: Told) -> None:
    """Of a picture, of a prompt, and of a whole run with the filter and without."""
    picture = Image.effect_noise((1024, 1024), 60).convert("RGB")
    seconds = median(cpu_seconds(lambda: classifier.score(picture)) for _ in range(JUDGED))
    told(
        Row("One picture of 1024 × 1024, time of one core", f"{1000 * seconds:.0f} ms", f"≤ {1000 * MOST_SECONDS:g} ms")
    )
    rules = Rules(OWN_RULES)
    prompts = tricky_prompts()
    passed = sum(rules.category_of(prompt) is None for prompt in prompts)
    told(Row("Harmless prompts that pass", f"{passed} of {len(prompts)}", f"{len(prompts)} of {len(prompts)}"))
    each = cpu_seconds(lambda: [rules.category_of(prompt) for prompt in prompts]) / len(prompts)
    told(Row("One prompt, time of one core", f"{1000 * each:.1f} ms"))
    request = parse_request({"prompt": "flat poster of a fox", "seed": 1})
    with tempfile.TemporaryDirectory() as folder, closing(Library(folder)) as library:
        expanders = Expanders(Settings(), engine, engine)
        on, off = CountedFilter(classifier), ContentFilter(classifier, on=False)
        judged, plain = (Studio(engine, engine, library, expanders, 600.0, each) for each in (on, off))
        found = ratios(lambda: judged.generate(request), lambda: plain.generate(request), pairs)
        on.seconds = 0.0
        whole = cpu_seconds(lambda: judged.generate(request))
    told(
        Row("A run of one picture at 1K on mini-turbo, with / without, by the clock", spread(found), f"≤ {MOST_RATIO}")
    )
    share = whole / (whole - on.seconds)
    told(Row("The same by the time of all cores, that in the filter taken off", f"{share:.3f}", f"≤ {MOST_RATIO}"))


def measure_safety(pictures: int, pairs: int, told: Told) -> None:
    """Measure everything with the settings' classifier; `told` gets each row as it is known."""
    classifier = classifier_of(load_settings().filter_model)
    started = time.process_time()
    classifier.load()
    told(Row(f"Loading {classifier.name} once, time of one core", f"{time.process_time() - started:.1f} s"))
    engine = LocalEngine(Settings())
    measure_costs(engine, classifier, pairs, told)
    measure_reduced(DRAWINGS, told)
    measure_pictures(engine, classifier, pictures, told)


def main(argv: Sequence[str]) -> int:
    """Measure, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("safety", argv)
    about = (
        "A preview counts as recognised where the judge of prompt following, which knows 14 subjects, names the same one "
        "as in the finished picture; 7 % would be chance."
    )
    write_report(
        chosen.report,
        "What the content filter costs and refuses",
        COMMAND,
        about,
        lambda told: measure_safety(chosen.pictures, chosen.pairs, told),
    )
    return 0
