"""The composition root: everything a studio is made of, built from its settings. No globals.

Cheap: the engine reads no model code before its first run or `prepare`, so the page and the command line open at once.
"""

from dataclasses import dataclass

from krea_studio.engine.base import Engine
from krea_studio.engine.local import LocalEngine
from krea_studio.library.store import Library
from krea_studio.settings import Settings
from krea_studio.studio import Studio


@dataclass(frozen=True)
class Services:
    """What the page and the command line work with."""

    settings: Settings
    library: Library
    engine: Engine
    studio: Studio


def build_services(settings: Settings) -> Services:
    """Build a studio; its library's folder is made when it does not exist.

    Raises StorageError where the library cannot be used.
    """
    library = Library(settings.library)
    engine = LocalEngine(settings)
    return Services(settings, library, engine, Studio(engine, library))
