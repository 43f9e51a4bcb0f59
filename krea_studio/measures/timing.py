"""Comparing times on a machine whose times wander, and the report of such a measurement: rows of a table."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

Timed = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    result: str
    target: str = ""


Told = Callable[[Row], None]


def ratios(slow: Timed, fast: Timed, pairs: int) -> list[float]:
    """time(slow) / time(fast) for interleaved pairs, after a warm-up of both."""
    slow(), fast()
    found = []
    for number in range(pairs):
        if number % 2 == 0:
            found.append(seconds(slow) / seconds(fast))
        else:
            fast_seconds = seconds(fast)
            found.append(seconds(slow) / fast_seconds)
    return found


def seconds(work: Timed) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(found: Sequence[float]) -> str:
    """The median of ratios, with the least and the greatest."""
    return f"{median(found):.2f} ({min(found):.2f} – {max(found):.2f})"


def write_report(path: Path, title: str, command: str, about: str, measure: Callable[[Told], None]) -> None:
    """Measure, print every row as it is told, and write all of them as a Markdown table beneath what it is `about`."""
    threads = torch.get_num_threads()
    lines = [
        f"# {title}",
        "",
        f"Written by `{command}`; run it again to measure another machine. {about}",
        "",
        f"Machine: {platform.machine()}, {threads} torch thread{'s' * (threads > 1)}, Python "
        f"{platform.python_version()}, torch {torch.__version__}.",
        "",
        "| what | measured | target |",
        "|---|---:|---:|",
    ]

    def told(row: Row) -> None:
        line = f"| {row.what} | {row.result} | {row.target} |"
        lines.append(line)
        print(line, flush=True)

    measure(told)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {path}")
