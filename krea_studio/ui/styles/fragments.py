"""What the tab Styles draws as HTML or as one line of text: a style's card, its facts, the doctor's report.

Pure functions from data to strings. Names, words and statements come from strangers' files, and go through
`html.escape` here; captions of the gallery are escaped by Gradio.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from krea_studio.direction.styles import OfficialStyle, StyleCard, size_words

NOTHING_FOUND = """
<div class="stage-empty"><p class="stage-title">No style is like this</p>
<p>Change the words or the filter above, or add a style.</p></div>
"""
NO_STYLE = "<p>Choose a style to see what it is.</p>"
SHARED = "<p>Styles belong to everyone who opens this page: you may use them; who is signed in may change them.</p>"
OWNED = (
    "<p>A style that you add is yours alone until you share it; the team may then use it, and you alone change it.</p>"
)

Rows = Sequence[tuple[str, str]]


def caption(style: StyleCard | OfficialStyle) -> str:
    """A card of the gallery, a line for each thing: name, with a star for a favourite, words, base, size and source."""
    if isinstance(style, OfficialStyle):
        return "\n".join((style.label, style.trigger, "Krea 2 Turbo · not downloaded"))
    name = f"★ {style.name}" if style.favourite else style.name
    base = f"{style.base} · {size_words(style.bytes)}"
    return "\n".join((name, style.trigger or "no trigger words", base, style.source))


def heading(style: StyleCard | OfficialStyle) -> str:
    """The name of the open style, and what it is made for."""
    if isinstance(style, OfficialStyle):
        name, line = style.label, style.base
    else:
        name, line = style.name, f"made for {style.base}" if style.made_for else style.base
    return f'<h2 dir="auto">{escape(name)}</h2><p class="facts">{escape(line[:1].upper() + line[1:])}</p>'


def texts(style: StyleCard) -> dict[str, str]:
    """What may be written over in a style, by the names of the boxes."""
    return {
        "trigger": style.trigger,
        "suggested_prompt": style.suggested_prompt,
        "speed": style.speed.text if style.speed else "",
    }


def report(style: StyleCard, found: Iterable[str] = ()) -> str:
    """What the doctor found in a style's file, as a table; `found` are his own lines where they are fresh."""
    fresh = _rows(found)
    known = [
        ("Format", style.format),
        ("Rank", style.rank),
        ("Few steps", style.speed.words if style.speed else ""),
        ("Size", size_words(style.bytes)),
        ("Made for", ", ".join(style.made_for)),
        ("The file says", style.stated_base),
        ("Source", style.source),
    ]
    told = {name.casefold() for name, _ in fresh}
    rows = [*fresh, *((name, text) for name, text in known if text and name.casefold() not in told)]
    return _table("The doctor's report", rows) + _notes(style.notes if not fresh else ())


def official(style: OfficialStyle) -> str:
    """What is known of a style that is still to be downloaded."""
    rows = [("Trigger words", style.trigger), ("Repository", style.repository)]
    return _table("Published by Krea", rows)


def refused(lines: Iterable[str]) -> str:
    """Why a file was not taken in, as the doctor tells it."""
    return _table("The doctor's report", _rows(lines))


def refused_files(reasons: Mapping[Path, str]) -> str:
    """Why files in the folder of styles were not taken in."""
    return _table("Refused", [(path.name, reason) for path, reason in reasons.items()])


def deleting(style: StyleCard) -> str:
    """The question before a style goes."""
    return f"<p>Delete {escape(style.name)}? Pictures that it helped to make stay; making them again needs it.</p>"


def _rows(lines: Iterable[str]) -> list[tuple[str, str]]:
    """The lines of a report, the first of which is the verdict on a file, and the others `what: how it is`."""
    verdict, *others = list(lines) or [""]
    parted = (line.partition(": ") for line in others)
    return [("File", verdict), *((name[:1].upper() + name[1:], text) for name, _, text in parted)] if verdict else []


def _table(title: str, rows: Rows) -> str:
    cells = "".join(f'<dt>{escape(name)}</dt><dd dir="auto">{escape(text)}</dd>' for name, text in rows)
    return f'<h3>{escape(title)}</h3><dl class="report">{cells}</dl>'


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="report-notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""
