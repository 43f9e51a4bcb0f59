"""Where files lie on the server is nobody's business who asks it for pictures."""

import logging

import pytest

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.ui.notices import guarded
from krea_studio.validation import without_folders


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "The disk that holds /srv/studio/out/records.sqlite3 is full — free some",
            "The disk that holds records.sqlite3 is full — free some",
        ),
        ("/srv/studio/a.png cannot be read (no) — check it", "a.png cannot be read (no) — check it"),
        (
            "give the address, such as http://127.0.0.1:8000/v1, and/or 16:9",
            "give the address, such as http://127.0.0.1:8000/v1, and/or 16:9",
        ),
    ],
)
def test_of_a_path_the_last_name_is_told(message: str, told: str) -> None:
    assert without_folders(message) == told


def test_a_notice_has_no_folders_and_the_log_has_them(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> dict[str, str]:
        raise StorageError("The file /srv/studio/a.png is damaged — add it again")

    def refuse() -> dict[str, str]:
        raise InvalidRequest("'/etc' is not a picture — give one")

    with caplog.at_level(logging.ERROR):
        assert guarded(fail, lambda message: {"told": message}) == {"told": "The file a.png is damaged — add it again"}
    assert "/srv/studio/a.png" in caplog.text
    assert guarded(refuse, lambda message: {"told": message})["told"].startswith("'/etc'"), (
        "what was typed is told back"
    )
