"""One known adapter for mini-turbo, and files of it in every format that trainers write.

Its matrices have the structure of a Kronecker product, ΔW = kron(u v, a b), so that a LoKr can say exactly the same.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from krea_studio.engine.lora.formats import original_name
from krea_studio.engine.lora.layers import Architecture

RANK = 4
LAYERS = (
    *(f"transformer_blocks.{k}.{leaf}" for k in range(5) for leaf in ("attn.to_q", "attn.to_v", "attn.to_out.0")),
    *(f"transformer_blocks.{k}.ff.{leaf}" for k in (1, 4) for leaf in ("gate", "up", "down")),
    "transformer_blocks.2.attn.to_gate",
    "text_fusion.refiner_blocks.0.attn.to_k",
    "txt_in.linear_1",
    "time_embed.linear_2",
    "final_layer.linear",
)

Halves = dict[str, torch.Tensor]  # u (2, 1), v (1, 2), a (out / 2, RANK), b (RANK, in / 2)
Adapter = dict[str, Halves]
State = dict[str, torch.Tensor]


def known_adapter(architecture: Architecture, share: float = 0.08) -> Adapter:
    """A random adapter that changes each of LAYERS by this share of its weight's norm."""
    draw = torch.Generator().manual_seed(5)
    adapter = {}
    for layer in LAYERS:
        out, width = architecture.layers[layer]
        shapes = {"u": (2, 1), "v": (1, 2), "a": (out // 2, RANK), "b": (RANK, width // 2)}
        halves = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        halves["a"] *= share * architecture.weight(layer).norm() / change(halves).norm()
        adapter[layer] = halves
    return adapter


def change(halves: Halves) -> torch.Tensor:
    """ΔW of one layer, (out, in)."""
    return torch.kron(halves["u"] @ halves["v"], halves["a"] @ halves["b"])


def sides(halves: Halves) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as a plain LoRA: A (RANK, in) and B (out, RANK)."""
    return torch.kron(halves["v"], halves["b"]), torch.kron(halves["u"], halves["a"])


def _diffusers(layer: str) -> str:
    return layer


def _flat(name: Callable[[str], str]) -> Callable[[str], str]:
    return lambda layer: name(layer).replace(".", "_")


def plain(
    prefix: str,
    name: Callable[[str], str] = _diffusers,
    ends: tuple[str, str] = ("lora_A.weight", "lora_B.weight"),
    alpha: float | None = None,
) -> Callable[[Adapter, Architecture], State]:
    """A writer of two matrices a layer, with a key for alpha where it is given."""

    def write(adapter: Adapter, architecture: Architecture) -> State:
        state = {}
        for layer, halves in adapter.items():
            down, up = sides(halves)
            key = prefix + name(layer)
            state[f"{key}.{ends[0]}"] = down
            state[f"{key}.{ends[1]}"] = up if alpha is None else up * (RANK / alpha)
            if alpha is not None:
                state[f"{key}.alpha"] = torch.tensor(alpha)
        return state

    return write


def lokr(
    prefix: str, name: Callable[[str], str], parts: tuple[str, ...], alpha: float | None = None, musubi: bool = False
) -> Callable[[Adapter, Architecture], State]:
    """A writer of Kronecker products that stores these parts, scaled as LyCORIS does or as musubi does."""

    def write(adapter: Adapter, architecture: Architecture) -> State:
        state = {}
        for layer, halves in adapter.items():
            u, v, a, b = (halves[part] for part in "uvab")
            stored = {"w1": u @ v, "w1_a": u, "w1_b": v, "w2": a @ b, "w2_a": a, "w2_b": b}
            rank = stored["w2_b"].shape[0] if "w2_b" in parts else stored["w1_b"].shape[0] if "w1_b" in parts else None
            if rank is None and musubi:
                rank = max(stored["w2"].shape)
            scale = 1.0 if alpha is None or rank is None else alpha / rank
            key = prefix + name(layer)
            for number, part in enumerate(parts):
                state[f"{key}.lokr_{part}"] = stored[part] / (scale if number == 0 else 1.0)
            if alpha is not None:
                state[f"{key}.alpha"] = torch.tensor(alpha)
        return state | ({"lokr_factor": torch.tensor(2)} if musubi else {})

    return write


def dora(
    prefix: str, name: Callable[[str], str], ends: tuple[str, str, str], columns: bool = False, flat: bool = False
) -> Callable[[Adapter, Architecture], State]:
    """A writer of DoRA whose magnitudes are the norms of the changed weights, so that it changes what the LoRA does."""

    def write(adapter: Adapter, architecture: Architecture) -> State:
        state = {}
        for layer, halves in adapter.items():
            key = prefix + name(layer)
            state[f"{key}.{ends[0]}"], state[f"{key}.{ends[1]}"] = sides(halves)
            norms = (architecture.weight(layer) + change(halves)).norm(dim=0 if columns else 1, keepdim=True)
            state[f"{key}.{ends[2]}"] = norms.flatten() if flat else norms
        return state

    return write


def differences(adapter: Adapter, architecture: Architecture) -> State:
    """Whole matrices, with a bias's difference of zero where the layer has a bias."""
    state = {f"diffusion_model.{original_name(layer)}.diff": change(halves) for layer, halves in adapter.items()}
    return state | {"diffusion_model.txtmlp.1.diff_b": torch.zeros(256)}


def with_text_encoder(adapter: Adapter, architecture: Architecture) -> State:
    state = plain("lora_unet_", _flat(original_name), KOHYA, 2.0)(adapter, architecture)
    for part, tensor in {"lora_down.weight": torch.ones(4, 128), "lora_up.weight": torch.ones(128, 4)}.items():
        state[f"lora_te_layers_0_self_attn_q_proj.{part}"] = tensor
    return state


def peft_config(root: bool) -> dict[str, str]:
    """What diffusers writes beside the weights of a training with alpha 8 (and rsLoRA), which keys do not say."""
    config = {"transformer.r": RANK, "transformer.lora_alpha": 8, "transformer.use_rslora": root}
    return {"lora_adapter_metadata": json.dumps(config)}


def scaled_by_config(root: bool) -> Callable[[Adapter, Architecture], State]:
    scale = 8 / (RANK**0.5 if root else RANK)

    def write(adapter: Adapter, architecture: Architecture) -> State:
        state = plain("transformer.")(adapter, architecture)
        return {key: tensor / scale if ".lora_B." in key else tensor for key, tensor in state.items()}

    return write


KOHYA = ("lora_down.weight", "lora_up.weight")
FORMATS: dict[str, tuple[Callable[[Adapter, Architecture], State], Mapping[str, str]]] = {
    name: found if isinstance(found, tuple) else (found, {})
    for name, found in {
        "diffusers": plain("transformer."),
        "diffusers without prefix": plain(""),
        "diffusers with alpha": plain("transformer.", alpha=2.0),
        "diffusers with a config": (scaled_by_config(False), peft_config(False)),
        "diffusers with rsLoRA": (scaled_by_config(True), peft_config(True)),
        "peft": plain("base_model.model."),
        "peft in memory": plain("transformer.", ends=("lora_A.default.weight", "lora_B.default.weight")),
        "original": plain("diffusion_model.", original_name),
        "original without prefix": plain("", original_name),
        "original in peft": plain("base_model.model.", original_name),
        "ComfyUI with alpha": plain("diffusion_model.", original_name, KOHYA, 1.0),
        "lora.down and lora.up": plain("transformer.", ends=("lora.down.weight", "lora.up.weight")),
        "kohya of original names": plain("lora_unet_", _flat(original_name), KOHYA, 2.0),
        "kohya of diffusers names": plain("lora_unet_", _flat(_diffusers), KOHYA, 16.0),
        "OneTrainer": plain("lora_transformer_", _flat(_diffusers), KOHYA, 4.0),
        "LyCORIS": plain("lycoris_", _flat(original_name), KOHYA, 2.0),
        "with a text encoder": with_text_encoder,
        "LoKr": lokr("lora_unet_", _flat(original_name), ("w1", "w2_a", "w2_b"), alpha=2.0),
        "LoKr of two factored halves": lokr("lycoris_", _flat(_diffusers), ("w1_a", "w1_b", "w2_a", "w2_b"), alpha=2.0),
        "LoKr of whole matrices": lokr("diffusion_model.", original_name, ("w1", "w2"), alpha=7.0),
        "LoKr of peft": lokr("base_model.model.", _diffusers, ("w1_a", "w1_b", "w2")),
        "LoKr of musubi": lokr("lora_unet_", _flat(original_name), ("w1", "w2"), alpha=16.0, musubi=True),
        "DoRA": dora("lora_unet_", _flat(original_name), (*KOHYA, "dora_scale")),
        "DoRA over inputs": dora("diffusion_model.", original_name, (*KOHYA, "dora_scale"), columns=True),
        "DoRA of peft": dora(
            "base_model.model.", _diffusers, ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"), flat=True
        ),
        "full differences": differences,
    }.items()
}


def write_format(name: str, adapter: Adapter, architecture: Architecture, folder: Path) -> Path:
    """The adapter as a file of this format."""
    writer, metadata = FORMATS[name]
    path = folder / "style.safetensors"
    tensors = {key: tensor.contiguous().clone() for key, tensor in writer(adapter, architecture).items()}
    save_file(tensors, path, dict(metadata))
    return path
