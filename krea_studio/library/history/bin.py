"""The bin: what was deleted can come back for 30 days.

A deleted picture lies in `bin`, by day as the pictures are, with its thumbnail, and its row says since when. The row
comes first: who dies in between leaves a picture that nobody sees, and the next opening puts it back, as it does one
that a person moved back by hand. It comes back the other way round, files first. So no picture is shown without its
file, and none is lost. Whatever changes the bin comes one after another, over all threads and processes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from krea_studio.errors import InvalidRequest
from krea_studio.files import make_folder, move, one_change, remove
from krea_studio.library.history.search import moment_of
from krea_studio.library.records import BIN_FOLDER, COLUMNS, Record, Records, seen, thumbnail_of
from krea_studio.people import LOCAL, Person
from krea_studio.validation import shown

KEPT = timedelta(days=30)
AT_ONCE = 100  # pictures whose rows go together

logger = logging.getLogger(__name__)


class Bin:
    """The bin of the library in one folder. It is made with the first deletion."""

    def __init__(self, library: Path, records: Records) -> None:
        self.folder = library / BIN_FOLDER
        self._library, self._records = library, records

    def delete(self, picture_id: str, person: Person = LOCAL) -> Record:
        """Move a picture into the bin and return its record, which tells where it lies now.

        Raises InvalidRequest where there is none for this person, or it is in the bin already, or its file is gone;
        StorageError where it cannot be moved: then it stays where it was.
        """
        with self._changing():
            if (record := self._records.in_bin(picture_id)) and person.sees(record.owner):
                raise InvalidRequest(f"The picture {picture_id} is in the bin already — restore it, or leave it there")
            record = seen(self._records.get(picture_id), person, picture_id)
            if not record.path.is_file():
                raise InvalidRequest(
                    f"The file {record.path} is gone, so there is nothing to delete — put it back, or leave it at that"
                )
            deleted_at = datetime.now(UTC)
            path = self.folder / record.path.relative_to(self._library)
            self._records.delete(record, deleted_at)
            try:
                _move(record.path, path)
            except BaseException:
                if record.path.is_file():
                    self._records.restore(record)
                raise
            _move_thumbnail(record.path, path)
            return replace(record, path=path, deleted_at=deleted_at)

    def restore(self, picture_id: str, person: Person = LOCAL) -> Record:
        """Put a picture back where it was, and return its record.

        Raises InvalidRequest where there is none in the bin for this person, or its file is gone; StorageError where it
        cannot be moved: then it stays in the bin.
        """
        with self._changing():
            record = self._records.in_bin(picture_id)
            if record is None or not person.sees(record.owner):
                raise InvalidRequest(
                    f"There is no picture {shown(picture_id)} in the bin — it keeps pictures for {KEPT.days} days"
                )
            if not (record.path.is_file() or self._first_path(record).is_file()):
                raise InvalidRequest(f"The file {record.path} is gone, so it cannot be restored — put it back there")
            return self._put_back(record)

    def records(self, person: Person = LOCAL) -> list[Record]:
        """What a person may restore, deleted last first. Raises StorageError."""
        rows = self._records.select(
            f"SELECT {COLUMNS} FROM picture WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC, created_at DESC", ()
        )
        return [each for each in self._records.read(rows) if person.sees(each.owner) and each.path.is_file()]

    def empty(self, person: Person = LOCAL) -> int:
        """Remove for good all that a person has in the bin, and return how many pictures that were.

        Raises StorageError where a file cannot be removed: then it and what follows are still in the bin.
        """
        return self._remove(datetime.now(UTC), None if person.sees_all else person.id)

    def tidy(self) -> None:
        """Remove for good what was deleted 30 days ago, and put back what lies where it was before it was deleted."""
        self._remove(datetime.now(UTC) - KEPT, None)
        for picture_id, file in self._records.select("SELECT id, file FROM picture WHERE deleted_at IS NOT NULL", ()):
            if (self._library / file).is_file():
                with self._changing():
                    # Looked at once more: another process may just have been about to move it.
                    record = self._records.in_bin(picture_id)
                    if record and self._first_path(record).is_file():
                        self._put_back(record)

    def _first_path(self, record: Record) -> Path:
        """Where a picture lay before it was deleted."""
        return self._library / record.path.relative_to(self.folder)

    def _put_back(self, record: Record) -> Record:
        path = self._first_path(record)
        moved = record.path.is_file()
        if moved:
            _move(record.path, path)
        try:
            self._records.restore(record)
        except BaseException:
            if moved:
                _move(path, record.path)
            raise
        _move_thumbnail(record.path, path)
        return replace(record, path=path, deleted_at=None)

    def _remove(self, until: datetime, owner: str | None) -> int:
        whose, values = ("", ()) if owner is None else ("AND owner = ?", (owner,))
        statement = f"SELECT id, file FROM picture WHERE deleted_at <= ? {whose} ORDER BY deleted_at LIMIT {AT_ONCE}"
        asked, count = (moment_of(until), *values), 0
        while self._records.select(statement, asked):
            with self._changing():
                rows = self._records.select(statement, asked)
                for _, file in rows:
                    for folder in (self._library, self.folder):
                        _remove(folder / file)
                # Rows last: a file without one would be taken in again.
                self._records.forget(picture_id for picture_id, _ in rows)
                for file in {self.folder / file for _, file in rows}:
                    for folder in (file.parent, thumbnail_of(file).parent):
                        with suppress(OSError):
                            folder.rmdir()  # where nothing is left in it
                count += len(rows)
        return count

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with one_change(self.folder, "The bin"):
            yield


def _move(path: Path, target: Path) -> None:
    """Move a picture. Raises OSError."""
    make_folder(target.parent)
    move(path, target)


def _move_thumbnail(path: Path, target: Path) -> None:
    """Move the thumbnail of a picture, where it has one and it can be moved."""
    thumbnail = thumbnail_of(path)
    try:
        if thumbnail.is_file():
            _move(thumbnail, thumbnail_of(target))
    except OSError as error:
        logger.warning("The thumbnail %s stays where it is: %s", thumbnail, error)


def _remove(path: Path) -> None:
    for file in (path, thumbnail_of(path)):
        with suppress(FileNotFoundError):
            remove(file)
