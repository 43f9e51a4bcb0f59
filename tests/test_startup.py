"""Imports without the garbage collector: what it is afterwards, whoever switched it off before."""

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from krea_studio.errors import InvalidRequest
from krea_studio.settings import load_settings
from krea_studio.startup import settings_in, take_settings, uncollected, without_proxies


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_the_collector_rests_and_goes_on_also_after_an_error() -> None:
    with pytest.raises(ImportError), uncollected():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and not gc.get_freeze_count()


def test_who_switched_the_collector_off_keeps_it_off() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_what_was_made_meanwhile_is_collected_later() -> None:
    class Knot:
        pass

    with uncollected():
        knot = Knot()
        knot.self = knot  # type: ignore[attr-defined]
        seen = weakref.ref(knot)
        del knot
    assert seen() is not None
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxies_are_back_after_an_import_also_after_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "socks://127.0.0.1:9")
    with pytest.raises(ImportError), without_proxies():
        assert name not in os.environ
        raise ImportError
    assert os.environ[name] == "socks://127.0.0.1:9"


def test_a_space_s_variables_count_before_the_file_that_came_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.env"
    take_settings(file)  # a checkout has none
    file.write_text("# why\n\nKREA_STUDIO_PORT = 8000\nKREA_STUDIO_HOSTS=a.example,b.example=c\n")
    monkeypatch.setenv("KREA_STUDIO_PORT", "9000")
    monkeypatch.setenv("KREA_STUDIO_HOSTS", "")
    monkeypatch.delenv("KREA_STUDIO_HOSTS")
    take_settings(file)
    assert (os.environ["KREA_STUDIO_PORT"], os.environ["KREA_STUDIO_HOSTS"]) == ("9000", "a.example,b.example=c")
    assert settings_in(file)["KREA_STUDIO_PORT"] == "8000"


@pytest.mark.parametrize(
    ("name", "value", "kept"), [("krea_studio_device", "mps", "mps"), ("KREA_STUDIO_DEVICE", "", "cpu")]
)
def test_a_variable_is_the_one_that_the_settings_read(
    name: str, value: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {key: kept for key, kept in os.environ.items() if not key.upper().startswith("KREA_STUDIO_")}
    monkeypatch.setattr(os, "environ", environment | {name: value})
    file = tmp_path / "settings.env"
    file.write_text("KREA_STUDIO_DEVICE=cpu\n")
    take_settings(file)
    assert load_settings().device == kept


def test_a_file_of_settings_may_be_saved_on_windows(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_bytes(b"\xef\xbb\xbf# why = because\r\n  # more\r\nKREA_STUDIO_PORT=8000\r\n")
    assert settings_in(file) == {"KREA_STUDIO_PORT": "8000"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"KREA_STUDIO_PORT: 8000", r"settings\.env has the line 'KREA_STUDIO_PORT: 8000' — write NAME=VALUE"),
        (b"=8000", r"has the line '=8000' — write"),
        ("KREA_STUDIO_PORT=8000".encode("utf-16"), r"settings\.env is no text in UTF-8 — save it as that"),
    ],
)
def test_a_line_that_sets_nothing_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "settings.env").write_bytes(content)
    with pytest.raises(InvalidRequest, match=told):
        take_settings(tmp_path / "settings.env")
