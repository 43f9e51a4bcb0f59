"""Calls of programs are looked at before Gradio takes them, so that what is wrong with one is said.

Gradio answers a call that does not fit its endpoint with an error of the server, or with none but `null`.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALL = re.compile(r"/gradio_api/call/(?P<by_name>v2/)?(?P<endpoint>[^/]*)/?")

Refusal = Callable[[str, Any, bool], tuple[int, str] | None]
"""Status and reason for a call, by its endpoint, its body and whether that has values by name; None for a sound one."""


class CheckedCalls:
    """Answers calls that `refusal` refuses, in the form in which the server says no elsewhere."""

    def __init__(self, app: ASGIApp, refusal: Refusal) -> None:
        self.app = app
        self.refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if call is None:
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
            messages.append(await receive())

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        content = b"".join(each.get("body", b"") for each in messages)
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = content[:200].decode("utf-8", "replace")  # which is refused in the same form
        found = self.refusal(call["endpoint"], body, bool(call["by_name"]))
        if found is None:
            await self.app(scope, again, send)
            return
        status, reason = found
        await JSONResponse({"detail": reason}, status)(scope, receive, send)
