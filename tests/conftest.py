"""What all tests share: no network, no settings from the person's environment, one real engine for the session.

Which model the engine runs is the one thing that the environment may choose (KREA_STUDIO_CHECKPOINT_*, _DEVICE,
_PRECISION): the same tests then run on other checkpoints.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from krea_studio.engine.local.engine import LocalEngine
from krea_studio.library.store import Library
from krea_studio.services import Services, services_over
from krea_studio.settings import PREFIX, Settings
from tests.doubles import JudgedByColour

# Before anything imports these libraries: they read the environment once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores. Threads that wait for one another while others compute wait a hundred times as
    # long as the work takes: training a small adapter took 35 s with one thread beside others, and 400 s with two.
    os.environ["OMP_NUM_THREADS"] = "1"

hypothesis_settings.register_profile("studio", deadline=None, max_examples=60)
hypothesis_settings.load_profile("studio")

MODEL_CHOICES = tuple(PREFIX + name for name in ("CHECKPOINT_", "DEVICE", "PRECISION"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out tests that drive a browser where there is none, and say why."""
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        for item in items:
            if "browser" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no Chromium is installed"))


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test has its own working directory, none of the person's settings, and nothing of what ships."""
    for name in list(os.environ):
        if name.startswith(PREFIX) and not name.startswith(MODEL_CHOICES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("krea_studio.library.store.EXAMPLES_FOLDER", tmp_path / "no-examples")
    monkeypatch.setattr("krea_studio.library.store.SHIPPED_STYLES_FOLDER", tmp_path / "no-styles")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("krea_studio.licence.Licence.accepted", True)
    # The real one takes seconds to load; tests/safety has it.
    monkeypatch.setattr("krea_studio.safety.content_filter.classifier_of", lambda model: JudgedByColour())


@pytest.fixture(scope="session")
def engine() -> LocalEngine:
    """The real engine on the embedded checkpoints, built once; loading them is most of what a test would wait for."""
    return LocalEngine(Settings())


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty library of its own."""
    library = Library(tmp_path / "library")
    yield library
    library.close()


@pytest.fixture
def services(engine: LocalEngine, library: Library) -> Iterator[Services]:
    """A whole studio: the session's engine, a library of its own."""
    services = services_over(Settings(library=library.folder), library, engine, engine)
    yield services
    services.runs.close()
