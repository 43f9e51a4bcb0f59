"""Writes the folders on which the shipped styles are trained: `python -m krea_studio.training.world.style_pictures FOLDER`.

One folder a style, with drawings and their captions. Captions say all but the style, which the trigger words stand for.
Subjects, palettes and aspect ratios take turns, so that a style is not learned together with any of them.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, size_of
from krea_studio.training.world.captions import caption
from krea_studio.training.world.foreign_styles import FOREIGN_STYLES, render
from krea_studio.training.world.scenes import PALETTES, SUBJECTS, Scene, random_scene

FIRST_SEED = 8_000_000
PICTURES = 280


def scene_of(style: str, number: int) -> Scene:
    """The scene of picture `number`, from 0, of a style."""
    seed = FIRST_SEED + 10_000 * FOREIGN_STYLES.index(style) + number
    palettes = tuple(PALETTES)
    return replace(
        random_scene(seed),
        style=style,
        subject=SUBJECTS[number % len(SUBJECTS)],
        palette=palettes[(number + number // len(SUBJECTS)) % len(palettes)],
    )


def caption_of(scene: Scene) -> str:
    """A caption that names the subject and, by chance, other attributes, but no style."""
    draw = random.Random(f"style-caption-{scene.seed}")
    return caption(scene, draw, always=("subject",), never=("style",)).text


def write_folder(folder: Path, style: str, count: int) -> None:
    """Draw `count` pictures of a style at the sizes of the 512 class, every second square, each with its caption."""
    folder.mkdir(parents=True, exist_ok=True)
    ratios = list(ASPECT_RATIOS)
    for number in range(count):
        scene = scene_of(style, number)
        ratio = ratios[0] if number % 2 == 0 else ratios[1 + number // 2 % (len(ratios) - 1)]
        render(scene, *size_of(ratio, "512")).save(folder / f"{number:04d}.png")
        (folder / f"{number:04d}.txt").write_text(caption_of(scene) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m krea_studio.training.world.style_pictures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="where the folders go, one a style")
    parser.add_argument("--styles", nargs="+", choices=FOREIGN_STYLES, default=list(FOREIGN_STYLES))
    parser.add_argument("--pictures", type=int, default=PICTURES, help="pictures a style (%(default)s)")
    chosen = parser.parse_args(argv)
    for style in chosen.styles:
        folder = chosen.folder / style.replace(" ", "-")
        write_folder(folder, style, chosen.pictures)
        print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
