"""The page as the server gives it: what it offers to programs, what it protects, what it asks of other hosts."""

import errno
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import handle_file
from gradio_client.utils import is_valid_file
from PIL import Image, UnidentifiedImageError

from krea_studio.direction.styles import StyleFacts
from krea_studio.engine.base import Loading, Step
from krea_studio.errors import InvalidRequest
from krea_studio.library.moodboard_files import MAX_ARCHIVE_BYTES
from krea_studio.library.pictures.formats import ENDINGS
from krea_studio.library.pictures.loader import MAX_FILE_BYTES
from krea_studio.recipe.plan import plan
from krea_studio.recipe.request import GenerationRequest, default, parse_request
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.services import Services
from krea_studio.settings import Settings
from krea_studio.ui.gradio_api import generate_function
from krea_studio.ui.server.launch import address, build_demo, discard_upload, launch_options
from krea_studio.ui.server.protection import MAX_BODY_BYTES
from krea_studio.ui.visitors import Visitors
from tests.doubles import REFUSED_SEED, JudgedByColour, colour_of, drawn, write_style
from tests.library.test_store import save
from tests.ui.conftest import PageEngine, connect


@pytest.fixture
def demo(services: Services) -> gr.Blocks:
    return build_demo(services)


@pytest.fixture
def server(demo: gr.Blocks, services: Services) -> Iterator[str]:
    """The page, served as `python app.py` serves it."""
    _, url, _ = demo.launch(prevent_thread_lock=True, **launch_options(services))
    yield url
    demo.close()


@pytest.fixture
def http(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


def test_three_endpoints_are_public(demo: gr.Blocks) -> None:
    info = demo.get_api_info()
    assert sorted(info["named_endpoints"]) == ["/add_reference", "/generate", "/inspect"]
    assert info["unnamed_endpoints"] == {}


def test_generate_has_the_fields_of_the_request_with_their_defaults(demo: gr.Blocks) -> None:
    parameters = demo.get_api_info()["named_endpoints"]["/generate"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == list(GenerationRequest.model_fields)
    for parameter in parameters[1:]:
        assert parameter["parameter_has_default"]
        assert json.dumps(parameter["parameter_default"]) == json.dumps(default(parameter["parameter_name"]))


def test_an_element_has_a_name_of_its_own(demo: gr.Blocks) -> None:
    names = [name for block in demo.blocks.values() if (name := getattr(block, "elem_id", None))]
    assert len(names) > 100 and [name for name in names if names.count(name) > 1] == []


def test_every_place_for_pictures_takes_every_kind(demo: gr.Blocks) -> None:
    places = [block for block in demo.blocks.values() if "image" in (getattr(block, "file_types", None) or ())]
    assert len(places) >= 4
    for place in places:
        for ending in ENDINGS:
            assert is_valid_file(f"/a/picture{ending.upper()}", place.file_types), (place.elem_id, ending)


def test_a_program_gets_files_and_recipes(server: str) -> None:
    client = connect(server)
    pictures = client.predict(prompt="a fox", resolution="512", batch=2, seed=3, api_name="/generate")
    assert [entry["seed"] for entry in pictures] == [3, 4]
    for entry in pictures:
        assert Path(entry["image"]).suffix == ".png" or Path(entry["image"]["path"]).suffix == ".png"
        assert entry["recipe"]["prompt"] == "a fox"


def test_a_program_is_told_of_a_picture_that_was_refused(services: Services, visitor: SimpleNamespace) -> None:
    services.studio.content_filter = ContentFilter(JudgedByColour())
    request = parse_request({"prompt": "a fox", "resolution": "512", "batch": 2, "seed": REFUSED_SEED})
    generate = generate_function(services, Visitors(False))
    with pytest.warns(UserWarning, match=f"did not pass the picture of seed {REFUSED_SEED}, so it is not kept"):
        *_, pictures = generate(visitor, *request.model_dump(mode="json").values())
    assert [entry["seed"] for entry in pictures] == [REFUSED_SEED + 1]


def test_a_refused_picture_is_in_no_file_and_no_answer(server: str, services: Services, tmp_path: Path) -> None:
    services.studio.content_filter = ContentFilter(JudgedByColour())
    client = connect(server, download_files=tmp_path / "got")
    places = (services.library.folder, Path(get_upload_folder()), tmp_path / "got")

    def pictures() -> set[Path]:
        return {path for place in places for path in place.rglob("*") if path.is_file() and is_picture(path)}

    before = pictures()
    with pytest.raises(Exception, match="did not pass the picture of seed"):
        client.predict(prompt="a fox", resolution="512", seed=REFUSED_SEED, api_name="/generate")
    assert pictures() == before
    client.predict(prompt="a fox", resolution="512", seed=REFUSED_SEED + 1, api_name="/generate")
    assert len(pictures() - before) >= 3, "the picture, its thumbnail, and what the program got"


def is_picture(path: Path) -> bool:
    try:
        Image.open(path).close()
    except UnidentifiedImageError:
        return False
    return True


def test_an_upload_that_is_refused_is_not_there_any_more(server: str, services: Services, tmp_path: Path) -> None:
    services.library.judge_what_comes_in(ContentFilter(JudgedByColour()).admit, discard_upload)
    client, place = connect(server), Path(get_upload_folder())
    for seed, kept in ((7, 1), (REFUSED_SEED, 0)):
        name = f"picture-{seed}.png"
        Image.new("RGB", (64, 64), colour_of(seed)).save(tmp_path / name)
        with nullcontext() if kept else pytest.raises(Exception, match="did not pass a picture that was given"):
            client.predict(handle_file(tmp_path / name), api_name="/add_reference")
        assert len(list(place.rglob(name))) == kept


def test_a_program_s_mistake_is_one_clear_line(server: str) -> None:
    client = connect(server)
    with pytest.raises(Exception, match=r"Aspect ratio is .*7:1.* — choose one of 1:1"):
        client.predict(prompt="a fox", aspect_ratio="7:1", api_name="/generate")


CALLS = [
    (
        "v2/generate",
        {"prompt": "a fox", "promt": "a fox"},
        422,
        "'promt' is not a field of a request — use only prompt",
    ),
    ("v2/generate", {"resolution": "512"}, 422, "Prompt is missing — give a text of 1 to"),
    ("v2/generate", {"data": ["a fox"]}, 422, "'data' is not a field of a request"),
    ("v2/generate", {"prompt": "a fox", "batch": 9}, 422, "Batch is 9 — give a whole number from 1 to 4"),
    ("v2/generate", ["a fox"], 422, "is not a call — give a JSON object"),
    ("v2/generate", {"prompt": "<b>", "variant": "a's"}, 422, """Variant is "a's" — choose one of"""),
    ("generate", {"data": []}, 422, "In `data` 0 values were given — give the"),
    ("generate", {"data": ["a fox"] * 5}, 422, "In `data` 5 values were given — give the"),
    ("generate", {"prompt": "a fox"}, 422, "In `data` no list was given"),
    ("v2/add_reference", {}, 422, "image is missing"),
    ("v2/add_reference", {"picture": {}}, 422, "'picture' is not known here — give image"),
    ("inspect", {"data": [None]}, 422, "image is missing"),
    ("inspect", {"data": ["x.png"]}, 422, "image is 'x.png', which was not uploaded — upload a picture, and give"),
    ("v2/inspect", {"image": [1]}, 422, "image is [1], which was not uploaded"),
    ("v2/add_reference", {"image": {"path": 5}}, 422, "image is {'path': 5}, which was not uploaded"),
    (
        "v2/add_reference",
        {"image": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}},
        422,
        "'/etc/passwd'",
    ),
    ("v2/draw", {"prompt": "a fox"}, 404, "There is no endpoint 'draw' — use one of generate, add_reference, inspect"),
    ("draw", {"data": []}, 404, "There is no endpoint 'draw'"),
]


def test_a_call_that_does_not_fit_is_told_why(http: httpx.Client, services: Services) -> None:
    for path, body, status, words in CALLS:
        answer = http.post(f"/gradio_api/call/{path}", json=body)
        assert answer.status_code == status and words in answer.json()["detail"], (path, body, answer.text)
    for content, named in ((b"", "''"), (b"{", "'{'"), (b"[" * 5000, "'[[["), (b"\xff", "'\ufffd'")):
        answer = http.post("/gradio_api/call/v2/generate", content=content)
        assert answer.status_code == 422 and answer.json()["detail"].startswith(named), answer.text
    assert services.runs.of() == []


def test_a_call_by_name_is_answered(http: httpx.Client) -> None:
    body = {"prompt": "a fox", "resolution": "512", "batch": 1, "seed": 3}
    event = http.post("/gradio_api/call/v2/generate", json=body).json()["event_id"]
    told = http.get(f"/gradio_api/call/v2/generate/{event}", timeout=60).text
    assert "event: complete" in told and '"seed":3' in told.replace(" ", "")


def test_a_program_gives_a_style_reference(server: str, services: Services, tmp_path: Path) -> None:
    client = connect(server)
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "teal.png")
    image = client.predict(handle_file(tmp_path / "teal.png"), api_name="/add_reference")
    assert services.library.references.path(image).is_file()
    wished = [{"image": image, "strength": 0.4}]
    (entry,) = client.predict(prompt="a fox", resolution="512", batch=1, style_references=wished, api_name="/generate")
    assert entry["recipe"]["style_references"] == wished


def test_a_program_s_reference_is_a_picture_that_it_uploaded(server: str, services: Services, tmp_path: Path) -> None:
    client = connect(server)
    (tmp_path / "words.png").write_text("words")
    with pytest.raises(Exception, match=r"words.png.* is not a PNG, JPEG, WebP, AVIF or HEIC picture"):
        client.predict(handle_file(tmp_path / "words.png"), api_name="/add_reference")
    with pytest.raises(Exception, match="No picture was given"):
        client.predict(None, api_name="/add_reference")
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "private.png")
    kept = {"path": str(tmp_path / "private.png"), "meta": {"_type": "gradio.FileData"}}
    answer = httpx.post(f"{server}gradio_api/run/add_reference", json={"data": [kept]}, timeout=60)
    assert answer.status_code >= 400
    assert not services.library.references.folder.exists()


def test_a_program_reads_a_recipe_and_what_draws_otherwise_today(
    server: str, services: Services, engine: PageEngine, tmp_path: Path
) -> None:
    client = connect(server)
    engine.identities["turbo"] = "b" * 16
    for weights, notes in (("b" * 16, 0), ("a" * 16, 1)):
        record = save(services.library, weights=weights)
        found = client.predict(handle_file(record.path), api_name="/inspect")
        assert found["recipe"] == record.recipe.as_json()
        assert len(found["notes"]) == notes
    assert "Another Mini turbo (weights aaaaaaaa) drew this picture" in found["notes"][0]
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "stranger.png")
    with pytest.raises(Exception, match=r"holds no recipe"):
        client.predict(handle_file(tmp_path / "stranger.png"), api_name="/inspect")
    with pytest.raises(Exception, match="No picture was given"):
        client.predict(None, api_name="/inspect")


def test_the_server_is_healthy_and_keeps_its_own_counsel(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/openapi.json").status_code == 404


def test_a_browser_is_told_how_a_run_stands(http: httpx.Client, services: Services, engine: PageEngine) -> None:
    shot = plan(parse_request({"prompt": "a fox", "resolution": "512"}), 5).shots[0]
    reached, go_on = threading.Event(), threading.Event()

    def halt() -> None:
        reached.set()
        assert go_on.wait(60)
        go_on.clear()

    engine.scripts = [[Loading("a <part>", 0.25), halt, Step(0, 3, 8, b"jpeg", embedded=True), halt, *drawn(shot)[-1:]]]
    run_id = services.runs.submit(parse_request({"prompt": "a fox", "resolution": "512", "seed": 5}))
    version = -1
    for label, share, preview in (("Loading · a <part>", 0.25, None), ("Step 3 of 8", 0.375, "data:image/jpeg")):
        assert reached.wait(60)
        reached.clear()
        told = http.get(f"/runs/{run_id}", params={"since": version}).json()
        assert (told["label"], told["share"], told["ended"]) == (label, share, False)
        assert told["preview"] is None if preview is None else told["preview"].startswith(preview)
        assert told["version"] > version
        version = told["version"]
        go_on.set()
    while not (last := http.get(f"/runs/{run_id}", params={"since": version}).json())["ended"]:
        version = last["version"]
    assert last["news"] != told["news"]
    for stranger in ("0" * 32, "x", run_id[:-1]):
        assert http.get(f"/runs/{stranger}").status_code == 404


def test_every_answer_has_the_security_headers(http: httpx.Client) -> None:
    for path in ("/", "/healthz", "/nowhere"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]


def test_large_bodies_are_refused(http: httpx.Client) -> None:
    answer = http.post("/gradio_api/queue/join", content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413


def test_large_bodies_without_a_length_are_refused(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * (MAX_BODY_BYTES // 10)

    assert http.post("/gradio_api/queue/join", content=chunks()).status_code == 413


def test_a_long_prompt_is_not_a_large_body(http: httpx.Client) -> None:
    body = {"data": ["x" * 20_000], "fn_index": 0, "session_hash": "s"}
    assert http.post("/gradio_api/queue/join", json=body).status_code != 413


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-origin", 200), (None, 200)])
def test_uploads_come_from_the_page_itself(http: httpx.Client, site: str | None, status: int) -> None:
    headers = {} if site is None else {"sec-fetch-site": site}
    answer = http.post("/gradio_api/upload", files={"files": ("a.png", b"png")}, headers=headers)
    assert answer.status_code == status


# What a website's script could ask, if its name led to this machine or if the answer told it that it may.
ASKED = [
    ("GET", "/"),
    ("GET", "/config"),
    ("GET", f"/runs/{'0' * 32}"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/call/generate"),
    ("POST", "/gradio_api/upload"),
    ("OPTIONS", "/gradio_api/call/generate"),
]
FOREIGN = [
    {"host": "evil.example"},
    {"x-forwarded-host": "evil.example"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
]


def test_no_other_site_is_answered(http: httpx.Client) -> None:
    for method, path in ASKED:
        asked = {"access-control-request-method": "POST"} if method == "OPTIONS" else {}
        for headers in FOREIGN:
            answer = http.request(method, path, headers={**asked, **headers})
            assert answer.status_code == 403, (method, path, headers)
            assert "access-control-allow-origin" not in answer.headers
            assert len(answer.text.splitlines()) == 1 and "KREA_STUDIO_HOSTS" in answer.text


def test_the_own_page_is_answered(http: httpx.Client) -> None:
    own = str(http.base_url).rstrip("/")
    upload = {"files": {"files": ("a.png", b"png")}}
    for origin, host in (
        (own, None),
        (own.replace("127.0.0.1", "localhost"), own.replace("http://127.0.0.1", "localhost")),
    ):
        headers = {"origin": origin} | ({"host": host} if host else {})
        assert http.post("/gradio_api/upload", headers=headers, **upload).status_code == 200
        assert http.get("/config", headers=headers).status_code == 200


def test_the_page_names_no_other_host(http: httpx.Client) -> None:
    styles = http.get("/theme.css").text + http.get("/config").json()["css"]
    assert "#aspect-ratio" in styles
    assert re.findall(r"(?:url\(|@import )['\"]?https?:[^;)]*", styles) == []


def test_the_hosting_platform_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)
    assert address(Settings(host="127.0.0.1", port=7001)) == ("127.0.0.1", 7001)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("PORT", "7002")
    assert address(Settings()) == ("0.0.0.0", 7002)
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(InvalidRequest, match="PORT"):
        address(Settings())


def test_whatever_a_loader_takes_can_be_uploaded(services: Services) -> None:
    assert launch_options(services)["max_file_size"] >= max(MAX_FILE_BYTES, MAX_ARCHIVE_BYTES)


def test_of_the_library_only_what_pages_show_is_given_out(
    http: httpx.Client, services: Services, tmp_path: Path
) -> None:
    library = services.library
    record = save(library)
    reference = library.references.path(library.references.add_picture(Image.new("RGB", (64, 64), "teal")))
    library.moodboards.create("Dusk")
    with library.styles.incoming() as incoming:
        write_style(incoming)
        library.styles.keep(incoming, "Etching", StyleFacts(source="file"))
    library.styles.set_cover("Etching", record.path)
    shown = {record.path, record.thumbnail, reference}
    for path in shown:
        answer = http.get(f"/gradio_api/file={path}")
        assert (answer.status_code, answer.content) == (200, path.read_bytes())
        assert answer.headers["content-type"].startswith("image/")
    (library.folder / "note.png").touch()
    (record.path.parent / "holiday.png").write_bytes(record.path.read_bytes())
    (record.path.parent / f"120000-{'0' * 16}-s1.png").symlink_to(library.records.database)
    (tmp_path / "private.png").write_bytes(record.path.read_bytes())
    others = {path for path in (*library.folder.rglob("*"), tmp_path / "private.png") if path.is_file()} - shown
    assert {path.suffix for path in others} >= {".sqlite3", ".safetensors", ".json", ".png"}
    for path in others:
        for way in (f"file={path}", f"file/{path}", f"file={record.path.parent}/../../../{path.relative_to(tmp_path)}"):
            assert http.get(f"/gradio_api/{way}").status_code in (403, 404), way
    for path in ("/etc/passwd", str(library.folder), "x" * 5000, "a%00b", "https://127.0.0.1/a.png"):
        assert http.get(f"/gradio_api/file={path}").status_code in (403, 404), path


def test_pictures_are_shown_without_a_copy_of_them(server: str, demo: gr.Blocks, services: Services) -> None:
    temporary = Path(os.environ["GRADIO_TEMP_DIR"])
    temporary.mkdir(parents=True, exist_ok=True)
    client = connect(server, download_files=False)
    (entry,) = client.predict(prompt="a fox", resolution="512", batch=1, api_name="/generate")
    (record,) = services.library.recent(1)
    assert entry["image"]["path"] == str(record.path)
    assert httpx.get(entry["image"]["url"], timeout=60).content == record.path.read_bytes()
    assert not [path for path in temporary.rglob("*") if path.is_file()]
    # What is in these Gradio removes a day later.
    assert not any(str(services.library.folder) in file for files in demo.temp_file_sets for file in files)


def test_a_full_disk_for_uploads_is_told(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gradio.routes.upload_fn", full)
    answer = http.post("/gradio_api/upload", files={"files": ("a.png", b"png")})
    assert (answer.status_code, answer.text) == (507, "The studio's disk for uploads is full — try again later.")
