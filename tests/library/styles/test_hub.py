"""A style comes from the Hub as one safetensors file of a known size at a fixed commit, or not at all.

The Hub's own client talks to a server on this machine that answers as the Hub does.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from krea_studio.errors import InvalidRequest, StorageError, StudioError, Unavailable
from krea_studio.library.styles.hub import MAX_BYTES, MAX_CONFIG_BYTES, Hub, HubFile, parse_reference

COMMIT, OLDER = "a" * 40, "b" * 40
CONTENT = {"style.safetensors": b"new weights", "readme.md": b"# style"}


class FakeHub:
    """Repositories by name: revision → file → content, or an error's status and code; `asked` are all requests."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]] | tuple[int, str]] = {}
        self.stated_bytes: dict[str, int | None] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(f"{handler.command} {handler.path}")
        api = handler.path.startswith("/api/models/")
        parts = handler.path.partition("?")[0].removeprefix("/api/models").strip("/").split("/")
        repository = self.repositories.get("/".join(parts[:2]), (404, "RepoNotFound"))
        revision = parts[3] if len(parts) > 3 else "main"
        if isinstance(repository, dict):
            revision = {"main": COMMIT}.get(revision, revision)
            files = repository.get(revision)
            if files is None:
                return self.say(handler, 404, b"", {"X-Error-Code": "RevisionNotFound"})
            if api:
                siblings = [
                    {"rfilename": name, "size": self.stated_bytes.get(name, len(content)), "blobId": "0" * 40}
                    for name, content in files.items()
                ]
                info = {"id": "/".join(parts[:2]), "sha": revision, "siblings": siblings}
                return self.say(handler, 200, json.dumps(info).encode())
            name = "/".join(parts[4:])
            if name not in files:
                return self.say(handler, 404, b"", {"X-Error-Code": "EntryNotFound"})
            return self.say(handler, 200, files[name], {"ETag": f'"{revision}"', "X-Repo-Commit": revision})
        status, code = repository
        return self.say(handler, status, b"<html>", {"X-Error-Code": code})

    @staticmethod
    def say(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    remote = FakeHub()
    remote.repositories["owner/style"] = {COMMIT: CONTENT, OLDER: {"old.safetensors": b"old"}}
    yield remote
    remote.server.shutdown()
    remote.server.server_close()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("owner/name", ("owner/name", "", "")),
        (" owner/na.me_1 ", ("owner/na.me_1", "", "")),
        ("owner/name@v1.0", ("owner/name", "v1.0", "")),
        ("owner/name@refs/pr/1:a/b c.safetensors", ("owner/name", "refs/pr/1", "a/b c.safetensors")),
        ("owner/name:x.safetensors", ("owner/name", "", "x.safetensors")),
        ("https://huggingface.co/owner/name", ("owner/name", "", "")),
        ("huggingface.co/owner/name/", ("owner/name", "", "")),
        ("https://huggingface.co/owner/name/tree/main", ("owner/name", "main", "")),
        ("https://hf.co/owner/name/blob/main/a/x.safetensors", ("owner/name", "main", "a/x.safetensors")),
        ("https://hf.co/owner/name/resolve/v2/x.safetensors?download=true", ("owner/name", "v2", "x.safetensors")),
    ],
)
def test_repositories_are_named_in_several_ways(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_reference(text) == parts


@pytest.mark.parametrize(
    "text", ["", "name", "a/b/c", "../secret", "owner/", "https://elsewhere.org/o/n", "o/n@", "o/n:", "ö/n", "o/n\n/x"]
)
def test_anything_else_names_no_repository(text: str) -> None:
    with pytest.raises(InvalidRequest, match="names no repository — give owner/name"):
        parse_reference(text)


def test_the_commit_that_was_found_is_what_is_downloaded(remote: FakeHub, tmp_path: Path) -> None:
    hub = Hub(remote.address)
    found = hub.find("owner/style")
    assert found == HubFile("owner/style", COMMIT, "style.safetensors", len(b"new weights"))
    path = hub.download(found, tmp_path / "new")
    assert path.read_bytes() == b"new weights" and path.is_relative_to(tmp_path / "new")
    assert all(COMMIT in asked for asked in remote.asked[1:])

    older = hub.find(f"owner/style@{OLDER}")
    assert (older.revision, hub.download(older, tmp_path / "old").read_bytes()) == (OLDER, b"old")


def test_a_peft_file_comes_with_its_config(remote: FakeHub, tmp_path: Path) -> None:
    files = {"x/adapter_model.safetensors": b"weights", "x/adapter_config.json": b"{}", "x/other.json": b"{}"}
    remote.repositories["owner/style"] = {COMMIT: files}
    hub = Hub(remote.address)
    path = hub.download(hub.find("owner/style"), tmp_path)
    assert path.read_bytes() == b"weights" and path.with_name("adapter_config.json").read_bytes() == b"{}"
    assert not path.with_name("other.json").exists()


@pytest.mark.parametrize("content", [b"", b"{"])
def test_a_config_that_nobody_can_read_comes_too(content: bytes, remote: FakeHub, tmp_path: Path) -> None:
    """Whoever reads the file says so; without it the file would pass for one that has none."""
    files = {"adapter_model.safetensors": b"weights", "adapter_config.json": content}
    remote.repositories["owner/style"] = {COMMIT: files}
    hub = Hub(remote.address)
    path = hub.download(hub.find("owner/style"), tmp_path)
    assert path.with_name("adapter_config.json").read_bytes() == content


def test_a_config_too_large_to_be_one_is_refused(remote: FakeHub) -> None:
    files = {"adapter_model.safetensors": b"weights", "adapter_config.json": b" " * (MAX_CONFIG_BYTES + 1)}
    remote.repositories["owner/style"] = {COMMIT: files}
    assert "adapter_config.json has 1,000,001 bytes, of at most 1,000,000" in refused(
        remote, InvalidRequest, "owner/style"
    )


def refused(remote: FakeHub, kind: type[StudioError], text: str, preferred: str = "") -> str:
    with pytest.raises(kind) as caught:
        Hub(remote.address).find(text, preferred)
    assert not any("resolve" in asked for asked in remote.asked), "nothing may be downloaded"
    assert "\n" not in caught.value.message
    return caught.value.message


def test_of_several_files_one_is_asked_for(remote: FakeHub) -> None:
    remote.repositories["owner/style"] = {COMMIT: {"b.safetensors": b"b", "a.safetensors": b"a", "x.bin": b"x"}}
    assert refused(remote, InvalidRequest, "owner/style") == (
        "owner/style has 2 safetensors files — add one of 'a.safetensors', 'b.safetensors' after a colon"
    )
    assert Hub(remote.address).find("owner/style:b.safetensors").file == "b.safetensors"
    assert Hub(remote.address).find("owner/style", preferred="a.safetensors").file == "a.safetensors"
    refused(remote, InvalidRequest, "owner/style", preferred="c.safetensors")
    assert "has no file 'c.safetensors' — add one of" in refused(remote, InvalidRequest, "owner/style:c.safetensors")
    assert "'x.bin' is no safetensors file — add one of" in refused(remote, InvalidRequest, "owner/style:x.bin")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x.md": b""}, "owner/style has no safetensors file — give another repository"),
        ({"x.ckpt": b""}, "its weights are pickles, which are never opened because they can run code"),
        ({}, "owner/style has no safetensors file"),
        ({"../x.safetensors": b"", "/x.safetensors": b""}, "owner/style has no safetensors file"),
    ],
)
def test_only_safetensors_are_fetched(remote: FakeHub, files: dict[str, bytes], message: str) -> None:
    remote.repositories["owner/style"] = {COMMIT: files}
    assert message in refused(remote, InvalidRequest, "owner/style")


def test_a_file_that_is_too_large_is_refused_before_its_download(remote: FakeHub) -> None:
    remote.stated_bytes["style.safetensors"] = 5 * 10**9
    message = refused(remote, InvalidRequest, "owner/style")
    assert "has 5,000,000,000 bytes, more than the 2,000,000,000" in message
    remote.stated_bytes["style.safetensors"] = MAX_BYTES
    assert Hub(remote.address).find("owner/style").bytes == MAX_BYTES
    remote.stated_bytes["style.safetensors"] = None
    assert "does not say how large" in refused(remote, Unavailable, "owner/style")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((404, "RepoNotFound"), InvalidRequest, "There is no repository 'owner/style' on the Hub for this account"),
        ((401, "RepoNotFound"), InvalidRequest, "There is no repository 'owner/style' on the Hub for this account"),
        ((403, "GatedRepo"), Unavailable, "owner/style is gated — accept its terms at https://huggingface.co/owner/st"),
        ((400, "Other"), Unavailable, "owner/style cannot be downloaded ("),
    ],
)
def test_a_repository_that_gives_nothing(
    remote: FakeHub, answer: tuple[int, str], kind: type[StudioError], message: str
) -> None:
    remote.repositories["owner/style"] = answer
    assert message in refused(remote, kind, "owner/style")


def test_a_revision_that_is_not_there(remote: FakeHub) -> None:
    assert "owner/style has no revision 'v7' — give a" in refused(remote, InvalidRequest, "owner/style@v7")


def test_a_file_that_is_gated_only_when_it_is_fetched(remote: FakeHub, tmp_path: Path) -> None:
    hub = Hub(remote.address)
    found = hub.find("owner/style")
    remote.repositories["owner/style"] = (403, "GatedRepo")
    with pytest.raises(Unavailable, match="^owner/style is gated — accept its terms"):
        hub.download(found, tmp_path)


def test_a_download_of_another_size_is_refused(remote: FakeHub, tmp_path: Path) -> None:
    remote.stated_bytes["style.safetensors"] = 100
    hub = Hub(remote.address)
    with pytest.raises(Unavailable, match="came with 11 of 100 bytes — try again"):
        hub.download(hub.find("owner/style"), tmp_path)


def test_no_network_is_told(remote: FakeHub) -> None:
    nowhere = Hub("http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"^owner/style cannot be downloaded \(.+\) — check the network, or download"):
        nowhere.find("owner/style")


def test_offline_is_told_and_asks_nobody(remote: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "(HF_HUB_OFFLINE is set) — unset it" in refused(remote, Unavailable, "owner/style")
    assert not remote.asked


def test_a_folder_that_cannot_be_written_is_told(remote: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    hub = Hub(remote.address)
    with pytest.raises(StorageError, match="cannot be written"):
        hub.download(hub.find("owner/style"), tmp_path / "file" / "folder")


def full_disk(*_: object, **__: object) -> Any:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told(remote: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(remote.address)
    found = hub.find("owner/style")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", full_disk)
    with pytest.raises(StorageError, match="is full — free some space"):
        hub.download(found, tmp_path)
