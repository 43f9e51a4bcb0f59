"""What lies where in a scene, as numbers of each token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from krea_studio.training.world import regions
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import PALETTES, STYLES, SUBJECTS, random_scene

SCENE = random_scene(11)
SLOTS = len(regions.ROLES)


def quarters(scene, width, height, slot):
    """One slot's coverages as a map of half tokens."""
    found = regions.of_scene(scene, width, height)[:, slot * regions.QUARTERS : (slot + 1) * regions.QUARTERS]
    rows, columns = height // regions.SIDE, width // regions.SIDE
    return found.reshape(rows, columns, 2, 2).transpose(0, 2, 1, 3).reshape(2 * rows, 2 * columns)


@pytest.mark.parametrize("size", [(1024, 1024), (1568, 672), (448, 576)])
@pytest.mark.parametrize("seed", range(3))
def test_every_quarter_is_covered_once(size, seed):
    found = regions.of_scene(random_scene(seed), *size)
    assert found.shape == (size[0] * size[1] // regions.SIDE**2, regions.COUNT) and np.isfinite(found).all()
    covered = found[:, : SLOTS * regions.QUARTERS].reshape(len(found), SLOTS, regions.QUARTERS).sum(1)
    assert np.allclose(covered, 1, atol=1e-4)


def test_colours_and_styles_change_nothing_and_all_else_does():
    plain = regions.of_scene(SCENE, 512, 512)
    for name, values in {"palette": PALETTES, "style": STYLES, "vividness": (0.0, 1.0)}.items():
        for value in values:
            assert np.array_equal(regions.of_scene(replace(SCENE, **{name: value}), 512, 512), plain), name
    others = {"setting": "mountains", "sky": "moon", "density": 1.0, "motion": 1.0, "subject": "whale"}
    for name, value in others.items():
        base = replace(SCENE, setting="plain", sky="sun", density=0.0, motion=0.0, subject="cat")
        assert not np.array_equal(
            regions.of_scene(replace(base, **{name: value}), 512, 512), regions.of_scene(base, 512, 512)
        ), name


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_covers_where_it_is_drawn(subject):
    """Of one scene with two subjects, pictures differ where one of them covers something."""
    other = "cat" if subject != "cat" else "whale"
    scenes = [replace(SCENE, style="flat", subject=name, setting="plain") for name in (subject, other)]
    pictures = [np.asarray(render(scene, 512, 512), np.int16) for scene in scenes]
    differ = np.abs(pictures[0] - pictures[1]).sum(-1).reshape(32, 16, 32, 16).max((1, 3)) > 30
    cover = np.maximum(*(quarters(scene, 512, 512, SLOTS) for scene in scenes))
    assert differ.sum() > 20 and cover[differ].min() > 0.005
    assert not differ[cover < 0.001].any()


def test_a_role_covers_what_has_its_colour():
    """In a flat picture, a quarter that one land covers wholly has this land's colour."""
    scene = replace(SCENE, style="flat", setting="hills", density=0.0, motion=0.0)
    pixels = np.asarray(render(scene, 512, 512), np.int16)
    for land in range(3):
        whole = quarters(scene, 512, 512, regions.ROLES.index(f"land {land}")) > 0.9999
        colours = {tuple(pixels[16 * r + 8, 16 * c + 8]) for r, c in zip(*np.nonzero(whole), strict=True)}
        assert len(colours) == 1 and whole.sum() > 5
