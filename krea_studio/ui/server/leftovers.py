"""What Gradio would keep of those who do not come back: messages, runs whose news nobody asks for, broken uploads.

A call puts its messages into a queue, from which the caller's stream takes them. Where no stream is opened, they stay,
and what was called goes on to its end. So streams are counted here, and what nobody has listened to for a while is
ended as Gradio ends it where a stream is broken off. Of a session it keeps a copy of the page's whole configuration,
for links that this page does not have.
"""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gradio.queueing import Queue
from gradio.state_holder import SessionState, StateHolder
from gradio.utils import get_upload_folder
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOK_SECONDS = 15.0
UNCOLLECTED_SECONDS = 3_600.0
BROKEN_UPLOAD_SECONDS = 3_600.0
SESSION_STREAM = re.compile(r"/gradio_api/queue/data/?$")
STREAM = re.compile(r"/gradio_api/(queue/data|call/(v2/)?[^/]*/(?P<event>[0-9a-f]+))/?")

logger = logging.getLogger(__name__)


class Listeners:
    """Who listens to which session, or to which event of it; middleware that counts the open streams."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()

    def counting(self, app: ASGIApp) -> ASGIApp:
        """An app that does what `app` does, while its streams are counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            stream = STREAM.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
            if stream is None:
                await app(scope, receive, send)
                return
            name = stream["event"] or _session_of(scope)
            self.open[name] += 1
            try:
                await app(scope, receive, send)
            finally:
                self.open[name] -= 1
                if not self.open[name]:
                    del self.open[name]

        return counted


class KnownSessions:
    """Answers 404 to who listens to a session in which nothing was called; Gradio breaks off its answer there."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and SESSION_STREAM.search(scope["path"]):
            session = _session_of(scope)
            if session not in scope["app"].get_blocks()._queue.pending_messages_per_session:
                reason = f"There is nothing to listen to in the session {session[:60]!r} — call something in it first"
                await JSONResponse({"detail": reason}, 404)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _session_of(scope: Scope) -> str:
    try:
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=100)
    except ValueError:  # more fields than anybody sends
        return ""
    return asked.get("session_hash", [""])[0]


class Leftovers:
    """Drops of a queue what nobody has listened to for `seconds`."""

    def __init__(
        self, queue: Queue, listeners: Listeners, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue, self._listeners, self._seconds, self._clock = queue, listeners, seconds, clock
        self._heard: dict[str, float] = {}  # when somebody was last seen to listen, by session

    async def drop(self) -> int:
        """Drop what is due, and return of how many sessions."""
        now, queue, listening = self._clock(), self._queue, self._listeners.open
        sessions = {*queue.pending_messages_per_session, *queue.pending_event_ids_session}
        heard = {}
        for session in sessions:
            events = queue.pending_event_ids_session.get(session, set())
            is_heard = session in listening or not listening.keys().isdisjoint(events)
            heard[session] = now if is_heard else self._heard.get(session, now)
        due = [session for session, last in heard.items() if now - last >= self._seconds]
        for session in due:
            await queue.clean_events(session_hash=session)
            queue.pending_messages_per_session.pop(session, None)
            queue.pending_event_ids_session.pop(session, None)
            del heard[session]
        self._heard = heard
        return len(due)

    async def keep_dropping(self) -> None:
        """Drop what is due until cancelled, and remove what broken uploads left."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.drop()
                await run_in_threadpool(remove_broken_uploads)
            except Exception:  # of Gradio's insides; the server goes on without
                logger.exception("What nobody asks for any more was not dropped")


def remove_broken_uploads() -> None:
    """Remove the beginnings of uploads that were broken off, which no page can name and Gradio forgets."""
    before = time.time() - BROKEN_UPLOAD_SECONDS
    with suppress(OSError):
        for path in Path(get_upload_folder()).glob("tmp*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


class PlainSessions(StateHolder):
    """Sessions without a copy of the page's configuration each."""

    def __getitem__(self, session_id: str) -> SessionState:
        known = session_id in self
        state = super().__getitem__(session_id)
        if not known:
            state.config_values = _Nothing()
        return state


class _Nothing(dict[Any, Any]):
    """Has an empty entry for everything, and keeps none."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: Any) -> dict[str, Any]:
        return {}

    def __setitem__(self, key: Any, value: Any) -> None:
        pass
