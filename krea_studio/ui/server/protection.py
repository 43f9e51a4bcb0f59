"""What stands between the network and Gradio: response headers, a body limit, and no uploads from other sites.

Plain ASGI middleware (the base class for HTTP middleware of Starlette would break Gradio's event streams). Gradio
caps uploaded files but not the JSON bodies of its other endpoints, sets no security headers, and lets any web page
post a file to a server on localhost; these close the three gaps. Authentication is not covered here.
"""

import contextlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_000_000
UPLOAD_PATH = "/gradio_api/upload"

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


class SameSiteUploads:
    """Answers 403 to uploads that a browser sends for a page of another site (such posts need no preflight)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["path"].endswith(UPLOAD_PATH)
            and Headers(scope=scope).get("sec-fetch-site") == "cross-site"
        ):
            answer = PlainTextResponse("Uploads from other sites are refused — use the studio's page.", status_code=403)
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)


class _BodyTooLarge(Exception):
    """Raised inside the wrapped application's read, caught by `BodyLimit`."""
