"""The one way by which a stranger's picture comes in: bytes → an upright RGB picture in sRGB without metadata.

The file is hostile until it is decoded. Its first bytes choose one row of FORMATS, and with it the decoder; what its
header promises is checked before any pixel is decoded; and whatever a decoder raises comes out as a refusal. Pillow's
own limit on pixels is a setting of the whole process and is not relied on. What of a picture is not used though it is
taken in, such as a broken colour profile, is told to whoever asked.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.files import read_given
from krea_studio.library.pictures import containers
from krea_studio.library.pictures.colour import Source, to_srgb
from krea_studio.library.pictures.formats import FORMATS, WANTED, too_long
from krea_studio.validation import shown

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
MAX_PIECED_PIXELS = 2 * MAX_PIXELS
"""Of all tiles that are decoded for a picture: those at its edges go beyond them."""
MIN_SIDE_PX = 32

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by its EXIF orientation; 1 is upright."""

DECODED_AT_ONCE = 2
"""The largest picture takes 800 MB while it is decoded, and any number may be sent at once: others wait."""

Tell = Callable[[str], object]
"""Takes one line on what of a picture is not used."""

Admit = Callable[[Image.Image, Path | str | None], None]
"""Raises Refused for a decoded picture that may not come in; it was given in this file, None where in none."""

logger = logging.getLogger(__name__)

_decoding = threading.Semaphore(DECODED_AT_ONCE)


def logged(message: str) -> None:
    """Tell nobody but the log."""
    logger.info("%s", message)


def load_picture(path: Path | str, tell: Tell = logged) -> Image.Image:
    """The picture in a file of one of FORMATS: RGB in sRGB, upright, transparency on white, no metadata.

    Raises InvalidRequest for anything else: a file that is missing, damaged, animated, of more than MAX_FILE_BYTES or
    MAX_PIXELS, or with a side of less than MIN_SIDE_PX; StorageError where the file cannot be read.
    """
    return load_picture_bytes(read_given(path, MAX_FILE_BYTES, WANTED), Path(path).name, tell)


def load_picture_bytes(content: bytes, name: str, tell: Tell = logged, opaque: bool = False) -> Image.Image:
    """`load_picture` for a file that was read already; `name` is what people know it by.

    Where it is to be `opaque`, one that may be seen through is refused, whose bytes show more than this picture does.
    Waits while DECODED_AT_ONCE others are being decoded.
    """
    with _opened(content, name) as (image, sources):
        image.load()
        if opaque and image.has_transparency_data:
            raise InvalidRequest(f"{shown(name)} has transparency, so it was changed — use the original")
        return _plain(image, sources, shown(name), tell)


def picture_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height that the header of such a file promises, before any pixel is decoded. Raises InvalidRequest."""
    with _opened(content, name) as (image, _):
        return image.size


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[tuple[ImageFile, list[Source]]]:
    """The picture in a file, its header checked, and what the file says of its colours.

    What goes wrong with it is raised as InvalidRequest.
    """
    if len(content) > MAX_FILE_BYTES:
        raise InvalidRequest(f"{shown(name)} has more than {MAX_FILE_BYTES:,} bytes — give a smaller file")
    found = next((each for each in FORMATS if each.knows(content)), None)
    if not found:
        raise InvalidRequest(f"{shown(name)} is not {WANTED} — save it as one of these")
    try:
        with _decoding:
            image, sources = found.open(content, name)
            with image:
                _check_header(image, content, name)
                yield image, sources
    except StudioError:
        raise
    except MemoryError:
        raise InvalidRequest(f"{shown(name)} needs more memory than is free — make the picture smaller") from None
    except Exception as error:
        # Decoders raise a dozen types on hostile bytes; each of them means that there is no picture.
        logger.info("%s was refused: %r", shown(name), error)
        raise InvalidRequest(
            f"{shown(name)} is damaged or incomplete — use the original file, or save it again with another program"
        ) from None


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise InvalidRequest for a picture of too many pixels or too short a side."""
    _check_pixels(size, name)
    width, height = size
    if min(size) < MIN_SIDE_PX:
        raise InvalidRequest(f"{shown(name)} has {width:,} × {height:,} pixels — give at least {MIN_SIDE_PX} a side")


def _check_pixels(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise InvalidRequest(f"{shown(name)} has {width:,} × {height:,} pixels — give at most {MAX_PIXELS:,} in all")


def plain_rgb(image: Image.Image, tell: Tell = logged) -> Image.Image:
    """A picture of any mode as RGB in sRGB: upright, transparency on white, 16 bits scaled to 8, and no metadata."""
    profile = image.info.get("icc_profile")
    return _plain(image, [profile] if isinstance(profile, bytes) else [], "the picture", tell)


def _plain(image: Image.Image, sources: Sequence[Source], name: str, tell: Tell) -> Image.Image:
    def unusable(why: str) -> None:
        logger.info("The colour profile of %s is not used: %s", name, why)
        tell(f"The colours of {name} may be off, as its colour profile cannot be used — save it again as sRGB")

    turn = TURNS.get(_orientation(image))
    opaque, alpha = _parted(image)
    plain = to_srgb(opaque, sources, unusable)
    if alpha:
        coloured, plain = plain, Image.new("RGB", plain.size, "white")
        plain.paste(coloured, mask=alpha)
    if turn is not None:
        plain = plain.transpose(turn)
    plain.info = {}
    return plain


def _parted(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """A picture of any mode as one of mode L, RGB, CMYK or LAB, and how opaque it is; None where it is so all over."""
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    kept = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        # Pillow knows no way from La to RGBA.
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return image.convert("RGB").convert(kept), image.getchannel("A")
    return image if image.mode in (kept, "CMYK", "LAB") else image.convert(kept), None


def _check_header(image: ImageFile, content: bytes, name: str) -> None:
    check_size(image.size, name)
    # An HEIC may show a small part of a large picture, all of which is decoded.
    for size in containers.coded_sizes(content):
        _check_pixels(size, name)
    if containers.brands(content) and containers.pieced_pixels(content) > MAX_PIECED_PIXELS:
        raise too_long(name)
    frames = getattr(image, "n_frames", 1)
    # Several pictures in a HEIC are a collection with a main one; what moves has brands of its own.
    if frames > 1 and image.format != "HEIF":
        raise InvalidRequest(
            f"{shown(name)} is animated ({frames:,} frames) — save one of its frames as a picture and give that"
        )


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:
        # Damaged EXIF is common, and without it the picture is still one.
        logger.info("EXIF data could not be read: %r", error)
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow clips these modes at 255. The high byte is what it takes of 16-bit colour.
    values = np.asarray(image).clip(0, 2**16 - 1)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if key is not None:
        grey.putalpha(Image.fromarray((values != key).astype(np.uint8) * 255))
    return grey
