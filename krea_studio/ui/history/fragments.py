"""What the tab History draws as HTML: pictures by day, pages, one picture with its recipe in words, and the bin.

Pure functions from data to strings; text that somebody wrote goes through `html.escape` here. Links name an `Address`,
so that they can be opened in another tab as well; on the page itself the script follows them (`assets/ui/history.js`).
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from html import escape
from itertools import groupby
from pathlib import Path
from textwrap import shorten
from urllib.parse import quote

from krea_studio.direction.references import references_text
from krea_studio.direction.sliders import values_text
from krea_studio.direction.styles import styles_text
from krea_studio.library.folder_import import FoundFile
from krea_studio.library.history.bin import KEPT
from krea_studio.library.records import Record, seconds_text, thumbnail_of
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import label
from krea_studio.recipe.variants import VARIANTS
from krea_studio.ui import fragments
from krea_studio.ui.history.address import Address

ALT_CHARACTERS = 120
WEIGHTS_DIGITS = 8
NOTHING_MADE = (
    '<div class="stage-empty"><p class="stage-title">What you make appears here</p>'
    "<p>Draw a picture under Create, or bring some in below.</p></div>"
)
NOTHING_HERE = '<div class="stage-empty"><p class="stage-title">There are no pictures on this page any more</p></div>'
NOTHING_FOUND = (
    '<div class="stage-empty"><p class="stage-title">No picture is like that</p>'
    "<p>Try fewer words, or take a filter away.</p></div>"
)
PICKED = (
    '<p id="history-picked-count" role="status"></p>'
    '<button type="button" id="history-picked-none" class="quiet-link">Clear</button>'
)
NOTHING_IN_BIN = '<div class="stage-empty"><p class="stage-title">The bin is empty</p></div>'


def count(pictures: int) -> str:
    """A number of pictures in words."""
    return "1 picture" if pictures == 1 else f"{pictures:,} pictures"


def found(pictures: int, filters: str, address: Address) -> str:
    """How many pictures there are, by what they were found, and a way back to all."""
    told = " · ".join(filter(None, [count(pictures), filters]))
    clear = _link(Address(), "Show all", css="quiet-link") if address.wanted else ""
    return f'<p role="status">{escape(told)}</p>{clear}'


def head() -> str:
    """The way into the bin."""
    return _link(Address(bin=True), "Bin", css="link-button")


def grid(records: Sequence[Record], counts: Mapping[date, int], address: Address) -> str:
    """Thumbnails under the headings of their days; `counts` tells how many pictures a day has in all."""
    days = groupby(records, lambda record: record.created_at.astimezone().date())
    return "".join(_day(day, counts.get(day, 0), list(some), address) for day, some in days)


def pages(newer: Address | None, older: Address | None) -> str:
    """Links to the pages beside this one, where there are any."""
    links = (
        _link(newer, "← Newer", css="link-button", rel="prev") if newer else "<span></span>",
        _link(older, "Older →", css="link-button", rel="next") if older else "<span></span>",
    )
    return f'<nav aria-label="Pages">{"".join(links)}</nav>' if newer or older else ""


def picture(record: Record, newer: Address | None, older: Address | None, back: Address) -> str:
    """One picture, large, with the ways to those beside it and back."""
    ways = (
        _link(back, "← All pictures", css="link-button", rel="up"),
        _link(newer, "‹", css="link-button", rel="prev", name="Newer picture") if newer else "",
        _link(older, "›", css="link-button", rel="next", name="Older picture") if older else "",
    )
    recipe = record.recipe
    return (
        f'<nav aria-label="Pictures">{"".join(ways)}</nav>'
        f'<figure><img src="{_file(record.path)}" alt="{_alt(record)}" data-picture="{record.id}" '
        f'width="{recipe.width}" height="{recipe.height}"></figure>'
    )


def download(record: Record) -> str:
    """The link by which a browser keeps the file of a picture."""
    name = escape(record.path.name)
    return f'<a class="link-button" href="{_file(record.path)}" download="{name}">Download</a>'


def recipe(record: Record) -> str:
    """A picture's recipe in words, what was set first."""
    rows = "".join(
        f'<dt>{escape(name)}</dt><dd dir="auto">{escape(text)}</dd>' for name, text in _facts(record) if text
    )
    return f'<dl class="report">{rows}</dl>'


def binned(records: Sequence[Record]) -> str:
    """What is in the bin. Thumbnails are in the page itself: nothing of the bin is given out by its name."""
    items = "".join(
        f'<li data-picture="{each.id}">'
        f'<span class="shot"><img src="{_inside(each)}" alt="{_alt(each)}"></span>{_pick(each)}'
        f'<button type="button" data-restore="{each.id}" aria-label="Restore {_alt(each)}">Restore</button></li>'
        for each in records
    )
    return f'<ul class="shots">{items}</ul>' if items else NOTHING_IN_BIN


def bin_head(pictures: int) -> str:
    """The bin's heading, and the way back."""
    told = f"{count(pictures)}. What is deleted can be restored for {KEPT.days} days."
    back = _link(Address(), "← All pictures", css="link-button", rel="up")
    return f'<nav aria-label="Bin">{back}</nav><h2>Bin</h2><p role="status">{escape(told)}</p>'


def emptying(pictures: int) -> str:
    """The question before the bin is emptied."""
    return f"<p>Remove {count(pictures)} for good? That cannot be undone.</p>"


def brought_in(files: Sequence[FoundFile]) -> str:
    """What became of files that were brought in: how many of each kind, and why some were not taken in."""
    kinds = {kind: sum(each.kind == kind for each in files) for kind in dict.fromkeys(each.kind for each in files)}
    told = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    reasons = "".join(f"<li>{escape(each.reason)}</li>" for each in files if each.reason)
    listed = f'<ul class="report-notes">{reasons}</ul>' if reasons else ""
    return f'<div class="notice notice-quiet" role="status">{escape(told)}.{listed}</div>'


def _day(day: date, pictures: int, records: Sequence[Record], address: Address) -> str:
    items = "".join(_thumbnail(record, address) for record in records)
    return (
        f"<section><h3>{escape(_day_text(day))} <span>{count(max(pictures, len(records)))}</span></h3>"
        f'<ul class="shots">{items}</ul></section>'
    )


def _day_text(day: date) -> str:
    today = datetime.now().astimezone().date()
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day:%A}, {day.day} {day:%B %Y}"


def _thumbnail(record: Record, address: Address) -> str:
    alt = _alt(record)
    star = f'<button type="button" class="star" data-star="{record.id}" aria-pressed="{str(record.starred).lower()}" '
    return (
        f'<li data-picture="{record.id}"><a class="shot" data-go href="{escape(address.opening(record.id).query)}">'
        f'<img src="{_file(record.thumbnail)}" alt="{alt}" loading="lazy"></a>{_pick(record)}'
        f'{star}aria-label="Star {alt}">{"★" if record.starred else "☆"}</button></li>'
    )


def _pick(record: Record) -> str:
    return f'<input type="checkbox" class="pick" data-pick="{record.id}" aria-label="Select {_alt(record)}">'


def _link(address: Address, text: str, css: str = "", rel: str = "", name: str = "") -> str:
    named = f' aria-label="{escape(name)}"' if name else ""
    related = f' rel="{rel}"' if rel else ""
    return f'<a data-go class="{css}" href="{escape(address.query)}"{related}{named}>{escape(text)}</a>'


def _alt(record: Record) -> str:
    prompt = shorten(record.recipe.prompt, ALT_CHARACTERS, placeholder="…") or "A picture without a prompt"
    return escape(f"{prompt}, seed {record.recipe.seed}")


def _file(path: Path) -> str:
    """The address of a file, beneath the page's own, wherever that is."""
    return escape(f"gradio_api/file={quote(str(path))}")


def _inside(record: Record) -> str:
    """A picture's thumbnail as an address that has all of it; none in it where there is no thumbnail."""
    content = b""
    with suppress(OSError):
        content = thumbnail_of(record.path).read_bytes()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    recipe = record.recipe
    yield label("prompt"), recipe.prompt
    if (expansion := recipe.expansion) and expansion.text != recipe.prompt:
        yield "Drawn as", expansion.text
        yield "Expansion", ". ".join(filter(None, [fragments.written_by(expansion), expansion.notice]))
    yield label("negative_prompt"), recipe.negative_prompt
    yield label("creativity"), recipe.creativity.capitalize()
    yield "Sliders", values_text(recipe)
    yield "References", references_text(recipe)
    yield "Styles", styles_text(recipe.styles).removeprefix("styles ").removeprefix("style ")
    yield "Model", _model(recipe)
    yield "Size", f"{recipe.width} × {recipe.height}, {recipe.aspect_ratio} at {recipe.resolution}"
    yield label("seed"), str(recipe.seed)
    yield label("steps"), f"{recipe.steps}, guidance {recipe.guidance_scale:g}"
    yield label("sigmas"), ", ".join(f"{each:g}" for each in recipe.sigmas or ())
    yield "Worked by", ", ".join(_mechanisms(recipe))
    made = record.created_at.astimezone()
    yield "Made", f"{made.day} {made:%B %Y, %H:%M}" + (f", in {seconds_text(record.seconds)}" if record.seconds else "")
    yield "File", record.path.name


def _model(recipe: Recipe) -> str:
    variant = VARIANTS[recipe.variant].label if recipe.variant in VARIANTS else recipe.variant
    weights = f"weights {recipe.weights[:WEIGHTS_DIGITS]}" if recipe.weights else ""
    return ", ".join(filter(None, [variant, fragments.short_name(recipe.checkpoint), weights]))


def _mechanisms(recipe: Recipe) -> Iterable[str]:
    yield from (f"{slider}: {mechanism}" for slider, mechanism in recipe.slider_mechanisms.items())
    if recipe.reference_mechanism:
        yield f"references: {recipe.reference_mechanism}"
