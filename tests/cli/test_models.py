"""`inspect-model` and `models`: what a file is, for people and for programs."""

import json
from pathlib import Path

import pytest

from krea_studio.cli.main import main
from tests import models_page
from tests.model_files import fp8_scaled, native, of_published, quantised, transformer_state, write


def test_a_file_is_told_as_lines_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREA_STUDIO_BASE", "mini-medium")
    path = write(tmp_path / "krea2_turbo.safetensors", *quantised(native(transformer_state()), fp8_scaled), "net.")
    assert main(["inspect-model", str(path)]) == 0
    told = capsys.readouterr().out
    for words in (
        "transformer of mini-medium: 56 × float8_e4m3fn scaled, 51 × float16",
        "net.",
        "Turbo",
        "can be used",
    ):
        assert words in told
    assert main(["inspect-model", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["variant_guess"] == "turbo" and found["refused"] == found["lacks"] == ""


def test_a_refused_file_is_told_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(b"\x90")
    assert main(["inspect-model", str(path)]) == 1
    assert "half there" in capsys.readouterr().out
    assert main(["inspect-model", str(tmp_path / "none.gguf")]) == 1


def test_a_file_that_lacks_its_other_parts_is_told_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = of_published(tmp_path / "krea2_raw_fp8_scaled.safetensors")
    assert main(["inspect-model", str(path)]) == 0
    told = capsys.readouterr().out
    assert "does not run yet" in told and "qwen3vl_4b_bf16.safetensors" in told and "13.1" in told
    path.unlink()


def test_a_folder_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["models"]) == 2
    assert "KREA_STUDIO_MODELS" in capsys.readouterr().err
    write(tmp_path / "unet" / "a.safetensors", native(transformer_state()))
    (tmp_path / "unet" / "b.gguf").touch()
    monkeypatch.setenv("KREA_STUDIO_MODELS", str(tmp_path))
    assert main(["models"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("transformer: 107 × float16") and second.startswith("refused: ")
    assert main(["models", str(tmp_path / "unet"), "--json"]) == 0
    assert [json.loads(line)["lora"] for line in capsys.readouterr().out.splitlines()] == [False, False]
    assert main(["models", str(tmp_path / "none")]) == 3


def test_the_committed_page_is_what_a_folder_of_every_kind_gives() -> None:
    assert models_page.PAGE.read_text("utf-8") == models_page.page(), f"run `{models_page.COMMAND}`"
