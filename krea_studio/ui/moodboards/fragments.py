"""What the tab Moodboards draws as HTML or as one line of text: what a board is, its palette, how far an analysis is.

Pure functions from data to strings. Names, words and models' names may come from a stranger's zip, and go through
`html.escape` here.
"""

from html import escape

from krea_studio.direction.moodboards import MEASURED, Analysis, Moodboard

NO_BOARD = """
<div class="stage-empty"><p class="stage-title">A moodboard gives pictures one direction</p>
<p>Name one and press Create board, or import one as a zip.</p></div>
"""
SHARED = "<p>Moodboards belong to everyone who opens this page: you may use them; who is signed in may change them.</p>"
OWNED = "<p>A moodboard is yours alone until you share it; the team may then use it, and you alone change it.</p>"
SAVED_BY_ITSELF = "<p>Changes are saved when you leave a box.</p>"
NOT_SAVED = "<p>Not saved yet.</p>"
SAVED = '<p role="status">Saved. Further changes are saved when you leave a box.</p>'


def facts(board: Moodboard, due: bool) -> str:
    """The board's name, how many pictures it has, and how its analysis stands to them; `due`: there is more to find."""
    told = [pictures(len(board.images)), _written(board.analysis)] if board.images else ["No pictures yet"]
    line = f'<p class="facts">{escape(" · ".join(told))}</p>'
    hint = _hint(board, due)
    return f'<h2 dir="auto">{escape(board.name)}</h2>{line}' + (f'<p class="hint">{escape(hint)}</p>' if hint else "")


def palette(analysis: Analysis | None) -> str:
    """The colours as one strip in true proportion, and a list of them for reading."""
    if analysis is None or not analysis.palette:
        return ""
    strip = "".join(
        f'<span style="background: {escape(swatch.colour)}; flex-grow: {100 * swatch.share:.1f}"></span>'
        for swatch in analysis.palette
    )
    entries = "".join(
        f'<li><span class="dot" style="background: {escape(swatch.colour)}" aria-hidden="true"></span>'
        f"{escape(swatch.colour)} <span>{_percent(swatch.share)}</span></li>"
        for swatch in analysis.palette
    )
    return (
        f'<h3 id="palette-title">Palette</h3><div class="palette-strip" aria-hidden="true">{strip}</div>'
        f'<ul class="palette" aria-labelledby="palette-title">{entries}</ul>'
    )


def looks(board: Moodboard) -> list[str]:
    """The label of each cluster: its share of the board, and how many pictures look like this."""
    clusters = board.analysis.clusters if board.analysis else ()
    return [
        f"{_percent(share)} · {pictures(len(board.present(cluster)))}"
        for cluster, share in zip(clusters, board.shares(), strict=True)
    ]


def progress(name: str, share: float, stopping: bool = False) -> str:
    """How far the analysis of a board is, 0 … 1, or that it is to end."""
    percent = round(100 * min(max(share, 0.0), 1.0))
    label = "Stopping…" if stopping else f"Analyzing {name} · {percent} %"
    return (
        f'<div class="analyzing"><p>{escape(label)}</p><div class="bar" role="progressbar" aria-label="Analysis" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"><span style="width: {percent}%"></span>'
        "</div></div>"
    )


def deleting(board: Moodboard) -> str:
    """The question before a board goes."""
    return f"<p>Delete {escape(board.name)}? Its pictures stay in the library, where recipes may need them.</p>"


def _written(analysis: Analysis | None) -> str:
    if analysis is None:
        return "Not analyzed yet"
    return "Measured from the pictures" if analysis.written_by == MEASURED else f"Written by {analysis.written_by}"


def _hint(board: Moodboard, due: bool) -> str:
    """What there is to do before the board steers as it is now; empty where that is nothing."""
    if not board.images:
        return "Drop some pictures that belong together, then press Analyze."
    if board.analysis is None:
        return "Press Analyze to find out what the pictures have in common."
    if board.changed:
        count = len(board.analysis.images ^ frozenset(board.images))
        were = "picture was" if count == 1 else "pictures were"
        return f"{count} {were} added or removed since it was analyzed. Analyzing it again writes the words below anew."
    if not any(cluster.on for cluster in board.analysis.clusters):
        return "All its looks are switched off: switch one on, or the moodboard cannot steer."
    if due:
        return "A language model is here now. Analyzing it again lets that write the words below anew."
    return ""


def pictures(count: int) -> str:
    """A number of pictures in words."""
    return f"{count} picture" if count == 1 else f"{count} pictures"


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"
