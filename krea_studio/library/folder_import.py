"""Pictures come into the library from a folder, or as files: those that carry a recipe, as they are, with their time
and id.

The folder is a person's, and anything may lie in it. Nothing in it is changed, no link is followed, and each file is
told for what it is. What another tool made is told and stays where it is: the library has only what can be drawn again.
"""

import hashlib
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from PIL.Image import Image

from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.files import is_clutter, read_given
from krea_studio.library.check import pictures_in
from krea_studio.library.foreign.tools import ForeignPicture, read_picture
from krea_studio.library.pictures.loader import MAX_FILE_BYTES, load_picture_bytes
from krea_studio.library.records import DAY, PICTURE, Record, id_of
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.recipe import Recipe
from krea_studio.validation import shown

ID_DIGITS = 16

EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""What a zip gives a file whose time is not known."""
CLOCKS_DIFFER = timedelta(days=1)

Kind = Literal["taken in", "here already", "of another tool", "left out"]


@dataclass(frozen=True)
class FoundFile:
    """A file or link, by its path in the folder: what it is, the reason in one line, and its record if any."""

    path: str
    kind: Kind
    reason: str = ""
    record: Record | None = None


def import_folder(library: Library, folder: Path | str, person: Person = LOCAL) -> Iterator[FoundFile]:
    """Take the pictures of a folder, and of all folders in it, into the library as those of `person`.

    Gives each file when it is done; what systems put there (`.DS_Store`, `Thumbs.db`) is passed over. Doing it again
    takes in nothing twice. Raises InvalidRequest where there is no such folder, StorageError where the library cannot
    be written.
    """
    folder = Path(folder)
    try:
        is_folder = folder.is_dir()
    except ValueError:
        is_folder = False
    if not is_folder:
        raise InvalidRequest(f"{shown(str(folder))} is no folder — give a folder of pictures")
    importing = _Import(library, person)
    return importing.files(importing.walk(folder))


def import_files(library: Library, files: Iterable[Path | str], person: Person = LOCAL) -> Iterator[FoundFile]:
    """Take these files into the library as `import_folder` does; each is told by its name alone.

    Raises StorageError where the library cannot be written.
    """
    return _Import(library, person).files((path, path.name, "") for path in map(Path, files))


class _Import:
    def __init__(self, library: Library, person: Person) -> None:
        self.library, self.person = library, person
        self.by_size: dict[int, list[Path]] = defaultdict(list)
        for path in pictures_in(library.folder):
            self._know(path)

    def files(self, found: Iterable[tuple[Path, str, str]]) -> Iterator[FoundFile]:
        """Each file, by what it is called and what is wrong with it, when it is done."""
        for path, name, problem in found:
            if problem:
                yield FoundFile(name, "left out", f"{shown(name)} {problem}")
                continue
            try:
                picture = self._read(path, name)
            except StudioError as error:
                # Of the folder's side: what the library's cannot do ends the whole.
                yield FoundFile(name, "left out", error.message)
                continue
            yield picture if isinstance(picture, FoundFile) else self._taken_in(path, name, *picture)

    def walk(self, root: Path) -> Iterator[tuple[Path, str, str]]:
        """Every file of a folder in its order with its path in there, and why what is no file is left out."""
        for path, problem in self._walk(root):
            yield path, path.relative_to(root).as_posix(), problem

    def _walk(self, root: Path) -> Iterator[tuple[Path, str]]:
        waiting = [root]
        home = self.library.folder.resolve()
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                yield folder, f"cannot be read ({error.strerror}) — check the folder and its permissions"
                continue
            folders = []
            for entry in entries:
                path = folder / entry.name
                if is_clutter(entry.name):
                    continue
                if entry.is_symlink():
                    yield path, "is a link, which is not followed — give the folder that it leads to"
                elif not entry.is_dir(follow_symlinks=False):
                    yield path, ""
                elif path.resolve() == home:
                    yield path, "is this library itself"
                else:
                    folders.append(path)
            waiting += reversed(folders)

    def _read(self, path: Path, name: str) -> FoundFile | tuple[Recipe, bytes, Image]:
        """What a file is, or all of a picture that comes in. Raises StudioError for what is left out."""
        label = shown(name)
        recipe = read_picture(path, label)
        if isinstance(recipe, ForeignPicture):
            told = f"{label} was made by {recipe.tool} — load its settings on the page"
            return FoundFile(name, "of another tool", told)
        content = read_given(path, MAX_FILE_BYTES, "a picture")
        if same := self._same(content):
            return FoundFile(name, "here already", f"{label} is in the library already, as {same.name}")
        image = load_picture_bytes(content, name, opaque=True)  # the studio's own are RGB
        if image.size != (recipe.width, recipe.height):
            sizes = f"{image.width} × {image.height} pixels, and its recipe says {recipe.width} × {recipe.height}"
            raise InvalidRequest(f"{label} has {sizes} — it was changed; use the original")
        if not recipe.checkpoint:
            raise InvalidRequest(f"{label} names no checkpoint — it was changed; use the original")
        if self.library.admit is not None:
            self.library.admit(image, path)
        return recipe, content, image

    def _taken_in(self, path: Path, name: str, recipe: Recipe, content: bytes, image: Image) -> FoundFile:
        picture_id = self._free_id(path, content)
        record = self.library.take_in(recipe, content, image, _made_at(path), self.person, picture_id)
        self._know(record.path)
        return FoundFile(name, "taken in", record=record)

    def _know(self, path: Path) -> None:
        """Remember a picture of the library, which the same is not to join again."""
        with suppress(OSError):
            self.by_size[path.stat().st_size].append(path)

    def _same(self, content: bytes) -> Path | None:
        """The picture of the library that this person sees and that is the same to the last byte."""
        for path in self.by_size[len(content)]:
            with suppress(OSError):
                if path.read_bytes() == content and self._sees(path):
                    return path
        return None

    def _sees(self, path: Path) -> bool:
        return self.person.sees_all or self.library.get(id_of(path), self.person) is not None

    def _free_id(self, path: Path, content: bytes) -> str:
        """The id that a library gave the picture, or else one by its content; a new one where that is taken."""
        named = PICTURE.fullmatch(path.name)
        ids = [named["id"]] if named else []
        ids.append(hashlib.sha256(content).hexdigest()[:ID_DIGITS])
        records = self.library.records
        free = (each for each in ids if records.get(each) is None and not records.is_deleted(each))
        return next(free, None) or secrets.token_hex(ID_DIGITS // 2)


def _made_at(path: Path) -> datetime:
    """When a picture was made: as a library names its folder and file, else when the file was last changed.

    Now, where both cannot be: a clock that was wrong, or a file that was made up.
    """
    times: list[datetime] = []
    if DAY.fullmatch(path.parent.name) and PICTURE.fullmatch(path.name):
        with suppress(ValueError, OverflowError):
            named = datetime.strptime(f"{path.parent.name} {path.name[:6]}", "%Y-%m-%d %H%M%S")
            times.append(named.astimezone(UTC))
    with suppress(OSError, OverflowError, ValueError):
        times.append(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    now = datetime.now(UTC)
    return next((time for time in times if EARLIEST <= time <= now + CLOCKS_DIFFER), now)
