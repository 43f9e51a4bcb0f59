"""What a Space reads agrees with what the repository needs and tests."""

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import SpaceHardware
from packaging.requirements import Requirement
from packaging.version import Version

from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.recipe.variants import VARIANTS
from krea_studio.settings import PREFIX, load_settings
from krea_studio.space import CONFIGURATIONS, TARGETS, requirements
from krea_studio.startup import settings_in

ROOT = Path(__file__).parents[1]
HUB_KEYS = {
    *(
        "title",
        "emoji",
        "colorFrom",
        "colorTo",
        "sdk",
        "sdk_version",
        "python_version",
        "app_file",
        "license",
        "pinned",
    ),
    *("suggested_hardware", "startup_duration_timeout", "short_description", "models", "tags", "hf_oauth"),
}
"""Of the keys that the Hub's documentation has for a Space, those in use here."""
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def pins(name: str) -> dict[str, Requirement]:
    lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {Requirement(line).name.replace("_", "-").lower(): Requirement(line) for line in lines}


NEEDED, TESTED = pins("requirements.txt"), pins("constraints.txt")


def pinned(name: str) -> Version:
    (specifier,) = TESTED[name].specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


@pytest.mark.parametrize("name", NEEDED)
def test_tested_versions_are_within_the_ranges(name: str) -> None:
    assert pinned(name) in NEEDED[name].specifier
    assert pinned(name).local is None, "a build for one kind of machine cannot be installed on another"


def test_every_tested_version_is_pinned() -> None:
    for name in TESTED:
        pinned(name)


def test_no_index_is_named() -> None:
    for name in ("requirements.txt", "constraints.txt"):
        assert not re.search(r"^\s*-|https?://", (ROOT / name).read_text("utf-8"), re.MULTILINE)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=sorted(set(TARGETS) - {"team"}))
def front_matter(request: pytest.FixtureRequest) -> dict[str, object]:
    text = (CONFIGURATIONS / request.param / "README.md").read_text("utf-8")
    return yaml.safe_load(text.split("---\n", 2)[1])


def test_every_target_has_a_folder_and_every_folder_is_a_target() -> None:
    assert {path.name for path in CONFIGURATIONS.iterdir() if path.is_dir()} == set(TARGETS)


def test_a_space_runs_the_tested_gradio(front_matter: dict[str, object]) -> None:
    assert front_matter["sdk"] == "gradio"
    assert Version(front_matter["sdk_version"]) == pinned("gradio")
    assert Version(front_matter["sdk_version"]) in NEEDED["gradio"].specifier


def test_a_space_starts_the_app(front_matter: dict[str, object]) -> None:
    assert (ROOT / front_matter["app_file"]).is_file()
    assert Version(front_matter["python_version"]) >= Version("3.11")


def test_front_matter_is_what_the_hub_takes(front_matter: dict[str, object]) -> None:
    assert set(front_matter) <= HUB_KEYS
    assert front_matter["colorFrom"] in COLOURS and front_matter["colorTo"] in COLOURS
    assert len(front_matter["short_description"]) <= 60
    assert front_matter["license"] == "apache-2.0"
    assert front_matter["suggested_hardware"] in {hardware.value for hardware in SpaceHardware}
    assert set(front_matter.get("models", ())) <= {row.source for row in CHECKPOINTS.values()}


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"team"}))
def test_a_space_asks_for_oauth_where_people_sign_in_by_it(name: str) -> None:
    text = (CONFIGURATIONS / name / "README.md").read_text("utf-8")
    by_hub = settings_in(CONFIGURATIONS / name / "settings.env").get("KREA_STUDIO_SIGN_IN") == "huggingface"
    assert yaml.safe_load(text.split("---\n", 2)[1]).get("hf_oauth", False) is by_hub
    assert "oauth" in NEEDED["gradio"].extras and {"authlib", "itsdangerous"} <= set(TESTED)


def test_a_target_installs_all_that_the_studio_needs_and_tested_versions_where_it_names_one(target: str) -> None:
    asked = [Requirement(line) for line in requirements(target)]
    names = [each.name.replace("_", "-").lower() for each in asked]
    assert set(NEEDED) <= set(names) and len(set(names)) == len(names)
    for name, each in zip(names, asked, strict=True):
        assert not each.url
        for specifier in each.specifier:
            # spaces is installed on its own hardware alone.
            assert specifier.operator != "==" or name not in TESTED or Version(specifier.version) == pinned(name)


def test_a_target_s_settings_are_settings(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(CONFIGURATIONS / target / "settings.env")
    assert settings
    for name, value in settings.items():
        assert name.startswith(PREFIX) or name == "HF_HOME"
        monkeypatch.setenv(name, value)
    loaded = load_settings()
    assert {loaded.checkpoint_for(variant) for variant in VARIANTS} <= set(CHECKPOINTS)
    assert not loaded.accept_licence, "nobody accepts a licence by pushing a folder"
    assert loaded.filter == "on"


def test_a_zero_gpu_space_installs_what_lends_and_compiles_nothing() -> None:
    settings = settings_in(CONFIGURATIONS / "zerogpu" / "settings.env")
    assert (settings["KREA_STUDIO_ENGINE"], settings["KREA_STUDIO_COMPILE"]) == ("zerogpu", "off")
    assert any(line.startswith("spaces==") for line in requirements("zerogpu"))
    assert not any(line.startswith("spaces") for name in set(TARGETS) - {"zerogpu"} for line in requirements(name))


def test_the_team_s_container_is_built_by_the_makefile_s_steps() -> None:
    text = (CONFIGURATIONS / "team" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    base, *_ = (value for name, value in steps if name == "FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-\w+", base), "a pinned image"
    assert [value for name, value in steps if name == "RUN"][-1].endswith("make install")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^install: \$\(INSTALLED\)$", makefile, re.MULTILINE)
    (command,) = (json.loads(value) for name, value in steps if name == "CMD")
    run = re.search(r"^run: install\n\t(.*)$", makefile, re.MULTILINE)
    assert run and run[1].replace("$(BIN)", ".venv/bin").split() == command
    copied = {name for step, value in steps if step == "COPY" for name in value.split()[:-1]}
    assert copied == {"Makefile", "requirements.txt", "constraints.txt", "."}
    (user,) = (value for name, value in steps if name == "USER")
    assert all(int(part) > 0 for part in user.split(":")), "not root"
    (health,) = (value for name, value in steps if name == "HEALTHCHECK")
    compile(json.loads(health.split("CMD", 1)[1])[2], "health check", "exec")
    assert "/healthz" in health


def test_the_team_s_studio_is_behind_its_proxy_with_a_gpu_and_accounts() -> None:
    folder = CONFIGURATIONS / "team"
    compose = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))
    studio, proxy = compose["services"]["studio"], compose["services"]["proxy"]
    settings = settings_in(folder / studio["env_file"])
    assert settings["KREA_STUDIO_SIGN_IN"] == "accounts"
    assert "ports" not in studio, "it believes what the proxy says of who asks, so nobody else may reach it"
    assert proxy["command"].endswith("--to studio:7860") and ":" in proxy["image"]
    (device,) = studio["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    volumes = dict(volume.split(":") for volume in studio["volumes"])
    assert set(volumes) <= set(compose["volumes"])
    (declared,) = re.findall(r"^VOLUME (.*)$", (folder / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert json.loads(declared) == list(volumes.values())
    folders = [value for value in settings.values() if value.startswith("/")]
    assert folders and all(any(value.startswith(kept) for kept in volumes.values()) for value in folders)
    assert set(studio["environment"]) - {"HF_TOKEN", "FORWARDED_ALLOW_IPS"} == {"KREA_STUDIO_HOSTS"}
    assert ".env" in (folder / ".dockerignore").read_text("utf-8").splitlines(), "no token in an image"


def test_the_notice_has_the_licence_line() -> None:
    notice = " ".join((ROOT / "NOTICE").read_text("utf-8").split())
    assert (
        "Krea 2 is licensed under the Krea 2 Community License Agreement. "
        "For more information, visit https://krea.ai/krea-2-licensing."
    ) in notice
    assert "unofficial" in notice
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
