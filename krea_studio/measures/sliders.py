"""What the generative sliders do, measured picture by picture: `python -m krea_studio measure sliders`.

Every slider is moved over its range on the same prompts and seeds, all others at 0, on each checkpoint and with each
mechanism. A picture's measures are written down as soon as it is drawn, so an interrupted measurement goes on where it
stopped; the report is made from what is written down. Thresholds are those that the sliders promise.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import mean

import numpy as np

from krea_studio.direction.measures import MEASURES, SECONDARY, layout_correlation
from krea_studio.direction.sliders import MECHANISMS, SLIDER_LORA
from krea_studio.engine.local.drawing import Drawing
from krea_studio.measures.options import DRAWN, parsed
from krea_studio.measures.pictures import (
    Check,
    Judge,
    Painter,
    Table,
    at_least,
    at_most,
    cell,
    figure,
    line,
    rows,
)
from krea_studio.recipe.request import SLIDERS
from krea_studio.settings import Settings, load_settings

COMMAND = "python -m krea_studio measure sliders"
VALUES = (-100, -75, -60, -30, 0, 30, 60, 75, 100)
# Subject, and a prompt that names it but none of what the sliders move.
PROMPTS = (
    ("fox", "papercut of a fox in the mountains, autumn colors"),
    ("balloon", "flat poster of a hot air balloon over rolling hills, sunset colors"),
    ("lighthouse", "watercolor painting of a lighthouse at sea, ocean colors"),
    ("house", "ink drawing of a house in the hills, forest colors"),
    ("whale", "neon sign of a whale at sea, midnight colors"),
    ("tree", "flat poster of a tree on a wide plain, mint colors"),
    ("rocket", "papercut of a rocket in the mountains, candy colors"),
    ("sailboat", "watercolor painting of a sailboat on the waves, sunset colors"),
)
SEEDS = DRAWN["sliders"].seeds
FEWEST_RISING = 0.97  # Spearman's rank correlation of value and mean measure
SWING = {"intensity": 1.8, "complexity": 1.8, "movement": 1.5}  # mean at 100 / mean at −100
MOST_CROSSTALK = 0.4  # effect on another slider's measure, in that slider's own swing
LAYOUT = {"intensity": 0.6, "complexity": 0.4, "movement": 0.4}  # correlation with the value-0 picture at ±30
SUBJECT_KEPT = 0.85  # share of pictures at ±60 in which the judge finds the subject
PICTURE_COLUMNS = (
    "checkpoint", "mechanism", "slider", "value", "prompt", "seed", *MEASURES, *SECONDARY, "layout", "subject_right",
)  # fmt: skip


KEY_COLUMNS = 6  # those that say how a picture was made


@dataclass(frozen=True)
class Scope:
    """What is measured: variants, mechanisms, sliders, values, how many prompts and seeds."""

    variants: tuple[str, ...] = DRAWN["sliders"].variants
    mechanisms: tuple[str, ...] = MECHANISMS
    sliders: tuple[str, ...] = SLIDERS
    values: tuple[int, ...] = VALUES
    prompts: int = len(PROMPTS)
    seeds: int = SEEDS


@dataclass(frozen=True)
class Curve:
    """One slider on one checkpoint by one mechanism: means over pictures, by value."""

    checkpoint: str
    mechanism: str
    slider: str
    means: dict[int, dict[str, float]]
    pictures: int  # behind each mean, at least

    @property
    def values(self) -> list[int]:
        return sorted(self.means)

    def of(self, measure: str) -> list[float]:
        return [self.means[value][measure] for value in self.values]

    @property
    def rising(self) -> float:
        """Spearman's rank correlation of the value and the mean of the slider's own measure."""
        ranks = [np.argsort(np.argsort(column)) for column in (self.values, self.of(self.slider))]
        return float(np.corrcoef(*ranks)[0, 1])

    @property
    def swing(self) -> float:
        """Mean of the own measure at the upper end over that at the lower end."""
        own = self.of(self.slider)
        return own[-1] / own[0]

    def span(self, measure: str) -> float:
        """How far the ends differ in a measure."""
        column = self.of(measure)
        return column[-1] - column[0]

    def at(self, size: int, column: str) -> float:
        """Mean of a column over the values ±`size`."""
        return mean(self.means[value][column] for value in self.values if abs(value) == size)


def draw_and_measure(scope: Scope, settings: Settings, path: Path, told: Callable[[str], None]) -> None:
    """Draw what `path`, a CSV file of pictures, does not have yet, and append each picture's measures to it."""
    judge, table = Judge(), Table(path, PICTURE_COLUMNS, KEY_COLUMNS)
    for variant in scope.variants:
        checkpoint = settings.checkpoint_for(variant)
        for mechanism in scope.mechanisms:
            painter = _painter(Drawing(settings, mechanism=mechanism), variant, checkpoint, scope.sliders)
            for prompt, seed in ((p, s) for p in range(scope.prompts) for s in range(scope.seeds)):
                subject, words = PROMPTS[prompt]
                draw = partial(painter.picture, words, 1000 * prompt + seed)
                neutral = cache(draw)
                for slider, value in ((s, v) for s in scope.sliders for v in scope.values):

                    def measured(
                        slider=slider, value=value, draw=draw, neutral=neutral, subject=subject
                    ) -> list[float]:
                        picture = draw(**{slider: value}) if value else neutral()
                        own = [measure(picture) for measure in (*MEASURES.values(), *SECONDARY.values())]
                        return [*own, layout_correlation(picture, neutral()), judge.sees(picture, subject)]

                    table.measured((checkpoint, mechanism, slider, value, prompt, seed), measured)
                told(f"{checkpoint}, {mechanism}: prompt {prompt + 1}, seed {seed + 1}")


def _painter(drawing: Drawing, variant: str, checkpoint: str, sliders: Sequence[str] = SLIDERS) -> Painter:
    """Draws with these sliders made ready."""
    painter = Painter(drawing, variant, checkpoint)
    drawing.sliders.prepare(painter.loaded, sliders, lambda event: None, lambda: None)
    return painter


def curves(path: Path) -> list[Curve]:
    """The means over prompts and seeds of what is written down in `path`."""
    groups: dict[tuple[str, str, str], dict[int, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(path):
        groups[row["checkpoint"], row["mechanism"], row["slider"]][int(row["value"])].append(row)
    columns = PICTURE_COLUMNS[KEY_COLUMNS:]
    found = []
    for key, by_value in groups.items():
        means = {v: {c: mean(float(row[c]) for row in rows) for c in columns} for v, rows in by_value.items()}
        found.append(Curve(*key, means, min(map(len, by_value.values()))))
    return found


def checks(curve: Curve, own_spans: dict[str, float]) -> list[Check]:
    """The promises of one slider; `own_spans` are the spans of all sliders' own measures on the same checkpoint."""
    slider = curve.slider
    found = [
        at_least("rises (Spearman)", curve.rising, FEWEST_RISING),
        at_least("ends, upper / lower", curve.swing, SWING[slider]),
    ]
    for other in SLIDERS:
        if other != slider and other in own_spans:
            moved = abs(curve.span(other) / own_spans[other])
            found.append(at_most(f"moves {other}'s measure", moved, MOST_CROSSTALK))
    layout, subject = curve.at(30, "layout"), curve.at(60, "subject_right")
    found.append(at_least("layout kept at ±30", layout, LAYOUT[slider]))
    found.append(at_least("subject right at ±60", subject, SUBJECT_KEPT))
    return found


def all_checks(found: Sequence[Curve]) -> dict[tuple[str, str, str], list[Check]]:
    """The promises of every curve, by checkpoint, mechanism and slider."""
    spans: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for curve in found:
        spans[curve.checkpoint, curve.mechanism][curve.slider] = curve.span(curve.slider)
    return {(c.checkpoint, c.mechanism, c.slider): checks(c, spans[c.checkpoint, c.mechanism]) for c in found}


def write_report(found: Sequence[Curve], folder: Path) -> None:
    """The table of means (CSV), the plot (PNG) and the page (Markdown)."""
    columns = PICTURE_COLUMNS[KEY_COLUMNS:]
    with (folder / "sliders.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*PICTURE_COLUMNS[:4], "pictures", *columns])
        for curve in found:
            for value in curve.values:
                means = (f"{curve.means[value][c]:.4g}" for c in columns)
                table.writerow([curve.checkpoint, curve.mechanism, curve.slider, value, curve.pictures, *means])
    _plot(found, folder / "sliders.png")
    lines = [
        "# The generative sliders, measured",
        "",
        f"Written by `{COMMAND}`: every slider alone from −100 to 100, on the same prompts and seeds, at 512 × 512, "
        "with the variant's own steps and guidance. Intensity is measured by colourfulness (Hasler and Süsstrunk), "
        "complexity by edge density, movement by the share of the edges' energy that falls at 5° to 30°; contrast, "
        "shapes and anisotropy are in [sliders.csv](sliders.csv). «Moves» is the effect of the full range on another's "
        "measure, in that slider's own full effect. **What does not hold is bold, with its target.**",
        "",
        "![Each slider's measure over its value](sliders.png)",
        "",
        "![Pictures over five values](sliders.jpg)",
        "",
    ]
    promises = all_checks(found)
    for mechanism in dict.fromkeys(curve.mechanism for curve in found):
        for slider in SLIDERS:
            chosen = [c for c in found if (c.mechanism, c.slider) == (mechanism, slider)]
            rows = [promises[c.checkpoint, mechanism, slider] for c in chosen]
            for first in rows[:1]:
                titles = [f"{check.what} {check.target}" for check in first]
                lines += [
                    f"## {slider.capitalize()}, {mechanism}",
                    "",
                    line("checkpoint", "pictures a value", *titles),
                ]
                lines.append("|---|" + "---:|" * (1 + len(titles)))
            lines += [line(c.checkpoint, str(c.pictures), *map(cell, row)) for c, row in zip(chosen, rows, strict=True)]
            lines += [""] * bool(chosen)
    (folder / "sliders.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _plot(found: Sequence[Curve], path: Path) -> None:
    """One panel a slider: its own measure over its value, relative to 0, a line for each checkpoint and mechanism."""
    plot = figure(12, 3.8)
    for axes, slider in zip(plot.subplots(1, len(SLIDERS)), SLIDERS, strict=True):
        for curve in found:
            if curve.slider == slider:
                base = curve.means[0][slider]
                style = "-" if curve.mechanism == SLIDER_LORA else "--"
                label = f"{curve.checkpoint}, {curve.mechanism}"
                axes.plot(
                    curve.values, [y / base for y in curve.of(slider)], style, marker="o", markersize=3, label=label
                )
        axes.set(
            title=slider.capitalize(), xlabel="value", ylabel=f"{MEASURES[slider].__name__.replace('_', ' ')} / at 0"
        )
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    plot.savefig(path, dpi=110)


def contact_sheet(settings: Settings, variant: str, path: Path) -> None:
    """Three prompts a slider, a row each, over five values; drawn by whatever mechanism the studio uses."""
    painter, values = _painter(Drawing(settings), variant, settings.checkpoint_for(variant)), (-100, -50, 0, 50, 100)
    lines = [(slider, prompt) for slider in SLIDERS for prompt in (0, 1, 6)]
    painter.sheet([[painter.picture(PROMPTS[p][1], 1000 * p, **{s: v}) for v in values] for s, p in lines], 200, path)


def main(argv: Sequence[str]) -> int:
    """Measure what is asked for, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("sliders", argv)
    scope = Scope(
        tuple(chosen.variants), tuple(chosen.mechanisms), tuple(chosen.sliders), VALUES, chosen.prompts, chosen.seeds
    )
    settings = load_settings()
    draw_and_measure(scope, settings, chosen.pictures, lambda line: print(line, flush=True))
    found = curves(chosen.pictures)
    write_report(found, chosen.folder)
    contact_sheet(settings, chosen.variants[-1], chosen.folder / "sliders.jpg")
    for key, promises in all_checks(found).items():
        for check in promises:
            print(*key, check.what, f"{check.measured:.3g}", check.target, "" if check.holds else "DOES NOT HOLD")
    print(f"written: {chosen.folder / 'sliders.md'}")
    return 0
