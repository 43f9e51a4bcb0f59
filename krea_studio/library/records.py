"""One row per picture, in SQLite.

Several processes may use the same records at once (the page and the command line): each statement that writes is one
short transaction, and who comes second waits. Paths are kept relative to the library's folder, which may be moved.
A row keeps the recipe as JSON; what it says is read as that of a picture is.
"""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.recipe.recipe import Recipe

BUSY_TIMEOUT_SECONDS = 20.0
THUMBNAIL_FOLDER = "thumbnails"

logger = logging.getLogger(__name__)

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


@migration
def m002_runs(connection: sqlite3.Connection) -> None:
    """What is drawn for whom; a run's pictures have ids that follow from its own."""
    connection.execute(
        """
        CREATE TABLE run (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            owner TEXT NOT NULL,
            title TEXT NOT NULL,
            state TEXT NOT NULL,
            created_at TEXT NOT NULL,
            started_at TEXT,
            ended_at TEXT,
            request TEXT,
            failure TEXT NOT NULL DEFAULT ''
        )
        """
    )
    connection.execute("CREATE INDEX run_by_state ON run (state)")


@dataclass(frozen=True)
class Record:
    """One kept picture. `seconds` is the time it took, 0.0 where that is not known any more.

    Its file is named by the time, its id and the seed: `2026-01-02/120000-0123456789abcdef-s7.png`.
    """

    recipe: Recipe
    path: Path
    owner: str
    seconds: float
    created_at: datetime

    @property
    def id(self) -> str:
        return self.path.name.split("-")[1]

    @property
    def thumbnail(self) -> Path:
        """A small JPEG; the picture itself where that is gone."""
        thumbnail = thumbnail_of(self.path)
        return thumbnail if thumbnail.is_file() else self.path

    def as_json(self) -> dict[str, Any]:
        """What command line and page tell of a picture, beside its file."""
        recipe = self.recipe
        return {
            "seed": recipe.seed,
            "width": recipe.width,
            "height": recipe.height,
            "variant": recipe.variant,
            "checkpoint": recipe.checkpoint,
            "prompt": recipe.prompt,
            "seconds": round(self.seconds, 3),
            "recipe": recipe.as_json(),
        }


def seconds_text(seconds: float) -> str:
    """A duration as people read it: `0.8 s`, whole seconds from 2 s on, and from 90 s on `2 min 5 s`."""
    if round(seconds, 1) < 2:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def thumbnail_of(path: Path) -> Path:
    """Where the thumbnail of a picture lies: in the library's folder, by day as the pictures are."""
    return (path.parents[1] / THUMBNAIL_FOLDER / path.parent.name / path.name).with_suffix(".jpg")


class Records:
    """The table of the pictures in the folder of a database file, which is made when it does not exist yet."""

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
                # With less, what was committed last is lost when the power goes.
                self._connection.execute("PRAGMA synchronous = FULL")
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

    def add(self, record: Record) -> None:
        """Write a row. One with the same id, which another process may have found on disk, is replaced."""
        self._insert("INSERT OR REPLACE", [record])

    def add_missing(self, records: list[Record]) -> None:
        """Write the rows of those pictures that have none yet."""
        self._insert("INSERT OR IGNORE", records)

    def _insert(self, verb: str, records: list[Record]) -> None:
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
                        **record.as_json(),
                        "id": record.id,
                        "file": record.path.relative_to(self.database.parent).as_posix(),
                        "seconds": record.seconds,
                        "created_at": record.created_at.isoformat(timespec="microseconds"),
                        "owner": record.owner,
                        "recipe": json.dumps(record.recipe.as_json(), ensure_ascii=False),
                    }
                    for record in records
                ],
            )

    def files(self) -> set[str]:
        """The relative paths of all pictures that have a row."""
        return {file for (file,) in self._select("SELECT file FROM picture", ())}

    def get(self, picture_id: str) -> Record | None:
        """The record of one picture, None where there is none."""
        found = self._select(f"SELECT {_COLUMNS} FROM picture WHERE id = ?", (picture_id,))
        return next(self._records(found), None)

    def page(self, owner: str | None, limit: int, offset: int) -> list[Record]:
        """Those of up to `limit` rows, newest first, of one owner or of all (None), that this studio can read."""
        # Two statements: one that asks for either is answered without the index of owners.
        whose, values = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
        found = self._select(
            f"SELECT {_COLUMNS} FROM picture {whose} ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        return list(self._records(found))

    def count(self) -> int:
        """How many rows there are."""
        return int(self._select("SELECT count(*) FROM picture", ())[0][0])

    def _records(self, rows: list[tuple[Any, ...]]) -> Iterator[Record]:
        for file, seconds, created_at, owner, recipe in rows:
            try:
                read = Recipe.from_json(json.loads(recipe))
            except (InvalidRequest, ValueError) as error:
                logger.warning("The picture %s is left out: %s", file, error)
                continue
            yield Record(read, self.database.parent / file, owner, seconds, datetime.fromisoformat(created_at))

    def _select(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._storage_error(error) from None

    def close(self) -> None:
        """Close the database; the records cannot be used afterwards.

        The last process that closes it leaves all rows in the one file, which can be copied then.
        """
        with self._lock:
            self._connection.close()


_COLUMNS = "file, seconds, created_at, owner, recipe"
