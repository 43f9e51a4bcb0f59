"""What moodboards do, measured picture by picture: `python -m krea_studio measure moodboards`.

Boards of ten pictures, some of one look and some of two, steer prompts that name neither palette nor rendering style.
A board is compared with each of the pictures that stand for it, alone and as strong as all of them together: which of
them is best for a board is found on the first seeds, and then drawn on all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import mean

from PIL import Image

from krea_studio.direction.analysis import measured_analysis
from krea_studio.direction.looks import Look, palette_distance, texture_distance
from krea_studio.direction.moodboards import Moodboard
from krea_studio.engine.local.drawing import Drawing
from krea_studio.library.references import Reference
from krea_studio.measures.options import DRAWN, parsed
from krea_studio.measures.pictures import (
    Check,
    Judge,
    Painter,
    Table,
    at_least,
    checks_table,
    figure,
    line,
    rows,
    tell,
)
from krea_studio.measures.references import PROMPTS, SUBJECT_KEPT
from krea_studio.recipe.request import MoodboardContent, Representative
from krea_studio.settings import Settings, load_settings
from krea_studio.training.renderer import render
from krea_studio.training.world import random_scene

COMMAND = "python -m krea_studio measure moodboards"
SEEDS = DRAWN["moodboards"].seeds
CHOOSING_SEEDS = 1
STRENGTHS = (-0.5, 0.35, 0.7, 1.0)
FULL = 1.0
PICTURES = 10
BOARD_SEED = 6_000_000
# The looks of each board as (rendering style, palette); they take turns.
BOARDS = {
    "night signs": (("neon", "midnight"),),
    "paper sunsets": (("papercut", "sunset"),),
    "forest mosaics": (("mosaic", "forest"),),
    "sea and ink": (("watercolor", "ocean"), ("ink", "ocean")),
    "sweet posters": (("flat", "candy"), ("papercut", "mint")),
    "autumn and dusk": (("watercolor", "autumn"), ("flat", "sunset")),
}
COLUMNS = ("checkpoint", "board", "kind", "strength", "prompt", "seed", "palette", "texture", "subject_right")
KEYS = 6
NONE, WHOLE, ONE = "none", "board", "one"


@dataclass(frozen=True)
class Scope:
    """What is measured: variants, strengths of whole boards, which boards, how many prompts and seeds."""

    variants: tuple[str, ...] = DRAWN["moodboards"].variants
    strengths: tuple[float, ...] = STRENGTHS
    boards: tuple[str, ...] = tuple(BOARDS)
    prompts: int = len(PROMPTS)
    seeds: int = SEEDS


@dataclass(frozen=True)
class Built:
    """A board of rendered pictures, analyzed: its pictures, their looks, what it steers by, and their files by id."""

    pictures: tuple[Image.Image, ...]
    looks: tuple[Look, ...]
    content: MoodboardContent
    files: dict[str, bytes]


@cache
def built(name: str) -> Built:
    """One of BOARDS: ten pictures of various subjects, vividness and density."""
    looks, number = BOARDS[name], list(BOARDS).index(name)
    pictures = []
    for k in range(PICTURES):
        style, palette = looks[k % len(looks)]
        scene = random_scene(BOARD_SEED + 100 * number + k)
        pictures.append(render(replace(scene, style=style, palette=palette, motion=0.3), 384, 384))
    kept = [Reference.of(picture) for picture in pictures]
    ids = tuple(each.id for each in kept)
    analysis = measured_analysis(dict(zip(ids, pictures, strict=True)))
    board = Moodboard(name=name, images=ids, analysis=analysis)
    seen = tuple(map(Look, pictures))
    return Built(tuple(pictures), seen, board.content(), {each.id: each.content for each in kept})


def alone(content: MoodboardContent, number: int) -> MoodboardContent:
    """The board steered by one of its representatives only, as strong as all, with the same words."""
    one = Representative(image=content.representatives[number].image, share=1.0)
    return content.model_copy(update={"representatives": (one,)})


def picture(
    painter: Painter, board: Built, prompt: int, seed: int, strength: float, content: MoodboardContent
) -> Image.Image:
    """A prompt's picture with a board."""
    choice = {"name": "board", "strength": strength, "content": content.model_dump()}
    return painter.picture(PROMPTS[prompt][1], 1000 * prompt + seed, board.files, moodboard=choice)


def draw_and_measure(scope: Scope, settings: Settings, path: Path, told: Callable[[str], None]) -> None:
    """Draw what `path`, a CSV file of pictures, does not have yet, and append each picture's measures to it."""
    table = Table(path, COLUMNS, KEYS)
    for variant in scope.variants:
        checkpoint = settings.checkpoint_for(variant)
        painter = Painter(Drawing(settings), variant, checkpoint)
        measured = partial(_measure, table, painter, Judge(), checkpoint, PROMPTS[: scope.prompts])
        for name in scope.boards:
            content, every = built(name).content, range(scope.seeds)
            measured(name, NONE, 0.0, every, content)
            for strength in dict.fromkeys((*scope.strengths, FULL)):
                measured(name, WHOLE, strength, every, content)
            for number in range(len(content.representatives)):
                measured(name, f"{ONE} {number}", FULL, every[:CHOOSING_SEEDS], alone(content, number))
            best = best_alone(path, checkpoint, name)
            measured(name, best, FULL, every, alone(content, int(best.removeprefix(ONE))))
            told(f"{checkpoint}: {name}")


def _measure(
    table: Table,
    painter: Painter,
    judge: Judge,
    checkpoint: str,
    prompts: Sequence[tuple[str, str]],
    name: str,
    kind: str,
    strength: float,
    seeds: range,
    content: MoodboardContent,
) -> None:
    """The prompts' pictures with one board, steered by `content`."""
    board = built(name)
    for seed in seeds:
        for prompt, (subject, words) in enumerate(prompts):

            def measures(prompt: int = prompt, seed: int = seed, subject: str = subject, words: str = words) -> list:
                if strength:
                    made = picture(painter, board, prompt, seed, strength, content)
                else:
                    made = painter.picture(words, 1000 * prompt + seed)
                look = Look(made)
                palette, texture = (
                    mean(distance(look, each) for each in board.looks)
                    for distance in (palette_distance, texture_distance)
                )
                return [palette, texture, judge.sees(made, subject)]

            table.measured((checkpoint, name, kind, strength, prompt, seed), measures)


def best_alone(path: Path, checkpoint: str, board: str) -> str:
    """The kind of rows whose single picture came nearest to the whole board's colours on the first seeds."""
    by_kind: dict[str, list[float]] = {}
    for row in rows(path):
        own = (row["checkpoint"], row["board"]) == (checkpoint, board) and row["kind"].startswith(ONE)
        if own and int(row["seed"]) < CHOOSING_SEEDS:
            by_kind.setdefault(row["kind"], []).append(float(row["palette"]))
    return min(by_kind, key=lambda kind: mean(by_kind[kind]))


@dataclass(frozen=True)
class Means:
    """Means over a board's pictures: without it, by its strength, and with its best single picture."""

    none: dict[str, float]
    strengths: dict[float, dict[str, float]]
    best: dict[str, float]
    pictures: int


def means(path: Path) -> dict[str, dict[str, Means]]:
    """What is written down in `path`: checkpoint → board → means."""
    known = list(rows(path))
    found: dict[str, dict[str, Means]] = {}
    for checkpoint, board in dict.fromkeys((row["checkpoint"], row["board"]) for row in known):
        own = [row for row in known if (row["checkpoint"], row["board"]) == (checkpoint, board)]
        best = best_alone(path, checkpoint, board)
        kinds = {kind: [row for row in own if row["kind"] == kind] for kind in (NONE, WHOLE, best)}
        strengths = sorted({float(row["strength"]) for row in kinds[WHOLE]})
        by_strength = {s: [row for row in kinds[WHOLE] if float(row["strength"]) == s] for s in strengths}
        found.setdefault(checkpoint, {})[board] = Means(
            _mean(kinds[NONE]),
            {s: _mean(group) for s, group in by_strength.items()},
            _mean(kinds[best]),
            len(kinds[NONE]),
        )
    return found


def _mean(known: Sequence[dict[str, str]]) -> dict[str, float]:
    return {column: mean(float(row[column]) for row in known) for column in COLUMNS[KEYS:]}


def checks(boards: dict[str, Means]) -> list[Check]:
    """The promises of moodboards on one checkpoint, in the mean over boards."""

    def over(measure: str, of: Callable[[Means], dict[str, float]]) -> float:
        return mean(of(board)[measure] for board in boards.values())

    none = over("palette", lambda board: board.none)
    whole = over("palette", lambda board: board.strengths[FULL])
    best = over("palette", lambda board: board.best)
    strengths = sorted(next(iter(boards.values())).strengths)
    rising = [none, *(over("palette", lambda board, s=s: board.strengths[s]) for s in strengths if s > 0)]
    greatest = max(after - before for before, after in pairwise(rising))
    found = [
        Check("palette distance, greatest change from step to step", greatest, "< 0", greatest < 0),
        Check("palette distance of board / its best single picture", whole / best, "< 1", whole < best),
    ]
    if strengths[0] < 0:
        raised = over("palette", lambda board: board.strengths[strengths[0]]) / none - 1
        found.append(Check(f"palette distance, rise at {strengths[0]:g}", raised, "> 0", raised > 0))
    kept = over("subject_right", lambda board: board.strengths[0.7 if 0.7 in strengths else FULL])
    found.append(at_least("subject right at 0.7", kept, SUBJECT_KEPT))
    return found


def write_report(found: dict[str, dict[str, Means]], folder: Path) -> None:
    """The plot (PNG) and the page (Markdown)."""
    _plot(found, folder / "moodboards.png")
    first = next(iter(next(iter(found.values())).values()))
    lines = [
        "# Moodboards, measured",
        "",
        f"Written by `{COMMAND}`: {len(BOARDS)} boards of {PICTURES} pictures each, {len(PROMPTS)} prompts and "
        f"{first.pictures // len(PROMPTS)} seeds at 512 × 512. Prompts name neither palette nor rendering style; boards "
        "are analyzed by measure. Distances are means over all pictures of the board: palette is the sliced "
        "Wasserstein distance of the colours in L\\*a\\*b\\*, texture that of the logarithms of edge energy. A board "
        "is compared with the best of the pictures that stand for it, alone and as strong as all of them together, "
        "with the same words. **What does not hold is bold.**",
        "",
        "![Palette distance to the whole board, over strength](moodboards.png)",
        "",
        "![Four pictures of each board, and pictures at strengths 0, 0.35, 0.7, 1 and −0.5](moodboards.jpg)",
        "",
        *checks_table({checkpoint: checks(boards) for checkpoint, boards in found.items()}),
        "",
        "## Palette distance, by board",
        "",
    ]
    strengths = sorted(first.strengths)
    lines.append(line("checkpoint", "board", "none", *(f"{s:g}" for s in strengths), "best single picture at 1"))
    lines.append("|---|---|" + "---:|" * (2 + len(strengths)))
    for checkpoint, boards in found.items():
        for name, board in boards.items():
            by_strength = (f"{board.strengths[s]['palette']:.3g}" for s in strengths)
            none, best = (f"{each['palette']:.3g}" for each in (board.none, board.best))
            lines.append(line(checkpoint, name, none, *by_strength, best))
    (folder / "moodboards.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plot(found: dict[str, dict[str, Means]], path: Path) -> None:
    plot = figure(5 * len(found), 3.8)
    for axes, (checkpoint, boards) in zip(plot.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        for name, board in boards.items():
            by_strength = {0.0: board.none, **board.strengths}
            strengths = sorted(by_strength)
            (drawn,) = axes.plot(
                strengths, [by_strength[s]["palette"] for s in strengths], marker="o", markersize=3, label=name
            )
            axes.plot([FULL], [board.best["palette"]], "x", color=drawn.get_color())
        axes.set(
            title=f"{checkpoint} (× best single picture)", xlabel="strength", ylabel="palette distance to the board"
        )
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    plot.savefig(path, dpi=110)


def contact_sheet(settings: Settings, variant: str, path: Path) -> None:
    """A row a board: four of its pictures, then pictures of one prompt at rising strengths and at a negative one."""
    painter = Painter(Drawing(settings), variant, settings.checkpoint_for(variant))
    lines = []
    for number, name in enumerate(BOARDS):
        board, prompt = built(name), number % len(PROMPTS)
        drawn = partial(picture, painter, board, prompt, 2, content=board.content)
        plain = painter.picture(PROMPTS[prompt][1], 1000 * prompt + 2)
        lines.append([*board.pictures[:4], plain, *(drawn(strength=s) for s in (0.35, 0.7, 1.0, -0.5))])
    painter.sheet(lines, 160, path)


def main(argv: Sequence[str]) -> int:
    """Measure what is asked for, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("moodboards", argv)
    settings = load_settings()
    scope = Scope(tuple(chosen.variants), seeds=chosen.seeds)
    draw_and_measure(scope, settings, chosen.pictures, lambda text: print(text, flush=True))
    found = means(chosen.pictures)
    write_report(found, chosen.folder)
    contact_sheet(settings, chosen.variants[0], chosen.folder / "moodboards.jpg")
    tell({checkpoint: checks(boards) for checkpoint, boards in found.items()}, chosen.folder / "moodboards.md")
    return 0
