"""The measured analysis says what was drawn, groups pictures by their look, and does not depend on their order."""

import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from krea_studio.direction.analysis import MAX_AVOIDS, MAX_KEYWORDS, MAX_SWATCHES, SCALES, measured_analysis
from krea_studio.direction.clusters import grouped
from krea_studio.direction.colours import merged, named_shares, palette
from krea_studio.direction.looks import lab, rgb
from krea_studio.direction.moodboards import MEASURED, Analysis
from krea_studio.direction.traits import traits
from krea_studio.errors import InvalidRequest, Stopped
from krea_studio.training.world.captions import GRADE_WORDS, PALETTE_WORDS
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import random_scene

PIXELS = 192
Board = dict[str, Image.Image]


@cache
def picture(seed: int, **look: Any) -> Image.Image:
    return render(replace(random_scene(seed), **look), PIXELS, PIXELS)


def board(count: int, first: int = 0, **look: Any) -> Board:
    """Pictures of scenes that differ in all that `look` does not say."""
    return {f"{seed:032x}": picture(seed, **look) for seed in range(first, first + count)}


@cache
def analysis(count: int, first: int = 0, **look: Any) -> Analysis:
    return measured_analysis(board(count, first, **look))


@pytest.fixture(scope="module")
def two_looks() -> Board:
    return board(5, style="neon", palette="midnight") | board(5, 100, style="papercut", palette="sunset")


def photo(noise: float) -> Image.Image:
    """Soft light over a slope with noise like a film's, in levels of 255."""
    x, y = np.meshgrid(np.linspace(0, 1, PIXELS), np.linspace(0, 1, PIXELS))
    grain = np.random.default_rng(3).normal(0, noise, (PIXELS, PIXELS))
    values = 90 + 60 * x * y + grain
    return Image.fromarray(np.stack([values * 1.1, values, values * 0.8], -1).clip(0, 255).astype(np.uint8))


def parts(found: Analysis) -> set[frozenset[str]]:
    return {frozenset(cluster.images) for cluster in found.clusters}


def test_two_looks_are_two_clusters(two_looks: Board) -> None:
    found = measured_analysis(two_looks)
    ids = sorted(two_looks)
    assert parts(found) == {frozenset(ids[:5]), frozenset(ids[5:])}
    assert all(cluster.on for cluster in found.clusters)
    assert "Two looks: 5 pictures in " in found.taste_profile
    assert found.written_by == MEASURED


def test_three_looks_are_not_mixed() -> None:
    looks = [("ink", "monochrome"), ("neon", "candy"), ("flat", "forest")]
    pictures = {}
    for k, (style, colours) in enumerate(looks):
        pictures |= board(6, 100 * k, style=style, palette=colours)
    found = measured_analysis(pictures)
    assert len(found.clusters) >= 3
    assert all(len({int(image, 16) // 100 for image in cluster.images}) == 1 for cluster in found.clusters)


@pytest.mark.parametrize(("style", "colours"), [("watercolor", "mint"), ("mosaic", "ocean"), ("papercut", "sunset")])
def test_one_look_is_one_cluster(style: str, colours: str) -> None:
    found = analysis(7, style=style, palette=colours, vividness=0.7)
    assert len(found.clusters) == 1
    assert "All 7 pictures share one look." in found.taste_profile


def test_order_does_not_matter(two_looks: Board) -> None:
    found = measured_analysis(two_looks)
    for seed in range(2):
        ids = list(two_looks)
        random.Random(seed).shuffle(ids)
        assert measured_analysis({image: two_looks[image] for image in ids}) == found


def test_one_picture_is_a_board() -> None:
    found = analysis(1)
    assert len(found.clusters[0].images) == 1
    assert found.taste_profile.endswith("Measured on one picture.")
    assert found.keywords


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "I;16"])
def test_pictures_of_every_mode(mode: str) -> None:
    found = measured_analysis({"0" * 32: picture(1).convert("L").convert(mode)})
    assert ("monochrome" in found.keywords) and "vivid colors" in found.avoids
    assert "no colors" in found.taste_profile


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 3), (2000, 1500)])
def test_pictures_of_every_size(size: tuple[int, int]) -> None:
    found = measured_analysis({"0" * 32: Image.new("RGB", size, "#c02020")})
    assert [(swatch.colour, swatch.share) for swatch in found.palette] == [("#c02020", 1.0)]


def test_equal_pictures_are_one_cluster(two_looks: Board) -> None:
    assert len(measured_analysis({f"{k:032x}": picture(1) for k in range(5)}).clusters) == 1
    copies = {f"{k:032x}": list(two_looks.values())[5 * (k % 2)] for k in range(12)}
    found = measured_analysis(copies)
    assert [len(cluster.images) for cluster in found.clusters] == [6, 6]


@pytest.mark.parametrize("count", [0, 201])
def test_too_few_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(InvalidRequest, match="—"):
        measured_analysis({f"{k:032x}": Image.new("RGB", (2, 2)) for k in range(count)})


def test_progress_is_told_and_a_stop_is_heard() -> None:
    told: list[float] = []

    def check() -> None:
        if len(told) == 3:
            raise Stopped("Stopped — start again")

    with pytest.raises(Stopped):
        measured_analysis(board(4), told.append, check)
    assert told == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("look", "said", "avoided"),
    [
        ({"vividness": 0.05}, "muted colors", "vivid colors"),
        ({"vividness": 0.95}, "vivid colors", "muted colors"),
        ({"density": 0.05}, "minimal", "crowded"),
        ({"density": 0.95, "style": "neon"}, "crowded", "minimal"),
        ({"motion": 0.02}, "still", "dynamic"),
        ({"motion": 0.98}, "dynamic", "still"),
        ({"style": "neon"}, "dark tones", "light tones"),
        ({"style": "ink", "vividness": 0.2}, "light tones", "dark tones"),
        ({"style": "flat"}, "smooth surfaces", "grainy texture"),
        ({"style": "mosaic", "palette": "mint", "vividness": 0.05}, "soft contrast", "high contrast"),
        ({"style": "flat", "palette": "monochrome", "vividness": 0.95}, "high contrast", "soft contrast"),
        ({"palette": "autumn", "style": "watercolor"}, "warm colors", "cool colors"),
        ({"palette": "midnight", "style": "mosaic"}, "cool colors", "warm colors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_words_say_what_was_drawn(look: dict[str, Any], said: str, avoided: str) -> None:
    found = analysis(6, **look)
    assert said in found.keywords
    assert avoided in found.avoids
    assert avoided not in found.keywords


@pytest.mark.parametrize("attribute", ["density", "vividness", "motion"])
def test_the_middle_is_not_said(attribute: str) -> None:
    found = analysis(8, 40, **{attribute: 0.4})
    assert not set(SCALES[attribute].poles) & {*found.keywords, *found.avoids}


def test_grain_is_not_taken_for_edges() -> None:
    clean, grainy = (measured_analysis({"0" * 32: photo(noise)}) for noise in (0.5, 12.0))
    assert "grainy texture" in grainy.keywords and "smooth surfaces" in grainy.avoids
    assert "grainy texture" not in clean.keywords
    assert "grainy texture" not in analysis(4, style="mosaic").keywords


@pytest.mark.parametrize(
    ("colours", "words", "name"),
    [
        ("sunset", "sunset oranges and pinks", "coral"),
        ("ocean", "ocean blues", "sky blue"),
        ("forest", "forest greens", "green"),
        ("candy", "candy pinks", "pink"),
        ("autumn", "autumn browns", "brown"),
        ("midnight", "midnight blue", "navy"),
        ("mint", "mint green", "mint"),
        ("monochrome", "monochrome", "gray"),
    ],
)
def test_palettes_are_called_by_their_names(colours: str, words: str, name: str) -> None:
    found = analysis(4, style="papercut", palette=colours, vividness=0.8)
    assert found.keywords[0] == words
    assert words in PALETTE_WORDS[colours]
    assert name in found.taste_profile


def test_poles_are_words_of_the_small_world_where_it_has_them() -> None:
    for attribute, grades in GRADE_WORDS.items():
        low, high = (pole.removesuffix(" colors") for pole in SCALES[attribute].poles)
        assert low in grades[0] and high in grades[-1]


@pytest.mark.parametrize("first", [0, 200, 400])
def test_an_analysis_keeps_its_bounds(first: int) -> None:
    found = analysis(8, first)
    assert len(found.taste_profile) <= 450 and found.taste_profile.endswith(".")
    assert 1 <= len(found.keywords) <= MAX_KEYWORDS and len(found.avoids) <= MAX_AVOIDS
    assert len(set(found.keywords)) == len(found.keywords) and not set(found.keywords) & set(found.avoids)
    shares = [swatch.share for swatch in found.palette]
    assert len(shares) <= MAX_SWATCHES and shares == sorted(shares, reverse=True) and 0.9 < sum(shares) <= 1
    assert Analysis.model_validate(found.model_dump()) == found


def test_a_palette_has_the_colours_of_the_picture() -> None:
    flag = Image.new("RGB", (120, 80), "#204080")
    flag.paste("#f0c020", (0, 0, 36, 80))
    found = measured_analysis({"0" * 32: flag})
    assert [(swatch.colour, swatch.share) for swatch in found.palette] == [("#204080", 0.7), ("#f0c020", 0.3)]


def test_a_palette_keeps_accents_and_makes_no_greys() -> None:
    main = np.array([[50.0, 60, 40], [50, -50, 40]]).repeat(48, 0)
    _, shares = palette(np.concatenate([main, [[90.0, 0, 80]] * 4]), np.ones(100), 3)
    assert shares == pytest.approx([0.48, 0.48, 0.04])
    left, _ = merged(np.array([[50.0, 30, 0], [50, 20, 0], [80, 0, 70]]), np.array([0.5, 0.4, 0.1]), 2, 5)
    assert left.tolist() == [[50, 30, 0], [80, 0, 70]]


@pytest.mark.parametrize(
    ("code", "name"),
    [("#000000", "black"), ("#ffffff", "white"), ("#808080", "gray"), ("#d02020", "red"), ("#101850", "navy"),
     ("#207820", "green"), ("#f5e9d0", "cream"), ("#ff8820", "orange"), ("#6b4226", "brown"), ("#ffb0d8", "pink")],
)  # fmt: skip
def test_colours_have_plain_names(code: str, name: str) -> None:
    colour = lab(Image.new("RGB", (1, 1), code)).reshape(1, 3)
    assert named_shares(colour, np.ones(1)) == {name: 1.0}
    assert "#{:02x}{:02x}{:02x}".format(*rgb(colour[0])) == code


def test_size_hardly_changes_what_is_measured() -> None:
    large = render(random_scene(11), 512, 512)
    found = [traits(large), traits(large.resize((256, 256), Image.Resampling.BOX))]
    for name in ("lightness", "contrast", "chroma", "warmth", "lean"):
        assert getattr(found[0], name) == pytest.approx(getattr(found[1], name), rel=0.01)
    assert found[0].shapes == pytest.approx(found[1].shapes, rel=0.15)


def test_medoids_are_in_the_middle_and_lone_pictures_count() -> None:
    places = np.array([0.0, 1, 2, 20, 21, 22, 40])
    assert grouped(np.abs(places[:, None] - places), 8) == [[1, 0, 2], [4, 3, 5], [6]]
    assert grouped(np.array([[0.0, 9], [9, 0]]), 8) == [[0], [1]]
    assert grouped(np.array([[0.0, 1], [1, 0]]), 8) == [[0, 1]]
    assert grouped(np.zeros((1, 1)), 8) == [[0]]
