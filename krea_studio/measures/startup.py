"""How long a start takes: `python -m krea_studio measure startup [--against FOLDER]`.

Whole processes of this checkout and, in interleaved pairs (A B, B A, …), of another one, in the same Python. Files are
in the machine's cache, as after a first use. On a machine with other work to do, the time of the processor says more
than that of the clock, and the ratio of a pair more than either. There OMP_WAIT_POLICY=passive keeps the wait of torch's
threads for one another, which is not part of a start, out of both.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

from krea_studio.errors import Unavailable
from krea_studio.measures.options import parsed
from krea_studio.recipe.request import GenerationRequest

HERE = Path(__file__).resolve().parents[2]
COMMAND = "python -m krea_studio measure startup"
PICTURE = {"prompt": "a fox", "resolution": "512", "seed": 1}
COLD = ["generate", PICTURE["prompt"], "--resolution", PICTURE["resolution"], "--seed", str(PICTURE["seed"])]
HELPS = (
    "generate",
    "inspect",
    "history",
    "moodboard",
    "styles",
    "inspect-style",
    "serve",
    "document",
    "train-slider",
    "train-style",
)
MEASURES = ("measure speed", "measure sliders", "measure styles")
MEGABYTE = 2**20
PAGE_SECONDS = 300


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds by the clock and of the processor, and megabytes at its peak."""

    seconds: float
    processor: float
    megabytes: float


Measured = Callable[[Path], Mapping[str, Cost]]


def command(arguments: Sequence[str]) -> Measured:
    """A measurement of a whole command of a checkout."""

    def measured(checkout: Path) -> Mapping[str, Cost]:
        with _process(checkout, arguments) as (process, started):
            cost = _ended(process, started)
        if process.returncode:
            raise Unavailable(f"{checkout}: {' '.join(arguments)} ended with {process.returncode}")
        return {"": cost}

    return measured


def page(checkout: Path) -> Mapping[str, Cost]:
    """What it takes from a start of the page to its first byte, and to the first picture of who asks at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with _process(checkout, ["serve", "--port", str(port)]) as (process, started):
        try:
            while not _answers(address):
                if process.poll() is not None or time.perf_counter() - started > PAGE_SECONDS:
                    raise Unavailable(f"{checkout}: the page does not answer")
                time.sleep(0.02)
            first_byte = _so_far(process.pid, started)
            _draw(address)
            return {": first byte": first_byte, ": first picture": _so_far(process.pid, started)}
        finally:
            process.kill()
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=PAGE_SECONDS) as answer:
            return bool(answer.read(1))
    except OSError:
        return False


def _draw(address: str) -> None:
    """Ask the page's endpoint for a picture, and wait until it is there."""
    values = list(GenerationRequest(**PICTURE).model_dump(mode="json").values())
    asked = Request(
        f"{address}/gradio_api/call/generate",
        json.dumps({"data": values}).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(asked, timeout=PAGE_SECONDS) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{address}/gradio_api/call/generate/{event}", timeout=PAGE_SECONDS) as news:
        told = news.read().decode()
    if "event: complete" not in told:
        raise Unavailable(f"The page drew no picture: {told[-200:]!r}")


@contextmanager
def _process(checkout: Path, arguments: Sequence[str]) -> Any:
    """A command of a checkout, with a library of its own, and when it began."""
    with tempfile.TemporaryDirectory() as library:
        environment = os.environ | {"KREA_STUDIO_LIBRARY": library, "PYTHONPATH": str(checkout)}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "krea_studio", *arguments],
            cwd=checkout,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield process, started


def _ended(process: subprocess.Popen[bytes], started: float) -> Cost:
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Cost(seconds, usage.ru_utime + usage.ru_stime, kilobytes / 1024)


def _so_far(pid: int, started: float) -> Cost:
    """What a process that goes on has taken, as far as this system tells."""
    import psutil

    asked = psutil.Process(pid)
    times = asked.cpu_times()
    return Cost(time.perf_counter() - started, times.user + times.system, asked.memory_info().rss / MEGABYTE)


def pairs_of(measured: Measured, checkouts: Sequence[Path], pairs: int) -> dict[str, list[list[Cost]]]:
    """For everything that `measured` tells, one list of costs a checkout; the checkouts take turns to be first."""
    found: dict[str, list[list[Cost]]] = {}
    for number in range(pairs):
        for place in sorted(range(len(checkouts)), reverse=bool(number % 2)):
            for what, cost in measured(checkouts[place]).items():
                found.setdefault(what, [[] for _ in checkouts])[place].append(cost)
    return found


def row(what: str, costs: Sequence[Sequence[Cost]], target: str) -> str:
    """A line of the report: medians of this checkout, and of the ratios to the other one where there is one."""
    fields = ("seconds", "processor", "megabytes")
    here = [median(getattr(cost, field) for cost in costs[0]) for field in fields]
    cells = [what, f"{here[0]:.2f} s", f"{here[1]:.2f} s", f"{here[2]:.0f} MB"]
    if len(costs) > 1:
        for field in fields:
            found = [getattr(a, field) / getattr(b, field) for a, b in zip(*costs, strict=True)]
            cells.append(f"{median(found):.2f} ({min(found):.2f} – {max(found):.2f})")
    return "| " + " | ".join([*cells, target]) + " |"


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises StudioError when it cannot."""
    chosen = parsed("startup", argv)
    checkouts = [HERE] if chosen.against is None else [HERE, chosen.against.resolve()]
    against = ", ratios to the other checkout with the least and the greatest in brackets" if chosen.against else ""
    titles = ["what", "clock", "processor", "peak", *(["clock ×", "processor ×", "peak ×"] if chosen.against else [])]
    lines = [
        "# How long a start takes",
        "",
        f"Written by `{COMMAND}`: whole processes, medians of {chosen.pairs} interleaved turns{against}.",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'unset')}.",
        "",
        f"| {' | '.join([*titles, 'target'])} |",
        "|---" * (len(titles) + 1) + "|",
    ]
    everything: list[tuple[str, Measured, str]] = [
        ("cold `generate`", command(COLD), "clock ≤ 0.6 ×, peak ≤ 0.8 ×"),
        ("page", page, "first byte ≤ 0.85 ×, first picture ≤ 1 ×"),
        *((f"`{name} --help`", command([*name.split(), "--help"]), "≤ 0.7 s") for name in (*HELPS, *MEASURES)),
    ]
    for what, measured, target in everything:
        for suffix, costs in pairs_of(measured, checkouts, chosen.pairs).items():
            lines.append(row(what + suffix, costs, target))
            print(lines[-1], flush=True)
    chosen.report.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {chosen.report}")
    return 0
