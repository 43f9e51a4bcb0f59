"""The sheet of a sweep: every picture at its place, labels that can be read, and never too large."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from krea_studio.library.pictures.sheets import FAINT, INK, MOST_PIXELS, readable, sheet
from krea_studio.recipe.axes import parse_axis
from krea_studio.recipe.request import GenerationRequest
from krea_studio.recipe.sweep import MOST_CELLS_EVER, Sweep, parse_sweep


def sweep(*axes: str) -> Sweep:
    request = GenerationRequest(prompt="a fox in the snow")
    return parse_sweep(request, [parse_axis(axis) for axis in axes], MOST_CELLS_EVER)


def colour(at: tuple[int, ...]) -> tuple[int, int, int]:
    """One for every place, far from the sheet's own colours."""
    padded = (*at, 0, 0)
    return 40 + 50 * padded[0], 40 + 50 * padded[1], 40 + 50 * padded[2]


def files(folder: Path, pictures: Mapping[tuple[int, ...], Image.Image]) -> dict[tuple[int, ...], Path]:
    """Where these pictures lie."""
    found = {at: folder / f"{'-'.join(map(str, at))}.png" for at in pictures}
    for at, path in found.items():
        pictures[at].save(path)
    return found


@pytest.mark.parametrize("axes", [["seed=1:3"], ["seed=1:3", "steps=4,8"], ["seed=1:2", "steps=4,8", "intensity=1:3"]])
def test_every_picture_is_at_its_place(axes: list[str], tmp_path: Path) -> None:
    made = sweep(*axes)
    pictures = {cell.at: Image.new("RGB", (64, 48), colour(cell.at)) for cell in made.cells()}
    found = sheet(made, files(tmp_path, pictures))
    seen: dict[tuple[int, ...], tuple[int, int]] = {}
    for at in pictures:
        rows, columns = np.nonzero((np.asarray(found) == colour(at)).all(-1))
        assert len(rows) == 64 * 48
        seen[at] = (int(columns.min()), int(rows.min()))
    for at, (left, top) in seen.items():
        for axis, direction in zip(range(len(at)), (0, 1, 1), strict=False):
            following = tuple(place + (number == axis) for number, place in enumerate(at))
            if following in seen:
                assert seen[following][direction] > (left, top)[direction]
                assert axis == 2 or seen[following][1 - direction] == (left, top)[1 - direction]


def test_what_is_not_drawn_yet_stays_empty(tmp_path: Path) -> None:
    made = sweep("seed=1:2")
    found = sheet(made, files(tmp_path, {(0,): Image.new("RGB", (32, 32), (9, 9, 200))}))
    assert (np.asarray(found) == FAINT).all(-1).sum() == 32 * 32


@pytest.mark.parametrize("axes", [["seed=1:100", "steps=1:100"], ["seed=1:10000"], ["seed=1:10", "intensity=1:10"]])
def test_a_sheet_is_never_too_large(axes: list[str], tmp_path: Path) -> None:
    made = sweep(*axes)
    found = sheet(made, files(tmp_path, {(0,) * len(axes): Image.new("RGB", (1024, 1024))}))
    assert found.width * found.height < 6 * MOST_PIXELS


def test_labels_are_written_and_stay_within_their_column(tmp_path: Path) -> None:
    wide = sweep(f"words=fox,{'a very long sentence that goes on and on, ' * 9!r}".replace("'", '"'), "steps=4,8")
    blue = Image.new("RGB", (128, 128), (9, 9, 200))
    found = sheet(wide, files(tmp_path, {cell.at: blue for cell in wide.cells()}))
    assert (np.asarray(found) == INK).all(-1).any()
    assert found.height < 600 and found.width < 700


def test_there_may_be_more_pictures_than_files_that_may_be_open(tmp_path: Path) -> None:
    made = sweep("seed=1:60")
    drawn = files(tmp_path, {cell.at: Image.new("RGB", (16, 16), (9, 9, 200)) for cell in made.cells()})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, before[1]))
    try:
        found = sheet(made, drawn)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (np.asarray(found) == (9, 9, 200)).all(-1).sum() == 60 * 16 * 16


def test_letters_that_the_font_lacks_are_numbered() -> None:
    assert readable("fox", "Words 1") == "fox"
    assert readable("狐", "Words 1") == "Words 1"
