"""Nothing is answered to who is not signed in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from krea_studio.accounts.accounts import FILE, WRONG, Accounts
from krea_studio.ui.server.sign_in import SignIn, account_of

PASSWORD = "seven foxes in snow"
BROWSER = {"accept": "text/html,application/xhtml+xml"}


async def _told(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"for {account_of(request)}")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    accounts = Accounts(tmp_path)
    accounts.add("ada", PASSWORD)
    routes = [Route(path, _told, methods=["GET", "POST"]) for path in ("/", "/gradio_api/file=x", "/healthz")]
    app = Starlette(routes=routes, middleware=[Middleware(SignIn, accounts, 60)])
    with TestClient(app, follow_redirects=False) as client:
        yield client


def sign_in(client: TestClient, password: str = PASSWORD, **more: str) -> object:
    form = {"username": "ada", "password": password, **more}
    return client.post("/login", data=form, headers=BROWSER)


def test_who_is_not_signed_in_gets_the_form_and_nothing_else(client: TestClient) -> None:
    asked = client.get("/?tab=history&words=fox", headers=BROWSER)
    assert asked.status_code == 303
    assert asked.headers["location"] == "login?next=tab%3Dhistory%26words%3Dfox"
    form = client.get(f"/{asked.headers['location']}", headers=BROWSER)
    assert form.status_code == 200 and 'value="tab=history&amp;words=fox"' in form.text
    for path in ("/", "/gradio_api/file=x", "/nowhere"):
        assert client.get(path).status_code == client.post(path).status_code == 401
    assert client.get("/healthz").text == "for None"


def test_a_browser_comes_back_to_where_it_wanted(client: TestClient) -> None:
    answer = sign_in(client, next="tab=history")
    assert (answer.status_code, answer.headers["location"]) == (303, "./?tab=history")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "secure" not in cookie
    assert client.get("/").text == "for ada"
    client.get("/logout")
    assert client.get("/").text == "for ada"
    assert client.post("/logout").headers["location"] == "login"
    assert client.get("/").status_code == 401


def test_the_cookie_stays_on_encrypted_ways(client: TestClient) -> None:
    form = {"username": "ada", "password": PASSWORD}
    answer = client.post("/login", data=form, headers={"x-forwarded-proto": "https"})
    assert answer.json() == {"success": True} and "secure" in answer.headers["set-cookie"].lower()


def test_a_wrong_password_is_told_in_the_form_and_to_programs(client: TestClient) -> None:
    answer = sign_in(client, "wrong wrong wrong", next='"><b>')
    assert answer.status_code == 401 and WRONG in answer.text and "<b>" not in answer.text
    told = client.post("/login", data={"username": "ada"})
    assert (told.status_code, told.json()) == (401, {"detail": WRONG})


def test_no_place_of_another_site_is_led_to(client: TestClient) -> None:
    for place in ("//evil.example", "https://evil.example", "/../x"):
        assert sign_in(client, next=place).headers["location"] == f"./?{place}"


@pytest.mark.parametrize("token", ["", "x", "ada", "a" * 5000, "%00"])
def test_a_made_up_cookie_is_nobody(client: TestClient, token: str) -> None:
    assert client.get("/", headers={"cookie": f"krea-studio={token}"}).status_code == 401


def test_a_long_form_is_not_read(client: TestClient) -> None:
    assert client.post("/login", data={"username": "ada", "password": "x" * 50_000}).status_code == 401


def test_what_is_wrong_with_the_file_is_told_to_the_log_alone(client: TestClient, tmp_path: Path) -> None:
    sign_in(client)
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    for answer in (sign_in(client), client.get("/"), client.post("/logout")):
        assert answer.status_code == 503 and "try again later" in answer.text and str(tmp_path) not in answer.text


def test_answers_are_for_nobody_else(client: TestClient) -> None:
    sign_in(client)
    assert client.get("/").headers["cache-control"] == "private"
