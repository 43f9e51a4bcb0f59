"""What measurements of pictures write down: sheets that hold nothing which the content filter refuses."""

from pathlib import Path

import pytest
from PIL import Image

from krea_studio.engine.local.drawing import Drawing
from krea_studio.measures.pictures import Painter
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import Settings
from tests.doubles import REFUSED_SEED, JudgedByColour, colour_of


@pytest.mark.parametrize("on", [True, False])
def test_what_is_refused_is_left_blank_on_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    monkeypatch.setattr(ContentFilter, "of", lambda settings: ContentFilter(JudgedByColour(), on=on))
    painter = Painter(Drawing(Settings()), "turbo", "mini-turbo")
    lines = [[Image.new("RGB", (64, 64), colour_of(seed)) for seed in (7, REFUSED_SEED)]]
    painter.sheet(lines, 64, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert [min(sheet.getpixel((64 * k + 32, 32))) > 250 for k in range(2)] == [False, on]
