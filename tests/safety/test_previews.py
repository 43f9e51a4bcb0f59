"""Previews of what was not judged yet."""

import io

import numpy as np
import pytest
from PIL import Image

from krea_studio.safety.previews import SIDE_PX, blurred


def jpeg_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("size", [(256, 256), (320, 160), (96, 384)])
def test_what_is_finer_than_its_squares_is_gone_and_the_colours_stay(size: tuple[int, int]) -> None:
    width, height = size
    along = np.indices((height, width))[int(width >= height)]
    checks = (np.indices((height, width)).sum(0) // 2 % 2 * 255).astype(np.uint8)
    halves = np.where(along < max(size) // 2, 40, 200).astype(np.uint8)
    shown = opened(blurred(jpeg_of(Image.fromarray(np.stack([checks, halves, halves], axis=-1)))))
    assert shown.size == size and shown.format == "JPEG"
    found = np.asarray(shown.convert("RGB"), np.float32)
    assert found[..., 0].std() < 12, "no check of two pixels is left"
    first, last = along < max(size) // 16, along >= max(size) - max(size) // 16
    assert abs(found[first, 1].mean() - 40) < 25 and abs(found[last, 1].mean() - 200) < 25


def test_two_pictures_of_the_same_squares_look_the_same() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    coarse = noise.repeat(32, 0).repeat(32, 1)
    other = np.array(coarse)
    for y in range(0, len(other), 32):  # what is within a square is turned over
        other[y : y + 32] = other[y : y + 32][::-1]
    detail = np.indices(coarse.shape[:2])[0] % 32
    lines = np.where(detail[..., None] < 16, 20, -20)
    first = Image.fromarray((coarse.astype(int) // 2 + 60 + lines).astype(np.uint8))
    second = Image.fromarray((other.astype(int) // 2 + 60 - lines).astype(np.uint8))
    one, two = (np.asarray(opened(blurred(jpeg_of(each))), int) for each in (first, second))
    assert np.abs(one - two).mean() < 2
