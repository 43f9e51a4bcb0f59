"""Doing what a memory plan says with the models of a stock pipeline, which stays the stock one.

A guest is a model whose weights lie in main memory and that is on the device while it is needed: it comes when it is
called, and leaves when it is told to, or for another guest. Leaving copies nothing, since its weights never left. Model
offload and streaming of blocks are diffusers' own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import send_to_device
from diffusers import Krea2Pipeline
from torch import nn

from krea_studio.engine.checkpoints.memory import Plan


class Guest:
    """A model with its weights in main memory, which comes to `device` whenever it is called."""

    def __init__(self, model: nn.Module, device: str) -> None:
        self.rivals: list[Guest] = []  # which leave before this one comes
        self.present = False
        self._model, self._device = model, device
        # Frozen, so what lies here stays true. Adapters come later, change, and are copied both ways.
        self._home = {tensor: tensor.data for tensor in _tensors(model)}
        model.register_forward_pre_hook(lambda *_: self.come())

    def come(self) -> None:
        """Be on the device."""
        if self.present:
            return
        for rival in self.rivals:
            rival.leave()
        self.present = True  # also where memory runs out half-way, so that it leaves again
        for tensor in _tensors(self._model):
            tensor.data = self._there(tensor)

    def _there(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.data.to(self._device)

    def leave(self) -> None:
        """Be in main memory."""
        if self.present:
            for tensor in _tensors(self._model):
                tensor.data = self._home[tensor] if tensor in self._home else tensor.data.cpu()
        self.present = False


class Placed:
    """The models of one pipeline where a plan puts them. For one thread at a time."""

    def __init__(self, pipeline: Krea2Pipeline, plan: Plan, device: str) -> None:
        """Place models that are in main memory, but for those that the plan has stay on the device."""
        self._pipeline, self._device, self._plan = pipeline, device, plan
        self._reader: Guest | None = None
        if plan.placement == "offload":
            pipeline.enable_model_cpu_offload(device=device)
        if plan.placement == "streamed":
            stream(pipeline.transformer, device)
        if plan.visit in ("beside", "instead"):
            reader = self._reader = Guest(pipeline.text_encoder, device)
            if plan.visit == "instead":
                drawer = Guest(pipeline.transformer, device)
                drawer.rivals, reader.rivals = [reader], [drawer]
        if plan.visit == "never":
            _work_in_main_memory(pipeline.text_encoder)

    def settle(self) -> None:
        """Whoever came only for a while leaves."""
        if self._reader:
            self._reader.leave()
        self._pipeline.maybe_free_model_hooks()

    @contextmanager
    def reading(self) -> Iterator[str]:
        """The text encoder is where it works, while the context lasts: on the device that is given."""
        encoder = self._pipeline.text_encoder
        try:
            if self._reader:
                self._reader.come()
            elif self._plan.placement == "offload":
                encoder.to(self._device)
            yield str(encoder.device)
        finally:
            self.settle()


def stays(plan: Plan, part: str) -> bool:
    """Whether a part's weights are on the device all the time."""
    if plan.placement in ("offload", "streamed"):
        return plan.placement == "streamed" and part == "vae"
    return part == "vae" or plan.visit == "none" or (part == "transformer" and plan.visit != "instead")


def stream(transformer: nn.Module, device: str) -> None:
    """Have the blocks of a transformer, which is in main memory, visit the device one by one, the next while one works.

    On a GPU they are copied from pinned memory, which they are moved to here, one tensor at a time: diffusers would do
    so with all of them before it lets go of the first.
    """
    on_gpu = device.startswith("cuda")
    if on_gpu:
        for block in transformer.transformer_blocks:
            for tensor in _tensors(block):
                tensor.data = tensor.data.pin_memory()
    transformer.enable_group_offload(
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=on_gpu,
    )


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _work_in_main_memory(model: nn.Module) -> None:
    """Let a model that stays in main memory take tensors of any device, and answer on that."""
    asked_from: list[torch.device] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        asked_from[:] = [each.device for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)][:1]
        return send_to_device(args, "cpu"), send_to_device(kwargs, "cpu")

    def after(_: nn.Module, args: Any, output: Any) -> Any:
        return send_to_device(output, asked_from[0]) if asked_from else output

    model.register_forward_pre_hook(before, with_kwargs=True)
    model.register_forward_hook(after)
