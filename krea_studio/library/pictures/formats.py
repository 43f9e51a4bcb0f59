"""Every kind of picture file that is taken in, a row each: how it is known, opened, and asked for its colours.

A row hands a file to one decoder and to none else that Pillow has. Only the header is read here; what it promises is
for the loader to check.
"""

import io
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from krea_studio.errors import InvalidRequest
from krea_studio.library.pictures import containers
from krea_studio.library.pictures.colour import (
    ADOBE_RGB,
    BT709,
    Chromaticities,
    Curve,
    Source,
    Space,
    power,
    srgb_curve,
)
from krea_studio.validation import shown

MAX_JPEG_SCANS = 100
"""A progressive JPEG goes over all its pixels once a scan, and a scan can be a few bytes long; usual are ten."""
SRGB_GAMMA = 1 / 2.2
UNREADABLE: Source = b""
"""Stands for colours that a file tells, but not so that they can be read."""

logger = logging.getLogger(__name__)

Opened = tuple[ImageFile, list[Source]]
"""A picture of which nothing but the header is read yet, and what its file says of its colours, by precedence."""


@dataclass(frozen=True)
class Format:
    """One kind of file: its name, the endings that its files have, what is to be told of it.

    `knows` says by a file's bytes whether it is one. `open` gives its picture; it is told the name by which people know
    the file, raises InvalidRequest for what it refuses, and whatever its decoder raises for a damaged one.
    """

    name: str
    endings: tuple[str, ...]
    told: str
    knows: Callable[[bytes], bool]
    open: Callable[[bytes, str], Opened]


def _open_png(content: bytes, name: str) -> Opened:
    try:
        plain, colours = containers.plain_png(content)
    except containers.TooManyParts:
        raise too_long(name) from None
    return PngImageFile(io.BytesIO(plain)), _png_sources(colours)


def _png_sources(chunks: dict[bytes, bytes]) -> list[Source]:
    """What a PNG says of its colours, in the order of its specification (third edition, section 4.3)."""
    sources: list[Source] = []
    coded = chunks.get(b"cICP")
    if coded is not None:
        # No matrix, and the full range: what a PNG of RGB can have.
        sources += _coded(coded[0], coded[1]) if len(coded) == 4 and coded[2:] == b"\0\1" else [UNREADABLE]
    if b"iCCP" in chunks:
        packed = chunks[b"iCCP"].partition(b"\0")[2][1:]
        try:
            sources.append(containers.unpacked(packed, containers.MAX_PROFILE_BYTES))
        except ValueError:
            sources.append(UNREADABLE)
    if b"sRGB" in chunks:
        sources.append(Space(BT709, srgb_curve))
    gamma, primaries = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if len(gamma) == 4 or len(primaries) == 32:
        sources.append(_measured(gamma, primaries))
    return sources


def _measured(gamma: bytes, primaries: bytes) -> Source:
    """The space of a PNG's gAMA and cHRM chunks; sRGB stands in for one that is missing."""
    chromaticities: Chromaticities = BT709
    curve: Curve = srgb_curve
    if len(primaries) == 32:
        white_x, white_y, *rgb = (value / 100_000 for value in struct.unpack(">8I", primaries))
        if not np.allclose((*rgb, white_x, white_y), BT709, atol=0.001):
            chromaticities = (*rgb, white_x, white_y)
    if len(gamma) == 4:
        exponent = int.from_bytes(gamma, "big") / 100_000
        if not 0.1 <= exponent <= 10:
            return UNREADABLE
        # Writers of sRGB pictures put this number for its curve, which is no power.
        if chromaticities != BT709 or abs(exponent - SRGB_GAMMA) > 0.001:
            curve = power(1 / exponent)
    return Space(chromaticities, curve)


def _open_jpeg(content: bytes, name: str) -> Opened:
    end, scans = containers.jpeg_extent(content)
    if scans > MAX_JPEG_SCANS:
        raise too_long(name)
    # The class itself: Pillow's `open` would hand a phone's JPEG of several pictures to yet another decoder.
    image = JpegImageFile(io.BytesIO(content[:end]))
    sources = _profile_in(image)
    if not sources and _says_adobe_rgb(image):
        sources = [Space(ADOBE_RGB, power(2.2))]
    return image, sources


def _says_adobe_rgb(image: ImageFile) -> bool:
    """Whether a camera says so as DCF 2.0 has it: by an index in the EXIF data, and without a profile."""
    try:
        return image.getexif().get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex) == "R03"
    except Exception as error:
        # Damaged EXIF is common, and without it the picture is still one.
        logger.info("EXIF data could not be read: %r", error)
        return False


def _open_webp(content: bytes, name: str) -> Opened:
    image = WebPImageFile(io.BytesIO(content))
    return image, _profile_in(image)


def _open_avif(content: bytes, name: str) -> Opened:
    image = AvifImageFile(io.BytesIO(content))
    # The container says how the picture is turned; that its XMP may say it too does not count.
    image.info.pop("xmp", None)
    sources = _profile_in(image)
    if not sources:
        try:
            # Pillow does not tell the code points; libheif reads them without decoding.
            sources = _code_points(_heif(content))
        except Exception as error:
            logger.info("The code points of %s could not be read: %r", shown(name), error)
    return image, sources


def _open_heic(content: bytes, name: str) -> Opened:
    if not containers.brands(content) & containers.HEIC_BRANDS:
        raise InvalidRequest(f"{shown(name)} is a sequence of pictures — save one of them as a picture and give that")
    image = _heif(content)
    image.info.pop("xmp", None)
    return image, _profile_in(image) or _code_points(image)


def _heif(content: bytes) -> ImageFile:
    # Most pictures are none, and this takes a moment.
    from pillow_heif import HeifImageFile

    return HeifImageFile(io.BytesIO(content))


def _code_points(image: ImageFile) -> list[Source]:
    said = image.info.get("nclx_profile")
    return _coded(said["color_primaries"], said["transfer_characteristics"]) if said else []


def _coded(primaries: int, transfer: int) -> list[Source]:
    try:
        return [Space.coded(primaries, transfer)]
    except ValueError:
        return [UNREADABLE]


def _profile_in(image: Image.Image) -> list[Source]:
    profile = image.info.get("icc_profile")
    if not profile:
        return []
    return [profile if len(profile) <= containers.MAX_PROFILE_BYTES else UNREADABLE]


def too_long(name: str) -> InvalidRequest:
    """The refusal of a picture whose decoding would hold others up."""
    return InvalidRequest(f"{shown(name)} would take too long to decode — save it again with another program")


FORMATS = (
    Format(
        "PNG",
        (".png",),
        "8 and 16 bits, palettes; colours by cICP, iCCP, sRGB, or gAMA and cHRM, in this order; other texts and "
        "chunks are passed over",
        lambda content: content.startswith(containers.PNG_SIGNATURE),
        _open_png,
    ),
    Format(
        "JPEG",
        (".jpg", ".jpeg"),
        f"up to {MAX_JPEG_SCANS} scans; RGB, grey and CMYK; of a motion photo its picture, of several pictures the "
        "first; colours by profile, or as Adobe RGB where a camera's EXIF data say so",
        lambda content: content.startswith(b"\xff\xd8\xff"),
        _open_jpeg,
    ),
    Format(
        "WebP",
        (".webp",),
        "with and without loss; colours by profile",
        lambda content: content.startswith(b"RIFF") and content[8:12] == b"WEBP",
        _open_webp,
    ),
    Format(
        "AVIF",
        (".avif",),
        "8, 10 and 12 bits; colours by profile, or else by code points",
        lambda content: bool(containers.brands(content) & containers.AVIF_BRANDS),
        _open_avif,
    ),
    Format(
        "HEIC",
        (".heic", ".heif", ".hif"),
        "8, 10 and 12 bits; of several pictures the main one; colours by profile, or else by code points",
        lambda content: bool(containers.brands(content) & (containers.HEIC_BRANDS | containers.HEIC_SEQUENCE_BRANDS)),
        _open_heic,
    ),
)
"""Page, command line and documentation name these. An AVIF has HEIC's general brand too, so it is asked for first."""

ENDINGS = tuple(ending for each in FORMATS for ending in each.endings)
KINDS = f"{', '.join(each.name for each in FORMATS[:-1])} or {FORMATS[-1].name}"
WANTED = f"a {KINDS} picture"
