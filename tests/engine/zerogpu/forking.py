"""The package `spaces` as on ZeroGPU, without a GPU: `python -m tests.engine.zerogpu.forking LIBRARY`.

Forks, pickles, generators and quota are the package's own. In the place of what is Hugging Face's stands a server that
lends whatever is asked for, and models stay on the CPU: what a fork does with CUDA cannot be tried without it. Prints
one JSON object of what was seen.
"""

import json
import multiprocessing
import os
import sys
import threading
import time
from contextlib import suppress
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SEEN: dict[str, list[dict[str, list[str]]]] = {"/startup-report": [], "/schedule": [], "/allow": [], "/release": []}
REFUSING = threading.Event()


class Lending(BaseHTTPRequestHandler):
    """What lends GPUs to a Space."""

    def do_POST(self) -> None:
        asked = urlsplit(self.path)
        SEEN[asked.path].append(parse_qs(asked.query))
        answer: dict[str, Any] = {}
        if asked.path == "/schedule":
            answer = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "none", "allowToken": "token"}
            if REFUSING.is_set():
                answer = {"left": 20, "wait": 3723}
        self.send_response(429 if answer.get("left") else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


def no() -> bool:
    """Whether CUDA was begun before; it is asked in another process, so this has a name."""
    return False


def import_spaces_without_cuda() -> None:
    """Import `spaces`, which takes CUDA builds of torch for granted."""
    import torch

    if torch.version.cuda is None:
        torch.version.cuda = "12.8"
        torch._C._cuda_init = no
    torch.cuda._is_in_bad_fork = no
    import spaces.zero.torch

    spaces.zero.torch.init = spaces.zero.torch.move = lambda *_, **__: None


def main(library: Path) -> None:
    """Draw in a fork what the local engine draws here, stop a run, and be refused one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lending)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["SPACES_ZERO_DEVICE_API_URL"] = f"http://127.0.0.1:{server.server_address[1]}"
    import_spaces_without_cuda()

    import gradio as gr
    from gradio.context import LocalContext
    from starlette.requests import Request

    from krea_studio.engine.base import ImageReady, Step
    from krea_studio.engine.local.drawing import Drawing
    from krea_studio.engine.local.engine import LocalEngine
    from krea_studio.engine.zerogpu.engine import ZeroGPUEngine
    from krea_studio.errors import Stopped, Unavailable
    from krea_studio.settings import Settings
    from tests.doubles import PlainFiles
    from tests.engine.zerogpu.test_zerogpu import planned

    settings = Settings(library=library, device="cpu")
    engine = ZeroGPUEngine(settings)
    with gr.Blocks() as page:
        gr.Textbox()
    page.launch(prevent_thread_lock=True, server_name="127.0.0.1", server_port=free_port(), quiet=True, ssr_mode=False)
    drawn_here = os.getpid()
    processes = library.parent / "processes"
    draw = Drawing.draw

    def noted(*arguments: Any) -> None:
        with processes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        draw(*arguments)

    Drawing.draw = noted
    headers = [(b"x-ip-token", b"visitor")]
    LocalContext.request.set(gr.Request(Request({"type": "http", "headers": headers})))

    def run(asked: Any, check: Any = lambda: None) -> list[Any]:
        told: list[Any] = []
        thread_context = copy_context()  # as of the thread in which runs are drawn
        thread_context.run(engine.run, asked, told.append, lambda: check(told), PlainFiles())
        return told

    asked = planned(batch=2)
    lent = [each for each in run(asked, lambda told: None) if isinstance(each, ImageReady)]
    borrowed = processes.read_text().split()

    def at_the_second(told: list[Any]) -> None:
        if any(isinstance(event, Step) and event.step == 2 for event in told):
            raise Stopped("Stopped.")

    seen: list[Any] = []
    started = time.monotonic()
    with suppress(Stopped):
        engine.run(planned(steps=20), seen.append, lambda: at_the_second(seen), PlainFiles())
    stopped_seconds = time.monotonic() - started
    again = [each for each in run(asked, lambda told: None) if isinstance(each, ImageReady)]
    lendings = len(SEEN["/schedule"])
    REFUSING.set()
    refusal = ""
    try:
        run(asked, lambda told: None)
    except Unavailable as error:
        refusal = error.message
    Drawing.draw = draw
    plain: list[Any] = []
    # In a thread: in this one torch makes believe.
    drawing = threading.Thread(
        target=lambda: LocalEngine(settings).run(asked, plain.append, lambda: None, PlainFiles())
    )
    drawing.start()
    drawing.join()
    here = [each.image.tobytes() for each in plain if isinstance(each, ImageReady)]
    found = {
        "same": here == [each.image.tobytes() for each in lent] == [each.image.tobytes() for each in again],
        "elsewhere": bool(borrowed),
        "drawn_by_the_server": processes.read_text().split().count(str(drawn_here)),
        "processes": len(set(processes.read_text().split())),
        "stopped_at": max(event.step for event in seen if isinstance(event, Step)),
        "stopped_seconds": round(stopped_seconds, 2),
        "lent": lendings,
        "released": len(SEEN["/release"]),
        "requests": [query["token"][0] for query in SEEN["/schedule"][:lendings]],
        "durations": [query["durationSeconds"][0] for query in SEEN["/schedule"]],
        "started": len(SEEN["/startup-report"]),
        "refusal": refusal,
    }
    print(json.dumps(found), flush=True)
    for process in multiprocessing.active_children():
        process.terminate()  # else it would keep this one's output open
    os._exit(0)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
