"""What style references do, measured picture by picture: `python -m krea_studio measure references`.

Six pictures of six looks are references for prompts that name neither palette nor rendering style. Pictures of the
small world share a layout, sky above land; so the references lie on their side, and a picture whose lightness
correlates with its reference has copied from it. How well that is seen is told by a control: the same attention
without what keeps the layout out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

from PIL import Image

from krea_studio.direction.looks import Look, content_correlation, palette_distance, texture_distance
from krea_studio.engine.controls.reference_attention import Preset
from krea_studio.engine.local.drawing import Drawing
from krea_studio.library.references import Reference
from krea_studio.measures.options import DRAWN, parsed
from krea_studio.measures.pictures import (
    Check,
    Judge,
    Painter,
    Table,
    at_least,
    at_most,
    checks_table,
    figure,
    line,
    rows,
    tell,
)
from krea_studio.measures.speed import Bench
from krea_studio.measures.timing import ratios
from krea_studio.settings import Settings, load_settings
from krea_studio.training.renderer import render
from krea_studio.training.world import random_scene

COMMAND = "python -m krea_studio measure references"
# Subject, and a prompt that names it but neither palette nor rendering style.
PROMPTS = (
    ("fox", "a fox in the mountains"),
    ("lighthouse", "a lighthouse at sea"),
    ("balloon", "a hot air balloon over rolling hills"),
    ("tree", "a tree on a wide plain"),
)
SEEDS = DRAWN["references"].seeds
STRENGTHS = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0)
MIX_SHARES = (0.25, 0.5, 0.75)
# Rendering style, palette, subject, density and vividness of each reference.
LOOKS = (
    ("papercut", "sunset", "rocket", 0.5, 0.9),
    ("ink", "monochrome", "whale", 0.5, 0.5),
    ("neon", "midnight", "cactus", 0.6, 0.8),
    ("watercolor", "mint", "flower", 0.4, 0.3),
    ("mosaic", "forest", "fish", 0.7, 0.6),
    ("flat", "candy", "house", 0.5, 0.9),
)
MIXES = ((0, 4), (1, 5), (2, 3))
LOOK_SEED = 5_000_000
COLUMNS = (
    "checkpoint", "kind", "reference", "strength", "prompt", "seed",
    "palette", "texture", "content", "other_palette", "subject_right",
)  # fmt: skip
KEYS = 6
STRENGTH, MIX, CONTROL = "strength", "mix", "control"
# Attention to references as they are, in all blocks: what leaks is then seen.
PLAIN = Preset(
    full=1, guided=1, first_block=0, key_gain=1, short_waves=(1, 1), long_waves=(1, 1), matching=0, value_matching=0
)  # fmt: skip

PALETTE_FALL = 0.35  # at strength 1, as a share of the distance at 0
MOST_LEAK = 0.05  # change of the correlation with the reference, at any strength up to 1
LEAST_CONTROL_LEAK = 0.25
SUBJECT_KEPT = 0.8  # share of pictures at strength 0.75 in which the judge finds the subject
MOST_UNEVEN = 2.0  # the largest step of a mix, in mean steps
COST_ONE, COST_FOUR = 1.5, 2.8  # time of a run that captures, against a plain one
MOST_UNEVEN_COST = 1.5  # the largest added time of one more reference, in mean added times
COST_PAIRS = 5


@dataclass(frozen=True)
class Scope:
    """What is measured: variants, strengths, pairs that are mixed, how many prompts and seeds."""

    variants: tuple[str, ...] = DRAWN["references"].variants
    strengths: tuple[float, ...] = STRENGTHS
    mixes: tuple[tuple[int, int], ...] = MIXES
    prompts: int = len(PROMPTS)
    seeds: int = SEEDS


@cache
def looks() -> tuple[Image.Image, ...]:
    """The reference pictures, lying on their side."""
    scenes = [
        replace(
            random_scene(LOOK_SEED + k), style=style, palette=palette, subject=subject, density=dense, vividness=vivid
        )
        for k, (style, palette, subject, dense, vivid) in enumerate(LOOKS)
    ]
    return tuple(render(scene, 512, 512).transpose(Image.Transpose.ROTATE_90) for scene in scenes)


class Bent:
    """Draws with the looks as references."""

    def __init__(self, painter: Painter) -> None:
        kept = [Reference.of(look) for look in looks()]
        self.painter, self.ids = painter, [each.id for each in kept]
        self._pictures = {each.id: each.content for each in kept}

    def picture(self, prompt: int, seed: int, strengths: dict[int, float]) -> Image.Image:
        """A prompt's picture with these strengths of these looks."""
        references = [{"image": self.ids[look], "strength": strength} for look, strength in strengths.items()]
        words = PROMPTS[prompt][1]
        return self.painter.picture(words, 1000 * prompt + seed, self._pictures, style_references=references)


def draw_and_measure(scope: Scope, settings: Settings, path: Path, told: Callable[[str], None]) -> None:
    """Draw what `path`, a CSV file of pictures, does not have yet, and append each picture's measures to it."""
    judge, table, wished = Judge(), Table(path, COLUMNS, KEYS), [Look(each) for each in looks()]
    for variant in scope.variants:
        checkpoint = settings.checkpoint_for(variant)
        bent, control = (Bent(Painter(Drawing(settings), variant, checkpoint)) for _ in range(2))
        control.painter.drawing.references.preset = PLAIN
        for seed in range(scope.seeds):
            for prompt, (subject, _) in enumerate(PROMPTS[: scope.prompts]):
                neutral = cache(partial(bent.picture, prompt, seed, {}))

                def measured(draw: Callable[[], Image.Image], look: int, other: int, subject: str = subject) -> list:
                    picture = draw()
                    drawn = Look(picture)
                    return [
                        palette_distance(drawn, wished[look]),
                        texture_distance(drawn, wished[look]),
                        content_correlation(picture, looks()[look]),
                        palette_distance(drawn, wished[other]),
                        judge.sees(picture, subject),
                    ]

                for look in range(len(LOOKS)):
                    for strength in scope.strengths:
                        draw = partial(bent.picture, prompt, seed, {look: strength}) if strength else neutral
                        key = (checkpoint, STRENGTH, look, strength, prompt, seed)
                        table.measured(key, partial(measured, draw, look, look))
                    key = (checkpoint, CONTROL, look, 1.0, prompt, seed)
                    table.measured(
                        key, partial(measured, partial(control.picture, prompt, seed, {look: 1.0}), look, look)
                    )
                for first, second in scope.mixes:
                    for share in (0.0, *MIX_SHARES, 1.0):
                        draw = partial(bent.picture, prompt, seed, {first: 1 - share, second: share})
                        key = (checkpoint, MIX, f"{first}-{second}", share, prompt, seed)
                        table.measured(key, partial(measured, draw, first, second))
            told(f"{checkpoint}: seed {seed + 1}")


@dataclass(frozen=True)
class Curves:
    """Means over pictures of one checkpoint: by strength, by share of a mix's second reference, and of the control."""

    checkpoint: str
    strengths: dict[float, dict[str, float]]
    mixes: dict[str, dict[float, dict[str, float]]]
    control: dict[str, float]
    pictures: int  # behind each strength's means, at least


def curves(path: Path) -> list[Curves]:
    """The means of what is written down in `path`, by checkpoint."""
    known = list(rows(path))
    return [_curves(name, [row for row in known if row["checkpoint"] == name]) for name in _values(known, "checkpoint")]


def _curves(checkpoint: str, known: Sequence[dict[str, str]]) -> Curves:
    single, mixed, control = ([row for row in known if row["kind"] == kind] for kind in (STRENGTH, MIX, CONTROL))
    by_strength = _grouped(single, "strength")
    return Curves(
        checkpoint,
        {float(strength): _means(group) for strength, group in by_strength.items()},
        {
            pair: {float(share): _means(group) for share, group in _grouped(part, "strength").items()}
            for pair, part in _grouped(mixed, "reference").items()
        },
        _means(control),
        min(map(len, by_strength.values())),
    )


def _values(known: Sequence[dict[str, str]], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in known))


def _grouped(known: Sequence[dict[str, str]], column: str) -> dict[str, list[dict[str, str]]]:
    return {value: [row for row in known if row[column] == value] for value in _values(known, column)}


def _means(known: Sequence[dict[str, str]]) -> dict[str, float]:
    return {column: mean(float(row[column]) for row in known) for column in COLUMNS[KEYS:]}


def checks(found: Curves) -> list[Check]:
    """The promises of references on one checkpoint."""
    at = found.strengths
    rising = [at[strength] for strength in sorted(at) if strength >= 0]
    promised = []
    for measure in ("palette", "texture"):
        greatest = max(after[measure] - before[measure] for before, after in pairwise(rising))
        promised.append(Check(f"{measure} distance, greatest change from step to step", greatest, "< 0", greatest < 0))
    promised.append(at_least("palette distance, fall at 1", 1 - at[1.0]["palette"] / at[0.0]["palette"], PALETTE_FALL))
    lowest = min(at)
    raised = at[lowest]["palette"] / at[0.0]["palette"] - 1
    promised.append(Check(f"palette distance, rise at {lowest:g}", raised, "> 0", raised > 0))
    leak = max(abs(each["content"] - at[0.0]["content"]) for each in rising)
    promised.append(at_most("layout copied, change of the correlation", leak, MOST_LEAK))
    promised.append(
        at_least("the same in the control", found.control["content"] - at[0.0]["content"], LEAST_CONTROL_LEAK)
    )
    promised.append(at_least("subject right at 0.75", at[0.75]["subject_right"], SUBJECT_KEPT))
    for measure, sign in (("palette", 1), ("other_palette", -1)):
        steps = [sign * step for mix in found.mixes.values() for step in _steps(mix, measure)]
        name = "the first" if sign > 0 else "the second"
        promised.append(Check(f"mix, least change toward {name} reference's end", min(steps), "> 0", min(steps) > 0))
        uneven = max(
            max(map(abs, _steps(mix, measure))) / mean(map(abs, _steps(mix, measure))) for mix in found.mixes.values()
        )
        promised.append(at_most(f"mix, largest step to {name} in mean steps", uneven, MOST_UNEVEN))
    return promised


def _steps(mix: dict[float, dict[str, float]], measure: str) -> list[float]:
    values = [mix[share][measure] for share in sorted(mix)]
    return [after - before for before, after in pairwise(values)]


@dataclass(frozen=True)
class Cost:
    """Time of a run at 1024 × 1024 with 1 … 4 references against a plain one, when all are captured; and with what was
    captured before, one and four."""

    cold: tuple[float, ...]
    warm: tuple[float, float]


def cost(settings: Settings, pairs: int = COST_PAIRS) -> Cost:
    """Measure the cost of references on Turbo: medians over interleaved pairs in one process."""
    drawing = Drawing(settings)
    bench = Bench(drawing, "turbo", settings.checkpoint_turbo, "1K")
    kept = [Reference.of(look) for look in looks()]
    pictures = {each.id: each.content for each in kept}

    def drawn(count: int, cold: bool) -> object:
        if cold:
            drawing.references.forget()
        wished = [{"image": each.id, "strength": 0.5} for each in kept[:count]]
        return bench.studio(style_references=wished, pictures=pictures)

    def ratio(count: int, cold: bool) -> float:
        return median(ratios(partial(drawn, count, cold), bench.studio, pairs))

    return Cost(tuple(ratio(count, True) for count in range(1, 5)), (ratio(1, False), ratio(4, False)))


def cost_checks(found: Cost) -> list[Check]:
    """The promises on cost."""
    added = [after - before for before, after in pairwise((1.0, *found.cold))]
    return [
        at_most("one reference, captured anew", found.cold[0], COST_ONE),
        at_most("four references, captured anew", found.cold[3], COST_FOUR),
        at_most("largest added time of one more, in mean added times", max(added) / mean(added), MOST_UNEVEN_COST),
    ]


def write_report(found: Sequence[Curves], costs: Cost, folder: Path) -> None:
    """The plot (PNG) and the page (Markdown)."""
    _plot(found, folder / "references.png")
    promises = {each.checkpoint: checks(each) for each in found}
    seeds = " and ".join(f"{each.pictures // len(LOOKS) // len(PROMPTS)} ({each.checkpoint})" for each in found)
    lines = [
        "# Style references, measured",
        "",
        f"Written by `{COMMAND}`: {len(LOOKS)} references, {len(PROMPTS)} prompts and {seeds} seeds at 512 × 512, the "
        "variants' own steps and guidance. "
        "Prompts name neither palette nor rendering style. Palette distance is the sliced Wasserstein distance of the "
        "colours in L\\*a\\*b\\*, texture distance that of the logarithms of edge energy by scale and orientation. "
        "Layout is copied where the lightness in 8 × 8 cells correlates with the reference's; the references lie on "
        "their side, so that the layout that all pictures of the small world share does not count. The control attends "
        "to the same references as they are, without what keeps their layout out. **What does not hold is bold.**",
        "",
        "![Distances over strength and over the share of a mix](references.png)",
        "",
        "![Each reference, and pictures at strengths 0, 0.25, 0.5, 0.75, 1 and −0.5](references.jpg)",
        "",
        *checks_table(promises),
        "",
        "## Means",
        "",
        line("checkpoint", "strength", "pictures", "palette", "texture", "content", "subject right"),
        "|---|" + "---:|" * 6,
    ]
    for each in found:
        for strength, means in sorted(each.strengths.items()):
            values = (f"{means[m]:.3g}" for m in ("palette", "texture", "content", "subject_right"))
            lines.append(line(each.checkpoint, f"{strength:g}", str(each.pictures), *values))
        control = (f"{each.control[m]:.3g}" for m in ("palette", "texture", "content", "subject_right"))
        lines.append(line(each.checkpoint, "control", str(each.pictures), *control))
    lines += ["", "## Cost", ""]
    lines += [f"Turbo at 1024 × 1024, time against a run without references, medians over {COST_PAIRS} pairs.", ""]
    lines += [line("references", "captured anew", "captured before"), "|---:|---:|---:|"]
    warm = {1: f"{costs.warm[0]:.2f}", 4: f"{costs.warm[1]:.2f}"}
    lines += [line(str(k), f"{ratio:.2f}", warm.get(k, "")) for k, ratio in enumerate(costs.cold, start=1)]
    lines += ["", *checks_table({"mini-turbo": cost_checks(costs)})]
    (folder / "references.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plot(found: Sequence[Curves], path: Path) -> None:
    plot = figure(12, 3.8)
    palette, texture, mix = plot.subplots(1, 3)
    for each in found:
        strengths = sorted(each.strengths)
        for axes, measure in ((palette, "palette"), (texture, "texture")):
            values = [each.strengths[s][measure] for s in strengths]
            axes.plot(strengths, values, marker="o", markersize=3, label=each.checkpoint)
        shares = sorted(next(iter(each.mixes.values())))
        for measure, style in (("palette", "-"), ("other_palette", "--")):
            values = [mean(pair[share][measure] for pair in each.mixes.values()) for share in shares]
            which = "first" if style == "-" else "second"
            mix.plot(shares, values, style, marker="o", markersize=3, label=f"{each.checkpoint}, to the {which}")
    palette.set(title="Palette distance to the reference", xlabel="strength")
    texture.set(title="Texture distance to the reference", xlabel="strength")
    mix.set(title="Palette distances of a mix", xlabel="share of the second reference")
    for axes in (palette, texture, mix):
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    plot.savefig(path, dpi=110)


def contact_sheet(settings: Settings, variant: str, path: Path) -> None:
    """A row a reference: itself, then pictures at rising strengths and at a negative one."""
    bent = Bent(Painter(Drawing(settings), variant, settings.checkpoint_for(variant)))
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0, -0.5)
    bent.painter.sheet(
        [
            [look, *(bent.picture(k % len(PROMPTS), 2, {k: strength}) for strength in strengths)]
            for k, look in enumerate(looks())
        ],
        190,
        path,
    )


def main(argv: Sequence[str]) -> int:
    """Measure what is asked for, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("references", argv)
    settings = load_settings()
    scope = Scope(tuple(chosen.variants), seeds=chosen.seeds)
    draw_and_measure(scope, settings, chosen.pictures, lambda text: print(text, flush=True))
    found = curves(chosen.pictures)
    write_report(found, cost(settings), chosen.folder)
    contact_sheet(settings, chosen.variants[0], chosen.folder / "references.jpg")
    tell({each.checkpoint: checks(each) for each in found}, chosen.folder / "references.md")
    return 0
