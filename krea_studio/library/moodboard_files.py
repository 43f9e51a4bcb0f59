"""Moodboards as bytes: the JSON of a board, and the zip that takes a board and its pictures from studio to studio.

A zip may come from a stranger. It is read in memory and nothing in it is ever unpacked to a path; its directory is
bounded before it is parsed, what is decompressed is counted while it is read, whatever the headers say, and pixels are
counted before they are decoded. It holds one `moodboard.json` and exactly the pictures that it names, as
`images/<id>.png`, all of them in a folder where a Mac or Windows packed it again. What these put beside them is passed
over, and anything else is refused.
"""

import io
import logging
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from PIL import Image
from pydantic import ValidationError

from krea_studio.direction.moodboards import MAX_IMAGES, Moodboard
from krea_studio.errors import InvalidRequest
from krea_studio.files import is_clutter
from krea_studio.library.names import plain_name
from krea_studio.library.pictures.loader import MAX_FILE_BYTES, load_picture_bytes, picture_size
from krea_studio.library.references import WORKING_PIXELS, Reference
from krea_studio.library.versioned import read_versioned, versioned_bytes
from krea_studio.validation import refusal, shown

SCHEMA_VERSION, OLDEST_VERSION = 2, 1
"""Version 2 added whose a board is. What is everybody's is written as before, for studios that know no other."""
MAX_BOARD_BYTES = 2**20
MAX_ARCHIVE_BYTES = 256 * 2**20
"""Of a zip, and of all that is in it; the pictures of the largest board are about half of it."""
MAX_ARCHIVE_PIXELS = MAX_IMAGES * WORKING_PIXELS
"""Of all pictures in a zip: what the largest board has. A few kilobytes can hold a hundred times as many."""
MAX_DIRECTORY_BYTES = 256 * 2**10

BOARD_MEMBER = "moodboard.json"
IMAGE_FOLDER = "images/"
MEMBER = re.compile(rf"{re.escape(BOARD_MEMBER)}|{IMAGE_FOLDER}[0-9a-f]{{32}}\.png")

END_RECORD_BYTES = 22
ZIP64_LOCATOR_BYTES = 20

logger = logging.getLogger(__name__)


def board_name(name: object) -> str:
    """A moodboard's name: one line without control characters or outer spaces. Raises InvalidRequest."""
    return _board({"name": plain_name(name)}).name


def board_bytes(board: Moodboard) -> bytes:
    """A board as JSON; `parse_board` reads it."""
    if board.owner:
        return versioned_bytes(board, SCHEMA_VERSION)
    return versioned_bytes(board, OLDEST_VERSION, exclude={"owner", "team"})


def parse_board(content: bytes, name: str) -> Moodboard:
    """The board in a JSON file called `name`. Raises InvalidRequest where it holds none that this studio reads."""
    return _board(read_versioned(content, name, "a moodboard", SCHEMA_VERSION, OLDEST_VERSION))


def everybodys(board: Moodboard) -> Moodboard:
    """The board without an owner."""
    return board.model_copy(update={"owner": "", "team": False})


def archive_bytes(board: Moodboard, read: Callable[[str], bytes]) -> bytes:
    """A board with its pictures as a zip, the same bytes every time; `read` gives the PNG of a picture.

    It does not say whose the board was.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_member(BOARD_MEMBER), board_bytes(everybodys(board)))
        for image in board.images:
            archive.writestr(_member(_image_member(image)), read(image))
    return file.getvalue()


def parse_archive(content: bytes, name: str) -> tuple[Moodboard, list[Reference]]:
    """The board in a zip called `name`, and its pictures, ready to be kept; the board names them by their true ids.

    It is nobody's yet, whatever the zip says.

    Raises InvalidRequest for anything that `archive_bytes` would not have written, in form or in size.
    """
    archive = _Archive(content, name)
    board = everybodys(parse_board(archive.read(BOARD_MEMBER, MAX_BOARD_BYTES), f"{name}/{BOARD_MEMBER}"))
    members = {image: _image_member(image) for image in board.images}
    archive.require(BOARD_MEMBER, *members.values())
    references = {image: Reference.of(archive.picture(member)) for image, member in members.items()}
    return _renamed(board, {image: reference.id for image, reference in references.items()}), [*references.values()]


class _Archive:
    """The members of a stranger's zip: at most MAX_ARCHIVE_BYTES can be read, MAX_ARCHIVE_PIXELS decoded in all."""

    def __init__(self, content: bytes, name: str):
        self._name = name
        self._bytes_left = MAX_ARCHIVE_BYTES
        self._pixels_left = MAX_ARCHIVE_PIXELS
        self._check_directory_size(content)
        with self._damage_told():
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        self._members: dict[str, zipfile.ZipInfo] = {}
        members = [(member.orig_filename.replace("\\", "/"), member) for member in self._zip.infolist()]
        # A folder's own entry is added by tools that pack a folder.
        members = [each for each in members if not is_clutter(each[0]) and (each[0][-1:] != "/" or each[1].file_size)]
        around = _folder_around([path for path, _ in members])
        for path, member in members:
            self._admit(path.removeprefix(around), member)

    def _check_directory_size(self, content: bytes) -> None:
        """See to it that zipfile, which reads the whole directory before anyone can count, finds a small one.

        The last 22 bytes say how large it is, unless a zip64 record stands before them, which has its own idea.
        """
        end = content[-END_RECORD_BYTES:]
        locator = content[-END_RECORD_BYTES - ZIP64_LOCATOR_BYTES : -END_RECORD_BYTES]
        if not end.startswith(b"PK\x05\x06") or not end.endswith(b"\0\0") or locator.startswith(b"PK\x06\x07"):
            raise InvalidRequest(f"{shown(self._name)} is not a plain zip — give one that this studio exported")
        if int.from_bytes(end[12:16], "little") > MAX_DIRECTORY_BYTES:
            raise InvalidRequest(f"{shown(self._name)} holds too many files — give a zip that this studio exported")

    def _admit(self, path: str, member: zipfile.ZipInfo) -> None:
        if not MEMBER.fullmatch(path) or stat.S_ISLNK(member.external_attr >> 16):
            self._refuse(f"holds {shown(member.orig_filename)}, which is no part of a moodboard")
        if path in self._members:
            self._refuse(f"holds {shown(member.orig_filename)} twice")
        if member.flag_bits & 1:
            self._refuse("is encrypted")
        # The other methods let a header ask for gigabytes of working memory.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self._refuse("is compressed by a method other than deflate")
        if len(self._members) > MAX_IMAGES:
            self._refuse(f"holds more than {MAX_IMAGES} pictures")
        self._members[path] = member

    def require(self, *members: str) -> None:
        """Raise InvalidRequest unless the zip holds these members and no other ones."""
        for member in members:
            if member not in self._members:
                self._refuse(f"lacks {member}")
        if surplus := self._members.keys() - set(members):
            self._refuse(f"holds {min(surplus)}, which its moodboard does not name")

    def read(self, member: str, most_bytes: int) -> bytes:
        """The content of a member of at most `most_bytes`. Raises InvalidRequest, also for one that is not there."""
        if member not in self._members:
            self._refuse(f"lacks {member}")
        most_bytes = min(most_bytes, self._bytes_left)
        with self._damage_told(), self._zip.open(self._members[member]) as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            self._refuse(f"holds too much: {member} goes beyond {most_bytes:,} bytes")
        self._bytes_left -= len(content)
        return content

    def picture(self, member: str) -> Image.Image:
        """The picture in a member. Raises InvalidRequest, also for one that is none."""
        content, name = self.read(member, MAX_FILE_BYTES), f"{self._name}/{member}"
        width, height = picture_size(content, name)
        self._pixels_left -= width * height
        if self._pixels_left < 0:
            self._refuse(f"holds too much: its pictures have more than {MAX_ARCHIVE_PIXELS:,} pixels in all")
        return load_picture_bytes(content, name)

    def _refuse(self, what: str) -> NoReturn:
        raise InvalidRequest(f"{shown(self._name)} {what} — give a zip that this studio exported, as it is")

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # zipfile raises a dozen types on hostile bytes; each of them means that the file is no good.
            logger.info("%s was refused: %r", shown(self._name), error)
            raise InvalidRequest(f"{shown(self._name)} is damaged — use the original file") from None


def _board(data: Any) -> Moodboard:
    try:
        return Moodboard.model_validate(data)
    except ValidationError as error:
        raise refusal(error, Moodboard, lambda field: f"The moodboard's {field}", "a moodboard") from None


def _folder_around(paths: Sequence[str]) -> str:
    """The folder that the board and all else lies in, with a slash behind it; empty where there is none."""
    folder = next((path.removesuffix(BOARD_MEMBER) for path in paths if path.endswith(f"/{BOARD_MEMBER}")), "")
    plain = ":" not in folder and {"", ".", ".."}.isdisjoint(folder.split("/")[:-1])
    return folder if plain and all(path.startswith(folder) for path in paths) else ""


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    return member


def _image_member(image: str) -> str:
    return f"{IMAGE_FOLDER}{image}.png"


def _renamed(board: Moodboard, ids: dict[str, str]) -> Moodboard:
    """The board with each of its pictures under another id; pictures that have left it keep the ids they had."""

    def renamed(images: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ids.get(image, image) for image in images))

    update: dict[str, Any] = {"images": renamed(board.images)}
    if board.analysis:
        clusters = tuple(
            cluster.model_copy(
                update={
                    "images": renamed(cluster.images),
                }
            )
            for cluster in board.analysis.clusters
        )
        update["analysis"] = board.analysis.model_copy(update={"clusters": clusters})
    return board.model_copy(update=update)
