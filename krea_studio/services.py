"""The composition root: everything a studio is made of, built from its settings. No globals.

Cheap: the engine reads no model code before its first run or `prepare`, so the page and the command line open at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krea_studio.engine.base import Engine, LanguageModel
from krea_studio.engine.checkpoints.choices import Choices
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.expansion.writers import Expanders
from krea_studio.library.store import Library
from krea_studio.licence import Licence
from krea_studio.runs.limits import Limits
from krea_studio.runs.runs import Runs
from krea_studio.runs.shares import Allowance, Shares, Thing
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import Settings
from krea_studio.studio import Studio
from krea_studio.style_intake import StyleIntake


@dataclass(frozen=True)
class Services:
    """What the page and the command line work with."""

    settings: Settings
    library: Library
    engine: Engine
    studio: Studio
    intake: StyleIntake
    runs: Runs
    shares: Shares


class StyleDoctor:
    """The engine's doctor for styles, over the checkpoint table and the checkpoints that run variants.

    It needs torch, so it is imported when there is a file to look at.
    """

    def __init__(self, choices: Choices, engine: Engine):
        self._choices, self._engine = choices, engine

    def diagnose(self, path: Path) -> Any:
        """What a file is; the engine's `diagnose`."""
        # Two threads that import diffusers at once, this one and the engine's, get half of it each.
        self._engine.prepare()
        from krea_studio.engine.lora import doctor, layers

        return doctor.diagnose(path, layers.architectures(self._choices.known))

    def write(self, found: Any, path: Path, metadata: Mapping[str, str]) -> None:
        """Write an accepted file in the form that loads; the engine's `write`."""
        from krea_studio.engine.lora import doctor

        doctor.write(found, path, metadata)


def build_services(settings: Settings, pictures: Path | None = None) -> Services:
    """Build a studio; its library's folder is made when it does not exist, and the licence accepted where they say so.

    `pictures` is where new pictures go, where that is not the library. Raises StorageError where the library cannot be
    used.
    """
    licence = Licence(settings.library)
    if settings.accept_licence and not licence.accepted:
        licence.accept()
    choices = Choices(settings, settings.library)
    engine = _engine(settings, choices)
    return services_over(settings, Library(pictures or settings.library, settings.library), engine, engine, choices)


def _engine(settings: Settings, choices: Choices) -> LocalEngine:
    if settings.engine == "local":
        return LocalEngine(settings, choices)
    from krea_studio.engine.zerogpu.engine import ZeroGPUEngine  # heavier, and of one target alone

    return ZeroGPUEngine(settings, choices)


def build_engine(settings: Settings) -> LocalEngine:
    """The engine alone, for what touches no library; it is the language model too."""
    return LocalEngine(settings, Choices(settings, settings.library))


def services_over(
    settings: Settings, library: Library, engine: Engine, language_model: LanguageModel, choices: Choices | None = None
) -> Services:
    """A studio over a library, an engine and a language model that are there, and the engine's choices."""
    expanders = Expanders(settings, engine, language_model)
    content_filter = ContentFilter.of(settings)
    studio = Studio(engine, language_model, library, expanders, settings.deadline_seconds, content_filter)
    runs = Runs(studio, Limits(settings.queue_size, settings.person_runs, settings.person_pictures_an_hour))
    intake = StyleIntake(library.styles, settings.styles, StyleDoctor(choices or Choices(settings), engine))
    return Services(settings, library, engine, studio, intake, runs, _shares(settings))


def _shares(settings: Settings) -> Shares:
    return Shares(
        {
            Thing.UPLOADS: Allowance(settings.person_uploads_a_day, settings.person_upload_mb_a_day),
            Thing.REFERENCES: Allowance(settings.person_references_a_day),
            Thing.BOARDS: Allowance(settings.person_boards_a_day),
            Thing.EXPORTS: Allowance(settings.person_exports_a_day, settings.person_export_mb_a_day),
        }
    )
