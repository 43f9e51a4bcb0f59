"""Calls of programs are looked at before Gradio takes them, so that what is wrong with one is said.

Gradio answers a call that does not fit its endpoint with an error of the server, or with none but `null`. Of a body
with half a surrogate pair it makes an answer that cannot be written, and the connection ends with it. A call in a
session without a name stays in the queue, where every later news of waiting calls fails at it.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from krea_studio.ui.server.uploads import UPLOAD_PATH
from krea_studio.validation import shown

CALL = re.compile(r"/gradio_api/call/(?P<by_name>v2/)?(?P<endpoint>[^/]*)/?")
FUNCTION = re.compile(r"/gradio_api/(queue/join|run/[^/]*)/?$")
NO_TEXT = "There is half a character in this (a surrogate without its other half) — send whole ones"

Refusal = Callable[[str, Any, bool], tuple[int, str] | None]
"""Status and reason for a call, by its endpoint, its body and whether that has values by name; None for a sound one."""


class CheckedCalls:
    """Answers calls that `refusal` refuses, and bodies that are no text, in the form in which the server says no."""

    def __init__(self, app: ASGIApp, refusal: Refusal) -> None:
        self.app = app
        self.refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].endswith(UPLOAD_PATH):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
            messages.append(await receive())

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        found = self._found(scope, b"".join(each.get("body", b"") for each in messages))
        if found is None:
            await self.app(scope, again, send)
            return
        status, reason = found
        await JSONResponse({"detail": reason}, status)(scope, receive, send)

    def _found(self, scope: Scope, content: bytes) -> tuple[int, str] | None:
        path = scope["path"]
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = content[:200].decode("utf-8", "replace")  # which is refused in the same form
        if b"\\u" in content and not _is_text(body):
            return 422, NO_TEXT
        if FUNCTION.search(path) and isinstance(body, dict):
            number = body.get("fn_index")
            if isinstance(number, int) and number not in scope["app"].get_blocks().fns:
                return 404, f"There is no function {shown(number)} on this page — load it anew"
            if body.get("session_hash") == "":
                return 422, "session_hash is empty — give the session in which the call's messages are asked for"
        call = CALL.fullmatch(path)
        return self.refusal(call["endpoint"], body, bool(call["by_name"])) if call else None


def _is_text(body: Any) -> bool:
    """Whether all text in a body can be written."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


async def refuse_body(_: Request, error: Exception) -> JSONResponse:
    """The answer to a body that is none of an endpoint's: where it is wrong and why, without what was sent."""
    assert isinstance(error, RequestValidationError)
    wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3]]
    detail = "; ".join(wrong)[:500].encode("utf-8", "replace").decode()
    return JSONResponse({"detail": detail}, 422)
