"""What the content filter refused: that it happened, and to whom, but neither picture nor prompt."""

from dataclasses import dataclass
from datetime import datetime

from krea_studio.library.history.search import moment_of, time_of
from krea_studio.library.records import Records
from krea_studio.people import LOCAL, Person


@dataclass(frozen=True)
class Refusal:
    """A picture that was drawn and not kept; `id` is the one that it would have had, `score` the classifier's, 0…1."""

    id: str
    owner: str
    seed: int
    score: float
    classifier: str
    checkpoint: str
    created_at: datetime


class Refusals:
    """The refusals of a library, beside the rows of its pictures. Threads and processes may share them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, refusal: Refusal) -> None:
        """Write a refusal down; one of the same id is replaced. Raises StorageError."""
        with self._records.transaction() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO refusal ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    refusal.id,
                    refusal.owner,
                    refusal.seed,
                    refusal.score,
                    refusal.classifier,
                    refusal.checkpoint,
                    moment_of(refusal.created_at),
                ),
            )

    def of(self, person: Person = LOCAL, limit: int = 50) -> list[Refusal]:
        """The latest refusals that a person sees, newest first. Raises StorageError."""
        whose, values = ("", []) if person.sees_all else ("WHERE owner = ? ", [person.id])
        found = self._records.select(
            f"SELECT {_COLUMNS} FROM refusal {whose}ORDER BY created_at DESC LIMIT ?", [*values, limit]
        )
        return [
            Refusal(picture, owner, seed, score, classifier, checkpoint, time_of(moment))
            for picture, owner, seed, score, classifier, checkpoint, moment in found
        ]

    def count(self) -> int:
        """How many there are, of whomever. Raises StorageError."""
        ((count,),) = self._records.select("SELECT count(*) FROM refusal", [])
        return int(count)

    def has(self, picture_id: str) -> bool:
        """Whether the picture of this id was refused; nobody is to make it again. Raises StorageError."""
        return bool(self._records.select("SELECT 1 FROM refusal WHERE id = ?", [picture_id]))


_COLUMNS = "id, owner, seed, score, classifier, checkpoint, created_at"
