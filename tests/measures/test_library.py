"""The measurement of large libraries: what is made is a library, and the report has every promise."""

from contextlib import closing
from pathlib import Path

import pytest

from krea_studio.errors import InvalidRequest
from krea_studio.library.history.history import PAGE
from krea_studio.measures import library as measure
from krea_studio.measures import options
from tests.library.test_store import opened


def test_what_is_made_is_a_library_in_which_searches_find_as_much(tmp_path: Path) -> None:
    for count in (400, 1000):
        measure.make(tmp_path / str(count), count)
        with closing(opened(tmp_path / str(count))) as made:
            assert made.records.count() == count
            assert len(list(made.folder.glob("2*/*.png"))) == len(list(made.folder.glob("thumbnails/*/*.jpg"))) == count
            newest = made.recent(1)[0]
            assert newest.thumbnail.suffix == ".jpg" and newest.recipe.seed == count - 1
            assert len(made.recent(99, measure.GUEST)) >= PAGE
            assert made.history.page(measure.EXCLUDING).records == made.history.page(measure.NOWHERE).records == []
            found = {name: len(made.history.page(*asked).records) for name, asked in measure.SEARCHES.items()}
            assert set(found.values()) == {PAGE}, found


def test_the_report_has_ratios_and_targets(tmp_path: Path) -> None:
    report = tmp_path / "library.md"
    assert measure.main(["--pictures", "100", "200", "--pairs", "1", "--report", str(report)]) == 0
    text = report.read_text("utf-8")
    assert measure.COMMAND in text
    for what, target in (("opening", "≤ 1.5"), ("the first page", "≤ 1.5"), ("memory beyond", "≤ +60 MB")):
        assert any(f"| 200 pictures: {what}" in line and target in line for line in text.splitlines())


@pytest.mark.parametrize("sizes", ["1000", "10 1000", "1000 0"])
def test_sizes_that_compare_nothing_are_refused(sizes: str) -> None:
    with pytest.raises(InvalidRequest, match="--pictures is .* — give two sizes or more, of 100 at least"):
        options.parsed("library", ["--pictures", *sizes.split()])
