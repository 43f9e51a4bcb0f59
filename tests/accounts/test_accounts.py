"""Accounts: names, passwords, sign-ins and their end, in a file that nobody else reads."""

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from krea_studio.accounts import accounts as module
from krea_studio.accounts.accounts import FILE, MOST_WRONG, MOST_WRONG_OF_ACCOUNT, WRONG, Accounts
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


def wrong(accounts: Accounts, name: str, address: str, times: int) -> None:
    for number in range(times):
        with pytest.raises(InvalidRequest) as told:
            accounts.sign_in(name, f"wrong {number}", address)
        assert told.value.message == WRONG


@pytest.fixture
def quick(accounts: Accounts) -> Accounts:
    """Accounts with ada, whose passwords take no time."""
    accounts._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    accounts.add("ada", PASSWORD)
    return accounts


def test_wrong_names_and_passwords_are_told_alike_and_throttled(quick: Accounts) -> None:
    for name in ("ada", "nobody"):
        wrong(quick, name, "here", MOST_WRONG)
        with pytest.raises(InvalidRequest, match="too many wrong passwords — try again in 15 minutes"):
            quick.sign_in(name, PASSWORD, "here")
    assert quick.signed_in(quick.sign_in("ada", PASSWORD, "elsewhere"))
    with pytest.raises(InvalidRequest, match=WRONG):
        quick.sign_in("ada", "x" * 501, "elsewhere")


def test_many_at_once_are_no_way_round(quick: Accounts) -> None:
    def told(number: int) -> str:
        try:
            return quick.sign_in("ada", f"wrong {number}", "here")
        except InvalidRequest as error:
            return error.message

    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(told, range(25)))
    assert answers.count(WRONG) == MOST_WRONG


def test_who_tries_from_everywhere_locks_nobody_out_of_the_usual_place(quick: Accounts) -> None:
    quick.sign_in("ada", PASSWORD, "home")
    for number in range(MOST_WRONG_OF_ACCOUNT // MOST_WRONG):
        wrong(quick, "ada", f"far {number}", MOST_WRONG)
    with pytest.raises(InvalidRequest, match="too many"):
        quick.sign_in("ada", PASSWORD, "a new place")
    assert quick.signed_in(quick.sign_in("Ada", PASSWORD, "home"))


def test_what_changes_while_a_password_is_looked_at_counts(quick: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    matches = quick._matches

    def meanwhile(change: Callable[[], object]) -> None:
        def slow(kept: str | None, password: str) -> bool:
            found = matches(kept, password)
            monkeypatch.undo()
            change()
            return found

        monkeypatch.setattr(quick, "_matches", slow)

    for change in (
        lambda: quick.set_password("ada", PASSWORD[::-1]),
        lambda: quick.remove("ada"),
        lambda: quick.close("ada"),
    ):
        meanwhile(change)
        with pytest.raises(InvalidRequest, match=WRONG):
            quick.sign_in("ada", PASSWORD, "here")
        if any(account.name == "ada" for account in quick.all()):
            quick.remove("ada", with_pictures=True)
        quick.add("ada", PASSWORD, back=True)


def test_a_closed_account_lets_nobody_in(quick: Accounts) -> None:
    token = quick.sign_in("ada", PASSWORD, "here")
    quick.close("ada")
    assert quick.signed_in(token) is None and quick.get("ada")
    for password in (PASSWORD, module.CLOSED):
        with pytest.raises(InvalidRequest, match=WRONG):
            quick.sign_in("ada", password, "here")


def test_a_second_sign_in_of_a_browser_ends_the_first(quick: Accounts) -> None:
    first = quick.sign_in("ada", PASSWORD, "here")
    second = quick.sign_in("ada", PASSWORD, "here", before=first)
    assert quick.signed_in(first) is None and quick.signed_in(second)


def test_a_name_goes_to_nobody_else_while_its_pictures_are_there(quick: Accounts) -> None:
    quick.remove("ada")
    with pytest.raises(InvalidRequest, match="whose pictures are still there .* --back"):
        quick.add("ADA", PASSWORD)
    assert quick.add("ada", PASSWORD, back=True)
    quick.remove("ada", with_pictures=True)
    assert quick.add("ada", PASSWORD)


def test_a_password_is_the_same_however_it_was_typed(quick: Accounts) -> None:
    quick.set_password("ada", "ein Fu\u0308chslein")
    assert quick.sign_in("ada", "ein F\u00fcchslein", "here")
    with pytest.raises(InvalidRequest, match="no text in UTF-8"):
        quick.set_password("ada", "seven foxes \udcff in snow")
    with pytest.raises(InvalidRequest, match=WRONG):
        quick.sign_in("ada", "seven foxes \udcff in snow", "here")


def test_a_file_that_others_could_read_is_closed_to_them(quick: Accounts, tmp_path: Path) -> None:
    path = tmp_path / "library" / FILE
    path.chmod(0o644)
    quick.all()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_password_and_a_removal_end_all_sign_ins(accounts: Accounts) -> None:
    accounts.add("ada", PASSWORD)
    token = accounts.sign_in("ada", PASSWORD, "here")
    accounts.set_password("ADA", PASSWORD[::-1])
    assert accounts.signed_in(token) is None
    token = accounts.sign_in("ada", PASSWORD[::-1], "here")
    accounts.remove("ada")
    accounts.add("ada", PASSWORD, back=True)
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
