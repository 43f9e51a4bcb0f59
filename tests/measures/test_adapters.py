"""The measurement of foreign adapters: the truth is what the package's own layers do."""

import sys
from pathlib import Path

import pytest
import torch

from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.engine.lora.layers import architectures
from krea_studio.errors import Unavailable
from krea_studio.measures import adapters as measure

KNOWN = architectures([CHECKPOINTS[measure.CHECKPOINT]])


def test_an_accepted_adapter_is_compared_with_what_its_package_does() -> None:
    row = measure.row("peft", "LoHa", lambda folder: measure.by_peft(folder, "LOHA", {}), KNOWN)
    assert row.startswith("| peft | LoHa | accepted | LoHa | 64 | 0.0")


def test_a_refused_one_says_why_and_one_that_cannot_be_made_too() -> None:
    row = measure.row("peft", "VeRA", lambda folder: measure.by_peft(folder, "VERA", {}), KNOWN)
    assert row.startswith("| peft | VeRA | refused | it uses VeRA")
    row = measure.row("peft", "C3A", lambda folder: measure.by_peft(folder, "C3A", {"block_size": 7}), KNOWN)
    assert row.startswith("| peft | C3A | not made | The block size should be a factor")


def test_a_change_that_was_read_wrongly_would_show(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = measure.by_peft(tmp_path, "LORA", {"lora_alpha": 32})
    assert measure.judged(made, KNOWN)[1] == pytest.approx(0, abs=1e-3)
    (tmp_path / "adapter_config.json").unlink()
    assert measure.judged(made, KNOWN)[1] == pytest.approx(0.75, abs=1e-3)


def test_fused_layers_are_compared_part_by_part(tmp_path: Path) -> None:
    made = measure.by_peft(tmp_path, "LORA", {}, fused=True)
    assert set(made.truth()) == set(measure.FUSED_PARTS)
    assert measure.judged(made, KNOWN)[1] == pytest.approx(0, abs=1e-3)


def test_without_lycoris_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "lycoris", None)
    with pytest.raises(Unavailable, match="LyCORIS is not here .* pip install"):
        measure.main(["--report", str(tmp_path / "adapters.md")])
    assert not (tmp_path / "adapters.md").exists()
