"""Moodboards on disk: one JSON file a board, whose pictures lie in the references.

A board's file is named by the hash of its owner and its name, so that no text of a person enters a path and each has a
name once, whatever its case. It depends on the person, `of` whom the boards are, which there are and which may be
changed: another's that is not shared is as if it were not there. Files are replaced as a whole, so reading needs no
lock; changes come one after another, over all threads and processes. A board's pictures stay when it goes: recipes may
need them.
"""

import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from krea_studio.direction.moodboards import MAX_IMAGES, Analysis, Moodboard, renewed
from krea_studio.errors import InvalidRequest, StorageError, StudioError
from krea_studio.files import (
    TEMPORARY_SUFFIX,
    make_folder,
    move,
    one_change,
    read_error,
    read_given,
    remove,
    without_clutter,
    write_error,
    write_whole,
)
from krea_studio.library.moodboard_files import (
    MAX_ARCHIVE_BYTES,
    archive_bytes,
    board_bytes,
    board_name,
    parse_archive,
    parse_board,
)
from krea_studio.library.names import folded, free_name, missing, without_turns
from krea_studio.library.pictures.loader import Tell, logged
from krea_studio.library.references import Reference, References, gone
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.request import bounds
from krea_studio.validation import shown

BOARD_FILE = re.compile(r"[0-9a-f]{32}\.json")
LONGEST = int(bounds("name", Moodboard)[1])

logger = logging.getLogger(__name__)


class Moodboards:
    """Moodboards in one folder, made with the first change. Upper and lower case make no difference to a name.

    Every method raises InvalidRequest for a name that is none, or that no board has, and StorageError where a file
    cannot be read or written; what else it refuses is said there. What changes a board raises InvalidRequest where the
    person may not.
    """

    def __init__(self, folder: Path, references: References, examples: Path | None = None, person: Person = LOCAL):
        """Boards in `folder`, as `person` has them; where there is no such folder, it begins with `examples`, zips."""
        self.folder = folder
        self.references = references
        self._examples = examples
        self._person = person
        self._own = person.id if person.has_own else ""

    def of(self, person: Person) -> "Moodboards":
        """The same boards, as another person has them."""
        return Moodboards(self.folder, self.references, self._examples, person)

    def names(self) -> list[str]:
        """The names of all boards, in alphabetical order; a file that is damaged is left out, and logged.

        Where one's own and a shared one have the same name, the shared one is listed with a number, and known by that.
        """
        return sorted(self._known(), key=str.casefold)

    def get(self, name: str) -> Moodboard:
        """The board of this name as it is now. Raises StorageError for one whose file is damaged."""
        name, board = self._found(name)
        return _called(board, name)

    def may_change(self, board: Moodboard) -> bool:
        """Whether the person may change a board."""
        return self._person.may_change(board.owner, board.team)

    def shows(self, picture: str) -> bool:
        """Whether a picture of the references is shown to the person: everybody's, one's own, or on one of the boards.

        So those of another's board are not that is not shared, nor are those that were on it, whoever knows their ids.
        """
        return self.references.belongs_to(picture, self._person) or any(
            picture in board.images for board in self._known().values()
        )

    def share(self, name: str, on: bool = True) -> Moodboard:
        """Share a board with the team, or no longer. Raises InvalidRequest for one that is everybody's."""
        with self._changing():
            known, board = self._changeable(name)
            if not board.owner:
                raise InvalidRequest(f"Moodboard {shown(known)} is everybody's already — there is nothing to share")
            return self._write(board.model_copy(update={"team": on}), known)

    def delete_private(self) -> None:
        """Remove what is the person's own and not shared; the pictures stay."""
        with self._changing():
            for board in self._all():
                if board.owner == self._person.id and not board.team:
                    remove(self._path(board.owner, board.name))

    def create(self, name: str) -> Moodboard:
        """A new, empty board. Raises InvalidRequest where there is one of this name."""
        board = Moodboard(name=board_name(without_turns(name)), owner=self._own)
        with self._changing():
            self._person.require_change("moodboards")
            self._require_free(board.name)
            return self._write(board)

    def rename(self, name: str, new: str) -> Moodboard:
        """Give a board another name, which may differ in case only. Raises InvalidRequest where another has it."""
        new = board_name(without_turns(new))
        with self._changing():
            _, board = self._changeable(name)
            old_path, new_path = self._path(board.owner, board.name), self._path(board.owner, new)
            if new_path != old_path:
                self._require_free(new, board.owner)
            board = self._write(board.model_copy(update={"name": new}))
            if new_path != old_path:
                remove(old_path)
            return board

    def delete(self, name: str) -> None:
        """Remove a board, also a damaged one; its pictures stay."""
        name = board_name(name)
        with self._changing():
            path = self._path(self._own, name)
            if not path.exists() or self._intact(path):
                _, board = self._changeable(name)
                path = self._path(board.owner, board.name)
            self._person.require_change("moodboards")
            try:
                remove(path)
            except FileNotFoundError:
                raise self._missing(name) from None

    def add(self, name: str, paths: Iterable[Path | str], tell: Tell = logged) -> Moodboard:
        """Add the pictures in these files, in their order, all or none; those that the board has are not repeated.

        What systems put beside pictures is passed over; `tell` hears what else of them is not used.
        Raises what `load_picture` raises, and InvalidRequest where the board would have more than MAX_IMAGES.
        """
        paths = without_clutter(paths)
        _check_count(self.get(name), len(paths))
        return self._extend(name, [(Reference.read(path, tell), path) for path in paths])

    def add_references(self, name: str, ids: Iterable[str]) -> Moodboard:
        """`add` for pictures that the references keep. Raises InvalidRequest for one that they do not."""
        ids = list(ids)
        self.references.require(ids)
        for picture in ids:
            if not self.shows(picture):
                raise gone(picture)
        return self._extend(name, [], ids)

    def remove(self, name: str, *images: str) -> Moodboard:
        """Take pictures off a board, all or none. Raises InvalidRequest for one that is not there."""
        with self._changing():
            known, board = self._changeable(name)
            for image in images:
                if image not in board.images:
                    raise InvalidRequest(
                        f"Moodboard {shown(known)} has no picture {shown(image)} — choose one that is in it"
                    )
            images = tuple(other for other in board.images if other not in images)
            return self._write(board.model_copy(update={"images": images}), known)

    def keep_analysis(self, name: str, analysis: Analysis, begun: Analysis | None = None) -> Moodboard:
        """Replace what was found in a board, as `renewed` does; `begun` is what was there when the analysis began.

        Raises InvalidRequest where none of the pictures that were analyzed is on the board: another one has its name.
        """
        with self._changing():
            known, board = self._changeable(name)
            if analysis.images.isdisjoint(board.images):
                raise InvalidRequest(
                    f"None of the pictures that were analyzed is on moodboard {shown(known)} — analyze it again"
                )
            return self._write(board.model_copy(update={"analysis": renewed(analysis, begun, board.analysis)}), known)

    def change_analysis(self, name: str, change: Callable[[Analysis], Analysis]) -> Moodboard:
        """Replace what was found in a board by what `change` makes of it, with nothing else happening in between.

        Raises InvalidRequest for a board that was not analyzed, and what `change` raises; then nothing was written.
        """
        with self._changing():
            known, board = self._changeable(name)
            if board.analysis is None:
                raise InvalidRequest(f"Moodboard {shown(known)} was not analyzed — analyze it first")
            return self._write(board.model_copy(update={"analysis": change(board.analysis)}), known)

    def read(self, board: Moodboard) -> dict[str, bytes]:
        """The PNG of each picture of a board. Raises what `References.read` raises, telling which picture it is."""
        found = {}
        for place, image in enumerate(board.images, start=1):
            try:
                found[image] = self.references.read(image)
            except InvalidRequest:
                raise InvalidRequest(
                    f"Picture {place} of moodboard {shown(board.name)} is not in the library any more — remove it from "
                    "the board, or add it again"
                ) from None
        return found

    def export(self, name: str, path: Path | str) -> None:
        """Write a board and its pictures as a zip that `import_` reads; the same board gives the same bytes."""
        path = Path(path)
        content = archive_bytes(self.get(name), self.references.read)
        try:
            write_whole(path, content)
        except OSError as error:
            raise write_error(error, path, "The file") from None
        except ValueError:
            raise InvalidRequest(f"{shown(str(path))} cannot be the name of a file — use another one") from None

    def import_(self, path: Path | str, name: str | None = None) -> Moodboard:
        """The board in a zip, under `name` or its own; a number is added where that is taken.

        Raises InvalidRequest for anything but a zip as `export` writes it. Then nothing was written.
        """
        content = read_given(path, MAX_ARCHIVE_BYTES, "the zip of a moodboard")
        board, references = parse_archive(content, Path(path).name)
        name = board_name(without_turns(board.name if name is None else name))
        with self._changing():
            self._person.require_change("moodboards")
            self._keep((reference, path) for reference in references)
            return self._write(board.model_copy(update={"name": self._free_name(name), "owner": self._own}))

    def install_examples(self, folder: Path) -> None:
        """Begin with the boards in the zips of `folder`, where the boards' own folder does not exist yet.

        An example that a person deleted does not come back. One that cannot be read is logged and left out. They ship
        with the studio, so none of their pictures is judged.
        """
        archives = [] if os.path.exists(self.folder) else sorted(folder.glob("*.zip"))
        if not archives:
            return
        # Renamed when it is complete: who looks meanwhile sees no examples, never some of them.
        prepared = Moodboards(
            self.folder.with_name(f"{self.folder.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"),
            References(self.references.folder),
        )
        try:
            make_folder(prepared.folder)
            for archive in archives:
                try:
                    prepared.import_(archive)
                except StudioError as error:
                    logger.warning("The example moodboard %s is left out: %s", archive.name, error)
            move(prepared.folder, self.folder)
        except OSError as error:
            if not os.path.exists(self.folder):
                logger.warning("The example moodboards are left out: %s", error)
        finally:
            shutil.rmtree(prepared.folder, ignore_errors=True)

    def _begin(self) -> None:
        if self._examples:
            self.install_examples(self._examples)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time; what fails in it comes out as StorageError."""
        self._begin()
        with one_change(self.folder, "The moodboards"):
            yield

    def _extend(self, name: str, given: Sequence[tuple[Reference, Path | str]], kept: Sequence[str] = ()) -> Moodboard:
        with self._changing():
            known, board = self._changeable(name)
            images = tuple(dict.fromkeys((*board.images, *(reference.id for reference, _ in given), *kept)))
            _check_count(board, len(images))
            self._keep(given)
            return self._write(board.model_copy(update={"images": images}), known)

    def _keep(self, given: Iterable[tuple[Reference, Path | str]]) -> None:
        """Keep pictures that are ready, each with the file in which it was given."""
        for reference, file in given:
            self.references.keep(reference, file, self._person)

    def _write(self, board: Moodboard, known: str = "") -> Moodboard:
        """Keep a board, and return it as it is `known`, where that is not by its own name."""
        write_whole(self._path(board.owner, board.name), board_bytes(board))
        return _called(board, known or board.name)

    def _found(self, name: str) -> tuple[str, Moodboard]:
        """The board of this name as it is kept, and how it is known."""
        self._begin()
        name = board_name(name)
        if board := self._read(self._path(self._own, name)):
            return board.name, board
        for known, board in self._known().items():
            if folded(known) == folded(name):
                return known, board
        raise self._missing(name)

    def _changeable(self, name: str) -> tuple[str, Moodboard]:
        """`_found` for one that changes. Raises InvalidRequest where the person may not change it."""
        known, board = self._found(name)
        self._person.require_change("moodboards")
        if not self.may_change(board):
            raise InvalidRequest(
                f"Moodboard {shown(known)} is {board.owner}'s, who alone may change it, and admins — export it, and "
                "import it as your own"
            )
        return known, board

    def _known(self) -> dict[str, Moodboard]:
        """All boards that are there for the person, by the names by which they are known: one's own by their own."""
        known: dict[str, Moodboard] = {}
        taken: set[str] = set()
        theirs = [board for board in self._all() if self._person.may_use(board.owner, board.team)]
        for board in sorted(theirs, key=lambda each: (each.owner != self._own, each.owner, folded(each.name))):
            name = free_name(board.name, lambda found: folded(found) in taken, LONGEST)
            taken.add(folded(name))
            known[name] = board
        return known

    def _all(self) -> list[Moodboard]:
        """Everybody's boards, but for damaged ones."""
        self._begin()
        try:
            paths = sorted(path for path in self.folder.iterdir() if BOARD_FILE.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise read_error(error, self.folder) from None
        return [board for path in paths if (board := self._intact(path))]

    def _read(self, path: Path) -> Moodboard | None:
        """The board in a file, None where there is no such file. Raises StorageError for one that is no board."""
        try:
            board = parse_board(path.read_bytes(), path.name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise read_error(error, path) from None
        except InvalidRequest as error:
            raise StorageError(f"The moodboard in {path} cannot be used: {error}") from None
        if self._path(board.owner, board.name) != path:
            raise StorageError(
                f"The file {path} has the name of another moodboard — delete it, or put the original back"
            )
        return board

    def _intact(self, path: Path) -> Moodboard | None:
        try:
            return self._read(path)
        except StorageError as error:
            logger.warning("A moodboard is left out: %s", error)
            return None

    def _path(self, owner: str, name: str) -> Path:
        told = f"{owner}\0{folded(name)}" if owner else folded(name)  # no name has a NUL
        return self.folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"

    def _require_free(self, name: str, owner: str | None = None) -> None:
        """Raise InvalidRequest where `owner`, or the person, has a board of this name, or sees another's."""
        path = self._path(self._own if owner is None else owner, name)
        if path.exists() and self._intact(path) is None:
            raise InvalidRequest(
                f"The file of a moodboard {shown(name)} is damaged — delete that moodboard on the command line, or use "
                "another name"
            )
        if path.exists() or any(folded(name) == folded(known) for known in self._known()):
            raise InvalidRequest(f"There is a moodboard {shown(name)} already — use another name")

    def _free_name(self, name: str) -> str:
        taken = {folded(known) for known in self._known()}
        return free_name(name, lambda found: folded(found) in taken or self._path(self._own, found).exists(), LONGEST)

    def _missing(self, name: str) -> InvalidRequest:
        return missing("moodboard", name, self.names(), "create it first")


def _called(board: Moodboard, name: str) -> Moodboard:
    return board if board.name == name else board.model_copy(update={"name": name})


def _check_count(board: Moodboard, count: int) -> None:
    if count > MAX_IMAGES:
        raise InvalidRequest(f"Moodboard {shown(board.name)} cannot take {count} pictures — give at most {MAX_IMAGES}")
