"""The texts that tools write into pictures, by name: chunks of a PNG, EXIF data of JPEG, WebP and PNG.

A text of EXIF has a tag and no name. `UserComment` is where the tools that write `parameters` into a PNG put the same
text, and ComfyUI writes names before texts: `prompt:{…}` and `workflow:{…}`, in whatever tag is free.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from krea_studio.library.pictures.containers import (
    APP1,
    PNG_SIGNATURE,
    START_OF_SCAN,
    jpeg_segments,
    png_chunk_data,
    png_chunks,
    png_texts,
    riff_chunks,
)
from krea_studio.library.pictures.exif import (
    HEAD,
    IMAGE_DESCRIPTION,
    MAKE,
    MAKER_NOTE,
    MODEL,
    SOFTWARE,
    USER_COMMENT,
    exif_texts,
)

MAX_TEXT_BYTES = 8 * 2**20
"""Of one text, unpacked. Large workflows have some 5 MiB."""
MAX_HEAD_BYTES, MAX_SEGMENTS = 16 * 2**20, 1000
"""Of what a JPEG has before its first scan, where its EXIF data are."""

EXIF_KEYS = {USER_COMMENT: "parameters", MAKER_NOTE: "fooocus_scheme", SOFTWARE: "Software"}
NAMED_TAGS = (MODEL, MAKE, IMAGE_DESCRIPTION)
NAMED = re.compile(r"(prompt|workflow)\s*:\s*(?=\{)", re.IGNORECASE)

KEYS = (
    *("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "fooocus_scheme"),
    *("Software", "Source", "Description", "Comment"),
)
"""The names of all texts that any tool is known by."""

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Carrier:
    """A kind of picture file: its name, the endings of its files, how it begins, and how its texts are read.

    `texts` raises ValueError for a damaged file and for one with a text of more than MAX_TEXT_BYTES.
    """

    name: str
    endings: tuple[str, ...]
    beginning: re.Pattern[bytes]
    texts: Callable[[BinaryIO], dict[str, str]]


def _png(file: BinaryIO) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, text in png_texts(file, KEYS, MAX_TEXT_BYTES):
        texts.setdefault(key, _in_utf_8(text))
    file.seek(0)
    for kind, place, length in png_chunks(file):
        if kind == b"eXIf" and length <= MAX_TEXT_BYTES:
            # The picture has a check sum of its own, and an orientation that is damaged is none of ours.
            data = png_chunk_data(file, kind, place, length)
            texts = {**(_exif(data) if data else {}), **texts}
            break
    return texts


def _in_utf_8(text: str) -> str:
    """A text that a tool wrote as UTF-8 where a PNG has Latin-1, as it was meant; any other as it is.

    Bytes that are UTF-8 are hardly ever anything else: `é` alone is none.
    """
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _jpeg(file: BinaryIO) -> dict[str, str]:
    content = file.read(MAX_HEAD_BYTES)
    for marker, start, end in islice(jpeg_segments(content), MAX_SEGMENTS):
        if marker == START_OF_SCAN:
            break
        if marker == APP1 and content.startswith(HEAD, start):
            return _exif(content[start:end])
    return {}


def _webp(file: BinaryIO) -> dict[str, str]:
    for kind, _, length in riff_chunks(file):
        if kind == b"EXIF":
            if length > MAX_TEXT_BYTES:
                raise ValueError(f"EXIF data of more than {MAX_TEXT_BYTES:,} bytes")
            return _exif(file.read(length))
    return {}


def _exif(data: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    found = exif_texts(data, (*EXIF_KEYS, *NAMED_TAGS))
    for tag, text in found.items():
        named = NAMED.match(text)
        if named:
            texts.setdefault(named[1].lower(), text[named.end() :])
        elif tag in EXIF_KEYS:
            texts.setdefault(EXIF_KEYS[tag], text)
    return texts


CARRIERS = (
    Carrier("PNG", (".png",), re.compile(re.escape(PNG_SIGNATURE)), _png),
    Carrier("JPEG", (".jpg", ".jpeg"), re.compile(rb"\xff\xd8\xff"), _jpeg),
    Carrier("WebP", (".webp",), re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
)
"""What settings are read from."""

ENDINGS = tuple(ending for each in CARRIERS for ending in each.endings)
