"""A row per run, beside the rows of the pictures: what a server that starts again needs to go on.

A picture of a run has an id that follows from the run and its place, so whether it was made is a question to the
library, and no moment lies between a picture and a note that it is there. Of several servers on one library the first
alone keeps rows: of another's nobody could tell whether it still goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from krea_studio.errors import StorageError, StudioError
from krea_studio.library.records import Records
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.recipe.sweep import Sweep, sweep_from_json
from krea_studio.runs.run import Kind, State

LOCK_FILE = "runs.lock"
ID = re.compile(r"[0-9a-f]{32}")
"""What names a run."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A run as it is kept; `asked` only of one that draws, with everything decided."""

    id: str
    kind: Kind
    owner: str
    title: str
    state: State
    created_at: datetime
    asked: GenerationRequest | Sweep | None = None
    failure: str = ""


def picture_id(run: str, place: int) -> str:
    """The id of the picture at a place of a run, 16 hexadecimal digits."""
    return hashlib.blake2b(f"{run} {place}".encode(), digest_size=8).hexdigest()


class Rows:
    """The table of runs in the database of a library's pictures."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: set[str] = set()  # runs of this process
        self._deciding = threading.Lock()
        self._lock: sqlite3.Connection | None = None

    def add(self, row: Row) -> None:
        """Write a row, where this is the first server on its library. Raises StorageError."""
        if not self._is_first_server():
            return
        self._known.add(row.id)
        asked = None if row.asked is None else json.dumps(row.asked.model_dump(mode="json"), ensure_ascii=False)
        with self._records.transaction() as connection:
            connection.execute(
                "INSERT INTO run (id, kind, owner, title, state, created_at, request) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.id, row.kind, row.owner, row.title, row.state, _iso(row.created_at), asked),
            )

    def change(self, run: str, state: State, at: datetime, failure: str = "") -> None:
        """Note that a run has begun or ended. Raises StorageError."""
        when = "ended_at" if state.ended else "started_at"
        with self._records.transaction() as connection:
            connection.execute(
                f"UPDATE run SET state = ?, {when} = ?, failure = ? WHERE id = ?", (state, _iso(at), failure, run)
            )

    def note_end(self, run: str, state: State, failure: str) -> None:
        """`change` for a run that ends now; that it cannot be written is only logged."""
        try:
            self.change(run, state, datetime.now(UTC), failure)
        except StorageError as error:
            log.warning("A run's end is not noted: %s", error.message)

    def unfinished(self) -> list[Row]:
        """The runs that were waiting or going on when their server ended, oldest first; each is given out once.

        None for a server that is not the first on its library: they are the first one's. A run that this studio cannot
        read any more is among them without its request. Raises StorageError.
        """
        if not self._is_first_server():
            return []
        with self._records.transaction() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM run WHERE state IN (?, ?) ORDER BY created_at, id",
                (State.WAITING, State.RUNNING),
            ).fetchall()
        rows = [_row(*each) for each in found if each[0] not in self._known]
        self._known |= {row.id for row in rows}
        return rows

    def find(self, run: str) -> Row | None:
        """The row of a run, None where none is kept. Raises StorageError."""
        if not ID.fullmatch(run):
            return None
        with self._records.transaction() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM run WHERE id = ?", (run,)).fetchone()
        return _row(*found) if found else None

    def last_sweep(self, owner: str) -> Row | None:
        """The latest sweep of an owner, None where none is kept. Raises StorageError."""
        with self._records.transaction() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM run WHERE owner = ? AND json_valid(request) "
                "AND request -> '$.axes' IS NOT NULL ORDER BY created_at DESC LIMIT 1",
                (owner,),
            ).fetchone()
        return _row(*found) if found else None

    def reopen(self, run: str) -> None:
        """Note that a run that had ended waits again. Raises StorageError."""
        with self._records.transaction() as connection:
            connection.execute(
                "UPDATE run SET state = ?, ended_at = NULL, failure = '' WHERE id = ?", (State.WAITING, run)
            )

    @property
    def kept(self) -> bool:
        """Whether rows are kept, which those of the first server on a library are."""
        return self._lock is not None

    def close(self) -> None:
        """Let another server be the first."""
        with self._deciding:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _is_first_server(self) -> bool:
        """Hold a lock until this process ends, however it does; False where another one has it."""
        with self._deciding:
            if self._lock is None:
                self._lock = _locked(self._records.database.with_name(LOCK_FILE))
            return self._lock is not None


_COLUMNS = "id, kind, owner, title, state, created_at, request, failure"


def _row(
    run: str, kind: str, owner: str, title: str, state: str, created_at: str, request: str | None, failure: str
) -> Row:
    asked = None
    if request is not None:
        with suppress(StudioError, ValueError):
            asked = _asked(json.loads(request))
    known = Kind(kind) if kind in list(Kind) else Kind.GENERATE  # of a newer studio: it has no request here
    return Row(run, known, owner, title, State(state), datetime.fromisoformat(created_at), asked, failure)


def _asked(kept: dict[str, Any]) -> GenerationRequest | Sweep:
    return sweep_from_json(kept) if "axes" in kept else parse_request(kept)


def _locked(file: Path) -> sqlite3.Connection | None:
    """A lock on a file, as `files.one_change` takes it, but without waiting; None where it cannot be had."""
    try:
        connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error:
        return None
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        connection.close()
        return None
    return connection


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="microseconds")
