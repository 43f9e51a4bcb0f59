"""The small world: scenes, pictures and captions."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krea_studio.recipe.aspect_ratios import size_of
from krea_studio.training.world.captions import (
    ATTRIBUTES,
    GRADE_WORDS,
    PALETTE_WORDS,
    SETTING_WORDS,
    SKY_WORDS,
    STYLE_WORDS,
    SUBJECT_WORDS,
    caption,
    grade,
    vocabulary,
)
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import (
    LAYOUT_NAMES,
    PALETTES,
    STYLES,
    SUBJECTS,
    Layout,
    Scene,
    is_held_out,
    random_scene,
)

WORDS = {
    "subject": SUBJECT_WORDS,
    "palette": PALETTE_WORDS,
    "style": STYLE_WORDS,
    "setting": SETTING_WORDS,
    "sky": SKY_WORDS,
}
PLAIN = Scene("fox", "candy", "flat", "hills", "sun", 0.3, 0.6, 0.0, seed=5)
seeds = st.integers(0, 2**40)


def pixels(scene: Scene, size: int = 128, **options: bool) -> np.ndarray:
    return np.asarray(render(scene, size, size, **options), float)


def colourfulness(picture: np.ndarray) -> float:
    """Hasler and Süsstrunk 2003."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    a, b = red - green, (red + green) / 2 - blue
    return float(np.hypot(a.std(), b.std()) + 0.3 * np.hypot(a.mean(), b.mean()))


def edges(picture: np.ndarray) -> float:
    grey = picture.mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def test_the_world_is_as_large_as_promised():
    assert len(SUBJECTS) >= 12 and len(PALETTES) >= 8 and len(STYLES) >= 6


@given(seeds)
def test_a_seed_is_a_scene_of_the_world(seed):
    scene = random_scene(seed)
    assert scene == random_scene(seed)
    assert scene.subject in SUBJECTS and scene.palette in PALETTES and scene.style in STYLES
    assert all(0 <= value <= 1 for value in (scene.density, scene.vividness, scene.motion))


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_is_a_picture(style):
    scene = dataclasses.replace(random_scene(3), style=style)
    first, again = (render(scene, 160, 96) for _ in range(2))
    assert first.size == (160, 96) and first.tobytes() == again.tobytes()
    assert first.tobytes() == render(dataclasses.replace(scene, seed=4), 160, 96).tobytes()
    other = dataclasses.replace(scene, layout=random_scene(4).layout)
    assert first.tobytes() != render(other, 160, 96).tobytes()


@pytest.mark.parametrize("variable", LAYOUT_NAMES)
def test_every_layout_variable_has_two_ways(variable):
    def drawn(value: float) -> np.ndarray:
        return pixels(dataclasses.replace(PLAIN, layout=dataclasses.replace(Layout(), **{variable: value})))

    assert np.array_equal(drawn(0.1), drawn(0.4)) and np.array_equal(drawn(0.6), drawn(0.9))
    assert np.abs(drawn(0.1) - drawn(0.9)).mean() > 0.5


def test_a_thing_lies_the_same_way_across_tokens_in_every_aspect_ratio():
    """The subject's patch of a square picture is found in all pictures that are as high, to the pixel."""
    tall = [size_of(name, "1K") for name in ("1:1", "4:5", "2:3", "9:16")]
    calm = dataclasses.replace(PLAIN, sky="clear", density=0.0, setting="plain")
    patches = [np.asarray(render(calm, *size))[352:800, 352:544] for size in tall]
    for patch in patches[1:]:
        # The sky is graded over the picture's height, so it is left out.
        fox = np.abs(patches[0].astype(int) - patches[0][0, 0]).sum(-1) > 150
        assert np.abs(patches[0].astype(int) - patch)[fox].mean() < 2


def test_a_tenth_of_the_triples_is_held_out():
    scenes = [Scene(s, p, r, "hills", "sun", 0.5, 0.5, 0.5) for s in SUBJECTS for p in PALETTES for r in STYLES]
    held_out = [s for s in scenes if is_held_out(s)]
    assert 0.08 < len(held_out) / len(scenes) < 0.12
    for attribute, values in (("subject", SUBJECTS), ("palette", PALETTES), ("style", STYLES)):
        assert {getattr(s, attribute) for s in held_out} == set(values)


def test_every_subject_palette_and_style_looks_different():
    for attribute, values in (("subject", SUBJECTS), ("palette", tuple(PALETTES)), ("style", STYLES)):
        drawn = {pixels(dataclasses.replace(PLAIN, **{attribute: value}), 64).tobytes() for value in values}
        assert len(drawn) == len(values)


@pytest.mark.parametrize(("attribute", "measure"), [("density", edges), ("vividness", colourfulness)])
def test_a_grade_raises_its_measure(attribute, measure):
    means = []
    for value in (0.0, 0.5, 1.0):
        scenes = [dataclasses.replace(random_scene(k), style="flat", palette="candy", motion=0.0) for k in range(8)]
        means.append(np.mean([measure(pixels(dataclasses.replace(s, **{attribute: value}))) for s in scenes]))
    assert means[0] * 1.1 < means[1] and means[1] * 1.1 < means[2]


def test_motion_leans_edges_one_way():
    def upright(motion: float) -> float:
        """Share of gradient energy that is exactly vertical or horizontal, falling as things lean."""
        shares = []
        for k in range(8):
            scene = dataclasses.replace(random_scene(k), style="flat", setting="plain", density=0.2, motion=motion)
            grey = pixels(scene).mean(-1)
            dy, dx = np.gradient(grey)
            angle = np.arctan2(dy, dx)
            energy = np.hypot(dx, dy)
            shares.append((energy * np.cos(4 * angle)).sum() / energy.sum())
        return float(np.mean(shares))

    assert upright(1.0) < 0.8 * upright(0.0)


def test_a_rich_picture_has_canvas_and_light_and_is_the_same_scene():
    smooth, rich = pixels(PLAIN, 512), pixels(PLAIN, 512, rich=True)
    assert edges(rich) > 1.3 * edges(smooth)
    assert 4 < np.abs(smooth - rich).mean() < 32
    assert np.corrcoef(smooth.ravel(), rich.ravel())[0, 1] > 0.93


@given(seeds, seeds)
def test_a_caption_says_what_it_names_and_nothing_else(seed, chance):
    scene = random_scene(seed)
    made = caption(scene, random.Random(chance))
    text = made.text.lower()
    for attribute, table in WORDS.items():
        value = getattr(scene, attribute)
        if attribute in made.named:
            assert made.named[attribute] == value
            assert any(phrase in text for phrase in table[value])
    for attribute, steps in GRADE_WORDS.items():
        if attribute in made.named:
            assert made.named[attribute] == str(grade(getattr(scene, attribute)))
            assert any(phrase in text for phrase in steps[int(made.named[attribute])])


def test_every_attribute_is_sometimes_left_out_and_named_when_asked_for():
    made = [caption(random_scene(k), random.Random(k)) for k in range(300)]
    for attribute in ATTRIBUTES:
        assert 0 < sum(attribute in c.named for c in made) < len(made)
    asked = [caption(random_scene(k), random.Random(k), ("sky", "motion")) for k in range(50)]
    assert all({"sky", "motion"} <= c.named.keys() for c in asked)
    assert len({c.text for c in made}) > 290


def test_the_vocabulary_lists_every_subject_and_its_examples_use_it():
    words = vocabulary()
    assert len(words["subject"]) == len(SUBJECTS)
    for example in words["examples"]:
        assert any(phrase in example for phrases in SUBJECT_WORDS.values() for phrase in phrases)
        assert any(phrase in example for phrases in STYLE_WORDS.values() for phrase in phrases)
