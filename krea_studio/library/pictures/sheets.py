"""The sheet of a sweep: its pictures in rows and columns, with the values that they were drawn with beside them."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from krea_studio.errors import InvalidRequest
from krea_studio.library.pictures.metadata import (
    GENERATED_MEDIA_XMP,
    PNG_COMPRESSION_LEVEL,
    WANTED,
    XMP_KEY,
    json_in,
    opened,
)
from krea_studio.recipe.sweep import Sweep, sweep_from_json

SWEEP_KEY = "krea_studio_sweep"
MOST_PIXELS = 36_000_000
"""Of a whole sheet; what has more is refused by other programs, and cells get smaller before."""
MOST_ACROSS = 10
MOST_CELL_PX, LEAST_CELL_PX = 512, 96
PAPER, INK, FAINT = (250, 249, 247), (28, 27, 25), (226, 224, 219)

Place = tuple[int, ...]


def read_sweep(path: Path | str, name: str | None = None) -> Sweep | None:
    """The sweep whose sheet a PNG is; None where it is no sheet. A refusal calls it `name`, or else its path.

    Raises InvalidRequest for a file that is missing, is no PNG, or holds a sweep that cannot be drawn, StorageError
    where it cannot be read.
    """
    name = str(path) if name is None else name
    with opened(path, name, WANTED) as file:
        value = json_in(file, SWEEP_KEY, name)
    try:
        return None if value is None else sweep_from_json(value)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error.message}") from None


@dataclass(frozen=True)
class Band:
    """Rows and columns under one title: places on the first axis, and the one on the third."""

    title: str
    columns: range
    depth: int


def sheet(sweep: Sweep, files: Mapping[Place, Path]) -> Image.Image:
    """All pictures of a sweep, whose `files` are told by their places on its axes.

    The first axis goes to the right, the second down, the third in bands below one another; a single axis goes on in
    further bands. What is not drawn yet stays empty.
    """
    above, beside = _labels(sweep, 0), _labels(sweep, 1)
    below = bands(sweep)
    columns, rows = len(below[0].columns), max(1, len(beside))
    cell = _cell_px(columns * rows * len(below))
    # Small at once: there may be more of them than files that may be open.
    pictures = {place: _small(file, cell) for place, file in files.items()}
    shapes = [picture.size for picture in pictures.values()] or [(cell, cell)]
    width, height = (max(side) for side in zip(*shapes, strict=True))
    # Readable also where the whole sheet is seen at once.
    gap, text = max(4, cell // 40), _Text(max(13, cell // 13, min(cell // 4, columns * width // 72)))
    head = text.height(above, width)
    side = text.width(beside, cell) + 2 * gap if beside else gap
    title = text.line + 2 * gap if below[0].title else 0
    tall = title + head + 2 * gap + rows * (height + gap)
    canvas = Image.new("RGB", (side + columns * (width + gap), len(below) * tall), PAPER)
    pen = ImageDraw.Draw(canvas)
    for number, band in enumerate(below):
        top = number * tall
        text.write(pen, band.title, (gap, top + gap), canvas.width - 2 * gap)
        top += title + gap
        for column, x in enumerate(band.columns):
            text.write(pen, above[x], (side + column * (width + gap), top), width)
        top += head + gap
        for y in range(rows):
            here = top + y * (height + gap)
            if beside:
                text.write(pen, beside[y], (gap, here), side - 2 * gap)
            for column, x in enumerate(band.columns):
                left = side + column * (width + gap)
                picture = pictures.get((x, y, band.depth)[: len(sweep.axes)])
                if picture is None:
                    pen.rectangle((left, here, left + width - 1, here + height - 1), fill=FAINT)
                    continue
                canvas.paste(picture, (left + (width - picture.width) // 2, here + (height - picture.height) // 2))
    return canvas


def sheet_bytes(image: Image.Image, sweep: Sweep) -> bytes:
    """A sheet as a PNG that carries its sweep, and by which one can be drawn again."""
    texts = PngInfo()
    texts.add_itxt(SWEEP_KEY, json.dumps(sweep.model_dump(mode="json"), ensure_ascii=False, allow_nan=False))
    texts.add_itxt(XMP_KEY, GENERATED_MEDIA_XMP)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=texts, compress_level=PNG_COMPRESSION_LEVEL)
    return file.getvalue()


def bands(sweep: Sweep) -> list[Band]:
    """The bands of a sweep, from above: one for each place on the third axis; a single axis goes on in further ones."""
    count = len(sweep.axes[0].values)
    if len(sweep.axes) == 1:
        across = max(MOST_ACROSS, round(sqrt(count)))
        return [Band("", range(start, min(start + across, count)), 0) for start in range(0, count, across)]
    titles = _labels(sweep, 2) or [""]
    return [Band(title, range(count), depth) for depth, title in enumerate(titles)]


def _cell_px(cells: int) -> int:
    """The longer side of a cell, so that the sheet with its labels stays within bounds."""
    return max(LEAST_CELL_PX, min(MOST_CELL_PX, int(sqrt(MOST_PIXELS / (1.4 * cells)))))


def _small(file: Path, cell: int) -> Image.Image:
    with Image.open(file) as picture:
        small = picture.convert("RGB")
    small.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return small


def _labels(sweep: Sweep, number: int) -> list[str]:
    """What stands beside a row or above a column; nothing where there is no such axis."""
    if number >= len(sweep.axes):
        return []
    axis = sweep.axes[number]
    called = "" if axis.what in ("words", "style") else f"{axis.name} "
    texts = (axis.text(place).replace("−", "-") for place in range(len(axis.values)))
    return [readable(called + text, f"{axis.kind.label} {place}") for place, text in enumerate(texts, 1)]


def readable(text: str, otherwise: str) -> str:
    """The text, or what stands for it where the font has not all of its letters."""
    return text if all(c.isspace() or _has(c) for c in set(text)) else otherwise


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    return bytes(_font(20).getmask(letter)) != bytes(_font(20).getmask("\U0010ffff"))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


class _Text:
    """Text of one size in a narrow column: broken between words, at most three lines, the last one cut."""

    MOST_LINES = 3

    def __init__(self, size: int) -> None:
        self.font = _font(size)
        self.line = round(size * 1.25)

    def lines(self, text: str, width: int) -> list[str]:
        found: list[str] = []
        for word in text.split():
            longer = f"{found[-1]} {word}" if found else word
            if found and self.font.getlength(longer) <= width:
                found[-1] = longer
            else:
                found.append(word)
        if len(found) > self.MOST_LINES:
            found = [*found[: self.MOST_LINES - 1], f"{found[self.MOST_LINES - 1]} …"]
        return [self._cut(line, width) for line in found]

    def _cut(self, line: str, width: int) -> str:
        if self.font.getlength(line) <= width:
            return line
        while line and self.font.getlength(line + "…") > width:
            line = line[:-1]
        return line + "…"

    def height(self, texts: Sequence[str], width: int) -> int:
        return self.line * max((len(self.lines(text, width)) for text in texts), default=0)

    def width(self, texts: Sequence[str], most: int) -> int:
        """As wide as the widest line needs, `most` at most."""
        return min(most, round(max((self.font.getlength(text) for text in texts), default=0)) + 1)

    def write(self, pen: ImageDraw.ImageDraw, text: str, at: tuple[int, int], width: int) -> None:
        for number, line in enumerate(self.lines(text, width)):
            pen.text((at[0], at[1] + number * self.line), line, font=self.font, fill=INK)
