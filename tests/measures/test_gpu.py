"""The measurement for a GPU, rehearsed on a CPU with a small model: it runs to its end, and tells what it should."""

import re
import time

import pytest
import torch
from diffusers import AutoencoderKLQwenImage

from krea_studio.cli import main as cli
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, published_config
from krea_studio.engine.checkpoints.formats.packed import PackedLinear
from krea_studio.measures.gpu import Card
from krea_studio.measures.timing import Row
from tests.measures.test_weights import SMALL


def test_a_rehearsal_tells_every_row_and_packing_keeps_what_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    # What other processes do meanwhile stretches no time of this one's processor.
    monkeypatch.setattr("krea_studio.measures.gpu.time.perf_counter", time.process_time)
    rows: list[Row] = []
    vae = AutoencoderKLQwenImage.load_config(PUBLISHED / "vae", local_files_only=True) | {"base_dim": 8}
    with torch.no_grad():
        card = Card("cpu", published_config() | SMALL, vae, side=128, pairs=1)
        whole = card._steps()
        card.measure(rows.append)
        packed = card._steps()
    found = {row.what: row.result for row in rows}
    for what in ("Stock pipeline", "Savings", "Savings and compiled steps", "Packed float8 and compiled steps"):
        assert re.match(r"[\d.e-]+ s \(", found[f"{what}, steps"]), what
    assert float(found["Stock / savings and compiled steps"].removesuffix(" ×")) > 1
    layers = card.pipeline.transformer.modules()
    assert sum(isinstance(layer, PackedLinear) for layer in layers) == 8 * (SMALL["num_layers"] + 4)
    assert 0 < (whole - packed).float().std() < 0.1 * whole.float().std()


def test_a_machine_without_one_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["measure", "gpu"]) == 3
    assert "has no GPU of CUDA — give --device cpu" in capsys.readouterr().err
