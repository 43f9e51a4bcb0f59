"""Clients at once, each signed in as one of three people, who ask for pictures one after another.

Some of them wait, some cancel, and some leave in the middle and load the page anew. Each also asks for files of the
others. Meanwhile the studio's process is looked at, and afterwards its library is compared with what they were told.
"""

import json
import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from krea_studio.errors import Unavailable
from krea_studio.library.records import id_of
from krea_studio.library.store import Library
from krea_studio.measures.served import EMBEDDED, ROOT, SERVE, TRACEBACK, Served, served
from krea_studio.recipe.request import GenerationRequest, default

PEOPLE = ("ada", "grace", "mary")
CLIENTS = 8
WAITS, CANCELS, LEAVES = "waits", "cancels", "leaves"
WAYS, SHARES = (WAITS, CANCELS, LEAVES), (0.6, 0.2, 0.2)
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 300.0


@dataclass
class Asked:
    """One request: whose, what its client did, what it was told, and what came of it."""

    person: str
    prompt: str
    way: str
    pictures: list[dict[str, Any]] = field(default_factory=list)
    refused: str = ""
    ended: bool = False


@dataclass(frozen=True)
class Look:
    """How the process stands after so many requests: its memory in bytes, and how many threads and files it has."""

    requests: int
    memory: int
    threads: int
    files: int
    drawing: int
    running: int


@dataclass(frozen=True)
class Load:
    """What came of the requests, how the process stood meanwhile and when all were gone, and what its log says."""

    asked: Sequence[Asked]
    looks: Sequence[Look]
    before: Look
    after: Look
    lost: Sequence[str]
    foreign: Sequence[str]
    tracebacks: int
    seconds: float


class Client(threading.Thread):
    """One signed-in person's program, which takes numbers of requests until there are no more."""

    def __init__(self, studio: Served, person: str, password: str, crowd: "Crowd") -> None:
        super().__init__(daemon=True)
        self.person, self._crowd = person, crowd
        self._http = httpx.Client(base_url=studio.address, timeout=PATIENCE_SECONDS, trust_env=False)
        answer = self._http.post("login", data={"username": person, "password": password})
        if answer.status_code != 200:
            raise Unavailable(f"{person} cannot sign in: {answer.status_code} {answer.text[:200]}")
        functions = self._http.get("config").raise_for_status().json()["dependencies"]
        self._function = next(each["id"] for each in functions if each["api_name"] == "generate")

    def run(self) -> None:
        while (number := self._crowd.next()) is not None:
            chance = random.Random(number)
            asked = Asked(self.person, f"papercut of a fox, {self.person} {number}", chance.choices(WAYS, SHARES)[0])
            try:
                self._ask(asked, number, chance)
            except httpx.HTTPError as error:
                asked.refused = f"{type(error).__name__}: {error}"
            self._crowd.note(asked)
            if asked.pictures:
                self._look_at_others()
        self._http.close()

    def _ask(self, asked: Asked, number: int, chance: random.Random) -> None:
        values = {name: default(name) for name in GenerationRequest.model_fields if name != "prompt"}
        values |= {"prompt": asked.prompt, "resolution": "512", "steps": 1, "seed": number}
        session = secrets.token_hex(6)
        call = {"data": [values[name] for name in GenerationRequest.model_fields]}
        call |= {"fn_index": self._function, "session_hash": session}
        event = self._http.post("gradio_api/queue/join", json=call).raise_for_status().json()["event_id"]
        patience = chance.uniform(0, 2)
        begun = time.monotonic()
        with self._http.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
            for message in _messages(stream):
                if message["msg"] == "process_completed":
                    asked.ended = True
                    output = message.get("output") or {}
                    if message.get("success"):
                        asked.pictures = [each for each in output["data"][0] if "image" in each]
                    else:
                        asked.refused = str(output.get("error"))
                    return
                if asked.way != WAITS and time.monotonic() - begun > patience:
                    break
            if asked.way == CANCELS:
                gone = {"session_hash": session, "fn_index": self._function, "event_id": event}
                self._http.post("gradio_api/cancel", json=gone).raise_for_status()
        if asked.way == LEAVES:
            self._http.get("").raise_for_status()

    def _look_at_others(self) -> None:
        for picture in self._crowd.pictures():
            own = picture["owner"] == self.person
            status = self._http.get(f"gradio_api/file={picture['path']}").status_code
            if (status == 200) != own:
                self._crowd.foreign.append(f"{self.person} gets {status} for a picture of {picture['owner']}")


class Crowd:
    """What clients share: the numbers that are left, what came of requests, and some pictures to look at."""

    def __init__(self, requests: int) -> None:
        self._numbers, self._lock = iter(range(requests)), threading.Lock()
        self.asked: list[Asked] = []
        self.foreign: list[str] = []

    def next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)

    def pictures(self) -> list[dict[str, str]]:
        """The latest picture of each person."""
        with self._lock:
            told = [each for each in self.asked if each.pictures]
        latest = {each.person: each.pictures[-1]["image"]["path"] for each in told}
        return [{"owner": person, "path": path} for person, path in latest.items()]


def _messages(stream: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in stream.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def load(work: Path, requests: int, clients: int = CLIENTS) -> Load:
    """Let clients ask a new studio below `work`. Raises Unavailable where there is no /proc, or it does not start."""
    if not Path("/proc/self/status").exists():
        raise Unavailable("Processes are looked at through /proc, which is not here — measure on Linux")
    passwords = {person: secrets.token_hex(12) for person in PEOPLE}
    settings = EMBEDDED | {"KREA_STUDIO_SIGN_IN": "accounts", "KREA_STUDIO_QUEUE_SIZE": str(4 * clients)}
    crowd = Crowd(requests)
    with (
        served(SERVE, ROOT, work / "home", settings, passwords) as studio,
        httpx.Client(base_url=studio.address, timeout=PATIENCE_SECONDS, trust_env=False) as asking,
    ):
        people = [PEOPLE[k % len(PEOPLE)] for k in range(clients)]
        threads = [Client(studio, person, passwords[person], crowd) for person in people]
        before, looks, begun = _look(studio, asking, 0), list[Look](), time.monotonic()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            looks.append(_look(studio, asking, len(crowd.asked)))
            time.sleep(LOOK_SECONDS)
        seconds = time.monotonic() - begun
        after = _look_at_rest(studio, asking, before, requests)
    tracebacks = studio.log.read_text("utf-8").count(TRACEBACK)
    lost = _lost(studio.library, crowd)
    return Load(crowd.asked, looks, before, after, lost, crowd.foreign, tracebacks, seconds)


def _look(studio: Served, asking: httpx.Client, requests: int) -> Look:
    process = Path(f"/proc/{studio.process}")
    told = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    metrics = dict(line.rsplit(" ", 1) for line in asking.get("metrics").text.splitlines() if not line.startswith("#"))
    return Look(
        requests,
        int(told["VmRSS"].split()[0]) * 1024,
        int(told["Threads"]),
        len(list((process / "fd").iterdir())),
        int(metrics["krea_studio_runs_drawing"]),
        int(metrics["krea_studio_runs_running"]),
    )


def _look_at_rest(studio: Served, asking: httpx.Client, before: Look, requests: int) -> Look:
    """As it is when what was left has ended; threads that wait for work may stay for some seconds."""
    give_up = time.monotonic() + 60
    while True:
        look = _look(studio, asking, requests)
        at_rest = look.running == 0 and look.files <= before.files and look.threads <= before.threads
        if at_rest or time.monotonic() > give_up:
            return look
        time.sleep(1)


def _lost(folder: Path, crowd: Crowd) -> list[str]:
    """What clients were told and is not there, or is not theirs; and who was told nothing."""
    found = []
    with closing(Library(folder)) as library:
        library.checked()
        for asked in crowd.asked:
            if asked.way == WAITS and not asked.pictures and not asked.refused:
                found.append(f"{asked.prompt!r} was told nothing")
            for picture in asked.pictures:
                record = library.records.get(id_of(Path(picture["image"]["path"])))
                if record is None:
                    found.append(f"{asked.prompt!r} has no row")
                elif record.owner != asked.person or record.recipe.prompt != asked.prompt:
                    found.append(f"{asked.prompt!r} is {record.recipe.prompt!r} of {record.owner}")
                else:
                    with Image.open(record.path) as image:
                        image.load()
    return found
