"""The tables of a library, as numbered migrations from the first studio's on."""

import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import astuple
from datetime import datetime

from krea_studio.errors import InvalidRequest
from krea_studio.library.history.index import TOKENIZER, Indexed
from krea_studio.library.history.search import moment_of
from krea_studio.recipe.recipe import Recipe

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


@migration
def m003_history(connection: sqlite3.Connection) -> None:
    """Pictures in the order of their times, with stars, a bin, and an index of what they are found by.

    `created_at` and `deleted_at` are microseconds since 1970 in UTC. No two pictures have the same `created_at`: it is
    the key of pages, and of the index, which gives what it finds in this order. `emptied` has the ids of pictures that
    are gone for good, so that no run draws them again.
    """
    connection.execute("ALTER TABLE picture RENAME TO earlier")
    connection.execute(
        """
        CREATE TABLE picture (
            created_at INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            file TEXT NOT NULL UNIQUE,
            seed INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            variant TEXT NOT NULL,
            checkpoint TEXT NOT NULL,
            prompt TEXT NOT NULL,
            seconds REAL NOT NULL,
            owner TEXT NOT NULL,
            starred INTEGER NOT NULL DEFAULT 0,
            deleted_at INTEGER,
            recipe TEXT NOT NULL
        )
        """
    )
    connection.execute("CREATE INDEX picture_shown ON picture (created_at) WHERE deleted_at IS NULL")
    connection.execute("CREATE INDEX picture_of_owner ON picture (owner, created_at) WHERE deleted_at IS NULL")
    connection.execute("CREATE INDEX picture_in_bin ON picture (deleted_at) WHERE deleted_at IS NOT NULL")
    connection.execute("CREATE TABLE emptied (id TEXT PRIMARY KEY) WITHOUT ROWID")
    connection.execute(
        f"CREATE VIRTUAL TABLE picture_index USING fts5(prompt, expansion, triggers, marks, "
        f'tokenize = "{TOKENIZER}", prefix = "2 3", columnsize = 0)'
    )
    (count,) = connection.execute("SELECT count(*) FROM earlier").fetchone()
    if count:
        logger.info("Indexing %d pictures, which is done once", count)
    last = -1
    for *kept, created_at, recipe in connection.execute(
        "SELECT id, file, seed, width, height, variant, checkpoint, prompt, seconds, owner, created_at, recipe "
        "FROM earlier ORDER BY created_at, id"
    ):
        last = max(moment_of(datetime.fromisoformat(created_at)), last + 1)
        connection.execute(
            "INSERT INTO picture (created_at, id, file, seed, width, height, variant, checkpoint, prompt, seconds, "
            f"owner, recipe) VALUES ({', '.join('?' * 12)})",
            (last, *kept, recipe),
        )
        variant, prompt, owner = kept[5], kept[7], kept[9]
        try:
            found_by = Indexed.of(Recipe.from_json(json.loads(recipe)), owner, starred=False)
        except (InvalidRequest, ValueError, RecursionError):
            found_by = Indexed.of_unread(prompt, variant, owner)
        index(connection, last, found_by)
    connection.execute("DROP TABLE earlier")


@migration
def m004_by_seed(connection: sqlite3.Connection) -> None:
    """Pictures by their seed, of which few have the same: so one that was drawn before is found."""
    connection.execute("CREATE INDEX picture_by_seed ON picture (seed) WHERE deleted_at IS NULL")


@migration
def m005_safety(connection: sqlite3.Connection) -> None:
    """Pictures that the content filter did not pass, by the ids that they would have had; and what people report."""
    connection.execute(
        """
        CREATE TABLE refusal (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            seed INTEGER NOT NULL,
            score REAL NOT NULL,
            classifier TEXT NOT NULL,
            checkpoint TEXT NOT NULL,
            created_at INTEGER NOT NULL
        )
        """
    )
    connection.execute("CREATE INDEX refusal_by_time ON refusal (created_at)")
    connection.execute(
        """
        CREATE TABLE report (
            picture TEXT NOT NULL,
            reporter TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (picture, reporter)
        ) WITHOUT ROWID
        """
    )


@migration
def m006_longer_beginnings(connection: sqlite3.Connection) -> None:
    """Beginnings of up to five letters by index; of longer ones all pictures that have them are gathered first."""
    columns = "prompt, expansion, triggers, marks"
    connection.execute("ALTER TABLE picture_index RENAME TO earlier_index")
    connection.execute(
        f"CREATE VIRTUAL TABLE picture_index USING fts5({columns}, "
        f'tokenize = "{TOKENIZER}", prefix = "2 3 4 5", columnsize = 0)'
    )
    connection.execute(
        f"INSERT INTO picture_index (rowid, {columns}) SELECT rowid, {columns} FROM earlier_index ORDER BY rowid"
    )
    connection.execute("DROP TABLE earlier_index")


def index(connection: sqlite3.Connection, created_at: int, found_by: Indexed) -> None:
    """Let a picture that is not in the index be found."""
    connection.execute(
        "INSERT INTO picture_index (rowid, prompt, expansion, triggers, marks) VALUES (?, ?, ?, ?, ?)",
        (created_at, *astuple(found_by)),
    )
