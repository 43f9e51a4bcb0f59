"""Styles on disk: the weights, their card and its cover, named by the content of the weights.

Beside those that a person took in are those that ship with the studio, which are read where they lie; what a person
changes of them is kept as a card of the same identity. Files are there as a whole or not at all and a style is there
with its card, so reading needs no lock; changes come one after another, over all threads and processes. What is kept
has been through the doctor: nothing here looks into weights.
"""

import io
import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from PIL import Image

from krea_studio.direction.speed import read_speed
from krea_studio.direction.styles import OFFICIAL, StyleCard, StyleFacts
from krea_studio.errors import InvalidRequest
from krea_studio.files import (
    TEMPORARY_SUFFIX,
    make_folder,
    move,
    one_change,
    read_error,
    remove,
    write_error,
    write_whole,
)
from krea_studio.library.names import folded, free_name, missing
from krea_studio.library.pictures.loader import Admit, Tell, load_picture, logged
from krea_studio.library.styles.files import (
    card_bytes,
    changed_card,
    parse_card,
    shipped_card,
    style_name,
    weights_identity,
)
from krea_studio.recipe.request import bounds
from krea_studio.validation import shown

CARD_FILE = re.compile(r"[0-9a-f]{32}\.json")
IDENTITY = re.compile(r"[0-9a-f]{32}")
WEIGHTS_SUFFIX = ".safetensors"
COVER_SIDE_PX = 512

logger = logging.getLogger(__name__)


class AlreadyHere(InvalidRequest):
    """Somebody gives weights that are in the library, as the style of `card`."""

    def __init__(self, card: StyleCard):
        super().__init__(f"This style is in the library already, as {shown(card.name)} — use that one")
        self.card = card


class Styles:
    """Styles in one folder, made with the first change. Upper and lower case make no difference to a name.

    Every method raises InvalidRequest for a name that is none, or that no style has, and StorageError where a file
    cannot be read or written; what else it refuses is said there.
    """

    def __init__(self, folder: Path, shipped: Path | None = None):
        """Styles in `folder`, and those in the safetensors files of `shipped`, each with or without a PNG beside it."""
        self.folder = folder
        self.admit: Admit | None = None
        self._shipped = shipped

    def cards(self) -> list[StyleCard]:
        """All styles, in alphabetical order; what is damaged or lacks its weights is left out, and logged.

        Where two have one name, as a style that ships with the studio and one that was here before may, the second
        is listed with a number.
        """
        shipped = self._shipped_cards()
        stored = {card.identity: card for card in self._stored() if self._present(card, shipped)}
        new = [card for identity, (card, _) in shipped.items() if identity not in stored]
        taken: set[str] = set()
        cards = []
        for card in (*sorted(stored.values(), key=_place), *sorted(new, key=_place)):
            name = _free(card.name, taken)
            taken.add(folded(name))
            cards.append(card if name == card.name else card.model_copy(update={"name": name}))
        return sorted(cards, key=_place)

    def names(self) -> list[str]:
        """The names of all styles, in alphabetical order."""
        return [card.name for card in self.cards()]

    def get(self, name: str) -> StyleCard:
        """The style of this name as it is now."""
        return self._named(style_name(name), self.cards())

    def of(self, identity: str, name: str = "") -> StyleCard:
        """The style that has these weights. Raises InvalidRequest for an identity that is malformed or not here.

        `name` is what a person knows it by.
        """
        _require_identity(identity)
        card = next((card for card in self.cards() if card.identity == identity), None)
        if card is None:
            raise _gone(name or identity)
        return card

    def path(self, identity: str) -> Path:
        """Where the weights are. Raises InvalidRequest for an identity that is malformed or not in the library."""
        _require_identity(identity)
        own = self._file(identity, WEIGHTS_SUFFIX)
        if own.is_file() and self._file(identity, ".json").is_file():
            return own
        _, path = self._shipped_cards().get(identity, (None, None))
        if path is None:
            raise _gone(identity)
        return path

    def cover(self, identity: str) -> Path | None:
        """The picture of a style; None where it has none."""
        _require_identity(identity)
        own = self._file(identity, ".png")
        if own.is_file():
            return own
        _, path = self._shipped_cards().get(identity, (None, None))
        return path.with_suffix(".png") if path and path.with_suffix(".png").is_file() else None

    def require_free(self, name: str) -> None:
        """Raise InvalidRequest where `keep` would not take this name."""
        name = style_name(name)
        for card in self.cards():
            if folded(card.name) == folded(name):
                raise _name_taken(card.name)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Where a file can be written that `keep` then takes; whatever is left there at the end is removed."""
        path = self.folder / f"incoming{WEIGHTS_SUFFIX}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        try:
            make_folder(self.folder)
        except OSError as error:
            raise write_error(error, self.folder) from None
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, weights: Path, name: str, facts: StyleFacts, numbered: bool = False) -> StyleCard:
        """Take in a sound file that was written to an `incoming` path; it is moved, not copied.

        Raises AlreadyHere where the same weights are in the library, whatever their name, and InvalidRequest where
        another style has the name, unless it is to be `numbered` then.
        """
        name = style_name(name)
        identity, size_bytes = _measured(weights)
        with self._changing():
            cards = self._without(identity)
            taken = {folded(card.name): card.name for card in cards}
            if numbered:
                name = _free(name, taken)
            elif folded(name) in taken:
                raise _name_taken(taken[folded(name)])
            return self._keep(weights, StyleCard(**dict(facts), name=name, identity=identity, bytes=size_bytes))

    def renew(self, old: str, weights: Path, facts: StyleFacts) -> StyleCard:
        """Put other weights, from a sound file as for `keep`, in the place of those of the identity `old`.

        The style keeps its name, its cover, and whether it is a favourite. Raises AlreadyHere where the new weights are
        in the library, and InvalidRequest where the old ones are not.
        """
        identity, size_bytes = _measured(weights)
        with self._changing():
            self._without(identity)
            card = self.of(old)
            kept = self._keep(
                weights, card.model_copy(update={**dict(facts), "identity": identity, "bytes": size_bytes})
            )
            if (cover := self._file(old, ".png")).is_file():
                move(cover, self._file(identity, ".png"))
            self._remove(old)
            return kept

    def rename(self, name: str, new: str) -> StyleCard:
        """Give a style another name, which may differ in case only. Raises InvalidRequest where another has it."""
        new = style_name(new)
        with self._changing():
            cards = self.cards()
            card = self._named(style_name(name), cards)
            for other in cards:
                if other.identity != card.identity and folded(other.name) == folded(new):
                    raise _name_taken(other.name)
            return self._write(card.model_copy(update={"name": new}))

    def delete(self, name: str) -> None:
        """Remove a style with its weights and its cover. A run that has loaded it goes on.

        Raises InvalidRequest for one that ships with the studio.
        """
        with self._changing():
            card = self.get(name)
            if card.identity in self._shipped_cards():
                raise InvalidRequest(
                    f"Style {shown(card.name)} ships with the studio and cannot be removed — simply do not choose it"
                )
            self._remove(card.identity)

    def set_favourite(self, name: str, on: bool = True) -> StyleCard:
        """Make a style a favourite, or no longer one."""
        with self._changing():
            return self._write(self.get(name).model_copy(update={"favourite": on}))

    def edit(
        self, name: str, trigger: str | None = None, suggested_prompt: str | None = None, speed: str | None = None
    ) -> StyleCard:
        """Replace a style's trigger words, suggested prompt or few steps; None leaves them as they are.

        Raises InvalidRequest for a text that is too long, and for few steps that `read_speed` does not read.
        """
        given = {"trigger": trigger, "suggested_prompt": suggested_prompt}
        changes = {field: text for field, text in given.items() if text is not None}
        with self._changing():
            card = self.get(name)
            few = {} if speed is None else {"speed": read_speed(speed, card.speed)}
            return self._write(changed_card(card, **changes, **few))

    def set_cover(self, name: str, picture: Path | str | None, tell: Tell = logged) -> StyleCard:
        """Show a style by the picture in a file; None takes its own cover away; `tell` hears what is not used.

        Raises what `load_picture` raises, and Refused for one that may not come in; then the old cover stays.
        """
        content = None
        if picture is not None:
            image = load_picture(picture, tell)
            if self.admit is not None:
                self.admit(image, picture)
            content = _cover_bytes(image)
        with self._changing():
            card = self.get(name)
            file = self._file(card.identity, ".png")
            if content is None:
                with suppress(FileNotFoundError):
                    remove(file)
            else:
                write_whole(file, content)
            return card

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with one_change(self.folder, "The styles"):
            yield

    def _without(self, identity: str) -> list[StyleCard]:
        """All styles. Raises AlreadyHere where one of them has these weights."""
        cards = self.cards()
        for card in cards:
            if card.identity == identity:
                raise AlreadyHere(card)
        return cards

    def _keep(self, weights: Path, card: StyleCard) -> StyleCard:
        # The card comes last: with it the style is there.
        kept = self._file(card.identity, WEIGHTS_SUFFIX)
        move(weights, kept)
        try:
            return self._write(card)
        except BaseException:
            kept.unlink()
            raise

    def _remove(self, identity: str) -> None:
        for suffix in (".json", ".png", WEIGHTS_SUFFIX):
            with suppress(FileNotFoundError):
                remove(self._file(identity, suffix))

    def _write(self, card: StyleCard) -> StyleCard:
        write_whole(self._file(card.identity, ".json"), card_bytes(card))
        return card

    def _named(self, name: str, cards: Iterable[StyleCard]) -> StyleCard:
        cards = list(cards)
        card = next((card for card in cards if folded(card.name) == folded(name)), None)
        if card is None and folded(name) in OFFICIAL:
            raise InvalidRequest(
                f"There is no style {shown(name)} here yet; Krea publishes it — add it first, it is downloaded then"
            )
        if card is None:
            raise missing("style", name, [card.name for card in cards], "add it first")
        return card

    def _stored(self) -> Iterator[StyleCard]:
        try:
            paths = sorted(path for path in self.folder.iterdir() if CARD_FILE.fullmatch(path.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise read_error(error, self.folder) from None
        for path in paths:
            try:
                card = parse_card(path.read_bytes(), path.name)
                if card.identity != path.stem:
                    raise InvalidRequest(f"{path} has the card of another style — put the original back")
                yield card
            except FileNotFoundError:
                continue  # removed by another process since the folder was listed
            except (OSError, InvalidRequest) as error:
                logger.warning("A style is left out: %s", error)

    def _present(self, card: StyleCard, shipped: dict[str, tuple[StyleCard, Path]]) -> bool:
        present = card.identity in shipped or self._file(card.identity, WEIGHTS_SUFFIX).is_file()
        if not present:
            logger.warning("The style %s is left out: its weights are not in %s", shown(card.name), self.folder)
        return present

    def _shipped_cards(self) -> dict[str, tuple[StyleCard, Path]]:
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

    def _file(self, identity: str, suffix: str) -> Path:
        return self.folder / f"{identity}{suffix}"


@lru_cache(maxsize=64)
def _shipped_card(path: Path, changed_ns: int, size_bytes: int) -> StyleCard:
    """`shipped_card`, read anew only where the file has changed."""
    return shipped_card(path)


def _measured(weights: Path) -> tuple[str, int]:
    """Identity and size in bytes. Raises StorageError where the file cannot be read."""
    try:
        return weights_identity(weights), weights.stat().st_size
    except OSError as error:
        raise read_error(error, weights) from None


def _place(card: StyleCard) -> tuple[str, str]:
    return card.name.casefold(), card.identity


def _free(name: str, taken: Iterable[str]) -> str:
    return free_name(name, lambda found: folded(found) in taken, int(bounds("name", StyleCard)[1]))


def _cover_bytes(picture: Image.Image) -> bytes:
    picture.thumbnail((COVER_SIDE_PX, COVER_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _name_taken(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"There is a style {shown(name)} already — give this one another name, or rename that one first"
    )


def _require_identity(identity: str) -> None:
    if not isinstance(identity, str) or not IDENTITY.fullmatch(identity):
        raise InvalidRequest(f"{shown(identity)} names no style — give the 32 digits of its card")


def _gone(called: str) -> InvalidRequest:
    return InvalidRequest(f"The style {shown(called)} is not in the library any more — import it again")
