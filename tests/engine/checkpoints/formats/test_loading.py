"""Models from single files: the folder's numbers within each format's own error, or a refusal with the name."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
from transformers import Qwen3VLModel

from krea_studio.engine.checkpoints.formats.loading import load, require_fitting
from krea_studio.engine.checkpoints.formats.model_file import model_file
from krea_studio.engine.checkpoints.formats.packed import PackedLinear
from krea_studio.engine.checkpoints.table import CHECKPOINTS
from krea_studio.errors import Unavailable
from tests.model_files import (
    MEDIUM,
    comfy_decoder,
    comfy_encoder,
    encoder_state,
    fp8_old_spelling,
    fp8_plain,
    fp8_scaled,
    int8_convrot,
    int8_plain,
    is_big,
    mxfp8,
    native,
    nvfp4,
    q8_0,
    quantised,
    transformer_state,
    write,
    write_gguf,
)

State = dict[str, torch.Tensor]
CONFIG = MEDIUM / "transformer"
# The largest relative error of a layer by rounding alone, of how many packed layers.
ERRORS = {
    fp8_scaled: 0.03,
    fp8_old_spelling: 0.03,
    fp8_plain: 0.03,
    int8_convrot: 0.01,
    int8_plain: 0.03,
    mxfp8: 0.03,
    nvfp4: 0.11,
}
GGML_ERRORS = {"Q8_0": 0.007, "Q4_0": 0.1, "F16": 0.0, "BF16": 0.002}


@pytest.fixture(scope="module")
def state() -> State:
    return native(transformer_state())


def of_folder(precision: torch.dtype) -> Any:
    folder = Path(CHECKPOINTS["mini-turbo"].source) / "transformer"
    return Krea2Transformer2DModel.from_pretrained(folder, torch_dtype=precision)


def of_file(path: Path, precision: torch.dtype = torch.float32) -> Any:
    return load(model_file(path), "transformer", CONFIG, precision)


def errors(model: Any, stock: Any) -> dict[str, float]:
    """The relative error of every parameter, each there once and in the stock model's precision."""
    found = {}
    for name, weight in stock.named_parameters():
        module = model.get_submodule(name.rpartition(".")[0])
        packed = isinstance(module, PackedLinear) and name.endswith(".weight")
        own = module.unpacked() if packed else model.get_parameter(name)
        assert packed or own.dtype == weight.dtype, name
        assert own.shape == weight.shape
        found[name] = ((own.float() - weight.float()).norm() / weight.float().norm().clamp_min(1e-9)).item()
    assert {*model.state_dict()} == {*stock.state_dict()} | {
        f"{name}.{part}" for name, each in model.named_modules() for part in _parts(each)
    }
    return found


def _parts(module: Any) -> list[str]:
    return [name for name, _ in module.named_buffers(recurse=False)] if isinstance(module, PackedLinear) else []


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("names", [native, dict])
def test_a_file_that_is_not_packed_is_the_folder_number_for_number(
    tmp_path: Path, precision: torch.dtype, names: Callable[[Mapping[str, torch.Tensor]], State]
) -> None:
    """Norms stay in float32 in both, also where the file has them in bfloat16."""
    stock, model = (
        of_folder(precision),
        of_file(write(tmp_path / "a.safetensors", names(transformer_state())), precision),
    )
    assert set(errors(model, stock).values()) == {0.0}
    assert model.transformer_blocks[0].norm1.weight.dtype == torch.float32 and not model.training


@pytest.mark.parametrize("quantiser", ERRORS, ids=lambda quantiser: quantiser.__name__)
def test_a_packed_file_is_the_folder_within_its_rounding(tmp_path: Path, state: State, quantiser: Any) -> None:
    packed, layers = quantised(state, quantiser)
    if quantiser is fp8_old_spelling:
        packed["scaled_fp8"] = torch.empty(0, dtype=torch.float8_e4m3fn)
    model = of_file(write(tmp_path / "a.safetensors", packed, layers, prefix="model.diffusion_model."))
    found = errors(model, of_folder(torch.float32))
    assert max(found.values()) < ERRORS[quantiser]
    assert sum(error > 0 for error in found.values()) == sum(is_big(name, t) for name, t in state.items()) == 56


@pytest.mark.parametrize("kind", GGML_ERRORS)
def test_a_gguf_is_the_folder_within_its_rounding(tmp_path: Path, state: State, kind: str) -> None:
    path = write_gguf(tmp_path / "a.gguf", state, lambda name, tensor: kind if is_big(name, tensor) else "F32")
    found = errors(of_file(path), of_folder(torch.float32))
    assert max(found.values()) <= GGML_ERRORS[kind]


def test_every_layer_may_have_a_format_of_its_own(tmp_path: Path, state: State) -> None:
    kinds = (fp8_scaled, int8_convrot, nvfp4, mxfp8, fp8_plain)

    def mixed(layer: str, weight: torch.Tensor) -> Any:
        return kinds[sum(map(ord, layer)) % len(kinds)](layer, weight)

    packed, layers = quantised(state, mixed)
    path = write(tmp_path / "a.safetensors", packed, layers)
    assert len(model_file(path).parts["transformer"].formats) == 6
    assert max(errors(of_file(path), of_folder(torch.float32)).values()) < 0.11


@pytest.mark.parametrize("kind", ["Q8_0", "BF16", "F16"])
def test_tables_that_a_careless_converter_packed_or_flattened_are_read(tmp_path: Path, state: State, kind: str) -> None:
    """Modulation tables in 8 bits, and the projector as one row of numbers."""
    flat = state | {"txtfusion.projector.weight": state["txtfusion.projector.weight"].flatten()}

    def kind_of(name: str, tensor: torch.Tensor) -> str:
        return kind if name.endswith("lin") else q8_0(name, tensor)

    model = of_file(write_gguf(tmp_path / "a.gguf", flat, kind_of))
    assert max(errors(model, of_folder(torch.float32)).values()) < 0.01
    assert model.transformer_blocks[0].scale_shift_table.shape == (6, 256)


@pytest.mark.parametrize("everything", [fp8_plain, fp8_scaled])
def test_norms_and_first_layers_may_be_packed_too(tmp_path: Path, state: State, everything: Any) -> None:
    packed, layers = quantised(state, everything, lambda name, tensor: name.endswith(".weight"))
    for name, tensor in packed.items():
        if name.endswith("scale") and tensor.dim() == 1:
            packed[name] = tensor.to(torch.float8_e4m3fn)
    model = of_file(write(tmp_path / "a.safetensors", packed, layers), torch.bfloat16)
    assert isinstance(model.img_in, PackedLinear) and model.img_in.bias is not None
    assert model.final_layer.norm.weight.dtype == torch.float32


def _without_scale(packed: State, layer: str) -> None:
    packed.pop(f"{layer}.weight_scale")


def _with_scale(value: float) -> Callable[[State, str], None]:
    return lambda packed, layer: packed.update({f"{layer}.weight_scale": torch.tensor(value)})


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (_without_scale, "as without their scale"),
        (_with_scale(1.0), "as without their scale"),
        (_with_scale(1e-9), "as without their scale"),
        (_with_scale(float("nan")), "no numbers"),
        (lambda packed, layer: packed.pop(f"{layer}.weight"), "belong to nothing|lacks 1 of"),
        (lambda packed, layer: packed.update({"last.norm.scale": torch.full((256,), float("inf"))}), "no numbers"),
        (lambda packed, layer: packed.update({"last.norm.scale": torch.zeros(255)}), "has the shape"),
        (lambda packed, layer: packed.pop("last.modulation.lin"), "lacks 1 of 107 .*final_layer.scale_shift_table"),
    ],
)
def test_a_file_that_lost_something_is_refused_with_the_name(
    tmp_path: Path, state: State, spoil: Callable[[State, str], Any], word: str
) -> None:
    packed, layers = quantised(state, fp8_scaled)
    spoil(packed, "blocks.3.mlp.up")
    path = write(tmp_path / "a.safetensors", packed, layers)
    with pytest.raises(Unavailable, match=word):
        of_file(path)


def test_int8_without_its_scale_is_refused(tmp_path: Path, state: State) -> None:
    packed, _ = quantised(state, int8_convrot)
    packed["blocks.3.mlp.up.weight_scale"] = torch.ones(512, 1)
    with pytest.raises(Unavailable, match=r"transformer_blocks\.3\.ff\.up\.weight are about"):
        of_file(write(tmp_path / "a.safetensors", packed))


def test_a_packed_model_takes_what_the_header_promised(tmp_path: Path, state: State) -> None:
    path = write(tmp_path / "a.safetensors", *quantised(state, fp8_scaled))
    before = of_file(path)
    kept = sum(tensor.nbytes for tensor in (*before.parameters(), *before.buffers()))
    assert kept == model_file(path).bytes_in_memory("transformer", 4)
    assert kept < 0.6 * sum(weight.nbytes for weight in of_folder(torch.float32).parameters())


@pytest.mark.parametrize(
    ("names", "packed", "prefix"),
    [
        (comfy_encoder, False, ""),
        (comfy_encoder, True, "text_encoders.qwen3vl_4b.transformer."),
        (dict, True, ""),
        ("published", False, ""),
    ],
)
def test_a_text_encoder_under_any_names_reads_as_the_folder_does(
    tmp_path: Path, names: Any, packed: bool, prefix: str
) -> None:
    own = encoder_state()
    state = names(own) if callable(names) else {f"model.{name}": tensor for name, tensor in own.items()}
    if packed:
        state, layers = quantised(state, fp8_scaled, lambda name, t: ".layers." in name and t.dim() == 2)
    else:
        layers = {}
    state["lm_head.weight"] = own["language_model.embed_tokens.weight"]
    path = write(tmp_path / "qwen3vl_4b.safetensors", state, layers, prefix=prefix)
    model = load(model_file(path), "text_encoder", MEDIUM / "text_encoder", torch.float32)
    stock = Qwen3VLModel.from_pretrained(MEDIUM / "text_encoder", dtype=torch.float32)
    tokens = torch.arange(8, 30)[None]
    with torch.inference_mode():
        found, expected = (
            each(input_ids=tokens, output_hidden_states=True).hidden_states[-2] for each in (model, stock)
        )
    apart = ((found - expected).norm() / expected.norm()).item()
    assert 0 < apart < 0.1 if packed else apart == 0
    assert sum(isinstance(each, PackedLinear) for each in model.modules()) == (42 if packed else 0)


def test_an_encoder_of_another_size_is_never_filled_up(tmp_path: Path) -> None:
    state = comfy_encoder(encoder_state())
    state.pop("model.layers.5.mlp.up_proj.weight")
    path = write(tmp_path / "qwen3vl_4b.safetensors", state)
    with pytest.raises(Unavailable, match=r"lacks 1 of .*language_model\.layers\.5\.mlp\.up_proj"):
        load(model_file(path), "text_encoder", MEDIUM / "text_encoder", torch.float32)


def test_a_decoder_under_wans_names_decodes_as_the_folder_does(tmp_path: Path) -> None:
    path = write(tmp_path / "qwen_image_vae.safetensors", comfy_decoder())
    model = load(model_file(path), "vae", MEDIUM / "vae", torch.float32)
    stock = AutoencoderKLQwenImage.from_pretrained(MEDIUM / "vae", torch_dtype=torch.float32)
    latents = torch.randn(1, 6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (model.decode(latents).sample == stock.decode(latents).sample).all()


def test_a_look_whether_a_file_fits_takes_nothing_from_what_other_threads_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model_file(write(tmp_path / "own.safetensors", native(transformer_state())))
    looking, built = threading.Event(), threading.Event()
    plain = Krea2Transformer2DModel.from_config

    def slowly(config: Any) -> Any:
        looking.set()
        assert built.wait(60)
        return plain(config)

    monkeypatch.setattr(Krea2Transformer2DModel, "from_config", slowly)
    look = threading.Thread(target=require_fitting.__wrapped__, args=(file, "transformer", CONFIG))
    look.start()
    assert looking.wait(60)
    model = torch.nn.Linear(2, 2)
    built.set()
    look.join()
    assert not model.weight.is_meta
