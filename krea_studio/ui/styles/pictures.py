"""What stands for a style where a picture of it is wanted: its cover, or a calm tile with its initial.

A tile's colour comes from the name alone, so a style looks the same wherever it is listed.
"""

import hashlib
import unicodedata
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

TILE_SIDE_PX = 192
INITIAL_SHARE = 0.42  # of a tile's side


def cover_or_tile(cover: Path | None, name: str) -> str | Image.Image:
    """The path of a cover where there is one, otherwise a tile of TILE_SIDE_PX for this name."""
    return tile(name) if cover is None else str(cover)


@lru_cache(maxsize=256)
def tile(name: str) -> Image.Image:
    """A square in a muted colour with the name's initial; without one where the font that is at hand has no such."""
    hue = hashlib.sha256(name.casefold().encode()).digest()[0] * 360 // 256
    picture = Image.new("RGB", (TILE_SIDE_PX, TILE_SIDE_PX), ImageColor.getrgb(f"hsl({hue}, 22%, 46%)"))
    font = ImageFont.load_default(INITIAL_SHARE * TILE_SIDE_PX)
    middle = (TILE_SIDE_PX / 2, TILE_SIDE_PX / 2)
    ImageDraw.Draw(picture).text(middle, _initial(name), font=font, fill="#f4f1ec", anchor="mm")
    return picture


def _initial(name: str) -> str:
    """The first letter or digit as a capital without accents; empty where it is not Latin."""
    plain = unicodedata.normalize("NFKD", name)
    first = next((character for character in plain if character.isalnum()), "")
    return first.upper() if first.isascii() else ""
