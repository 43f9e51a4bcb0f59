"""What a picture file says of its colours, and how they become sRGB.

A file tells them by an ICC profile, or by numbers: primaries, white point and transfer curve. Numbers are written as a
profile of the same meaning, so LittleCMS converts all of them, relative to the white points and with black kept black.
The code points are those of ITU-T H.273, which cICP chunks and nclx boxes use. High dynamic range comes down to what
paper white is: 203 cd/m² (ITU-R BT.2408), and what is brighter is white.
"""

import io
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Chromaticities = tuple[float, ...]
"""x and y of red, green, blue and white."""

PAPER_WHITE_NITS = 203
CURVE_POINTS = 4096
SMALLEST_GAMUT = 1e-4
"""The least determinant of three primaries; that of sRGB is 0.22."""
LARGEST_COLOUR = 4
"""Of X, Y and Z of a primary, white being 1; a profile cannot say more than 32,767."""
NEARLY_GREY = 8
"""Channels that differ by no more are those of a grey picture, compressed with loss."""
ROUNDING = 1
"""A conversion that changes no colour by more is left out, so that pixels which are sRGB already stay as they are."""

D50 = np.array((0.96422, 1.0, 0.82521))
BRADFORD = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))
MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
"""Which mode a profile of each colour space converts."""


def srgb_curve(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's own (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def power(gamma: float) -> Curve:
    """A curve that is a power alone."""
    return lambda value: value**gamma


def pq_curve(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Perceptual quantizer (SMPTE ST 2084), 1 at paper white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = value ** (1 / m2)
    return (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10_000 / PAPER_WHITE_NITS


def hlg_curve(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hybrid log-gamma (ITU-R BT.2100) on a screen of 1,000 cd/m², 1 at paper white; the channels each by itself."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    return scene**1.2 * 1_000 / PAPER_WHITE_NITS


def cinema_curve(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Digital cinema's (SMPTE ST 428-1)."""
    return value**2.6 * 52.37 / 48


D65 = (0.3127, 0.329)
ILLUMINANT_C = (0.31, 0.316)
BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65)
PRIMARIES: dict[int, Chromaticities] = {
    1: BT709,
    2: BT709,  # not specified
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *ILLUMINANT_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *D65),
    7: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *ILLUMINANT_C),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *D65),
    22: (0.63, 0.34, 0.295, 0.605, 0.155, 0.077, *D65),
}
CURVES: dict[int, Curve] = {
    # The cameras' curves of BT.709, 601 and 2020 say how light became numbers. Shown are those as sRGB's are.
    **dict.fromkeys((1, 2, 6, 7, 11, 12, 13, 14, 15), srgb_curve),
    4: power(2.2),
    5: power(2.8),
    8: power(1.0),
    16: pq_curve,
    17: cinema_curve,
    18: hlg_curve,
}


@dataclass(frozen=True)
class Space:
    """The colours of an RGB or grey picture in numbers; `profile` has the same meaning."""

    chromaticities: Chromaticities
    curve: Curve

    @classmethod
    def coded(cls, primaries: int, transfer: int) -> "Space":
        """The space of these code points. Raises ValueError for one that is not known here."""
        try:
            return cls(PRIMARIES[primaries], CURVES[transfer])
        except KeyError as error:
            raise ValueError(f"the code point {error} is not known") from None

    @property
    def is_srgb(self) -> bool:
        """Whether there is nothing to convert."""
        return self.chromaticities == BT709 and self.curve is srgb_curve

    def profile(self) -> bytes:
        """An ICC profile (version 2) with a matrix and one curve. Raises ValueError for primaries that span nothing."""
        pairs = zip(self.chromaticities[::2], self.chromaticities[1::2], strict=True)
        *rgb, white = (np.array((x, y, 1 - x - y)) for x, y in pairs)
        columns = np.array(rgb).T
        if white[1] <= 0 or abs(np.linalg.det(columns)) < SMALLEST_GAMUT:
            raise ValueError("primaries that span no colours")
        white = white / white[1]
        adapted = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD
        matrix = adapted @ (columns * np.linalg.solve(columns, white))
        if np.abs(matrix).max() > LARGEST_COLOUR:
            raise ValueError("primaries that are no colours")
        points = self.curve(np.linspace(0, 1, CURVE_POINTS)).clip(0, 1)
        curve = b"curv\0\0\0\0" + struct.pack(">I", CURVE_POINTS) + np.rint(points * 65535).astype(">u2").tobytes()
        tags = {
            b"desc": b"desc\0\0\0\0" + struct.pack(">I", 1) + bytes(79),
            b"cprt": b"text\0\0\0\0\0",
            b"wtpt": _xyz(D50),
            **{tag: _xyz(column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)},
            **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
        }
        return _icc(tags)


Source = bytes | Space
"""What a file says of its colours: an ICC profile, or a space in numbers."""


def to_srgb(image: Image.Image, sources: Iterable[Source], unusable: Callable[[str], object]) -> Image.Image:
    """A picture of mode L, RGB, CMYK or LAB as RGB in sRGB.

    The first source that can be used counts; `unusable` hears why one cannot. Without any, a picture is taken as sRGB,
    and CMYK as Pillow does.
    """
    for source in sources:
        if isinstance(source, Space) and source.is_srgb:
            break
        try:
            return _converted(image, source if isinstance(source, bytes) else source.profile())
        except (ValueError, TypeError, OSError, ImageCms.PyCMSError) as error:
            unusable(str(error))
    if image.mode == "LAB":
        return _transformed(image, _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB"))
    return image.convert("RGB")


def _converted(image: Image.Image, content: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
    mode = MODES.get(profile.profile.xcolor_space)
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    elif mode == "L" and image.mode == "RGB" and _is_grey(image):
        image = image.convert("L")
    if mode != image.mode:
        raise ValueError(f"a profile for {profile.profile.xcolor_space.strip()} does not fit {image.mode}")
    transform = _transform(profile, mode)
    probe = _all_colours(mode)
    if probe is not None and _apart(probe.convert("RGB"), _transformed(probe, transform)) <= ROUNDING:
        return image.convert("RGB")
    return _transformed(image, transform)


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _transformed(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    done = ImageCms.applyTransform(image, transform)
    assert done is not None, "only a conversion in place gives nothing back"
    return done


def _all_colours(mode: str) -> Image.Image | None:
    """A small picture with colours from everywhere; None for a mode whose values are not those of RGB."""
    if mode not in ("L", "RGB"):
        return None
    levels = np.linspace(0, 255, 256 if mode == "L" else 17).astype(np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(17, 17 * 17, 3))


def _apart(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures of 8 bits in any value."""
    return int(np.asarray(ImageChops.difference(one, other)).max())


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return all(_apart(red, other) <= NEARLY_GREY for other in (green, blue))


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _icc(tags: dict[bytes, bytes]) -> bytes:
    """A profile file of a display with these tags; those of the same content share it."""
    places: dict[bytes, int] = {}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        place = places.setdefault(content, start + len(body))
        table += struct.pack(">4sII", tag, place, len(content))
        if place == start + len(body):
            body += content + bytes(-len(content) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head += struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head.ljust(128, b"\0") + table + body
