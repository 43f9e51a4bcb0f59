"""How many connections the server keeps open, and for how long it waits for what somebody began to say.

uvicorn takes as many as there are, and waits for the rest of a request for ever; each of them is an open file, of which
the system gives a process so many. Connections that are over the limit are closed at once, so that there are always
files for the pictures. What is being answered, such as the stream of an open page, may take as long as it likes.
"""

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import gradio.http_server
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_SECONDS = 20.0
"""In which a request has to be there up to its body, and the longest pause within the body."""
MOST_CONNECTIONS = 1_000
MOST_AT_ONCE = 100
TOLD_AGAIN_SECONDS = 60.0
MOST_OPEN_FILES = 65_536

logger = logging.getLogger(__name__)

try:
    import resource
except ImportError:  # Windows has no limit to raise
    resource = None  # type: ignore[assignment]


def _open_files() -> int:
    """Take as many open files as the system allows this process, and return how many these are."""
    if resource is None:
        return MOST_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


@contextmanager
def limited_connections() -> Iterator[None]:
    """Let the server that Gradio starts meanwhile keep at most half of its open files for connections.

    One address has at most half of these. The page has no websockets, so nothing is upgraded to one.
    """
    files = _open_files()
    limited = type("Limited", (_Limited, AutoHTTPProtocol), {"most": min(MOST_CONNECTIONS, files // 2)})
    # As many are taken in one go, before the first of them can be refused.
    config = partial(uvicorn.Config, http=limited, ws="none", backlog=min(MOST_AT_ONCE, files // 8))
    plain = gradio.http_server.uvicorn
    gradio.http_server.uvicorn = SimpleNamespace(Config=config)
    try:
        yield
    finally:
        gradio.http_server.uvicorn = plain


class _Limited(asyncio.Protocol):
    """What is put in front of uvicorn's protocol, of which each connection has one; `most` is how many there may be."""

    most: int
    # uvicorn's own
    transport: asyncio.Transport
    connections: set[Any]
    cycle: Any
    flow: Any
    loop: asyncio.AbstractEventLoop

    _admitted = False
    _patience: asyncio.TimerHandle | None = None
    _told_at = -math.inf  # of all connections: when it was last told that some are refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._is_one_too_many(transport.get_extra_info("peername")):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        self._admitted = True
        super().connection_made(transport)
        self._wait(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        if self._admitted:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self._go_on()
        if (not answering or self.cycle.more_body) and self._patience is None:
            self._wait(self.transport)

    def _wait(self, transport: Any) -> None:
        """Close the connection where nothing more comes."""

        def give_up() -> None:
            self._patience = None
            if self.flow is not None and self.flow.read_paused:  # it is the studio that does not listen yet
                self._wait(transport)
            else:
                transport.abort()

        self._patience = self.loop.call_later(REQUEST_SECONDS, give_up)

    def _go_on(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _is_one_too_many(self, peer: Any) -> bool:
        kind, host = type(self), peer[0] if peer else ""
        refused = len(self.connections) >= self.most
        if not refused and not _is_own(host):
            same = sum(
                getattr(each, "client", None) is not None and each.client[0] == host for each in self.connections
            )
            refused = same >= self.most // 2
        if refused and kind._told_at + TOLD_AGAIN_SECONDS < (now := time.monotonic()):
            kind._told_at = now
            logger.warning("There are %d connections, so new ones from %s are refused", len(self.connections), host)
        return refused


def _is_own(host: str) -> bool:
    """Whether it is this machine, such as a proxy here, behind which everybody is."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
