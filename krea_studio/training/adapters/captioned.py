"""A folder of pictures with captions: what a style is trained on.

Each picture has its caption in a text file of the same name: `fox.png`, `fox.txt`. They may lie in a folder within the
folder, as a zip unpacks, among what Macs and Windows put beside them. Everything is looked at before a model is loaded,
so that a missing caption is told at once. Pictures are cut to the nearest of the studio's aspect
ratios, as little as possible. Knows nothing of models; latents are `style`'s part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from PIL import Image, ImageOps

from krea_studio.errors import InvalidRequest
from krea_studio.files import is_clutter
from krea_studio.library.names import folded
from krea_studio.library.pictures.formats import ENDINGS
from krea_studio.library.pictures.loader import Tell, load_picture, logged
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS
from krea_studio.validation import shown

CAPTION_CHARACTERS = 2000


@dataclass(frozen=True)
class Captioned:
    """One picture of the folder: its file, its size in pixels as it stands upright, its caption, its file's SHA-256."""

    path: Path
    size: tuple[int, int]
    caption: str
    digest: str


def read_folder(folder: Path, tell: Tell = logged) -> list[Captioned]:
    """Every picture of the folder, by name; `tell` hears what of them is not used.

    Raises InvalidRequest naming the first file that is not as it should be.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"{shown(str(folder))} is not a folder — give one with pictures and their captions")
    files = _files(folder)
    paths = [path for path in files if path.suffix.lower() in ENDINGS]
    if not paths:
        raise InvalidRequest(
            f"{shown(str(folder))} has no pictures ({', '.join(ENDINGS)}) — put the pictures of the style there, "
            "each with its caption in a .txt file of the same name"
        )
    captioned: dict[str, Path] = {}
    for path in paths:
        other = captioned.setdefault(_caption_name(path), path)
        if other is not path:
            raise InvalidRequest(f"{other.name} and {path.name} would share one caption — rename one of them")
    captions = {folded(path.name): path for path in files}
    texts = [_caption(captions.get(_caption_name(path), path.with_suffix(".txt")), path) for path in paths]
    return [
        Captioned(path, load_picture(path, tell).size, text, hashlib.sha256(path.read_bytes()).hexdigest())
        for path, text in zip(paths, texts, strict=True)
    ]


def _files(folder: Path) -> list[Path]:
    """What a person put into the folder, by name; where that is one folder alone, what they put into that."""
    entries = sorted(path for path in folder.iterdir() if not is_clutter(path.name))
    if len(entries) == 1 and entries[0].is_dir():
        return _files(entries[0])
    return [path for path in entries if path.is_file()]


def _caption_name(picture: Path) -> str:
    """The name of its caption, in which case and the way of writing accents make no difference between systems."""
    return folded(f"{picture.stem}.txt")


def _caption(path: Path, picture: Path) -> str:
    try:
        text = " ".join(path.read_text("utf-8-sig").split())
    except FileNotFoundError:
        raise InvalidRequest(f"{picture.name} has no caption — write what it shows into {path.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path.name} cannot be read as text ({error}) — save it as UTF-8") from None
    if not 0 < len(text) <= CAPTION_CHARACTERS:
        size = f"has {len(text):,} characters" if text else "is empty"
        raise InvalidRequest(f"{path.name} {size} — describe the picture in 1 to {CAPTION_CHARACTERS:,} characters")
    return text


def with_trigger(caption: str, trigger: str) -> str:
    """The caption with the trigger words behind it, as a person adds them to a prompt."""
    return f"{caption.rstrip(' .,;')}, {trigger}"


def size_for(size: tuple[int, int], side: int, multiple: int) -> tuple[int, int]:
    """Width and height to train a picture of `size` at, in pixels: multiples of `multiple`, about side² in all.

    Their ratio is the nearest of the studio's aspect ratios.
    """
    own = log(size[0] / size[1])
    ratio = min((row.ratio for row in ASPECT_RATIOS.values()), key=lambda each: abs(log(each) - own))
    across, down = side * ratio**0.5, side / ratio**0.5
    return tuple(max(1, round(length / multiple)) * multiple for length in (across, down))


def cut(picture: Captioned, size: tuple[int, int]) -> Image.Image:
    """The picture at exactly this size: scaled until it covers it, what is over cut off evenly."""
    return ImageOps.fit(load_picture(picture.path), size, Image.Resampling.LANCZOS)


def identity(pictures: Sequence[Captioned]) -> str:
    """Changes with any picture or caption."""
    told = "\n".join(f"{each.digest} {each.caption}" for each in pictures)
    return hashlib.sha256(told.encode()).hexdigest()
