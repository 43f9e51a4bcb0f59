"""What files of weights cost, measured on this machine: `python -m krea_studio measure weights [--full]`.

Speed is compared on a few blocks of the published width, in one process and in interleaved pairs: packed layers of ours
against diffusers' own GGUF layers on the same file, and against the same weights unpacked. With `--full` files of the
published model's whole size are written with random numbers, and each is looked at, read, loaded and stepped once, every
time in a process of its own that starts with the file out of the page cache; stock diffusers gets the same files.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import GGUFQuantizationConfig, Krea2Transformer2DModel
from torch import nn

from krea_studio.engine.checkpoints.formats import loading
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, published_config, transformer_shapes
from krea_studio.engine.checkpoints.formats.model_file import TRANSFORMER, model_file, report
from krea_studio.engine.checkpoints.formats.packed import PackedLinear
from krea_studio.engine.checkpoints.memory import GIGABYTE
from krea_studio.errors import Unavailable
from krea_studio.measures import random_weights
from krea_studio.measures.options import parsed
from krea_studio.measures.timing import Row, Told, ratios, spread, write_report

COMMAND = "python -m krea_studio measure weights"
TOKENS = 1024
TEXT_TOKENS = 64
STEP_PIXELS = 256
TOKEN_PIXELS = 16  # of the published model
PUBLISHED_BLOCKS = published_config()["num_layers"]
# Anonymous memory that a stock loader may take here before it is ended, which spares the machine's other programs.
STOCK_LIMIT_BYTES = 20 * GIGABYTE
_LOOK_SECONDS = 0.02
_READ_BYTES = 2**24


def measure_speed(folder: Path, blocks: int, pairs: int, told: Told) -> None:
    """Compare packed layers with diffusers' own and with unpacked ones, on so many blocks."""
    config = _config_folder(folder, blocks)
    for form in random_weights.FORMATS:
        path = _write(folder, form, blocks)
        packed = _load(path, config)
        step = _step(packed, TOKENS)
        what = f"{form}, {blocks} blocks of the published width, {TOKENS:,} tokens"
        told(Row(f"Equals, packed {what} (how far to trust a ratio)", spread(ratios(step, step, pairs))))
        if form == random_weights.Q4_K:
            stock = _step(_stock(path, config), TOKENS)
            told(Row(f"Packed / diffusers' GGUF layers, {what}", spread(ratios(step, stock, pairs)), "≤ 0.70"))
        whole = _step(_unpacked(_load(path, config)), TOKENS)
        told(Row(f"Packed / the same weights in bfloat16, {what}", spread(ratios(step, whole, pairs)), "≤ 1.25"))


def measure_whole(folder: Path, told: Told) -> None:
    """Look at, read, load and step files of the published model's size, and let stock diffusers do so."""
    config = _config_folder(folder, PUBLISHED_BLOCKS)
    for form in random_weights.FORMATS:
        path = _write(folder, form, PUBLISHED_BLOCKS)
        size = path.stat().st_size / GIGABYTE
        told(Row(f"{form}: size of the file", f"{size:.1f} GB"))
        found = {task: _in_a_process(task, path, config) for task in ("look", "read", "load", "stock")}
        told(Row(f"{form}: what the file is, from its header", _of(found["look"], "seconds", "{:.2f} s"), "< 1 s"))
        told(Row(f"{form}: reading the file alone", _of(found["read"], "seconds", "{:.1f} s")))
        load, read = found["load"], found["read"]
        if "failure" not in load and "failure" not in read:
            loading_cost = f"{load['seconds']:.1f} s, {load['seconds'] / read['seconds']:.2f} × reading"
            told(Row(f"{form}: loading it", loading_cost, "≤ 1.30 × reading"))
            peak = load["peak"] / GIGABYTE
            told(Row(f"{form}: most memory while loading", f"{peak:.1f} GB, the file + {peak - size:.1f} GB", "+ 1 GB"))
            told(Row(f"{form}: one step at {STEP_PIXELS} × {STEP_PIXELS}", f"{load['step']:.1f} s", "runs"))
        else:
            told(Row(f"{form}: loading it", load.get("failure", "") or read["failure"], "runs"))
        stock = found["stock"]
        cost = stock.get("failure") or f"{stock['seconds']:.1f} s, {stock['peak'] / GIGABYTE:.1f} GB at most"
        told(Row(f"{form}: stock diffusers loads it", cost))
        path.unlink()


def look(path: Path, config: Path) -> dict[str, Any]:
    """What the file is, by its header."""
    started = time.perf_counter()
    found = report(path)
    return {"seconds": time.perf_counter() - started, **({"failure": found["refused"]} if found["refused"] else {})}


def read(path: Path, config: Path) -> dict[str, Any]:
    """Read the file from end to end."""
    buffer = memoryview(bytearray(_READ_BYTES))
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return {"seconds": time.perf_counter() - started}


def load(path: Path, config: Path) -> dict[str, Any]:
    """Load it as the studio does, and make one step."""
    started = time.perf_counter()
    with _memory_watched() as most:
        model = _load(path, config)
    seconds = time.perf_counter() - started
    step = _step(model, (STEP_PIXELS // TOKEN_PIXELS) ** 2)
    started = time.perf_counter()
    if not step().isfinite().all():
        return {"failure": "the step computes values that are no numbers"}
    return {"seconds": seconds, "peak": most[0], "step": time.perf_counter() - started}


def stock(path: Path, config: Path) -> dict[str, Any]:
    """Load it with diffusers' own loader."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (STOCK_LIMIT_BYTES, STOCK_LIMIT_BYTES))
    started = time.perf_counter()
    with _memory_watched() as most:
        model = _stock(path, config)
    differing = _wrong_weights(model, path, config)
    if differing:
        return {"failure": f"loads without a word, and {differing}"}
    return {"seconds": time.perf_counter() - started, "peak": most[0]}


TASKS = {"look": look, "read": read, "load": load, "stock": stock}


def run_task(task: str, path: str, config: str) -> None:
    """Do one of TASKS in this process and print what it found as JSON; a failure is found too."""
    torch.set_grad_enabled(False)
    try:
        with Path(path).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found = TASKS[task](Path(path), Path(config))
    except (Exception, MemoryError) as error:
        found = {"failure": f"fails ({' '.join(f'{type(error).__name__}: {error}'.split())[:160]})"}
    print(json.dumps(found), flush=True)


def _in_a_process(task: str, path: Path, config: Path) -> dict[str, Any]:
    command = f"from krea_studio.measures.weights import run_task; run_task({task!r}, {str(path)!r}, {str(config)!r})"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"failure": f"ends ({done.returncode}): {done.stderr[-160:]}"}


def _of(found: dict[str, Any], name: str, form: str) -> str:
    return found.get("failure") or form.format(found[name])


def _config_folder(folder: Path, blocks: int) -> Path:
    """A folder with the published transformer's config, of so many blocks."""
    place = folder / f"config-{blocks}"
    place.mkdir(parents=True, exist_ok=True)
    stated = json.loads((PUBLISHED / TRANSFORMER / "config.json").read_text("utf-8"))
    (place / "config.json").write_text(json.dumps(stated | {"num_layers": blocks}), "utf-8")
    return place


def _write(folder: Path, form: str, blocks: int) -> Path:
    ending = "gguf" if form == random_weights.Q4_K else "safetensors"
    path = folder / f"krea2-random-{form.replace(' ', '-')}-{blocks}.{ending}"
    random_weights.write(path, form, transformer_shapes(published_config() | {"num_layers": blocks}))
    return path


def _load(path: Path, config: Path) -> Krea2Transformer2DModel:
    return loading.load(model_file(path), TRANSFORMER, config, torch.bfloat16)


def _stock(path: Path, config: Path) -> Krea2Transformer2DModel:
    packed = path.suffix == ".gguf"
    options = {"quantization_config": GGUFQuantizationConfig(compute_dtype=torch.bfloat16)} if packed else {}
    return Krea2Transformer2DModel.from_single_file(
        str(path), config=str(config), torch_dtype=torch.bfloat16, local_files_only=True, **options
    )


def _wrong_weights(model: nn.Module, path: Path, config: Path) -> str:
    """How the first block's weights differ from what the file says, in words; empty where they do not."""
    name = "transformer_blocks.0.attn.to_q"
    found = model.get_submodule(name).weight
    if found.dtype == torch.uint8:  # still packed
        return ""
    file = model_file(path)
    right = loading.unpacked_weight(file, file.parts[TRANSFORMER].stored[f"{name}.weight"], 8)
    apart = (found[:8].float() - right).abs().max().item()
    return f"its weights are wrong by up to {apart:.3g}" if apart > right.abs().max().item() / 10 else ""


def _unpacked(model: Krea2Transformer2DModel) -> Krea2Transformer2DModel:
    for name, module in list(model.named_modules()):
        if isinstance(module, PackedLinear):
            linear = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None, device="meta")
            linear.weight = nn.Parameter(module.unpacked().to(torch.bfloat16), requires_grad=False)
            linear.bias = module.bias
            model.set_submodule(name, linear)
    return model


def _step(model: Krea2Transformer2DModel, tokens: int) -> Callable[[], torch.Tensor]:
    """A denoising step of a square picture of so many tokens."""
    config, draw = model.config, torch.Generator().manual_seed(0)
    side = round(tokens**0.5)
    latents = torch.randn(1, side * side, config.in_channels, generator=draw).bfloat16()
    texts = torch.randn(1, TEXT_TOKENS, config.num_text_layers, config.text_hidden_dim, generator=draw).bfloat16()
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], -1).view(-1, 3)
    positions = torch.cat([torch.zeros(TEXT_TOKENS, 3, dtype=places.dtype), places])

    def step() -> torch.Tensor:
        with torch.no_grad():
            return model(latents, texts, torch.tensor([0.5]).bfloat16(), positions, return_dict=False)[0]

    return step


@contextmanager
def _memory_watched() -> Iterator[list[int]]:
    """The most anonymous memory of this process meanwhile, in bytes, beyond what it had before (Linux)."""

    def taken() -> int:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))

    before, most, done = taken(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            most[0] = max(most[0], taken() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def main(argv: Sequence[str]) -> int:
    """`[--pairs N] [--blocks N] [--full] [--work FOLDER] [--report FILE]`: measure, print, and write the report."""
    arguments = parsed("weights", argv)
    if find_spec("gguf") is None:
        raise Unavailable(
            "diffusers reads GGUF files, which this compares with, by the package gguf — pip install gguf"
        )
    about = (
        f"Weights are random, in the published model's shapes. Ratios are medians over {arguments.pairs} interleaved pairs "
        "in one process, with the least and the greatest in brackets; memory is what a process has taken for itself beyond "
        "the libraries."
    )

    def measure(told: Told) -> None:
        with tempfile.TemporaryDirectory(dir=arguments.work) as folder, torch.no_grad():
            measure_speed(Path(folder), arguments.blocks, arguments.pairs, told)
            if arguments.full:
                measure_whole(Path(folder), told)

    command = COMMAND + " --full" * arguments.full
    write_report(arguments.report, "What files of weights cost", command, about, measure)
    return 0
