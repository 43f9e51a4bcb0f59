"""What the doctor makes of every adapter that peft and LyCORIS write: `python -m krea_studio measure adapters`.

The real packages put an adapter on three layers of an embedded checkpoint's transformer, get random values in place of
a training, and save it. What the layers then do to the unit vectors, less the checkpoint's own weights, is
the truth; the doctor gets nothing but the file. LyCORIS is no part of the studio: `pip install --no-deps --target FOLDER
lycoris-lora==4.1.3 einops toml`, and that folder in PYTHONPATH.
"""

import importlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from peft import LoraConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils.peft_types import PeftType
from safetensors.torch import load_file

from krea_studio.engine.checkpoints.table import CHECKPOINTS, supplier
from krea_studio.engine.lora.doctor import diagnose, write
from krea_studio.engine.lora.layers import Architecture, architectures
from krea_studio.engine.lora.report import Diagnosis
from krea_studio.errors import Unavailable
from krea_studio.measures.options import parsed

CHECKPOINT = "mini-medium"
LAYERS = ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_k", "transformer_blocks.2.ff.up")
FUSED = "transformer_blocks.3.attn.to_qkv"
FUSED_PARTS = tuple(FUSED.replace("to_qkv", part) for part in ("to_q", "to_k", "to_v"))
NOISE = 0.02

# What each tuner must be told beside the layers, to be put on these at all.
TUNER_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "ADALORA": {"total_step": 10},
    "C3A": {"block_size": 32},
    "IA3": {"feedforward_modules": []},
    "LN_TUNING": {"target_modules": ["norm1"]},
    "OFT": {"oft_block_size": 16, "r": 0},
    "VBLORA": {"vector_length": 64},
}
TUNER_VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "LOHA, alpha 32": ("LOHA", {"alpha": 32}),
    "LOKR, alpha 32": ("LOKR", {"alpha": 32}),
    "LOKR, factored on both sides": ("LOKR", {"r": 2, "alpha": 16, "decompose_both": True}),
    "LOKR, patterns of ranks and alphas": ("LOKR", {"rank_pattern": {"to_k": 2}, "alpha_pattern": {"to_q": 32}}),
}
LORA_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "LoRA, alpha 32": {"lora_alpha": 32},
    "LoRA, rsLoRA": {"use_rslora": True},
    "LoRA, DoRA": {"use_dora": True},
    "LoRA, DoRA and rsLoRA": {"use_dora": True, "use_rslora": True},
    "LoRA, patterns of ranks and alphas": {"rank_pattern": {"to_k": 4}, "alpha_pattern": {"to_q": 32}},
    "LoRA begun as MiCA": {"init_lora_weights": "mica"},
    "LoRA begun orthogonal": {"init_lora_weights": "orthogonal"},
    "LoRA begun as PiSSA": {"init_lora_weights": "pissa"},
    "LoRA begun as PiSSA, DoRA": {"init_lora_weights": "pissa", "use_dora": True},
    "LoRA begun as PiSSA, 16 steps": {"init_lora_weights": "pissa_niter_16"},
    "LoRA begun as OLoRA": {"init_lora_weights": "olora", "lora_alpha": 16},
}
ALGORITHMS: Mapping[str, Mapping[str, Any]] = {
    "locon": {"algo": "locon"},
    "locon, rs_lora": {"algo": "locon", "rs_lora": True},
    "locon, use_scalar": {"algo": "locon", "use_scalar": True},
    "locon, dora_wd": {"algo": "locon", "dora_wd": True},
    "locon, dora_wd over inputs": {"algo": "locon", "dora_wd": True, "wd_on_output": False},
    "loha": {"algo": "loha"},
    "loha, dora_wd": {"algo": "loha", "dora_wd": True},
    "lokr": {"algo": "lokr", "factor": 4},
    "lokr, full_matrix": {"algo": "lokr", "factor": 4, "full_matrix": True},
    "lokr, decompose_both": {"algo": "lokr", "factor": 8, "decompose_both": True, "linear_dim": 2},
    "lokr, dora_wd": {"algo": "lokr", "factor": 4, "dora_wd": True},
    "lokr, dora_wd over inputs": {"algo": "lokr", "factor": 4, "dora_wd": True, "wd_on_output": False},
    "dylora": {"algo": "dylora", "block_size": 2},
    "glora": {"algo": "glora"},
    "full": {"algo": "full"},
    "diag-oft": {"algo": "diag-oft"},
    "diag-oft, rescaled and constrained": {"algo": "diag-oft", "rescaled": True, "constraint": 1e-3},
    "boft": {"algo": "boft"},
    "boft, rescaled": {"algo": "boft", "rescaled": True},
    "ia3": {"algo": "ia3"},
    "tlora": {"algo": "tlora"},
}

# What draws another rank every time that it is used, also after training.
DRAWN_ANEW = ("dylora",)

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Made:
    """A file that a package wrote, the model with its adapter on, and the weights that the layers had before, of those
    that can be compared.
    """

    file: Path
    model: Any
    own: State

    @torch.no_grad()
    def truth(self) -> State:
        """What each layer does to unit vectors, less its own weight; of fused ones by their parts."""
        changes: dict[str, torch.Tensor] = {}
        for layer, weight in self.own.items():
            module, width = self.model.get_submodule(layer), weight.shape[1]
            change = (module(torch.eye(width)) - module(torch.zeros(1, width))).T - weight
            if layer == FUSED:
                share = (weight.shape[0] - width) // 2
                changes |= dict(zip(FUSED_PARTS, change.split([width, share, share]), strict=True))
            else:
                changes[layer] = change
        return changes


def transformer(fused: bool = False) -> Any:
    """The checkpoint's transformer, of which attention is one layer where it is `fused`."""
    checkpoint = CHECKPOINTS[CHECKPOINT]
    model = Krea2Transformer2DModel.from_pretrained(supplier(checkpoint, "transformer").source, subfolder="transformer")
    if fused:
        with torch.no_grad():
            model.fuse_qkv_projections()
    return model.eval()


def by_peft(folder: Path, kind: str, settings: Mapping[str, Any], fused: bool = False) -> Made:
    """An adapter of one of peft's tuners, saved by peft."""
    model, own = transformer(fused), _weights(transformer(fused), fused)
    made = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)](**{"target_modules": _targets(fused), **settings})
    adapted = get_peft_model(model, made).eval()
    _train(adapted)
    adapted.save_pretrained(folder)
    return Made(folder / "adapter_model.safetensors", model, own)


def by_diffusers(folder: Path, settings: Mapping[str, Any], whole: bool) -> Made:
    """A LoRA that diffusers put on, saved by the transformer itself, or as part of a `whole` pipeline."""
    model, own = transformer(), _weights(transformer(), False)
    model.add_adapter(LoraConfig(target_modules=_targets(False), **settings))
    _train(model)
    if whole:
        from peft.utils import get_peft_model_state_dict

        state = get_peft_model_state_dict(model)
        Krea2Pipeline.save_lora_weights(
            folder, state, transformer_lora_adapter_metadata=_plain(model.peft_config["default"].to_dict())
        )
    else:
        model.save_lora_adapter(folder)
    return Made(next(folder.glob("*.safetensors")), model, own)


def by_lycoris(folder: Path, settings: Mapping[str, Any], fused: bool = False) -> Made:
    """An adapter of one of LyCORIS's algorithms, saved by LyCORIS."""
    lycoris = importlib.import_module("lycoris")
    model, own = transformer(fused), _weights(transformer(fused), fused)
    lycoris.LycorisNetwork.apply_preset({"target_module": [], "target_name": _targets(fused)})
    network = lycoris.create_lycoris(model, 1.0, **{"linear_dim": 8, "linear_alpha": 4, **settings})
    network.apply_to()
    network.eval()
    _train(network)
    path = folder / "style.safetensors"
    network.save_weights(str(path), torch.float32, {})
    return Made(path, model, {} if settings["algo"] in DRAWN_ANEW else own)


def makers() -> Iterator[tuple[str, str, Callable[[Path], Made]]]:
    """Every file: who writes it, what it is, and what makes it in an empty folder."""
    for kind in sorted(PeftType):
        # The others bend prompts, or whole language models.
        bends_layers = "target_modules" in (field.name for field in fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind]))
        if kind != PeftType.LORA and bends_layers:
            yield "peft", kind.value, _of(by_peft, kind.value, TUNER_SETTINGS.get(kind.value, {}))
    for name, (kind, settings) in TUNER_VARIANTS.items():
        yield "peft", name, _of(by_peft, kind, settings)
    for name, settings in LORA_SETTINGS.items():
        yield "peft", name, _of(by_peft, "LORA", settings)
    for name in ("LoRA, alpha 32", "LoRA, DoRA", "LoRA begun as PiSSA"):
        yield "peft", f"{name}, of fused layers", _of(by_peft, "LORA", LORA_SETTINGS[name], True)
    yield "peft", "LOKR, of fused layers", _of(by_peft, "LOKR", {"r": 4}, True)
    for whole, writer in ((False, "diffusers, save_lora_adapter"), (True, "diffusers, save_lora_weights")):
        for name in ("LoRA, alpha 32", "LoRA, rsLoRA", "LoRA, DoRA", "LoRA begun as PiSSA"):
            yield writer, name, _of(by_diffusers, LORA_SETTINGS[name], whole)
    for name, settings in ALGORITHMS.items():
        yield "LyCORIS", name, _of(by_lycoris, settings)
    for name in ("locon", "lokr", "lokr, dora_wd", "lokr, dora_wd over inputs", "loha"):
        yield "LyCORIS", f"{name}, of fused layers", _of(by_lycoris, ALGORITHMS[name], True)


def judged(made: Made, known: Sequence[Architecture]) -> tuple[Diagnosis, float | None]:
    """The doctor's report, and by how much what it keeps is off the truth, as a share of it, in the worst layer; None
    where it was refused or there is nothing to compare with.
    """
    found = diagnose(made.file, known)
    if not found.accepted or not made.own:
        return found, None
    kept = made.file.with_name("kept.safetensors")
    write(found, kept, {})
    state = load_file(kept)
    worst = 0.0
    for layer, truth in made.truth().items():
        down, up = (state.get(f"transformer.{layer}.lora_{side}.weight") for side in "AB")
        change = torch.zeros_like(truth) if down is None or up is None else up.float() @ down.float()
        worst = max(worst, float((change - truth).norm() / truth.norm()))
    return found, worst


def row(writer: str, name: str, maker: Callable[[Path], Made], known: Sequence[Architecture]) -> str:
    """One line of the report."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        try:
            made = maker(Path(folder))
        except Exception as error:  # whatever a package raises for what it cannot put on these layers
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            return f"| {writer} | {name} | not made | {_cell(reason)} | | |"
        found, off = judged(made, known)
    if not found.accepted:
        return f"| {writer} | {name} | refused | {_cell(found.problems[0])} | | |"
    ranks = found.ranks or (0, 0)
    rank = str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]} – {ranks[1]}"
    told = "; ".join((", ".join(found.kinds), *found.notes))
    return f"| {writer} | {name} | accepted | {_cell(told)} | {rank} | {_percent(off)} |"


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report. Raises Unavailable without LyCORIS, and what `parsed` raises."""
    chosen = parsed("adapters", argv)
    try:
        importlib.import_module("lycoris")
    except ImportError as error:
        raise Unavailable(
            f"LyCORIS is not here ({error}) — pip install --no-deps --target FOLDER "
            "lycoris-lora==4.1.3 einops toml, and name FOLDER in PYTHONPATH"
        ) from None
    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    known = architectures([CHECKPOINTS[CHECKPOINT]])
    versions = ", ".join(f"{name} {version(name)}" for name in ("peft", "lycoris-lora", "diffusers", "torch"))
    lines = [
        "# What the doctor makes of every adapter",
        "",
        f"Written by `python -m krea_studio measure adapters` with {versions}, on {CHECKPOINT}.",
        "",
        "Each file is written by the package itself, with random values in place of a training. ΔW off: how far what the "
        "studio keeps is from what the package's own layers do, as a share of that, in the worst of the layers; most of it is "
        "half precision. DyLoRA draws another rank every time that it is used, so there is nothing to compare with.",
        "",
        "| writer | adapter | verdict | what the doctor says | rank | ΔW off |",
        "|---|---|---|---|---|---|",
    ]
    for writer, name, maker in makers():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lines.append(row(writer, name, maker, known))
        print(lines[-1], flush=True)
    chosen.report.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {chosen.report}")
    return 0


def _of(make: Callable[..., Made], *settings: Any) -> Callable[[Path], Made]:
    return lambda folder: make(folder, *settings)


def _targets(fused: bool) -> list[str]:
    return [FUSED] if fused else list(LAYERS)


@torch.no_grad()
def _train(model: Any) -> None:
    """Random values added to everything that could be trained, as large as those that are there or NOISE."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            size = NOISE * max(1.0, float(parameter.abs().mean()) if parameter.ndim < 2 else 0.0)
            parameter.add_(size * torch.randn_like(parameter))


def _weights(model: Any, fused: bool) -> State:
    return {layer: model.get_submodule(layer).weight.detach().clone() for layer in _targets(fused)}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as JSON can hold it."""
    return json.loads(json.dumps(config, default=list))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
