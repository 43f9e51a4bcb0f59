"""Two accounts of one studio: what the one makes, the other does not get, whatever it asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from krea_studio.accounts.accounts import Accounts
from krea_studio.direction.styles import StyleFacts
from krea_studio.errors import InvalidRequest
from krea_studio.library.store import Library
from krea_studio.people import LOCAL, member
from krea_studio.recipe.request import parse_request
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from krea_studio.ui.server.launch import build_demo, launch_options
from krea_studio.ui.server.sign_in import ACCOUNT
from krea_studio.ui.visitors import Visitors
from tests.doubles import write_style
from tests.runs.conftest import ended
from tests.ui.conftest import PageEngine, connect

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
    return connect(server, auth=(name, PASSWORDS[name]), download_files=False)


@contextmanager
def browser(server: str, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=60) as session:
        assert session.post("/login", data={"username": name, "password": PASSWORDS[name]}).status_code == 200
        yield session


def test_nobody_gets_in_without_an_account(server: str) -> None:
    assert httpx.get(f"{server}/config", timeout=60).status_code == 401
    with pytest.raises(Exception, match="401|[Cc]redentials|[Aa]uth"):
        connect(server)
    with pytest.raises(Exception, match="401|[Cc]redentials|[Aa]uth"):
        connect(server, auth=("ada", "wrong wrong wrong"))


def test_a_picture_is_who_made_it_s(server: str, services: Services) -> None:
    (entry,) = client(server, "ada").predict(prompt="a fox", resolution="512", batch=1, api_name="/generate")
    (record,) = services.library.recent(1, LOCAL)
    assert record.owner == "ada" and entry["image"]["path"] == str(record.path)
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        for path in (record.path, record.thumbnail):
            assert ada.get(f"/gradio_api/file={path}").content == path.read_bytes()
            assert ben.get(f"/gradio_api/file={path}").status_code in (403, 404)
            assert httpx.get(f"{server}/gradio_api/file={path}", timeout=60).status_code == 401


def test_a_run_is_who_began_it_s(server: str, services: Services) -> None:
    run = services.runs.submit(parse_request({"prompt": "a fox", "resolution": "512", "seed": 5}), member("ada"))
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        assert ada.get(f"/runs/{run}").status_code == 200
        assert ben.get(f"/runs/{run}").status_code == 404


def test_a_studio_without_accounts_says_how_to_make_one(services: Services) -> None:
    with pytest.raises(InvalidRequest, match="there are no accounts — make one: python -m krea_studio accounts add"):
        launch_options(services)


def test_nobody_gets_at_the_picture_of_another_by_its_id(server: str, services: Services) -> None:
    """What the page does with the pictures that it shows, asked for by hand with another's id."""
    run = services.runs.submit(parse_request({"prompt": "a secret fox", "resolution": "512"}), member("ada"))
    (record,) = ended(services.runs, run).finished
    functions = {each["api_name"]: each for each in client(server, "ben").config["dependencies"]}

    def ask(session: httpx.Client, name: str, *looked_at: object) -> str:
        function = functions[name]
        data = [None, *looked_at, *[None] * (len(function["inputs"]) - 1 - len(looked_at))]
        body = {
            "fn_index": function["id"],
            "data": data,
            "event_data": {"index": 0, "value": None},
            "session_hash": "abc",
        }
        return session.post("/gradio_api/run/predict", json=body).text

    ids, selected = [[record.id]], [0]  # as a page sends what it remembers
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        for name, looked_at in (
            ("reuse", (ids, selected)),
            ("pin", (ids, selected)),
            ("choose_picture", (ids,)),
            ("show_picture", (ids,)),
            ("report", (ids, selected)),
        ):
            gone = "not in the library any more"
            assert gone not in ask(ada, name, *looked_at), name
            told = ask(ben, name, *looked_at)
            assert gone in told and "secret" not in told and record.path.name not in told, name
    assert [each.reporter for each in services.library.reports.all()] == ["ada"]


def test_only_an_admin_decides_for_the_studio(services: Services) -> None:
    accounts = Accounts(services.settings.library)
    accounts.add("ada", PASSWORDS["ada"], admin=True)
    visitors = Visitors(shared=True)

    def asking(name: str) -> SimpleNamespace:
        scope = {ACCOUNT: accounts.get(name)}
        return SimpleNamespace(username=name, request=SimpleNamespace(scope=scope))

    accounts.add("ben", PASSWORDS["ben"])
    assert visitors.person(asking("ada")).runs_studio and not visitors.person(asking("ben")).runs_studio
    assert not visitors.person(SimpleNamespace(username="ada")).runs_studio
    with pytest.raises(InvalidRequest, match="models of this page are chosen by whoever runs it"):
        visitors.person(asking("ben")).require_running("models")


HIDDEN = "A Hidden Dusk"


def test_nobody_gets_the_pictures_of_another_s_board_or_style_by_their_addresses(
    server: str, services: Services, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "look.png")
    boards, styles = (each.of(member("ada")) for each in (services.library.moodboards, services.library.styles))
    boards.create(HIDDEN)
    (image,) = boards.add(HIDDEN, [tmp_path / "look.png"]).images
    with styles.incoming() as path:
        styles.keep(write_style(path), HIDDEN, StyleFacts())
    cover = styles.cover(styles.set_cover(HIDDEN, tmp_path / "look.png"))
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        for path in (services.library.references.path(image), cover):
            for form in ("file=", "file/"):
                assert ben.get(f"/gradio_api/{form}{path}").status_code in (403, 404)
            assert ada.get(f"/gradio_api/file={path}").content == path.read_bytes()
        boards.share(HIDDEN)
        styles.share(HIDDEN)
        for path in (services.library.references.path(image), cover):
            assert ben.get(f"/gradio_api/file={path}").content == path.read_bytes()
        for path in services.library.styles.folder.iterdir():
            if path.suffix != ".png":
                assert ada.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_a_reference_that_is_brought_is_its_bringer_s(server: str, services: Services, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "look.png")
    image = client(server, "ada").predict(handle_file(tmp_path / "look.png"), api_name="/add_reference")
    references = [{"image": image}]
    with pytest.raises(Exception, match=f"{image} is not in the library any more"):
        client(server, "ben").predict(
            prompt="a fox", resolution="512", batch=1, style_references=references, api_name="/generate"
        )
    path = services.library.references.path(image)
    with browser(server, "ada") as ada, browser(server, "ben") as ben:
        assert ada.get(f"/gradio_api/file={path}").status_code == 200
        assert ben.get(f"/gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.slow
def test_no_function_of_the_page_gets_at_the_moodboard_or_style_of_another(server: str, services: Services) -> None:
    """Every function is called by hand with the name of another's board and style in each of its places."""
    boards, styles = (each.of(member("ada")) for each in (services.library.moodboards, services.library.styles))
    boards.create(HIDDEN)
    with styles.incoming() as path:
        card = styles.keep(write_style(path), HIDDEN, StyleFacts(trigger="hidden words"))
    folders = (boards.folder, styles.folder)
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()}
    functions = client(server, "ben").config["dependencies"]
    with browser(server, "ben") as ben:
        assert HIDDEN not in ben.get("/config").text
        for function in functions:
            if not function["backend_fn"]:
                continue
            count = len(function["inputs"])
            for place, named in product(range(count), (HIDDEN, card.identity)):
                data: list[object] = [None] * count
                data[place] = named
                body = {"fn_index": function["id"], "data": data, "session_hash": "abc", "event_data": {"index": 0}}
                told = ben.post("/gradio_api/run/predict", json=body).text
                assert "is ada" not in told and "hidden words" not in told, function["api_name"]
                assert named == HIDDEN or HIDDEN not in told, function["api_name"]
    assert {path: path.read_bytes() for path in before} == before
    for kept in (services.library.moodboards, services.library.styles):
        assert HIDDEN not in kept.of(member("ben")).names()


def test_the_moodboard_of_another_does_not_steer(server: str, services: Services) -> None:
    boards = services.library.moodboards.of(member("ada"))
    boards.create(HIDDEN)
    for name in (HIDDEN, "No Such Board"):
        request = parse_request({"prompt": "a fox", "moodboard": {"name": name}})
        with pytest.raises(InvalidRequest, match=f"There is no moodboard '{name}' — ") as told:
            services.runs.submit(request, member("ben"))
        assert HIDDEN not in told.value.message.replace(f"'{name}'", "")
    with pytest.raises(InvalidRequest, match="was not analyzed"):
        services.runs.submit(parse_request({"prompt": "a fox", "moodboard": {"name": HIDDEN}}), member("ada"))
    boards.share(HIDDEN)
    with pytest.raises(InvalidRequest, match="was not analyzed"):
        services.runs.submit(parse_request({"prompt": "a fox", "moodboard": {"name": HIDDEN}}), member("ben"))
