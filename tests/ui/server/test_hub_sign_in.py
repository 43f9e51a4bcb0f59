"""Who signs in by Hugging Face is known by what Hugging Face says, and by nothing else."""

import hashlib
import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import gradio.oauth
import httpx
import pytest
from itsdangerous import TimestampSigner
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from krea_studio.accounts.accounts import Accounts
from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.people import LOCAL
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.hub_sign_in import HubSignIn, hub_routes
from krea_studio.ui.server.launch import build_demo, launch_options
from krea_studio.ui.server.sign_in import COOKIE, SignIn, person_of
from tests.ui.conftest import PageEngine, connect
from tests.ui.hub import SECRET, SPACE, Provider, at_home, browser, followed, on_a_space, served

WAY = "/login/huggingface"


async def _told(request: Request) -> PlainTextResponse:
    person = person_of(request.scope)
    return PlainTextResponse(f"for {person.id}{', who runs it' * person.runs_studio}")


def _app(*middleware: Middleware) -> Starlette:
    return Starlette(routes=[Route("/{path:path}", _told, methods=["GET", "POST"])], middleware=list(middleware))


@pytest.fixture(scope="module")
def hub() -> Iterator[Provider]:
    provider = Provider()
    with served(provider.app()) as provider.url:
        yield provider


@pytest.fixture
def provider(hub: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    hub.person, hub.scopes, hub.signing_key = ("ada", "1"), ("openid", "profile"), None
    hub.codes.clear()
    hub.asked.clear()
    on_a_space(monkeypatch, hub.url)
    return hub


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path)


@pytest.fixture
def studio(provider: Provider, accounts: Accounts) -> Iterator[str]:
    with served(_app(Middleware(HubSignIn, accounts, 60, hub_routes(), ["Ada"]))) as address:
        yield address


def test_who_is_not_signed_in_gets_a_page_that_leads_to_hugging_face_and_nothing_else(studio: str) -> None:
    with browser(studio) as session:
        page = followed(session, "/?tab=history")
        assert page.status_code == 200 and "Sign in with Hugging Face" in page.text
        (way,) = re.findall(r'href="([^"]+)"', page.text)
        assert page.url.join(way).path == WAY
        for path in ("/gradio_api/file=x", "/nowhere", "/login/x", f"{WAY}/"):
            assert session.get(path).status_code == session.post(path, json={}).status_code == 401
        assert session.post("/login", data={"username": "ada", "password": "seven foxes in snow"}).status_code == 401


def test_who_comes_back_is_who_hugging_face_says_and_where_they_wanted_to_be(studio: str, provider: Provider) -> None:
    with browser(studio) as session:
        page = followed(session, "/?tab=history&words=fox")
        (way,) = re.findall(r'href="([^"]+)"', page.text)
        came = followed(session, str(page.url.join(way)))
        assert came.text == "for hf:ada, who runs it"
        assert (came.url.path, came.url.query) == ("/", b"tab=history&words=fox")
    provider.person = ("ben", "2")
    with browser(studio) as session:
        assert followed(session, WAY).text == "for hf:ben"
        assert session.get("/anything").headers["cache-control"] == "private"


def test_a_browser_keeps_a_token_of_the_studio_s_and_nothing_of_hugging_face_s(studio: str) -> None:
    with browser(studio) as session:
        answer = session.get(WAY)
        while not answer.url.path.endswith("/callback"):
            answer = session.get(at_home(session, answer))
        kept = [each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)]
        assert len(kept) == 1 and "a-token-of-the-hub" not in answer.text
        assert all(each in kept[0].lower() for each in ("httponly", "secure", "samesite=none", "max-age=60"))
        assert [each.name for each in session.cookies.jar] == [COOKIE]


def test_signing_out_ends_it_for_whoever_has_the_cookie(studio: str) -> None:
    with browser(studio) as session, browser(studio) as thief:
        followed(session, WAY)
        cookie = {"cookie": f"{COOKIE}={session.cookies[COOKIE]}"}
        assert thief.get("/", headers=cookie).text == "for hf:ada, who runs it"
        assert session.get("/logout").text.startswith("for hf:ada"), "not by a link"
        assert session.post("/logout").headers["location"] == "login"
        assert thief.get("/x", headers=cookie).status_code == 401


def test_a_sign_in_ends_by_itself(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Accounts(tmp_path, timedelta(seconds=5))
    with served(_app(Middleware(HubSignIn, short, 60, hub_routes(), []))) as address, browser(address) as session:
        assert followed(session, WAY).text == "for hf:ada"
        now = time.time()
        monkeypatch.setattr("krea_studio.accounts.accounts.time.time", lambda: now + 6)
        assert session.get("/x").status_code == 401


def test_who_declines_or_cannot_be_believed_is_nobody(studio: str, provider: Provider, accounts: Accounts) -> None:
    def refused() -> str:
        with browser(studio) as session:
            page = followed(session, WAY)
            assert page.status_code in (401, 403) and COOKIE not in session.cookies
            (way,) = re.findall(r'href="([^"]+)"', page.text)
            assert page.url.join(way).path == WAY, "from where it can be tried again"
            return page.text

    provider.person = None
    assert "Hugging Face did not sign you in" in refused() and "<b>" not in refused()
    provider.person, provider.scopes = ("ada", "1"), ()
    assert "cannot be used here" in refused()
    provider.scopes, provider.signing_key = ("openid",), RSAKey.generate_key(2048, {"kid": "one"})
    assert "Hugging Face did not sign you in" in refused()
    provider.signing_key = None
    for name in ("../x", "a b", "", "x" * 97, "<b>"):
        provider.person = (name, "1")
        assert "cannot be used here" in refused()
    assert accounts.all() == []


def test_a_way_back_that_was_not_gone_is_no_way_in(studio: str, provider: Provider) -> None:
    with browser(studio) as ada, browser(studio) as ben:
        answer = ada.get(WAY)
        back = at_home(ada, ada.get(at_home(ada, answer)))
        # A link to somebody's own way back, which would have another draw in their name.
        page = ben.get(back)
        assert page.is_redirect and urlsplit(at_home(ben, page)).path == WAY and COOKIE not in ben.cookies
        assert "kept no cookie" in ben.get(f"{back}&_nb_redirects=2").text and COOKIE not in ben.cookies
        for forged in ("/login/callback", "/login/callback?code=x&state=y", "/login/callback?_nb_redirects=x"):
            assert COOKIE not in ben.cookies and ben.get(forged).headers.get("location", WAY).startswith(WAY)
        assert ada.get(back).is_redirect and COOKIE in ada.cookies
        again = ada.get(back)
        assert COOKIE not in again.headers.get("set-cookie", ""), "a code counts once"


@pytest.mark.parametrize("secret", ["", SECRET])
def test_what_a_cookie_says_of_anybody_is_not_believed(studio: str, secret: str) -> None:
    """A session as Gradio keeps it, signed by the constant that it falls back to, or by the Space's own secret."""
    info = {"userinfo": {"preferred_username": "ada", "sub": "1", "name": "", "profile": "", "picture": ""}}
    session = b64encode(json.dumps({"oauth_info": info | {"access_token": "x"}}).encode())
    signer = TimestampSigner(hashlib.sha256(f"{secret}-v4".encode()).hexdigest())
    forged = {"cookie": f"session={signer.sign(session).decode()}"}
    for path in ("/x", "/login/callback?code=x&state=y", "/login/callback?_nb_redirects=9&state=y"):
        with browser(studio) as thief:
            thief.get(path, headers=forged)
            assert thief.get("/x", headers=forged).status_code == 401 and COOKIE not in thief.cookies
    for token in ("", "x", "hf:ada", "a" * 5000):
        assert httpx.get(f"{studio}/x", headers={"cookie": f"{COOKIE}={token}"}, timeout=60).status_code == 401


@pytest.mark.parametrize(
    "place",
    ["https://evil.example/?x=1", "//evil.example?x=1", "/\\evil.example?x=1", "/\t/evil.example?x=1", "//[?x=1"],
)
def test_no_place_of_another_site_is_led_to(studio: str, provider: Provider, place: str) -> None:
    with browser(studio) as session:
        answer = session.get(WAY, params={"_target_url": place})
        while not answer.url.path.endswith("/callback"):
            assert urlsplit(at_home(session, answer)).netloc in (urlsplit(studio).netloc, urlsplit(provider.url).netloc)
            answer = session.get(at_home(session, answer))
        assert re.fullmatch(r"\.\./(\?x=1)?", answer.headers.get("location", "../")), "or a page that says it failed"
    assert [urlsplit(each).netloc for each in provider.asked] == [SPACE]


def test_the_hub_out_of_reach_is_told(provider: Provider, accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradio.oauth, "OPENID_PROVIDER_URL", "http://127.0.0.1:9")
    with served(_app(Middleware(HubSignIn, accounts, 60, hub_routes(), []))) as address, browser(address) as session:
        answer = session.get(WAY)
        assert answer.status_code == 503 and "cannot be reached just now" in answer.text


def test_a_name_that_another_has_now_opens_nothing(studio: str, provider: Provider) -> None:
    with browser(studio) as session:
        assert followed(session, WAY).text.startswith("for hf:ada")
    provider.person = ("ADA", "1")
    with browser(studio) as session:
        assert followed(session, WAY).text.startswith("for hf:ada"), "whatever the case of its letters today"
    provider.person = ("ada", "3")
    with browser(studio) as session:
        assert "somebody else&#x27;s name before" in followed(session, WAY).text and COOKIE not in session.cookies


def test_who_was_removed_stays_out_until_they_are_let_back(studio: str, provider: Provider, accounts: Accounts) -> None:
    provider.person = ("ben", "2")
    for with_pictures in (False, True):
        with browser(studio) as session:
            assert followed(session, WAY).text == "for hf:ben"
            accounts.close("hf:ben")
            assert session.get("/x").status_code == 401 and "was removed" in followed(session, WAY).text
            accounts.remove("hf:ben", with_pictures)
            assert "was removed" in followed(session, WAY).text
            accounts.let_back("hf:ben")
            assert followed(session, WAY).text == "for hf:ben"


def test_each_way_in_is_for_its_own_people_alone(provider: Provider, accounts: Accounts) -> None:
    """A library may have been a team's before it is a Space's, and the other way round."""
    accounts.add("ada", "seven foxes in snow")
    password = accounts.sign_in("ada", "seven foxes in snow", "home")
    vouched = accounts.admit("ada", "1", admin=True)
    with pytest.raises(InvalidRequest, match="no password is needed, or taken"):
        accounts.set_password("hf:ada", "eleven owls at dawn")
    with served(_app(Middleware(HubSignIn, accounts, 60, hub_routes(), []))) as address:
        assert httpx.get(f"{address}/", headers={"cookie": f"{COOKIE}={password}"}, timeout=60).status_code == 401
        assert httpx.get(f"{address}/", headers={"cookie": f"{COOKIE}={vouched}"}, timeout=60).text.startswith(
            "for hf:ada"
        )
    with served(_app(Middleware(SignIn, accounts, 60))) as address:
        assert httpx.get(f"{address}/", headers={"cookie": f"{COOKIE}={vouched}"}, timeout=60).status_code == 401
        assert httpx.get(f"{address}/", headers={"cookie": f"{COOKIE}={password}"}, timeout=60).text == "for ada"
        assert httpx.get(f"{address}{WAY}", headers={"cookie": f"{COOKIE}={password}"}, timeout=60).text == "for ada"


def test_admins_are_those_of_the_setting_today(accounts: Accounts) -> None:
    token, other = accounts.admit("Ada", "1", admin=True), accounts.admit("ben", "2", admin=False)
    accounts.add("cleo", "seven foxes in snow", admin=True)
    accounts.name_admins(["BEN"])
    assert not accounts.signed_in(token).admin and accounts.signed_in(other).admin and accounts.get("cleo").admin


@pytest.mark.parametrize("name", ["OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"])
@pytest.mark.parametrize("value", [None, ""])
def test_without_the_space_s_secret_nothing_starts(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    monkeypatch.setattr(gradio.oauth, name, value)
    with pytest.raises(InvalidRequest, match=f"as {name} is not set — the README.md of a Space that says `hf_oauth"):
        hub_routes()


def test_off_a_space_nothing_starts_where_gradio_would_let_in_anybody(
    provider: Provider, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SYSTEM", "SPACE_ID"):
        with monkeypatch.context() as elsewhere:
            elsewhere.delenv(name)
            with pytest.raises(InvalidRequest, match="as SPACE_ID is not set"):
                launch_options(services)


def test_admins_are_not_named_where_they_would_be_ignored(library: Library, engine: PageEngine) -> None:
    for sign_in in ("none", "accounts"):
        settings = Settings(library=library.folder, sign_in=sign_in, admins="ada, ben")
        services = services_over(settings, library, engine, engine)
        with pytest.raises(InvalidRequest, match="KREA_STUDIO_ADMINS is for KREA_STUDIO_SIGN_IN=huggingface"):
            launch_options(services)
        services.runs.close()


@pytest.fixture
def services(engine: PageEngine, library: Library) -> Iterator[Services]:
    settings = Settings(library=library.folder, sign_in="huggingface", admins="ada")
    services = services_over(settings, library, engine, engine)
    yield services
    services.runs.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Gradio's reloading on a Space
def test_two_people_of_a_space_get_nothing_of_one_another_s(provider: Provider, services: Services) -> None:
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    try:
        with browser(url) as ada, browser(url) as ben, browser(url) as nobody:
            assert "Krea Studio" in followed(ada, WAY).text
            provider.person = ("ben", "2")
            followed(ben, WAY)
            assert nobody.get("/config").status_code == 401 and ben.get("/config").status_code == 200
            cookie = {"cookie": f"{COOKIE}={ada.cookies[COOKIE]}"}
            program = connect(url, headers=cookie, download_files=False)
            program.predict(prompt="a fox", resolution="512", batch=1, api_name="/generate")
            (record,) = services.library.recent(1, LOCAL)
            assert record.owner == "hf:ada"
            for path in (record.path, record.thumbnail):
                assert ada.get(f"/gradio_api/file={path}").content == path.read_bytes()
                assert ben.get(f"/gradio_api/file={path}").status_code in (403, 404)
                assert nobody.get(f"/gradio_api/file={path}").status_code == 401
            ada.post("/logout")
            assert ada.get(f"/gradio_api/file={record.path}").status_code == 401
            # A page of another site may not use the cookie, which a browser sends in a frame there.
            for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
                assert ben.post("/logout", headers=headers).status_code == 403
            assert ben.get("/config").status_code == 200
            assert nobody.get("/logout?_target_url=https://evil.example").status_code == 401
    finally:
        demo.close()
