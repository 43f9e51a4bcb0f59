"""What creativity does on a small world, measured picture by picture: `python -m krea_studio measure creativity`.

The phrasebook writes out prompts that name some attributes, at every level and with many seeds. In the texts is counted
which of the named attributes survive and how many are added; in the pictures, which of the named ones the judge finds,
and how far the pictures of one prompt and level lie apart, in what the judge sees of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean

import torch

from krea_studio.engine.local.drawing import Drawing
from krea_studio.engine.pipeline.prompts import count_tokens, token_limit
from krea_studio.expansion.creativity import LEVELS, RAW, expand
from krea_studio.expansion.phrasebook import Phrasebook
from krea_studio.measures.options import DRAWN, parsed
from krea_studio.measures.pictures import (
    Check,
    Painter,
    Table,
    at_least,
    checks_table,
    figure,
    line,
    rows,
    tell,
)
from krea_studio.settings import Settings, load_settings
from krea_studio.training.judging import judge as judges

COMMAND = "python -m krea_studio measure creativity"
# A prompt, and the attributes that it names, as the judge calls them.
PROMPTS = (
    ("a fox", {"subject": "fox"}),
    ("a lighthouse at sea", {"subject": "lighthouse", "setting": "waves"}),
    ("a hot air balloon, sunset colors", {"subject": "balloon", "palette": "sunset"}),
    ("watercolor of a tree", {"subject": "tree", "style": "watercolor"}),
    ("a cat under the moon, midnight colors", {"subject": "cat", "sky": "moon", "palette": "midnight"}),
    ("papercut of a rocket in the mountains", {"subject": "rocket", "style": "papercut", "setting": "mountains"}),
    ("a whale, ocean colors, calm", {"subject": "whale", "palette": "ocean"}),
    ("a house in the sun", {"subject": "house", "sky": "sun"}),
)
SEEDS = DRAWN["creativity"].seeds
COLUMNS = (
    "checkpoint", "prompt", "level", "seed", "named", "survived", "added", "found",
    *(f"seen_{number}" for number in range(sum(map(len, judges.ATTRIBUTES.values())))),
)  # fmt: skip
KEYS = 4

SURVIVAL = 0.98


@dataclass(frozen=True)
class Scope:
    """What is measured: variants, how many prompts and seeds."""

    variants: tuple[str, ...] = DRAWN["creativity"].variants
    prompts: int = len(PROMPTS)
    seeds: int = SEEDS


class Writer:
    """Writes prompts out as the engine does, with the phrasebook of a loaded checkpoint."""

    def __init__(self, painter: Painter) -> None:
        self._pipeline = painter.loaded.pipeline
        self._book = Phrasebook(painter.loaded.checkpoint.info.vocabulary)

    def expanded(self, prompt: str, level: str, seed: int) -> str:
        def tokens(text: str) -> int:
            return count_tokens(self._pipeline, text)

        return expand(prompt, level, seed, self._book, tokens, token_limit(self._pipeline), lambda: None).text

    def groups(self, text: str) -> frozenset[str]:
        """The attributes that a text names."""
        return self._book.read(text).groups


def draw_and_measure(scope: Scope, settings: Settings, path: Path, told: Callable[[str], None]) -> None:
    """Draw what `path`, a CSV file of pictures, does not have yet, and append each picture's measures to it."""
    judge, table = judges.load(), Table(path, COLUMNS, KEYS)
    for variant in scope.variants:
        checkpoint = settings.checkpoint_for(variant)
        painter = Painter(Drawing(settings), variant, checkpoint)
        writer = Writer(painter)
        measured = partial(_measures, judge, painter, writer)
        for number, (prompt, named) in enumerate(PROMPTS[: scope.prompts]):
            for level in LEVELS:
                for seed in range(scope.seeds):
                    measures = partial(measured, prompt, named, level, 1000 * number + seed)
                    table.measured((checkpoint, number, level, seed), measures)
            told(f"{checkpoint}: {prompt}")


def _measures(
    judge: judges.Judge, painter: Painter, writer: Writer, prompt: str, named: dict[str, str], level: str, seed: int
) -> list[float]:
    """The columns of a prompt's picture at a level."""
    text = writer.expanded(prompt, level, seed)
    before, after = writer.groups(prompt), writer.groups(text)
    (seen,) = judges.probabilities(judge, judges.view(painter.picture(text, seed))[None])
    right = [max(seen[name], key=seen[name].get) == value for name, value in named.items()]
    shares = [share for values in seen.values() for share in values.values()]
    return [len(before), len(before & after), len(after - before), mean(right), *shares]


@dataclass(frozen=True)
class Level:
    """Means over the pictures of one level: the share of named attributes that survive in the text and that the judge
    finds in the picture, how many are added, and the spread of a prompt's pictures."""

    survived: float
    added: float
    found: float
    spread: float
    pictures: int


def levels(path: Path) -> dict[str, dict[str, Level]]:
    """What is written down in `path`: checkpoint → level → means."""
    known = list(rows(path))
    found: dict[str, dict[str, Level]] = {}
    for checkpoint in dict.fromkeys(row["checkpoint"] for row in known):
        for level in LEVELS:
            own = [row for row in known if (row["checkpoint"], row["level"]) == (checkpoint, level)]
            if own:
                found.setdefault(checkpoint, {})[level] = _level(own)
    return found


def _level(own: Sequence[dict[str, str]]) -> Level:
    def total(column: str) -> float:
        return sum(float(row[column]) for row in own)

    prompts = dict.fromkeys(row["prompt"] for row in own)
    return Level(
        survived=total("survived") / max(total("named"), 1),
        added=total("added") / len(own),
        found=total("found") / len(own),
        spread=mean(_spread([row for row in own if row["prompt"] == prompt]) for prompt in prompts),
        pictures=len(own),
    )


def _spread(pictures: Sequence[dict[str, str]]) -> float:
    """The mean distance of two of a prompt's pictures: the share of attributes in which the judge sees them differ.

    That is the total variation of the probabilities that it gives to an attribute's values, in the mean of attributes.
    """
    columns = [name for name in COLUMNS if name.startswith("seen_")]
    seen = torch.tensor([[float(row[name]) for name in columns] for row in pictures])
    distances = torch.zeros(len(seen), len(seen))
    start = 0
    for values in judges.ATTRIBUTES.values():
        part = seen[:, start : start + len(values)]
        distances += (part[:, None] - part[None]).abs().sum(-1) / 2
        start += len(values)
    return float(distances.sum() / (len(seen) * max(len(seen) - 1, 1)) / len(judges.ATTRIBUTES))


def checks(found: dict[str, Level]) -> list[Check]:
    """The promises of creativity on one checkpoint."""
    worst = min(level.survived for level in found.values())
    added = min(after.added - before.added for before, after in pairwise(found.values()))
    spread = min(after.spread - before.spread for before, after in pairwise(found.values()))
    return [
        at_least("named attributes that survive in the text, at the worst level", worst, SURVIVAL),
        Check("attributes added, least rise from level to level", added, "> 0", added > 0),
        Check("spread of pictures, least rise from level to level", spread, "> 0", spread > 0),
    ]


def write_report(found: dict[str, dict[str, Level]], folder: Path) -> None:
    """The plot (PNG) and the page (Markdown)."""
    _plot(found, folder / "creativity.png")
    pictures = min(level.pictures for by_level in found.values() for level in by_level.values())
    lines = [
        "# Creativity, measured",
        "",
        f"Written by `{COMMAND}`: {pictures} pictures a level at 512 × 512, of {len(PROMPTS)} prompts; the phrasebook "
        "writes. Attributes are those of the small world (subject, rendering style, palette, setting, sky, density, "
        "vividness, motion). The spread is the share of them in which the judge sees two pictures of a prompt differ, "
        "in the mean of all pairs. **What does not hold is bold.**",
        "",
        "![Attributes added and spread of pictures, by level](creativity.png)",
        "",
        "![Pictures of three prompts at each level](creativity.jpg)",
        "",
        *checks_table({checkpoint: checks(by_level) for checkpoint, by_level in found.items()}),
        "",
        "## By level",
        "",
        line("checkpoint", "level", "survive in the text", "added", "named ones found in the picture", "spread"),
        "|---|---|---:|---:|---:|---:|",
    ]
    for checkpoint, by_level in found.items():
        for name, level in by_level.items():
            shares = (f"{level.survived:.1%}", f"{level.added:.2f}", f"{level.found:.1%}", f"{level.spread:.3f}")
            lines.append(line(checkpoint, name, *shares))
    (folder / "creativity.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plot(found: dict[str, dict[str, Level]], path: Path) -> None:
    plot = figure(8, 3.4)
    left, right = plot.subplots(1, 2)
    for checkpoint, by_level in found.items():
        left.plot(list(by_level), [level.added for level in by_level.values()], marker="o", label=checkpoint)
        right.plot(list(by_level), [level.spread for level in by_level.values()], marker="o", label=checkpoint)
    left.set(title="attributes added", ylim=(0, None))
    right.set(title="spread of pictures", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    plot.savefig(path, dpi=110)


def contact_sheet(settings: Settings, variant: str, path: Path) -> None:
    """Two rows a prompt: four pictures at raw and at low, then four at medium and at high."""
    painter = Painter(Drawing(settings), variant, settings.checkpoint_for(variant))
    writer = Writer(painter)
    lines = [
        [painter.picture(writer.expanded(prompt, level, seed), seed) for level in half for seed in range(4)]
        for prompt, _ in PROMPTS[:3]
        for half in ((RAW, "low"), ("medium", "high"))
    ]
    painter.sheet(lines, 150, path)


def main(argv: Sequence[str]) -> int:
    """Measure what is asked for, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("creativity", argv)
    settings = load_settings()
    scope = Scope(tuple(chosen.variants), seeds=chosen.seeds)
    draw_and_measure(scope, settings, chosen.pictures, lambda text: print(text, flush=True))
    found = levels(chosen.pictures)
    write_report(found, chosen.folder)
    contact_sheet(settings, chosen.variants[0], chosen.folder / "creativity.jpg")
    tell({checkpoint: checks(by_level) for checkpoint, by_level in found.items()}, chosen.folder / "creativity.md")
    return 0
