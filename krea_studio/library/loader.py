"""The one way by which a stranger's picture comes in: bytes → an RGB picture without metadata.

The file is hostile until it is decoded. Its first bytes choose one of three decoders and no other one sees it; what its
header promises is checked before any pixel is decoded; and whatever a decoder raises comes out as a refusal. Pillow's
own limit on pixels is a setting of the whole process and is not relied on.
"""

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.files import read_given
from krea_studio.validation import shown

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 32
MAX_JPEG_SCANS = 100
WANTED = "a PNG, JPEG or WebP picture"

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
"""The largest picture takes 700 MB while it is decoded, and any number may be sent at once: others wait."""

logger = logging.getLogger(__name__)

_decoding = threading.Semaphore(DECODED_AT_ONCE)


def load_picture(path: Path | str) -> Image.Image:
    """The picture in a PNG, JPEG or WebP file: RGB, upright, transparency on white, no metadata.

    Raises InvalidRequest for anything else: a file that is missing, damaged, animated, of more than MAX_FILE_BYTES or
    MAX_PIXELS, or with a side of less than MIN_SIDE_PX; StorageError where the file cannot be read.
    """
    return load_picture_bytes(read_given(path, MAX_FILE_BYTES, WANTED), Path(path).name)


def load_picture_bytes(content: bytes, name: str) -> Image.Image:
    """`load_picture` for a file that was read already; `name` is what people know it by.

    Waits while DECODED_AT_ONCE others are being decoded.
    """
    with _opened(content, name) as image:
        image.load()
        return plain_rgb(image)


def picture_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height that the header of such a file promises, before any pixel is decoded. Raises InvalidRequest."""
    with _opened(content, name) as image:
        return image.size


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[ImageFile]:
    """The picture in a file, its header checked; what goes wrong with it is raised as InvalidRequest."""
    if len(content) > MAX_FILE_BYTES:
        raise InvalidRequest(f"{shown(name)} has more than {MAX_FILE_BYTES:,} bytes — give a smaller file")
    decoder = _decoder(content)
    if not decoder:
        raise InvalidRequest(f"{shown(name)} is not {WANTED} — save it as one of these")
    try:
        with _decoding, decoder(io.BytesIO(content)) as image:
            _check_header(image, content, name)
            yield image
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
    width, height = size
    if width * height > MAX_PIXELS:
        raise InvalidRequest(f"{shown(name)} has {width:,} × {height:,} pixels — give at most {MAX_PIXELS:,} in all")
    if min(size) < MIN_SIDE_PX:
        raise InvalidRequest(f"{shown(name)} has {width:,} × {height:,} pixels — give at least {MIN_SIDE_PX} a side")


def plain_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB: upright, transparency on white, 16 bits scaled to 8, and no metadata."""
    turn = TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        plain = Image.new("RGB", image.size, "white")
        plain.paste(image, mask=image)
    else:
        plain = image.convert("RGB")
    if turn is not None:
        plain = plain.transpose(turn)
    plain.info = {}
    return plain


def _decoder(content: bytes) -> type[ImageFile] | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if content.startswith(b"\xff\xd8\xff"):
        # The class itself: Pillow's `open` would hand a phone's JPEG of several pictures to yet another decoder.
        return JpegImageFile
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return WebPImageFile
    return None


def _check_header(image: ImageFile, content: bytes, name: str) -> None:
    check_size(image.size, name)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InvalidRequest(
            f"{shown(name)} is animated ({frames:,} frames) — save one of its frames as a picture and give that"
        )
    # A progressive JPEG goes over all its pixels once a scan, and a scan can be a few bytes long; usual are ten.
    if isinstance(image, JpegImageFile) and content.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise InvalidRequest(f"{shown(name)} would take too long to decode — save it again with another program")


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
