"""The ways by which a style comes into the library: a file, a repository on the Hub, Krea's own styles, a folder.

All of them lead past the doctor, who says what a file is and writes it in the one form that loads; what is refused
leaves the library as it was. Knows neither gradio nor torch: the doctor is handed in, and so is the Hub.
"""

import copy
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from krea_studio.direction.speed import Speed
from krea_studio.direction.styles import (
    OFFICIAL,
    OFFICIAL_LICENCE,
    StyleCard,
    StyleFacts,
    hub_source,
    official_of,
    rank_words,
    refused,
)
from krea_studio.errors import InvalidRequest, StudioError, Unavailable
from krea_studio.files import TEMPORARY_SUFFIX, make_folder, write_error
from krea_studio.library.names import folded, plain_name
from krea_studio.library.styles.files import MADE_FOR, stated
from krea_studio.library.styles.folder import StyleFolder
from krea_studio.library.styles.hub import Hub, HubFile, parse_reference
from krea_studio.library.styles.styles import AlreadyHere, Styles
from krea_studio.people import Person
from krea_studio.recipe.request import bounds
from krea_studio.validation import shown

MOST_NOTES = 50
FACT_CHARACTERS = 500

logger = logging.getLogger(__name__)


class Stated(Protocol):
    """What a file says of itself; empty where it says nothing."""

    @property
    def name(self) -> str: ...
    @property
    def base_model(self) -> str: ...
    @property
    def trigger(self) -> str: ...
    @property
    def suggested_prompt(self) -> str: ...


class Fit(Protocol):
    """A checkpoint that a style is made for."""

    @property
    def label(self) -> str: ...


class Report(Protocol):
    """What the doctor found in a file; `problems` are phrases that go on from the file's name."""

    @property
    def path(self) -> Path: ...
    @property
    def accepted(self) -> bool: ...
    @property
    def problems(self) -> Sequence[str]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def stated(self) -> Stated: ...
    @property
    def speed(self) -> Speed | None: ...
    @property
    def fits(self) -> Sequence[Fit]: ...
    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def formats(self) -> Sequence[str]: ...
    @property
    def ranks(self) -> tuple[int, int] | None: ...
    @property
    def alphas(self) -> tuple[float, float] | None: ...
    def lines(self) -> list[str]:
        """The report for a person, one thing a line."""
        ...


class Doctor(Protocol):
    """Who looks at style files."""

    def diagnose(self, path: Path) -> Report:
        """What a file is. Raises StudioError only where it cannot be looked at; what is wrong with it is reported."""
        ...

    def write(self, found: Report, path: Path, metadata: Mapping[str, str]) -> None:
        """Write an accepted file in the one form that loads, whole or not at all. Raises StudioError."""
        ...


@dataclass(frozen=True)
class FolderImport:
    """What came of a folder: the styles that are new in the library, those that were there and got new weights from
    their file, which had changed, and why files that lie there were refused.
    """

    taken: tuple[StyleCard, ...]
    renewed: tuple[StyleCard, ...]
    refused: Mapping[Path, str]


class StyleIntake:
    """Takes styles into a library. Threads and processes may do so at once."""

    def __init__(self, styles: Styles, folder: Path, doctor: Doctor, hub: Hub | None = None):
        """`folder` is the one that `import_folder` looks into; `hub` is the usual one where none is given."""
        self.styles = styles
        self._folder = StyleFolder(folder, styles.folder)
        self._doctor = doctor
        self._hub = hub or Hub()

    def of(self, person: Person) -> Self:
        """The same for another person, whose the styles are that come in."""
        theirs = copy.copy(self)
        theirs.styles = self.styles.of(person)
        return theirs

    def inspect(self, path: Path | str) -> Report:
        """The doctor's report on a file, also on one that `take` would refuse. Changes nothing."""
        return self._doctor.diagnose(Path(path))

    def take(self, report: Report, name: str | None = None) -> StyleCard:
        """Take in a file that was inspected, under `name`, the name that it states, or that of the file.

        Raises InvalidRequest where the doctor refused it, where the name is taken, and where its weights are here
        already; StorageError where the library cannot be written.
        """
        facts = _facts(report, _file_source(report.path))
        name = _usable(report.stated.name or report.path.stem) if name is None else name
        with self._written(report, name, facts) as path:
            return self.styles.keep(path, name, facts)

    def import_file(self, path: Path | str, name: str | None = None) -> tuple[StyleCard, Report]:
        """Inspect a file and take it in. Raises what `take` raises, and what the doctor raises for no file at all."""
        self._require_free(name)
        report = self.inspect(path)
        return self.take(report, name), report

    def import_from_hub(self, text: str, name: str | None = None) -> tuple[StyleCard, Report]:
        """Download the style that `owner/name[@revision][:file]` names, inspect it and take it in.

        One of Krea's own gets the trigger words that Krea gives it, and its name where none is given. Raises what
        `Hub.find`, `Hub.download` and `take` raise; nothing stays of what was refused.
        """
        self._require_free(name)
        official = official_of(parse_reference(text)[0])
        return self._downloaded(self._hub.find(text, preferred=official.file if official else ""), name)

    def install(self, name: str) -> tuple[StyleCard, Report]:
        """Download one of Krea's own styles by its name. Raises what `import_from_hub` raises.

        Also InvalidRequest for another name, and where it is in the library as it is on the Hub.
        """
        official = OFFICIAL.get(folded(str(plain_name(name))))
        if official is None:
            raise InvalidRequest(f"Krea publishes no style {shown(name)} — choose one of {', '.join(OFFICIAL)}")
        found = self._hub.find(official.repository, preferred=official.file)
        source = hub_source(found.repository, found.revision)
        for card in self.styles.cards():
            if card.source == source:
                raise AlreadyHere(card)
        self.styles.require_free(official.name)
        return self._downloaded(found, None)

    def import_folder(self) -> FolderImport:
        """Take in every style file of the settings' folder that is new there or has changed.

        A name that is taken gets a number. A file that had become a style before gives that one its new weights, where
        it still bears the same name. What is refused stays where it lies and is not looked at again until it changes.
        Raises StorageError where the folder cannot be read or the library not be written.
        """
        taken, renewed, failed = [], [], {}
        for path, stamp in self._folder.new().items():
            refusal, style = "", self._folder.style_of(path)
            try:
                card, found = self._from_folder(path, style)
                # Not for a copy of what came in otherwise: a change of the copy is no change of that style.
                style = card.identity if card.source == _file_source(path) else ""
                taken += [card] if found == "taken" else []
                renewed += [card] if found == "renewed" else []
            except InvalidRequest as error:
                refusal = error.message
            except Unavailable as error:
                # Nothing is wrong with the file: it is looked at again the next time.
                failed[path] = error.message
                continue
            except StudioError:
                raise
            except Exception:
                # One file, however it is made, does not keep the others out.
                logger.exception("%s could not be looked at", path)
                failed[path] = f"the studio itself failed on {shown(path.name)} — see the log, or remove the file"
                continue
            self._folder.remember(path, stamp, refusal, style)
        return FolderImport(tuple(taken), tuple(renewed), {**self._folder.refusals(), **failed})

    def _from_folder(self, path: Path, before: str) -> tuple[StyleCard, str]:
        """The card of a file's style, and whether it was `taken`, `renewed` or is `here` already, also since a moment.

        `before` is the identity of the style that the file was, if any.
        """
        report = self.inspect(path)
        facts = _facts(report, _file_source(path))
        name = _usable(report.stated.name or path.stem)
        with self._written(report, name, facts) as weights:
            try:
                if (kept := self._kept(before, name)) is not None:
                    return self.styles.renew(before, weights, facts.model_copy(update=kept)), "renewed"
                return self.styles.keep(weights, name, facts, numbered=True), "taken"
            except AlreadyHere as error:
                return error.card, "here"

    def _kept(self, identity: str, name: str) -> dict[str, Any] | None:
        """What a person wrote over a style's own texts and steps; None where it is gone or came by another name."""
        here = (card for card in self.styles.cards() if card.identity == identity)
        card = next((card for card in here if not card.owner), None)  # the folder's are everybody's
        came = stated(self.styles.path(identity)) if card else {}
        if card is None or folded(came.get("name", "")) != folded(name):
            return None
        texts = {"trigger": card.trigger, "suggested_prompt": card.suggested_prompt}
        speed = {"speed": card.speed} if card.speed and not card.speed.told else {}
        return {field: text for field, text in texts.items() if text != came.get(field, "")} | speed

    def _downloaded(self, found: HubFile, name: str | None) -> tuple[StyleCard, Report]:
        source = hub_source(found.repository, found.revision)
        official = official_of(found.repository)
        with _download_folder(self.styles.folder) as folder:
            report = self.inspect(self._hub.download(found, folder))
            facts = _facts(report, source)
            if official:
                notes = (f"published by Krea under the {OFFICIAL_LICENCE}", *facts.notes)
                facts = facts.model_copy(update={"trigger": official.trigger, "notes": notes[:MOST_NOTES]})
            if name is None:
                name = official.name if official else report.stated.name or found.repository.split("/")[1]
                name = _usable(name)
            with self._written(report, name, facts) as path:
                return self.styles.keep(path, name, facts), report

    @contextmanager
    def _written(self, report: Report, name: str, facts: StyleFacts) -> Iterator[Path]:
        """A file of the library's own with the style in the form that loads, for as long as nobody keeps it."""
        if not report.accepted:
            raise refused(report.path.name, report.problems)
        metadata = {
            "name": name,
            "trigger": facts.trigger,
            "suggested_prompt": facts.suggested_prompt,
            MADE_FOR: ", ".join(facts.made_for),
        }
        with self.styles.incoming() as path:
            self._doctor.write(report, path, {key: text for key, text in metadata.items() if text})
            yield path

    def _require_free(self, name: str | None) -> None:
        """Refuse a name before minutes go into a file that could not be kept under it."""
        if name is not None:
            self.styles.require_free(name)


def _file_source(path: Path) -> str:
    return _cut(f"file {path.name}")


def _facts(report: Report, source: str) -> StyleFacts:
    return StyleFacts(
        trigger=_cut(report.stated.trigger, bounds("trigger", StyleFacts)[1]),
        suggested_prompt=_cut(report.stated.suggested_prompt, bounds("suggested_prompt", StyleFacts)[1]),
        made_for=tuple(_cut(fit.label) for fit in report.fits),
        stated_base=_cut(report.stated.base_model),
        rank=rank_words(report.ranks, report.alphas),
        source=_cut(source),
        format=_cut("; ".join(filter(None, (", ".join(report.kinds), *report.formats)))),
        notes=tuple(_cut(note) for note in report.notes[:MOST_NOTES]),
        speed=report.speed,
    )


def _usable(name: str) -> str:
    """A name that a file states or bears, short enough to be one."""
    return _cut(str(plain_name(name)), bounds("name", StyleCard)[1])


def _cut(text: str, most: float = FACT_CHARACTERS) -> str:
    return text[: int(most)]


@contextmanager
def _download_folder(styles: Path) -> Iterator[Path]:
    """A folder beside the styles, on a disk with room for them, that goes with all that is in it."""
    try:
        make_folder(styles)
        folder = tempfile.TemporaryDirectory(
            prefix="download-", suffix=TEMPORARY_SUFFIX, dir=styles, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise write_error(error, styles) from None
    with folder as path:
        yield Path(path)
