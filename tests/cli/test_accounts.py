"""The command `accounts`."""

import io
import json

import pytest

from krea_studio.accounts.accounts import Accounts
from krea_studio.cli.main import main
from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, member
from tests.doubles import picture
from tests.runs.conftest import shot_of

PASSWORD = "seven foxes in snow"


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    monkeypatch.setenv("KREA_STUDIO_LIBRARY", str(library.folder))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n" * 5))


def test_accounts_are_made_listed_and_changed(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accounts", "add", "ada", "--admin"]) == main(["accounts", "add", "ben"]) == 0
    assert main(["accounts", "list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(each["name"], each["admin"]) for each in listed] == [("ada", True), ("ben", False)]
    accounts = Accounts(library.folder)
    token = accounts.sign_in("ada", PASSWORD, "here")
    assert main(["accounts", "password", "ada"]) == 0 and accounts.signed_in(token) is None
    assert main(["accounts", "add", "ada"]) == 2 and "already" in capsys.readouterr().err


def test_an_account_is_removed_without_its_pictures_or_with_them(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ada", "ben"):
        assert main(["accounts", "add", name]) == 0
        shot = shot_of()
        library.save(shot.recipe("mini-turbo"), picture(shot), 1.0, member(name))
    assert main(["accounts", "remove", "ada"]) == 0
    assert "Pictures of that name stay" in capsys.readouterr().out and len(library.recent(9, LOCAL)) == 2
    assert main(["accounts", "remove", "ben", "--with-pictures"]) == 0
    assert "ben is removed, with 1 picture." in capsys.readouterr().out
    assert [record.owner for record in library.recent(9, LOCAL)] == ["ada"]
    assert main(["accounts", "remove", "ben"]) == 2 and "There is no account" in capsys.readouterr().err


def test_who_signs_in_by_hugging_face_is_listed_removed_and_let_back(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = Accounts(library.folder)
    accounts.admit("ada", "1", admin=True)
    assert main(["accounts", "list"]) == 0 and capsys.readouterr().out.startswith("hf:ada, admin, since ")
    assert main(["accounts", "password", "hf:ada"]) == 2 and "signs in by Hugging Face" in capsys.readouterr().err
    assert main(["accounts", "add", "hf:ada"]) == 2 and "cannot be used" in capsys.readouterr().err
    assert main(["accounts", "remove", "hf:ada"]) == 0
    with pytest.raises(InvalidRequest, match="was removed from this studio"):
        accounts.admit("ada", "1", admin=True)
    assert main(["accounts", "add", "hf:ada", "--back"]) == 0 and "again" in capsys.readouterr().out
    assert accounts.admit("ada", "1", admin=True)
    assert main(["accounts", "add", "hf:ben", "--back"]) == 2 and "Nobody called" in capsys.readouterr().err
