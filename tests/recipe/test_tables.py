"""The tables of the user guide: sizes of its eight aspect ratios, and its three variants."""

import pytest

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, RESOLUTIONS, size_of
from krea_studio.recipe.request import choices
from krea_studio.recipe.variants import VARIANTS

GUIDE = {
    "1:1": ("Square", 1024, 1024),
    "4:3": ("Landscape", 1184, 896),
    "3:2": ("Landscape", 1248, 832),
    "16:9": ("Landscape", 1376, 768),
    "2.35:1": ("Landscape", 1568, 672),
    "4:5": ("Portrait", 928, 1152),
    "2:3": ("Portrait", 832, 1248),
    "9:16": ("Portrait", 768, 1376),
}


def test_aspect_ratios_are_the_guides_in_its_order() -> None:
    assert {name: (row.category, row.width, row.height) for name, row in ASPECT_RATIOS.items()} == GUIDE
    assert tuple(ASPECT_RATIOS) == tuple(GUIDE) == choices("aspect_ratio")
    assert [size_of(name, "1K") for name in GUIDE] == [(width, height) for _, width, height in GUIDE.values()]


@pytest.mark.parametrize("name", GUIDE)
def test_drafts_are_half_of_each_side_in_multiples_of_32(name: str) -> None:
    width, height = size_of(name, "512")
    assert width % 32 == 0 and height % 32 == 0
    assert abs(width - GUIDE[name][1] / 2) < 32 and abs(height - GUIDE[name][2] / 2) < 32
    assert (width / height) == pytest.approx(ASPECT_RATIOS[name].ratio, rel=0.04)


def test_choices_of_a_request_are_the_tables() -> None:
    assert choices("variant") == tuple(VARIANTS) == ("medium", "large", "turbo")
    assert choices("resolution") == RESOLUTIONS
