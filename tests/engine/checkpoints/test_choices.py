"""What runs a variant can be chosen: among what there is, kept beside the library, and undone by another setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from krea_studio.engine.checkpoints.choices import FILE, Choices
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import Unavailable
from krea_studio.settings import Settings
from tests.model_files import native, transformer_state, write


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one Krea 2 of the embedded shapes, and what is none."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "diffusion_models" / "mini_turbo.safetensors", native(transformer_state()))
    (folder / "vae").mkdir()
    (folder / "vae" / "broken.safetensors").write_bytes(b"no weights")
    return folder


def settings(models: Path, **fields: str) -> Settings:
    return Settings(models=models, base="mini-medium", **fields)


def test_offers_are_what_runs_and_what_the_folder_has(models: Path) -> None:
    file = str(models / "diffusion_models" / "mini_turbo.safetensors")
    offers = Choices(settings(models)).offers("turbo")
    assert [offer.repo_or_folder for offer in offers] == ["mini-turbo", "krea-2-turbo", file]
    assert [offer.label for offer in offers] == ["Mini Turbo", "Krea 2 Turbo", "mini_turbo.safetensors"]
    assert "run as Turbo" in offers[2].note
    assert offers[0].vocabulary, "what is embedded has its words"


def test_a_choice_runs_the_variant_and_is_kept(models: Path, tmp_path: Path) -> None:
    file = str(models / "diffusion_models" / "mini_turbo.safetensors")
    choices = Choices(settings(models), tmp_path)
    choices.choose("turbo", f" {file} ")
    for each in (choices, Choices(settings(models), tmp_path)):
        assert each.source("turbo") == file and each.of("turbo").source == file
        assert each.source("medium") == "mini-medium"
        assert each.offers("turbo")[0].repo_or_folder == file
        assert sum(offer.repo_or_folder == file for offer in each.offers("turbo")) == 1
    assert LocalEngine(settings(models), choices).checkpoint_of("turbo").label == "mini_turbo.safetensors"
    choices.choose("turbo", " ")
    assert choices.source("turbo") == "mini-turbo" and json.loads((tmp_path / FILE).read_text()) == {}


def test_another_setting_counts_again(models: Path, tmp_path: Path) -> None:
    Choices(settings(models), tmp_path).choose("turbo", "mini-medium")
    assert Choices(settings(models), tmp_path).source("turbo") == "mini-medium"
    other = Choices(settings(models, checkpoint_turbo="mini-large"), tmp_path)
    assert other.source("turbo") == "mini-large"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nothing at all", "There is no checkpoint"),
        ("/nowhere/a.safetensors", "/nowhere/a.safetensors"),
    ],
)
def test_what_is_not_there_changes_nothing(models: Path, tmp_path: Path, source: str, told: str) -> None:
    choices = Choices(settings(models), tmp_path)
    with pytest.raises(Unavailable, match=told):
        choices.choose("turbo", source)
    assert choices.source("turbo") == "mini-turbo" and not (tmp_path / FILE).exists()


@pytest.mark.parametrize("content", [b"", b"{", b'{"turbo": 3}', b"\xff", b'{"nobody": ["a", "b"]}'])
def test_a_damaged_file_holds_no_start_up(models: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    choices = Choices(settings(models), tmp_path)
    assert choices.source("turbo") == "mini-turbo"
    choices.choose("turbo", "mini-medium")
    assert Choices(settings(models), tmp_path).source("turbo") == "mini-medium"


def test_a_folder_that_is_gone_leaves_the_others(models: Path, tmp_path: Path) -> None:
    offers = Choices(settings(tmp_path / "gone")).offers("medium")
    assert [offer.repo_or_folder for offer in offers] == ["mini-medium", "krea-2-raw"]


def test_a_plan_tells_whether_it_fits(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = LocalEngine(settings(models)).memory_plan("turbo")
    assert roomy.placement == "resident" and 10_000_000 < roomy.bytes < roomy.budget_bytes
    tight = LocalEngine(Settings(memory_budget_gb=0.001)).memory_plan("turbo")
    assert (tight.placement, tight.bytes) == ("refuse", roomy.bytes)
    unknown = LocalEngine(Settings(checkpoint_turbo="/nowhere/a.safetensors")).memory_plan("turbo")
    assert unknown.bytes is None and "/nowhere/a.safetensors" in unknown.reason
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    later = LocalEngine(Settings(checkpoint_turbo="someone/some-model")).memory_plan("turbo")
    assert later.bytes is None and "downloaded" in later.reason
