"""Files read as changes of layers: fused ones part into their layers, exactly, and what cannot be is told."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.engine.lora.files import opened
from krea_studio.engine.lora.layers import architectures
from krea_studio.engine.lora.reading import LoraReading, misfit

(TURBO,) = architectures([CHECKPOINTS["mini-turbo"]])
BLOCK, TEXT = "transformer_blocks.1.", "text_fusion.refiner_blocks.0."
QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
# What the layers are called in a file that has them fused, and which they are, in their order.
FUSED = {
    "transformer.transformer_blocks.1.attn.to_qkv": (BLOCK, QKV),
    "base_model.model.transformer_blocks.1.attn.to_qkv": (BLOCK, QKV),
    "diffusion_model.blocks.1.attn.qkv": (BLOCK, QKV),
    "lora_unet_blocks_1_attn_wqkv": (BLOCK, QKV),
    "lycoris_text_fusion_refiner_blocks_0_attn_to_qkv": (TEXT, QKV),
    "transformer_blocks.1.attn.to_kv": (BLOCK, QKV[1:]),
    "transformer.transformer_blocks.1.attn.to_qkv_gate": (BLOCK, (*QKV, "attn.to_gate")),
    "transformer.transformer_blocks.1.ff.gate_up": (BLOCK, ("ff.gate", "ff.up")),
    "diffusion_model.blocks.1.mlp.gate_up": (BLOCK, ("ff.gate", "ff.up")),
}
State = dict[str, torch.Tensor]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layers_of(key: str) -> list[str]:
    stem, leaves = FUSED[key]
    return [stem + leaf for leaf in leaves]


def size(key: str) -> tuple[int, int]:
    """The (out, in) of the fused layers together."""
    shapes = [TURBO.layers[layer] for layer in layers_of(key)]
    return sum(out for out, _ in shapes), shapes[0][1]


def reading(folder: Path, state: Mapping[str, torch.Tensor], check: list[str] | None = None) -> dict[str, torch.Tensor]:
    """The change of each layer; where a list for problems is given, they are put there instead."""
    path = folder / "style.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    with opened(path) as file:
        found = LoraReading(file, TURBO.layers)
        if check is not None:
            check += found.problems
            return {}
        assert not found.problems and misfit(found.shapes, TURBO.layers) is None
        assert found.match.matched + len(found.match.dropped) == len(state)
        changes = {layer: found.factors(layer, TURBO.weight) for layer in found.shapes}
        return {layer: change.up.float() @ change.down.float() for layer, change in changes.items()}


def near(changes: Mapping[str, torch.Tensor], key: str, whole: torch.Tensor) -> bool:
    layers = layers_of(key)
    parts = whole.split([TURBO.layers[layer][0] for layer in layers])
    assert set(changes) == set(layers)
    return all(
        bool((changes[layer] - part).norm() < 2e-3 * part.norm()) for layer, part in zip(layers, parts, strict=True)
    )


@pytest.mark.parametrize("key", FUSED)
def test_a_lora_of_fused_layers_is_one_for_each_of_them(key: str, tmp_path: Path) -> None:
    out, width = size(key)
    down, up = drawn(3, width), drawn(out, 3, seed=1)
    state = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(6.0)}
    assert near(reading(tmp_path, state), key, 2 * up @ down)


def dora(base: torch.Tensor, change: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes that differ from the norms, and the change that they make."""
    merged = base + change
    norms = merged.norm(dim=axis, keepdim=True)
    magnitude = norms * (1 + 0.05 * drawn(*norms.shape, seed=9))
    return magnitude, magnitude * merged / norms - base


@pytest.mark.parametrize(
    "key", ["transformer.transformer_blocks.1.attn.to_qkv", "diffusion_model.blocks.1.mlp.gate_up"]
)
@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_lokr_of_fused_layers_parts_wherever_its_blocks_end(
    key: str, rows: int, axis: int | None, tmp_path: Path
) -> None:
    """Also in the middle of a block of the Kronecker product, and where magnitudes are of all rows together."""
    out, width = size(key)
    w1, w2 = drawn(rows, 2), drawn(out // rows, 4, seed=1) @ drawn(4, width // 2, seed=2) * 0.01
    state, whole = {f"{key}.lokr_w1": w1, f"{key}.lokr_w2": w2}, torch.kron(w1, w2)
    if axis is not None:
        base = torch.cat([TURBO.weight(layer).float() for layer in layers_of(key)])
        state[f"{key}.dora_scale"], whole = dora(base, whole, axis)
    assert near(reading(tmp_path, state), key, whole)


@pytest.mark.parametrize("key", ["transformer.transformer_blocks.1.attn.to_qkv", "transformer_blocks.1.attn.to_kv"])
@pytest.mark.parametrize("kind", ["LoRA with DoRA", "LoHa", "full difference"])
def test_other_kinds_of_fused_layers_part_too(key: str, kind: str, tmp_path: Path) -> None:
    out, width = size(key)
    down, up = drawn(2, width), drawn(out, 2, seed=1) * 0.01
    if kind == "LoHa":
        sides = {"hada_w1_a": up, "hada_w1_b": down, "hada_w2_a": drawn(out, 2, seed=3), "hada_w2_b": drawn(2, width)}
        state = {f"{key}.{side}": tensor for side, tensor in sides.items()}
        whole = (up @ down) * (sides["hada_w2_a"] @ sides["hada_w2_b"])
    elif kind == "full difference":
        state, whole = {f"{key}.diff": up @ down}, up @ down
    else:
        base = torch.cat([TURBO.weight(layer).float() for layer in layers_of(key)])
        magnitude, whole = dora(base, up @ down, 1)
        state = {
            f"{key}.lora_A.weight": down,
            f"{key}.lora_B.weight": up,
            f"{key}.lora_magnitude_vector": magnitude[:, 0],
        }
    assert near(reading(tmp_path, state), key, whole)


def test_what_a_cut_of_fused_layers_leaves_out_is_told_layer_by_layer(tmp_path: Path) -> None:
    key = "diffusion_model.blocks.1.mlp.gate_up"
    out, width = size(key)
    w1, w2 = drawn(16, 16), drawn(out // 16, width // 16, seed=1)
    path = tmp_path / "style.safetensors"
    save_file({f"{key}.lokr_w1": w1, f"{key}.lokr_w2": w2}, path)
    whole = dict(zip(layers_of(key), torch.kron(w1, w2).chunk(2), strict=True))
    with opened(path) as file:
        found = LoraReading(file, TURBO.layers)
        for layer, wanted in whole.items():
            change = found.factors(layer)
            lost = float((change.up @ change.down - wanted).norm())
            assert change.lost == pytest.approx(lost, rel=1e-2, abs=1e-3 * float(wanted.norm()))


def lora(key: str, out: int, width: int, trained: bool = True) -> State:
    up = drawn(out, 2, seed=1)
    return {f"{key}.lora_A.weight": drawn(2, width), f"{key}.lora_B.weight": up if trained else up * 0}


def test_layers_that_stand_untrained_beside_the_fused_ones_are_left_out(tmp_path: Path) -> None:
    """As LyCORIS saves them that wraps the layers by their names, before and after they were fused."""
    key = "transformer.transformer_blocks.1.attn.to_qkv"
    out, width = size(key)
    state = lora(key, out, width)
    whole = state[f"{key}.lora_B.weight"] @ state[f"{key}.lora_A.weight"]
    for leaf in QKV:
        state |= lora(f"transformer.{BLOCK}{leaf}", TURBO.layers[BLOCK + leaf][0], width, trained=False)
    assert near(reading(tmp_path, state), key, whole)
    state |= lora(f"transformer.{BLOCK}attn.to_k", TURBO.layers[f"{BLOCK}attn.to_k"][0], width)
    problems: list[str] = []
    reading(tmp_path, state, problems)
    assert len(problems) == 1 and "comes twice, here and in 'transformer_blocks.1.attn.to_qkv'" in problems[0]


def test_layers_that_are_fused_in_two_ways_are_told(tmp_path: Path) -> None:
    problems: list[str] = []
    state = lora("transformer_blocks.1.attn.to_qkv", 512, 256) | lora("transformer_blocks.1.attn.to_kv", 256, 256)
    reading(tmp_path, state, problems)
    assert len(problems) == 1 and "comes twice" in problems[0]


@pytest.mark.parametrize(
    ("key", "out", "words"),
    [
        ("transformer_blocks.1.attn.to_qkv", 256, "256 rows do not part into transformer_blocks.1.attn.to_q, "),
        ("transformer_blocks.1.attn.to_qkv", 257, "257 rows do not part"),
        ("transformer_blocks.1.ff.gate_up", 511, "511 rows do not part"),
    ],
)
def test_rows_that_no_fused_layers_have(key: str, out: int, words: str, tmp_path: Path) -> None:
    problems: list[str] = []
    reading(tmp_path, lora(key, out, 256), problems)
    assert words in problems[0] and " — " in problems[0]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1, 1)])
def test_kernels_of_one_pixel_are_matrices_and_alpha_is_one_number(shape: tuple[int, ...], tmp_path: Path) -> None:
    layer = f"{BLOCK}attn.to_q"
    state = lora(layer, 256, 256)
    wanted = 3 * state[f"{layer}.lora_B.weight"] @ state[f"{layer}.lora_A.weight"]
    state = {key: tensor[..., None, None] for key, tensor in state.items()} | {f"{layer}.alpha": torch.full(shape, 6.0)}
    assert torch.allclose(reading(tmp_path, state)[layer], wanted, atol=1e-5)


def test_a_bias_alone_is_left_out_where_it_changes_nothing_and_refused_where_it_does(tmp_path: Path) -> None:
    key, layer = "diffusion_model.txtmlp.1.diff_b", f"{BLOCK}attn.to_q"
    assert set(reading(tmp_path, lora(layer, 256, 256) | {key: torch.zeros(256)})) == {layer}
    problems: list[str] = []
    reading(tmp_path, lora(layer, 256, 256) | {key: torch.ones(256)}, problems)
    assert "'txt_in.linear_1' cannot be used: it changes the layer's bias alone, which a LoRA cannot" in problems[0]


@pytest.mark.parametrize("rank", [2, 16, 20])
def test_a_loha_is_the_product_of_its_products(rank: int, tmp_path: Path) -> None:
    layer = f"{BLOCK}attn.to_q"
    sides = {name: drawn(*shape, seed=k) * 0.1 for k, (name, shape) in enumerate({
        "hada_w1_a": (256, rank), "hada_w1_b": (rank, 256), "hada_w2_a": (256, rank), "hada_w2_b": (rank, 256),
    }.items())}  # fmt: skip
    wanted = 0.5 * (sides["hada_w1_a"] @ sides["hada_w1_b"]) * (sides["hada_w2_a"] @ sides["hada_w2_b"])
    state = {f"lycoris_{layer.replace('.', '_')}.{name}": tensor for name, tensor in sides.items()}
    state[f"lycoris_{layer.replace('.', '_')}.alpha"] = torch.tensor(rank / 2)
    change = reading(tmp_path, state)[layer]
    assert (change - wanted).norm() < 1e-3 * wanted.norm()


def test_a_glora_bends_the_weights_and_adds_to_them(tmp_path: Path) -> None:
    layer, name = f"{BLOCK}attn.to_k", "lycoris_transformer_blocks_1_attn_to_k"
    out, width = TURBO.layers[layer]
    a1, a2, b1, b2 = (
        0.1 * drawn(*shape, seed=k) for k, shape in enumerate(((width, 2), (2, width), (out, 2), (2, width)))
    )
    state = {f"{name}.{side}.weight": tensor for side, tensor in {"a1": a1, "a2": a2, "b1": b1, "b2": b2}.items()}
    wanted = 3 * (TURBO.weight(layer).float() @ a1 @ a2 + b1 @ b2)
    change = reading(tmp_path, state | {f"{name}.alpha": torch.tensor(6.0)})[layer]
    assert (change - wanted).norm() < 1e-3 * wanted.norm()
