"""The example moodboards: pictures that the renderer draws, analyzed by measure, as the zips that the studio exports.

`python -m krea_studio.training.world.boards` writes them to `assets/moodboards`; the same code gives the same bytes.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from krea_studio.direction.analysis import measured_analysis
from krea_studio.library.references import Reference
from krea_studio.library.store import EXAMPLES_FOLDER, Library
from krea_studio.training.world.renderer import render
from krea_studio.training.world.scenes import SUBJECTS, Scene, random_scene

SIDE_PX = 320
SEED = 7_000_000
# Name of each board, and its looks: rendering style, palette, and how many pictures.
BOARDS: dict[str, Sequence[tuple[str, str, int]]] = {
    "Neon nights": (("neon", "midnight", 8),),
    "Paper sunsets": (("papercut", "sunset", 8),),
    "Two seas": (("watercolor", "ocean", 5), ("mosaic", "mint", 5)),
}


def write_boards(folder: Path) -> list[Path]:
    """Draw and analyze every board and write its zip to `folder`; returns the files."""
    written = []
    with tempfile.TemporaryDirectory() as place:
        library = Library(place)
        for number, (name, looks) in enumerate(BOARDS.items()):
            pictures = [
                render(replace(_scene(number, 100 * group + k), style=style, palette=palette), SIDE_PX, SIDE_PX)
                for group, (style, palette, count) in enumerate(looks)
                for k in range(count)
            ]
            kept = {library.references.keep(Reference.of(picture)): picture for picture in pictures}
            library.moodboards.create(name)
            library.moodboards.add_references(name, kept)
            library.moodboards.keep_analysis(name, measured_analysis(kept))
            written.append(folder / f"{name.lower().replace(' ', '-')}.zip")
            library.moodboards.export(name, written[-1])
        library.close()
    return written


def _scene(board: int, picture: int) -> Scene:
    scene = random_scene(SEED + 1000 * board + picture)
    return replace(scene, subject=SUBJECTS[(picture + 3 * board) % len(SUBJECTS)], vividness=0.6, motion=0.3)


if __name__ == "__main__":
    EXAMPLES_FOLDER.mkdir(parents=True, exist_ok=True)
    for path in write_boards(EXAMPLES_FOLDER):
        print(path)
