"""How single files are written and read, and a folder of them is changed.

A file of the studio is there as a whole or not at all, whoever dies, runs out of disk or loses power while it is
written, and once written it stays: it is synced to the disk before it gets its name, and its name before anybody is
told. So reading needs no lock; changes to a folder come one after another, over all threads and processes. A file that
a person names may be anything: it is read only where it is a plain file, and only up to a size.
"""

import errno
import fnmatch
import os
import re
import secrets
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.validation import shown

Named = TypeVar("Named", bound=Path | str)

TEMPORARY_SUFFIX = ".part"
# People and browsers call files of their own `.part` too: the digits tell which are the studio's.
TEMPORARY_FILE = re.compile(r".+\.[0-9a-f]{8}\.part|probe-[0-9a-f]{16}\.part")
TEMPORARY_FOLDER = re.compile(r"moodboards\.[0-9a-f]{8}\.part")
CLUTTER = (
    *("._*", ".DS_Store", ".AppleDouble", ".localized", ".Spotlight-V100", ".Trashes", ".fseventsd", "__MACOSX"),
    *("Thumbs.db", "ehthumbs*.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", ".directory", "@eaDir"),
)
"""What Macs, Windows and file servers put beside a person's files, in any case: doubles, settings, thumbnails."""
_CLUTTER = re.compile("|".join(map(fnmatch.translate, CLUTTER)), re.IGNORECASE)
LOCK_FILE = "lock.sqlite3"
LOCK_TIMEOUT_SECONDS = 20.0


def is_clutter(path: Path | str) -> bool:
    """Whether a file, or a folder that it is in, was put there by a system and not by a person."""
    return any(_CLUTTER.match(part) for part in PurePosixPath(path).parts)


def without_clutter(paths: Iterable[Named]) -> list[Named]:
    """These files but for those whose own names are of clutter, where there is anything else."""
    paths = list(paths)
    return [path for path in paths if not is_clutter(Path(path).name)] or paths


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file, so that it is there as a whole or not at all; the folders above it are made.

    What was written takes the place of `path` at the end, and is on disk then. Raises OSError, and what is raised
    within; then nothing is left behind. `write_error` puts it into words.
    """
    make_folder(path.parent)
    # A name of its own: another process may be writing the same file.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        move(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write these bytes as `whole` does."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def move(written: Path, path: Path) -> None:
    """Give a file that was written, or a folder of such, the name `path`; both are on disk then. Raises OSError."""
    _sync(written)
    os.replace(written, path)
    _sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they do not exist; they are on disk then. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _sync(made.parent)


def remove(path: Path) -> None:
    """Remove a file, which does not come back. Raises OSError, FileNotFoundError where there is none."""
    path.unlink()
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Have the disk keep what a file holds, or which files a folder names."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return  # Windows opens no folders, and others none that may be written but not read
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems, of networks above all, sync files alone.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def one_change(folder: Path, what: str) -> Iterator[None]:
    """One change at a time in `folder`, which is made; `what` says what is in it (`The moodboards`).

    What cannot be written in it, or waits too long for others, comes out as StorageError.
    """
    try:
        make_folder(folder)
        # A database of nothing: SQLite's write lock works on every system and ends with its process.
        lock = sqlite3.connect(folder / LOCK_FILE, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None)
        with closing(lock):
            if not lock.execute("PRAGMA user_version").fetchone()[0]:
                # Written once, since locking an empty file takes room, and a bin is emptied when there is none.
                lock.execute("PRAGMA user_version = 1")
            lock.execute("BEGIN IMMEDIATE")
            yield
    except OSError as error:
        raise write_error(error, folder) from None
    except sqlite3.Error as error:
        if "full" in str(error):
            raise write_error(OSError(errno.ENOSPC, str(error)), folder) from None
        raise StorageError(
            f"{what} in {folder} cannot be changed now ({error}) — try again, or check the folder and its permissions"
        ) from None


def write_error(error: OSError, place: Path, what: str = "The library") -> StorageError:
    """What to tell a person when `place` could not be written; `what` says what it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"The disk that holds {place} is full — free some space and try again")
    return StorageError(
        f"{what} {place} cannot be written ({error.strerror or error}) — "
        "check the folder and its permissions, or use another folder"
    )


def read_error(error: OSError, place: Path) -> StorageError:
    """What to tell a person when `place` in the library could not be read."""
    return StorageError(f"{place} cannot be read ({error.strerror or error}) — check it and its permissions")


def read_given(path: Path | str, most_bytes: int, wanted: str) -> bytes:
    """The content of a file that a person named; `wanted` says what should be in it (`a PNG picture`).

    Raises InvalidRequest where there is no plain file of 1 to `most_bytes` bytes, StorageError where it cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
        # Opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a plain file"
            raise InvalidRequest(f"{shown(str(path))} is {kind} — give {wanted}")
        with open(path, "rb") as file:
            content = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # A path with a NUL or half of a surrogate pair is a ValueError.
        raise InvalidRequest(f"{shown(str(path))} does not exist — give {wanted}") from None
    except OSError as error:
        raise StorageError(
            f"{shown(str(path))} cannot be read ({error.strerror or error}) — check the file and its permissions"
        ) from None
    if not content:
        raise InvalidRequest(f"{shown(Path(path).name)} is empty — give {wanted}")
    if len(content) > most_bytes:
        raise InvalidRequest(f"{shown(Path(path).name)} has more than {most_bytes:,} bytes — give a smaller file")
    return content
