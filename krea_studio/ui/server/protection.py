"""What stands between the network and Gradio: known hosts, response headers, a body limit, and the files given out.

Plain ASGI middleware (the base class for HTTP middleware of Starlette would break Gradio's event streams). Gradio
answers under any name, lets pages of any site use a server that is not on localhost, caps uploaded files but not the
JSON bodies of its other endpoints, sets no security headers, and gives out a folder of allowed files as a whole; these
close the gaps. Authentication is not covered here.
"""

import contextlib
import errno
import logging
import re
from collections.abc import Callable
from pathlib import Path

from gradio.utils import get_upload_folder
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from krea_studio.errors import StorageError
from krea_studio.files import write_error
from krea_studio.people import Person
from krea_studio.ui.server.hosts import Hosts
from krea_studio.ui.server.sign_in import person_of
from krea_studio.ui.server.uploads import UPLOAD_PATH

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
FILE_PATH = re.compile(r"/file[=/](?P<file>.*)", re.DOTALL)
READING = ("GET", "HEAD")

# Gradio's page runs inline scripts and styles; pictures arrive as files, data: previews and blob: uploads.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class SecurityHeaders:
    """Adds `HEADERS` to every HTTP response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class ShownFiles:
    """Gives out by path only what `shows` says that pages show to who asks, and what Gradio itself keeps; else 404.

    Gradio knows folders alone, and a library has more than pictures.
    """

    def __init__(self, app: ASGIApp, shows: Callable[[str, Person], bool]) -> None:
        self.app = app
        self.shows = shows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = FILE_PATH.search(scope["path"]) if scope["type"] == "http" else None
        if asked and not await run_in_threadpool(self._given_out, asked["file"], person_of(scope)):
            await PlainTextResponse("There is no such file here.", status_code=404)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _given_out(self, file: str, person: Person) -> bool:
        try:
            return Path(file).resolve().is_relative_to(Path(get_upload_folder()).resolve()) or self.shows(file, person)
        except (OSError, ValueError):  # a name that is too long, or has a NUL
            return False
        except StorageError as error:
            logger.error("A file is not given out: %s", error.message)
            return False


class UploadSpace:
    """Answers 507 to uploads for which there is no space, with the reason."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted_send)
        except OSError as error:
            upload = scope["type"] == "http" and scope["path"].endswith(UPLOAD_PATH)
            if begun or not upload or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            logger.warning("%s", write_error(error, Path(get_upload_folder())).message)
            answer = PlainTextResponse("The studio's disk for uploads is full — try again later.", status_code=507)
            await answer(scope, receive, send)


class BodyLimit:
    """Answers 413 to request bodies over `MAX_BODY_BYTES`; uploads are left to Gradio's own file limit."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith(UPLOAD_PATH):
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await self._refuse(scope, receive, send)
            return

        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise _BodyTooLarge
            return message

        async def send_within_limit(message: Message) -> None:
            # FastAPI makes its own answer of the exception, which would hide the reason.
            if received <= self.max_bytes:
                await send(message)

        with contextlib.suppress(_BodyTooLarge):
            await self.app(scope, counted_receive, send_within_limit)
        if received > self.max_bytes:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = PlainTextResponse(f"The request is larger than {self.max_bytes:,} bytes — send less.", status_code=413)
        await answer(scope, receive, send)


class KnownHosts:
    """Answers 403 to requests under a name that is not the studio's, and to those of other sites' pages.

    It has to be outermost: Gradio's own middleware tells every site that it may ask.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = "" if scope["type"] == "lifespan" else self._refusal(scope)
        if not refusal:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            logger.warning("%s", refusal)
            await PlainTextResponse(refusal, status_code=403, headers=HEADERS)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        forwarded = ",".join(headers.getlist("x-forwarded-host"))
        refusal = self.hosts.refusal(headers.get("host", ""), forwarded, headers.get("origin"))
        # A browser says so also where it says no origin; a link to the page is no such request.
        if not refusal and scope.get("method") not in READING and headers.get("sec-fetch-site") == "cross-site":
            return "Requests from other sites are refused — use the studio's own page."
        return refusal


class _BodyTooLarge(Exception):
    """Raised inside the wrapped application's read, caught by `BodyLimit`."""
