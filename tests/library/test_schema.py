"""Rows that an earlier studio wrote come through its successors' migrations, also those that nobody can read."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from krea_studio.library.history.history import History
from krea_studio.library.history.search import Search
from krea_studio.library.records import Records
from krea_studio.library.schema import MIGRATIONS
from krea_studio.people import Person
from krea_studio.recipe.recipe import Recipe
from tests.library.pictures.test_metadata import recipe_of

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COLUMNS = (
    *("id", "file", "seed", "width", "height", "variant", "checkpoint", "prompt", "seconds", "created_at", "owner"),
    "recipe",
)


def written(number: int, recipe: Recipe, text: str | None = None, owner: str = "local", at: int = 0) -> dict[str, Any]:
    """A row as the studio of schema 2 wrote it, the recipe's text perhaps another one."""
    told = recipe.as_json()
    return {
        "id": f"{number:016x}",
        "file": f"2026-01-02/030405-{number:016x}-s7.png",
        **{key: told[key] for key in ("seed", "width", "height", "variant", "checkpoint", "prompt")},
        "seconds": 1.5,
        "created_at": (START + timedelta(microseconds=at)).isoformat(timespec="microseconds"),
        "owner": owner,
        "recipe": json.dumps(told, ensure_ascii=False) if text is None else text,
    }


def database_of(folder: Path, rows: list[dict[str, Any]], schema: int = 2) -> Path:
    """A database of that schema with these rows, whose files are there."""
    database = folder / "records.sqlite3"
    with closing(sqlite3.connect(database)) as connection, connection:
        for migrate in MIGRATIONS[:schema]:
            migrate(connection)
        connection.execute(f"PRAGMA user_version = {schema}")
        connection.executemany(
            f"INSERT OR REPLACE INTO picture ({', '.join(COLUMNS)}) "
            f"VALUES ({', '.join(f':{column}' for column in COLUMNS)})",
            rows,
        )
        if schema == 2:
            connection.execute(
                "INSERT INTO run (id, kind, owner, title, state, created_at) VALUES ('r', 'generate', 'ada', 'a fox', "
                "'waiting', '2026-01-02')"
            )
    for row in rows:
        (folder / row["file"]).parent.mkdir(exist_ok=True)
        (folder / row["file"]).touch()
    return database


@pytest.mark.parametrize("schema", [1, 2])
def test_rows_of_before_are_there_and_are_found(tmp_path: Path, schema: int) -> None:
    recipes = [recipe_of(prompt=prompt) for prompt in ("a fox at night", "红色的狐狸", "an owl")]
    rows = [written(number, recipe, at=number) for number, recipe in enumerate(recipes)]
    rows[1]["owner"] = "ada"
    with closing(Records(database_of(tmp_path, rows, schema))) as records:
        history = History(records)
        assert [each.recipe for each in history.page().records] == recipes[::-1]
        for number, record in enumerate(reversed(history.page().records)):
            assert (record.id, record.seconds, record.starred) == (rows[number]["id"], 1.5, False)
            assert record.created_at == START + timedelta(microseconds=number)
        for words, found in (("fox", recipes[0]), ("狐狸", recipes[1])):
            assert [each.recipe for each in history.page(Search(words=words)).records] == [found]
        assert [each.recipe for each in history.page(Search(variant="turbo"), Person("ada")).records] == [recipes[1]]
        assert records.select("SELECT id, owner, title FROM run", ()) == [("r", "ada", "a fox")] * (schema == 2)


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 100_000, '{"schema_version": 99}', '{"prompt": "half'])
def test_a_row_that_cannot_be_read_keeps_all_that_it_has(tmp_path: Path, text: str) -> None:
    rows = [written(0, recipe_of()), written(1, recipe_of(prompt="a lost owl"), text), written(2, recipe_of())]
    with closing(Records(database_of(tmp_path, rows))) as records:
        kept = records.select(
            f"SELECT {', '.join(column for column in COLUMNS if column != 'created_at')} FROM picture WHERE id = ?",
            (rows[1]["id"],),
        )
        assert kept == [tuple(value for column, value in rows[1].items() if column != "created_at")]
        assert records.select("SELECT rowid FROM picture_index WHERE picture_index MATCH 'owl'", ()) != []
        assert [record.id for record in History(records).page().records] == [rows[2]["id"], rows[0]["id"]]


def test_rows_of_one_moment_all_come_through(tmp_path: Path) -> None:
    rows = [written(number, recipe_of(), at=number // 4) for number in range(40)]
    with closing(Records(database_of(tmp_path, rows))) as records:
        found = History(records).page(limit=99).records
        assert [record.id for record in found] == [row["id"] for row in reversed(rows)]
        assert len({record.key for record in found}) == 40


def test_a_picture_that_is_gone_from_the_table_is_gone_from_the_index(tmp_path: Path) -> None:
    with closing(Records(database_of(tmp_path, [written(0, recipe_of())]))) as records:
        records.forget(["0" * 16])
        assert records.select("SELECT * FROM picture_index", ()) == records.select("SELECT * FROM picture", ()) == []
        with records.transaction() as connection:
            connection.execute("INSERT INTO picture_index (picture_index) VALUES ('integrity-check')")
