"""What picture files say before their pixels: the chunks of a PNG, the markers of a JPEG, the brands of AVIF and HEIC.

Read without a decoder and without trust: what is walked is bounded, and what is unpacked is counted. A photograph may
carry a film, a maker's data or a whole workflow; nothing of that is looked into.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PNG_CHUNKS = 100_000
MAX_TEXT_BYTES = 2**20
"""Of a text in a PNG, unpacked: what Pillow reads."""
MAX_PROFILE_BYTES = 8 * 2**20
"""Of a colour profile, unpacked; those of printers have up to about 4 MiB."""

COLOUR_CHUNKS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
# What pixels, transparency and orientation follow from, and whether it is an animation.
PICTURE_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that may hold an orientation, where there is no chunk for it.
ORIENTATION_TEXTS = ("Raw profile type exif", "Raw profile type APP1", "XML:com.adobe.xmp")

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
STANDALONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))

MAX_BOXES = 10_000
"""Of one level; libheif opens a file of at most 1,000 pictures and tiles."""
AVIF_BRANDS = frozenset((b"avif", b"avis"))
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"mif1"))
HEIC_SEQUENCE_BRANDS = frozenset((b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"))


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


def jpeg_extent(content: bytes) -> tuple[int, int]:
    """Where a JPEG ends, which need not be where its file does, and how many scans it has up to there.

    Its segments are stepped over by their lengths, as a decoder does, so what a maker or a film put into or behind
    them is not counted.
    """
    place, scans = 2, 0
    while found := MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        if marker == END_OF_IMAGE:
            return place, scans
        if marker not in STANDALONE_MARKERS:
            scans += marker == START_OF_SCAN
            place += max(2, int.from_bytes(content[place : place + 2], "big"))
    return len(content), scans


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
    # Of boxes that should be there once, a file may have several, and decoders differ in which of them counts.
    parts = [(0, len(content))]
    for kind, version_bytes in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0), (b"ispe", 4)):
        parts = [(start + version_bytes, end) for part in parts for start, end in _boxes(content, *part, kind)]
    return [struct.unpack(">II", content[place : place + 8].ljust(8, b"\0")) for place, _ in parts]


def _boxes(content: bytes, start: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Where each box of this kind in a part of a file begins and ends, without its head."""
    for _ in range(MAX_BOXES):
        size = int.from_bytes(content[start : start + 4], "big")
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(content[start + 8 : start + 16], "big")
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        if content[start + 4 : start + 8] == kind:
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
