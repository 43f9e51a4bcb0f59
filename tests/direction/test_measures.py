"""The measures rise with what they are named after, and stay where they should."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from krea_studio.direction import measures
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene


@pytest.fixture(scope="module")
def poster() -> Image.Image:
    return render(random_scene(5), 256, 256)


def stripes(angle_degrees: float, count: int = 12) -> Image.Image:
    """Dark bars that fall from left to right by an angle."""
    picture = Image.new("RGB", (512, 512), "white")
    pen = ImageDraw.Draw(picture)
    fall = np.tan(np.radians(angle_degrees)) * 1024
    for k in range(-count, 2 * count):
        top = k * 512 / count
        pen.line([(-256, top - fall / 4), (768, top + fall * 3 / 4)], fill="black", width=10)
    return picture


def test_colourfulness_is_that_of_the_paper() -> None:
    assert measures.colourfulness(Image.new("RGB", (64, 64), (90, 90, 90))) == 0
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    assert measures.colourfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))


@pytest.mark.parametrize("strength", [0.3, 0.7, 1.4])
def test_colourfulness_follows_saturation(poster: Image.Image, strength: float) -> None:
    changed = measures.colourfulness(ImageEnhance.Color(poster).enhance(strength))
    assert (changed > measures.colourfulness(poster)) == (strength > 1)


def test_contrast_and_edges_fall_when_a_picture_fades(poster: Image.Image) -> None:
    faded = ImageEnhance.Contrast(poster).enhance(0.4)
    assert measures.contrast(faded) < 0.6 * measures.contrast(poster)
    assert measures.edge_density(faded) < measures.edge_density(poster)


def test_edges_and_shapes_grow_with_their_number() -> None:
    few, many = stripes(0, 4), stripes(0, 16)
    assert measures.edge_density(many) == pytest.approx(4 * measures.edge_density(few), rel=0.25)
    assert measures.shapes(few) < measures.shapes(many)
    assert measures.edge_density(Image.new("RGB", (64, 64), "red")) == 0
    assert measures.shapes(Image.new("RGB", (64, 64), "red")) == 1


@pytest.mark.parametrize(("angle", "share"), [(0, 0), (15, 1), (-15, 0), (50, 0), (90 - 1, 0)])
def test_tilt_sees_edges_that_fall_a_little(angle: float, share: float) -> None:
    assert measures.tilt(stripes(angle)) == pytest.approx(share, abs=0.1)


def test_anisotropy_of_stripes_and_of_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    assert measures.anisotropy(stripes(30)) > 0.9
    assert measures.anisotropy(Image.fromarray(noise)) < 0.1


def test_layout_is_kept_by_itself_and_lost_by_turning(poster: Image.Image) -> None:
    assert measures.layout_correlation(poster, poster) == pytest.approx(1)
    assert measures.layout_correlation(poster, ImageEnhance.Color(poster).enhance(0.2)) > 0.95
    assert measures.layout_correlation(poster, poster.rotate(180)) < 0.7


@pytest.mark.parametrize("measure", [*measures.MEASURES.values(), *measures.SECONDARY.values()])
def test_size_hardly_matters(poster: Image.Image, measure) -> None:
    large = render(random_scene(5), 1024, 1024)
    assert measure(large) == pytest.approx(measure(large.resize((512, 512), Image.Resampling.BOX)), rel=0.02)
