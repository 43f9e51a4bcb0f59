"""What systems put beside a person's files is told from these by name alone."""

from pathlib import Path

import pytest

from krea_studio.files import is_clutter, without_clutter


@pytest.mark.parametrize(
    "path",
    [
        "._fox.png",
        "pictures/._fox.png",
        ".DS_Store",
        "__MACOSX/Dusk/._moodboard.json",
        "__macosx/a",
        "Thumbs.db",
        "THUMBS.DB",
        "ehthumbs_vista.db",
        "Desktop.ini",
        "desktop.ini",
        "@eaDir/fox.png/SYNOFILE_THUMB_M.png",
        ".AppleDouble/fox.png",
        "$RECYCLE.BIN/a.png",
        "._line\nbreak",
    ],
)
def test_what_systems_leave_is_clutter(path: str) -> None:
    assert is_clutter(path) and is_clutter(Path(path))


@pytest.mark.parametrize("path", ["fox.png", "_fox.png", ".fox.png", "thumbs.png", "a._b.png", "MACOSX/fox.png", ""])
def test_what_a_person_names_is_none(path: str) -> None:
    assert not is_clutter(path)


def test_clutter_is_left_out_where_there_is_anything_else() -> None:
    assert without_clutter(["a/._fox.png", "a/fox.png", Path("Thumbs.db")]) == ["a/fox.png"]
    # Alone, it is what a person gave, and is refused as such.
    assert without_clutter(["._fox.png"]) == ["._fox.png"]
    assert without_clutter([]) == []
