"""Signing in by Hugging Face, on a Space: its OAuth leads here, to the same cookie and accounts as a password does.

Gradio's own routes (`attach_oauth`) go the way to Hugging Face and back, in an application of their own whose session
lasts no longer than that. Of what they bring back only who it is is taken; its token is not kept, here or in a browser.
Off a Space Gradio would let in anybody by a made-up way, so there nothing of this is made.
"""

import logging
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode, urlsplit

import gradio.oauth
from fastapi import FastAPI
from gradio.utils import get_space
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from krea_studio.accounts.accounts import Account, Accounts
from krea_studio.errors import InvalidRequest, Unavailable
from krea_studio.ui.server.sign_in import COOKIE, SIGN_IN, SignIn, bare_page, place_of

logger = logging.getLogger(__name__)

LEAVE, COME_BACK = f"{SIGN_IN}/huggingface", f"{SIGN_IN}/callback"
SESSION = "session"  # the cookie of Gradio's routes, and the key of what is in it
INFO = "oauth_info"
PLACE, TRIES = "_target_url", "_nb_redirects"  # what Gradio's routes take along
MOST_TRIES = 2
WAY_OUT = "the README.md of a Space that says `hf_oauth: true` sets it; elsewhere use KREA_STUDIO_SIGN_IN=accounts"
FAILED = "Hugging Face did not sign you in — try again."
UNREACHED = "Hugging Face cannot be reached just now — try again later."
NO_COOKIES = "This browser kept no cookie of the studio — open it in a tab of its own, or allow its cookies."
# In a Space's frame browsers may hold back cookies, so there the way leads to a tab of its own.
OWN_TAB = '<script>if(top===self)document.querySelector("a").removeAttribute("target")</script>'


def hub_routes() -> FastAPI:
    """Gradio's routes to Hugging Face and back.

    Raises InvalidRequest where this is no Space with OAuth, Unavailable where a package is not installed.
    """
    set_by_space = {
        "SPACE_ID": get_space(),
        **{name: getattr(gradio.oauth, name) for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET")},
        **{name: getattr(gradio.oauth, name) for name in ("OAUTH_SCOPES", "OPENID_PROVIDER_URL")},
    }
    if missing := [name for name, value in set_by_space.items() if not value]:
        verb = "is" if len(missing) == 1 else "are"
        raise InvalidRequest(f"Nobody can sign in by Hugging Face, as {', '.join(missing)} {verb} not set — {WAY_OUT}")
    app = FastAPI(openapi_url=None, middleware=[Middleware(_Unknown)])
    try:
        gradio.oauth.attach_oauth(app)
    except ImportError as error:
        raise Unavailable(
            f"Signing in by Hugging Face needs {error.name} — install what requirements.txt names"
        ) from None
    return app


class HubSignIn(SignIn):
    """Lets pass who is signed in by Hugging Face; `admins` are the names there of those who may run the studio."""

    entrance = (SIGN_IN, LEAVE, COME_BACK)
    same_site = "none"  # a Space is shown in a frame of another site's page

    def __init__(
        self, app: ASGIApp, accounts: Accounts, stay_seconds: int, routes: ASGIApp, admins: Sequence[str]
    ) -> None:
        super().__init__(app, accounts, stay_seconds)
        self._routes, self._admins = routes, {name.lower() for name in admins}

    def _lets_in(self, account: Account) -> bool:
        return account.is_hub

    async def _at_entrance(self, request: Request) -> Response:
        path = request.scope["path"]
        if request.method not in ("GET", "HEAD"):
            return JSONResponse({"detail": "People sign in by Hugging Face here, in a browser"}, status_code=401)
        if path == LEAVE:
            return await self._leave(request)
        if path == COME_BACK:
            return await self._come_back(request)
        return _page(request, place_of(request))

    async def _leave(self, request: Request) -> Response:
        answer, _ = await self._asked(request)
        return answer or _page(request, _place_in(request), UNREACHED, 503)

    async def _come_back(self, request: Request) -> Response:
        place = _place_in(request)
        answer, session = await self._asked(request)
        if INFO not in session:
            tries = request.query_params.get(TRIES, "0")
            if answer and tries.isdecimal() and len(tries) < 3 and int(tries) < MOST_TRIES:
                return answer  # which leads to Hugging Face once more
            return _page(request, place, NO_COOKIES if answer else FAILED, 401)
        person = session[INFO].get("userinfo") or {}
        name, subject = (str(person.get(key) or "") for key in ("preferred_username", "sub"))
        before, admin = request.cookies.get(COOKIE, ""), name.lower() in self._admins
        try:
            token = await run_in_threadpool(self._accounts.admit, name, subject, admin, before)
        except InvalidRequest as error:
            return _page(request, place, f"{error.message}.", 403)
        answer = RedirectResponse(f"../?{place}" if place else "../", status_code=303)
        answer.delete_cookie(SESSION, httponly=True, samesite="none", secure=True)
        return self._signed_in(answer, token, request)

    async def _asked(self, request: Request) -> tuple[Response | None, dict[str, Any]]:
        """What Gradio's routes answer, and what their session then is; no answer where they fail."""
        scope = dict(request.scope)
        answer = Response()
        parts: list[bytes] = []

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status_code, answer.raw_headers = message["status"], list(message["headers"])
            else:
                parts.append(message.get("body", b""))

        try:
            await self._routes(scope, request.receive, noted)
        except Exception as error:  # of authlib's, httpx's and joserfc's kinds: refused, unreachable, not believed
            logger.warning("Signing in by Hugging Face failed: %s", type(error).__name__)
            return None, {}
        answer.body = b"".join(parts)
        return answer, scope.get(SESSION) or {}


def _place_in(request: Request) -> str:
    """The query of the studio's own page to which a way leads; a host or path in it counts for nothing."""
    try:
        return urlsplit(request.query_params.get(PLACE, "")).query
    except ValueError:
        return ""


class _Unknown:
    """Nobody is known before Hugging Face has answered, whatever the session said that the browser sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.get(SESSION, {}).pop(INFO, None)
        await self.app(scope, receive, send)


def _page(request: Request, place: str, wrong: str = "", status_code: int = 200) -> Response:
    told = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    way = f"{'login/' * (request.scope['path'] == SIGN_IN)}huggingface?{urlencode({PLACE: f'/?{place}'})}"
    return bare_page(
        f"<main><h1>Krea Studio</h1>{told}<p>Sign in to make pictures. They are yours: nobody else here sees them, or "
        f'your prompts.</p><a class="button" href="{escape(way)}" target="_blank">Sign in with Hugging Face</a></main>'
        f"{OWN_TAB}",
        status_code,
    )
