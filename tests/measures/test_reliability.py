"""The measurement of many people at once sees what it says it sees."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.measures.reliability import clients, files, report
from krea_studio.measures.reliability.clients import WAITS, Asked, Crowd, Look
from krea_studio.services import Services
from tests.library.test_store import save


def test_every_file_by_every_way_is_refused_in_a_line_or_taken(tmp_path: Path, services: Services) -> None:
    hostile = files.hostile_files(tmp_path / "hostile")
    counts, unclear = files.bring_in(hostile, services)
    assert not unclear
    assert all(each.total() == len(hostile) for each in counts.values())
    assert len(hostile) * len(counts) >= 200
    assert sum(each[files.REFUSED] for each in counts.values()) > 0.9 * len(hostile) * len(counts)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (InvalidRequest("This is no picture — give one"), files.REFUSED),
        (InvalidRequest("No"), files.UNCLEAR),
        (ValueError("no — at all"), files.UNCLEAR),
        (None, files.TAKEN),
    ],
)
def test_what_is_unclear_is_found(error: Exception | None, answer: str) -> None:
    def take(path: Path) -> None:
        if error:
            raise error

    assert files._answer(take, Path("x"))[0] == answer


def test_what_was_told_and_is_not_there_or_is_not_theirs_is_lost(tmp_path: Path, services: Services) -> None:
    library = services.library
    kept = save(library, owner="ada")
    crowd = Crowd(0)

    def told(person: str, prompt: str, path: Path) -> None:
        crowd.note(Asked(person, prompt, WAITS, [{"image": {"path": str(path)}}]))

    prompt = kept.recipe.prompt
    told("ada", prompt, kept.path)
    assert not clients._lost(library.folder, crowd)
    told("grace", prompt, kept.path)
    told("ada", "another prompt", kept.path)
    told("ada", prompt, kept.path.with_name("20260101-000000-0123456789abcdef.png"))
    crowd.note(Asked("ada", "nothing came", WAITS))
    assert len(clients._lost(library.folder, crowd)) == 4


def test_growth_compares_the_end_with_what_came_after_the_first_requests() -> None:
    def looks(memory: list[int]) -> list[Look]:
        return [Look(number, each, 1, 1, 0, 0) for number, each in enumerate(memory)]

    # What the first requests load does not count.
    assert report.growth(looks([1] * 200 + [100] * 400)) == 1
    assert report.growth(looks([100] * 200 + list(range(1000, 2000)))) == pytest.approx(1949.5 / 1049.5)
    assert report.growth(looks([100] * 300)) is None


def test_a_report_tells_how_many_were_lost() -> None:
    look = Look(0, 1, 2, 3, 1, 1)
    found = clients.Load([Asked("ada", "a", WAITS, refused="full")], [look], look, look, ["a"], ["b", "c"], 7, 1.5)
    table = "\n".join(report.load_table(found))
    assert "has not | 1 |" in table
    assert "did not | 2 |" in table
    assert "tracebacks in the log | 7 |" in table
    assert "1 × full" in table
    counted = report.files_table({"style": Counter({files.REFUSED: 4})}, [files.Unclear("empty", "style", "No")])
    assert "| style | 4 | 0 | 0 |" in counted
    assert counted[-1] == "- empty as style: No"


def test_few_clients_lose_nothing_and_see_nothing_of_each_other(tmp_path: Path) -> None:
    found = clients.load(tmp_path, requests=9, clients=3)
    assert len(found.asked) == 9
    assert not found.lost
    assert not found.foreign
    assert not found.tracebacks
    assert max(look.drawing for look in found.looks) == 1
    for picture in [each["image"]["path"] for asked in found.asked for each in asked.pictures]:
        with Image.open(picture) as image:
            assert image.size == (512, 512)
    assert any(asked.pictures for asked in found.asked)
