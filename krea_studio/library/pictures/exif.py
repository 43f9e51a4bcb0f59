"""The texts in the EXIF data of a picture file, by tag: read without a decoder and without trust.

EXIF is a TIFF without a picture (CIPA DC-008, section 4.5): directories of entries, each a tag, a type, a count and a
value or where it is. Only texts and bytes of the first directory and of the one that it names as EXIF's own are read.
"""

import struct
from collections.abc import Collection

HEAD = b"Exif\0\0"
"""Stands before the data in a JPEG, and in many a WebP."""
IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE = 0x010E, 0x010F, 0x0110, 0x0131
MAKER_NOTE, USER_COMMENT = 0x927C, 0x9286
ENTRY_BYTES = 12
MAX_ENTRIES = 1000
"""Of a directory; a camera writes some dozens."""

_EXIF_DIRECTORY = 0x8769
_BYTE, _ASCII, _UNDEFINED = 1, 2, 7
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_CHARACTER_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", bytes(8): "ascii"}
_BYTE_ORDER_MARKS = {b"\xfe\xff": "utf-16-be", b"\xff\xfe": "utf-16-le"}


def exif_texts(data: bytes, tags: Collection[int]) -> dict[int, str]:
    """The text of each of these tags, the first of several; `data` begins with the TIFF header, or with HEAD before it.

    Raises ValueError for data that are no EXIF, or where they or one of the texts are cut or damaged.
    """
    data = data.removeprefix(HEAD)
    order = _ORDERS.get(data[:4])
    if order is None:
        raise ValueError("no EXIF data")
    directories = [_directory(data, order, _number(data, order, 4, "I"))]
    if _EXIF_DIRECTORY in directories[0]:
        directories.append(_directory(data, order, _number(data, order, directories[0][_EXIF_DIRECTORY] + 8, "I")))
    texts: dict[int, str] = {}
    for directory in directories:
        for tag in directory.keys() & set(tags) - texts.keys():
            value = _value(data, order, directory[tag])
            if value is not None:
                texts[tag] = user_comment(value) if tag == USER_COMMENT else _text(value)
    return texts


def user_comment(value: bytes) -> str:
    """The text of a UserComment, which eight bytes before it name the characters of.

    UTF-16 should have the byte order of the file, and often has the other: zeros tell which, as they are the upper
    bytes of Latin letters. Raises ValueError for UTF-16 that is none.
    """
    code = _CHARACTER_CODES.get(value[:8])
    if code is None:
        return _text(value)
    value = value[8:]
    if code != "utf-16":
        return _text(value)
    mark = _BYTE_ORDER_MARKS.get(value[:2])
    if mark:
        value = value[2:]
    value = value[: len(value) // 2 * 2]
    little = value[1::2].count(0) > value[::2].count(0)
    return value.decode(mark or ("utf-16-le" if little else "utf-16-be")).strip("\0")


def _text(value: bytes) -> str:
    """ASCII by the standard, and in practice UTF-8 or else Latin-1."""
    value = value.strip(b"\0")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _directory(data: bytes, order: str, place: int) -> dict[int, int]:
    """Where the first entry of each tag begins in the directory at `place`."""
    found: dict[int, int] = {}
    for number in range(min(_number(data, order, place, "H"), MAX_ENTRIES)):
        start = place + 2 + ENTRY_BYTES * number
        found.setdefault(_number(data, order, start, "H"), start)
    return found


def _value(data: bytes, order: str, start: int) -> bytes | None:
    """The bytes of the entry that begins at `start`; None for one of another type."""
    kind, count = _number(data, order, start + 2, "H"), _number(data, order, start + 4, "I")
    if kind not in (_BYTE, _ASCII, _UNDEFINED):
        return None
    where = start + 8 if count <= 4 else _number(data, order, start + 8, "I")
    if where + count > len(data):
        raise ValueError("EXIF data that are cut")
    return data[where : where + count]


def _number(data: bytes, order: str, place: int, form: str) -> int:
    try:
        return int(struct.unpack_from(order + form, data, place)[0])
    except struct.error:
        raise ValueError("EXIF data that are cut") from None
