"""Distances between looks: zero between equals, blind to size, and larger for what looks more different."""

import numpy as np
import pytest
from PIL import Image

from krea_studio.direction.looks import Look, content_correlation, lab, palette_distance, rgb, texture_distance

DISTANCES = (palette_distance, texture_distance)


def noise(seed: int, low: int = 0, high: int = 256) -> Image.Image:
    values = np.random.default_rng(seed).integers(low, high, (64, 96, 3), np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((255, 255, 255), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20))],
)
def test_known_colours(colour: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    assert lab(Image.new("RGB", (1, 1), colour))[0, 0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("colour", [(200, 30, 90), (3, 250, 128), (17, 17, 17)])
def test_colours_come_back(colour: tuple[int, int, int]) -> None:
    assert rgb(lab(Image.new("RGB", (1, 1), colour))[0, 0]) == colour


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_distance_is_one(distance) -> None:
    first, second = Look(noise(0)), Look(Image.new("RGB", (40, 40), (200, 60, 20)))
    assert distance(first, first) == 0
    assert distance(first, second) == pytest.approx(distance(second, first))
    assert distance(first, second) > 0


def test_colours_count_and_places_do_not() -> None:
    halves = Image.new("RGB", (80, 80), (220, 40, 40))
    halves.paste((30, 30, 200), (0, 0, 80, 40))
    look = Look(halves)
    assert palette_distance(look, Look(halves.transpose(Image.Transpose.ROTATE_90))) < 0.5
    assert palette_distance(look, Look(halves.resize((200, 120)))) < 1.5
    assert palette_distance(look, Look(Image.new("RGB", (80, 80), (220, 40, 40)))) > 10


def test_texture_is_more_than_colour() -> None:
    flat, rough, less = Look(Image.new("RGB", (96, 64), (128, 128, 128))), Look(noise(0)), Look(noise(1, 40, 216))
    assert texture_distance(flat, rough) > texture_distance(rough, less) > 0
    assert texture_distance(flat, Look(Image.new("RGB", (96, 64), (250, 0, 0)))) == 0


def test_a_copied_layout_correlates() -> None:
    picture = noise(3).resize((8, 8)).resize((64, 64))
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    assert content_correlation(picture, picture) == pytest.approx(1)
    assert abs(content_correlation(picture, turned)) < 0.5
