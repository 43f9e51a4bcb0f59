"""Two accounts of one studio: what the one makes, the other does not get, whatever it asks for."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from gradio_client import Client

from krea_studio.accounts.accounts import Accounts
from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, member
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.launch import build_demo, launch_options
from tests.ui.conftest import PageEngine

PASSWORDS = {"ada": "seven foxes in snow", "ben": "eleven owls at dawn"}


@pytest.fixture
def services(engine: PageEngine, library: Library) -> Iterator[Services]:
    """A studio for accounts, on the page engine."""
    services = services_over(Settings(library=library.folder, sign_in="accounts"), library, engine, engine)
    yield services
    services.runs.close()


@pytest.fixture
def server(services: Services) -> Iterator[str]:
    accounts = Accounts(services.settings.library)
    for name, password in PASSWORDS.items():
        accounts.add(name, password)
    demo = build_demo(services)
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    yield url
    demo.close()


def client(server: str, name: str) -> Client:
    return Client(server, auth=(name, PASSWORDS[name]), verbose=False, download_files=False)


@contextmanager
def browser(server: str, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server) as session:
        assert session.post("/login", data={"username": name, "password": PASSWORDS[name]}).status_code == 200
        yield session


def test_nobody_gets_in_without_an_account(server: str) -> None:
    assert httpx.get(f"{server}/config").status_code == 401
    with pytest.raises(Exception, match="401|[Cc]redentials|[Aa]uth"):
        Client(server, verbose=False)
    with pytest.raises(Exception, match="401|[Cc]redentials|[Aa]uth"):
        Client(server, auth=("ada", "wrong wrong wrong"), verbose=False)


def test_a_picture_is_who_made_it_s(server: str, services: Services) -> None:
    (entry,) = client(server, "ada").predict(prompt="a fox", resolution="512", batch=1, api_name="/generate")
    (record,) = services.library.recent(1, LOCAL)
    assert record.owner == "ada" and entry["image"]["path"] == str(record.path)
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        for path in (record.path, record.thumbnail):
            assert ada.get(f"/gradio_api/file={path}").content == path.read_bytes()
            assert ben.get(f"/gradio_api/file={path}").status_code in (403, 404)
            assert httpx.get(f"{server}/gradio_api/file={path}").status_code == 401


def test_a_run_is_who_began_it_s(server: str, services: Services) -> None:
    run = services.runs.submit(parse_request({"prompt": "a fox", "resolution": "512", "seed": 5}), member("ada"))
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        assert ada.get(f"/runs/{run}").status_code == 200
        assert ben.get(f"/runs/{run}").status_code == 404


def test_a_studio_without_accounts_says_how_to_make_one(services: Services) -> None:
    with pytest.raises(InvalidRequest, match="there are no accounts — make one: python -m krea_studio accounts add"):
        launch_options(services)
