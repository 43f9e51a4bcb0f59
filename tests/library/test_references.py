"""A reference picture is kept once, at its working size, under an id that its pixels give it."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.pictures.loader import load_picture_bytes
from krea_studio.library.references import (
    SIDE_STEP_PX,
    WIDEST,
    WORKING_PIXELS,
    Reference,
    References,
    working_picture,
)
from tests.library.pictures.test_loader import encoded, noise

SIDES = st.one_of(st.integers(32, 160), st.integers(32, 1200), st.sampled_from([256, 511, 512, 513, 1024]))


@pytest.fixture
def references(tmp_path: Path) -> References:
    return References(tmp_path / "references")


def kept(references: References) -> dict[str, bytes]:
    """Every file under the folder, temporary ones too."""
    found = sorted(path for path in references.folder.rglob("*") if path.is_file())
    return {path.relative_to(references.folder).as_posix(): path.read_bytes() for path in found}


def on_disk(path: Path, image: Image.Image) -> Path:
    path.write_bytes(encoded(image))
    return path


@given(SIDES, SIDES)
def test_the_working_size_fits_and_is_a_fixed_point(width: int, height: int) -> None:
    image = Image.new("RGB", (width, height))
    working = working_picture(image)
    assert working.width % SIDE_STEP_PX == working.height % SIDE_STEP_PX == 0
    assert min(working.size) >= SIDE_STEP_PX and max(working.size) <= WIDEST * min(working.size)
    assert working.width * working.height <= WORKING_PIXELS
    assert working.width <= width and working.height <= height, "never enlarged"
    assert working_picture(working) is working


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((512, 512), (512, 512)),
        ((1024, 1024), (512, 512)),
        ((1536, 1536), (512, 512)),
        ((999, 999), (512, 512)),
        ((2048, 512), (1024, 256)),
        ((3840, 2160), (672, 384)),
        ((300, 5000), (256, 1024)),
        ((127, 508), (96, 384)),
        ((100, 70), (96, 64)),
        ((32, 32), (32, 32)),
    ],
)
def test_sizes(size: tuple[int, int], working: tuple[int, int]) -> None:
    assert working_picture(Image.new("RGB", size)).size == working


@pytest.mark.parametrize("size", [(1200, 900), (900, 1300), (3000, 500), (517, 2000)])
def test_a_picture_is_reduced_evenly_about_its_middle(size: tuple[int, int]) -> None:
    width, height = size
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    ramps = np.rint(255 * np.stack([x, y, 0 * x], axis=-1)).astype(np.uint8)
    working = working_picture(Image.fromarray(ramps))
    values = np.asarray(working, dtype=np.float64) / 255
    middle = values.mean(axis=(0, 1))
    assert np.abs(middle[:2] - 0.5).max() < 0.003, "the middle stays the middle"
    # How much of the original a pixel stands for, across and down.
    across = (values[0, -9, 0] - values[0, 8, 0]) * width / (working.width - 17)
    down = (values[-9, 0, 1] - values[8, 0, 1]) * height / (working.height - 17)
    assert across == pytest.approx(down, rel=0.02), "never stretched"


def test_a_small_picture_is_cropped_and_otherwise_untouched() -> None:
    image = noise(101, 70)
    assert working_picture(image).tobytes() == image.crop((2, 3, 98, 67)).tobytes()


@pytest.mark.parametrize(
    ("size", "cropped"), [((641, 160), True), ((160, 900), True), ((640, 160), False), ((99, 70), False)]
)
def test_what_is_cut_off_a_panorama_is_told(tmp_path: Path, size: tuple[int, int], cropped: bool) -> None:
    told: list[str] = []
    reference = Reference.read(on_disk(tmp_path / "view.png", noise(*size)), told.append)
    assert reference == Reference.of(noise(*size)) and len(told) == cropped
    assert all("'view.png'" in line and "middle" in line and " — crop it yourself" in line for line in told)


def test_a_picture_is_kept_once(references: References, tmp_path: Path) -> None:
    image = noise(700, 500)
    ids = {
        references.add(on_disk(tmp_path / "a.png", image)),
        references.add(str(tmp_path / "a.png")),
        references.keep(Reference.of(load_picture_bytes(encoded(image, "WEBP", lossless=True), "c.webp"))),
        references.add_picture(image),
        references.add_picture(image.convert("RGBA")),
        References(references.folder).add_picture(image),
    }
    (picture,) = ids
    assert list(kept(references)) == [f"{picture[:2]}/{picture}.png"]
    assert references.path(picture) == references.folder / picture[:2] / f"{picture}.png"
    assert references.add_picture(noise(700, 501)) != picture
    assert len(kept(references)) == 2


def test_adding_again_does_not_touch_the_file(references: References) -> None:
    picture = references.add_picture(noise())
    os.utime(references.path(picture), (1, 1))
    assert references.add_picture(noise()) == picture
    assert references.path(picture).stat().st_mtime == 1


def test_the_shape_is_part_of_the_id(references: References) -> None:
    assert references.add_picture(Image.new("RGB", (32, 64))) != references.add_picture(Image.new("RGB", (64, 32)))


@pytest.mark.parametrize("size", [(640, 400), (64, 48), (1500, 300)])
def test_what_is_read_has_the_same_id_elsewhere(references: References, tmp_path: Path, size: tuple[int, int]) -> None:
    picture = references.add_picture(noise(*size))
    content = references.read(picture)
    elsewhere = References(tmp_path / "elsewhere")
    assert elsewhere.keep(Reference.of(load_picture_bytes(content, "a.png"))) == picture
    assert elsewhere.read(picture) == content
    assert elsewhere.add(references.path(picture)) == picture


def test_a_kept_picture_holds_nothing_but_pixels(references: References) -> None:
    image = noise()
    image.info["comment"] = "private"
    assert b"private" not in references.read(references.add_picture(image))


@pytest.mark.parametrize(
    "picture", ["", "a" * 31, "A" * 32, "g" * 32, "../" * 11, "a" * 32 + "\n", 7, None, "/etc/passwd"]
)
def test_malformed_ids_are_refused(references: References, picture: object) -> None:
    for use in (references.path, references.read, lambda picture: references.require([picture])):
        with pytest.raises(InvalidRequest, match="names no reference picture — give the 32 digits") as caught:
            use(picture)
        assert caught.value.message.isprintable()


def test_missing_pictures_are_named(references: References) -> None:
    there, gone = references.add_picture(noise()), "0123" * 8
    references.require([there])
    for use in (references.path, references.read, lambda picture: references.require([there, picture, "f" * 32])):
        with pytest.raises(InvalidRequest, match=f"{gone} is not in the library any more — add it again"):
            use(gone)


def test_changed_and_damaged_files_are_noticed_and_healed(references: References) -> None:
    picture = references.add_picture(noise())
    path, content = references.path(picture), references.read(picture)
    for damaged in (encoded(noise(64, 64)), content[:-200], b"", b"hello", encoded(noise(16, 16))):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=f"{picture}.png was changed or is damaged — add the original again"):
            references.read(picture)
        assert references.add_picture(noise()) == picture
        assert references.read(picture) == content
    assert len(kept(references)) == 1


def test_bad_pictures_leave_nothing(references: References, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        references.add(tmp_path / "missing.png")
    (tmp_path / "cut.png").write_bytes(encoded(noise())[:200])
    with pytest.raises(InvalidRequest):
        references.add(tmp_path / "cut.png")
    with pytest.raises(InvalidRequest, match="give at least 32 a side"):
        references.add_picture(Image.new("RGB", (31, 100)))
    assert not references.folder.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_failed_write_is_told_and_leaves_nothing(
    references: References, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def write_half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    words = "is full — free some space" if code == errno.ENOSPC else os.strerror(code)
    with pytest.raises(StorageError, match=words):
        references.add_picture(noise())
    assert kept(references) == {}


def test_an_unusable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "references").touch()
    references = References(tmp_path / "references")
    with pytest.raises(StorageError, match="cannot be written"):
        references.add_picture(noise())
    with pytest.raises(InvalidRequest, match="is not in the library"):
        references.path("a" * 32)
