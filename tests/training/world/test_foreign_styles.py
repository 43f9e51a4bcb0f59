"""The three rendering styles that the small world does not know, and that the six which it knows stay as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from krea_studio.direction.measures import colourfulness
from krea_studio.training.world import renderer
from krea_studio.training.world.foreign_styles import FOREIGN_STYLES, render
from krea_studio.training.world.scenes import LAYOUT_NAMES, STYLES, Layout, Scene, random_scene

FOX = Scene("fox", "candy", "flat", "hills", "sun", 0.5, 0.6, 0.2, seed=5)
# Mean grey of the quarters of a picture, by which the embedded checkpoints' own training pictures are known again.
KNOWN = {
    "papercut": [200.1, 203.2, 182.2, 179.1],
    "flat": [203.7, 207.2, 175.1, 170.8],
    "ink": [207.7, 214.3, 180.7, 181.1],
    "watercolor": [210.8, 217.6, 175.1, 174.1],
    "mosaic": [208.4, 211.1, 185.2, 182.0],
    "neon": [75.0, 67.2, 106.3, 91.6],
}


def pixels(scene: Scene, side: int = 128) -> np.ndarray:
    return np.asarray(render(scene, side, side), float)


def edges(picture: Image.Image) -> float:
    """Mean change of lightness from pixel to pixel."""
    grey = np.asarray(picture, float).mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def test_the_world_does_not_know_them() -> None:
    assert not set(FOREIGN_STYLES) & set(STYLES)
    assert {random_scene(k).style for k in range(200)} == set(STYLES)


@pytest.mark.parametrize("style", FOREIGN_STYLES)
def test_a_scene_is_a_picture_of_any_proportions(style: str) -> None:
    scene = replace(random_scene(3), style=style)
    for size in ((160, 96), (96, 160), (224, 96)):
        first, again = (render(scene, *size) for _ in range(2))
        assert first.size == size and first.tobytes() == again.tobytes()
    other = replace(scene, layout=Layout(*(1 - getattr(scene.layout, name) for name in LAYOUT_NAMES)))
    assert first.tobytes() != render(other, *size).tobytes()


@pytest.mark.parametrize("style", STYLES)
def test_the_known_styles_are_as_the_checkpoints_learned_them(style: str) -> None:
    scene = replace(FOX, style=style)
    picture = render(scene, 128, 128)
    assert picture.tobytes() == renderer.render(scene, 128, 128).tobytes()
    quarters = np.asarray(picture, float).reshape(2, 64, 2, 64, 3).mean((1, 3, 4)).flatten()
    assert quarters == pytest.approx(KNOWN[style], abs=0.5)


@pytest.mark.parametrize("palette", ["autumn", "ocean", "candy", "monochrome"])
def test_a_blueprint_is_blue_in_every_palette(palette: str) -> None:
    red, _, blue = pixels(replace(FOX, style="blueprint", palette=palette)).mean((0, 1))
    assert blue > red + 50


@pytest.mark.parametrize("palette", ["autumn", "ocean", "candy", "midnight"])
def test_a_woodcut_is_ink_on_paper_with_one_colour(palette: str) -> None:
    picture = pixels(replace(FOX, style="woodcut", palette=palette), 256)
    colours = [np.array(c) for c in ((26, 21, 22), (247, 237, 214))]
    ink, paper = (np.abs(picture - colour).max(-1) < 30 for colour in colours)
    assert ink.mean() > 0.2 and paper.mean() > 0.15
    rest = picture[~(ink | paper)]
    block = np.median(rest, 0)
    assert (np.abs(rest - block).max(-1) < 40).mean() > 0.5


@pytest.mark.parametrize("style", ["woodcut", "stained glass"])
def test_the_palette_shows(style: str) -> None:
    warm, cool = (pixels(replace(FOX, style=style, palette=palette)).mean((0, 1)) for palette in ("sunset", "ocean"))
    assert (warm - cool)[0] > 20 and (cool - warm)[2] > 20


def test_glass_is_set_in_dark_leads_and_glows() -> None:
    for seed in range(4):
        scene = replace(random_scene(seed), style="stained glass", palette="candy", vividness=0.7)
        glass = pixels(scene, 256)
        assert 0.12 < (glass.max(-1) < 80).mean() < 0.5
        assert np.percentile(glass.max(-1), 75) > 200


@pytest.mark.parametrize("style", FOREIGN_STYLES)
def test_density_and_vividness_raise_their_measures(style: str) -> None:
    scenes = [replace(random_scene(k), style=style, palette="candy", motion=0.0) for k in range(6)]
    for attribute, measure in (("density", edges), ("vividness", colourfulness)):
        low, high = (
            np.mean([measure(render(replace(scene, **{attribute: value}), 256, 256)) for scene in scenes])
            for value in (0.1, 0.9)
        )
        assert high > 1.1 * low, attribute
