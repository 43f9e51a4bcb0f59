"""Texts in EXIF data are found by tag, in either byte order, and nothing else of a file can do harm."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from krea_studio.library.pictures.exif import MAX_ENTRIES, MODEL, USER_COMMENT, exif_texts, user_comment
from tests.library.foreign.builders import ASCII, BYTE, UNDEFINED, exif

TAGS = (MODEL, USER_COMMENT)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)


@given(texts, st.sampled_from("<>"), st.sampled_from([ASCII, BYTE, UNDEFINED]))
def test_a_text_is_found_in_either_byte_order(text: str, order: str, kind: int) -> None:
    data = exif({MODEL: (kind, text.encode() + b"\0")}, {}, order)
    assert exif_texts(data, TAGS) == exif_texts(b"Exif\0\0" + data, TAGS) == {MODEL: text}


@given(texts.map(lambda text: text + "\nSteps: 20"), st.sampled_from(["utf-16-be", "utf-16-le"]), st.sampled_from("<>"))
def test_a_comment_in_utf_16_is_read_whatever_order_the_file_has(text: str, encoding: str, order: str) -> None:
    comment = b"UNICODE\0" + text.encode(encoding)
    assert exif_texts(exif({}, {USER_COMMENT: (UNDEFINED, comment)}, order), TAGS) == {USER_COMMENT: text}
    assert user_comment(b"UNICODE\0" + ("\ufeff" + text).encode(encoding)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"ASCII\0\0\0plain", "plain"),
        (bytes(8) + b"plain", "plain"),
        (b"no code before it", "no code before it"),
        (b"ASCII\0\0\0caf\xc3\xa9\0\0", "café"),
        (b"ASCII\0\0\0caf\xe9", "café"),
        (b"UNICODE\0", ""),
        (b"", ""),
    ],
)
def test_comments_that_others_write_are_read(value: bytes, text: str) -> None:
    assert user_comment(value) == text


def test_what_pillow_writes_is_read() -> None:
    written = Image.Exif()
    written[MODEL] = "prompt:{}"
    written[USER_COMMENT] = "in the first directory, as Fooocus has it"
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=written)
    start = file.getvalue().index(b"Exif\0\0")
    assert exif_texts(file.getvalue()[start:], TAGS) == {
        MODEL: "prompt:{}",
        USER_COMMENT: "in the first directory, as Fooocus has it",
    }


def test_numbers_are_no_texts_and_other_tags_are_passed_over() -> None:
    entries = {0x0100: (ASCII, b"not asked for"), MODEL: (4, b"\1\0\0\0")}
    assert exif_texts(exif(entries), TAGS) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", MODEL, ASCII, 2**31, 8),
        exif({}, {USER_COMMENT: (UNDEFINED, b"UNICODE\0\xd8\x3d\0A\0B")}),
        exif({}, {}).replace(struct.pack("<I", 26), b"\xff\xff\xff\xff"),
    ],
)
def test_what_is_cut_or_damaged_is_one_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        exif_texts(data, TAGS)


def test_a_directory_of_endless_entries_is_not_gone_through() -> None:
    entry = struct.pack("<HHII", 0x0101, ASCII, 1, 65)
    endless = b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + entry * MAX_ENTRIES
    assert exif_texts(endless, TAGS) == {}


@given(st.binary(max_size=80), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_are_texts_or_one_error(data: bytes, head: bytes) -> None:
    try:
        assert all(isinstance(text, str) for text in exif_texts(head + data, TAGS).values())
    except ValueError as error:
        assert len(str(error).splitlines()) <= 1
