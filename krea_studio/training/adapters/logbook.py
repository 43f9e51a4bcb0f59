"""What a training leaves to look at: its losses as a table and as a plot, and sheets of sample pictures.

An interrupted training goes on some steps before its last one; those are written down again, and the later line counts.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CELL_PX = 256


def note(path: Path, step: int, loss: float) -> None:
    """Write down one step's loss in a CSV file."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([step, f"{loss:.6g}"])


def losses(path: Path) -> dict[int, float]:
    """Step → loss, in the order of steps; a line that is not whole is left out."""
    found = {}
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.reader(file):
            if len(cells) == 2:
                found[int(cells[0])] = float(cells[1])
    return dict(sorted(found.items()))


def plot(found: dict[int, float], title: str, path: Path) -> bool:
    """Plot losses over steps with their running mean, as a PNG; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    steps, values = np.array(list(found)), np.array(list(found.values()))
    width = max(1, len(values) // 30)
    smooth = np.convolve(values, np.ones(width) / width, "valid")
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, values, ".", markersize=2, alpha=0.35)
    axes.plot(steps[width - 1 :], smooth, label=f"mean of {width}")
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    return True


def sheet(pictures: Sequence[Image.Image], path: Path) -> None:
    """Pictures side by side, each fitted into a square cell, as a JPEG."""
    whole = Image.new("RGB", (len(pictures) * CELL_PX, CELL_PX), "white")
    for k, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
        whole.paste(small, (k * CELL_PX + (CELL_PX - small.width) // 2, (CELL_PX - small.height) // 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, quality=88)
