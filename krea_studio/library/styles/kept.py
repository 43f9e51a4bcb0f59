"""The files of styles in the library's folder: which cards, covers and weights are there, and what they are called.

Whose a style is, and who may use it, is `styles`' part.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from krea_studio.direction.styles import StyleCard
from krea_studio.errors import InvalidRequest
from krea_studio.files import read_error
from krea_studio.library.styles.files import parse_card, shipped_card
from krea_studio.validation import shown

CARD_FILE = re.compile(r"[0-9a-f]{32}\.json")
COVER_FILE = re.compile(r"(?P<card>[0-9a-f]{32})-[0-9a-f]{32}\.png")
"""The cover of a style that has an owner, by its content: what is shown under an address never changes."""
WEIGHTS_SUFFIX = ".safetensors"

logger = logging.getLogger(__name__)


class StyleFiles:
    """The files in the library's folder, and those that ship with the studio."""

    def __init__(self, folder: Path, shipped: Path | None):
        self._folder, self._shipped = folder, shipped

    def shipped(self) -> dict[str, tuple[StyleCard, Path]]:
        """The styles that ship with the studio and their files, by identity."""
        found = {}
        for path in sorted(self._shipped.glob(f"*{WEIGHTS_SUFFIX}")) if self._shipped else ():
            try:
                stat = path.stat()
                card = _shipped_card(path, stat.st_mtime_ns, stat.st_size)
            except (OSError, InvalidRequest) as error:
                logger.warning("A style that ships with the studio is left out: %s", error)
            else:
                found[card.identity] = (card, path)
        return found

    def stored(self) -> Iterator[StyleCard]:
        """Everybody's cards, but for damaged ones. Raises StorageError."""
        try:
            paths = sorted(path for path in self._folder.iterdir() if CARD_FILE.fullmatch(path.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise read_error(error, self._folder) from None
        yield from (card for path in paths if (card := self.card(path)))

    def card(self, path: Path) -> StyleCard | None:
        """The card in a file; None where there is no such file, or a damaged one, which is logged."""
        try:
            card = parse_card(path.read_bytes(), path.name)
            if stem_of(card) != path.stem:
                raise InvalidRequest(f"{path} has the card of another style — put the original back")
            return card
        except FileNotFoundError:  # also removed by another process since the folder was listed
            return None
        except (OSError, InvalidRequest) as error:
            logger.warning("A style is left out: %s", error)
            return None

    def holds(self, card: StyleCard, shipped: dict[str, tuple[StyleCard, Path]]) -> bool:
        """Whether the weights of a card are there; where they are not, that is logged."""
        present = card.identity in shipped or self.file(card.identity, WEIGHTS_SUFFIX).is_file()
        if not present:
            logger.warning("The style %s is left out: its weights are not in %s", shown(card.name), self._folder)
        return present

    def has_card(self, identity: str) -> bool:
        """Whether these weights are anybody's style."""
        return any(card.identity == identity for card in self.stored())

    def covers(self, card: StyleCard) -> list[Path]:
        """The files of a style's own cover: one, or none."""
        if card.owner:
            return sorted(self._folder.glob(f"{stem_of(card)}-*.png"))
        return [file] if (file := self.file(card.identity, ".png")).is_file() else []

    def file(self, stem: str, suffix: str) -> Path:
        """The file of a card or weights, which need not be there."""
        return self._folder / f"{stem}{suffix}"


def stem_of(card: StyleCard) -> str:
    """What a card's files are called: everybody's by the weights, an owner's by both."""
    return hashlib.sha256(f"{card.owner}\0{card.identity}".encode()).hexdigest()[:32] if card.owner else card.identity


@lru_cache(maxsize=64)
def _shipped_card(path: Path, changed_ns: int, size_bytes: int) -> StyleCard:
    """`shipped_card`, read anew only where the file has changed."""
    return shipped_card(path)
