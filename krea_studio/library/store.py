"""The library: a folder of pictures that loses nothing it has announced.

A picture is written under a temporary name, gets its row, which says whose it is, and then its own name; only when
both are on disk does `save` return. So a picture is never there without its owner, and one that is told as failed is
not there. A row whose picture is gone counts for nothing. Pictures without a row, where the records were lost, are
found again soon after the next opening, which does not wait for that (`check`). Names are the time, random digits and
the seed; no text of a person ever enters a path.
"""

import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from PIL import Image

from krea_studio.errors import Refused
from krea_studio.files import TEMPORARY_SUFFIX, make_folder, whole, write_error, write_whole
from krea_studio.library.check import check_files
from krea_studio.library.history.bin import Bin
from krea_studio.library.history.history import History
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.pictures.loader import Admit
from krea_studio.library.pictures.metadata import png_bytes
from krea_studio.library.pictures.thumbnails import thumbnail_bytes
from krea_studio.library.records import DAY, PICTURE, THUMBNAIL_FOLDER, Record, Records, thumbnail_of
from krea_studio.library.references import References
from krea_studio.library.refusals import Refusals
from krea_studio.library.reports import Reports
from krea_studio.library.styles.kept import COVER_FILE
from krea_studio.library.styles.styles import Styles
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.recipe import Recipe, Shot

RECORDS_FILE = "records.sqlite3"
REFERENCE_FOLDER = "references"
MOODBOARD_FOLDER = "moodboards"
STYLE_FOLDER = "styles"
EXAMPLES_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "moodboards"
SHIPPED_STYLES_FOLDER = EXAMPLES_FOLDER.with_name("styles")
CLOSING_SECONDS = 5.0
REMOVED_AT_ONCE = 200

# What a page shows, by its path in the folder of its kind.
SHOWN_PICTURE = re.compile(rf"({DAY.pattern}/{PICTURE.pattern}|{THUMBNAIL_FOLDER}/{DAY.pattern}/[0-9a-fs-]+\.jpg)")
SHOWN_REFERENCE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.png")

logger = logging.getLogger(__name__)


class Library:
    """Pictures in one folder, by day, with thumbnails and records. Threads and processes may share it.

    `history` finds pictures, `bin` has those that were deleted, `refusals` tell of those that were not kept, `reports`
    of those that somebody found wrong. `references` are the pictures that a person gave, `moodboards` their collections
    of them, `styles` the trained styles.
    """

    def __init__(self, folder: Path | str, home: Path | str | None = None):
        """Open `folder`, made when it does not exist; its files are checked against its rows meanwhile.

        `home` has references, moodboards and styles, where these are not in `folder` too. Raises StorageError where the
        folder or its records cannot be used.
        """
        self.folder = Path(folder).absolute()
        try:
            make_folder(self.folder)
        except OSError as error:
            raise write_error(error, self.folder) from None
        home = self.folder if home is None else Path(home).absolute()
        self.admit: Admit | None = None
        self.references = References(home / REFERENCE_FOLDER)
        self.moodboards = Moodboards(home / MOODBOARD_FOLDER, self.references, EXAMPLES_FOLDER)
        self.styles = library_styles(home)
        self.records = Records(self.folder / RECORDS_FILE)
        self.history = History(self.records)
        self.bin = Bin(self.folder, self.records)
        self.refusals = Refusals(self.records)
        self.reports = Reports(self.records)
        self._shown = [
            (self.folder.resolve(), SHOWN_PICTURE),
            (self.references.folder.resolve(), SHOWN_REFERENCE),
            (self.styles.folder.resolve(), COVER_FILE),
        ]
        self._closing = threading.Event()
        self._checking = threading.Thread(target=self._check, name="krea-studio-library", daemon=True)
        self._checking.start()

    def checked(self, seconds: float | None = None) -> bool:
        """Wait until the files are checked against the rows, at most so long; True where they are."""
        self._checking.join(seconds)
        return not self._checking.is_alive()

    def check_writable(self) -> None:
        """Raise StorageError when a picture could not be written now; said before a run, not after it."""
        probe = self.folder / f"probe-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        try:
            make_folder(self.folder)
            try:
                # As large as a block of any usual file system: an empty file fits on a full disk.
                probe.write_bytes(bytes(64 * 2**10))
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(error, self.folder) from None

    def save(
        self,
        recipe: Recipe,
        image: Image.Image,
        seconds: float,
        person: Person = LOCAL,
        picture_id: str | None = None,
    ) -> Record:
        """Keep a finished picture and return its record, when all of it is on disk.

        `recipe` is that of the picture, `seconds` the time it took, `person` its owner; its id, 16 hexadecimal digits,
        is a random one where none is given. Raises StorageError; then the picture is not there. One whose thumbnail
        cannot be written is kept without.
        """
        return self._keep(recipe, png_bytes(image, recipe), image, seconds, person, datetime.now(UTC), picture_id)

    def take_in(
        self, recipe: Recipe, content: bytes, image: Image.Image, created_at: datetime, person: Person, picture_id: str
    ) -> Record:
        """Keep the file of a picture that was made elsewhere as it is, and return its record, as `save` does.

        `content` is a PNG with `recipe` inside, and `image` its picture.
        """
        return self._keep(recipe, content, image, 0.0, person, created_at, picture_id)

    def _keep(
        self,
        recipe: Recipe,
        content: bytes,
        image: Image.Image,
        seconds: float,
        person: Person,
        created_at: datetime,
        picture_id: str | None,
    ) -> Record:
        local = created_at.astimezone()
        path = (
            self.folder
            / f"{local:%Y-%m-%d}"
            / f"{local:%H%M%S}-{picture_id or secrets.token_hex(8)}-s{recipe.seed}.png"
        )
        record = Record(recipe, path, person.id, seconds, created_at)
        try:
            with whole(path) as file:
                file.write_bytes(content)
                record = self.records.add(record)
        except OSError as error:
            raise write_error(error, self.folder) from None
        try:
            write_whole(thumbnail_of(path), thumbnail_bytes(image))
        except OSError as error:
            logger.warning("%s has no thumbnail: %s", path.name, write_error(error, self.folder).message)
        return record

    def get(self, picture_id: str, person: Person = LOCAL) -> Record | None:
        """The record of one picture; None where there is none for this person, or its file is not there any more."""
        record = self.records.get(picture_id)
        return record if record and person.sees(record.owner) and record.path.is_file() else None

    def drawn(self, shot: Shot, person: Person = LOCAL) -> Iterator[Record]:
        """The pictures that a person sees of the very same shot, newest first, by whatever they were drawn."""
        for record in self.records.of(shot.seed, shot.variant, shot.prompt):
            same = all(getattr(record.recipe, field) == getattr(shot, field) for field in Shot.model_fields)
            if same and person.sees(record.owner) and record.path.is_file():
                yield record

    def is_deleted(self, picture_id: str) -> bool:
        """Whether a person deleted this picture, be it in the bin or gone for good; nobody is to make it again."""
        return self.records.is_deleted(picture_id)

    def recent(self, limit: int, person: Person = LOCAL) -> list[Record]:
        """Up to `limit` pictures that a person sees, newest first; those whose files were removed are left out."""
        return self.history.page(person=person, limit=limit).records

    def shows(self, path: Path | str, person: Person = LOCAL) -> bool:
        """Whether a file is one that a page shows to a person where it lies: a picture, a thumbnail, a reference, or
        the cover of a style that has an owner.

        Never weights, boards, cards or records. What is under a name never changes, as the cover of a style without an
        owner does. Raises StorageError.
        """
        file = Path(path).resolve()
        for home, pattern in self._shown:
            if file.is_relative_to(home) and pattern.fullmatch(file.relative_to(home).as_posix()):
                return file.is_file() and (person.sees_all or self._is_shown(pattern, file, person))
        return False

    def _is_shown(self, pattern: re.Pattern[str], file: Path, person: Person) -> bool:
        if pattern is SHOWN_PICTURE:
            return self._sees(person, file)
        if pattern is SHOWN_REFERENCE:
            return self.moodboards.of(person).shows(file.stem)
        return self.styles.of(person).shows(file.name)

    def _sees(self, person: Person, file: Path) -> bool:
        named = PICTURE.fullmatch(file.with_suffix(".png").name)
        record = self.records.get(named["id"]) if named else None
        return record is not None and person.sees(record.owner)

    def judge_what_comes_in(
        self, admit: Callable[[Image.Image], None], discard: Callable[[Path], None] = lambda file: None
    ) -> None:
        """Have imports, references, pictures of moodboards and covers of styles admitted from now on, or refused.

        `admit` raises Refused for a picture; `discard` is given the file in which a refused one came.
        """

        def judge(image: Image.Image, file: Path | str | None) -> None:
            try:
                admit(image)
            except Refused:
                if file is not None:
                    discard(Path(file))
                raise

        self.admit = self.references.admit = self.styles.admit = judge

    def remove_all_of(self, owner: str) -> int:
        """Remove for good all pictures of an owner, those in the bin as well, and what else is kept of them.

        Returns how many pictures there were. Of moodboards and styles those go that were not shared with the team;
        references stay, as recipes may need them. Raises StorageError where a picture cannot be removed: then it and
        some others are in the bin.
        """
        person = Person(owner)
        while records := self.recent(REMOVED_AT_ONCE, person):
            for record in records:
                self.bin.delete(record.id, person)
        without_file = self.records.ids_of(owner)
        self.records.forget(without_file)
        count = len(without_file) + self.bin.empty(person)
        self.records.forget_owner(owner)
        self.moodboards.of(person).delete_private()
        self.styles.of(person).delete_private()
        return count

    def moodboards_for(self, person: Person) -> Moodboards:
        """The moodboards as they are there for a person, for one who changes some; raises InvalidRequest for others."""
        person.require_change("moodboards")
        return self.moodboards.of(person)

    def styles_for(self, person: Person) -> Styles:
        """The styles as they are there for a person, for one who changes some; raises InvalidRequest for others."""
        person.require_change("styles")
        return self.styles.of(person)

    def close(self) -> None:
        """Close the records; the pictures stay where they are."""
        self._closing.set()
        self._checking.join(CLOSING_SECONDS)
        self.records.close()

    def _check(self) -> None:
        beside = (self.references.folder, self.moodboards.folder, self.styles.folder)
        for work in (self.bin.tidy, partial(check_files, self.folder, self.records, beside, self._closing)):
            try:
                work()
            except Exception as error:
                if not self._closing.is_set():
                    logger.warning("The files in %s were not checked to the end: %s", self.folder, error)


def library_styles(folder: Path) -> Styles:
    """The styles of the library in `folder`, which need not exist and is not made."""
    return Styles(folder / STYLE_FOLDER, SHIPPED_STYLES_FOLDER)
