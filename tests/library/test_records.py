"""Rows survive, newer databases are refused, damaged ones are told, and a transaction is all or nothing."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from krea_studio.errors import StorageError
from krea_studio.library.records import MIGRATIONS, Record, Records, seconds_text
from tests.library.pictures.test_metadata import recipe_of

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def file(number: int) -> str:
    return f"2026-01-02/030405-{number:016x}-s7.png"


def row(records: Records, number: int, owner: str = "local", seconds: float = 1.5) -> Record:
    path = records.database.parent / file(number)
    return Record(recipe_of(), path, owner, seconds, START + timedelta(seconds=number))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "records.sqlite3")
    yield records
    records.close()


def test_rows_come_back_as_they_were_also_after_reopening(records: Records) -> None:
    records.add(row(records, 1))
    records.close()
    again = Records(records.database)
    assert again.get(f"{1:016x}") == row(records, 1)
    assert again.get("nothing") is None
    again.close()


def test_known_are_those_files_that_have_a_row(records: Records) -> None:
    for number in (1, 2):
        records.add(row(records, number))
    assert records.known([file(number) for number in (2, 3)]) == {file(2)}
    assert records.known([]) == set()


def test_pictures_of_one_moment_have_keys_of_their_own(records: Records) -> None:
    moments = [START, START + timedelta(microseconds=2), START, START, START + timedelta(seconds=2), START]
    added = [records.add(replace(row(records, number), created_at=at)) for number, at in enumerate(moments)]
    assert [record.created_at - START for record in added if record.created_at != START] == [
        *(timedelta(microseconds=micro) for micro in (2, 3, 4)), timedelta(seconds=2), timedelta(microseconds=5)
    ]  # fmt: skip
    assert len({record.key for record in added}) == len(added) == records.count()
    assert all(records.get(record.id) == record for record in added)


def test_what_was_found_on_disk_gives_way_to_what_was_saved(records: Records) -> None:
    records.add_missing([row(records, 1, seconds=0.0)])
    records.add(row(records, 1))
    records.add_missing([row(records, 1, seconds=0.0), row(records, 2)])
    assert records.get(row(records, 1).id).seconds == 1.5
    assert records.count() == 2


def test_a_transaction_is_all_or_nothing(records: Records) -> None:
    records.add(row(records, 1))
    with pytest.raises(ZeroDivisionError), records.transaction() as connection:
        connection.execute("DELETE FROM picture")
        raise ZeroDivisionError
    assert records.get(row(records, 1).id) == row(records, 1)


def answer(records: Records, statement: str) -> list[tuple[Any, ...]]:
    """What the database itself answers."""
    with closing(sqlite3.connect(records.database, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def test_migrations_are_applied_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Records(tmp_path / "old.sqlite3").close()
    added = [*MIGRATIONS, lambda connection: connection.execute("ALTER TABLE picture ADD COLUMN liked INTEGER")]
    monkeypatch.setattr("krea_studio.library.records.MIGRATIONS", added)
    for _ in range(2):
        records = Records(tmp_path / "old.sqlite3")
        assert "liked" in {column[1] for column in answer(records, "PRAGMA table_info(picture)")}
        assert answer(records, "PRAGMA user_version") == [(len(added),)]
        records.close()


def test_a_row_and_what_it_is_found_by_are_written_together(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("krea_studio.library.records.index", full)
    with pytest.raises(StorageError, match="is full"):
        records.add(row(records, 1))
    assert records.count() == 0


def test_runs_that_wait_are_found_by_an_index(records: Records) -> None:
    statement = "SELECT id FROM run WHERE state IN ('waiting', 'running')"
    plan = [row[-1] for row in answer(records, f"EXPLAIN QUERY PLAN {statement}")]
    assert "SEARCH run USING INDEX run_by_state (state=?)" in plan


def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE picture")
        connection.execute("NONSENSE")

    Records(tmp_path / "old.sqlite3").close()
    with monkeypatch.context() as patch:
        patch.setattr("krea_studio.library.records.MIGRATIONS", [*MIGRATIONS, broken])
        with pytest.raises(StorageError):
            Records(tmp_path / "old.sqlite3")
    records = Records(tmp_path / "old.sqlite3")
    assert records.count() == 0
    records.close()


def test_a_newer_database_is_refused(records: Records) -> None:
    answer(records, "PRAGMA user_version = 99")
    records.close()
    with pytest.raises(StorageError, match="has schema 99, this studio knows"):
        Records(records.database)


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    database = tmp_path / "records.sqlite3"
    database.write_bytes(b"this is no database at all, and long enough to be read as one" * 100)
    with pytest.raises(StorageError, match="are damaged .* — move the file away"):
        Records(database)


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        Records(tmp_path / "missing" / "records.sqlite3")


def test_what_was_committed_is_on_disk(records: Records) -> None:
    with records.transaction() as connection:
        full = 2
        assert connection.execute("PRAGMA synchronous").fetchone() == (full,)


def test_after_the_last_one_closed_them_a_copy_of_the_file_is_all_of_them(records: Records, tmp_path: Path) -> None:
    beside = Records(records.database)
    for number in range(20):
        (beside if number % 2 else records).add(row(records, number))
    beside.close()
    records.close()
    (tmp_path / "copy").mkdir()
    shutil.copy(records.database, tmp_path / "copy")
    copy = Records(tmp_path / "copy" / records.database.name)
    assert copy.count() == 20
    copy.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.0, "0.0 s"), (0.84, "0.8 s"), (1.64, "1.6 s"), (1.96, "2 s"), (5.0, "5 s"), (9.96, "10 s")),
        *((89.4, "89 s"), (89.6, "1 min 30 s"), (119.7, "2 min"), (125.0, "2 min 5 s"), (3725.0, "62 min 5 s")),
    ],
)
def test_a_duration_is_told_as_finely_as_people_ask(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
