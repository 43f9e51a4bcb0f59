"""`inspect-style`: a report for people or as JSON, and an exit code that a script can go by."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from krea_studio.cli import main as cli
from krea_studio.engine.controls.slider_files import SHIPPED

LORA = SHIPPED / "mini-medium" / "intensity.safetensors"


def run(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, str]:
    code = cli.main(shlex.split(command))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_lora_that_fits_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, errors = run(capsys, f"inspect-style {LORA}")
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("intensity.safetensors: accepted, made for Mini Medium, Mini Turbo, 148,")
    assert "format: LoRA; diffusers (transformer.…), diffusers names" in lines
    assert "keys: 40: 40 matched, 0 left out, 0 unmatched" in lines
    code, out, errors = run(capsys, f"inspect-style {LORA} --json")
    report = json.loads(out)
    assert (code, errors, report["accepted"], report["rank"]) == (0, "", True, [8, 8])
    assert report["keys"] == {"all": 40, "matched": 40, "dropped": {}, "unmatched": []}


def test_few_steps_are_told_as_a_guess(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "krea2_turbo_4step_rank_64_lora.safetensors"
    shutil.copy(LORA, path)
    lines = run(capsys, f"inspect-style {path}")[1].splitlines()
    words = "made for 4 steps without guidance, 13 sizes up to 1824 × 1024 (guessed from its name)"
    assert f"few steps: {words}" in lines
    speed = json.loads(run(capsys, f"inspect-style {path} --json")[1])["speed"]
    assert (speed["steps"], speed["sigmas"], speed["told"]) == (4, None, "guessed from its name")
    assert json.loads(run(capsys, f"inspect-style {LORA} --json")[1])["speed"] is None


def test_a_file_that_is_refused_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    save_file({**load_file(LORA), "transformer.other.lora_A.weight": torch.ones(2, 2)}, path)
    code, out, _ = run(capsys, f"inspect-style {path}")
    assert code == 1
    assert out.splitlines()[0] == f"style.safetensors: refused, {path.stat().st_size:,} bytes"
    assert "problem: 1 of its keys match no layer of Krea 2, the first is 'transformer.other.lora_A.weight'" in out
    code, out, _ = run(capsys, f"inspect-style {path} --json")
    assert code == 1 and json.loads(out)["keys"]["unmatched"] == ["transformer.other.lora_A.weight"]


def test_no_file_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, errors = run(capsys, "inspect-style none.safetensors")
    assert (code, out) == (2, "")
    assert errors == "error: 'none.safetensors' does not exist — give a LoRA, a .safetensors file\n"


def test_checkpoints_of_the_settings_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "wide"
    shutil.copytree(SHIPPED.parent / "checkpoints" / "mini-turbo", own)
    config = own / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "intermediate_size": 640}))
    path = tmp_path / "style.safetensors"
    key = "transformer.transformer_blocks.0.ff.up.lora_"
    save_file({f"{key}A.weight": torch.ones(2, 256), f"{key}B.weight": torch.ones(640, 2)}, path)
    assert run(capsys, f"inspect-style {path}")[0] == 1
    monkeypatch.setenv("KREA_STUDIO_CHECKPOINT_TURBO", str(own))
    code, out, _ = run(capsys, f"inspect-style {path}")
    assert code == 0 and "made for wide" in out
