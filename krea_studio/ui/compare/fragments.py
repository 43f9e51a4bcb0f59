"""What the tab Compare draws as HTML: the pictures, which `assets/ui/compare.js` zooms and wipes, and how they differ.

Pure functions from data to strings; text that people wrote goes through `html.escape` here.
"""

from collections.abc import Sequence
from html import escape

from krea_studio.library.records import Record
from krea_studio.recipe.recipe import Recipe
from krea_studio.ui import fragments
from krea_studio.ui.compare.differences import differences

NAMES = "ABCD"
EMPTY = """
<div class="stage stage-empty"><p class="stage-title">Two to four pictures, side by side</p>
<p>Press Compare at a picture on Create or in a sweep, choose from the recent ones below, or drop pictures.</p></div>
"""
SAME = '<p class="facts">No setting differs.</p>'


def view(records: Sequence[Record]) -> str:
    """The pictures side by side, with the buttons that zoom them and a handle that wipes between two."""
    if not records:
        return EMPTY
    first = records[0].recipe
    panes = "".join(_pane(name, record) for name, record in zip(NAMES, records, strict=False))
    link = f"?tab=compare&amp;pictures={','.join(escape(record.id) for record in records)}"
    tools = _button("out", "Zoom out", "−") + '<output aria-live="polite">100 %</output>'
    tools += _button("in", "Zoom in", "+") + _button("reset", "Reset the zoom", "Reset")
    wipe = ""
    if len(records) > 1:
        tools += '<button type="button" data-do="wipe" aria-pressed="false">Wipe</button>'
        if len(records) > 2:
            names = NAMES[: len(records)]
            tools += f'<span class="wiped">{_choice("left", names, 0)} and {_choice("right", names, 1)}</span>'
        wipe = (
            '<input type="range" class="wipe-handle" min="0" max="100" step="0.5" value="50" '
            'aria-label="Wipe between the two pictures">'
        )
    return (
        f'<div class="compare" data-count="{len(records)}" style="--width: {first.width}; --height: {first.height}">'
        f'<div class="compare-tools" role="toolbar" aria-label="Zoom and wipe">{tools}'
        f'<a href="{link}">Link to these</a></div>'
        '<div class="panes" tabindex="0" role="group" '
        f'aria-label="Pictures: plus, minus and 0 zoom all of them, arrow keys move them">{panes}{wipe}</div></div>'
    )


def table(recipes: Sequence[Recipe]) -> str:
    """The settings in which pictures differ, a column for each picture; nothing for less than two."""
    if len(recipes) < 2:
        return ""
    rows = differences(recipes)
    if not rows:
        return SAME
    head = "".join(f'<th scope="col">{name}</th>' for name in NAMES[: len(recipes)])
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td dir="auto">{escape(text)}</td>' for text in texts)
        + "</tr>"
        for name, texts in rows
    )
    return (
        '<h3>What differs</h3><div class="compare-scroll"><table class="compare-table">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _pane(name: str, record: Record) -> str:
    told = escape(fragments.caption(record))
    return (
        f'<figure class="pane" data-name="{name}"><div class="frame">'
        f'<img data-file="{escape(str(record.path))}" alt="Picture {name}: {escape(record.recipe.prompt)}" '
        f'draggable="false"></div><figcaption><strong>{name}</strong> <span>{told}</span>'
        f'<button type="button" data-remove="{escape(record.id)}" aria-label="Remove picture {name}">×</button>'
        "</figcaption></figure>"
    )


def _button(action: str, name: str, sign: str) -> str:
    return f'<button type="button" data-do="{action}" aria-label="{name}">{sign}</button>'


def _choice(side: str, names: str, chosen: int) -> str:
    options = "".join(f"<option{' selected' * (place == chosen)}>{name}</option>" for place, name in enumerate(names))
    return f'<select data-wipe="{side}" aria-label="Picture on the {side} of the wipe">{options}</select>'
