"""Loading a model takes the model, and never twice of it: measured as the memory of a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Transformer2DModel
from safetensors.torch import save_file

from krea_studio.engine.checkpoints.table import ASSETS

ROOT = Path(__file__).parents[3]
SLACK_BYTES = 100_000_000
LOAD = """
import sys, torch
from pathlib import Path
from krea_studio.engine.checkpoints import parts
from krea_studio.engine.checkpoints.formats import loading
from krea_studio.engine.checkpoints.formats.model_file import model_file

def memory(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind + ":"))

place, config, precision = Path(sys.argv[1]), Path(sys.argv[2]), getattr(torch, sys.argv[3])
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark counts from here
if place.is_file():
    model = loading.load(model_file(place), "transformer", config, precision)
else:
    source = parts.PartSource(("transformer",), place, 0)
    model = parts.load_part(parts.Located(None, {}, {"transformer": source}), "transformer", precision)
for parameter in model.parameters():
    parameter.sum()  # a file that is only mapped is read when it is needed
print(memory("VmHWM") - before, sum(each.nbytes for each in model.parameters()))
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One transformer of 160 MB in 16 bits, as a folder and as a single file."""
    place = tmp_path_factory.mktemp("stored")
    config = json.loads((ASSETS / "mini-turbo" / "transformer" / "config.json").read_text())
    model = Krea2Transformer2DModel.from_config(
        config | {"num_layers": 8, "num_attention_heads": 12, "num_key_value_heads": 4, "intermediate_size": 3072}
    ).to(torch.bfloat16)
    model.save_pretrained(place / "folder")
    save_file(model.state_dict(), place / "one.safetensors")
    return place


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the high-water mark is Linux's")
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", ["folder", "one.safetensors"])
def test_the_peak_of_loading(stored: Path, name: str, precision: str) -> None:
    command = [sys.executable, "-c", LOAD, str(stored / name), str(stored / "folder"), precision]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    peak, model = map(int, done.stdout.split())
    file = (stored / "one.safetensors").stat().st_size
    assert model > 150_000_000
    # A folder's file is mapped, and those pages count although the system takes them back when it needs them.
    mapped = file if name == "folder" and precision == "float32" else 0
    assert peak <= model + mapped + SLACK_BYTES
