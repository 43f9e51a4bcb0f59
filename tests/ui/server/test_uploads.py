"""Uploads of one person end at a share, and what is kept or written of them at another."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from krea_studio.errors import Unavailable
from krea_studio.people import LOCAL, Person, member
from krea_studio.runs.shares import MEGABYTE, Allowance, Shares, Thing
from krea_studio.services import Services
from krea_studio.settings import Settings
from krea_studio.ui.create.tab import CreateTab
from krea_studio.ui.moodboards.handlers import MoodboardHandlers
from krea_studio.ui.moodboards.words import WORDS
from krea_studio.ui.server.launch import build_demo, launch_options
from krea_studio.ui.server.sign_in import payer_of
from krea_studio.ui.server.uploads import _Parts
from krea_studio.ui.visitors import Visitors
from tests.ui.conftest import signed_in

ONE = dict.fromkeys(Thing, Allowance(1, megabytes=1))


def with_shares(services: Services, allowances: dict[Thing, Allowance], **settings: Any) -> Services:
    options = services.settings.model_copy(update=settings)
    values = {name: getattr(services, name) for name in Services.__dataclass_fields__}
    return Services(**values | {"settings": options, "shares": Shares(allowances)})


@pytest.fixture
def serve(services: Services) -> Iterator[Callable[..., httpx.Client]]:
    """Serve the page with shares and settings, and return a client of it."""
    closing: list[Any] = []

    def serve(allowances: dict[Thing, Allowance], **settings: Any) -> httpx.Client:
        here = with_shares(services, allowances, **settings)
        demo: gr.Blocks = build_demo(here)
        _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(here))
        client = httpx.Client(base_url=url, timeout=60)
        closing.extend((client.close, demo.close))
        return client

    yield serve
    for close in closing:
        close()


def upload(client: httpx.Client, *sizes: int) -> httpx.Response:
    files = [("files", (f"{place}.png", bytes(size), "image/png")) for place, size in enumerate(sizes)]
    return client.post("gradio_api/upload", files=files)


def kept_files() -> int:
    """How many can be named in a call."""
    return sum(path.is_file() for path in Path(get_upload_folder()).glob("*/*"))


def test_uploads_end_at_their_number_and_their_bytes(serve: Callable[..., httpx.Client]) -> None:
    few = dict.fromkeys(Thing, Allowance(3, megabytes=1))
    client = serve(few, host="0.0.0.0")
    before = kept_files()
    assert upload(client, 10, 10).status_code == 200 and kept_files() == before + 2
    refused = upload(client, 11, 12)
    assert refused.status_code == 429 and kept_files() == before + 2
    assert refused.text.startswith("One person may have 3 uploads a day here, and you have had yours — try again in ")
    refused = upload(client, 20 * MEGABYTE)
    assert refused.status_code == 429
    assert refused.text.startswith("One person may have 1 MB of uploads a day here, and ")
    assert client.get("healthz").status_code == 200


def test_on_one_s_own_machine_uploads_have_no_end(serve: Callable[..., httpx.Client]) -> None:
    client = serve(ONE)
    assert [upload(client, 10, 2 * MEGABYTE).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("quoted", [False, True])
def test_files_are_counted_however_they_come_in_pieces(size: int, quoted: bool) -> None:
    names = ("files", ("a.png", b"content of --x", "image/png"))
    request = httpx.Request("POST", "http://studio", files=[names] * 5)
    kind, _, boundary = request.headers["content-type"].partition("boundary=")
    parts = _Parts(f'{kind}BOUNDARY="{boundary}"' if quoted else request.headers["content-type"])
    form = request.read()
    assert sum(parts.ended_in(form[start : start + size]) for start in range(0, len(form), size)) == 5


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary="])
def test_what_is_no_form_has_no_files(kind: str) -> None:
    assert _Parts(kind).ended_in(b"--\r\n--\r\n----") == 0


def test_a_share_is_an_account_s_or_an_address_s() -> None:
    scope = {"client": ("203.0.113.5", 1234)}
    assert payer_of(scope, shared=False) == LOCAL
    assert payer_of(scope, shared=True) == Person("address-203.0.113.5")
    first, second = ({"client": (f"2001:db8::{end}", 1)} for end in ("1", "2"))
    assert payer_of(first, shared=True) == payer_of(second, shared=True)
    assert payer_of({}, shared=True) == Person("address-")
    ada = signed_in("ada")
    assert payer_of(scope | ada.request.scope, shared=True) == member("ada")
    assert Visitors(shared=True).payer(ada) == member("ada")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "teal.png")
    return str(tmp_path / "teal.png")


def test_references_end_at_a_share_whatever_browser_is_named(services: Services, picture: str) -> None:
    panel = CreateTab(with_shares(services, ONE), Visitors(shared=True)).references
    usual = {name: 50 for name in panel.reads[1:]} | {"wide_strengths": False}
    stranger = SimpleNamespace(username=None, request=SimpleNamespace(scope={"client": ("203.0.113.5", 1)}))
    *_, added = panel.drop(stranger, [picture], [], **usual)
    assert added["references"]
    *_, refused = panel.drop(stranger, [picture], [], **usual)
    assert "One person may have 1 style references a day here" in refused["stage"]["value"]
    *_, own = panel.drop(signed_in("ada"), [picture], [], **usual)
    assert own["references"]


def test_boards_and_exports_end_at_a_share(services: Services) -> None:
    here = with_shares(services, ONE)
    tab, ada = MoodboardHandlers(here, Visitors(shared=True)), signed_in("ada")
    state = {"open_board": "", "kept_words": None, "chosen": "", **dict.fromkeys(WORDS, "")}
    tab.create(ada, "Dawn", **state)
    tab.create(ada, "Dawn", **state)  # which is refused for its name, and does not count
    assert "One person may have 1 new moodboards a day here" in tab.create(ada, "Dusk", **state)["notice"]["value"]
    assert "Dusk" not in services.library.moodboards.names()
    assert tab.export(ada, "Dawn")["download"]
    refused = tab.export(ada, "Dawn")
    assert refused["download"] is None and "One person may have 1 exports a day here" in refused["notice"]["value"]


def test_the_settings_are_the_shares(services: Services) -> None:
    most = Settings.model_fields["person_boards_a_day"].default
    ada = Person("ada")
    services.shares.take(ada, Thing.BOARDS, most)
    with pytest.raises(Unavailable, match=f"One person may have {most} new moodboards a day here"):
        services.shares.take(ada, Thing.BOARDS)


def test_a_picture_of_a_program_is_counted(serve: Callable[..., httpx.Client]) -> None:
    client = serve({**dict.fromkeys(Thing, Allowance(9)), Thing.REFERENCES: Allowance(1)}, host="0.0.0.0")
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(content, format="PNG")
    path = client.post("gradio_api/upload", files={"files": ("a.png", content.getvalue())}).json()[0]
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    answers = [client.post("gradio_api/run/add_reference", json=body) for _ in range(2)]
    assert answers[0].status_code == 200
    assert "One person may have 1 style references a day here" in answers[1].text
