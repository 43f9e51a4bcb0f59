"""Hugging Face's part of signing in, on loopback.

An OpenID provider says who a test wants it to say, and a browser takes the way of a Space there and back.
"""

import base64
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import gradio.oauth
import httpx
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET, SPACE = "a-client", "a-secret-of-the-space", "ada-studio.hf.space"
BROWSER = {"accept": "text/html"}


@dataclass
class Provider:
    """An OpenID provider at `url`, as the Hub is one; `person` is who asks there, None for somebody who declines."""

    url: str = ""
    person: tuple[str, str] | None = ("ada", "1")
    scopes: tuple[str, ...] = ("openid", "profile")
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    signing_key: RSAKey | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        """Its endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._keys),
            ]
        )

    async def _configuration(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
            }
        )

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT and asked["response_type"] == "code"
        back = urlsplit(asked["redirect_uri"])
        assert (back.scheme, back.netloc, back.path) == ("https", SPACE, "/login/callback"), "all that is registered"
        self.asked.append(asked["redirect_uri"])
        if self.person is None:
            more = {"error": "access_denied", "error_description": "<b>no</b>", "state": asked["state"]}
        else:
            code = secrets.token_urlsafe()
            name, subject = self.person
            self.codes[code] = asked | {"name": name, "subject": subject}
            more = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}&{urlencode(more)}")

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self.codes.pop(form["code"], None)
        if request.headers["authorization"] != f"Basic {known}" or not asked:
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert form["redirect_uri"] == asked["redirect_uri"]
        claims = {"iss": self.url, "aud": CLIENT, "iat": int(time.time()), "exp": int(time.time()) + 600}
        claims |= {"sub": asked["subject"], "nonce": asked["nonce"], "preferred_username": asked["name"]}
        told = {"access_token": "a-token-of-the-hub", "token_type": "bearer", "expires_in": 28_800, "scope": "openid"}
        if "openid" in self.scopes:
            told["id_token"] = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing_key or self.key)
        return JSONResponse(told)

    async def _keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})


@contextmanager
def served(app: object) -> Iterator[str]:
    """The address of an ASGI application on loopback while it is served in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def on_a_space(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """The environment of a Space with OAuth, which Gradio in part reads as it is imported."""
    for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        value = {"OAUTH_CLIENT_ID": CLIENT, "OAUTH_CLIENT_SECRET": SECRET, "OPENID_PROVIDER_URL": provider}
        monkeypatch.setattr(gradio.oauth, name, value.get(name, "openid profile"))
    for name, value in {"SYSTEM": "spaces", "SPACE_ID": "ada/studio", "SPACE_HOST": SPACE}.items():
        monkeypatch.setenv(name, value)


@contextmanager
def browser(address: str) -> Iterator[httpx.Client]:
    """A browser that reaches a Space on loopback, and keeps its cookies there as if it were encrypted."""

    def give_cookies(request: httpx.Request) -> None:
        if "cookie" not in request.headers:
            request.headers["cookie"] = "; ".join(f"{each.name}={each.value}" for each in session.cookies.jar)

    with httpx.Client(base_url=address, headers=BROWSER, timeout=60, trust_env=False) as session:
        session.event_hooks = {"request": [give_cookies]}
        yield session


def followed(session: httpx.Client, path: str) -> httpx.Response:
    """What a browser comes to from a path, by way of the Space's name, which leads to loopback here."""
    answer = session.get(path)
    for _ in range(12):
        if not answer.is_redirect:
            return answer
        answer = session.get(at_home(session, answer))
    raise AssertionError(f"a circle of redirects to {answer.headers['location']}")


def at_home(session: httpx.Client, answer: httpx.Response) -> str:
    """Where a redirect leads."""
    place = str(answer.url.join(answer.headers["location"]))
    return place.replace(f"https://{SPACE}", str(session.base_url).rstrip("/"))
