"""The measurement of power cuts: what is kept and told, and what the report makes of it."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.measures import durability as measure
from krea_studio.measures import options


def test_files_of_every_kind_are_kept_and_told(library: Library, tmp_path: Path) -> None:
    for number in (1, 2):
        told = dict(measure._kept(library, tmp_path, number, Image.new("RGB", (96, 64), (number, 0, 0))))
        assert set(told) == {
            *("picture", "thumbnail", "reference", "moodboard", "export", "trained file", "style", "card", "cover")
        }
        assert all(path.is_file() and path.is_relative_to(tmp_path) for path in told.values())
        assert len(set(told.values())) == len(told)
    assert [record.owner for record in library.recent(9)] == [measure.OWNER] * 2


def test_the_table_has_what_was_kept_and_lost_both_ways() -> None:
    synced = [(Counter(picture=3, row=3), Counter()), (Counter(picture=1), Counter(picture=1))]
    control = [(Counter(picture=5), Counter(picture=5))]
    lines = measure.table(synced, control).splitlines()
    assert lines[2:] == ["| picture | 4 | 1 | 5 | 5 |", "| row | 3 | 0 | 0 | 0 |"]


def test_no_cuts_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="--cuts is 0"):
        options.parsed("durability", ["--cuts", "0"])
