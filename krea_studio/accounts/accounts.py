"""Accounts, and the browsers that are signed in by them, in a file that only its owner can read.

An account has a password, or is a person's of the Hugging Face Hub, who is vouched for and has none here. Passwords
are kept as argon2id makes them (RFC 9106), sign-ins as hashes of their tokens: who reads the file can sign in by
neither. Several processes may use it at once, such as the page and the command line.
"""

import hashlib
import os
import re
import secrets
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from krea_studio.accounts.throttle import Throttle
from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.files import make_folder
from krea_studio.validation import shown

FILE = "accounts.sqlite3"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = re.compile(r"local|browser-.*", re.IGNORECASE)
"""What the owners of pictures are called who have no account."""
HUB = "hf:"
"""What the names of the Hub's people begin with here; no other account's can, for its colon."""
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
LEAST_CHARACTERS, MOST_CHARACTERS = 10, 500
PRIVATE = 0o600
BUSY_TIMEOUT_SECONDS = 20.0
MOST_KNOWN = 10_000
WRONG = "The name or the password is wrong — try again"
MOST_WRONG, MOST_WRONG_OF_ACCOUNT, MOST_WRONG_OF_ADDRESS = 10, 50, 100
"""Passwords that may be tried within a while: for an account from one address, for an account, from an address. A team
behind one proxy is one address; who has signed in from where before is not held up by others who try."""
CLOSED = "closed"  # in the place of a password, which no password matches


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in; `name` owns the pictures.

    An admin sees how much all make, and may end runs and remove accounts.
    """

    name: str
    admin: bool
    added_at: datetime

    @property
    def is_hub(self) -> bool:
        """Whether it is a person's of the Hub, and nobody's who has a password."""
        return self.name.startswith(HUB)


class Accounts:
    """The accounts of the studio whose library is in a folder. Threads and processes may share them."""

    def __init__(self, folder: Path, stay: timedelta = timedelta(days=7)) -> None:
        """`stay` is how long a browser is signed in. The file is made with the first account."""
        self._path, self._stay = folder / FILE, stay
        self._throttle = Throttle()
        self._known: dict[tuple[str, str], None] = {}  # by which address each account has signed in
        self._hasher = PasswordHasher()
        self._hashing = threading.Lock()  # one at a time: each takes 64 MiB and all of a core
        self._nobodys = ""  # what an unknown name's password is compared with, which takes as long

    def add(self, name: str, password: str, admin: bool = False, back: bool = False) -> Account:
        """Make an account; `back` is one that was removed before, whose pictures it has again.

        Raises InvalidRequest for a name or password that cannot be used, StorageError.
        """
        self.require_name(name)
        kept = self._kept(password)
        with self._changing() as connection:
            if connection.execute("SELECT 1 FROM account WHERE name = ?", (name,)).fetchone():
                raise InvalidRequest(f"There is an account {shown(name)} already — choose another name")
            if not back and connection.execute("SELECT 1 FROM former WHERE name = ?", (name,)).fetchone():
                raise InvalidRequest(
                    f"There was an account {shown(name)}, whose pictures are still there — choose another name, or "
                    "give it back to who had it with --back"
                )
            connection.execute("DELETE FROM former WHERE name = ?", (name,))
            connection.execute("DELETE FROM session WHERE account = ?", (name,))
            connection.execute("INSERT INTO account VALUES (?, ?, ?, ?)", (name, kept, admin, _moment()))
        return self.get(name)

    def let_back(self, name: str) -> None:
        """Let a person of the Hub sign in again who was removed. Raises InvalidRequest, StorageError."""
        with self._changing() as connection:
            if not connection.execute("DELETE FROM former WHERE name = ?", (name,)).rowcount:
                raise InvalidRequest(f"Nobody called {shown(name)} was removed — `accounts list` names who may sign in")

    def name_admins(self, names: Iterable[str]) -> None:
        """Of the Hub's people those of these names there are admins, and nobody else. Raises StorageError."""
        admins = {f"{HUB}{name}".lower() for name in names}
        hub = [account for account in self.all() if account.is_hub]
        if changed := [account for account in hub if account.admin != (account.name.lower() in admins)]:
            with self._changing() as connection:
                for account in changed:
                    connection.execute("UPDATE account SET admin = ? WHERE name = ?", (not account.admin, account.name))

    def require_name(self, name: str) -> None:
        """Raise InvalidRequest for what cannot be a name."""
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            raise InvalidRequest(
                f"The name {shown(name)} cannot be used — give up to 64 letters, digits, dots, dashes and underscores, "
                "beginning with a letter or digit; not local, and none that begins with browser-"
            )

    def get(self, name: str) -> Account:
        """The account of this name, in whatever case. Raises InvalidRequest where there is none, StorageError."""
        for account in self.all():
            if account.name.lower() == name.lower():
                return account
        raise InvalidRequest(f"There is no account {shown(name)} — `accounts list` names them")

    def all(self) -> list[Account]:
        """All accounts by name. Raises StorageError."""
        rows = self._select("SELECT name, admin, added_at FROM account ORDER BY name")
        return [Account(name, bool(admin), datetime.fromtimestamp(moment, UTC)) for name, admin, moment in rows]

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password, which ends its sign-ins. Raises InvalidRequest, StorageError."""
        account, kept = self.get(name), self._kept(password)
        if account.is_hub:
            raise InvalidRequest(f"{account.name} signs in by Hugging Face — no password is needed, or taken, here")
        with self._changing() as connection:
            connection.execute("UPDATE account SET password = ? WHERE name = ?", (kept, account.name))
            connection.execute("DELETE FROM session WHERE account = ?", (account.name,))

    def close(self, name: str) -> Account:
        """Let nobody sign in by an account any more, and sign it out. Raises InvalidRequest, StorageError."""
        account = self.get(name)
        with self._changing() as connection:
            connection.execute("UPDATE account SET password = ? WHERE name = ?", (CLOSED, account.name))
            connection.execute("DELETE FROM session WHERE account = ?", (account.name,))
            if account.is_hub:  # who has no password that could be taken away
                connection.execute("INSERT OR REPLACE INTO former VALUES (?)", (account.name,))
        return account

    def remove(self, name: str, with_pictures: bool = False) -> Account:
        """Remove an account. Unless what it made is gone too, nobody else gets its name; who is the Hub's stays out.

        Raises InvalidRequest, StorageError.
        """
        account = self.get(name)
        with self._changing() as connection:
            connection.execute("DELETE FROM session WHERE account = ?", (account.name,))
            connection.execute("DELETE FROM account WHERE name = ?", (account.name,))
            if account.is_hub or not with_pictures:
                connection.execute("INSERT OR REPLACE INTO former VALUES (?)", (account.name,))
        return account

    def sign_in(self, name: str, password: str, address: str, before: str = "") -> str:
        """A token by which the browser at a network address is signed in; that of `before` ends.

        Raises InvalidRequest for a wrong name or password, which are not told apart, and for too many of them from
        this address or for this account; StorageError.
        """
        if len(password) > MOST_CHARACTERS:
            raise InvalidRequest(WRONG)
        folded = name.lower()
        pair, of_account, of_address = f"{address} {folded}", f"account {folded}", f"address {address}"
        limits = {pair: MOST_WRONG, of_account: MOST_WRONG_OF_ACCOUNT, of_address: MOST_WRONG_OF_ADDRESS}
        if (folded, address) in self._known:
            del limits[of_account]
        self._throttle.attempt(limits)
        rows = self._select("SELECT name, password FROM account WHERE name = ?", name)
        account, kept = rows[0] if rows else ("", None)
        if not self._matches(kept, password):
            raise InvalidRequest(WRONG)
        with self._changing() as connection:
            # The account as it was when the password was looked at: it may have been changed or removed meanwhile.
            token = self._signed_in_now(connection, account, kept, before)
            if not token:
                raise InvalidRequest(WRONG)
        self._throttle.forget(pair)
        self._throttle.forgive(*(key for key in (of_account, of_address) if key in limits))
        self._known[folded, address] = None
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return token

    def admit(self, name: str, subject: str, admin: bool, before: str = "") -> str:
        """A token by which the browser of a person of the Hub is signed in, who has just been vouched for.

        `name` is theirs there, `subject` what stays theirs whatever they are called. The account is made where there
        is none, and `admin` or not from now on; the sign-in of `before` ends. Raises InvalidRequest where the name was
        somebody else's before or was removed here, StorageError.
        """
        if not HUB_NAME.fullmatch(name) or not subject:
            raise InvalidRequest(f"The name {shown(name)} cannot be used here — ask who runs this studio")
        own = HUB + name
        with self._changing() as connection:
            if connection.execute("SELECT 1 FROM former WHERE name = ?", (own,)).fetchone():
                raise InvalidRequest(f"{shown(name)} was removed from this studio — ask who runs it")
            connection.execute("INSERT OR IGNORE INTO hub VALUES (?, ?)", (own, subject))
            if connection.execute("SELECT subject FROM hub WHERE name = ?", (own,)).fetchone() != (subject,):
                raise InvalidRequest(f"{shown(name)} was somebody else's name before — ask who runs this studio")
            connection.execute("INSERT OR IGNORE INTO account VALUES (?, ?, ?, ?)", (own, CLOSED, admin, _moment()))
            connection.execute("UPDATE account SET admin = ? WHERE name = ?", (admin, own))
            return self._signed_in_now(connection, own, CLOSED, before)

    def signed_in(self, token: str) -> Account | None:
        """Who is signed in by a token; None where nobody is, or not any more. Raises StorageError."""
        rows = self._select(
            "SELECT name, admin, added_at FROM session JOIN account ON name = account WHERE token = ? AND ends_at > ?",
            _told(token),
            _moment(),
        )
        return next((Account(name, bool(admin), datetime.fromtimestamp(at, UTC)) for name, admin, at in rows), None)

    def sign_out(self, token: str) -> None:
        """End a sign-in. Raises StorageError."""
        with self._changing() as connection:
            connection.execute("DELETE FROM session WHERE token = ?", (_told(token),))

    def _signed_in_now(self, connection: sqlite3.Connection, account: str, kept: str | None, before: str) -> str:
        """A token for an account that has this kept password; empty where there is none. What has ended is removed."""
        token = secrets.token_urlsafe(32)
        connection.execute("DELETE FROM session WHERE ends_at <= ? OR token = ?", (_moment(), _told(before)))
        made = connection.execute(
            "INSERT INTO session SELECT ?, name, ? FROM account WHERE name = ? AND password = ?",
            (_told(token), _moment() + int(self._stay.total_seconds()), account, kept),
        )
        return token if made.rowcount else ""

    def _kept(self, password: str) -> str:
        if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
            raise InvalidRequest(
                f"The password has {len(password)} characters — give {LEAST_CHARACTERS} to {MOST_CHARACTERS}"
            )
        with self._hashing:
            return self._hasher.hash(_normalized(password))

    def _matches(self, kept: str | None, password: str) -> bool:
        """Whether a password is the kept one; for None, which nobody's is, it takes as long."""
        with self._hashing:
            self._nobodys = self._nobodys or self._hasher.hash(secrets.token_hex())
            try:
                return self._hasher.verify(kept or self._nobodys, _normalized(password)) and kept is not None
            except (VerificationError, InvalidHashError, InvalidRequest):
                return False

    def _select(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        with self._open() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            try:
                make_folder(self._path.parent)
                # Before SQLite does, which would let others read it; what it puts beside it is as private.
                os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, PRIVATE))
            except OSError as error:
                raise StorageError(
                    f"The accounts in {self._path} cannot be written ({error.strerror or error}) — check the folder"
                ) from None
        with self._open() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._path.stat().st_mode & 0o077:  # a backup may have brought it back so
                self._path.chmod(PRIVATE)
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
                for table in TABLES:
                    connection.execute(table)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"The accounts in {self._path} cannot be used ({error}) — check the file") from None


TABLES = (
    "CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY COLLATE NOCASE, password TEXT NOT NULL, "
    "admin INTEGER NOT NULL, added_at INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS session (token TEXT PRIMARY KEY, account TEXT NOT NULL COLLATE NOCASE, "
    "ends_at INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS former (name TEXT PRIMARY KEY COLLATE NOCASE)",
    "CREATE TABLE IF NOT EXISTS hub (name TEXT PRIMARY KEY COLLATE NOCASE, subject TEXT NOT NULL)",
)


def _normalized(password: str) -> str:
    """The same for every way in which a keyboard may compose it. Raises InvalidRequest for what is no text."""
    try:
        password.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The password is no text in UTF-8 — give another") from None
    return unicodedata.normalize("NFC", password)


def _told(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _moment() -> int:
    return int(time.time())
