"""What a run needs beside weights, counted tensor by tensor on models of the published dimensions without memory."""

import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from krea_studio.engine.cache import ByteCache
from krea_studio.engine.checkpoints import activations as estimate
from krea_studio.engine.checkpoints.activations import Dimensions, Run, activations, dimensions
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED
from krea_studio.engine.checkpoints.formats.unpacking import unpack
from krea_studio.engine.controls.reference_attention import Preset, Reference, attending
from krea_studio.engine.pipeline import single_frame
from krea_studio.engine.pipeline.prompts import PromptEmbedding
from krea_studio.engine.pipeline.single_frame import SingleFrameDecoder, SingleFrameEncoder, reach_and_scale

BF16, F32 = torch.bfloat16, torch.float32


class Live(TorchDispatchMode):
    """Counts the bytes of the storages that operations made and that still live; `peak` is the most at a time."""

    def __init__(self, *known: torch.nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        own = (tensor for module in known for tensor in (*module.parameters(), *module.buffers()))
        self._seen = {tensor.untyped_storage()._cdata for tensor in own}

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._know(tensor.untyped_storage())
        return made

    def _know(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._seen:
            return
        self._seen.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, storage: int, size: int) -> None:
        self._seen.discard(storage)
        self.now -= size


@contextmanager
def counted(*known: torch.nn.Module, device: str = "meta") -> Iterator[Live]:
    """Count while the context lasts; new tensors are on `device`, and nobody asks for gradients."""
    with torch.no_grad(), torch.device(device), Live(*known) as live:
        yield live


def published(number_bytes: int) -> Dimensions:
    configs = [
        json.loads((PUBLISHED / part / "config.json").read_text()) for part in ("transformer", "text_encoder", "vae")
    ]
    return dimensions(*configs, patch=2, number_bytes=number_bytes)


def about(counted: int, estimated: int) -> None:
    """An estimate is never less than what was counted, and not much more."""
    assert counted <= estimated <= 1.35 * counted, f"{counted / 1e9:.3f} GB counted, {estimated / 1e9:.3f} GB estimated"


@pytest.mark.parametrize("precision", [BF16, F32])
@pytest.mark.parametrize("side", [1024, 2048])
def test_drawing(monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, side: int) -> None:
    # As a fused kernel: it holds no matrix of all tokens with all others.
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda query, key, value, **_: torch.empty_like(query))
    with torch.device("meta"):
        model = Krea2Transformer2DModel(num_layers=2)
    for name, parameter in model.named_parameters():
        kept = set(name.split(".")) & set(model._keep_in_fp32_modules)
        parameter.data = parameter.data.to(F32 if kept else precision)
    tokens, text = (side // 16) ** 2, 512
    with counted(model) as live:
        model(
            hidden_states=torch.empty(1, tokens, 64, dtype=precision),
            encoder_hidden_states=torch.empty(1, text, 12, 2560, dtype=precision),
            timestep=torch.empty(1, dtype=precision),
            position_ids=torch.empty(tokens + text, 3),
        )
    about(live.peak, activations(published(precision.itemsize), Run(side, side)).drawing)


@pytest.mark.parametrize("references", [1, 4])
def test_drawing_with_references(references: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # In small, and for real: captures are cut to size by numbers.
    own = {"attention_head_dim": 64, "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 1365}
    with torch.device("cpu"):
        model = Krea2Transformer2DModel(
            **own, num_layers=4, axes_dims_rope=(16, 24, 24), text_hidden_dim=40, text_intermediate_size=64,
            num_text_layers=2, in_channels=16,
        ).to(BF16)  # fmt: skip
    side = 16
    monkeypatch.setattr(estimate, "REFERENCE_PIXELS", (side * 16) ** 2)
    monkeypatch.setattr(estimate, "READ_TOKENS", 4 * 32)
    tokens, text = side**2, 32
    seen = [Reference(k, torch.randn(1, tokens, 16, dtype=BF16), side, side, 0.5) for k in range(references)]
    neutral = PromptEmbedding(torch.randn(1, text, 2, 40, dtype=BF16), torch.ones(1, text, dtype=torch.bool))
    with (
        counted(model, device="cpu") as live,
        attending(model, seen, neutral, 2, ByteCache(10**9), preset=Preset()),
    ):
        for level in (1.0, 0.5):
            model(
                hidden_states=torch.randn(1, tokens, 16, dtype=BF16),
                encoder_hidden_states=neutral.values,
                timestep=torch.full((1,), level, dtype=BF16),
                position_ids=torch.zeros(tokens + text, 3),
            )
        # Here captures in main memory are those of the device; what is kept for later steps is not needed there.
        kept = live.now
    of = replace(published(2), width=512, key_width=128, feed_forward=1365, blocks=4, channels=0)
    estimated = activations(of, Run(side * 16, side * 16, references)).drawing
    assert live.peak <= 1.1 * estimated + kept


@pytest.mark.parametrize("precision", [BF16, F32])
def test_decoding_and_reading_references(monkeypatch: pytest.MonkeyPatch, precision: torch.dtype) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda query, key, value, **_: torch.empty_like(query))
    with torch.device("meta"):
        vae = AutoencoderKLQwenImage()
    vae = vae.to(precision).to_empty(device="cpu")
    decoder, encoder = (kind(vae).to("meta") for kind in (SingleFrameDecoder, SingleFrameEncoder))
    copies = sum(tensor.nbytes for model in (decoder, encoder) for tensor in model.parameters())
    whole = sum(tensor.nbytes for tensor in vae.parameters())
    assert copies <= estimate.COPIES * whole <= 1.1 * copies
    reach, scale = reach_and_scale(decoder.layers[decoder.whole_layers :])
    assert (single_frame.TILE_CELLS + 2 * reach) ** 2 * scale**2 == estimate.TILE_PIXELS
    needs = activations(published(precision.itemsize), Run(2048, 2048, references=1))
    with counted(decoder) as live:
        decoder(torch.empty(1, 16, 256, 256, dtype=precision))
    about(live.peak, needs.decoding)
    with counted(decoder) as live:
        decoder(torch.empty(1, 16, 256, 256, dtype=precision), tiled=True)
    about(live.peak, needs.tiles)
    with counted(encoder) as live:
        encoder.layers(torch.empty(1, 3, 1024, 1024, dtype=precision))
    assert live.peak <= needs.drawing


@pytest.mark.parametrize("form", ["Q4_K", "Q3_K", "Q8_0"])
def test_unpacking(form: str) -> None:
    width = {"Q4_K": 144, "Q3_K": 110, "Q8_0": 272}[form]
    values = torch.zeros(64, 8 * width, dtype=torch.uint8)
    with counted(device="cpu") as live:
        unpack(form, 2048, 0, {"values": values}).to(BF16)
    assert live.peak <= 64 * 2048 * estimate.UNPACKING_BYTES


def test_the_share_of_the_blocks_that_attends() -> None:
    assert 1 - Preset().first_block == estimate.ATTENDING
