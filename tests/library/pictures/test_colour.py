"""Colours that a file tells in its own terms are the same colours in sRGB; what cannot be used changes none."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from krea_studio.library.pictures.colour import (
    ADOBE_RGB,
    BT709,
    CURVES,
    PAPER_WHITE_NITS,
    PRIMARIES,
    Source,
    Space,
    power,
    srgb_curve,
    to_srgb,
)

# Linear RGB to XYZ, from CSS Color Module Level 4.
SRGB_TO_XYZ = np.array(
    (
        (0.41239079926595934, 0.357584339383878, 0.1804807884018343),
        (0.21263900587151027, 0.715168678767756, 0.07219231536073371),
        (0.01933081871559182, 0.11919477979462598, 0.9505321522496607),
    )
)
P3_TO_XYZ = np.array(
    (
        (0.4865709486482162, 0.26566769316909306, 0.1982172852343625),
        (0.2289745640697488, 0.6917385218365064, 0.079286914093745),
        (0.0, 0.04511338185890264, 1.043944368900976),
    )
)
ADOBE_TO_XYZ = np.array(
    (
        (0.5766690429101305, 0.1855582379065463, 0.1882286462349947),
        (0.29734497525053605, 0.6273635662554661, 0.07529145849399788),
        (0.02703136138641234, 0.07068885253582723, 0.9913375368376388),
    )
)
BT2020_TO_XYZ = np.array(
    (
        (0.6369580483012914, 0.14461690358620832, 0.1688809751641721),
        (0.2627002120112671, 0.6779980715188708, 0.05930171646986196),
        (0.0, 0.028072693049087428, 1.060985057710791),
    )
)
COLOURS = [(40, 160, 120), (200, 90, 60), (120, 120, 120), (250, 240, 220), (30, 20, 60), (0, 0, 0), (255, 255, 255)]
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def same_colour(colour: tuple[int, int, int], to_xyz: np.ndarray, encode: object) -> tuple[int, ...]:
    """The values that a colour of sRGB has in another space, of this matrix and encoding."""
    linear = np.linalg.solve(to_xyz, SRGB_TO_XYZ @ srgb_curve(np.array(colour) / 255))
    return tuple(int(value) for value in np.rint(255 * encode(linear.clip(0, 1))))


def converted(image: Image.Image, *sources: Source) -> tuple[tuple[int, int, int], list[str]]:
    told: list[str] = []
    return to_srgb(image, sources, told.append).getpixel((0, 0)), told


def lut_profile(space: bytes, corners: np.ndarray) -> bytes:
    """A profile of a printer with a table of two points a channel: `corners` has L, a and b, 0…255, for each."""
    channels = 4 if space == b"CMYK" else 3
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((channels, 3, 2, 0)) + struct.pack(">9i", *(65536 * (k % 4 == 0) for k in range(9)))
    table += identity * channels + corners.astype(np.uint8).tobytes() + identity * 3
    text = b"text\0\0\0\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\1" + bytes(79), b"cprt": text, b"wtpt": white, b"A2B0": table}
    start, directory, body = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        directory += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, b"prtr", space, b"Lab ", b"acsp")
    head = (head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + directory + body


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("space", "to_xyz", "encode"),
    [
        (Space.coded(12, 13), P3_TO_XYZ, encoded_srgb),
        (Space(ADOBE_RGB, power(2.2)), ADOBE_TO_XYZ, lambda linear: linear ** (1 / 2.2)),
        (Space.coded(9, 13), BT2020_TO_XYZ, encoded_srgb),
        (Space.coded(9, 8), BT2020_TO_XYZ, lambda linear: linear),
        (Space.coded(1, 4), SRGB_TO_XYZ, lambda linear: linear ** (1 / 2.2)),
    ],
    ids=["Display P3", "Adobe RGB", "BT.2020", "linear BT.2020", "gamma 2.2"],
)
def test_a_colour_of_another_space_is_the_same_colour(
    colour: tuple[int, int, int], space: Space, to_xyz: np.ndarray, encode: object
) -> None:
    there = same_colour(colour, to_xyz, encode)
    here, told = converted(Image.new("RGB", (4, 4), there), space)
    # A step of 8 bits in a linear space is up to 13 of sRGB in the shadows.
    coarse = space.curve(np.array(1 / 255)) >= 1 / 255
    assert np.abs(np.subtract(here, colour)).max() <= (13 if coarse and min(colour) < 80 else 3) and told == []


@pytest.mark.parametrize(("primaries", "curve"), [*((each, 13) for each in PRIMARIES), *((9, each) for each in CURVES)])
def test_every_space_that_is_known_keeps_black_grey_and_the_order_of_greys(primaries: int, curve: int) -> None:
    space = Space.coded(primaries, curve)
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    told: list[str] = []
    values = np.asarray(to_srgb(ramp, [space], told.append))[0].astype(int)
    assert told == [] and values[0].max() <= 1
    assert np.ptp(values, axis=1).max() <= 2, "a grey has no colour"
    assert (np.diff(values[:, 1]) >= -1).all() and values[255].min() >= 250


def pq(nits: float) -> int:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power_of = (nits / 10_000) ** m1
    return round(255 * ((c1 + c2 * power_of) / (1 + c3 * power_of)) ** m2)


def test_paper_white_of_high_dynamic_range_is_white_and_half_of_its_light_is_half() -> None:
    half = round(255 * float(encoded_srgb(np.array(0.5))))
    for primaries in (1, 9):
        for nits, wanted in ((PAPER_WHITE_NITS, 255), (PAPER_WHITE_NITS / 2, half), (1000, 255), (0, 0)):
            grey, _ = converted(Image.new("RGB", (4, 4), (pq(nits),) * 3), Space.coded(primaries, 16))
            assert max(abs(value - wanted) for value in grey) <= 4, nits
    # 75 % of hybrid log-gamma is 203 cd/m² on a screen of 1,000 (ITU-R BT.2408).
    grey, _ = converted(Image.new("RGB", (4, 4), (191,) * 3), Space.coded(9, 18))
    assert min(grey) >= 253


@pytest.mark.parametrize("source", [SRGB_PROFILE, Space(BT709, srgb_curve), Space.coded(1, 1), Space.coded(2, 2)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_that_are_srgb_already_stay_as_they_are(source: Source, mode: str) -> None:
    image = Image.effect_noise((64, 64), 90).convert(mode)
    told: list[str] = []
    assert to_srgb(image, [source], told.append).tobytes() == image.convert("RGB").tobytes() and told == []


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"private",
        bytes(128) + b"\xff" * 400,
        SRGB_PROFILE[:200],
        SRGB_PROFILE.replace(b"RGB ", b"CLR6", 1),
        lut_profile(b"CMYK", np.zeros((16, 3))),
        Space((0.3,) * 8, srgb_curve),
        Space((0.0,) * 8, srgb_curve),
    ],
    ids=["empty", "text", "noise", "cut", "six colours", "for CMYK", "no gamut", "no primaries"],
)
def test_what_cannot_be_used_is_told_and_changes_no_pixel(source: Source) -> None:
    here, told = converted(Image.new("RGB", (4, 4), (40, 160, 120)), source)
    assert here == (40, 160, 120) and len(told) == 1
    # The next one that the file has counts instead.
    there = same_colour((40, 160, 120), ADOBE_TO_XYZ, lambda linear: linear ** (1 / 2.2))
    here, told = converted(Image.new("RGB", (4, 4), there), source, Space(ADOBE_RGB, power(2.2)))
    assert np.abs(np.subtract(here, (40, 160, 120))).max() <= 3 and len(told) == 1


def test_a_code_point_that_nobody_knows_is_a_value_error() -> None:
    for primaries, transfer in ((3, 13), (1, 3), (200, 13), (1, 255)):
        with pytest.raises(ValueError, match="is not known"):
            Space.coded(primaries, transfer)


def test_inks_are_what_their_profile_says() -> None:
    # Paper at the corner without ink, black where there is black ink, and cyan of its own shade.
    corners = np.full((2, 2, 2, 2, 3), 128)
    corners[..., 0] = 0
    corners[..., 0, :] = (140, 128, 128)
    corners[0, 0, 0, 0] = (255, 128, 128)
    corners[1, 0, 0, 0] = (140, 90, 80)
    profile = lut_profile(b"CMYK", corners.reshape(16, 3))
    paper, told = converted(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), profile)
    cyan, _ = converted(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), profile)
    black, _ = converted(Image.new("CMYK", (4, 4), (0, 0, 0, 255)), profile)
    assert told == [] and min(paper) >= 253 and max(black) <= 3
    assert cyan != (0, 255, 255) and cyan[0] < cyan[1] < cyan[2]
    assert converted(Image.new("CMYK", (4, 4), (255, 0, 0, 0)))[0] == (0, 255, 255), "Pillow's own, without one"


def test_lab_is_what_it_says() -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (40, 160, 120)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    here, _ = converted(lab)
    assert np.abs(np.subtract(here, (40, 160, 120))).max() <= 3


def grey_profile(gamma: float) -> bytes:
    """That of a grey picture: Space's own with a grey curve in place of a matrix."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\1" + bytes(79), b"cprt": b"text\0\0\0\0\0", b"wtpt": white, b"kTRC": curve}
    start, directory, body = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        directory += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head = (head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + directory + body


def test_a_grey_profile_serves_grey_pictures_of_any_mode_and_no_other() -> None:
    linear = grey_profile(1.0)
    for image in (Image.new("L", (4, 4), 128), Image.new("RGB", (4, 4), (128, 127, 129))):
        here, told = converted(image, linear)
        assert max(abs(value - 188) for value in here) <= 2 and told == []
    here, told = converted(Image.new("RGB", (4, 4), (40, 160, 120)), linear)
    assert here == (40, 160, 120) and len(told) == 1


def test_a_profile_for_colours_serves_grey_pictures() -> None:
    here, told = converted(Image.new("L", (4, 4), 128), Space.coded(9, 8).profile())
    assert max(abs(value - 188) for value in here) <= 2 and told == []


def test_what_is_written_as_a_profile_is_one_that_others_read() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(Space.coded(12, 13).profile())).profile
    assert profile.xcolor_space.strip() == "RGB" and profile.is_matrix_shaper
    red = profile.red_primary[1][:2]
    # Display P3 has its red there when it is adapted to D50.
    assert np.abs(np.subtract(red, (0.6798, 0.3202))).max() < 0.01
