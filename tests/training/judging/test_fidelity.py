"""The measures of likeness: what a perfect picture, a blurred one and a blocky one come to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from krea_studio.training.checkpoints import patches
from krea_studio.training.judging import fidelity
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import STYLES, random_scene


def levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32)


@pytest.fixture(scope="module", params=STYLES)
def drawing(request) -> Image.Image:
    return render(dataclasses.replace(random_scene(8), style=request.param), 320, 256)


def test_the_drawing_itself_is_perfect(drawing):
    own = levels(drawing)
    assert fidelity.error(own, own) == 0 and fidelity.sharpness(own, own) == 1


def test_blur_lowers_sharpness_and_is_an_error(drawing):
    own = levels(drawing)
    found = [levels(drawing.filter(ImageFilter.GaussianBlur(radius))) for radius in (0.7, 1.5, 4)]
    sharp = [fidelity.sharpness(f, own) for f in found]
    assert 1 > sharp[0] > sharp[1] > sharp[2] and sharp[1] < 0.75
    assert fidelity.error(found[0], own) < fidelity.error(found[2], own)


def test_noise_elsewhere_does_not_count_as_sharpness():
    plain = np.full((64, 64, 3), 100.0, np.float32)
    edged = plain.copy()
    edged[:, 32:] = 200
    noisy = plain + np.random.default_rng(0).normal(0, 20, (64, 64, 1)).astype(np.float32)
    assert fidelity.sharpness(edged, edged) == 1 and fidelity.sharpness(noisy, edged) < 0.45


def test_pictures_in_blocks_are_blocky_and_blurred_ones_are_not():
    blocky, blurred = [], []
    for seed in range(6):
        picture = render(dataclasses.replace(random_scene(seed), style="flat"), 512, 512)
        drawing = levels(picture)
        blocks = drawing.reshape(16, 32, 16, 32, 3).mean((1, 3), keepdims=True)
        mixed = 0.7 * drawing + 0.3 * np.broadcast_to(blocks, (16, 32, 16, 32, 3)).reshape(512, 512, 3)
        own = fidelity.blockiness(drawing)
        blocky.append(fidelity.blockiness(mixed) / own)
        blurred.append(fidelity.blockiness(levels(picture.filter(ImageFilter.GaussianBlur(2)))) / own)
    assert min(blocky) > 1.3 and 0.9 < np.median(blurred) < 1.1


def test_the_nearest_subject_is_the_right_one_through_some_blur():
    for seed in range(6):
        scene = random_scene(seed)
        picture = render(scene, 256, 256)
        assert fidelity.nearest_subject(picture, scene) == scene.subject
        assert fidelity.nearest_subject(picture.filter(ImageFilter.GaussianBlur(4)), scene) == scene.subject


def test_the_noise_is_that_of_the_pipeline():
    latents = torch.randn((1, 6, 24, 32), generator=torch.Generator().manual_seed(9))
    assert torch.equal(fidelity.noise_of(9, 256, 192), patches.pack(latents)[0])
