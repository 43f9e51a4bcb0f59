"""A folder of captioned pictures is read as a person meant it, whichever system it comes from."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.training.adapters.captioned import Captioned, cut, read_folder
from tests.library.pictures.test_colour import P3_TO_XYZ, encoded_srgb, same_colour
from tests.library.pictures.test_loader import P3, encoded

DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        "


def captioned(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (96, 64), "navy").save(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"a {Path(name).stem}")
    return folder


def told(pictures: list[Captioned]) -> list[tuple[str, str]]:
    return [(picture.path.name, picture.caption) for picture in pictures]


FOX = [("fox.png", "a fox")]


@pytest.mark.parametrize(
    "names",
    [
        ["._fox.png", "._fox.txt", ".DS_Store"],
        ["._fox.png"],
        ["Thumbs.db", "desktop.ini"],
        ["__MACOSX/._fox.png", "@eaDir/fox.png"],
        ["notes.md", "style.safetensors"],
    ],
)
def test_what_systems_put_beside_pictures_is_passed_over(tmp_path: Path, names: list[str]) -> None:
    captioned(tmp_path, "fox.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(DOUBLE)
    assert told(read_folder(tmp_path)) == FOX


def test_the_one_folder_within_the_folder_is_read(tmp_path: Path) -> None:
    captioned(tmp_path / "pictures" / "pictures", "fox.png")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "pictures" / ".DS_Store").write_bytes(b"x")
    assert told(read_folder(tmp_path)) == FOX


def test_of_several_folders_none_is_chosen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        captioned(tmp_path / name, "fox.png")
    with pytest.raises(InvalidRequest, match="has no pictures"):
        read_folder(tmp_path)


def test_a_caption_is_found_in_any_case_and_however_accents_are_written(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / unicodedata.normalize("NFD", "café.png"))
    (tmp_path / unicodedata.normalize("NFC", "café.txt")).write_text("a café")
    Image.new("RGB", (96, 64)).save(tmp_path / "FOX.PNG", format="PNG")
    (tmp_path / "FOX.TXT").write_text("a fox")
    assert [caption for _, caption in told(read_folder(tmp_path))] == ["a fox", "a café"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "HEIF", "AVIF"])
def test_a_phones_picture_is_learned_in_its_own_colours(tmp_path: Path, format: str) -> None:
    image = Image.new("RGB", (128, 96), same_colour((60, 150, 110), P3_TO_XYZ, encoded_srgb))
    ending = {"JPEG": "jpg", "HEIF": "HEIC"}.get(format, format.lower())
    (tmp_path / f"fox.{ending}").write_bytes(encoded(image, format, icc_profile=P3, quality=98))
    (tmp_path / "fox.txt").write_text("a fox")
    (picture,) = read_folder(tmp_path)
    here = cut(picture, (64, 64)).getpixel((32, 32))
    assert max(abs(a - b) for a, b in zip(here, (60, 150, 110), strict=True)) <= 5


def test_a_profile_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    captioned(tmp_path, "fox.png")
    Image.new("RGB", (96, 64)).save(tmp_path / "fox.png", icc_profile=b"private")
    notes: list[str] = []
    assert told(read_folder(tmp_path, notes.append)) == FOX and len(notes) == 1 and "fox.png" in notes[0]
