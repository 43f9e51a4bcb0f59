"""One row per picture, in SQLite.

Several processes may use the same records at once (the page and the command line): each statement that writes is one
short transaction, and who comes second waits. Paths are kept relative to the library's folder, which may be moved.
A row keeps the recipe as JSON; what it says is read as that of a picture is. What a picture is found by is written in
the same transaction as its row.
"""

import json
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.history.index import Indexed
from krea_studio.library.history.search import moment_of, time_of
from krea_studio.library.schema import MIGRATIONS, index
from krea_studio.people import Person
from krea_studio.recipe.recipe import Recipe
from krea_studio.validation import shown

BUSY_TIMEOUT_SECONDS = 20.0
SECOND = 1_000_000
OF_LATE = timedelta(days=1)
THUMBNAIL_FOLDER = "thumbnails"
BIN_FOLDER = "bin"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
ID = re.compile(r"[0-9a-f]{16}")
PICTURE = re.compile(rf"\d{{6}}-(?P<id>{ID.pattern})-s\d+\.png")
"""The names of a folder of pictures and of a picture in it, which has its id."""

COLUMNS = "file, seconds, created_at, owner, starred, deleted_at, recipe"
"""What `Records.read` makes a record of."""
FILE, KEY = map(COLUMNS.split(", ").index, ("file", "created_at"))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One kept picture. `seconds` is the time it took, 0.0 where that is not known any more.

    Its file is named by the time, its id and the seed: `2026-01-02/120000-0123456789abcdef-s7.png`. What was deleted
    lies in the bin under the same name.
    """

    recipe: Recipe
    path: Path
    owner: str
    seconds: float
    created_at: datetime
    starred: bool = False
    deleted_at: datetime | None = None

    @property
    def id(self) -> str:
        return id_of(self.path)

    @property
    def key(self) -> int:
        """The place of its picture in the history: `created_at` in microseconds since 1970, which no other one has."""
        return moment_of(self.created_at)

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


def id_of(path: Path) -> str:
    """The id in the name of a picture's file."""
    return path.name.split("-")[1]


def thumbnail_of(path: Path) -> Path:
    """Where the thumbnail of a picture lies: in the library's folder, by day as the pictures are."""
    return (path.parents[1] / THUMBNAIL_FOLDER / path.parent.name / path.name).with_suffix(".jpg")


@dataclass(frozen=True)
class Usage:
    """How many pictures somebody made, in all and in the last 24 hours, and when the latest."""

    pictures: int
    of_late: int
    latest: datetime


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

    def add(self, record: Record) -> Record:
        """Write a row. One with the same id, which another process may have found on disk, is replaced.

        Returns the record as it is kept: of two pictures of one microsecond the second is a little later.
        """
        with self.transaction() as connection:
            _remove(connection, record.id)
            return self._put(connection, record)

    def add_missing(self, records: Iterable[Record]) -> None:
        """Write the rows of those pictures that have none yet."""
        with self.transaction() as connection:
            for record in records:
                if not connection.execute("SELECT 1 FROM picture WHERE id = ?", (record.id,)).fetchone():
                    self._put(connection, record)

    def known(self, files: Sequence[str]) -> set[str]:
        """Those of these files, at most some hundreds and relative to the library's folder, that have a row.

        A picture in the bin is known by the name that it had.
        """
        marks = ", ".join("?" * len(files))
        return {file for (file,) in self.select(f"SELECT file FROM picture WHERE file IN ({marks})", files)}

    def get(self, picture_id: str) -> Record | None:
        """The record of one picture, None where there is none, or it is in the bin."""
        return self._one(picture_id, "deleted_at IS NULL")

    def of(self, seed: int, variant: str, prompt: str) -> Iterator[Record]:
        """The pictures of a seed, variant and prompt, without those in the bin, newest first."""
        found = self.select(
            f"SELECT {COLUMNS} FROM picture WHERE seed = ? AND variant = ? AND prompt = ? AND deleted_at IS NULL "
            "ORDER BY created_at DESC",
            (seed, variant, prompt),
        )
        return self.read(found)

    def in_bin(self, picture_id: str) -> Record | None:
        """The record of one picture that is in the bin, None where it is not."""
        return self._one(picture_id, "deleted_at IS NOT NULL")

    def is_deleted(self, picture_id: str) -> bool:
        """Whether there was such a picture and somebody deleted it, be it in the bin or gone for good."""
        statement = (
            "SELECT 1 FROM picture WHERE id = ? AND deleted_at IS NOT NULL UNION ALL SELECT 1 FROM emptied WHERE id = ?"
        )
        return bool(ID.fullmatch(picture_id) and self.select(statement, (picture_id, picture_id)))

    def times_of(self, owner: str, since: datetime) -> list[datetime]:
        """When each picture of an owner was made since a moment, oldest first, with those that were deleted."""
        found = self.select(
            "SELECT created_at FROM picture WHERE owner = ? AND created_at >= ? ORDER BY created_at",
            (owner, moment_of(since)),
        )
        return [time_of(moment) for (moment,) in found]

    def forget_owner(self, owner: str) -> None:
        """Remove what is kept of somebody beside pictures: their runs that have ended, refusals and reports."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM run WHERE owner = ? AND ended_at IS NOT NULL", (owner,))
            connection.execute("DELETE FROM refusal WHERE owner = ?", (owner,))
            connection.execute("DELETE FROM report WHERE reporter = ?", (owner,))

    def ids_of(self, owner: str) -> list[str]:
        """The pictures of an owner, without those in the bin."""
        found = self.select("SELECT id FROM picture WHERE owner = ? AND deleted_at IS NULL", (owner,))
        return [picture_id for (picture_id,) in found]

    def usage(self) -> dict[str, Usage]:
        """What each owner made, by owner, without what is in the bin."""
        found = self.select(
            "SELECT owner, count(*), sum(created_at >= ?), max(created_at) FROM picture WHERE deleted_at IS NULL "
            "GROUP BY owner",
            (moment_of(datetime.now(UTC) - OF_LATE),),
        )
        return {owner: Usage(pictures, of_late, time_of(latest)) for owner, pictures, of_late, latest in found}

    def count(self) -> int:
        """How many pictures there are, without those in the bin."""
        return int(self.select("SELECT count(*) FROM picture WHERE deleted_at IS NULL", ())[0][0])

    def star(self, picture_id: str, person: Person, on: bool) -> Record:
        """Give a picture a star, or take it away. Raises InvalidRequest where there is none for this person."""
        with self.transaction() as connection:
            record = replace(seen(self.get(picture_id), person, picture_id), starred=on)
            connection.execute("UPDATE picture SET starred = ? WHERE created_at = ?", (on, record.key))
            connection.execute(
                "UPDATE picture_index SET marks = ? WHERE rowid = ?", (_found_by(record).marks, record.key)
            )
        return record

    def delete(self, record: Record, at: datetime) -> None:
        """Note that a picture is in the bin since then."""
        with self.transaction() as connection:
            connection.execute("UPDATE picture SET deleted_at = ? WHERE created_at = ?", (moment_of(at), record.key))
            connection.execute("DELETE FROM picture_index WHERE rowid = ?", (record.key,))

    def restore(self, record: Record) -> None:
        """Note that a picture is in the bin no more."""
        with self.transaction() as connection:
            connection.execute("UPDATE picture SET deleted_at = NULL WHERE created_at = ?", (record.key,))
            connection.execute("DELETE FROM picture_index WHERE rowid = ?", (record.key,))
            index(connection, record.key, _found_by(record))

    def forget(self, picture_ids: Iterable[str]) -> None:
        """Remove the rows of pictures that are gone for good; their ids stay, see `is_deleted`."""
        with self.transaction() as connection:
            for picture_id in picture_ids:
                _remove(connection, picture_id)
                connection.execute("INSERT OR IGNORE INTO emptied (id) VALUES (?)", (picture_id,))

    def read(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Record]:
        """The records of rows of COLUMNS; one that this studio cannot read is left out, and logged."""
        for file, seconds, created_at, owner, starred, deleted_at, recipe in rows:
            try:
                read = Recipe.from_json(json.loads(recipe))
            except (InvalidRequest, ValueError, RecursionError) as error:
                logger.warning("The picture %s is left out: %s", file, error)
                continue
            folder = self.database.parent
            yield Record(
                read,
                folder / file if deleted_at is None else folder / BIN_FOLDER / file,
                owner,
                seconds,
                time_of(created_at),
                bool(starred),
                None if deleted_at is None else time_of(deleted_at),
            )

    def select(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that a statement finds. SQLite's errors come out as StorageError."""
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._storage_error(error) from None

    def _one(self, picture_id: str, condition: str) -> Record | None:
        if not ID.fullmatch(picture_id):
            return None
        rows = self.select(f"SELECT {COLUMNS} FROM picture WHERE id = ? AND {condition}", (picture_id,))
        return next(self.read(rows), None)

    def _put(self, connection: sqlite3.Connection, record: Record) -> Record:
        record = replace(record, created_at=time_of(_free(connection, record.key)))
        connection.execute(
            """
            INSERT INTO picture
                (created_at, id, file, seed, width, height, variant, checkpoint, prompt, seconds, owner, starred,
                 deleted_at, recipe)
            VALUES
                (:created_at, :id, :file, :seed, :width, :height, :variant, :checkpoint, :prompt, :seconds, :owner,
                 :starred, :deleted_at, :recipe)
            """,
            {
                **record.as_json(),
                "created_at": record.key,
                "id": record.id,
                "file": self._file(record.path),
                "seconds": record.seconds,
                "owner": record.owner,
                "starred": record.starred,
                "deleted_at": moment_of(record.deleted_at) if record.deleted_at else None,
                "recipe": json.dumps(record.recipe.as_json(), ensure_ascii=False),
            },
        )
        if not record.deleted_at:
            connection.execute("DELETE FROM emptied WHERE id = ?", (record.id,))
            index(connection, record.key, _found_by(record))
        return record

    def _file(self, path: Path) -> str:
        return path.relative_to(self.database.parent).as_posix().removeprefix(f"{BIN_FOLDER}/")

    def close(self) -> None:
        """Close the database; the records cannot be used afterwards.

        The last process that closes it leaves all rows in the one file, which can be copied then.
        """
        with self._lock:
            self._connection.close()


def seen(record: Record | None, person: Person, picture_id: str) -> Record:
    """A record that was looked for. Raises InvalidRequest where there is none, or not for this person."""
    if record is None or not person.sees(record.owner):
        raise InvalidRequest(f"There is no picture {shown(picture_id)} here — choose one of those that are listed")
    return record


def _found_by(record: Record) -> Indexed:
    return Indexed.of(record.recipe, record.owner, record.starred)


def _free(connection: sqlite3.Connection, moment: int) -> int:
    """This moment, or where a picture has it the first one after all pictures of the second that follows it."""
    while connection.execute("SELECT 1 FROM picture WHERE created_at = ?", (moment,)).fetchone():
        (last,) = connection.execute(
            "SELECT max(created_at) FROM picture WHERE created_at BETWEEN ? AND ?", (moment, moment + SECOND)
        ).fetchone()
        moment = last + 1
    return moment


def _remove(connection: sqlite3.Connection, picture_id: str) -> None:
    for (moment,) in connection.execute("SELECT created_at FROM picture WHERE id = ?", (picture_id,)).fetchall():
        connection.execute("DELETE FROM picture_index WHERE rowid = ?", (moment,))
        connection.execute("DELETE FROM picture WHERE created_at = ?", (moment,))
