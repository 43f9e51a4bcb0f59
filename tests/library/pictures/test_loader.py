"""A stranger's picture comes in as RGB pixels or not at all; whatever the file is, the answer is one clear line."""

import io
import os
import random
import struct
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngImageFile, PngInfo

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.pictures.colour import Space
from krea_studio.library.pictures.containers import MAX_PROFILE_BYTES
from krea_studio.library.pictures.formats import MAX_JPEG_SCANS, WANTED
from krea_studio.library.pictures.loader import (
    DECODED_AT_ONCE,
    MAX_FILE_BYTES,
    load_picture,
    load_picture_bytes,
    plain_rgb,
)


def noise(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    if format == "HEIF":
        pillow_heif.register_heif_opener()
    image.save(file, format=format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(width: int, height: int, depth: int, colour: int, pixels: bytes, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *extra, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")])


def refused(content: bytes, name: str = "picture.png") -> str:
    with pytest.raises(InvalidRequest) as caught:
        load_picture_bytes(content, name)
    message = caught.value.message
    assert repr(name) in message and " — " in message and "\n" not in message
    return message


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_pictures_keep_their_pixels(tmp_path: Path, format: str, options: dict[str, object]) -> None:
    image = noise()
    path = tmp_path / "picture"
    path.write_bytes(encoded(image, format, **options))
    for loaded in (load_picture(path), load_picture(str(path))):
        assert type(loaded) is Image.Image and loaded.mode == "RGB"
        assert loaded.tobytes() == image.tobytes()


def test_jpeg_pixels_are_pillows_own() -> None:
    content = encoded(noise(), "JPEG")
    with Image.open(io.BytesIO(content)) as image:
        assert load_picture_bytes(content, "a.jpg").tobytes() == image.tobytes()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
def test_metadata_is_left_behind(format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "private"
    texts = PngInfo()
    texts.add_itxt("comment", "private")
    options = {"PNG": {"pnginfo": texts, "dpi": (72, 72)}, "JPEG": {"comment": b"private"}}
    more = options.get(format, {"xmp": b"private"})
    content = encoded(noise(), format, exif=exif.tobytes(), icc_profile=b"private", **more)
    assert b"private" in content
    loaded = load_picture_bytes(content, "a")
    assert loaded.info == {} and not loaded.getexif()
    assert b"private" not in encoded(loaded)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
def test_pictures_are_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(noise(), format, exif=exif.tobytes())
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
        loaded = load_picture_bytes(content, "a")
        assert (loaded.size, loaded.tobytes()) == (upright.size, upright.tobytes())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_exif_loses_the_orientation_only(exif: bytes) -> None:
    assert load_picture_bytes(encoded(noise(), "JPEG", exif=exif), "a.jpg").size == (64, 48)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_without_transparency_become_what_they_show(mode: str) -> None:
    image = noise(mode=mode)
    assert load_picture_bytes(encoded(image), "a.png").tobytes() == image.convert("RGB").tobytes()


def test_cmyk_becomes_rgb() -> None:
    content = encoded(Image.new("CMYK", (64, 48), (0, 255, 0, 0)), "JPEG", quality=95)
    red, green, blue = load_picture_bytes(content, "a.jpg").getpixel((9, 9))
    assert red > 250 and green < 5 and blue > 250


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_is_put_on_white(format: str) -> None:
    image = Image.new("RGBA", (64, 48), (10, 200, 30, 0))
    image.paste((10, 200, 30, 255), (0, 0, 32, 48))
    image.paste((0, 0, 0, 128), (0, 0, 8, 48))
    loaded = load_picture_bytes(encoded(image, format, **({"lossless": True} if format == "WEBP" else {})), "a")
    assert [loaded.getpixel((x, 9)) for x in (2, 20, 50)] == [(127, 127, 127), (10, 200, 30), (255, 255, 255)]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB"])
def test_transparency_of_every_mode_is_put_on_white(mode: str) -> None:
    image = Image.new("LA" if mode == "LA" else mode, (64, 48), 0)
    key = {"1": 0, "L": 0, "P": 0, "RGB": (0, 0, 0)}
    content = encoded(image, **({} if mode == "LA" else {"transparency": key[mode]}))
    assert load_picture_bytes(content, "a.png").getcolors() == [(64 * 48, (255, 255, 255))]


def test_transparency_of_palette_entries_is_put_on_white() -> None:
    image = Image.new("P", (64, 48))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(1, (32, 0, 64, 48))
    loaded = load_picture_bytes(encoded(image, transparency=bytes([255, 128])), "a.png")
    assert [loaded.getpixel((x, 9)) for x in (9, 50)] == [(200, 0, 0), (127, 127, 227)]


GREYS = np.linspace(0, 2**16 - 1, 64 * 48).astype(">u2").reshape(48, 64)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)], ids=["L", "LA", "RGB", "RGBA"])
def test_16_bits_are_scaled_to_8(colour: int, channels: int) -> None:
    values = np.repeat(GREYS[..., None], channels, axis=2)
    if channels in (2, 4):
        values[..., -1] = 2**16 - 1
    loaded = load_picture_bytes(raw_png(64, 48, 16, colour, b"".join(b"\0" + r.tobytes() for r in values)), "a.png")
    assert np.abs(np.asarray(loaded)[..., 0] - GREYS / 257.0).max() <= 1
    assert (loaded.getpixel((0, 0)), loaded.getpixel((63, 47))) == ((0, 0, 0), (255, 255, 255))


def test_transparency_of_16_bit_grey_is_exact() -> None:
    rows = b"".join(b"\0" + r.tobytes() for r in np.where(GREYS < 2**15, 300, 301).astype(">u2"))
    loaded = load_picture_bytes(raw_png(64, 48, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 300))), "a.png")
    assert (loaded.getpixel((0, 0)), loaded.getpixel((63, 47))) == ((255, 255, 255), (1, 1, 1))


def test_32_bit_grey_is_taken_as_16_bits() -> None:
    image = Image.fromarray(np.array([[-5, 0, 2**15, 2**16 - 1, 2**20]], dtype=np.int32))
    assert [plain_rgb(image).getpixel((x, 0))[0] for x in range(5)] == [0, 0, 128, 255, 255]


def test_a_phones_jpeg_of_several_pictures_is_its_first() -> None:
    first, second = noise(), Image.new("RGB", (64, 48))
    content = encoded(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "MPO" and image.n_frames == 2
        assert load_picture_bytes(content, "a.jpg").tobytes() == image.tobytes()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF"])
def test_animations_are_refused(format: str) -> None:
    content = encoded(
        noise(),
        format,
        save_all=True,
        append_images=[Image.new("RGB", (64, 48)), noise(48, 64).rotate(90, expand=True)],
        **({} if format == "PNG" else {"duration": 100}),
    )
    assert "is animated (3 frames) — save one of its frames" in refused(content)


def test_one_frame_is_no_animation() -> None:
    frames = (
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        chunk(b"fcTL", struct.pack(">5I2H2B", 0, 64, 48, 0, 0, 1, 1, 0, 0)),
    )
    content = raw_png(64, 48, 8, 0, bytes(64 * 48 + 48), *frames)
    assert load_picture_bytes(content, "a.png").size == (64, 48)


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused_whatever_they_are_called(format: str) -> None:
    assert f"is not {WANTED}" in refused(encoded(noise(), format))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    assert f"is not {WANTED}" in refused(content)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow's own limit neither helps nor hinders.
    for limit in (None, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert "has 8,001 × 8,000 pixels — give at most 64,000,000" in refused(raw_png(8001, 8000, 8, 2, b""))
        assert "2,147,483,647 × 2,147,483,647" in refused(raw_png(2**31 - 1, 2**31 - 1, 8, 6, bytes(1000)))
        assert load_picture_bytes(encoded(noise()), "a.png").size == (64, 48)

    jpeg = encoded(noise(), "JPEG")
    start = jpeg.index(b"\xff\xc0") + 5
    assert "has 65,535 × 65,535 pixels" in refused(jpeg[:start] + b"\xff" * 4 + jpeg[start + 4 :])

    for format in ("AVIF", "HEIF"):
        content = encoded(noise(), format)
        start = content.index(b"ispe") + 8
        # What is shown of it may be less: `clap` cuts this HEIC to 64 × 48.
        huge = refused(content[:start] + struct.pack(">II", 8001, 8000) + content[start + 8 :])
        assert "has 8,001 × 8,000 pixels — give at most 64,000,000" in huge

    webp = encoded(noise(), "WEBP", lossless=True)
    size = webp.index(b"VP8L") + 9
    assert "16,383 × 16,383" in refused(webp[:size] + struct.pack("<I", 0x0FFFBFFE) + webp[size + 4 :])


@pytest.mark.parametrize("size", [(31, 400), (400, 31), (1, 1)])
def test_a_side_that_is_too_short_is_refused(size: tuple[int, int]) -> None:
    assert "pixels — give at least 32 a side" in refused(encoded(Image.new("RGB", size)))
    assert load_picture_bytes(encoded(Image.new("RGB", (32, 32))), "a.png").size == (32, 32)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    jpeg = encoded(noise(), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    assert load_picture_bytes(jpeg, "a.jpg").size == (64, 48)
    assert "too long to decode" in refused(jpeg[:last] + jpeg[last:-2] * MAX_JPEG_SCANS + jpeg[-2:])


def box(kind: bytes, content: bytes, version: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(version) + len(content), kind) + version + content


def heic_grid(tile_side: int, rows: int, columns: int, width: int, height: int) -> bytes:
    """An HEIC of this size that is pieced of one tile again and again."""
    heic = encoded(Image.new("RGB", (tile_side, tile_side), "lime"), "HEIF")
    start = heic.index(b"hvcC") - 4
    decoder = heic[start : start + int.from_bytes(heic[start : start + 4], "big")]
    tile = heic[heic.index(b"mdat") + 4 :]
    v0, v2, grid = bytes(4), b"\2\0\0\0", bytes((0, 0, rows - 1, columns - 1)) + struct.pack(">HH", width, height)
    count = rows * columns
    infos = [box(b"infe", struct.pack(">HH4sB", k, 0, kind, 0), v2) for k, kind in ((1, b"hvc1"), (2, b"grid"))]
    named = box(b"dimg", struct.pack(f">HH{count}H", 2, count, *[1] * count))
    sizes = [box(b"ispe", struct.pack(">II", *size), v0) for size in ((tile_side, tile_side), (width, height))]
    linked = b"\0\0\0\2" + b"\0\1\2\x81\2" + b"\0\2\1\3"
    properties = box(b"ipco", decoder + b"".join(sizes)) + box(b"ipma", linked, v0)

    def meta(start: int) -> bytes:
        located = struct.pack(">3H2I3H2I", 1, 0, 1, start, len(tile), 2, 0, 1, start + len(tile), len(grid))
        return box(
            b"meta",
            box(b"hdlr", struct.pack(">I4s13x", 0, b"pict"), v0)
            + box(b"pitm", b"\0\2", v0)
            + box(b"iloc", b"\x44\0\0\2" + located, v0)
            + box(b"iinf", b"\0\2" + b"".join(infos), v0)
            + box(b"iref", named, v0)
            + box(b"iprp", properties),
            v0,
        )

    kind = heic[: int.from_bytes(heic[:4], "big")]
    return kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", tile + grid)


def test_an_heic_is_pieced_of_its_tiles() -> None:
    loaded = load_picture_bytes(heic_grid(64, 2, 3, 180, 120), "a.heic")
    assert loaded.size == (180, 120) and near(loaded, (0, 255, 0), 4)


def test_an_heic_that_names_a_large_tile_again_and_again_is_refused() -> None:
    assert load_picture_bytes(heic_grid(1024, 2, 2, 64, 64), "a.heic").size == (64, 64)
    assert "too long to decode" in refused(heic_grid(1024, 30, 30, 64, 64), "a.heic")


def test_few_pictures_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, most, lock, full = 0, 0, threading.Lock(), threading.Event()
    load = PngImageFile.load

    def slow(image: PngImageFile) -> object:
        nonlocal going_on, most
        with lock:
            going_on += 1
            most = max(most, going_on)
            if most >= DECODED_AT_ONCE:
                full.set()
        full.wait(60)
        time.sleep(0.02)
        with lock:
            going_on -= 1
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", slow)
    content, cut = encoded(noise()), encoded(noise())[:200]
    with ThreadPoolExecutor(max_workers=8) as threads:
        for file in [content] * 8 + [cut] * 4 + [content] * 4:
            threads.submit(load_picture_bytes, file, "a.png")
    assert most == DECODED_AT_ONCE
    assert load_picture_bytes(content, "a.png").size == (64, 48), "also after refusals"


@pytest.mark.parametrize("place", ["before the pixels", "after the pixels"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_bombs_in_metadata_do_not_go_off(kind: bytes, place: str) -> None:
    bomb = zlib.compress(bytes(8 * 2**20), 9)
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    texts = chunk(kind, head + bomb)
    content = encoded(noise())
    cut = 33 if place == "before the pixels" else len(content) - 12
    try:
        assert load_picture_bytes(content[:cut] + texts + content[cut:], "a.png").info == {}
    except InvalidRequest as refusal:
        assert "is damaged" in refusal.message


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
def test_truncated_files_are_refused(format: str) -> None:
    content = encoded(noise(), format)
    for length in {2, 8, 12, 20, 33, 60, len(content) // 2}:
        refused(content[:length])
    assert "is damaged or incomplete" in refused(content[: len(content) // 2])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "MPO", "APNG", "AVIF", "HEIF"])
def test_damage_is_a_picture_or_a_refusal_and_nothing_else(format: str) -> None:
    drawn = random.Random(7)
    more = {"save_all": True, "append_images": [noise()]} if format in ("MPO", "APNG") else {}
    whole = encoded(noise(40, 40, "P" if format == "PNG" else "RGB"), {"APNG": "PNG"}.get(format, format), **more)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(drawn.randint(1, 8)):
            content[drawn.randrange(drawn.choice([64, len(content)]))] = drawn.randrange(256)
        try:
            assert load_picture_bytes(bytes(content), "a").mode == "RGB"
        except InvalidRequest as refusal:
            assert "\n" not in refusal.message


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "kind", [b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"pHYs", b"cHRM", b"iCCP", b"PLTE", b"iTXt"]
)
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 7, b"\xff" * 26], ids=len)
def test_malformed_chunks_are_a_picture_or_a_refusal(kind: bytes, content: bytes) -> None:
    for colour, width in ((0, 32), (2, 96), (3, 32)):
        try:
            load_picture_bytes(raw_png(32, 32, 8, colour, bytes(32 * (width + 1)), chunk(kind, content)), "a.png")
        except InvalidRequest as refusal:
            assert "\n" not in refusal.message


def test_paths_that_hold_no_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.png").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path, words in {
        tmp_path / "missing.png": "does not exist",
        tmp_path / "empty.png" / "a.png": "does not exist",
        "nul\0.png": "does not exist",
        "half\ud800.png": "does not exist",
        tmp_path: "is a folder",
        tmp_path / "pipe": "is not a plain file",
        "/dev/zero": "is not a plain file",
        tmp_path / "empty.png": "is empty",
    }.items():
        with pytest.raises(InvalidRequest, match=words) as caught:
            load_picture(path)
        assert f"give {WANTED}" in caught.value.message
        assert caught.value.message.isprintable()
    with pytest.raises(StorageError, match="cannot be read"):
        load_picture(tmp_path / "loop")
    with pytest.raises(StorageError, match="cannot be read"):
        load_picture("a" * 300)


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encoded(noise()))
    os.truncate(path, 2**40)
    with pytest.raises(InvalidRequest, match="'large.png' has more than 67,108,864 bytes — give a smaller file"):
        load_picture(path)
    assert "has more than" in refused(bytes(MAX_FILE_BYTES + 1))


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


SCANS = b"\xff\xda" * (2 * MAX_JPEG_SCANS)
FILM = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + struct.pack(">I4s", 8 + len(SCANS), b"mdat") + SCANS


@pytest.mark.parametrize(
    "around",
    [
        lambda jpeg: jpeg + FILM,
        lambda jpeg: jpeg[:2] + segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0" + SCANS) + jpeg[2:] + FILM,
        lambda jpeg: jpeg[:2] + segment(0xEF, SCANS) * 3 + jpeg[2:],
        lambda jpeg: jpeg[:2] + segment(0xFE, SCANS) + jpeg[2:],
        lambda jpeg: jpeg + jpeg * 300,
    ],
    ids=["a film behind it", "film and maker's data", "bulk data", "a comment", "pictures behind it"],
)
def test_what_a_jpeg_carries_beside_its_picture_does_not_count(around: Callable[[bytes], bytes]) -> None:
    jpeg = encoded(noise(), "JPEG", progressive=True)
    assert load_picture_bytes(around(jpeg), "a.jpg").tobytes() == load_picture_bytes(jpeg, "b.jpg").tobytes()


def test_a_film_behind_an_heic_does_not_count() -> None:
    heic = encoded(noise(), "HEIF")
    with_film = heic + struct.pack(">I4s", 8 + len(FILM), b"mpvd") + FILM
    assert load_picture_bytes(with_film, "a.heic").tobytes() == load_picture_bytes(heic, "b.heic").tobytes()


WORKFLOW = b"private" * 2**18


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(WORKFLOW)),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(WORKFLOW)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(WORKFLOW)),
        chunk(b"tEXt", b"workflow\0" + WORKFLOW) * 20,
        chunk(b"caBX", WORKFLOW),
        chunk(b"tEXt", b"Comment\0hello").replace(b"hello", b"jello"),
        chunk(b"iTXt", b"broken"),
        chunk(b"tIME", b"never"),
        chunk(b"gAMA", b"\0"),
    ],
    ids=["zTXt", "iTXt", "XMP", "texts", "signature", "check sum", "broken text", "time", "gamma"],
)
def test_chunks_that_are_not_wanted_keep_no_png_out(extra: bytes) -> None:
    png, told = encoded(noise()), list[str]()
    for cut in (33, len(png) - 12):
        assert load_picture_bytes(png[:cut] + extra + png[cut:], "a.png", told.append).tobytes() == noise().tobytes()
    assert told == []


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
    ],
    ids=["EXIF", "XMP"],
)
def test_an_orientation_in_a_png_is_kept(extra: bytes) -> None:
    png = encoded(noise())
    turned = load_picture_bytes(png[:33] + extra + png[33:], "a.png")
    assert turned.tobytes() == noise().transpose(Image.Transpose.ROTATE_270).tobytes()


GREEN = (40, 160, 120)
P3 = Space.coded(12, 13).profile()
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREEN_IN_P3 = (80, 158, 123)
"""The same colour, by CSS Color Module Level 4."""


def of_mode(mode: str, colour: tuple[int, int, int]) -> Image.Image:
    """One colour all over."""
    if mode == "I;16":
        return Image.new(mode, (64, 48), colour[0] << 8)
    image = Image.new("RGB", (64, 48), colour)
    return image.quantize(2).convert(mode) if mode in ("P", "PA") else image.convert(mode)


def near(picture: Image.Image, colour: tuple[int, int, int], steps: int = 3) -> bool:
    x, y = picture.width // 2, picture.height // 2
    return max(abs(a - b) for a, b in zip(picture.getpixel((x, y)), colour, strict=True)) <= steps


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 98}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 98}),
        ("AVIF", {"quality": 98}),
        ("HEIF", {"quality": 98}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_profile_is_heeded_in_every_format(format: str, options: dict[str, object], mode: str) -> None:
    if (format, mode) == ("JPEG", "RGBA"):
        mode = "RGB"
    image, told = Image.new("RGB", (64, 48), GREEN_IN_P3).convert(mode), list[str]()
    loaded = load_picture_bytes(encoded(image, format, icc_profile=P3, **options), "a", told.append)
    assert near(loaded, GREEN, 4) and told == []


def test_alpha_is_put_on_white_after_its_colours_were_converted() -> None:
    image = Image.new("RGBA", (64, 48), (*GREEN_IN_P3, 128))
    half = tuple(round(255 + (value - 255) * 128 / 255) for value in GREEN)
    assert near(load_picture_bytes(encoded(image, icc_profile=P3), "a.png"), half)


@pytest.mark.parametrize("mode", ["P", "PA", "LA", "L", "1", "I;16", "CMYK"])
def test_a_profile_that_fits_is_heeded_in_every_mode(mode: str) -> None:
    # Linear light: half of it is 188.
    linear = Space.coded(1, 8).profile()
    image, told = of_mode(mode, (128, 128, 128)), list[str]()
    image.info["icc_profile"] = linear
    loaded = plain_rgb(image, told.append)
    if mode == "CMYK":
        assert len(told) == 1 and near(loaded, (128, 128, 128))
    elif mode == "1":
        assert told == [] and {colour for _, colour in loaded.getcolors()} <= {(0, 0, 0), (255, 255, 255)}
    else:
        assert told == [] and near(loaded, (188, 188, 188))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("profile", [b"private", bytes(200), P3[:300]], ids=["text", "zeros", "cut"])
def test_a_broken_profile_is_told_and_no_reason_to_refuse(format: str, profile: bytes) -> None:
    plain, told = encoded(noise(), format), list[str]()
    loaded = load_picture_bytes(encoded(noise(), format, icc_profile=profile), "holiday", told.append)
    assert loaded.tobytes() == load_picture_bytes(plain, "a", told.append).tobytes()
    assert len(told) == 1 and "'holiday'" in told[0] and " — " in told[0]


def test_a_profile_that_is_a_bomb_is_told_and_does_not_go_off() -> None:
    png, told = encoded(noise()), list[str]()
    bomb = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(MAX_PROFILE_BYTES + 1), 9))
    assert load_picture_bytes(png[:33] + bomb + png[33:], "a.png", told.append).tobytes() == noise().tobytes()
    assert len(told) == 1


def icc_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))


SRGB_CHUNK = chunk(b"sRGB", b"\0")
P3_CODED = chunk(b"cICP", bytes((12, 13, 0, 1)))
P3_MEASURED = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
SRGB_MEASURED = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
GAMMA = chunk(b"gAMA", struct.pack(">I", 45455))
LINEAR = chunk(b"gAMA", struct.pack(">I", 100_000))
AS_IT_IS = None


@pytest.mark.parametrize(
    ("chunks", "shown", "notes"),
    [
        ([P3_CODED], GREEN, 0),
        ([icc_chunk(P3)], GREEN, 0),
        ([P3_MEASURED], GREEN, 0),
        ([SRGB_CHUNK], AS_IT_IS, 0),
        ([GAMMA], AS_IT_IS, 0),
        ([GAMMA, SRGB_MEASURED], AS_IT_IS, 0),
        ([LINEAR], (152, 204, 183), 0),
        ([LINEAR, SRGB_MEASURED], (152, 204, 183), 0),
        # What comes first in the specification counts, in whichever order the file has it.
        ([icc_chunk(SRGB_PROFILE), P3_CODED], GREEN, 0),
        ([SRGB_CHUNK, icc_chunk(P3)], GREEN, 0),
        ([P3_MEASURED, LINEAR, SRGB_CHUNK], AS_IT_IS, 0),
        # What cannot be used gives way to what comes next.
        ([chunk(b"cICP", bytes((3, 13, 0, 1))), icc_chunk(P3)], GREEN, 1),
        ([chunk(b"cICP", bytes((12, 13, 1, 1))), P3_MEASURED], GREEN, 1),
        ([chunk(b"cICP", b""), icc_chunk(b"private"), SRGB_CHUNK], AS_IT_IS, 2),
        ([chunk(b"gAMA", bytes(4))], AS_IT_IS, 1),
        ([chunk(b"cHRM", bytes(32))], AS_IT_IS, 1),
    ],
)  # fmt: skip
def test_the_colours_of_a_png_are_what_counts_first(
    chunks: list[bytes], shown: tuple[int, int, int] | None, notes: int
) -> None:
    png, told = encoded(Image.new("RGB", (64, 48), GREEN_IN_P3)), list[str]()
    loaded = load_picture_bytes(png[:33] + b"".join(chunks) + png[33:], "a.png", told.append)
    assert near(loaded, shown or GREEN_IN_P3, 0 if shown is None else 3) and len(told) == notes


def test_a_camera_that_says_adobe_rgb_in_its_exif_is_believed() -> None:
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.IFD.Interop: {ExifTags.Interop.InteropIndex: "R03"}}
    image = Image.new("RGB", (64, 48), (96, 159, 121))
    assert near(load_picture_bytes(encoded(image, "JPEG", quality=98, exif=exif), "_DSC0001.jpg"), GREEN, 6)
    # A profile says more than the index.
    with_profile = encoded(image, "JPEG", quality=98, exif=exif, icc_profile=SRGB_PROFILE)
    assert near(load_picture_bytes(with_profile, "_DSC0002.jpg"), (96, 159, 121), 2)


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
@pytest.mark.parametrize(
    ("primaries", "transfer", "shown"),
    [
        (12, 13, GREEN),
        (1, 13, GREEN_IN_P3),
        (1, 1, GREEN_IN_P3),
        (2, 2, GREEN_IN_P3),
        (1, 8, (152, 204, 183)),
    ],
)
def test_the_code_points_of_a_phones_picture_are_heeded(
    format: str, primaries: int, transfer: int, shown: tuple[int, int, int]
) -> None:
    content, told = encoded(Image.new("RGB", (64, 48), GREEN_IN_P3), format, quality=98), list[str]()
    start = content.index(b"nclx") + 4
    content = content[:start] + struct.pack(">HH", primaries, transfer) + content[start + 4 :]
    assert near(load_picture_bytes(content, "a", told.append), shown, 4) and told == []


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_a_phones_picture_of_any_mode_is_what_it_shows(format: str, mode: str) -> None:
    image = of_mode(mode, GREEN)
    if mode in ("LA", "RGBA"):
        image.putalpha(0)
    loaded = load_picture_bytes(encoded(image, format, quality=98), "a")
    shown = (255, 255, 255) if mode in ("LA", "RGBA") else image.convert("RGB").getpixel((0, 0))
    assert near(loaded, shown, 6)


def test_a_picture_of_ten_bits_is_what_it_shows() -> None:
    values = np.full((48, 64, 3), [value << 8 for value in GREEN], dtype=np.uint16)
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", (64, 48), values.tobytes(), file, quality=98)
    assert near(load_picture_bytes(file.getvalue(), "a.heic"), GREEN, 4)


def test_an_heic_of_several_pictures_is_its_main_one() -> None:
    images = [Image.new("RGB", (64, 48), colour) for colour in ("red", "lime", "blue")]
    content = encoded(images[0], "HEIF", save_all=True, append_images=images[1:], primary_index=1, quality=98)
    assert near(load_picture_bytes(content, "a.heic"), (0, 255, 0), 4)


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_an_heic_that_is_a_sequence_is_refused(brand: bytes) -> None:
    heic = encoded(noise(), "HEIF")
    sequence = struct.pack(">I", 20) + b"ftyp" + brand + bytes(4) + brand + heic[int.from_bytes(heic[:4], "big") :]
    assert "is a sequence of pictures — save one of them" in refused(sequence, "a.heics")


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_an_orientation_that_container_and_xmp_both_tell_is_heeded_once(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    image = noise()
    for given in ({"exif": exif.tobytes(), "xmp": xmp}, {"exif": exif.tobytes()}):
        assert load_picture_bytes(encoded(image, format, **given), "a").size == (48, 64)
    assert load_picture_bytes(encoded(image, format), "a").size == (64, 48)


def test_a_size_that_the_pixels_do_not_have_is_refused_before_they_are_decoded() -> None:
    heic = encoded(Image.new("RGB", (1024, 1024)), "HEIF")
    start = heic.index(b"ispe") + 8
    assert "is damaged" in refused(heic[:start] + struct.pack(">II", 64, 64) + heic[start + 8 :], "a.heic")
