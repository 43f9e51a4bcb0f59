"""What picture files say beside their pixels: chunks of PNG and WebP, markers of a JPEG, brands of AVIF and HEIC.

Read without a decoder and without trust: what is walked is bounded, and what is unpacked is counted. A photograph may
carry a film, a maker's data or a whole workflow; nothing of that is looked into.
"""

import io
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PNG_CHUNKS = 100_000
MAX_TEXT_BYTES = 2**20
"""Of a text in a PNG, unpacked: what Pillow reads."""
MAX_KEYWORD_BYTES = 79
"""Of a text's keyword in a PNG, by its specification (third edition, section 11.3.3)."""
MAX_TEXT_HEAD_BYTES = 2**10
"""Of what stands before a text in its chunk, and of what a short one grows by when it is packed."""
MAX_PROFILE_BYTES = 8 * 2**20
"""Of a colour profile, unpacked; those of printers have up to about 4 MiB."""

COLOUR_CHUNKS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
# What pixels, transparency and orientation follow from, and whether it is an animation.
PICTURE_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that may hold an orientation, where there is no chunk for it.
ORIENTATION_TEXTS = ("Raw profile type exif", "Raw profile type APP1", "XML:com.adobe.xmp")

APP1, START_OF_SCAN, END_OF_IMAGE = 0xE1, 0xDA, 0xD9
MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
"""Any number of fill bytes may stand before one; a pattern that took them in would try each of them as the first."""
STANDALONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))

MAX_RIFF_CHUNKS = 1000
"""A still picture in WebP has at most a dozen, an animation one a frame."""

MAX_BOXES = 10_000
"""Of one level; libheif opens a file of at most 1,000 pictures and tiles."""
MAX_TABLE_BYTES = 2**18
"""Of those that say what belongs to a picture or is a part of it; a photograph's have a few hundred."""
AVIF_BRANDS = frozenset((b"avif", b"avis"))
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"mif1"))
HEIC_SEQUENCE_BRANDS = frozenset((b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"))
IN_PROPERTIES = (b"meta", b"iprp", b"ipco")


class TooManyParts(ValueError):
    """A file of more parts than anybody has time to go through."""


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG: the kind of each, where its data begins, and how many bytes it says it has.

    Ends behind IEND, or where the file does. Raises ValueError for a file that is no PNG, TooManyParts for one of more
    than MAX_PNG_CHUNKS.
    """
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        raise ValueError("not a PNG")
    place = len(PNG_SIGNATURE)
    for _ in range(MAX_PNG_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, place + 8, length
        if kind == b"IEND":
            return
        place += 12 + length
        file.seek(place)
    raise TooManyParts(f"more than {MAX_PNG_CHUNKS:,} chunks")


def png_chunk_data(file: BinaryIO, kind: bytes, place: int, length: int) -> bytes | None:
    """The data of a chunk that `png_chunks` told of; None where its check sum is another."""
    file.seek(place)
    data = file.read(length)
    return data if file.read(4) == struct.pack(">I", zlib.crc32(kind + data)) else None


def png_texts(file: BinaryIO, keys: Collection[str], most_bytes: int) -> Iterator[tuple[str, str]]:
    """Keyword and text of each text of a PNG that has one of `keys`, wherever other tools moved it.

    Other chunks are stepped over, whatever they hold. A text has at most `most_bytes`, and one that cannot have as few
    is not read. Raises ValueError for a file that is no PNG or a cut one, and for a text that is longer or has a wrong
    check sum.
    """
    wanted, last = tuple(key.encode("latin-1") + b"\0" for key in keys), b""
    for kind, place, length in png_chunks(file):
        last = kind
        if kind not in TEXT_CHUNKS or not file.read(MAX_KEYWORD_BYTES + 1).startswith(wanted):
            continue
        if length > 2 * most_bytes + MAX_TEXT_HEAD_BYTES:
            raise ValueError(f"a text of more than {most_bytes:,} bytes")
        data = png_chunk_data(file, kind, place, length)
        if data is None:
            raise ValueError("a text with a wrong check sum")
        yield png_text(kind, data, most_bytes)
    if last != b"IEND":
        raise ValueError("a PNG without its end")


def png_text(kind: bytes, data: bytes, most_bytes: int) -> tuple[str, str]:
    """Keyword and text of a tEXt, zTXt or iTXt chunk.

    The text is unpacked up to `most_bytes`. Raises ValueError where it has more, or is none.
    """
    keyword, _, rest = data.partition(b"\0")
    packed, encoding = kind == b"zTXt", "latin-1"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, encoding = rest[:1] == b"\1", "utf-8"
        rest = rest[2:].split(b"\0", 2)[-1]
    text = unpacked(rest, most_bytes) if packed else rest
    if len(text) > most_bytes:
        raise ValueError(f"a text of more than {most_bytes:,} bytes")
    return keyword.decode("latin-1"), text.decode(encoding)


def unpacked(data: bytes, most_bytes: int) -> bytes:
    """What a zlib stream holds. Raises ValueError where that is more than `most_bytes`, or the stream is damaged."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(content) > most_bytes:
        raise ValueError(f"more than {most_bytes:,} bytes when unpacked")
    if not stream.eof:
        raise ValueError("a cut stream")
    return content


def plain_png(content: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """A PNG with nothing but what its picture follows from, and the chunks that tell its colours, by kind.

    A chunk that may be left out is left out where its check sum is wrong. Raises what `png_chunks` raises.
    """
    file = io.BytesIO(content)
    kept: list[bytes] = [PNG_SIGNATURE]
    colours: dict[bytes, bytes] = {}
    for kind, place, length in png_chunks(file):
        critical = not kind[0] & 0x20
        if not critical and kind in (*PICTURE_CHUNKS, *COLOUR_CHUNKS, *TEXT_CHUNKS):
            data = png_chunk_data(file, kind, place, length)
            if data is None:
                continue
            if kind in COLOUR_CHUNKS:
                colours.setdefault(kind, data)
                continue
            if kind in TEXT_CHUNKS and not _tells_orientation(kind, data):
                continue
        elif not critical:
            continue
        kept.append(content[place - 8 : place + length + 4])
    return b"".join(kept), colours


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG: the marker of each, and where its data begins and ends by its length.

    Stepped over as a decoder does, so what a maker or a film put into or behind them does not count. Ends with the
    picture, or where `content` does.
    """
    place = 2
    while found := MARKER.search(content, place):
        marker, start = found[1][0], found.end()
        bare = marker == END_OF_IMAGE or marker in STANDALONE_MARKERS
        place = start if bare else start + max(2, int.from_bytes(content[start : start + 2], "big"))
        yield marker, start if bare else start + 2, place
        if marker == END_OF_IMAGE:
            return


def jpeg_extent(content: bytes) -> tuple[int, int]:
    """Where a JPEG ends, which need not be where its file does, and how many scans it has up to there."""
    scans = 0
    for marker, _, end in jpeg_segments(content):
        if marker == END_OF_IMAGE:
            return end, scans
        scans += marker == START_OF_SCAN
    return len(content), scans


def riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a WebP, as `png_chunks` tells those of a PNG.

    Raises ValueError for a file that is no WebP, TooManyParts for one of more than MAX_RIFF_CHUNKS.
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        raise ValueError("not a WebP")
    place = len(head)
    for _ in range(MAX_RIFF_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        yield kind, place + 8, length
        place += 8 + length + length % 2
        file.seek(place)
    raise TooManyParts(f"more than {MAX_RIFF_CHUNKS:,} chunks")


def brands(content: bytes) -> frozenset[bytes]:
    """The brands of a file of the ISO base media format (AVIF, HEIC); none where it is no such file."""
    if content[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(content[:4], "big"), 512)
    return frozenset({content[8:12], *(content[place : place + 4] for place in range(16, end - 3, 4))})


def coded_sizes(content: bytes) -> list[tuple[int, int]]:
    """Width and height of every picture, tile and thumbnail in an AVIF or HEIC before anything is cut off.

    None for another file. Raises TooManyParts for one of MAX_BOXES on a level.
    """
    if not brands(content):
        return []
    return [_size(content, start) for start, _ in _found(content, *IN_PROPERTIES, b"ispe")]


def pieced_pixels(content: bytes) -> int:
    """How many pixels are decoded for the picture in an AVIF or HEIC that is pieced together of most, by stated sizes.

    A grid may name a tile as often as it likes, and decoders decode it as often, also beyond the picture's edge. Tiles
    that are grids themselves are refused by decoders. Raises TooManyParts as `coded_sizes` does, and where it is not
    plain what belongs to which.
    """
    sizes, pixels = _item_sizes(content), Counter[int]()
    for start, end in _tables(content, b"meta", b"iref"):
        width = 4 if content[start] else 2
        for place, last in _boxes(content, start + 4, end, b"dimg"):
            source, *tiles = (_number(content, at, width) for at in (place, *range(place + width + 2, last, width)))
            pixels[source] += sum(sizes.get(tile, 0) for tile in tiles)
    return max(pixels.values(), default=0)


def _item_sizes(content: bytes) -> dict[int, int]:
    """Pixels of each item of an AVIF or HEIC, by the `ispe` box that is associated with it; the largest of several."""
    sizes: dict[int, int] = {}
    parts = _found(content, *IN_PROPERTIES)
    if len(parts) > 1:
        raise TooManyParts("several lists of properties")
    properties = [start for part in parts for start, _ in _boxes(content, *part)]
    stated = {start: math.prod(_size(content, start)) for start, _ in _found(content, *IN_PROPERTIES, b"ispe")}
    for start, end in _tables(content, b"meta", b"iprp", b"ipma"):
        id_width, width = 4 if content[start] else 2, 2 if content[start + 3] & 1 else 1
        place = start + 8
        while place + id_width < end:
            item, count = _number(content, place, id_width), content[place + id_width]
            place += id_width + 1
            for at in range(place, place + count * width, width):
                # The first bit says whether the property is essential.
                index = _number(content, at, width) & (2 ** (8 * width - 1) - 1)
                if 0 < index <= len(properties):
                    sizes[item] = max(sizes.get(item, 0), stated.get(properties[index - 1], 0))
            place += count * width
    return sizes


def _tables(content: bytes, *kinds: bytes) -> list[tuple[int, int]]:
    """`_found` for tables, which are short. Raises TooManyParts for others."""
    found = _found(content, *kinds)
    if sum(end - start for start, end in found) > MAX_TABLE_BYTES:
        raise TooManyParts(f"tables of more than {MAX_TABLE_BYTES:,} bytes")
    return found


def _number(content: bytes, start: int, width: int) -> int:
    return int.from_bytes(content[start : start + width], "big")


def _size(content: bytes, start: int) -> tuple[int, int]:
    """Width and height in an `ispe` box, of which `start` is the version."""
    width, height = struct.unpack(">II", content[start + 4 : start + 12].ljust(8, b"\0"))
    return width, height


def _found(content: bytes, *kinds: bytes) -> list[tuple[int, int]]:
    """Where the boxes of the last kind begin and end that are inside those before.

    Of boxes that should be there once, a file may have several, and decoders differ in which of them counts.
    """
    parts = [(0, len(content))]
    for kind in kinds:
        parts = [place for part in parts for place in _boxes(content, *part, kind)]
        if kind == b"meta":
            parts = [(start + 4, end) for start, end in parts]
    return parts


def _boxes(content: bytes, start: int, end: int, kind: bytes = b"") -> Iterator[tuple[int, int]]:
    """Where each box of this kind, or of any, in a part of a file begins and ends, without its head."""
    for _ in range(MAX_BOXES):
        size = int.from_bytes(content[start : start + 4], "big")
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(content[start + 8 : start + 16], "big")
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        if kind in (b"", content[start + 4 : start + 8]):
            yield start + head, start + size
        start += size
    raise TooManyParts(f"{MAX_BOXES:,} boxes")


def _tells_orientation(kind: bytes, data: bytes) -> bool:
    if not data.startswith(tuple(key.encode() + b"\0" for key in ORIENTATION_TEXTS)):
        return False
    try:
        png_text(kind, data, MAX_TEXT_BYTES)
    except ValueError:
        return False
    return True
