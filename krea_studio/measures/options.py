"""The options of every measurement: free of torch, so that help and refusals come at once.

`parsed` is asked twice, by the command line before it imports a measurement, and by the measurement.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from krea_studio.direction.sliders import MECHANISMS
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import SLIDERS
from krea_studio.recipe.variants import VARIANTS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "measurements"


@dataclass(frozen=True)
class Drawn:
    """A measurement of pictures: what it is about, its table of measures so far, and its scope unless told otherwise."""

    about: str
    pictures: str
    variants: tuple[str, ...]
    seeds: int


@dataclass(frozen=True)
class Paired:
    """A measurement in interleaved pairs: what it is about, and how many pairs unless told otherwise."""

    about: str
    pairs: int


DRAWN = {
    "sliders": Drawn("What the generative sliders do", "slider-pictures.csv", ("medium", "turbo"), 8),
    "references": Drawn("What style references do", "reference-pictures.csv", ("turbo", "medium"), 8),
    "moodboards": Drawn("What moodboards do", "moodboard-pictures.csv", ("turbo", "medium"), 8),
    "creativity": Drawn("What creativity does on a small world", "creativity-pictures.csv", ("turbo",), 16),
    "styles": Drawn("What the shipped styles do", "style-pictures.csv", ("turbo",), 8),
}
PAIRED = {
    "speed": Paired("What the engine's savings are worth, measured on this machine", 7),
    "startup": Paired("How long a start takes, whole processes of this checkout and of another", 5),
    "weights": Paired("What files of weights cost, on random ones of the published shapes", 5),
    "gpu": Paired("What a GPU makes of the published model, on random weights", 3),
    "library": Paired("What a large library costs: opening it, its first page, and searching it", 15),
    "safety": Paired("What the content filter costs and refuses, and when a preview is recognised", 7),
    "durability": Paired("What a power cut takes of what was kept, and what keeping costs", 15),
}
WHOLE = {
    "adapters": "What the doctor makes of every adapter that peft and LyCORIS write",
    "expansion": "What the expansions of a chat server are worth",
    "reliability": "What many people at once take and lose, and what odd calls and files do",
    "spaces": "What a Space or a container starts with, on this machine and the embedded checkpoints",
}
"""Measurements that have no pictures or pairs: by name, what each is about."""
HARMLESS_PROMPTS = 200
SLIDER_PROMPTS = 8
REQUESTS = 1_000
CALLS = 10_000
CUTS = 10
BLOCKS = 2
PUBLISHED_BLOCKS = 28
LIBRARIES = (1_000, 100_000)
LEAST_PICTURES = 100
POSTERS = 14


def parsed(name: str, argv: Sequence[str]) -> argparse.Namespace:
    """The options of a measurement; a folder for its report is made. Raises InvalidRequest for numbers of nothing."""
    about = WHOLE.get(name) or (
        DRAWN[name].about + ", measured picture by picture" if name in DRAWN else PAIRED[name].about
    )
    parser = argparse.ArgumentParser(prog=f"python -m krea_studio measure {name}", description=about + ".")
    if name in DRAWN:
        _add_scope(parser, name)
    else:
        if name in PAIRED:
            _add_pairs(parser, name)
        if name == "expansion":
            parser.add_argument("--prompts", type=int, default=HARMLESS_PROMPTS, help="how many prompts (%(default)s)")
            parser.add_argument(
                "--answers", type=Path, default=Path("expansion-answers.csv"), help="answers so far (%(default)s)"
            )
        if name == "reliability":
            parser.add_argument("--requests", type=int, default=REQUESTS, help="requests at once (%(default)s)")
            parser.add_argument("--calls", type=int, default=CALLS, help="odd calls (%(default)s)")
        parser.add_argument(
            "--report", type=Path, default=FOLDER / f"{name}.md", help="Markdown file to write (%(default)s)"
        )
    chosen = parser.parse_args(argv)
    for number in ("pairs", "cuts", "blocks", "seeds", "prompts", "side", "requests", "calls"):
        if getattr(chosen, number, 1) < 1:
            raise InvalidRequest(f"--{number} is {getattr(chosen, number)} — give a whole number above 0")
    if name == "safety" and chosen.pictures < 1:
        raise InvalidRequest(f"--pictures is {chosen.pictures} — give a whole number above 0")
    if name == "library" and (len(chosen.pictures) < 2 or min(chosen.pictures) < LEAST_PICTURES):
        raise InvalidRequest(
            f"--pictures is {' '.join(map(str, chosen.pictures))} — give two sizes or more, of {LEAST_PICTURES} at least"
        )
    most = HARMLESS_PROMPTS if name == "expansion" else SLIDER_PROMPTS
    if getattr(chosen, "prompts", 1) > most:
        raise InvalidRequest(f"--prompts is {chosen.prompts} — give 1 to {most}")
    (chosen.folder if name in DRAWN else chosen.report.parent).mkdir(parents=True, exist_ok=True)
    return chosen


def _add_pairs(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--pairs", type=int, default=PAIRED[name].pairs, help="pairs per comparison (%(default)s)")
    if name == "startup":
        parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout, to compare this one with")
    if name == "weights":
        parser.add_argument("--blocks", type=int, default=BLOCKS, help="blocks to compare speed on (%(default)s)")
        parser.add_argument(
            "--full", action="store_true", help="the published size too: 21 GB of disk, 20 GB of memory"
        )
        parser.add_argument(
            "--work", type=Path, metavar="FOLDER", help="where the files go meanwhile (a temporary one)"
        )
    if name == "gpu":
        parser.add_argument("--device", default="cuda", help="where to measure (%(default)s); cpu to rehearse")
        parser.add_argument("--blocks", type=int, default=PUBLISHED_BLOCKS, help="blocks of the model (%(default)s)")
        parser.add_argument("--side", type=int, default=1024, help="side of the pictures in pixels (%(default)s)")
    if name == "library":
        parser.add_argument(
            "--pictures",
            type=int,
            nargs="+",
            default=list(LIBRARIES),
            metavar="N",
            help="how many pictures libraries have; each is compared with the first (%(default)s)",
        )
    if name == "safety":
        parser.add_argument("--pictures", type=int, default=POSTERS, help="posters of a variant (%(default)s)")
    if name == "durability":
        parser.add_argument("--cuts", type=int, default=CUTS, help="power cuts, each way (%(default)s)")


def _add_scope(parser: argparse.ArgumentParser, name: str) -> None:
    scope = DRAWN[name]
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(scope.variants))
    if name == "sliders":
        parser.add_argument("--mechanisms", nargs="+", choices=MECHANISMS, default=list(MECHANISMS))
        parser.add_argument("--sliders", nargs="+", choices=SLIDERS, default=list(SLIDERS))
        parser.add_argument("--prompts", type=int, default=SLIDER_PROMPTS, help="how many of the prompts (%(default)s)")
    parser.add_argument("--seeds", type=int, default=scope.seeds, help="seeds a prompt (%(default)s)")
    parser.add_argument("--pictures", type=Path, default=Path(scope.pictures), help="measures so far (%(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the report goes (%(default)s)")
