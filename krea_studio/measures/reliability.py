"""What many people at once take and lose: `python -m krea_studio measure reliability`, on Linux.

A studio with accounts runs in a process of its own on the embedded checkpoints. Some clients, each signed in as one of
three people, ask for pictures one after another; some of them wait, some cancel, and some leave in the middle and load
the page anew. Each also asks for files of the others. Meanwhile the process is looked at. Afterwards the library is
compared with what the clients were told.

Then come calls that no program means to make, of which each has to be answered, and files that are not what they say,
by every way on which files come in, of which each has to be refused in one line that says what to do.
"""

import json
import random
import secrets
import threading
import time
from collections import Counter
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
from krea_studio.measures.served import EMBEDDED, SERVE, Served, served
from krea_studio.recipe.request import GenerationRequest, default

COMMAND = "python -m krea_studio measure reliability"
ROOT = Path(__file__).resolve().parents[2]
PEOPLE = ("ada", "grace", "mary")
CLIENTS = 8
SETTLED = 200  # requests after which a process should not grow any more
WAITS, CANCELS, LEAVES = "waits", "cancels", "leaves"
WAYS, SHARES = (WAITS, CANCELS, LEAVES), (0.6, 0.2, 0.2)
LOOK_SECONDS = 0.25
MOST_GROWTH = 1.02
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
    with served(SERVE, ROOT, work / "home", settings, passwords) as studio:
        with httpx.Client(base_url=studio.address, timeout=PATIENCE_SECONDS, trust_env=False) as asking:
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
    tracebacks = studio.log.read_text("utf-8").count("Traceback (most recent call last)")
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
                elif record.owner != asked.person or record.recipe.request.prompt != asked.prompt:
                    found.append(f"{asked.prompt!r} is {record.recipe.request.prompt!r} of {record.owner}")
                else:
                    with Image.open(record.path) as image:
                        image.load()
    return found


SEED = 7
CALLS = 10_000
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1.5e308, "", "x" * 5_000, "\0", "\ud800", "../../etc/hostname", [], [None], [[[]]], {},
    {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}, {"value": 1}, "7:1", "<b>",
)  # fmt: skip
ENDPOINTS = ("generate", "add_reference", "inspect", "nothing", "")
PLACES = (
    "",
    "config",
    "gradio_api/info",
    "gradio_api/file=/etc/hostname",
    "gradio_api/queue/data",
    "healthz",
    "readyz",
)


@dataclass(frozen=True)
class Calls:
    """Answers to calls that no program means to make, by status, and tracebacks in the log."""

    statuses: Counter[str]
    tracebacks: int
    healthy: bool


def odd_calls(work: Path, number: int) -> Calls:
    """Call a new studio below `work` so many times with what no program means to send."""
    chance, statuses = random.Random(SEED), Counter[str]()
    with served(SERVE, ROOT, work / "odd") as studio:
        with httpx.Client(base_url=studio.address, timeout=PATIENCE_SECONDS, trust_env=False) as client:
            functions = len(client.get("config").json()["dependencies"])
            for _ in range(number):
                method, place, content = _odd_call(chance, functions)
                try:
                    with client.stream(
                        method, place, content=content, headers={"content-type": "application/json"}, timeout=10
                    ) as answer:
                        statuses[str(answer.status_code)] += 1
                        for _ in zip(range(3), answer.iter_lines(), strict=False):  # a stream may have no end
                            pass
                except httpx.TimeoutException:
                    pass  # a stream in which nothing comes
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1; print(method,place,content[:200],error)
            healthy = client.get("healthz").status_code == 200
        time.sleep(1)  # what was begun is told
        tracebacks = studio.log.read_text("utf-8").count("Traceback (most recent call last)")
    return Calls(statuses, tracebacks, healthy)


def _odd_call(chance: random.Random, functions: int) -> tuple[str, str, bytes]:
    """Method, path and body of a call."""

    def value() -> Any:
        return chance.choice(VALUES)

    if chance.random() < 0.1:
        return "GET", chance.choice(PLACES) + chance.choice(("", "?session_hash=", f"?{value()!r}"[:200])), b""
    kind, body = chance.randrange(5), dict[Any, Any]()
    names = list(GenerationRequest.model_fields)
    if kind == 0:
        place = f"gradio_api/call/{chance.choice(ENDPOINTS)}"
        body = {"data": [value() for _ in range(chance.choice((0, 1, len(names))))]}
    elif kind == 1:
        place = f"gradio_api/call/v2/{chance.choice(ENDPOINTS)}"
        body = {chance.choice((*names, "image", "odd")): value() for _ in range(chance.randrange(6))}
    elif kind == 2:
        place = "gradio_api/queue/join"
        body = {"data": value(), "fn_index": chance.choice((value(), chance.randrange(functions)))}
        body |= {"session_hash": value()}
    elif kind == 3:
        place = "gradio_api/run/predict"
        body = {"data": [value() for _ in range(chance.randrange(4))], "fn_index": chance.randrange(functions)}
        body |= {"session_hash": "s", "event_data": value()}
    else:
        place, body = (
            chance.choice(("gradio_api/cancel", "gradio_api/reset", "gradio_api/upload")),
            {"event_id": value()},
        )
    content = json.dumps(body if chance.random() < 0.9 else value()).encode()
    return "POST", place, content[: chance.randrange(len(content) + 1)] if chance.random() < 0.1 else content
