"""The check of a library's files against its rows, which goes on beside whatever the library is opened for.

A picture without a row, where the records were lost, carries its recipe and is taken in again, as the local person's:
whose it was must not be in a file that people pass on. One that lies in the bin stays there, from today on. Parts that
a killed process left behind are removed. Of the folders of a person nothing else is touched.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Event

from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.files import TEMPORARY_FILE, TEMPORARY_FOLDER, TEMPORARY_SUFFIX, write_whole
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.pictures.thumbnails import thumbnail_bytes
from krea_studio.library.records import BIN_FOLDER, DAY, PICTURE, THUMBNAIL_FOLDER, Record, Records, thumbnail_of
from krea_studio.people import LOCAL

ABANDONED_SECONDS = 3600.0
AT_ONCE = 200  # files whose rows are looked for together

logger = logging.getLogger(__name__)


def check_files(folder: Path, records: Records, beside: Iterable[Path], ending: Event) -> None:
    """Give rows and thumbnails to the pictures in `folder` that have none, and remove abandoned parts.

    In the folders `beside` there are only parts to look for. It stops where `ending` is set. Raises StorageError.
    """
    for root, deleted_at in ((folder, None), (folder / BIN_FOLDER, datetime.now(UTC))):
        paths, added = pictures_in(root), 0
        while some := list(islice(paths, AT_ONCE)):
            if ending.is_set():
                return
            known = records.known([_name(path) for path in some])
            missing = (path for path in some if _name(path) not in known and not ending.is_set())
            found = [record for path in missing if (record := _recovered(path, deleted_at))]
            if found:
                records.add_missing(found)
            added += len(found)
        if added:
            logger.info("%d pictures in %s had no record and were added", added, root)
        for _ in _files(root / THUMBNAIL_FOLDER):
            if ending.is_set():
                return
    for place in beside:
        for part in place.rglob(f"*{TEMPORARY_SUFFIX}"):
            _remove_if_abandoned(part)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def pictures_in(root: Path) -> Iterator[Path]:
    """The files of pictures in a library's folder, or in its bin, by day."""
    return (path for path in _files(root) if path.parent != root and PICTURE.fullmatch(path.name))


def _files(root: Path) -> Iterator[Path]:
    """The files in a folder and in its folders of days, without abandoned parts, which are removed."""
    days = []
    for path in _entries(root):
        if DAY.fullmatch(path.name):
            days.append(path)
        else:
            yield path
    for day in sorted(days, reverse=True):
        yield from _entries(day)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if path.suffix == TEMPORARY_SUFFIX:
                    _remove_if_abandoned(path)
                else:
                    yield path
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        logger.warning("The folder %s is left out: %s", folder, error)


def _recovered(path: Path, deleted_at: datetime | None) -> Record | None:
    try:
        recipe = read_recipe(path)
        if not recipe.checkpoint:
            raise InvalidRequest(f"{path} names no checkpoint — it was changed; use the original")
        thumbnail = thumbnail_of(path)
        if not thumbnail.exists():
            with Image.open(path, formats=("PNG",)) as image:
                write_whole(thumbnail, thumbnail_bytes(image.convert("RGB")))
        created_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except Exception as error:
        # The folder is a person's, and whatever lies in it must not keep the studio from starting.
        logger.warning("A picture without a record is left out: %s", error)
        return None
    return Record(recipe, path, LOCAL.id, 0.0, created_at, deleted_at=deleted_at)


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
    except FileNotFoundError:
        return  # it has got its name meanwhile
    except OSError as error:
        logger.warning("An abandoned file stays: %s", error)
