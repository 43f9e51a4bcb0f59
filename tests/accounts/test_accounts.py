"""Accounts: names, passwords, sign-ins and their end, in a file that nobody else reads."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from krea_studio.accounts import accounts as module
from krea_studio.accounts.accounts import FILE, WRONG, Accounts
from krea_studio.accounts.throttle import MOST
from krea_studio.errors import InvalidRequest, StorageError

PASSWORD = "seven foxes in snow"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "library")


def test_an_account_signs_in_and_out(accounts: Accounts, tmp_path: Path) -> None:
    added = accounts.add("Ada", PASSWORD, admin=True)
    token = accounts.sign_in("ada", PASSWORD, "here")
    found = Accounts(tmp_path / "library").signed_in(token)
    assert found == added and found.admin and accounts.all() == [added]
    accounts.sign_out(token)
    assert accounts.signed_in(token) is None


def test_nobody_else_reads_passwords_or_tokens(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add("ada", PASSWORD)
    token = accounts.sign_in("ada", PASSWORD, "here")
    for path in (tmp_path / "library").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_bytes()
        assert PASSWORD.encode() not in content and token.encode() not in content


@pytest.mark.parametrize("name", ["", "local", "LOCAL", "browser-1", "a" * 65, "-a", "a b", "ä", "../a", "a\n"])
def test_a_name_that_cannot_be_used_is_told(accounts: Accounts, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be used — give up to 64 letters"):
        accounts.add(name, PASSWORD)
    assert accounts.all() == []


@pytest.mark.parametrize("password", ["", "short", "x" * 501])
def test_a_password_has_ten_characters(accounts: Accounts, password: str) -> None:
    with pytest.raises(InvalidRequest, match=f"has {len(password)} characters — give 10 to 500"):
        accounts.add("ada", password)


def test_a_name_is_one_account_in_whatever_case(accounts: Accounts) -> None:
    accounts.add("Ada", PASSWORD)
    with pytest.raises(InvalidRequest, match="There is an account 'ADA' already"):
        accounts.add("ADA", PASSWORD)
    assert accounts.get("aDa").name == "Ada"
    assert accounts.remove("ada").name == "Ada" and accounts.all() == []
    with pytest.raises(InvalidRequest, match="There is no account 'ada'"):
        accounts.remove("ada")


def test_wrong_names_and_passwords_are_told_alike_and_throttled(accounts: Accounts) -> None:
    accounts.add("ada", PASSWORD)
    for number in range(MOST):
        with pytest.raises(InvalidRequest) as told:
            accounts.sign_in("ada" if number % 2 else "nobody", f"wrong {number}", "here")
        assert told.value.message == WRONG
    with pytest.raises(InvalidRequest, match="too many wrong passwords — try again in 15 minutes"):
        accounts.sign_in("ada", PASSWORD, "here")
    assert accounts.signed_in(accounts.sign_in("ada", PASSWORD, "elsewhere"))


def test_a_new_password_and_a_removal_end_all_sign_ins(accounts: Accounts) -> None:
    accounts.add("ada", PASSWORD)
    token = accounts.sign_in("ada", PASSWORD, "here")
    accounts.set_password("ADA", PASSWORD[::-1])
    assert accounts.signed_in(token) is None
    token = accounts.sign_in("ada", PASSWORD[::-1], "here")
    accounts.remove("ada")
    accounts.add("ada", PASSWORD)
    assert accounts.signed_in(token) is None


def test_a_sign_in_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(tmp_path, timedelta(days=2))
    accounts.add("ada", PASSWORD)
    token, now = accounts.sign_in("ada", PASSWORD, "here"), module._moment()
    monkeypatch.setattr(module, "_moment", lambda: now + 2 * 86_400 - 60)
    assert accounts.signed_in(token)
    monkeypatch.setattr(module, "_moment", lambda: now + 2 * 86_400 + 60)
    assert accounts.signed_in(token) is None


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="The accounts in .* cannot be used"):
        Accounts(tmp_path).all()
