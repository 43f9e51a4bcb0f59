"""LoRA adapters inside a stock transformer: checked before they touch it, kept, and switched on for one picture.

Once loaded an adapter stays, switched off: a later picture only sets weights. Switched off, every layer computes what
it computed before the adapter came, bit for bit. peft and diffusers do the work; they accept some wrong files without
a word, so every key is accounted for first (`lora.reading`).

Every adapter that is on costs each of its layers two products and two sums. Those that are often on together can be
mixed: one adapter of their summed rank, with their matrices side by side and the weights in its second matrix.
"""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from peft.tuners.lora import LoraLayer
from torch import nn

from krea_studio.engine.lora import reading
from krea_studio.engine.lora.layers import linear_layers
from krea_studio.errors import StudioError, Unavailable

PREFIX = "transformer."


def ensure_loaded(pipeline: Krea2Pipeline, name: str, path: Path) -> None:
    """Put the LoRA of `path` into the pipeline's transformer as adapter `name`, switched off, unless it is there.

    Raises Unavailable, with the transformer as it was, when the file cannot be read, is of another architecture, or
    holds values that are no numbers.
    """
    transformer = pipeline.transformer
    if name in getattr(transformer, "peft_config", {}):
        return
    try:
        state = reading.load(path, linear_layers(transformer))
    except StudioError as error:
        raise Unavailable(error.message) from None
    _put(pipeline, name, state)


def ensure_mixed(pipeline: Krea2Pipeline, names: Collection[str]) -> None:
    """Make ready one adapter that stands for these loaded ones whenever exactly they are on."""
    mix = _mix_of(names)
    if mix in pipeline.transformer.peft_config:
        return
    state = {}
    for key, layer, parts in _layers(pipeline.transformer, names):
        state[f"{key}.lora_A.weight"] = torch.cat([layer.lora_A[name].weight for name in parts], 0)
        state[f"{key}.lora_B.weight"] = torch.cat([layer.lora_B[name].weight for name in parts], 1)
    _put(pipeline, mix, state)


def size_bytes(transformer: Krea2Transformer2DModel, name: str) -> int:
    """What a loaded adapter takes of the device's memory."""
    layers = (layer for layer in transformer.modules() if isinstance(layer, LoraLayer) and name in layer.lora_A)
    return sum(side[name].weight.nbytes for layer in layers for side in (layer.lora_A, layer.lora_B))


@contextmanager
def weighted(transformer: Krea2Transformer2DModel, *groups: Mapping[str, float]) -> Iterator[None]:
    """The named adapters, each at its weight (any sign), while the context lasts; with none, nothing at all.

    Those of a group for which a mix was made are on as that.
    """
    weights: dict[str, float] = {}
    for group in groups:
        mix = _mix_of(group)
        if len(group) > 1 and mix in transformer.peft_config:
            _set_mix(transformer, mix, group)
            weights[mix] = 1.0
        else:
            weights |= group
    if not weights:
        yield
        return
    try:
        transformer.set_adapters(list(weights), list(weights.values()))
        transformer.enable_lora()
        yield
    finally:
        transformer.disable_lora()


@contextmanager
def switched_off(transformer: Krea2Transformer2DModel) -> Iterator[None]:
    """No adapter at all while the context lasts; those that were on are on again after it."""
    on = [layer for layer in transformer.modules() if isinstance(layer, LoraLayer) and not layer.disable_adapters]
    try:
        for layer in on:
            layer.enable_adapters(False)
        yield
    finally:
        # Only these: on a layer that was off, enabling would bring back whatever was on there last.
        for layer in on:
            layer.enable_adapters(True)


def _put(pipeline: Krea2Pipeline, name: str, state: dict[str, torch.Tensor]) -> None:
    """Load matrices as an adapter, switched off; where that fails (memory, a layer left out), nothing of it stays.

    Raises Unavailable where the adapter is not at every layer that it is for.
    """
    transformer = pipeline.transformer
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several adapters are the point
        warnings.filterwarnings("ignore", message=f"Adapter {re.escape(name)} was active")
        try:
            # With the pipeline, since models that are offloaded or streamed get their hooks anew.
            transformer.load_lora_adapter(state, prefix=None, adapter_name=name, _pipeline=pipeline)
            reached, wanted = len(list(_layers(transformer, [name]))), len(state) // 2
            if not reached == wanted > 0:
                raise Unavailable(f"The LoRA {name} reached {reached} of {wanted} layers — get or train it again")
        except BaseException:
            transformer.delete_adapters(name)
            raise
        finally:
            # peft switches new layers on.
            transformer.disable_lora()


def _mix_of(names: Collection[str]) -> str:
    return "+".join(sorted(names))


def _layers(transformer: nn.Module, names: Collection[str]) -> Iterator[tuple[str, LoraLayer, list[str]]]:
    """Every layer that some of these adapters bend: its name, itself, and which of them, in the order of a mix."""
    for key, layer in transformer.named_modules():
        if isinstance(layer, LoraLayer) and (parts := [name for name in sorted(names) if name in layer.lora_A]):
            yield key, layer, parts


@torch.inference_mode()
def _set_mix(transformer: nn.Module, mix: str, weights: Mapping[str, float]) -> None:
    """Write these weights into the second matrices of a mix."""
    for _, layer, parts in _layers(transformer, weights):
        weighed = [layer.lora_B[p].weight * (weights[p] * layer.lora_alpha[p] / layer.r[p]) for p in parts]
        layer.lora_B[mix].weight.copy_(torch.cat(weighed, 1))
