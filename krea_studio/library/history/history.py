"""The history: the pictures of a library, newest first, searched, by pages, and with stars.

A page begins where another one ends: it is asked for by the key of a picture, so that pictures that arrive meanwhile
move nothing, and the thousandth page takes no longer than the first. Deleted pictures are in no answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice

from krea_studio.library.history.index import question
from krea_studio.library.history.search import Search, moments_between
from krea_studio.library.records import COLUMNS, FILE, KEY, Record, Records
from krea_studio.people import LOCAL, Person

PAGE = 48
MOST_ROWS = 1000  # that are read at once
EVERYTHING = Search()


@dataclass(frozen=True)
class Page:
    """Some pictures, newest first; `more` tells whether there are further ones in the direction that was asked for."""

    records: list[Record]
    more: bool


class History:
    """The pictures of one library's records."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def page(
        self,
        search: Search = EVERYTHING,
        person: Person = LOCAL,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> Page:
        """Up to `limit` of the pictures that a person sees, newest first.

        `after` is the key of the picture that they come after, so they are older; `before` that of the one that they
        come before, so they are the next newer ones. Pictures whose files were removed, and rows that this studio
        cannot read, are left out. Raises StorageError.
        """
        first, last = search.moments
        first = first if before is None else min(max(first, before), last)
        last = last if after is None else max(min(last, after), first)
        upward = before is not None and after is None
        limit = max(limit, 0)
        walk = self._walk(search, person, first, last, upward, min(limit + 1, MOST_ROWS))
        found = list(islice(walk, limit + 1))
        records = found[:limit]
        return Page(records[::-1] if upward else records, len(found) > limit)

    def count(self, search: Search = EVERYTHING, person: Person = LOCAL) -> int:
        """How many pictures there are in all, counted as by `counts` and faster. Raises StorageError."""
        source = _source(search, person)
        statement = f"SELECT count(*) FROM {source.keys} WHERE {source.between}"
        return int(self._records.select(statement, (*source.values, *search.moments))[0][0])

    def counts(
        self, search: Search = EVERYTHING, person: Person = LOCAL, since: date | None = None, until: date | None = None
    ) -> dict[date, int]:
        """How many pictures there are on each day that has any, newest day first. Days are the machine's own.

        `since` and `until` are the first and the last day to count, such as those of a page. It counts rows, also
        those whose files were removed by hand. Raises StorageError.
        """
        (first, last), (since_key, until_key) = search.moments, moments_between(since, until)
        source = _source(search, person)
        found = self._records.select(
            f"SELECT date({source.key} / 1000000, 'unixepoch', 'localtime') AS day, count(*) FROM {source.keys} "
            f"WHERE {source.between} GROUP BY day ORDER BY day DESC",
            (*source.values, max(first, since_key), min(last, until_key)),
        )
        return {date.fromisoformat(day): count for day, count in found}

    def star(self, picture_id: str, person: Person = LOCAL, on: bool = True) -> Record:
        """Give a picture a star, or take it away. Raises InvalidRequest where there is none for this person."""
        return self._records.star(picture_id, person, on)

    def _walk(
        self, search: Search, person: Person, first: int, last: int, upward: bool, at_once: int
    ) -> Iterator[Record]:
        """The pictures between two keys, in one direction. Further rows are read only where some were left out."""
        source = _source(search, person)
        statement = (
            f"SELECT {COLUMNS} FROM {source.rows} WHERE {source.between} "
            f"ORDER BY {source.key} {'ASC' if upward else 'DESC'} LIMIT {at_once}"
        )
        folder = self._records.database.parent
        while True:
            rows = self._records.select(statement, (*source.values, first, last))
            # Before they are read, which takes longer: a person may have removed files by the thousand.
            yield from self._records.read(row for row in rows if (folder / row[FILE]).is_file())
            if len(rows) < at_once:
                return
            reached = rows[-1][KEY]
            first, last = (reached, last) if upward else (first, reached)


@dataclass(frozen=True)
class _Source:
    """Where the pictures of a search are found in the order of their keys, without a look at any others.

    `keys` is the table that has the keys, `rows` the one that has the rows too; `between` is what is asked of them, by
    `values` and the two keys that they lie between.
    """

    keys: str
    rows: str
    key: str
    condition: str
    values: tuple[str, ...]

    @property
    def between(self) -> str:
        return f"{self.condition} AND {self.key} > ? AND {self.key} < ?"


def _source(search: Search, person: Person) -> _Source:
    owner = None if person.sees_all else person.id
    if asked := question(search, owner):
        found = "picture_index"
        key = f"{found}.rowid"
        # CROSS: the index comes first, in its own order.
        return _Source(found, f"{found} CROSS JOIN picture ON created_at = {key}", key, f"{found} MATCH ?", (asked,))
    if owner is not None:
        table = "picture INDEXED BY picture_of_owner"
        return _Source(table, table, "created_at", "deleted_at IS NULL AND owner = ?", (owner,))
    table = "picture INDEXED BY picture_shown"
    return _Source(table, table, "created_at", "deleted_at IS NULL", ())
