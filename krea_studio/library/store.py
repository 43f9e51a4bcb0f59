"""The library: a folder of pictures that loses nothing it has announced.

A picture is written under a temporary name, gets its row, which says whose it is, and then its own name; only when
both are on disk does `save` return. So a picture is never there without its owner, and one that is told as failed is
not there. A row whose picture is gone counts for nothing. Pictures without a row, where the records were lost, carry
their recipe and are found at the next opening, as the local person's: whose they were must not be in a file that people
pass on. Names are the time, random digits and the seed; no text of a person ever enters a path.
"""

import io
import logging
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.files import (
    TEMPORARY_FILE,
    TEMPORARY_FOLDER,
    TEMPORARY_SUFFIX,
    make_folder,
    whole,
    write_error,
    write_whole,
)
from krea_studio.library.metadata import png_bytes, read_recipe
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.records import THUMBNAIL_FOLDER, Record, Records, thumbnail_of
from krea_studio.library.references import References
from krea_studio.library.styles.styles import Styles
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.recipe import Recipe

RECORDS_FILE = "records.sqlite3"
THUMBNAIL_SIDE_PX = 320
REFERENCE_FOLDER = "references"
MOODBOARD_FOLDER = "moodboards"
STYLE_FOLDER = "styles"
EXAMPLES_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "moodboards"
SHIPPED_STYLES_FOLDER = EXAMPLES_FOLDER.with_name("styles")
ABANDONED_SECONDS = 3600.0

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
PICTURE = re.compile(r"\d{6}-(?P<id>[0-9a-f]{16})-s\d+\.png")

# What a page shows, by its path in the folder of its kind.
SHOWN_PICTURE = re.compile(rf"({DAY.pattern}/{PICTURE.pattern}|{THUMBNAIL_FOLDER}/{DAY.pattern}/[0-9a-fs-]+\.jpg)")
SHOWN_REFERENCE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.png")

logger = logging.getLogger(__name__)


class Library:
    """Pictures in one folder, by day, with thumbnails and records. Threads and processes may share it.

    `references` are the pictures that a person gave, `moodboards` their collections of them, `styles` the trained
    styles.
    """

    def __init__(self, folder: Path | str, home: Path | str | None = None):
        """Open `folder`, made when it does not exist, and find pictures that have no row yet.

        `home` has references, moodboards and styles, where these are not in `folder` too. Raises StorageError where the
        folder or its records cannot be used.
        """
        self.folder = Path(folder).absolute()
        try:
            make_folder(self.folder)
        except OSError as error:
            raise write_error(error, self.folder) from None
        home = self.folder if home is None else Path(home).absolute()
        self.references = References(home / REFERENCE_FOLDER)
        self.moodboards = Moodboards(home / MOODBOARD_FOLDER, self.references, EXAMPLES_FOLDER)
        self.styles = library_styles(home)
        self.records = Records(self.folder / RECORDS_FILE)
        self._shown = [
            (self.folder.resolve(), SHOWN_PICTURE),
            (self.references.folder.resolve(), SHOWN_REFERENCE),
        ]
        try:
            self._reconcile()
        except BaseException:
            self.records.close()
            raise

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
                self.records.add(record)
        except OSError as error:
            raise write_error(error, self.folder) from None
        try:
            write_whole(thumbnail_of(path), _thumbnail_bytes(image))
        except OSError as error:
            logger.warning("%s has no thumbnail: %s", path.name, write_error(error, self.folder).message)
        return record

    def get(self, picture_id: str, person: Person = LOCAL) -> Record | None:
        """The record of one picture; None where there is none for this person, or its file has been removed."""
        record = self.records.get(picture_id)
        return record if record and person.sees(record.owner) and record.path.is_file() else None

    def recent(self, limit: int, person: Person = LOCAL) -> list[Record]:
        """Up to `limit` pictures that a person sees, newest first; those whose files were removed are left out."""
        owner = None if person.sees_all else person.id
        found: list[Record] = []
        for offset in range(0, self.records.count(), max(limit, 1)):
            found += [each for each in self.records.page(owner, limit, offset) if each.path.is_file()]
            if len(found) >= limit:
                break
        return found[:limit]

    def shows(self, path: Path | str) -> bool:
        """Whether a file is one that a page shows where it lies: a picture, a thumbnail or a reference.

        Never weights, boards, cards or records. The names are long and random, so who has one was given it, and what
        is under one never changes, as a style's cover does.
        """
        file = Path(path).resolve()
        for home, pattern in self._shown:
            if file.is_relative_to(home) and pattern.fullmatch(file.relative_to(home).as_posix()):
                return file.is_file()
        return False

    def moodboards_for(self, person: Person) -> Moodboards:
        """The moodboards, for one who changes them; raises InvalidRequest where this person may not."""
        person.require_change("moodboards")
        return self.moodboards

    def styles_for(self, person: Person) -> Styles:
        """The styles, for one who changes them; raises InvalidRequest where this person may not."""
        person.require_change("styles")
        return self.styles

    def close(self) -> None:
        """Close the records; the pictures stay where they are."""
        self.records.close()

    def _reconcile(self) -> None:
        """Give rows and thumbnails to pictures that a killed process left without, and remove abandoned parts."""
        try:
            known = self.records.files()
            found = [self._recovered(path) for path in self._pictures_and_parts() if self._relative(path) not in known]
        except OSError as error:
            raise write_error(error, self.folder) from None
        for folder in (self.references.folder, self.moodboards.folder, self.styles.folder):
            for part in folder.rglob(f"*{TEMPORARY_SUFFIX}"):
                _remove_if_abandoned(part)
        if added := [record for record in found if record]:
            self.records.add_missing(added)
            logger.info("%d pictures in %s had no record and were added", len(added), self.folder)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _pictures_and_parts(self) -> Iterator[Path]:
        for root in (self.folder, self.folder / THUMBNAIL_FOLDER):
            entries = _entries(root)
            days = [entry for entry in entries if DAY.fullmatch(entry.name)]
            for path in entries + [path for day in days for path in _entries(day)]:
                if path.suffix == TEMPORARY_SUFFIX:
                    _remove_if_abandoned(path)
                elif path.parent.parent == self.folder and PICTURE.fullmatch(path.name):
                    yield path

    def _recovered(self, path: Path) -> Record | None:
        try:
            recipe = read_recipe(path)
            if not recipe.checkpoint:
                raise InvalidRequest(f"{path} names no checkpoint — it was changed; use the original")
            thumbnail = thumbnail_of(path)
            if not thumbnail.exists():
                with Image.open(path, formats=("PNG",)) as image:
                    write_whole(thumbnail, _thumbnail_bytes(image.convert("RGB")))
            created_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except Exception as error:
            # The folder is a person's, and whatever lies in it must not keep the studio from starting.
            logger.warning("A picture without a record is left out: %s", error)
            return None
        return Record(recipe, path, LOCAL.id, 0.0, created_at)


def library_styles(folder: Path) -> Styles:
    """The styles of the library in `folder`, which need not exist and is not made."""
    return Styles(folder / STYLE_FOLDER, SHIPPED_STYLES_FOLDER)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove_if_abandoned(path: Path) -> None:
    """Remove a part that the studio itself left behind; the folder is a person's, and so may be what is in it."""
    try:
        # A young one may be another process's picture on its way.
        if time.time() - path.stat().st_mtime <= ABANDONED_SECONDS:
            return
        if TEMPORARY_FILE.fullmatch(path.name) and path.is_file():
            path.unlink()
        elif TEMPORARY_FOLDER.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path)
    except OSError as error:
        logger.warning("An abandoned file stays: %s", error)


def _thumbnail_bytes(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=85)
    return file.getvalue()
