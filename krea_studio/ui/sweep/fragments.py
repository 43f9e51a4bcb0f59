"""What the tab Sweep draws as HTML: what it starts from, and the table of a sweep.

Pure functions from data to strings; text that people wrote goes through `html.escape` here. Pictures are named by their
files, whose address the browser makes (`assets/ui/studio.js`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

from krea_studio.library.pictures.sheets import Band, bands
from krea_studio.library.records import Record
from krea_studio.recipe.axes import Axis
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.sweep import Sweep
from krea_studio.recipe.variants import VARIANTS
from krea_studio.runs.run import Run, State
from krea_studio.ui import fragments

EMPTY = """
<div class="stage stage-empty"><p class="stage-title">See what a setting does</p>
<p>Choose what varies, give its values, then press Start. Every combination becomes a picture in a table.</p></div>
"""


@dataclass(frozen=True)
class Cells:
    """The cells of a sweep's run: the places of its pictures by where they stand on the axes, and the pictures.

    `pictures` are by place, None where none is there, `deleted` the places of those that a person deleted.
    """

    run: Run
    sweep: Sweep
    pictures: Sequence[Record | None]
    deleted: frozenset[int] = frozenset()

    @cached_property
    def places(self) -> Mapping[tuple[int, ...], int]:
        """By where a picture stands on the axes: its place in the run."""
        return {at: place for place, at in enumerate(self.run.cells)}

    @cached_property
    def in_the_making(self) -> int:
        """The place that is drawn, or will be drawn next; −1 where the run has ended."""
        at = self.run.progress
        if self.run.state.ended:
            return -1
        if at is not None and self.pictures[at.shot] is None:
            return at.shot
        return next(iter(self.to_draw), -1)

    @cached_property
    def to_draw(self) -> Sequence[int]:
        """The places that are still to be drawn: neither deleted nor refused by the content filter."""
        left_out = self.deleted | self.run.withheld
        return [place for place, each in enumerate(self.pictures) if each is None and place not in left_out]

    @property
    def lacking(self) -> int:
        """How many are still to be drawn."""
        return len(self.to_draw)


def base(request: GenerationRequest) -> str:
    """What a sweep starts from: the settings on Create, in two lines."""
    seed = "one new seed for all" if request.seed is None else f"seed {request.seed}"
    facts = [VARIANTS[request.variant].label, request.aspect_ratio, request.resolution, seed]
    return (
        f'<p class="sweep-from">From Create</p><p class="said" dir="auto">{escape(request.prompt)}</p>'
        f'<p class="facts">{escape(" · ".join(facts))}</p>'
    )


def error(message: str) -> str:
    """What is wrong with an axis, beside its box; nothing where nothing is."""
    return f'<p class="axis-problem" role="alert">{escape(message)}</p>' if message else ""


def plan(sentence: str, refused: bool = False) -> str:
    """What a press on Start would do, or why it would not."""
    return f'<p class="{"axis-problem" if refused else "sweep-expected"}">{escape(sentence)}</p>' if sentence else ""


def stage(cells: Cells, news: str, opened: str) -> str:
    """A sweep as far as it is: what varies, how it stands, and a table for each place on its third axis.

    `news` is that of `news_of`; the picture `opened` is marked.
    """
    run, sweep = cells.run, cells.sweep
    varied = " × ".join(axis.name for axis in sweep.axes)
    there = sum(each is not None for each in cells.pictures)
    head = (
        f'<h2 dir="auto">{escape(varied)}</h2>'
        f'<p class="said" dir="auto">{escape(sweep.request.prompt)}</p>'
        f'<p class="facts">{there} of {len(cells.pictures)} pictures</p>'
    )
    inner = f"{head}{_standing(cells)}{''.join(_table(cells, band, opened) for band in bands(sweep))}"
    if run.state.ended:
        return f'<div class="sweep">{inner}</div>'
    return (
        f'<div class="sweep" data-run="{escape(run.id)}" data-version="{run.version}" data-news="{escape(news)}">'
        f"{inner}</div>"
    )


def cell(record: Record, values: str) -> str:
    """An opened cell: its picture as large as there is room, its values, and what is told of it."""
    return (
        f'<div class="opened-cell"><img data-file="{escape(str(record.path))}" alt="{escape(values)}">'
        f'<div><p class="cell-values" dir="auto">{escape(values)}</p>{fragments.details(record)}</div></div>'
    )


def values_at(sweep: Sweep, at: Sequence[int]) -> str:
    """The values of a cell, for people: `Intensity −50, fox → cat`."""
    return ", ".join(_value(axis, place) for axis, place in zip(sweep.axes, at, strict=True))


def _standing(cells: Cells) -> str:
    run = cells.run
    if run.state is State.DONE and not cells.lacking and not run.failure:
        return ""
    if run.state.ended:
        left = f" Go on draws the other {cells.lacking}." if cells.lacking else ""
        kind = "problem" if run.failure and run.state is not State.STOPPED else "quiet"
        return fragments.notice(f"{run.failure or 'Some pictures are not there any more.'}{left}", kind)
    share = fragments.share_of(run)
    filled, now = '<span class="bar-unknown"></span>', ""
    if share is not None:
        filled, now = f'<span style="width: {share:.0%}"></span>', f' aria-valuenow="{100 * share:.0f}"'
    return (
        f'<div class="running"><p>{escape(fragments.label_of(run))}</p>'
        f'<div class="bar" role="progressbar" aria-label="This picture" aria-valuemin="0" aria-valuemax="100"{now}>'
        f"{filled}</div></div>"
    )


def _table(cells: Cells, band: Band, opened: str) -> str:
    sweep, rows = cells.sweep, 1
    across, down = sweep.axes[0], None
    if len(sweep.axes) > 1:
        down, rows = sweep.axes[1], len(sweep.axes[1].values)
    title = f'<h3 dir="auto">{escape(_value(sweep.axes[2], band.depth))}</h3>' if len(sweep.axes) > 2 else ""
    corner = f"{escape(across.name)} →" + (f"<br>{escape(down.name)} ↓" if down else "")
    columns = "".join(f'<th scope="col" dir="auto">{escape(across.text(x))}</th>' for x in band.columns)
    lines = []
    for y in range(rows):
        beside = f'<th scope="row" dir="auto">{escape(down.text(y))}</th>' if down else "<td></td>"
        drawn = "".join(_cell(cells, (x, y, band.depth)[: len(sweep.axes)], opened) for x in band.columns)
        lines.append(f"<tr>{beside}{drawn}</tr>")
    head = f'<thead><tr><td class="corner">{corner}</td>{columns}</tr></thead>'
    return (
        f'{title}<div class="sweep-scroll"><table class="sweep-table" style="--columns: {len(band.columns)}">'
        f"{head}<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _value(axis: Axis, place: int) -> str:
    text = axis.text(place)
    if axis.what == "words":
        return text if text == axis.which else f"{axis.which} → {text}"
    return f"{axis.name} {text}"


def _cell(cells: Cells, at: tuple[int, ...], opened: str) -> str:
    place = cells.places[at]
    record, shot, run = cells.pictures[place], cells.run.shots[place], cells.run
    size = f'style="--width: {shot.width}; --height: {shot.height}"'
    if record:
        told = escape(values_at(cells.sweep, at))
        now = ' aria-current="true"' if record.id == opened else ""
        return (
            f'<td><button type="button" class="cell" data-picture="{escape(record.id)}" {size}{now} '
            f'aria-label="Open {told}"><img data-file="{escape(str(record.thumbnail))}" alt="" loading="lazy"></button>'
            "</td>"
        )
    if place in cells.deleted:
        return f'<td><div class="cell cell-empty" {size}>deleted</div></td>'
    if place in run.withheld:
        return f'<td><div class="cell cell-empty" {size}>refused</div></td>'
    if run.state.ended and run.records[place]:
        return f'<td><div class="cell cell-empty" {size}>not there any more</div></td>'
    if place == cells.in_the_making:
        return f'<td><div class="cell canvas" {size}></div></td>'
    return f'<td><div class="cell cell-empty" {size}></div></td>'
