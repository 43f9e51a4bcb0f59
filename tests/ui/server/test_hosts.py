"""Which names a server answers under, and whose pages may ask it."""

import socket

import pytest

from krea_studio.settings import is_loopback
from krea_studio.ui.server.hosts import Hosts

HERE = Hosts("127.0.0.1")
ANYWHERE = Hosts("0.0.0.0", frozenset({"studio.example"}))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("studio.localhost", True),
        ("0.0.0.0", False),
        ("studio.example", False),
        ("localhost.example", False),
    ],
)
def test_only_loopback_is_private(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:1", "LOCALHOST", "[::1]:7860", "a.localhost:80", "x.gradio.live"]
)
def test_a_server_of_this_machine_is_reached_by_its_own_names(host: str) -> None:
    assert HERE.refusal(host, "", None) == "" == ANYWHERE.refusal(host, "", None)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "gradio.live.evil.example",
        "evilgradio.live",
        "0.0.0.0:7860",
        "192.168.1.5",
        "",
        "[",
        "a@127.0.0.1@evil.example",
        "a@127.0.0.1",
        "127.0.0.1#.evil.example",
        "127.0.0.1/evil",
        "127.0.0.1\\.evil.example",
        "[::1].evil.example",
        "[::1]evil.example:80",
        "127.0.0.1:7860:7860",
        "ｌocalhost",
        "localhost..",
        "studio.example",
    ],
)
def test_a_server_of_this_machine_has_no_other_names(host: str) -> None:
    refusal = HERE.refusal(host, "", None)
    assert "This studio is not reached as" in refusal and "KREA_STUDIO_HOSTS" in refusal
    assert HERE.refusal("127.0.0.1:7860", host, None) == (refusal if host else "")


def test_a_server_of_a_network_is_reached_by_addresses_its_machine_s_name_and_those_it_was_given() -> None:
    own = socket.gethostname().lower()
    for host in (
        "192.168.1.5:7860",
        "[fe80::1]:7860",
        "0.0.0.0",
        own,
        f"{own}.local:80",
        "studio.example",
        "Studio.Example.",
    ):
        assert ANYWHERE.refusal(host, "", None) == "", host
    for host in ("evil.example", "a.studio.example", "studio.example.evil.example", "1.2.3.4.evil.example"):
        assert "not reached as" in ANYWHERE.refusal(host, "", None), host
    assert Hosts("gpu.example").refusal("gpu.example:7860", "", "http://gpu.example:7860") == ""


@pytest.mark.parametrize(
    ("host", "forwarded", "origin"),
    [
        ("127.0.0.1:7860", "", "http://127.0.0.1:7860"),
        ("localhost:9000", "", "http://localhost:9000"),  # a tunnel's port
        ("192.168.1.5", "", "http://192.168.1.5"),
        ("192.168.1.5", "", "https://192.168.1.5"),  # a proxy took the encryption off
        ("studio.example", "", "https://studio.example"),
        ("127.0.0.1:7860", "studio.example", "https://studio.example"),
        ("127.0.0.1:7860", "192.168.1.5:8443, 10.0.0.1", "https://192.168.1.5:8443"),
        ("127.0.0.1:7860", "", "https://studio.example:8443"),  # a proxy that tells of no name
    ],
)
def test_the_own_pages_may_ask(host: str, forwarded: str, origin: str) -> None:
    assert ANYWHERE.refusal(host, forwarded, origin) == ""


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1:3000",
        "http://localhost:7860",
        "http://127.0.0.1.evil.example:7860",
        "file://",
        "http://[",
        "//127.0.0.1:7860",
        "127.0.0.1:7860",
        "http://a@127.0.0.1:7860",
        "http://127.0.0.1:7860, http://evil.example",
    ],
)
def test_no_other_page_may_ask(origin: str) -> None:
    for hosts in (HERE, ANYWHERE):
        assert f"Pages of {origin!r} may not use this studio" in hosts.refusal("127.0.0.1:7860", "", origin)
    assert "may not use" in ANYWHERE.refusal("studio.example", "studio.example", origin)


def test_a_machine_is_known_by_its_own_name_with_and_without_its_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "GPU.lab.example")
    for host in ("gpu:7860", "gpu.local", "gpu.lab.example"):
        assert ANYWHERE.refusal(host, "", f"http://{host}") == ""
    for host in ("lab.example", "gpu.evil.example", "gpu.lab.example.local"):
        assert "not reached as" in ANYWHERE.refusal(host, "", None)


def test_a_space_knows_its_own_names() -> None:
    hosts = Hosts.of("0.0.0.0", [], {"SPACE_HOST": "ada-studio.hf.space,studio.example"})
    for name in ("ada-studio.hf.space", "studio.example"):
        assert hosts.refusal(name, "", f"https://{name}") == ""
    assert hosts.refusal("bob-studio.hf.space", "", None)
    assert Hosts.of("0.0.0.0", [" A.example "], {}).knows("a.example")
