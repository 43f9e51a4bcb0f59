"""Whose a moodboard is: what another did not share is as if it were not there, whatever is asked of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from krea_studio.direction.moodboards import Analysis, Cluster
from krea_studio.errors import InvalidRequest
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.references import References
from krea_studio.people import LOCAL, Person, member
from tests.doubles import picture
from tests.runs.conftest import shot_of

ADA, BEN, CLEO = member("ada"), member("ben"), member("cleo", admin=True)
STRANGER = Person("browser-0123456789abcdef0123456789abcdef")


@pytest.fixture
def boards(tmp_path: Path) -> Moodboards:
    """The operator's, who sees all."""
    return Moodboards(tmp_path / "moodboards", References(tmp_path / "references"))


@pytest.fixture
def image(boards: Moodboards, tmp_path: Path) -> str:
    """A board of ada's, and the picture that is on it."""
    path = tmp_path / "look.png"
    picture(shot_of()).save(path)
    boards.of(ADA).create("Secret Dusk")
    (image,) = boards.of(ADA).add("Secret Dusk", [path]).images
    found = Analysis(clusters=(Cluster(images=(image,)),), keywords=("a secret",), written_by="measured")
    boards.of(ADA).keep_analysis("Secret Dusk", found)
    return image


CHANGES: dict[str, Callable[[Moodboards, str, str], object]] = {
    "rename": lambda boards, name, image: boards.rename(name, "Mine"),
    "delete": lambda boards, name, image: boards.delete(name),
    "share": lambda boards, name, image: boards.share(name),
    "unshare": lambda boards, name, image: boards.share(name, False),
    "add": lambda boards, name, image: boards.add(name, []),
    "add_references": lambda boards, name, image: boards.add_references(name, [image]),
    "remove": lambda boards, name, image: boards.remove(name, image),
    "change_analysis": lambda boards, name, image: boards.change_analysis(name, lambda analysis: analysis),
    "keep_analysis": lambda boards, name, image: boards.keep_analysis(name, boards_analysis(image)),
}
USES: dict[str, Callable[[Moodboards, str, str], object]] = {
    "get": lambda boards, name, image: boards.get(name),
    "export": lambda boards, name, image: boards.export(name, boards.folder.parent / "out.zip"),
}


def boards_analysis(image: str) -> Analysis:
    return Analysis(clusters=(Cluster(images=(image,)),), written_by="measured")


def kept(boards: Moodboards) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in boards.folder.iterdir() if path.suffix == ".json"}


@pytest.mark.parametrize("method", [*CHANGES, *USES])
@pytest.mark.parametrize("name", ["Secret Dusk", "secret dusk", "Secret Dusk 2", "ada\0secret dusk", "ada"])
@pytest.mark.parametrize("person", [BEN, CLEO, STRANGER], ids=lambda person: person.id)
def test_what_is_not_shared_is_not_there(
    boards: Moodboards, image: str, method: str, name: str, person: Person
) -> None:
    before = kept(boards)
    with pytest.raises(InvalidRequest) as told:
        (CHANGES | USES)[method](boards.of(person), name, image)
    beside = told.value.message.replace(name.replace("\0", ""), "")
    assert "ada" not in beside and "secret" not in beside.lower()
    assert boards.of(person).names() == [] and kept(boards) == before


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("person", [BEN, STRANGER], ids=lambda person: person.id)
def test_what_is_shared_is_changed_by_nobody_else(boards: Moodboards, image: str, method: str, person: Person) -> None:
    boards.of(ADA).share("Secret Dusk")
    before = kept(boards)
    with pytest.raises(InvalidRequest):
        CHANGES[method](boards.of(person), "Secret Dusk", image)
    assert kept(boards) == before


def test_what_is_shared_is_used_by_who_is_signed_in_until_it_is_not_any_more(boards: Moodboards, image: str) -> None:
    boards.of(ADA).share("Secret Dusk")
    assert boards.of(BEN).names() == boards.of(CLEO).names() == ["Secret Dusk"] and boards.of(STRANGER).names() == []
    assert boards.of(BEN).get("secret dusk").content().keywords == ("a secret",)
    boards.of(ADA).share("Secret Dusk", False)
    assert boards.of(BEN).names() == [] and boards.of(ADA).names() == ["Secret Dusk"]


def test_an_admin_changes_and_ends_what_is_shared(boards: Moodboards, image: str) -> None:
    boards.of(ADA).share("Secret Dusk")
    boards.of(CLEO).rename("Secret Dusk", "Dusk")
    assert boards.of(ADA).names() == boards.of(BEN).names() == ["Dusk"] and boards.get("Dusk").owner == "ada"
    boards.of(CLEO).share("Dusk", False)
    assert boards.of(CLEO).names() == [] and boards.of(ADA).names() == ["Dusk"]


def test_each_may_have_a_board_of_a_name_and_a_hidden_one_is_not_betrayed(boards: Moodboards, image: str) -> None:
    boards.of(BEN).create("Secret Dusk")
    assert boards.of(BEN).get("Secret Dusk").images == () and boards.of(ADA).get("Secret Dusk").images == (image,)
    boards.of(ADA).share("Secret Dusk")
    assert boards.of(BEN).names() == ["Secret Dusk", "Secret Dusk 2"] and boards.of(ADA).names() == ["Secret Dusk"]
    assert boards.of(BEN).get("Secret Dusk 2").images == (image,)
    with pytest.raises(InvalidRequest, match="is ada's, who alone may change it"):
        boards.of(BEN).rename("Secret Dusk 2", "Mine")
    with pytest.raises(InvalidRequest, match="There is a moodboard 'secret dusk 2' already"):
        boards.of(BEN).create("secret dusk 2")
    boards.of(BEN).delete("Secret Dusk")
    assert boards.of(BEN).names() == ["Secret Dusk"] and boards.of(BEN).get("Secret Dusk").images == (image,)
    assert boards.names() == ["Secret Dusk"]


def test_what_was_there_before_and_what_the_operator_makes_is_everybody_s(boards: Moodboards) -> None:
    board = boards.create("Dawn")
    (content,) = kept(boards).values()
    assert json.loads(content)["schema_version"] == 1 and not board.owner
    for person in (ADA, BEN, CLEO, STRANGER, LOCAL):
        assert boards.of(person).names() == ["Dawn"]
    boards.of(BEN).rename("Dawn", "Noon")
    assert boards.of(ADA).get("Noon").owner == ""
    with pytest.raises(InvalidRequest, match="everybody's already"):
        boards.of(BEN).share("Noon")
    with pytest.raises(InvalidRequest, match="only who is signed in may change them"):
        boards.of(STRANGER).rename("Noon", "Mine")


def test_a_zip_does_not_say_whose_it_was_and_comes_in_as_its_importer_s(
    boards: Moodboards, image: str, tmp_path: Path
) -> None:
    boards.of(ADA).share("Secret Dusk")
    boards.of(BEN).export("Secret Dusk", tmp_path / "board.zip")
    assert b"ada" not in (tmp_path / "board.zip").read_bytes()
    mine = boards.of(BEN).import_(tmp_path / "board.zip")
    assert (mine.name, mine.owner, mine.team) == ("Secret Dusk 2", "ben", False)
    assert boards.of(ADA).names() == ["Secret Dusk"]


def test_the_operator_sees_all_and_what_is_private_goes_with_its_owner(boards: Moodboards, image: str) -> None:
    boards.of(BEN).create("Secret Dusk")
    boards.of(ADA).create("Shared")
    boards.of(ADA).share("Shared")
    assert boards.names() == ["Secret Dusk", "Secret Dusk 2", "Shared"]
    boards.of(ADA).delete_private()
    assert [boards.get(name).owner for name in boards.names()] == ["ben", "ada"]
