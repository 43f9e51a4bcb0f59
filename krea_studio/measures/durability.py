"""What a power cut takes: `python -m krea_studio measure durability`, as root on Linux.

A process keeps files of every kind in a file system of its own, and says of each when it is kept. In the middle of that
it is halted, and the file system's image is copied as it is: what was not synced is not in it, as after a power cut. The
copy is mounted, and everything that had been said to be kept is looked for. The same without any syncing shows that such
losses are found. ext4 writes its names down whenever any file is synced; of a file system that does not, this says less.

What syncing costs is measured on whole runs, with and without it in interleaved pairs.
"""

import hashlib
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from krea_studio import files
from krea_studio.direction.styles import StyleFacts
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import Unavailable
from krea_studio.expansion.writers import Expanders
from krea_studio.library.records import id_of
from krea_studio.library.store import Library
from krea_studio.measures.options import parsed
from krea_studio.people import Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import parse_request
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import Settings
from krea_studio.studio import Studio
from krea_studio.training import adapter

COMMAND = "python -m krea_studio measure durability"
OWNER = "ada"
IMAGE_MEGABYTES = 96
# The kernel writes nothing by itself meanwhile: what is there was synced.
MOUNT_OPTIONS = "loop,commit=600"
FIRST_FILES, FILES_BETWEEN = 60, 7  # how many were said to be kept at the first cut, and how many more at the next
KEEP = "import sys; from krea_studio.measures.durability import keep; keep(sys.argv[1], sys.argv[2] == 'synced')"
TARGET = 1.02
PICTURES = 2  # of a run


def keep(folder: str, synced: bool) -> None:
    """Keep files of every kind for ever, and print a line of JSON for each that is kept."""
    home = Path(folder)
    library = Library(home / "library")
    if not synced:
        _sync_nothing(library)
    number = 0
    while True:
        number += 1
        colour = (number % 256, number // 256, 90)
        for kind, path in _kept(library, home, number, Image.new("RGB", (96, 64), colour)):
            told = {"kind": kind, "path": str(path.relative_to(home)), "hash": _hash(path)}
            print(json.dumps(told), flush=True)


def _kept(library: Library, home: Path, number: int, picture: Image.Image) -> Iterator[tuple[str, Path]]:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), number).shots[0]
    record = library.save(shot.recipe("mini-turbo"), picture.resize((512, 512)), 1.0, Person(OWNER))
    yield "picture", record.path
    yield "thumbnail", record.thumbnail
    reference = library.references.add_picture(picture)
    yield "reference", library.references.path(reference)
    boards = library.moodboards
    boards.create(f"Board {number}")
    boards.add_references(f"Board {number}", [reference])
    yield "moodboard", max(boards.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    boards.export(f"Board {number}", home / "exports" / str(number) / "board.zip")
    yield "export", home / "exports" / str(number) / "board.zip"
    trained = home / "trained" / f"{number}.safetensors"
    sides = {f"transformer.x.lora_{side}.weight": torch.full((2, 4), number) for side in "AB"}
    adapter.write(sides, trained, {})
    yield "trained file", trained
    with library.styles.incoming() as incoming:
        shutil.copyfile(trained, incoming)
        card = library.styles.keep(incoming, f"Style {number}", StyleFacts(source="file"))
    yield "style", library.styles.path(card.identity)
    yield "card", library.styles.path(card.identity).with_suffix(".json")
    library.styles.set_cover(card.name, library.references.path(reference))
    cover = library.styles.cover(card)
    assert cover
    yield "cover", cover


def _sync_nothing(library: Library) -> None:
    files._sync = lambda path: None
    library.records._connection.execute("PRAGMA synchronous = NORMAL")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The file system in an image. Raises Unavailable where this machine mounts none."""
    place.mkdir()
    _command("mount", "-o", MOUNT_OPTIONS, image, place)
    try:
        yield place
    finally:
        _command("umount", place)
        place.rmdir()


def _command(*arguments: object) -> None:
    done = subprocess.run([str(each) for each in arguments], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(
            f"{arguments[0]} failed ({done.stderr.strip()}) — run this as root, where loops can be mounted"
        )


def cut(work: Path, count: int, synced: bool) -> tuple[Counter[str], Counter[str]]:
    """How many files of each kind were said to be kept before a power cut, `count` and some more, and were lost."""
    image, after = work / "disk.img", work / "after.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_MEGABYTES * 2**20)
    _command("mkfs.ext4", "-q", "-F", image)
    with mounted(image, work / "disk") as disk:
        mode = "synced" if synced else "unsynced"
        process = subprocess.Popen([sys.executable, "-c", KEEP, str(disk), mode], stdout=subprocess.PIPE)
        assert process.stdout
        try:
            said = b""
            while said.count(b"\n") < count and (more := os.read(process.stdout.fileno(), 2**16)):
                said += more
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            while select.select([process.stdout], [], [], 0)[0]:
                said += os.read(process.stdout.fileno(), 2**16)
            shutil.copyfile(image, after)
        finally:
            process.kill()
            process.wait()
    kept, lost = Counter[str](), Counter[str]()
    with mounted(after, work / "after") as disk:
        with closing(Library(disk / "library")) as library:
            library.checked()
            everything = [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith(b"\n")]
            rows = [library.records.get(id_of(Path(told["path"]))) for told in everything if told["kind"] == "picture"]
        kept["row"] = len(rows)
        lost["row"] = sum(row is None or row.owner != OWNER for row in rows)
        for told in everything:
            path = disk / told["path"]
            there = path.is_file() and _hash(path) == told["hash"]
            kept[told["kind"]] += 1
            lost[told["kind"]] += not there
    image.unlink()
    after.unlink()
    return kept, lost


def costs(pairs: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Seconds of a run of two pictures, and of keeping one, with syncing and without, in interleaved pairs.

    Ten times as many pairs of the latter, which is what the former can be longer by.
    """
    request = parse_request({"prompt": "a fox", "resolution": "512", "batch": PICTURES, "seed": 1})
    engine = LocalEngine(Settings())
    with tempfile.TemporaryDirectory() as folder, closing(Library(folder)) as library:
        studio = Studio(
            engine, engine, library, Expanders(Settings(), engine, engine), 600.0, ContentFilter.of(Settings())
        )
        record = studio.generate(request)[0]
        with Image.open(record.path) as image:
            picture = image.convert("RGB")
        runs = _pairs(lambda: studio.generate(request), library, pairs)
        return runs, _pairs(lambda: library.save(record.recipe, picture, 1.0), library, 10 * pairs)


def _pairs(work: Callable[[], object], library: Library, pairs: int) -> list[tuple[float, float]]:
    found, syncing = [], files._sync
    for pair in range(pairs):
        seconds = {}
        for synced in (True, False) if pair % 2 else (False, True):
            files._sync = syncing
            library.records._connection.execute("PRAGMA synchronous = FULL")
            if not synced:
                _sync_nothing(library)
            started = time.perf_counter()
            work()
            seconds[synced] = time.perf_counter() - started
        found.append((seconds[True], seconds[False]))
    files._sync = syncing
    return found


def table(
    synced: Sequence[tuple[Counter[str], Counter[str]]], control: Sequence[tuple[Counter[str], Counter[str]]]
) -> str:
    """The lines of the report on what was lost."""
    lines = ["| what | kept | lost | kept without syncing | lost |", "|---|---:|---:|---:|---:|"]
    for kind in dict.fromkeys(kind for kept, _ in (*synced, *control) for kind in kept):
        cells = [str(sum(cut[part][kind] for cut in cuts)) for cuts in (synced, control) for part in (0, 1)]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises StudioError when it cannot."""
    chosen = parsed("durability", argv)
    cuts: dict[bool, list[tuple[Counter[str], Counter[str]]]] = {True: [], False: []}
    for number in range(chosen.cuts):
        for synced in cuts:
            with tempfile.TemporaryDirectory() as work:
                cuts[synced].append(cut(Path(work), FIRST_FILES + FILES_BETWEEN * number, synced))
            kept, lost = cuts[synced][-1]
            print(f"cut {number + 1}, synced {synced}: {kept.total()} kept, {lost.total()} lost", flush=True)
    runs, saves = costs(chosen.pairs)
    ratios = sorted(synced / without for synced, without in runs)
    seconds = median(without for _, without in runs)
    synced, without = (median(each) for each in zip(*saves, strict=True))
    most = 1 + PICTURES * (synced - without) / seconds
    lines = [
        "# What a power cut takes",
        "",
        f"Written by `{COMMAND}`: {chosen.cuts} cuts of an ext4 file system in the middle of keeping files, and as many "
        "without any syncing. A file counts as lost that was said to be kept and is not there byte for byte afterwards; "
        "a row, where its picture has none with its owner.",
        "",
        table(cuts[True], cuts[False]),
        "",
        f"Keeping a picture takes {1000 * synced:.0f} ms with syncing and {1000 * without:.0f} ms without (medians of "
        f"{len(saves)} interleaved pairs). A run of {PICTURES} pictures at 512 takes {seconds:.1f} s without, so it gets "
        f"at most {most:.3f} × as long; less, since a picture is kept while the next one is drawn (target ≤ {TARGET} ×). "
        f"Measured on whole runs: {median(ratios):.2f} × ({ratios[0]:.2f} – {ratios[-1]:.2f}, {len(runs)} interleaved "
        "pairs), where a busy machine is most of the difference.",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} processors, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}.",
    ]
    chosen.report.write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines[4:]))
    print(f"written: {chosen.report}")
    return 0
