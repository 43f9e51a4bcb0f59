"""What the shipped styles do, measured picture by picture: `python -m krea_studio measure styles`.

Each style is drawn at rising weights and at a negative one, on prompts that name subject, place and palette but no
rendering style. A classifier that was trained on drawings only, in the six styles of the small world and the three of
the files, says which style it sees and which subject. A control has the trigger words without the file: what the words
alone do is not the style's merit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image
from safetensors import safe_open

from krea_studio.engine.checkpoints.table import ASSETS
from krea_studio.engine.local.drawing import Drawing
from krea_studio.library.styles.files import weights_identity
from krea_studio.measures.options import DRAWN, parsed
from krea_studio.measures.pictures import (
    Check,
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
from krea_studio.settings import Settings, load_settings
from krea_studio.training.judging import judge as judges

COMMAND = "python -m krea_studio measure styles"
SHIPPED = ASSETS.parent / "styles"
# Subject, and a prompt that names it, a place and a palette, but no rendering style.
PROMPTS = (
    ("fox", "a fox in the mountains, autumn colors"),
    ("lighthouse", "a lighthouse at sea, ocean colors"),
    ("balloon", "a hot air balloon over rolling hills, sunset colors"),
    ("cat", "a cat in the hills under the moon, candy colors"),
    ("tree", "a tree on a wide plain, forest colors"),
    ("rocket", "a rocket in the mountains, midnight colors"),
)
SEEDS = DRAWN["styles"].seeds
WEIGHTS = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0)
COLUMNS = ("checkpoint", "style", "kind", "weight", "prompt", "seed", "found", "probability", "subject_right", "change")
KEYS = 6
WEIGHT, WORDS = "weight", "words alone"

FOUND = 0.85  # share of pictures at weight 1 in which the classifier finds the style
FOUND_WITHOUT = 0.0
SUBJECT_KEPT = 0.8


@dataclass(frozen=True)
class Shipped:
    """A style that the studio ships: its file, the name of its look, and the words that call it."""

    path: Path
    look: str
    trigger: str

    @property
    def identity(self) -> str:
        """The library's name for its weights."""
        return weights_identity(self.path)


def shipped() -> list[Shipped]:
    """The shipped styles by name."""
    found = []
    for path in sorted(SHIPPED.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found.append(Shipped(path, path.stem.replace("-", " "), file.metadata()["trigger"]))
    return found


class Styled:
    """Draws with shipped styles."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter

    def picture(self, prompt: int, seed: int, style: Shipped, weight: float, words: bool = False) -> Image.Image:
        """A prompt's picture with a style at a weight; `words` adds its trigger words without it, at weight 0."""
        self.painter.drawing.styles.prepare(self.painter.loaded, {style.identity: style.look}, lambda _: style.path)
        text = PROMPTS[prompt][1] + (f", {style.trigger}" if words else "")
        choice = {"name": style.look, "weight": weight, "trigger": style.trigger, "identity": style.identity}
        return self.painter.picture(text, 1000 * prompt + seed, styles=[choice])


@dataclass(frozen=True)
class Scope:
    """What is measured: variants, weights, how many prompts and seeds."""

    variants: tuple[str, ...] = DRAWN["styles"].variants
    weights: tuple[float, ...] = WEIGHTS
    prompts: int = len(PROMPTS)
    seeds: int = SEEDS


class Eye:
    """Reads style and subject."""

    def __init__(self) -> None:
        self._judge = judges.load(judges.STYLED)

    def read(self, picture: Image.Image, look: str, subject: str) -> tuple[bool, float, bool]:
        """Whether the look is the style that is seen, how probable it is (0 … 1), and whether the subject is right."""
        (seen,) = judges.probabilities(self._judge, judges.view(picture)[None])
        styles, subjects = seen["style"], seen["subject"]
        return max(styles, key=styles.get) == look, styles[look], max(subjects, key=subjects.get) == subject


def change(picture: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, 0 … 1."""
    return float(np.abs(np.asarray(picture, np.float32) - np.asarray(other, np.float32)).mean() / 255)


def draw_and_measure(scope: Scope, settings: Settings, path: Path, told: Callable[[str], None]) -> None:
    """Draw what `path`, a CSV file of pictures, does not have yet, and append each picture's measures to it."""
    eye, table = Eye(), Table(path, COLUMNS, KEYS)
    for variant in scope.variants:
        checkpoint = settings.checkpoint_for(variant)
        styled = Styled(Painter(Drawing(settings), variant, checkpoint))
        for seed in range(scope.seeds):
            for prompt, (subject, _) in enumerate(PROMPTS[: scope.prompts]):
                plain = cache(partial(styled.picture, prompt, seed, shipped()[0], 0.0))

                def measured(
                    draw: Callable[[], Image.Image], look: str, subject: str = subject, plain: Callable = plain
                ) -> list[float]:
                    picture = draw()
                    return [*eye.read(picture, look, subject), change(picture, plain())]

                for style in shipped():
                    for weight in scope.weights:
                        draw = partial(styled.picture, prompt, seed, style, weight) if weight else plain
                        key = (checkpoint, style.look, WEIGHT, weight, prompt, seed)
                        table.measured(key, partial(measured, draw, style.look))
                    key = (checkpoint, style.look, WORDS, 0.0, prompt, seed)
                    table.measured(
                        key,
                        partial(measured, partial(styled.picture, prompt, seed, style, 0.0, words=True), style.look),
                    )
            told(f"{checkpoint}: seed {seed + 1}")


@dataclass(frozen=True)
class Curve:
    """One style on one checkpoint: means over pictures by weight, and of the control with the words alone."""

    checkpoint: str
    look: str
    means: dict[float, dict[str, float]]
    words: dict[str, float]
    pictures: int  # behind each mean, at least

    @property
    def label(self) -> str:
        return f"{self.look}, {self.checkpoint}"


def curves(path: Path) -> list[Curve]:
    """The means of what is written down in `path`, by checkpoint and style."""
    known = list(rows(path))
    found = []
    for checkpoint, look in dict.fromkeys((row["checkpoint"], row["style"]) for row in known):
        own = [row for row in known if (row["checkpoint"], row["style"]) == (checkpoint, look)]
        by_weight: dict[float, list[dict[str, str]]] = {}
        for row in own:
            if row["kind"] == WEIGHT:
                by_weight.setdefault(float(row["weight"]), []).append(row)
        means = {weight: _means(group) for weight, group in sorted(by_weight.items())}
        words = _means([row for row in own if row["kind"] == WORDS])
        found.append(Curve(checkpoint, look, means, words, min(map(len, by_weight.values()))))
    return found


def _means(known: Sequence[dict[str, str]]) -> dict[str, float]:
    return {column: mean(float(row[column]) for row in known) for column in COLUMNS[KEYS:]}


def checks(found: Curve) -> list[Check]:
    """The promises of one style on one checkpoint."""
    at = found.means
    rising = [at[weight] for weight in sorted(at) if weight >= 0]
    promised = [
        at_least("style found at 1", at[1.0]["found"], FOUND),
        at_most("style found at 0", at[0.0]["found"], FOUND_WITHOUT),
        at_most("style found with the words alone", found.words["found"], FOUND_WITHOUT),
        at_least("subject right at 1", at[1.0]["subject_right"], SUBJECT_KEPT),
    ]
    for column, name in (("probability", "probability of the style"), ("change", "change of the picture")):
        least = min(after[column] - before[column] for before, after in pairwise(rising))
        promised.append(Check(f"{name}, least rise from step to step", least, "> 0", least > 0))
    promised += [at_most(f"style found at {w:g}", at[w]["found"], FOUND_WITHOUT) for w in at if w < 0]
    return promised


def write_report(found: Sequence[Curve], folder: Path) -> None:
    """The plot (PNG) and the page (Markdown)."""
    _plot(found, folder / "styles.png")
    lines = [
        "# Styles, measured",
        "",
        f"Written by `{COMMAND}`: the shipped styles, {len(PROMPTS)} prompts and "
        f"{found[0].pictures // len(PROMPTS)} seeds at 512 × 512, the variants' own steps and guidance. Prompts name "
        "subject, place and palette, no rendering style; the trigger words stand behind them at weights above 0, as they "
        "do for a person. A classifier reads style and subject; it was trained on drawings only, in the small "
        "world's six styles and these three, and has seen no picture of a checkpoint. Change is the mean absolute "
        "difference to the picture at weight 0, 0 to 1. **What does not hold is bold.**",
        "",
        "![Probability of the style, share of pictures in which it is found, and change, over weight](styles.png)",
        "",
        f"![Two prompts a style, at weights {', '.join(f'{weight:g}' for weight in WEIGHTS)}](styles.jpg)",
        "",
        *checks_table({each.label: checks(each) for each in found}),
        "",
        "## Means",
        "",
        line("style", "checkpoint", "weight", "pictures", "style found", "its probability", "subject right", "change"),
        "|---|---|" + "---:|" * 6,
    ]
    for each in found:
        told = [(f"{weight:g}", means) for weight, means in each.means.items()] + [(WORDS, each.words)]
        for weight, means in told:
            values = (f"{means[column]:.3g}" for column in COLUMNS[KEYS:])
            lines.append(line(each.look, each.checkpoint, weight, str(each.pictures), *values))
    (folder / "styles.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plot(found: Sequence[Curve], path: Path) -> None:
    plot = figure(12, 3.8)
    shown = (
        ("probability", "Probability of the style"),
        ("found", "Share of pictures with the style"),
        ("change", "Change from the plain picture"),
    )
    for axes, (column, title) in zip(plot.subplots(1, 3), shown, strict=True):
        for each in found:
            axes.plot(
                list(each.means), [m[column] for m in each.means.values()], marker="o", markersize=3, label=each.label
            )
        axes.set(title=title, xlabel="weight")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    plot.savefig(path, dpi=110)


def contact_sheet(settings: Settings, variant: str, path: Path) -> None:
    """Two rows a style, of two prompts, over the weights."""
    styled = Styled(Painter(Drawing(settings), variant, settings.checkpoint_for(variant)))
    styled.painter.sheet(
        [
            [styled.picture(prompt, 2, style, weight) for weight in WEIGHTS]
            for k, style in enumerate(shipped())
            for prompt in (2 * k, 2 * k + 1)
        ],
        190,
        path,
    )


def main(argv: Sequence[str]) -> int:
    """Measure what is asked for, then write the report. Raises StudioError when it cannot."""
    chosen = parsed("styles", argv)
    settings = load_settings()
    scope = Scope(tuple(chosen.variants), seeds=chosen.seeds)
    draw_and_measure(scope, settings, chosen.pictures, lambda text: print(text, flush=True))
    found = curves(chosen.pictures)
    write_report(found, chosen.folder)
    contact_sheet(settings, chosen.variants[0], chosen.folder / "styles.jpg")
    tell({each.label: checks(each) for each in found}, chosen.folder / "styles.md")
    return 0
