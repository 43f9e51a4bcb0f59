"""Uploads count while they come in: of one person, only so many files and bytes a day.

Gradio limits each file, not how many there are. What was sent counts also where the upload is broken off: it was
written to the disk.
"""

from collections.abc import Callable
from email.message import Message as EmailMessage

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from krea_studio.errors import Unavailable
from krea_studio.people import Person
from krea_studio.runs.shares import Shares, Thing

UPLOAD_PATH = "/gradio_api/upload"


class UploadShare:
    """Answers 429 to uploads that are more than a person's share, with the reason; `payer` tells whose it is."""

    def __init__(self, app: ASGIApp, shares: Shares, payer: Callable[[Scope], Person]) -> None:
        self.app = app
        self.shares = shares
        self.payer = payer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].rstrip("/").endswith(UPLOAD_PATH):
            await self.app(scope, receive, send)
            return
        person, files = self.payer(scope), _Parts(Headers(scope=scope).get("content-type", ""))
        refused: Unavailable | None = None

        async def counted_receive() -> Message:
            nonlocal refused
            message = await receive()
            body = message.get("body", b"")
            try:
                self.shares.take(person, Thing.UPLOADS, files.ended_in(body), len(body))
            except Unavailable as error:
                refused = error
                raise
            return message

        async def send_unless_refused(message: Message) -> None:
            if refused is None:  # else FastAPI makes its own answer of the exception, which would hide the reason
                await send(message)

        try:
            await self.app(scope, counted_receive, send_unless_refused)
        except Unavailable:
            if refused is None:
                raise
        if refused is not None:
            await PlainTextResponse(refused.message, status_code=429)(scope, receive, send)


class _Parts:
    """Counts the files in a form that comes in pieces, by what stands between them."""

    def __init__(self, content_type: str) -> None:
        header = EmailMessage()
        header["Content-Type"] = content_type
        boundary = header.get_boundary()
        self._mark = f"--{boundary}".encode("latin-1", "replace") if boundary else b""
        self._end, self._marks = b"", 0

    def ended_in(self, piece: bytes) -> int:
        """How many files end in the next piece."""
        if not self._mark:
            return 0
        text, before = self._end + piece, self._marks
        self._marks += text.count(self._mark)
        # A mark that is cut in two is found with the next piece.
        self._end = text[-(len(self._mark) - 1) :]
        return self._marks - max(before, 1) if self._marks else 0  # the first one begins the first file
