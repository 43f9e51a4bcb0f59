"""The pages that are written from the studio's tables say what the tables say today."""

import re
from pathlib import Path

import pytest

from krea_studio import documents
from krea_studio.cli.main import main
from krea_studio.engine.checkpoints.weight_files import PICKLES
from krea_studio.engine.lora.formats import FUSED
from krea_studio.engine.lora.strangers import TUNERS
from krea_studio.expansion.server_refusals import FIELDS
from krea_studio.files import CLUTTER
from krea_studio.library.foreign.tools import TOOLS
from krea_studio.library.pictures.formats import FORMATS


@pytest.mark.parametrize("name", documents.PAGES)
def test_the_committed_page_is_what_the_generator_gives(name: str) -> None:
    assert (documents.FOLDER / name).read_text("utf-8") == documents.PAGES[name](), f"run `{documents.COMMAND}`"


def test_the_command_writes_every_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["document", "--folder", str(tmp_path / "pages")]) == 0
    written = sorted((tmp_path / "pages").iterdir())
    assert [path.name for path in written] == sorted(documents.PAGES)
    assert sorted(capsys.readouterr().out.split()) == [str(path) for path in written]


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["document", "--folder", str(tmp_path / "file")]) == 4
    assert "cannot be written" in capsys.readouterr().err


def test_what_is_taken_in_is_listed_whole() -> None:
    page = documents.what_it_takes_in()
    for each in FORMATS:
        assert f"| {each.name} |" in page and all(f"`{ending}`" in page for ending in each.endings)
    assert all(f"| {tool.name} | {tool.written} |" in page for tool in TOOLS)
    words = " ".join(page.split())
    assert all(f"`{name}`" in words for name in (*CLUTTER, *FUSED, *PICKLES, *FIELDS))
    assert all(name in words for name in TUNERS.values())
    assert all(len(line) <= documents.WIDTH for line in page.splitlines() if not line.startswith("|"))
    assert not re.search(r"[{}]", page)
