"""One row per picture, in SQLite.

Several processes may use the same records at once (the page and the command line): each statement that writes is one
short transaction, and who comes second waits. Paths are kept relative to the library's folder, which may be moved.
What is in a picture is not known here; the store passes it in.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from krea_studio.errors import StorageError

BUSY_TIMEOUT_SECONDS = 20.0

MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = []


def migration(function: Callable[[sqlite3.Connection], None]) -> Callable[[sqlite3.Connection], None]:
    """Append to the numbered migrations; the database's `user_version` counts those that were applied."""
    MIGRATIONS.append(function)
    return function


@migration
def m001_pictures(connection: sqlite3.Connection) -> None:
    """The first table; `created_at` is ISO 8601 in UTC with microseconds, so it sorts as text."""
    connection.execute(
        """
        CREATE TABLE picture (
            id TEXT PRIMARY KEY,
            file TEXT NOT NULL UNIQUE,
            seed INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            variant TEXT NOT NULL,
            checkpoint TEXT NOT NULL,
            prompt TEXT NOT NULL,
            seconds REAL NOT NULL,
            created_at TEXT NOT NULL,
            owner TEXT NOT NULL,
            recipe TEXT NOT NULL
        )
        """
    )
    connection.execute("CREATE INDEX picture_by_time ON picture (created_at)")
    connection.execute("CREATE INDEX picture_by_owner ON picture (owner, created_at)")


@dataclass(frozen=True)
class Record:
    """One kept picture. `seconds` is the time it took, 0.0 where that is not known any more."""

    id: str
    path: Path
    thumbnail: Path
    seed: int
    width: int
    height: int
    variant: str
    checkpoint: str
    prompt: str
    seconds: float
    created_at: datetime
    owner: str
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A record as it lies in the table: `file` is relative to the library's folder, with forward slashes."""

    id: str
    file: str
    seconds: float
    created_at: datetime
    owner: str
    recipe: dict[str, Any]


class Records:
    """The table of pictures in one database file, made when it does not exist yet."""

    def __init__(self, database: Path):
        """Open `database` and bring it to the present schema.

        Raises StorageError where it cannot be written, is damaged, or was written by a newer studio.
        """
        self.database = database
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                database, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._storage_error(error) from None
        try:
            self._use_write_ahead_log()
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def _use_write_ahead_log(self) -> None:
        # SQLite does not wait for other processes when it changes the journal mode, so this waits itself.
        give_up = time.monotonic() + BUSY_TIMEOUT_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise self._storage_error(error) from None
                time.sleep(0.05)
            except sqlite3.Error as error:
                raise self._storage_error(error) from None

    def _migrate(self) -> None:
        with self.transaction() as connection:
            applied = connection.execute("PRAGMA user_version").fetchone()[0]
            if applied > len(MIGRATIONS):
                raise StorageError(
                    f"{self.database} has schema {applied}, this studio knows {len(MIGRATIONS)} — "
                    "use a newer studio, or another library folder"
                )
            for number, migrate in enumerate(MIGRATIONS[applied:], start=applied + 1):
                migrate(connection)
                connection.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, for the statements run on the connection that it gives.

        The lock is held throughout: the connection is one for all threads, and SQLite would mix their statements into
        one transaction. `BEGIN IMMEDIATE` takes the database's own write lock at once, so that a transaction that
        reads first cannot find it taken by another process half way. SQLite's errors come out as StorageError.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._storage_error(error) from None

    def _storage_error(self, error: sqlite3.Error) -> StorageError:
        text = str(error)
        if "full" in text:
            return StorageError(f"The disk that holds {self.database} is full — free some space and try again")
        if isinstance(error, sqlite3.OperationalError):
            return StorageError(
                f"The records {self.database} cannot be used ({text}) — check that the folder exists and can be written"
            )
        return StorageError(
            f"The records {self.database} are damaged ({text}) — move the file away; "
            "a new one is filled from the recipes inside the pictures"
        )

    def add(self, row: Row) -> None:
        """Write a row. One with the same id, which another process may have found on disk, is replaced."""
        self._insert("INSERT OR REPLACE", [row])

    def add_missing(self, rows: list[Row]) -> None:
        """Write those rows whose pictures have none yet."""
        self._insert("INSERT OR IGNORE", rows)

    def _insert(self, verb: str, rows: list[Row]) -> None:
        with self.transaction() as connection:
            connection.executemany(
                f"""
                {verb} INTO picture
                    (id, file, seed, width, height, variant, checkpoint, prompt, seconds, created_at, owner, recipe)
                VALUES
                    (:id, :file, :seed, :width, :height, :variant, :checkpoint, :prompt, :seconds, :created_at, :owner,
                     :recipe)
                """,
                [
                    {
                        "id": row.id,
                        "file": row.file,
                        **{
                            key: row.recipe[key]
                            for key in ("seed", "width", "height", "variant", "checkpoint", "prompt")
                        },
                        "seconds": row.seconds,
                        "created_at": row.created_at.isoformat(timespec="microseconds"),
                        "owner": row.owner,
                        "recipe": json.dumps(row.recipe, ensure_ascii=False),
                    }
                    for row in rows
                ],
            )

    def files(self) -> set[str]:
        """The relative paths of all pictures that have a row."""
        return {file for (file,) in self._select("SELECT file FROM picture", ())}

    def get(self, picture_id: str) -> Row | None:
        """The row of one picture, None where there is none."""
        found = self._select(f"SELECT {_COLUMNS} FROM picture WHERE id = ?", (picture_id,))
        return _row(found[0]) if found else None

    def page(self, owner: str | None, limit: int, offset: int) -> list[Row]:
        """Up to `limit` rows, newest first, of one owner or of all (None)."""
        found = self._select(
            f"""
            SELECT {_COLUMNS} FROM picture WHERE owner = coalesce(?, owner)
            ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?
            """,
            (owner, limit, offset),
        )
        return [_row(columns) for columns in found]

    def _select(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._storage_error(error) from None

    def close(self) -> None:
        """Close the database; the records cannot be used afterwards."""
        with self._lock:
            self._connection.close()


_COLUMNS = "id, file, seconds, created_at, owner, recipe"


def _row(columns: tuple[Any, ...]) -> Row:
    picture_id, file, seconds, created_at, owner, recipe = columns
    return Row(picture_id, file, seconds, datetime.fromisoformat(created_at), owner, json.loads(recipe))
