"""What the page's tests share: a studio whose engine says what the test wants, a visitor, and a library of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from gradio_client import Client

from krea_studio.accounts.accounts import Account
from krea_studio.engine.abilities import Abilities, Ability
from krea_studio.engine.base import CheckpointInfo, EngineStatus, LoadedCheckpoint
from krea_studio.library.store import Library
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.sign_in import ACCOUNT
from tests.doubles import Script, ScriptedEngine

VOCABULARY = {"subject": ["fox", "<whale>"], "how_dense": ["crowded"], "examples": ["a fox at dusk", "a crowded sea"]}


class PageEngine(ScriptedEngine):
    """A scripted engine with the facts that a page shows: words, what is loaded, and why a variant cannot run."""

    missing: dict[str, str]
    vocabulary: dict[str, list[str]] | None
    controls: dict[str, Ability]

    def __init__(self, *scripts: Script) -> None:
        super().__init__(*scripts)
        self.missing = {}
        self.vocabulary = VOCABULARY
        self.controls = {}

    def status(self) -> EngineStatus:
        loaded = (LoadedCheckpoint("somewhere/mini-turbo", 30_000_000, ("transformer", "vae")),)
        return EngineStatus("cpu", "float32", loaded, bytes=30_000_000, budget_bytes=4_000_000_000, waiting=2)

    def abilities(self, variant: str) -> Abilities:
        return Abilities(self.missing.get(variant, ""), self.controls)

    def checkpoint_of(self, variant: str) -> CheckpointInfo:
        embedded = self.vocabulary is not None
        return CheckpointInfo(f"mini-{variant}", f"Mini {variant}", "nowhere", "", embedded, self.vocabulary)


def connect(url: str, **options: Any) -> Client:
    """A program at a page, with more patience than httpx's five seconds: tests beside it may take the processor."""
    return Client(url, verbose=False, httpx_kwargs={"timeout": 60}, **options)


@pytest.fixture
def engine() -> PageEngine:
    """Makes whole runs of plain pictures until a test gives it scripts."""
    return PageEngine()


@pytest.fixture
def services(engine: PageEngine, library: Library) -> Iterator[Services]:
    """A studio on the page engine."""
    services = services_over(Settings(library=library.folder), library, engine, engine)
    yield services
    services.runs.close()


@pytest.fixture
def visitor() -> SimpleNamespace:
    """Stands for gr.Request where only the signed-in name and the page's address are read."""
    return SimpleNamespace(username=None, query_params={})


def signed_in(name: str, admin: bool = False) -> SimpleNamespace:
    """Who visits by an account."""
    account = Account(name, admin, datetime(2026, 1, 2, tzinfo=UTC))
    return SimpleNamespace(username=name, session_hash="one", request=SimpleNamespace(scope={ACCOUNT: account}))
