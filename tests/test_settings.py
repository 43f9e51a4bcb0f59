"""Options come from the environment, and a wrong one is told in one line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.settings import Settings, environment_variable, load_settings


def test_defaults_run_the_embedded_checkpoints() -> None:
    fields = Settings.model_fields
    assert [fields[f"checkpoint_{name}"].default for name in ("medium", "large", "turbo")] == [
        "mini-medium",
        "mini-large",
        "mini-turbo",
    ]
    assert fields["library"].default == Path("outputs")
    assert (fields["host"].default, fields["port"].default) == ("127.0.0.1", 7860)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_option_is_described(field: str) -> None:
    assert Settings.model_fields[field].description
    assert environment_variable(field) == f"KREA_STUDIO_{field.upper()}"


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LIBRARY": "~/pictures",
        "CHECKPOINT_TURBO": " krea-2-turbo ",
        "DEVICE": "cuda:1",
        "MEMORY_BUDGET_GB": "",
        "PREVIEWS": "off",
        "PORT": "8000",
    }.items():
        monkeypatch.setenv(f"KREA_STUDIO_{name}", value)
    settings = load_settings()
    assert settings.library == Path.home() / "pictures"
    assert settings.checkpoint_for("turbo") == "krea-2-turbo"
    assert (settings.device, settings.memory_budget_gb, settings.previews, settings.port) == (
        "cuda:1",
        None,
        False,
        8000,
    )
    assert load_settings({"port": 9000}).port == 9000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "http", "KREA_STUDIO_PORT is 'http' — give a whole number from 1 to 65535"),
        ("DEVICE", "gpu", "KREA_STUDIO_DEVICE is 'gpu' — give auto, cpu, cuda, cuda:N or mps"),
        ("PRECISION", "int8", "KREA_STUDIO_PRECISION is 'int8' — choose one of auto, float32, bfloat16, float16"),
        ("MEMORY_BUDGET_GB", "-1", "KREA_STUDIO_MEMORY_BUDGET_GB is '-1' — give a number above 0, or leave it empty"),
        ("DEADLINE_SECONDS", "nan", "KREA_STUDIO_DEADLINE_SECONDS is 'nan' — give a number above 0"),
        ("UNWATCHED_SECONDS", "0", "KREA_STUDIO_UNWATCHED_SECONDS is '0' — give a number above 0"),
        (
            "HOSTS",
            "https://studio.example",
            "KREA_STUDIO_HOSTS is 'https://studio.example' — give the names under which a proxy shows the page, such "
            "as studio.example.com, with commas between them; one with other letters as browsers send it, xn--…",
        ),
        ("PREVIEWS", "maybe", "KREA_STUDIO_PREVIEWS is 'maybe' — give true or false"),
        (
            "EXPANDER",
            "gpt",
            "KREA_STUDIO_EXPANDER is 'gpt' — choose one of auto, phrasebook, text encoder, endpoint",
        ),
        (
            "EXPANDER_URL",
            "ftp://host/v1",
            "KREA_STUDIO_EXPANDER_URL is 'ftp://host/v1' — give the address of an OpenAI-compatible server, such as "
            "http://127.0.0.1:8000/v1, or leave it empty",
        ),
        ("EXPANDER_TIMEOUT_SECONDS", "0", "KREA_STUDIO_EXPANDER_TIMEOUT_SECONDS is '0' — give a number above 0"),
    ],
)
def test_a_wrong_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(f"KREA_STUDIO_{name}", value)
    with pytest.raises(InvalidRequest) as caught:
        load_settings()
    assert caught.value.message == message


@pytest.mark.parametrize("name", ["bücher.example", "a.example;b.example", ".a.example", "a.example.", "*.a.example"])
def test_a_name_that_no_browser_sends_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KREA_STUDIO_HOSTS", name)
    with pytest.raises(InvalidRequest, match=f"^KREA_STUDIO_HOSTS is {name!r} — give the names".replace("*", r"\*")):
        load_settings()


def test_a_misspelt_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KREA_STUDIO_CHEKPOINT_TURBO", "krea-2-turbo")
    with pytest.raises(InvalidRequest, match="^KREA_STUDIO_CHEKPOINT_TURBO is not an option of the studio — use "):
        load_settings()


def test_the_expander_s_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KREA_STUDIO_EXPANDER_KEY", "sk-secret")
    settings = load_settings()
    assert settings.expander_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings) + str(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_no_hidden_file_is_read() -> None:
    Path(".env").write_text("KREA_STUDIO_PORT=1\n")
    assert load_settings().port == 7860


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1
