"""What people report of pictures, for whoever runs the studio to look at."""

from dataclasses import dataclass
from datetime import UTC, datetime

from krea_studio.library.history.search import moment_of, time_of
from krea_studio.library.records import Records
from krea_studio.people import Person


@dataclass(frozen=True)
class Report:
    """Somebody found that a picture should not be there."""

    picture: str
    reporter: str
    created_at: datetime


class Reports:
    """The reports on a library's pictures, beside their rows. Threads and processes may share them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, picture_id: str, person: Person) -> None:
        """Note that a person reports a picture, now; once for each. Raises StorageError."""
        with self._records.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO report (picture, reporter, created_at) VALUES (?, ?, ?)",
                (picture_id, person.id, moment_of(datetime.now(UTC))),
            )

    def all(self) -> list[Report]:
        """All reports, newest first, also on pictures that are gone. Raises StorageError."""
        found = self._records.select("SELECT picture, reporter, created_at FROM report ORDER BY created_at DESC", ())
        return [Report(picture, reporter, time_of(moment)) for picture, reporter, moment in found]
