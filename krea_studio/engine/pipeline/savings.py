"""Work of the stock pipeline that cannot change the picture, left out; each saving with its own switch.

Stock Krea 2 pads every prompt to 512 tokens and masks the padding, fuses the same text anew in every step, and decodes
a still picture as a video of one frame. All of it is mathematically removable; only rounding differs (at most 1/255 in
the picture). `applied` changes a transformer for the length of one call and puts it back, so a pipeline outside of it
is the stock one, bit for bit. The encoding side of trimming is in `prompts`, the decoder in `single_frame`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from diffusers import Krea2Transformer2DModel
from torch import nn

from krea_studio.engine.pipeline.passes import InPlace, Steps, fewer_passes, with_forward


@dataclass(frozen=True)
class Savings:
    """Which savings are on. Field names are the rows of the measurement."""

    trimmed_text: bool = True
    """Prompts keep their own length instead of being padded to 512 tokens."""
    no_mask: bool = True
    """A text mask that masks nothing is dropped, which lets faster attention kernels work."""
    text_once: bool = True
    """Fused text and rotary table are computed once per picture instead of once per step."""
    fewer_passes: bool = True
    """Norms, rotary turns and gates go over memory less often."""
    single_frame: bool = True
    """The VAE decodes one frame with 2-D convolutions and without its cache of earlier frames."""

    @classmethod
    def none(cls) -> "Savings":
        """Everything off: the stock pipeline."""
        return cls(**{field.name: False for field in fields(cls)})


@contextmanager
def applied(transformer: Krea2Transformer2DModel, savings: Savings, steps: Steps | None = None) -> Iterator[None]:
    """The transformer's savings, while the context lasts. Not reentrant, and for one thread at a time.

    Fewer passes are made by `steps`.
    """
    with ExitStack() as stack:
        if savings.trimmed_text or savings.no_mask:
            hook = transformer.register_forward_pre_hook(_TextInputs(savings), with_kwargs=True)
            stack.callback(hook.remove)
        if savings.text_once:
            for module in (transformer.text_fusion, transformer.txt_in, transformer.rotary_emb):
                stack.enter_context(_remembering(module))
        if savings.fewer_passes:
            stack.enter_context(fewer_passes(transformer, steps or InPlace()))
        yield


class _TextInputs:
    """Forward pre-hook: position ids of the right length for each branch, and no mask that masks nothing.

    The pipeline lays out positions for the prompt and uses them for the negative prompt too, which only fits when both
    are padded to one length. Text sits at the origin, so the other length is a matter of leading zero rows.
    """

    def __init__(self, savings: Savings) -> None:
        self._savings = savings
        self._positions: dict[int, torch.Tensor] = {}  # by text length, so that the same tensor comes every step
        self._idle_masks: list[tuple[torch.Tensor, bool]] = []

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        text_length = kwargs["encoder_hidden_states"].shape[1]
        positions = kwargs["position_ids"]
        if positions.shape[0] != text_length + kwargs["hidden_states"].shape[1]:
            if text_length not in self._positions:
                image = positions[-kwargs["hidden_states"].shape[1] :]
                self._positions[text_length] = torch.cat([image.new_zeros(text_length, 3), image])
            kwargs["position_ids"] = self._positions[text_length]
        mask = kwargs.get("encoder_attention_mask")
        if self._savings.no_mask and mask is not None and self._masks_nothing(mask):
            kwargs["encoder_attention_mask"] = None
        return args, kwargs

    def _masks_nothing(self, mask: torch.Tensor) -> bool:
        # Asking a GPU for a value makes it wait, so each mask is looked at once, not in every step.
        for known, answer in self._idle_masks:
            if known is mask:
                return answer
        answer = mask.dtype == torch.bool and bool(mask.all())
        self._idle_masks.append((mask, answer))
        return answer


@contextmanager
def _remembering(module: nn.Module) -> Iterator[None]:
    """`module` computes once for each tensor that it is given; the same tensor again gets the same answer.

    By identity, not by value: what is kept here also keeps the tensor alive, so its identity cannot be taken over.
    """
    forward = module.forward
    answers: list[tuple[torch.Tensor, Any]] = []

    def remembered(given: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        for known, answer in answers:
            if known is given:
                return answer
        answer = forward(given, *args, **kwargs)
        answers.append((given, answer))
        return answer

    with with_forward(module, remembered):
        yield
