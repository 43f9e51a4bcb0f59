"""The three parts one after another, and the report on them."""

import os
import platform
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from krea_studio.measures.options import parsed
from krea_studio.measures.reliability.calls import Calls, odd_calls
from krea_studio.measures.reliability.clients import CLIENTS, WAYS, Load, Look, load
from krea_studio.measures.reliability.files import REFUSED, TAKEN, UNCLEAR, Unclear, bring_in, hostile_files
from krea_studio.services import build_services
from krea_studio.settings import Settings

COMMAND = "python -m krea_studio measure reliability"
SETTLED = 200  # requests after which a process should not grow any more
BESIDE = 100  # looks whose median is compared: at one moment a picture is in memory or is not
MOST_GROWTH = 1.02


def growth(looks: Sequence[Look], settled: int = SETTLED) -> float | None:
    """The memory of the last looks over that of the first ones from the `settled`th request on; None before it."""
    later = [look.memory for look in looks if look.requests >= settled]
    if len(later) < 2 * BESIDE:
        return None
    return median(later[-BESIDE:]) / median(later[:BESIDE])


def load_table(found: Load) -> list[str]:
    """The lines of the report on requests at once."""
    by_way = Counter(asked.way for asked in found.asked)
    whole = sum(bool(asked.pictures) for asked in found.asked)
    refused = Counter(asked.refused for asked in found.asked if asked.refused)
    grown = growth(found.looks)
    rows = [
        ("requests, of which " + ", ".join(f"{by_way[way]} of a client that {way}" for way in WAYS), len(found.asked)),
        ("got their pictures", whole),
        ("were refused in words", sum(refused.values())),
        ("lost: told nothing, or told of a picture that the library has not", len(found.lost)),
        ("files of others that somebody got, or own ones that they did not", len(found.foreign)),
        ("runs on the engine at once, at most", max(look.drawing for look in found.looks)),
        ("tracebacks in the log", found.tracebacks),
        (f"memory at the end / from request {SETTLED} on (target ≤ {MOST_GROWTH})", f"{grown:.3f}" if grown else "—"),
        ("threads before and after", f"{found.before.threads}, {found.after.threads}"),
        ("open files before and after", f"{found.before.files}, {found.after.files}"),
        ("seconds", round(found.seconds)),
    ]
    lines = ["| what | |", "|---|---:|", *(f"| {what} | {value} |" for what, value in rows)]
    return lines + [f"- {count} × {reason}" for reason, count in refused.most_common(5)]


def calls_table(number: int, found: Calls) -> list[str]:
    """The lines of the report on odd calls."""
    lines = ["| answer | calls |", "|---|---:|"]
    lines += [f"| {status} | {count} |" for status, count in sorted(found.statuses.items())]
    healthy = "answered" if found.healthy else "did not answer"
    return [*lines, "", f"{found.tracebacks} tracebacks in {number:,} calls; afterwards `/healthz` {healthy}."]


def files_table(counts: dict[str, Counter[str]], unclear: Sequence[Unclear]) -> list[str]:
    """The lines of the report on files."""
    answers = (REFUSED, TAKEN, UNCLEAR)
    lines = [f"| way | {' | '.join(answers)} |", "|---|" + "---:|" * len(answers)]
    lines += [f"| {way} | {' | '.join(str(found[each]) for each in answers)} |" for way, found in counts.items()]
    return lines + [f"- {each.kind} as {each.way}: {each.said}" for each in unclear]


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises StudioError when it cannot."""
    chosen = parsed("reliability", argv)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "files-home").mkdir()
        services = build_services(Settings(library=work / "files-home" / "library", device="cpu"))
        files = hostile_files(work / "files")
        counts, unclear = bring_in(files, services)
        services.library.close()
        print("\n".join(files_table(counts, unclear)), flush=True)
        calls = odd_calls(work, chosen.calls)
        print("\n".join(calls_table(chosen.calls, calls)), flush=True)
        found = load(work, chosen.requests)
    lines = [
        "# What many people at once take and lose",
        "",
        f"Written by `{COMMAND}`, on {platform.machine()} with {os.cpu_count()} processors, Python "
        f"{platform.python_version()}, the embedded checkpoints and the CPU.",
        "",
        "## Requests at once",
        "",
        f"{CLIENTS} clients of three accounts, each with one request after another for a picture at 512 in one step; "
        "after each picture a client asks for the latest one of every account by its address.",
        "",
        *load_table(found),
        "",
        "## Calls that no program means to make",
        "",
        "Any function with anything, bodies cut off and mistyped, streams of sessions that are not there.",
        "",
        *calls_table(chosen.calls, calls),
        "",
        "## Files that are not what they say",
        "",
        f"{len(files)} kinds of file by each way on which files come in. Clear is one line that says what is wrong and "
        "what to do.",
        "",
        *files_table(counts, unclear),
    ]
    chosen.report.write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(load_table(found)))
    print(f"written: {chosen.report}")
    return 0
