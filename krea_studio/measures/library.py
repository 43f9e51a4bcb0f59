"""What a large library costs: `python -m krea_studio measure library [--pictures N N …]`.

Libraries of the given sizes are made, with rows as the studio writes them and small files. Each is compared with the
first one in interleaved pairs: opening it, its first page, a page far back, and searches that find as much in both. Peak
memory is that of a process of its own for each, and the check of files, which goes on in the background, is timed alone.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from krea_studio.library.history.search import Search, moment_of
from krea_studio.library.pictures.metadata import png_bytes
from krea_studio.library.pictures.thumbnails import thumbnail_bytes
from krea_studio.library.records import Record, thumbnail_of
from krea_studio.library.store import RECORDS_FILE, Library
from krea_studio.measures.options import LEAST_PICTURES, parsed
from krea_studio.measures.timing import Row, Timed, Told, ratios, seconds, spread, write_report
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS
from krea_studio.recipe.recipe import Recipe, Shot
from krea_studio.recipe.request import parse_request
from krea_studio.recipe.variants import VARIANTS

HERE = Path(__file__).resolve().parents[2]
COMMAND = "python -m krea_studio measure library"
START = datetime(2026, 1, 1, tzinfo=UTC)
BETWEEN = timedelta(minutes=5)
LINKS = 10_000  # names of one file, of which file systems allow some tens of thousands
OPENINGS = 3  # of which the best counts
AT_ONCE = 1000  # rows in a transaction
VOCABULARY = 3000
RARE = LEAST_PICTURES // 2  # pictures of each library that have the rare word, the rare style and the guest
GUEST = Person("guest")
RARE_WORD, RARE_STYLE = "zebra", "Woodcut"
CHINESE = "红色的狐狸在月光下"
MEGABYTE = 2**20
PEAK = "import sys; from krea_studio.measures.library import peak; peak(sys.argv[1])"

SEARCHES: dict[str, tuple[Search, Person]] = {
    "a word of every third picture": (Search(words="fox"), LOCAL),
    "the beginning of a word of most pictures": (Search(words="mo"), LOCAL),
    f"a word of {RARE} pictures": (Search(words=RARE_WORD), LOCAL),
    f"a style of {RARE} pictures": (Search(style=RARE_STYLE), LOCAL),
    "part of a Chinese sentence": (Search(words="月光"), LOCAL),
    "two words, a variant and a creativity": (Search(words="fox moon", variant="medium", creativity="raw"), LOCAL),
    "a word of a guest's own pictures": (Search(words=RARE_WORD), GUEST),
}

NOWHERE = Search(words="nowhere")
EXCLUDING = Search(words="fox", variant="turbo")
"""A third of the pictures has the one, a third the other, none both."""


def make(folder: Path, count: int) -> None:
    """Make a library of so many pictures, every five minutes one; the same each time."""
    with closing(Library(folder)) as library:
        library.checked()
        sources: list[Path] = []
        records = _records(folder, count)
        while some := list(islice(records, AT_ONCE)):
            library.records.add_missing(some)
            for record in some:
                _link(record, sources)


def _records(folder: Path, count: int) -> Iterator[Record]:
    chance = random.Random(count)
    vocabulary = ["".join(chance.choices("aeioubdfgklmnprst", k=chance.randint(3, 9))) for _ in range(VOCABULARY)]
    usual = [1 / rank for rank in range(1, VOCABULARY + 1)]
    rare = set(range(0, RARE * (count // RARE), count // RARE))
    for number in range(count):
        words = chance.choices(vocabulary, usual, k=25)
        words += ["fox"] * (number % 3 == 0) + ["moon"] * (number % 10 > 0) + [RARE_WORD] * (number in rare)
        recipe = _recipe(number, f"{' '.join(words)} {CHINESE * (number % 2)}", " ".join(words * 3), number in rare)
        created_at = START + number * BETWEEN
        local = created_at.astimezone()
        path = folder / f"{local:%Y-%m-%d}" / f"{local:%H%M%S}-{number:016x}-s{number}.png"
        owner = GUEST if number in rare or number % 1000 == 0 else LOCAL
        yield Record(recipe, path, owner.id, 1.5, created_at, starred=number % 20 == 0)


def _recipe(number: int, prompt: str, expansion: str, rare: bool) -> Recipe:
    variants, shapes = list(VARIANTS), list(ASPECT_RATIOS)
    style = {"name": RARE_STYLE if rare else f"Style {number % 9}", "trigger": "ink wash", "identity": "0" * 32}
    fields = {
        "prompt": prompt,
        "variant": variants[number % len(variants)],
        "aspect_ratio": shapes[number // 7 % len(shapes)],
        "styles": [style] * (rare or number % 4 == 0),
        **({"creativity": "high", "expansion": {"text": expansion}} if number % 2 else {}),
    }
    return Shot.of(parse_request(fields), number).recipe("mini-turbo")


def _link(record: Record, sources: list[Path]) -> None:
    """Put a picture and its thumbnail where they belong, as further names of files that are there."""
    thumbnail = thumbnail_of(record.path)
    for path in (record.path, thumbnail):
        path.parent.mkdir(parents=True, exist_ok=True)
    if record.recipe.seed % LINKS == 0:
        image = Image.new("RGB", (64, 64), "teal")
        record.path.write_bytes(png_bytes(image, record.recipe))
        thumbnail.write_bytes(thumbnail_bytes(image))
        sources[:] = [record.path, thumbnail]
    else:
        for source, path in zip(sources, (record.path, thumbnail), strict=True):
            os.link(source, path)


def peak(folder: str) -> None:
    """Print the greatest memory in bytes of a process that opens a library, checks it, and shows and searches it."""
    import resource

    with closing(Library(folder)) as library:
        library.checked()
        library.history.page()
        library.history.counts()
        for search, person in SEARCHES.values():
            library.history.page(search, person)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _peak_of(folder: Path) -> float:
    command = [sys.executable, "-c", PEAK, str(folder)]
    done = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout) / MEGABYTE


def _opening(folder: Path, pages: int) -> float:
    """Seconds of opening a library and so many pages, the best of a few; each one's check ends before the next."""
    found = []
    for _ in range(OPENINGS):
        started = time.perf_counter()
        library = Library(folder)
        for _ in range(pages):
            library.history.page()
        found.append(time.perf_counter() - started)
        library.close()
    return min(found)


def _opening_ratios(large: Path, small: Path, pages: int, pairs: int) -> list[float]:
    """time(large) / time(small) for interleaved pairs, after a warm-up of both."""
    found = []
    for number in range(pairs + 1):
        times = {folder: _opening(folder, pages) for folder in ((large, small) if number % 2 else (small, large))}
        found.append(times[large] / times[small])
    return found[1:]


def _compare(large: Path, small: Path, pairs: int, what: str, told: Told) -> None:
    for name, pages in (("opening", 0), ("opening, and the first page", 1)):
        told(Row(f"{what}: {name}", spread(_opening_ratios(large, small, pages, pairs)), "≤ 1.5"))
    with ExitStack() as stack:
        libraries = [stack.enter_context(closing(Library(folder))) for folder in (large, small)]
        for library in libraries:
            library.checked()
        histories = [library.history for library in libraries]
        middles = [moment_of(START + library.records.count() // 2 * BETWEEN) for library in libraries]
        works: dict[str, tuple[list[Timed], str]] = {
            "the first page": ([history.page for history in histories], "≤ 1.5"),
            "a page in the middle": (
                [partial(history.page, after=middle) for history, middle in zip(histories, middles, strict=True)],
                "≤ 1.5",
            ),
            "the first page of a guest": ([partial(history.page, person=GUEST) for history in histories], "≤ 1.5"),
            **{
                f"search, {name}": ([partial(history.page, search, person) for history in histories], "≤ 2")
                for name, (search, person) in SEARCHES.items()
            },
        }
        for name, ((slow, fast), target) in works.items():
            told(Row(f"{what}: {name}", spread(ratios(slow, fast, pairs)), target))
        whole = histories[0]
        for name, work in (
            ("the first page", whole.page),
            ("a search for a word that is nowhere", partial(whole.page, NOWHERE)),
            ("a search for a word and a variant that exclude each other", partial(whole.page, EXCLUDING)),
            ("counting all days", whole.counts),
        ):
            told(Row(f"{what}: {name} takes", f"{1000 * min(seconds(work) for _ in range(pairs)):.1f} ms"))
    told(Row(f"{what}: opening and the check that follows it take", f"{seconds(partial(_checked, large)):.1f} s"))
    told(Row(f"{what}: records and index", f"{(large / RECORDS_FILE).stat().st_size / MEGABYTE:.0f} MB"))
    more = _peak_of(large) - _peak_of(small)
    told(Row(f"{what}: memory beyond that of the first", f"{more:+.0f} MB", "≤ +60 MB"))


def _checked(folder: Path) -> None:
    with closing(Library(folder)) as library:
        library.checked()


def _measure(folders: Sequence[Path], sizes: Sequence[int], pairs: int, told: Told) -> None:
    for folder, size in zip(folders, sizes, strict=True):
        made = seconds(partial(make, folder, size))
        print(f"made {size:,} pictures in {made:.0f} s", flush=True)
    for folder, size in zip(folders[1:], sizes[1:], strict=True):
        _compare(folder, folders[0], pairs, f"{size:,} pictures", told)


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises StudioError when it cannot."""
    chosen = parsed("library", argv)
    about = (
        f"Libraries are compared with one of {chosen.pictures[0]:,} pictures: times of the larger one over those of that "
        f"one, medians of {chosen.pairs} interleaved pairs with the least and the greatest. A page has 48 pictures."
    )
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work) / f"{place}-{size}" for place, size in enumerate(chosen.pictures)]
        write_report(
            chosen.report,
            "What a large library costs",
            COMMAND,
            about,
            lambda told: _measure(folders, chosen.pictures, chosen.pairs, told),
        )
    return 0
