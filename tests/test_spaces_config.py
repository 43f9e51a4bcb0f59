"""What a Space reads agrees with what the repository needs and tests."""

import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def requirements(name: str) -> dict[str, Requirement]:
    lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {Requirement(line).name.replace("_", "-").lower(): Requirement(line) for line in lines}


NEEDED, TESTED = requirements("requirements.txt"), requirements("constraints.txt")


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


@pytest.fixture(params=sorted((ROOT / "spaces_config").glob("*/README.md")), ids=lambda path: path.parent.name)
def front_matter(request: pytest.FixtureRequest) -> dict[str, object]:
    _, text, _ = request.param.read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(text)


def test_a_space_runs_the_tested_gradio(front_matter: dict[str, object]) -> None:
    assert front_matter["sdk"] == "gradio"
    assert Version(front_matter["sdk_version"]) == pinned("gradio")
    assert Version(front_matter["sdk_version"]) in NEEDED["gradio"].specifier


def test_a_space_starts_the_app(front_matter: dict[str, object]) -> None:
    assert (ROOT / front_matter["app_file"]).is_file()
    assert Version(front_matter["python_version"]) >= Version("3.11")


def test_front_matter_is_what_the_hub_takes(front_matter: dict[str, object]) -> None:
    assert front_matter["colorFrom"] in COLOURS and front_matter["colorTo"] in COLOURS
    assert len(front_matter["short_description"]) <= 60
    assert front_matter["license"] == "apache-2.0"


def test_the_notice_has_the_licence_line() -> None:
    notice = " ".join((ROOT / "NOTICE").read_text("utf-8").split())
    assert (
        "Krea 2 is licensed under the Krea 2 Community License Agreement. "
        "For more information, visit https://krea.ai/krea-2-licensing."
    ) in notice
    assert "unofficial" in notice
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
