"""The endpoint: expands prompts with a language model behind an OpenAI-compatible address.

One POST to `…/chat/completions` for an expansion, and one more for each field that the server refuses, until it is
known what it takes (`server_refusals`). Only what an answer needs is trusted: time and size are bounded,
redirects are not followed, and whatever comes back wrong is told in one line. The key goes into the request's header
and nowhere else. Knows nothing of what makes an expansion good; `creativity` asks and judges.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import wait
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.expansion.creativity import ENDPOINT, Asking, Unfinished, asking
from krea_studio.expansion.server_refusals import NO_THINKING, fitted, reason_of, refusals
from krea_studio.settings import environment_variable, is_loopback
from krea_studio.validation import shown

MOST_BYTES = 2 * 2**20  # of an answer; a long one with its thoughts has some ten thousand
REASON_CHARACTERS = 400  # of what a server says is wrong
SEED_BITS = 31  # many servers take the seed as a signed number of 32 bits
_PATH = "/chat/completions"
_ANYWHERE = ("0.0.0.0", "::")  # how servers that listen everywhere tell their address, which is this machine's
_CHECK_SECONDS = 0.1
_SECRET_CHARACTERS = 8  # shorter keys, as "none", are there only because a program wants one
_CUT_OFF = ("length", "content_filter")
_TEXTS = (None, "text", "output_text")  # the types of content parts that are no thoughts, pictures or calls

_URL, _MODEL, _KEY, _TIMEOUT, _THINKING = (
    environment_variable(f"expander_{name}") for name in ("url", "model", "key", "timeout_seconds", "thinking_tokens")
)


class Endpoint:
    """The `Expander` that asks a server, and keeps in mind what that refuses. Safe to use from several threads."""

    writer = ENDPOINT

    def __init__(self, url: str, model: str, key: SecretStr, timeout_seconds: float, thinking_tokens: int) -> None:
        """`url` is the server's address with its version, such as http://127.0.0.1:8000/v1.

        `thinking_tokens` are the room for thoughts of a model that cannot be kept from thinking. Raises InvalidRequest
        where address, model or key cannot be meant. Asks nothing yet.
        """
        self._address = _checked_address(url)
        self.host = urlsplit(self._address).netloc
        name = urlsplit(self._address).hostname or ""
        self._here = is_loopback(name) or name in _ANYWHERE
        self.model = model.strip()
        self._key = SecretStr(key.get_secret_value().strip())
        self._timeout_seconds = timeout_seconds
        self._thinking_tokens = thinking_tokens
        self._refused: frozenset[str] = frozenset()
        if not self.model:
            raise InvalidRequest(f"The endpoint's model is not named — set {_MODEL} to a model that {self.host} has")
        if any(not "!" <= character <= "~" for character in self._key.get_secret_value()):
            raise InvalidRequest(f"The endpoint's key has characters that no key has — copy it to {_KEY} again")

    def write(
        self,
        prompt: str,
        level: str,
        seed: int,
        check: Callable[[], None],
        again: bool = False,
        fits: Callable[[str], bool] = lambda text: True,
    ) -> str:
        """The model's raw answer; `check` is called ten times a second while it is awaited.

        Raises Unavailable where the server cannot be reached, fails or is too slow, InvalidRequest where it refuses
        the request or answers with something else than a completion, and Unfinished where the server cut that off.
        """
        check()
        request = asyncio.run_coroutine_threadsafe(self._answered(asking(prompt, level, seed, again), seed), _loop())
        try:
            while not wait([request], timeout=_CHECK_SECONDS).done:
                check()
        finally:
            request.cancel()
        status, body = request.result()
        if status != httpx.codes.OK:
            raise self._refusal(status, body)
        text, whole = self._text(body)
        if not whole:
            raise Unfinished(text)
        return text

    async def _answered(self, asked: Asking, seed: int) -> tuple[int, bytes]:
        """Status and body of the answer to a request that the server takes, or of its last refusal."""
        request = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": asked.instruction},
                {"role": "user", "content": asked.message},
            ],
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "seed": seed % 2**SEED_BITS,
            "max_tokens": asked.most_tokens + self._thinking_tokens,
            "stream": False,
            **NO_THINKING,
        }
        known = self._refused
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                # A proxy in the environment leads out, not back to this machine.
                httpx.AsyncClient(timeout=self._timeout_seconds, trust_env=not self._here) as client,
            ):
                while True:
                    sent = fitted(request, known)
                    status, body = await self._posted(client, sent)
                    if status == httpx.codes.OK:
                        self._refused = known
                        return status, body
                    more = refusals(status, body, sent)
                    if not more:
                        return status, body
                    known |= more
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(
                f"The endpoint {self.host} has not answered within {self._timeout_seconds:g} seconds — "
                f"try again, or raise {_TIMEOUT}"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:  # the last for a SOCKS proxy
            reason = self._masked(str(error)) or type(error).__name__
            raise Unavailable(
                f"The endpoint {self.host} cannot be reached ({reason}) — start it, or check {_URL}"
            ) from None

    async def _posted(self, client: httpx.AsyncClient, content: dict[str, Any]) -> tuple[int, bytes]:
        # Not packed: a small packed answer may be a huge one.
        headers = {"Accept-Encoding": "identity"}
        if key := self._key.get_secret_value():
            headers["Authorization"] = f"Bearer {key}"
        body = b""
        async with client.stream("POST", self._address, json=content, headers=headers) as answer:
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MOST_BYTES:
                    raise InvalidRequest(
                        f"The endpoint {self.host} answers with more than {MOST_BYTES >> 20} MB — check {_URL}"
                    )
            return answer.status_code, body

    def _refusal(self, status: int, body: bytes) -> InvalidRequest | Unavailable:
        """What an HTTP status other than 200 means for a person."""
        who, told = f"The endpoint {self.host}", self._told(body)
        if 300 <= status < 400:
            return InvalidRequest(f"{who} sends to another address ({status}) — set {_URL} to that one")
        if status in (401, 403):
            what = "refuses the key" if self._key.get_secret_value() else "wants a key"
            return InvalidRequest(f"{who} {what} ({status}{told}) — check {_KEY}")
        if status == 402:
            return InvalidRequest(f"{who} wants to be paid first (402{told}) — top up the account of {_KEY}")
        if status == 404:
            return InvalidRequest(
                f"{who} has no {_PATH} or no model {shown(self.model)} (404{told}) — check {_URL} and {_MODEL}"
            )
        if status == 429:
            return Unavailable(f"{who} is asked too often, or its quota is used up (429{told}) — try again in a minute")
        if status >= 500:
            return Unavailable(f"{who} failed ({status}{told}) — try again later")
        return InvalidRequest(f"{who} refuses the request ({status}{told}) — check {_URL} and {_MODEL}")

    def _told(self, body: bytes) -> str:
        """What a server says is wrong, as the rest of a line."""
        said = self._masked(reason_of(body))
        more = "…" if len(said) > REASON_CHARACTERS else ""
        return f": {said[:REASON_CHARACTERS]!r}{more}" if said else ""

    def _text(self, body: bytes) -> tuple[str, bool]:
        """The text of a completion, and whether that is all of it."""
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            text = body.decode("utf-8", "replace").strip()
            # Masked before it is cut, which could leave half of a key.
            what = "a web page" if text.startswith("<") else shown(self._masked(text))
            raise InvalidRequest(
                f"The endpoint {self.host} answers with {what}, not with JSON — check {_URL}, which usually ends in /v1"
            ) from None
        message, whole = _message(found)
        if message is None:
            raise InvalidRequest(
                f"The endpoint {self.host} answers without choices{self._told(body)} — check {_URL} and {_MODEL}"
            )
        text = _content(message.get("content"))
        if not whole and not text.strip():
            raise InvalidRequest(
                f"The model {shown(self.model)} was cut off before it had written anything — raise {_THINKING}, give "
                f"it more room on {self.host}, or choose another writer"
            )
        if not text.strip():
            reason = "refuses to expand the prompt" if message.get("refusal") else "answers with an empty text"
            raise InvalidRequest(
                f"The model {shown(self.model)} {reason} — change the prompt, or choose another writer"
            )
        return text, whole

    def _masked(self, text: str) -> str:
        key = self._key.get_secret_value()
        return text.replace(key, "…") if len(key) >= _SECRET_CHARACTERS else text


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Where servers are asked, in a thread of its own, so that this also works where a loop is running.

    It stays: the end of a loop waits for the look-up of a name, which nothing ends.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="chat-servers", daemon=True).start()
    return loop


def _checked_address(url: str) -> str:
    """The address to post to. Raises InvalidRequest where the URL is none of a web server, or holds a password."""
    try:
        parts = urlsplit(url.strip())
        has_user, _ = "@" in parts.netloc, parts.port
    except ValueError:
        raise InvalidRequest(
            f"The endpoint's address {shown(url)} is none — give one like http://127.0.0.1:8000/v1"
        ) from None
    if has_user:
        raise InvalidRequest(f"The endpoint's address holds a name or a password — put the key into {_KEY} instead")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest(f"The endpoint's address is {shown(url)} — give one that begins with http:// or https://")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(_PATH) else path + _PATH, fragment="").geturl()


def _message(found: Any) -> tuple[dict[str, Any] | None, bool]:
    """The first message of a completion, and whether it came to its end."""
    try:
        choice = found["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError):
        return None, True
    return (message if isinstance(message, dict) else None), choice.get("finish_reason") not in _CUT_OFF


def _content(content: Any) -> str:
    """The text of a message, which may come in parts, some of which are thoughts."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") in _TEXTS else part for part in parts]
    return "".join(text for text in texts if isinstance(text, str))
