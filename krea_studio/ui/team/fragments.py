"""What the tab Team draws as HTML or as one line of text. Prompts are not shown: what people draw is theirs.

Pure functions from data to strings; names go through `html.escape` here.
"""

from collections.abc import Mapping, Sequence
from html import escape

from krea_studio.accounts.accounts import Account
from krea_studio.library.records import Usage
from krea_studio.runs.run import Kind, Run

DOING = {
    Kind.GENERATE: "draws",
    Kind.EXPAND: "expands a prompt",
    Kind.ANALYZE: "analyses a moodboard",
    Kind.IMPORT: "brings something in",
}
HEADINGS = ("Name", "Pictures", "Last 24 hours", "Latest", "Runs now")


def usage(accounts: Sequence[Account], made: Mapping[str, Usage], runs: Sequence[Run]) -> str:
    """A table of who makes how much: the accounts, and who owns pictures without being one."""
    known = {account.name: account for account in accounts}
    names = [*known, *sorted(set(made) - set(known))]
    rows = []
    for name in names:
        does, own = made.get(name), sum(run.owner == name for run in runs)
        role = "" if name not in known else " (admin)" if known[name].admin else ""
        without = "" if name in known else " (no account)"
        cells = (
            f"{name}{role}{without}",
            f"{does.pictures:,}" if does else "0",
            f"{does.of_late:,}" if does else "0",
            f"{does.latest:%Y-%m-%d}" if does else "",
            str(own),
        )
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    heads = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    return f'<table class="usage"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def run_label(run: Run) -> str:
    """One run as a choice: whose it is, what it does, how far it is."""
    far = f", {len(run.finished)} of {len(run.shots)} pictures" if run.shots else ""
    return f"{run.owner} {DOING[run.kind]}{far}, {run.state}"
