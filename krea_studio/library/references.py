"""Reference pictures: what a person gives to be steered by, kept by content.

Only the working size is kept, and its id is the hash of its pixels: the same picture is there once, an id in a recipe
means the same pixels for ever, and a file that was changed is noticed. Reducing a picture that has the working size
already changes nothing, so what was read from one library gets the same id in another.

Beside a picture that somebody brought who is signed in lies an empty file for each who did, named by the hash of who
that is. A picture without such a file, from before or by the operator, is everybody's, and stays so.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt, sqrt
from pathlib import Path
from typing import Self

from PIL import Image

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.files import write_error, write_whole
from krea_studio.library.pictures.loader import (
    Admit,
    Tell,
    check_size,
    load_picture,
    load_picture_bytes,
    logged,
    plain_rgb,
)
from krea_studio.people import LOCAL, Person
from krea_studio.validation import shown

WORKING_PIXELS = 512 * 512
SIDE_STEP_PX = 32
WIDEST = 4
"""The longer side is at most this many times the shorter one."""

ID = re.compile(r"[0-9a-f]{32}")
OWNER_SUFFIX = ".owner"


@dataclass(frozen=True)
class Reference:
    """A picture ready to be kept: the PNG of its working size, and the id that its pixels give it."""

    id: str
    content: bytes

    @classmethod
    def read(cls, path: Path | str, tell: Tell = logged) -> Self:
        """The reference that the picture in a file becomes; `tell` hears what of it is not used.

        Raises what `load_picture` raises.
        """
        image = load_picture(path, tell)
        width, height = image.size
        if max(image.size) > WIDEST * min(image.size):
            tell(
                f"Of {shown(Path(path).name)}, {width:,} × {height:,} pixels, the middle is used, as it is longer than "
                f"{WIDEST}:1 — crop it yourself to be steered by another part"
            )
        return cls.of(image)

    @classmethod
    def of(cls, image: Image.Image) -> Self:
        """The reference that an RGB picture becomes."""
        image = working_picture(image)
        file = io.BytesIO()
        image.save(file, format="PNG")
        return cls(picture_id(image), file.getvalue())

    def picture(self) -> Image.Image:
        """Its pixels."""
        with Image.open(io.BytesIO(self.content), formats=("PNG",)) as image:
            return image.convert("RGB")


class References:
    """Reference pictures in one folder, which is made with the first of them. Threads and processes may share it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.admit: Admit | None = None

    def add(self, path: Path | str, tell: Tell = logged, person: Person = LOCAL) -> str:
        """Keep the picture in a file, which `person` brings, and return its id; one that is kept stays as it is.

        Raises what `load_picture` raises, Refused for one that may not come in, and StorageError where it cannot be
        written.
        """
        return self.keep(Reference.read(path, tell), path, person)

    def add_picture(self, image: Image.Image) -> str:
        """`add` for a picture of any mode. Raises InvalidRequest for one that is too large or too small."""
        check_size(image.size, "The picture")
        return self.keep(Reference.of(plain_rgb(image)))

    def keep(self, reference: Reference, file: Path | str | None = None, person: Person = LOCAL) -> str:
        """Write a picture that is ready, also over a damaged file of the same id; `person` gave it in `file`.

        Raises StorageError, and Refused for one that may not come in.
        """
        if self.admit is not None:
            self.admit(reference.picture(), file)
        path = self._path(reference.id)
        owned = self._owned(reference.id, person)
        try:
            if person.has_own and (not path.is_file() or self._has_owners(reference.id)) and not owned.is_file():
                write_whole(owned, b"")  # first: a picture without it is everybody's
            if not (path.is_file() and path.read_bytes() == reference.content):
                write_whole(path, reference.content)
        except OSError as error:
            raise write_error(error, self.folder) from None
        return reference.id

    def path(self, picture: str) -> Path:
        """Where a picture is kept. Raises InvalidRequest for an id that is malformed or not in the library."""
        if not isinstance(picture, str) or not ID.fullmatch(picture):
            raise InvalidRequest(
                f"{shown(picture)} names no reference picture — give the 32 digits that `add` returned"
            )
        path = self._path(picture)
        if not os.path.isfile(path):
            raise gone(picture)
        return path

    def require(self, pictures: Iterable[str]) -> None:
        """Raise InvalidRequest for the first of these ids that `path` does not find."""
        for picture in pictures:
            self.path(picture)

    def belongs_to(self, picture: str, person: Person) -> bool:
        """Whether a picture is this person's, who brought it too, or everybody's; for strangers all are."""
        return not person.has_own or not self._has_owners(picture) or self._owned(picture, person).is_file()

    def read(self, picture: str) -> bytes:
        """The PNG of a picture, exactly the pixels that its id stands for.

        Raises InvalidRequest as `path` does, StorageError where the file was changed, is damaged or cannot be read.
        """
        path = self.path(picture)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"{path} cannot be read ({error.strerror or error}) — check the file and its permissions"
            ) from None
        try:
            intact = picture_id(load_picture_bytes(content, path.name)) == picture
        except InvalidRequest:
            intact = False
        if not intact:
            raise StorageError(f"The reference picture {path} was changed or is damaged — add the original again")
        return content

    def _path(self, picture: str) -> Path:
        return self.folder / picture[:2] / f"{picture}.png"

    def _owned(self, picture: str, person: Person) -> Path:
        """What says that a picture is a person's."""
        whose = hashlib.sha256(person.id.encode()).hexdigest()[:32]
        return self._path(picture).with_suffix(f".{whose}{OWNER_SUFFIX}")

    def _has_owners(self, picture: str) -> bool:
        return next(self._path(picture).parent.glob(f"{picture}.*{OWNER_SUFFIX}"), None) is not None


def gone(picture: str) -> InvalidRequest:
    """What to say of a picture that is not kept, or is another's."""
    return InvalidRequest(f"The reference picture {picture} is not in the library any more — add it again")


def picture_id(image: Image.Image) -> str:
    """32 hexadecimal digits of the hash of an RGB picture's size and pixels."""
    width, height = image.size
    return hashlib.sha256(f"{width}x{height} ".encode() + image.tobytes()).hexdigest()[:32]


def working_picture(image: Image.Image) -> Image.Image:
    """An RGB picture of at least 32 px a side at the size at which references are used.

    That is at most WORKING_PIXELS and at most 4:1, both sides multiples of 32 px. A picture is reduced where it is
    larger and cropped evenly to fit, never enlarged or stretched; one that has the size comes back as it is.
    """
    width = min(image.width, WIDEST * image.height)
    height = min(image.height, WIDEST * image.width)
    if width * height <= WORKING_PIXELS:
        size = _fitted(width, height)
        left, top, right, bottom = map(int, _middle(image, *size))
        return image if size == image.size else image.crop((left, top, right, bottom))
    # Roots of whole numbers: with floats, a side of 512 might come out as 511.99… and lose 32 pixels.
    size = _fitted(isqrt(WORKING_PIXELS * width // height), isqrt(WORKING_PIXELS * height // width))
    scale = sqrt(width * height / WORKING_PIXELS)
    return image.resize(size, Image.Resampling.LANCZOS, box=_middle(image, size[0] * scale, size[1] * scale))


def _fitted(width: int, height: int) -> tuple[int, int]:
    """The largest sides that a picture of this size may keep."""
    width, height = width // SIDE_STEP_PX * SIDE_STEP_PX, height // SIDE_STEP_PX * SIDE_STEP_PX
    return min(width, WIDEST * height), min(height, WIDEST * width)


def _middle(image: Image.Image, width: float, height: float) -> tuple[float, float, float, float]:
    """The box of this size in the middle of `image`."""
    width, height = min(width, image.width), min(height, image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return left, top, left + width, top + height
