"""What a file says before its pixels is found without a decoder, whatever else the file carries."""

import io
import random
import struct
import time
import zlib

import pytest

from krea_studio.library.pictures.containers import (
    MAX_BOXES,
    MAX_PNG_CHUNKS,
    MAX_RIFF_CHUNKS,
    MAX_TABLE_BYTES,
    PNG_SIGNATURE,
    TooManyParts,
    brands,
    coded_sizes,
    jpeg_extent,
    jpeg_segments,
    pieced_pixels,
    plain_png,
    png_chunks,
    png_text,
    png_texts,
    riff_chunks,
    unpacked,
)
from tests.library.pictures.test_loader import chunk, encoded, noise

JPEG = encoded(noise(), "JPEG")
PNG = encoded(noise())


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}], ids=str)
def test_a_jpeg_ends_at_its_own_end_and_has_its_own_scans(options: dict[str, object]) -> None:
    jpeg = encoded(noise(), "JPEG", **options)
    end, scans = jpeg_extent(jpeg)
    assert end == len(jpeg) and scans == jpeg.count(b"\xff\xda")
    for behind in (b"\xff\xda" * 500, JPEG, b"\0\0\0\x18ftypmp42" + random.Random(3).randbytes(1000)):
        assert jpeg_extent(jpeg + behind) == (end, scans)


@pytest.mark.parametrize("marker", [0xE1, 0xEF, 0xFE], ids=hex)
def test_what_is_in_a_segment_is_no_scan(marker: int) -> None:
    inside = segment(marker, b"\xff\xda\xff\xd9" * 16_000)
    assert jpeg_extent(JPEG[:2] + inside + JPEG[2:]) == (len(JPEG) + len(inside), 1)


def test_the_segments_of_a_jpeg_have_their_data() -> None:
    inside = b"Exif\0\0" + b"\xff\xd9" * 100
    content = JPEG[:2] + segment(0xE1, inside) + JPEG[2:]
    segments = list(jpeg_segments(content + JPEG))
    assert segments[0] == (0xE1, 6, 6 + len(inside)) and content[6 : 6 + len(inside)] == inside
    assert segments[-1] == (0xD9, len(content), len(content)), "which is where the picture ends"


@pytest.mark.parametrize("behind", [b"", JPEG[2:]], ids=["alone", "before a picture"])
def test_fill_bytes_without_end_take_no_time(behind: bytes) -> None:
    begun = time.thread_time()
    assert jpeg_extent(b"\xff\xd8" + b"\xff" * 4_000_000 + behind) == (4_000_002 + len(behind), bool(behind))
    assert time.thread_time() - begun < 3


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", JPEG[:100], JPEG[:-2], b"\xff\xd8\xff\xe1\0\0" * 50])
def test_a_jpeg_without_end_ends_with_its_file(content: bytes) -> None:
    assert jpeg_extent(content)[0] == len(content)


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_the_sizes_in_a_container_are_those_of_its_pictures(format: str) -> None:
    assert (128, 96) in coded_sizes(encoded(noise(128, 96), format))
    assert coded_sizes(JPEG) == coded_sizes(PNG) == coded_sizes(b"") == []


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_a_damaged_container_has_sizes_or_none(format: str) -> None:
    whole, drawn = encoded(noise(), format), random.Random(7)
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(drawn.randint(1, 8)):
            content[drawn.randrange(min(len(content), 500))] = drawn.choice((0, 1, 255, drawn.randrange(256)))
        assert all(len(size) == 2 for size in coded_sizes(bytes(content)))


def test_endless_tables_of_a_container_are_not_gone_through() -> None:
    content = encoded(noise(), "HEIF")
    start = int.from_bytes(content[:4], "big")
    assert pieced_pixels(content) == 0
    for around, kind in ((b"iprp", b"ipma"), (b"", b"iref")):
        table = struct.pack(">I4s4x", 12 + MAX_TABLE_BYTES, kind) + bytes(MAX_TABLE_BYTES)
        table = struct.pack(">I4s", 8 + len(table), around) + table if around else table
        meta = struct.pack(">I4s4x", 12 + len(table), b"meta") + table
        with pytest.raises(TooManyParts):
            pieced_pixels(content[:start] + meta + content[start:])


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_no_size_is_hidden_behind_other_boxes(format: str) -> None:
    content = encoded(noise(128, 96), format)
    start = int.from_bytes(content[:4], "big")
    small = struct.pack(">I4s4xII", 20, b"ispe", 64, 48)
    for kind, version in ((b"ipco", b""), (b"iprp", b""), (b"meta", bytes(4))):
        small = struct.pack(">I4s", 8 + len(version) + len(small), kind) + version + small
    assert {(64, 48), (128, 96)} <= set(coded_sizes(content[:start] + small + content[start:]))
    with pytest.raises(TooManyParts):
        coded_sizes(content[:start] + struct.pack(">I4s", 8, b"free") * MAX_BOXES + content[start:])


def test_a_plain_png_has_its_picture_and_nothing_that_is_not_wanted() -> None:
    extra = [
        chunk(b"tEXt", b"Comment\0" + b"private" * 100),
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"private" * 10**6)),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0"),
        chunk(b"prVt", b"private"),
        chunk(b"gAMA", struct.pack(">I", 100_000)),
        chunk(b"cHRM", bytes(32))[:-1] + b"?",
    ]
    plain, colours = plain_png(PNG[:33] + b"".join(extra) + PNG[33:] + b"private")
    kinds = [kind for kind, _, _ in png_chunks(io.BytesIO(plain))]
    assert kinds[:2] == [b"IHDR", b"eXIf"] and kinds[-1] == b"IEND" and set(kinds[2:-1]) == {b"IDAT"}
    assert colours == {b"gAMA": struct.pack(">I", 100_000)}, "with a right check sum"
    assert b"private" not in plain


def test_what_is_cut_within_a_chunk_is_kept_for_the_decoder_to_refuse() -> None:
    for length in (20, 60, len(PNG) // 2, len(PNG) - 2):
        assert plain_png(PNG[:length])[0] == PNG[:length]


def test_a_png_of_endless_chunks_is_refused() -> None:
    endless = PNG_SIGNATURE + chunk(b"prVt", b"") * (MAX_PNG_CHUNKS + 1)
    with pytest.raises(TooManyParts):
        plain_png(endless)


def test_what_is_no_png_is_told() -> None:
    for content in (b"", JPEG, PNG[1:]):
        with pytest.raises(ValueError, match="not a PNG"):
            list(png_chunks(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"tEXt", b"key\0caf\xe9"),
        (b"zTXt", b"key\0\0" + zlib.compress(b"caf\xe9")),
        (b"iTXt", b"key\0\0\0en\0word\0" + "café".encode()),
        (b"iTXt", b"key\0\1\0\0\0" + zlib.compress("café".encode())),
    ],
)
def test_texts_of_every_kind_are_read_up_to_a_size(kind: bytes, data: bytes) -> None:
    assert png_text(kind, data, 5) == ("key", "café")
    with pytest.raises(ValueError, match="more than 3 bytes"):
        png_text(kind, data, 3)


def test_texts_are_found_by_their_names_wherever_they_are() -> None:
    texts = [
        chunk(b"tEXt", b"a\0first"),
        chunk(b"tEXt", b"aa\0not asked for"),
        chunk(b"zTXt", b"b\0\0" + zlib.compress(b"second")),
        chunk(b"tEXt", b"c\0" + b"x" * 100)[:-1] + b"?",
    ]
    content = PNG[:33] + texts[0] + texts[1] + texts[3] + PNG[33:-12] + texts[2] + PNG[-12:]
    assert list(png_texts(io.BytesIO(content), ("a", "b", "d"), 6)) == [("a", "first"), ("b", "second")]
    for keys, most, words in ((("a",), 4, "more than 4"), (("b",), 5, "more than 5"), (("c",), 100, "check sum")):
        with pytest.raises(ValueError, match=words):
            list(png_texts(io.BytesIO(content), keys, most))
    with pytest.raises(ValueError, match="without its end"):
        list(png_texts(io.BytesIO(content[:-12]), ("d",), 6))


def test_the_chunks_of_a_webp_are_found() -> None:
    webp = encoded(noise(), "WEBP", exif=b"Exif\0\0odd")
    chunks = {kind: webp[place : place + length] for kind, place, length in riff_chunks(io.BytesIO(webp))}
    assert chunks[b"EXIF"] == b"odd" and b"VP8 " in chunks
    many = webp[:12] + b"JUNK\0\0\0\0" * MAX_RIFF_CHUNKS
    with pytest.raises(TooManyParts):
        list(riff_chunks(io.BytesIO(many)))
    for content in (b"", PNG, b"RIFF"):
        with pytest.raises(ValueError, match="not a WebP"):
            list(riff_chunks(io.BytesIO(content)))


def test_what_is_unpacked_is_bounded_whole_and_sound() -> None:
    packed = zlib.compress(bytes(1000))
    assert unpacked(packed, 1000) == bytes(1000)
    for content, most, words in ((packed, 999, "more than 999"), (packed[:-3], 1000, "cut"), (b"hello", 9, "header")):
        with pytest.raises(ValueError, match=words):
            unpacked(content, most)


def test_brands_are_the_main_one_and_those_beside_it() -> None:
    head = struct.pack(">I", 24) + b"ftypmif1\0\0\0\0heicmiaf"
    assert brands(head + b"\0\0\0\x08free") == {b"mif1", b"heic", b"miaf"}
    assert brands(b"\0\0\0\x10ftypavif\0\0\0\0mif1") == {b"avif"}
    assert brands(b"\xff\xff\xff\xffftypavif" + bytes(10_000)) >= {b"avif"}
    assert brands(JPEG) == brands(b"") == brands(PNG) == frozenset()
