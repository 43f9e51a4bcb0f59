"""Styles on disk: the weights, named by their content, and for each whose they are a card and its cover.

It depends on the person, `of` whom the styles are, which there are and which may be changed: another's that is not
shared is as if it were not there. Who brings weights that somebody else has gets a card of their own; the weights are
there once. Beside those that were taken in are those that ship with the studio, which are read where they lie; what is
changed of them is kept as a card of the same identity. Files are there as a whole or not at all and a style is there
with its card, so reading needs no lock; changes come one after another, over all threads and processes. What is kept
has been through the doctor: nothing here looks into weights.
"""

import copy
import hashlib
import io
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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
    style_name,
    weights_identity,
)
from krea_studio.library.styles.kept import COVER_FILE, WEIGHTS_SUFFIX, StyleFiles, stem_of
from krea_studio.people import LOCAL, Person, member
from krea_studio.recipe.request import bounds
from krea_studio.validation import shown

IDENTITY = re.compile(r"[0-9a-f]{32}")
COVER_SIDE_PX = 512


class AlreadyHere(InvalidRequest):
    """Somebody gives weights that are in the library, as the style of `card`."""

    def __init__(self, card: StyleCard):
        super().__init__(f"This style is in the library already, as {shown(card.name)} — use that one")
        self.card = card


class Styles:
    """Styles in one folder, made with the first change. Upper and lower case make no difference to a name.

    Every method raises InvalidRequest for a name that is none, or that no style has, and StorageError where a file
    cannot be read or written; what else it refuses is said there. What changes a style raises InvalidRequest where the
    person may not.
    """

    def __init__(self, folder: Path, shipped: Path | None = None, person: Person = LOCAL):
        """Styles in `folder` and in the safetensors files of `shipped`, some with a PNG beside them, as `person` has
        them."""
        self.folder = folder
        self.admit: Admit | None = None
        self._files = StyleFiles(folder, shipped)
        self._person = person

    def of(self, person: Person) -> "Styles":
        """The same styles, as another person has them."""
        theirs = copy.copy(self)
        theirs._person = person
        return theirs

    @property
    def _own(self) -> str:
        """Whose the styles are that the person brings."""
        return self._person.id if self._person.has_own else ""

    def cards(self) -> list[StyleCard]:
        """All styles, in alphabetical order; what is damaged or lacks its weights is left out, and logged.

        Where two have one name, as a style that ships with the studio and one that was here before may, or one's own
        and a shared one, the second is listed with a number, and known by that. Of several that have the same weights
        one's own is listed, or else everybody's.
        """
        return sorted((_called(card, name) for name, card in self._known().items()), key=_place)

    def names(self) -> list[str]:
        """The names of all styles, in alphabetical order."""
        return [card.name for card in self.cards()]

    def get(self, name: str) -> StyleCard:
        """The style of this name as it is now."""
        known, card = self._found(name)
        return _called(card, known)

    def may_change(self, card: StyleCard) -> bool:
        """Whether the person may change a style."""
        return self._person.may_change(card.owner, card.team)

    def by_identity(self, identity: str, name: str = "") -> StyleCard:
        """The style that has these weights. Raises InvalidRequest for an identity that is malformed or not here.

        `name` is what a person knows it by.
        """
        _require_identity(identity)
        card = next((card for card in self.cards() if card.identity == identity), None)
        if card is None:
            raise _gone(name or identity)
        return card

    def path(self, identity: str) -> Path:
        """Where the weights are, whoever's: whether a person may use them was asked when their request was planned.

        Raises InvalidRequest for an identity that is malformed or not in the library.
        """
        _require_identity(identity)
        own = self._files.file(identity, WEIGHTS_SUFFIX)
        if own.is_file() and (self._files.file(identity, ".json").is_file() or self._files.has_card(identity)):
            return own
        _, path = self._files.shipped().get(identity, (None, None))
        if path is None:
            raise _gone(identity)
        return path

    def cover(self, card: StyleCard) -> Path | None:
        """The picture of a style; None where it has none."""
        if own := self._files.covers(card):
            return own[-1]
        _, path = self._files.shipped().get(card.identity, (None, None))
        return path.with_suffix(".png") if path and path.with_suffix(".png").is_file() else None

    def shows(self, cover: str) -> bool:
        """Whether a file of this name is the cover of a style that has an owner and is there for the person."""
        named = COVER_FILE.fullmatch(cover)
        card = self._files.card(self.folder / f"{named['card']}.json") if named else None
        return card is not None and self._person.may_use(card.owner, card.team)

    def require_free(self, name: str) -> None:
        """Raise InvalidRequest where `keep` would not take this name."""
        self._require_free(style_name(name), self._own)

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

        Raises AlreadyHere where the person, or everybody, has the same weights, whatever their name, and InvalidRequest
        where another style of theirs has the name, unless it is to be `numbered` then.
        """
        name = style_name(name)
        identity, size_bytes = _measured(weights)
        with self._changing():
            self._person.require_change("styles")
            self._require_new(identity)
            if numbered:
                name = _free(name, {folded(known) for known, _ in self._theirs(self._own)})
            self._require_free(name, self._own)
            card = StyleCard(**dict(facts), name=name, identity=identity, bytes=size_bytes, owner=self._own)
            return self._keep(weights, card)

    def renew(self, old: str, weights: Path, facts: StyleFacts) -> StyleCard:
        """Put other weights, from a sound file as for `keep`, in the place of those of the identity `old`.

        The style keeps its name, its cover, and whether it is a favourite. Raises AlreadyHere where the new weights are
        in the library, and InvalidRequest where the old ones are not.
        """
        identity, size_bytes = _measured(weights)
        with self._changing():
            self._require_new(identity)
            known, card = self._changeable(self.by_identity(old).name)
            kept = self._keep(
                weights, card.model_copy(update={**dict(facts), "identity": identity, "bytes": size_bytes}), known
            )
            for cover in self._files.covers(card):
                move(cover, self.folder / cover.name.replace(stem_of(card), stem_of(kept)))
            self._remove(card)
            return kept

    def rename(self, name: str, new: str) -> StyleCard:
        """Give a style another name, which may differ in case only. Raises InvalidRequest where another has it."""
        new = style_name(new)
        with self._changing():
            _, card = self._changeable(name)
            self._require_free(new, card.owner, besides=card.identity)
            return self._write(card.model_copy(update={"name": new}))

    def share(self, name: str, on: bool = True) -> StyleCard:
        """Share a style with the team, or no longer. Raises InvalidRequest for one that is everybody's."""
        with self._changing():
            known, card = self._changeable(name)
            if not card.owner:
                raise InvalidRequest(f"Style {shown(known)} is everybody's already — there is nothing to share")
            return self._write(card.model_copy(update={"team": on}), known)

    def delete_private(self) -> None:
        """Remove what is the person's own and not shared."""
        with self._changing():
            for card in list(self._files.stored()):
                if card.owner == self._person.id and not card.team:
                    self._remove(card)

    def delete(self, name: str) -> None:
        """Remove a style with its weights and its cover. A run that has loaded it goes on.

        Raises InvalidRequest for one that ships with the studio.
        """
        with self._changing():
            known, card = self._changeable(name)
            if not card.owner and card.identity in self._files.shipped():
                raise InvalidRequest(
                    f"Style {shown(known)} ships with the studio and cannot be removed — simply do not choose it"
                )
            self._remove(card)

    def set_favourite(self, name: str, on: bool = True) -> StyleCard:
        """Make a style a favourite, or no longer one."""
        with self._changing():
            known, card = self._changeable(name)
            return self._write(card.model_copy(update={"favourite": on}), known)

    def edit(
        self, name: str, trigger: str | None = None, suggested_prompt: str | None = None, speed: str | None = None
    ) -> StyleCard:
        """Replace a style's trigger words, suggested prompt or few steps; None leaves them as they are.

        Raises InvalidRequest for a text that is too long, and for few steps that `read_speed` does not read.
        """
        given = {"trigger": trigger, "suggested_prompt": suggested_prompt}
        changes = {field: text for field, text in given.items() if text is not None}
        with self._changing():
            known, card = self._changeable(name)
            few = {} if speed is None else {"speed": read_speed(speed, card.speed)}
            return self._write(changed_card(card, **changes, **few), known)

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
            known, card = self._changeable(name)
            before, new = self._files.covers(card), None
            if content is not None:
                digest = f"-{hashlib.sha256(content).hexdigest()[:32]}" if card.owner else ""
                new = self._files.file(f"{stem_of(card)}{digest}", ".png")
                write_whole(new, content)
            for file in before:
                if file != new:
                    remove(file)
            return _called(card, known)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with one_change(self.folder, "The styles"):
            yield

    def _require_new(self, identity: str) -> None:
        """Raise AlreadyHere where the person, or everybody, has these weights."""
        for known, card in self._theirs(self._own):
            if card.identity == identity:
                raise AlreadyHere(_called(card, known))

    def _require_free(self, name: str, owner: str, besides: str = "") -> None:
        """Raise InvalidRequest where `owner`, or everybody, has a style of this name with weights other than these."""
        for known, card in self._theirs(owner):
            if card.identity != besides and folded(known) == folded(name):
                raise _name_taken(known)

    def _theirs(self, owner: str) -> list[tuple[str, StyleCard]]:
        """Everybody's styles and those of `owner`, by the names by which that one knows them."""
        styles = self if owner in ("", self._own) else self.of(member(owner))
        return [(known, card) for known, card in styles._known().items() if card.owner in ("", owner)]

    def _keep(self, weights: Path, card: StyleCard, known: str = "") -> StyleCard:
        # The card comes last: with it the style is there.
        kept = self._files.file(card.identity, WEIGHTS_SUFFIX)
        if there := kept.is_file() and self._files.has_card(card.identity):
            weights.unlink()  # somebody else's too
        else:
            move(weights, kept)
        try:
            return self._write(card, known)
        except BaseException:
            if not there:
                kept.unlink()
            raise

    def _remove(self, card: StyleCard) -> None:
        for file in (self._files.file(stem_of(card), ".json"), *self._files.covers(card)):
            with suppress(FileNotFoundError):
                remove(file)
        if not self._files.has_card(card.identity):
            with suppress(FileNotFoundError):
                remove(self._files.file(card.identity, WEIGHTS_SUFFIX))

    def _write(self, card: StyleCard, known: str = "") -> StyleCard:
        """Keep a card, and return it as it is `known`, where that is not by its own name."""
        write_whole(self._files.file(stem_of(card), ".json"), card_bytes(card))
        return _called(card, known or card.name)

    def _found(self, name: str) -> tuple[str, StyleCard]:
        """The card of this name as it is kept, and how it is known."""
        name, all_known = style_name(name), self._known()
        for known, card in all_known.items():
            if folded(known) == folded(name):
                return known, card
        if folded(name) in OFFICIAL:
            raise InvalidRequest(
                f"There is no style {shown(name)} here yet; Krea publishes it — add it first, it is downloaded then"
            )
        raise missing("style", name, sorted(all_known, key=str.casefold), "add it first")

    def _changeable(self, name: str) -> tuple[str, StyleCard]:
        """`_found` for one that changes. Raises InvalidRequest where the person may not change it."""
        known, card = self._found(name)
        self._person.require_change("styles")
        if not self.may_change(card):
            raise InvalidRequest(
                f"Style {shown(known)} is {card.owner}'s, who alone may change it, and admins — ask them"
            )
        return known, card

    def _known(self) -> dict[str, StyleCard]:
        """All styles that are there for the person, by the names by which they are known: one's own by their own."""
        shipped = self._files.shipped()
        there = [card for card in self._files.stored() if self._person.may_use(card.owner, card.team)]
        stored: dict[str, StyleCard] = {}
        for card in sorted(there, key=lambda each: (each.owner != self._own, each.owner, *_place(each))):
            if card.identity not in stored and self._files.holds(card, shipped):
                stored[card.identity] = card
        new = {card.identity for card, _ in shipped.values()} - stored.keys()
        known: dict[str, StyleCard] = {}
        taken: set[str] = set()
        for card in (*stored.values(), *sorted((shipped[identity][0] for identity in new), key=_place)):
            name = _free(card.name, taken)
            taken.add(folded(name))
            known[name] = _called(card, name) if card.identity in new else card
        return known


def _measured(weights: Path) -> tuple[str, int]:
    """Identity and size in bytes. Raises StorageError where the file cannot be read."""
    try:
        return weights_identity(weights), weights.stat().st_size
    except OSError as error:
        raise read_error(error, weights) from None


def _called(card: StyleCard, name: str) -> StyleCard:
    return card if card.name == name else card.model_copy(update={"name": name})


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
