"""The ways by which a style comes into the library: a file, a repository on the Hub, Krea's own styles, a folder.

All of them lead past the doctor, who says what a file is and writes it in the one form that loads; what is refused
leaves the library as it was. Knows neither gradio nor torch: the doctor is handed in, and so is the Hub.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from krea_studio.direction.styles import OFFICIAL, OFFICIAL_LICENCE, StyleCard, StyleFacts, hub_source, official_of
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.library.files import TEMPORARY_SUFFIX, write_error
from krea_studio.library.hub import Hub, HubFile
from krea_studio.library.names import folded, plain_name
from krea_studio.library.style_files import MADE_FOR, weights_identity
from krea_studio.library.style_folder import StyleFolder
from krea_studio.library.styles import Styles, already_here
from krea_studio.recipe.request import bounds
from krea_studio.validation import shown

MOST_NOTES = 50
FACT_CHARACTERS = 500


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
    """What came of a folder: the styles that are new in the library, and why files that lie there were refused."""

    taken: tuple[StyleCard, ...]
    refused: Mapping[Path, str]


class StyleIntake:
    """Takes styles into a library. Threads and processes may do so at once."""

    def __init__(self, styles: Styles, folder: Path, doctor: Doctor, hub: Hub | None = None):
        """`folder` is the one that `import_folder` looks into; `hub` is the usual one where none is given."""
        self.styles = styles
        self._folder = StyleFolder(folder, styles.folder)
        self._doctor = doctor
        self._hub = hub or Hub()

    def inspect(self, path: Path | str) -> Report:
        """The doctor's report on a file, also on one that `take` would refuse. Changes nothing."""
        return self._doctor.diagnose(Path(path))

    def take(self, report: Report, name: str | None = None) -> StyleCard:
        """Take in a file that was inspected, under `name`, the name that it states, or that of the file.

        Raises InvalidRequest where the doctor refused it, where the name is taken, and where its weights are here
        already; StorageError where the library cannot be written.
        """
        facts = _facts(report, f"file {report.path.name}")
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

        One of Krea's own gets the name and the trigger words that Krea gives it. Raises what `Hub.find`,
        `Hub.download` and `take` raise; nothing stays of what was refused.
        """
        self._require_free(name)
        return self._downloaded(self._hub.find(text), name)

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
                raise already_here(card)
        self.styles.require_free(official.name)
        return self._downloaded(found, None)

    def import_folder(self) -> FolderImport:
        """Take in every style file of the settings' folder that is new there or has changed.

        A name that is taken gets a number. What is refused stays where it lies and is not looked at again until it
        changes. Raises StorageError where the folder cannot be read or the library not be written.
        """
        taken, failed = [], {}
        for path, stamp in self._folder.new().items():
            refusal = ""
            try:
                taken += self._taken_from_folder(path)
            except InvalidRequest as error:
                refusal = error.message
            except Unavailable as error:
                # Nothing is wrong with the file: it is looked at again the next time.
                failed[path] = error.message
                continue
            self._folder.remember(path, stamp, refusal)
        return FolderImport(tuple(taken), {**self._folder.refusals(), **failed})

    def _taken_from_folder(self, path: Path) -> list[StyleCard]:
        """The card of a file's style; none where its weights are in the library already."""
        report = self.inspect(path)
        facts = _facts(report, f"file {path.name}")
        name = _usable(report.stated.name or path.stem)
        with self._written(report, name, facts) as weights:
            identity = weights_identity(weights)
            if any(card.identity == identity for card in self.styles.cards()):
                return []
            return [self.styles.keep(weights, name, facts, numbered=True)]

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
            raise InvalidRequest(f"{shown(report.path.name)} is refused: {'; '.join(report.problems)}")
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


def _facts(report: Report, source: str) -> StyleFacts:
    return StyleFacts(
        trigger=_cut(report.stated.trigger, bounds("trigger", StyleFacts)[1]),
        suggested_prompt=_cut(report.stated.suggested_prompt, bounds("suggested_prompt", StyleFacts)[1]),
        made_for=tuple(_cut(fit.label) for fit in report.fits),
        stated_base=_cut(report.stated.base_model),
        rank=_range(report.ranks) + (f", alpha {_range(report.alphas)}" if report.ranks and report.alphas else ""),
        source=_cut(source),
        format=_cut("; ".join(filter(None, (", ".join(report.kinds), *report.formats)))),
        notes=tuple(_cut(note) for note in report.notes[:MOST_NOTES]),
    )


def _usable(name: str) -> str:
    """A name that a file states or bears, short enough to be one."""
    return _cut(str(plain_name(name)), bounds("name", StyleCard)[1])


def _cut(text: str, most: float = FACT_CHARACTERS) -> str:
    return text[: int(most)]


def _range(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return ""
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


@contextmanager
def _download_folder(styles: Path) -> Iterator[Path]:
    """A folder beside the styles, on a disk with room for them, that goes with all that is in it."""
    try:
        styles.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            prefix="download-", suffix=TEMPORARY_SUFFIX, dir=styles, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise write_error(error, styles) from None
    with folder as path:
        yield Path(path)
