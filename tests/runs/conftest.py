"""Runs over an engine that stands still where a test wants it to."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from krea_studio.expansion.writers import Expanders
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Shot
from krea_studio.recipe.request import GenerationRequest, parse_request
from krea_studio.runs.limits import Limits
from krea_studio.runs.run import Run
from krea_studio.runs.runs import Runs
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.settings import Settings
from krea_studio.studio import Studio
from tests.doubles import JudgedByColour, Script, ScriptedEngine, drawn

LIMIT_SECONDS = 60.0  # of what is waited for, on a machine that does other things too

NO_LIMITS = Limits(32)  # but of what waits


def request_of(**fields: object) -> GenerationRequest:
    return parse_request({"prompt": "a fox", "resolution": "512", "steps": 2, "seed": 7, **fields})


def shot_of(**fields: object) -> Shot:
    return plan(request_of(**fields), 7).shots[0]


class Gate:
    """Where a thread stands until a test opens it; an entry of a script."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self._reached.set()
        assert self._opened.wait(LIMIT_SECONDS)

    def reached(self) -> None:
        """Wait until a thread stands here."""
        assert self._reached.wait(LIMIT_SECONDS)

    def open(self) -> None:
        self._opened.set()


class Stage:
    """Runs over a library, with a scripted engine for each."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.engine = ScriptedEngine()
        self.content_filter = ContentFilter(JudgedByColour())
        self._gates: list[Gate] = []
        self._servers: list[Runs] = []

    def gate(self) -> Gate:
        self._gates.append(Gate())
        return self._gates[-1]

    def gated(self, request: GenerationRequest, before: int = 1) -> tuple[Gate, Script]:
        """A script that draws the request's first picture, and a gate before one of its events."""
        gate, events = self.gate(), drawn(plan(request, request.seed).shots[0])
        return gate, [*events[:before], gate, *events[before:]]

    def serve(self, limits: Limits = NO_LIMITS, unwatched_seconds: float | None = None) -> Runs:
        """A server on the library, with an engine of its own that the stage has from now on."""
        if self._servers:
            self.engine = ScriptedEngine()
        expanders = Expanders(Settings(), self.engine, self.engine)
        studio = Studio(self.engine, self.engine, self.library, expanders, 600.0, self.content_filter)
        self._servers.append(Runs(studio, limits, unwatched_seconds))
        return self._servers[-1]

    def seeds(self) -> list[int]:
        """Of the pictures that were drawn or begun, in their order."""
        return [each.shots[0].seed for each in self.engine.plans]

    def close(self) -> None:
        for gate in self._gates:
            gate.open()
        for runs in self._servers:
            runs.close()


@pytest.fixture
def stage(library: Library) -> Iterator[Stage]:
    stage = Stage(library)
    yield stage
    stage.close()


@pytest.fixture
def runs(stage: Stage) -> Runs:
    return stage.serve()


def until(runs: Runs, run_id: str, so: Callable[[Run], object], person: Person = LOCAL) -> Run:
    """A run as it is when it is so."""
    limit, run = time.monotonic() + LIMIT_SECONDS, runs.watch(run_id, person)
    while not so(run):
        assert time.monotonic() < limit, run
        run = runs.watch(run_id, person, run.version, 1.0)
    return run


def ended(runs: Runs, run_id: str, person: Person = LOCAL) -> Run:
    return until(runs, run_id, lambda run: run.state.ended, person)
