"""A part of a checkpoint from a single file: the stock class, filled tensor by tensor, packed layers left packed.

The model is built without memory by its config and gets one tensor after the other, so that loading takes the model and
one layer. What is not packed is converted as `from_pretrained` does it, norms in float32. Whatever is not as it should
be (a parameter without a tensor, a tensor without a parameter, another shape, numbers of a size that no layer has)
refuses the file with the name.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
from torch import nn
from transformers import AutoConfig, Qwen3VLModel

from krea_studio.engine.checkpoints.formats.layers import Weight
from krea_studio.engine.checkpoints.formats.model_file import DECODER, TEXT_ENCODER, ModelFile, fits, unknown
from krea_studio.engine.checkpoints.formats.packed import PackedLinear
from krea_studio.engine.checkpoints.formats.unpacking import row_parts, unpack
from krea_studio.errors import Unavailable

# Standard deviations of a layer's weights. Trained ones lie around 0.01 to 0.1; values without their scale around 100.
LEAST_DEVIATION, MOST_DEVIATION = 1e-5, 8.0
_LOOKED_AT_ROWS = 128
_VISION = "visual."


def load(
    file: ModelFile, part: str, config: Path, precision: torch.dtype, progress: Callable[[float], None] = lambda _: None
) -> Any:
    """A part of a file as the stock class, of the config in the folder `config`, in evaluation mode.

    Numbers that are not packed are in `precision`, the transformer's norms in float32. `progress` is told the share
    that is read, 0…1, several times a layer, and may raise to give up. Raises Unavailable, with the name, for whatever
    does not fit.
    """
    weights = file.parts[part]
    model = _fitting(file, part, config, partial(init_empty_weights, include_buffers=False))
    kept_whole = getattr(model, "_keep_in_fp32_modules", None) or []
    for place, (name, weight) in enumerate(weights.stored.items()):
        own = torch.float32 if set(kept_whole) & set(name.split(".")) else precision
        _assign(file, model, name, weight, own, partial(progress, place / len(weights.stored)))
    empty = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
    if empty:
        raise _refused(file, f"{len(empty)} of its parameters have no numbers, first {empty[0]}")
    return model.eval()


@lru_cache(maxsize=64)
def require_fitting(file: ModelFile, part: str, config: Path) -> None:
    """Raise Unavailable, with the name, where a part's header says already that `load` would refuse it.

    May be asked from any thread, also while another one loads.
    """
    # Not as `load` does it: accelerate takes the numbers of all modules that any thread builds meanwhile.
    _fitting(file, part, config, partial(torch.device, "meta"))


def _fitting(
    file: ModelFile, part: str, config: Path, without_numbers: Callable[[], AbstractContextManager[Any]]
) -> Any:
    """The stock class without numbers, all of whose parameters are in the file, and in their shapes."""
    if reason := unknown(file, part):
        raise _refused(file, reason)
    stored = file.parts[part].stored
    model = _empty(part, config, without_numbers)
    if part == TEXT_ENCODER and not any(name.startswith(_VISION) for name in stored):
        model.visual = None
    expected = dict(model.named_parameters())
    _require_all(file, expected, stored)
    for name, parameter in expected.items():
        if not fits(name, stored[name].shape, tuple(parameter.shape)):
            raise _refused(file, f"{name} has the shape {stored[name].shape} and not {tuple(parameter.shape)}")
    return model


def unpacked_weight(file: ModelFile, weight: Weight, most_rows: int | None = None) -> torch.Tensor:
    """One parameter of a file in float32, in the shape that the file states, or its first rows."""
    shape = weight.shape if len(weight.shape) > 1 else (1, prod(weight.shape))
    parts = row_parts(weight.format, (shape[0], prod(shape[1:])), _raw(file, weight))
    if most_rows is not None:
        parts = {name: part if len(part) == 1 else part[:most_rows] for name, part in parts.items()}
    numbers = unpack(weight.format, prod(shape[1:]), weight.group, parts)
    return numbers if most_rows is not None else numbers.view(weight.shape)


def _empty(part: str, config: Path, without_numbers: Callable[[], AbstractContextManager[Any]]) -> Any:
    """The stock class, built in a context in which its parameters get no memory."""
    try:
        with without_numbers():
            if part == TEXT_ENCODER:
                return Qwen3VLModel(AutoConfig.from_pretrained(config, local_files_only=True))
            kind: Any = AutoencoderKLQwenImage if part == DECODER else Krea2Transformer2DModel
            return kind.from_config(kind.load_config(config, local_files_only=True))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Unavailable(f"{config} is no config of a {part} ({reason}) — copy the checkpoint again") from None


def _require_all(file: ModelFile, expected: Mapping[str, nn.Parameter], names: Mapping[str, Weight]) -> None:
    missing = [name for name in expected if name not in names]
    spare = [name for name in names if name not in expected]
    if missing:
        raise _refused(file, f"it lacks {len(missing)} of {len(expected)} parameters, first {missing[0]}")
    if spare:
        raise _refused(file, f"it has {len(spare)} parameters too many, first {spare[0]}")


def _assign(
    file: ModelFile,
    model: nn.Module,
    name: str,
    weight: Weight,
    precision: torch.dtype,
    check: Callable[[], None],
) -> None:
    """Give one parameter its numbers, or its layer a packed weight; `check` may raise between pieces of it."""
    place, _, leaf = name.rpartition(".")
    module = model.get_submodule(place)
    shape = tuple(getattr(module, leaf).shape)
    if weight.packed and leaf == "weight" and type(module) is nn.Linear:
        parts = row_parts(weight.format, shape, _raw(file, weight, check))
        packed = PackedLinear(module, weight.format, weight.group, parts, precision)
        looked_at = packed.unpacked(_LOOKED_AT_ROWS)
        _require_numbers(file, name, looked_at)
        _require_scale(file, name, looked_at)
        model.set_submodule(place, packed)
        return
    if weight.packed:
        numbers = unpacked_weight(file, weight)
    else:
        numbers = _raw(file, weight, check)["values"].view(getattr(torch, weight.format))
    numbers = numbers.to(precision).view(shape)
    _require_numbers(file, name, numbers[:_LOOKED_AT_ROWS])
    setattr(module, leaf, nn.Parameter(numbers, requires_grad=False))


def _require_numbers(file: ModelFile, name: str, numbers: torch.Tensor) -> None:
    if not numbers.isfinite().all():
        raise _refused(file, f"{name} holds values that are no numbers")


def _require_scale(file: ModelFile, name: str, numbers: torch.Tensor) -> None:
    """Refuse a layer whose scale was lost or is not its own."""
    deviation = numbers.square().mean().sqrt().item()
    if not LEAST_DEVIATION <= deviation <= MOST_DEVIATION:
        raise _refused(
            file,
            f"the values of {name} are about {deviation:.3g} where those of a layer are {LEAST_DEVIATION:g} to "
            f"{MOST_DEVIATION:g}, as without their scale",
        )


def _raw(file: ModelFile, weight: Weight, check: Callable[[], None] = lambda: None) -> dict[str, torch.Tensor]:
    """The stored tensors of a parameter: its values as bytes, its scales as what they are."""
    raw = {}
    for part, key in weight.keys.items():
        stored = file.container.tensors[key]
        tensor = torch.empty(stored.bytes, dtype=torch.uint8)  # aligned as torch's own, which kernels go by
        file.container.read_into(key, memoryview(tensor.numpy()), check)
        kind = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
        raw[part] = tensor if part == "values" else tensor.view(kind.get(stored.kind, torch.uint8))
    return raw


def _refused(file: ModelFile, reason: str) -> Unavailable:
    return Unavailable(
        f"{file.path} cannot be used: {reason} — get the file again, or set KREA_STUDIO_BASE to the checkpoint folder "
        "that it was made from"
    )
