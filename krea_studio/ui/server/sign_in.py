"""Signing in: nothing is answered to who is not signed in but the sign-in page itself and what supervisors ask for.

Plain ASGI middleware around Gradio, which is told who asks by `account_of`. A browser gets a page with a form, a
program that posts the same form (`gradio_client`'s `auth` does) gets JSON; both get a cookie. `hub_sign_in` has
another entrance to the same.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from html import escape
from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from krea_studio.accounts.accounts import Account, Accounts
from krea_studio.errors import StorageError, StudioError
from krea_studio.people import LOCAL, Person, member

logger = logging.getLogger(__name__)

SIGN_IN, SIGN_OUT = "/login", "/logout"
# Supervisors know no password; the last is what Gradio asks itself, and tells nothing.
OPEN = ("/healthz", "/readyz", "/metrics", "/gradio_api/startup-events")
COOKIE = "krea-studio"
ACCOUNT = "krea_studio.account"  # its key in an ASGI scope
MOST_FORM_BYTES, MOST_FIELDS = 10_000, 10
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;background:#f2f0ec;color:#1b1b1b;display:grid;place-items:center;"
    "min-height:90vh;margin:0 16px}form,main{display:grid;gap:12px;width:100%;max-width:320px}label{display:grid;"
    "gap:4px;font-weight:600}input,button,.button{font:inherit;padding:10px;border:1px solid #bbb;border-radius:10px}"
    "button,.button{background:#136b58;color:#fff;border:0;font-weight:600;cursor:pointer;text-align:center;"
    "text-decoration:none}p{margin:0}.wrong{color:#a02020}"
    "@media(prefers-color-scheme:dark){body{background:#191918;color:#eee}input{background:#262625;color:#eee;"
    "border-color:#555}.wrong{color:#ff9a8f}}"
)


class SignIn:
    """Lets pass who is signed in by an account of `accounts`; `stay_seconds` is how long a browser keeps its cookie.

    What stands at the entrance, `_at_entrance`, is a form for a password.
    """

    same_site: Literal["lax", "none"] = "lax"
    entrance: tuple[str, ...] = (SIGN_IN,)

    def __init__(self, app: ASGIApp, accounts: Accounts, stay_seconds: int) -> None:
        self.app = app
        self._accounts, self._stay_seconds = accounts, stay_seconds
        # Passwords take their time; who waits for them must not hold up who is signed in.
        self._signing_in = asyncio.Semaphore(2)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # there are none for which anybody signs in
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        answer = await self._answer(request)
        if answer is None:

            async def send_privately(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).setdefault("Cache-Control", "private")
                await send(message)

            await self.app(scope, receive, send_privately)
        else:
            await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """What is answered here; None for what goes on to the studio, with its account."""
        path, token = request.scope["path"], request.cookies.get(COOKIE, "")
        try:
            if path in self.entrance:
                return await self._at_entrance(request)
            account = await run_in_threadpool(self._accounts.signed_in, token) if token else None
            if path == SIGN_OUT and request.method == "POST":  # not by a link on another site
                return await self._sign_out(request, token)
        except StudioError as error:
            return _unusable(error)
        if account is not None and self._lets_in(account):
            request.scope[ACCOUNT] = account
            return None
        if request.method == "GET" and path == "/" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"login?{urlencode({'next': request.url.query})}", status_code=303)
        return JSONResponse({"detail": "Nobody is signed in — sign in first"}, status_code=401)

    def _lets_in(self, account: Account) -> bool:
        """Whether it is of those for whom this is the entrance: it may have signed in before the setting changed."""
        return not account.is_hub

    async def _at_entrance(self, request: Request) -> Response:
        """What is answered at a path of `entrance`. Raises StudioError."""
        return await self._sign_in(request) if request.method == "POST" else _page(place_of(request))

    async def _sign_in(self, request: Request) -> Response:
        form = await _form(request)
        name, password = form.get("username", ""), form.get("password", "")
        address = request.client.host if request.client else ""
        browser = "text/html" in request.headers.get("accept", "")
        try:
            before = request.cookies.get(COOKIE, "")
            sign_in = partial(self._accounts.sign_in, name, password, address, before)
            async with self._signing_in:
                token = await run_in_threadpool(sign_in)
        except StorageError as error:
            return _unusable(error)
        except StudioError as error:
            if browser:
                return _page(form.get("next", ""), name, error.message)
            return JSONResponse({"detail": error.message}, status_code=401)
        place = form.get("next", "")
        answer: Response = (
            RedirectResponse(f"./?{place}" if place else "./", status_code=303)
            if browser
            else JSONResponse({"success": True})
        )
        return self._signed_in(answer, token, request)

    def _signed_in(self, answer: Response, token: str, request: Request) -> Response:
        """The answer, with the cookie of who has signed in."""
        answer.set_cookie(
            COOKIE,
            token,
            max_age=self._stay_seconds,
            httponly=True,
            samesite=self.same_site,
            secure=self._is_secure(request),
        )
        return answer

    async def _sign_out(self, request: Request, token: str) -> Response:
        if token:
            await run_in_threadpool(self._accounts.sign_out, token)
        answer = RedirectResponse("login", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite=self.same_site, secure=self._is_secure(request))
        return answer

    def _is_secure(self, request: Request) -> bool:
        forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
        return self.same_site == "none" or "https" in (forwarded, request.url.scheme)


def person_of(scope: Scope) -> Person:
    """Who asks; LOCAL where nobody has to sign in, and where addresses that nobody guesses are all that there is."""
    account: Account | None = scope.get(ACCOUNT)
    return member(account.name, account.admin) if account else LOCAL


def payer_of(scope: Scope, shared: bool) -> Person:
    """Whose share it comes out of what a request brings in: the account's, or on a page without any, the address's.

    Not the browser's entry, of which anybody may make up as many as they like.
    """
    if not shared or ACCOUNT in scope:
        return person_of(scope)
    host = (scope.get("client") or ("",))[0]
    with suppress(ValueError):
        if (address := ip_address(host)).version == 6:  # of which everybody has a whole network
            host = str(ip_network((address, 64), strict=False))
    return Person(f"address-{host}")


def account_of(request: Request) -> str | None:
    """The name of the account by which a request that passed `SignIn` is signed in."""
    account: Account | None = request.scope.get(ACCOUNT)
    return account.name if account else None


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form; none of one that is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM_BYTES:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _unusable(error: StudioError) -> Response:
    logger.error("Nobody can sign in: %s", error.message)
    return JSONResponse({"detail": "Signing in does not work just now — try again later"}, status_code=503)


def place_of(request: Request) -> str:
    """Where a browser wanted to that was sent to sign in: the query of the page's address."""
    return request.query_params.get("next", "")


def bare_page(body: str, status_code: int) -> HTMLResponse:
    """A page that needs nothing of Gradio's, for who is not signed in; `body` is HTML."""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in · Krea Studio</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body>{body}</body></html>",
        status_code,
    )


def _page(place: str, name: str = "", wrong: str = "") -> HTMLResponse:
    told = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    focus = ("", " autofocus") if name else (" autofocus", "")
    return bare_page(
        f'<form method="post" action="login"><h1>Krea Studio</h1>{told}<input type="hidden" name="next" '
        f'value="{escape(place)}"><label>Name<input name="username" value="{escape(name)}" autocomplete="username" '
        f'required{focus[0]}></label><label>Password<input name="password" type="password" '
        f'autocomplete="current-password" required{focus[1]}></label><button>Sign in</button></form>',
        401 if wrong else 200,
    )
