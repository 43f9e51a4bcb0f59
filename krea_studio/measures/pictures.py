"""What the measurements of pictures share: drawing as the engine does, a table that goes on where it stopped, promises.

A picture's measures are written down as soon as it is drawn, under a key that says how it was made; what has a row is
not drawn again. Reports are made from the table alone.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image

from krea_studio.engine.checkpoints.table import resolve
from krea_studio.engine.local.drawing import Drawing
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import GenerationRequest
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import load_settings
from krea_studio.training.judging import judge as judges

SIDE = "512"


class Painter:
    """Draws pictures of one variant as the engine does, at 512 class."""

    def __init__(self, drawing: Drawing, variant: str, checkpoint: str) -> None:
        self.drawing, self._variant = drawing, variant
        drawing.previews = False
        self.loaded = drawing.manager.get(
            resolve(checkpoint), drawing.precision, drawing.device, lambda event: None, lambda: None
        )

    @torch.inference_mode()
    def picture(
        self, prompt: str, seed: int, pictures: Mapping[str, bytes] = MappingProxyType({}), **fields: Any
    ) -> Image.Image:
        """The picture of a prompt and a seed; `fields` are the request's, `pictures` those that it refers to."""
        request = GenerationRequest(**{"prompt": prompt, "variant": self._variant, "resolution": SIDE, **fields})
        shot = plan(request, seed).shots[0]
        return self.drawing.picture(self.loaded, shot, pictures.__getitem__)

    def sheet(self, pictures: Sequence[Sequence[Image.Image]], cell_px: int, path: Path) -> None:
        """Write its pictures as `sheet` does, but for those that the settings' content filter does not pass."""
        judge, embedded = ContentFilter.of(load_settings()), self.loaded.checkpoint.embedded
        sheet([[judge.passed(each, embedded, print) for each in row] for row in pictures], cell_px, path)


class Judge:
    """Reads a picture's subject."""

    def __init__(self) -> None:
        self._judge = judges.load()

    def sees(self, picture: Image.Image, subject: str) -> bool:
        """Whether the subject is what the judge finds in the picture."""
        (verdict,) = judges.verdicts(self._judge, judges.view(picture)[None])
        return judges.ATTRIBUTES["subject"][verdict["subject"]] == subject


class Table:
    """A CSV file of measures: the first `keys` of its columns say how a picture was made."""

    def __init__(self, path: Path, columns: Sequence[str], keys: int) -> None:
        self.path, self._columns, self._keys = path, tuple(columns), keys
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._append(self._columns)
        self._known = {tuple(row[column] for column in self._columns[:keys]) for row in rows(path)}

    def measured(self, key: Sequence[object], measure: Callable[[], Sequence[float]]) -> bool:
        """Write down what `measure` gives for `key` unless it is known; whether it was not."""
        key = tuple(map(str, key))
        if key in self._known:
            return False
        self._append([*key, *(f"{value:.5g}" for value in measure())])
        self._known.add(key)
        return True

    def _append(self, cells: Sequence[object]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(cells)


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


@dataclass(frozen=True)
class Check:
    """One promise, what was measured, and whether it holds."""

    what: str
    measured: float
    target: str
    holds: bool


def at_least(what: str, measured: float, target: float) -> Check:
    return Check(what, measured, f"≥ {target:g}", measured >= target)


def at_most(what: str, measured: float, target: float) -> Check:
    return Check(what, measured, f"≤ {target:g}", measured <= target)


def line(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def cell(check: Check) -> str:
    """What was measured, for a table whose heading says the target; bold, with it, where it does not hold."""
    return f"{check.measured:.3g}" if check.holds else f"**{check.measured:.3g}, not {check.target}**"


def checks_table(found: Mapping[str, Sequence[Check]]) -> list[str]:
    """A Markdown table of promises: one line a promise, one column a checkpoint."""
    columns = list(found)
    lines = [line("promise", "target", *columns), "|---|---|" + "---:|" * len(columns)]
    for checks in zip(*found.values(), strict=True):
        lines.append(line(checks[0].what, checks[0].target, *map(cell, checks)))
    return lines


def tell(found: Mapping[str, Sequence[Check]], report: Path) -> None:
    """Print every promise of every checkpoint, and where the report is."""
    for checkpoint, checks in found.items():
        for check in checks:
            print(checkpoint, check.what, f"{check.measured:.3g}", check.target, "" if check.holds else "DOES NOT HOLD")
    print(f"written: {report}")


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure. Raises InvalidRequest where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidRequest("The plot needs matplotlib — pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def sheet(pictures: Sequence[Sequence[Image.Image]], cell_px: int, path: Path) -> None:
    """A contact sheet: one row of equal cells for each sequence."""
    whole = Image.new("RGB", (max(map(len, pictures)) * cell_px, len(pictures) * cell_px), "white")
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            whole.paste(picture.resize((cell_px, cell_px), Image.Resampling.LANCZOS), (x * cell_px, y * cell_px))
    whole.save(path, quality=88)
