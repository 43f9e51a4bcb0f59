"""Where models run and in which number format, when the settings leave it open, and how much memory they may take."""

import psutil  # accelerate's own requirement
import torch

from krea_studio.engine.checkpoints.memory import GIGABYTE, PLANNED_SHARE, Room
from krea_studio.errors import Unavailable

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(wanted: str) -> str:
    """`wanted` ("auto", "cpu", "cuda", "cuda:N", "mps") as a device that exists here: "cpu", "cuda:0", "mps".

    Raises Unavailable for one that does not.
    """
    kind, _, number = wanted.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda":
        index = int(number or 0)
        if index >= torch.cuda.device_count():
            raise Unavailable(
                f"Device {wanted} is not here ({torch.cuda.device_count()} CUDA devices are visible) — set "
                "KREA_STUDIO_DEVICE to auto or cpu"
            )
        return f"cuda:{index}"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("Device mps is not here — set KREA_STUDIO_DEVICE to auto or cpu")
    return kind


def choose_precision(wanted: str, device: str) -> torch.dtype:
    """`wanted` ("auto" or a name of PRECISIONS) as a number format; a CPU is fastest with float32."""
    if wanted != "auto":
        return PRECISIONS[wanted]
    return torch.float32 if device == "cpu" else torch.bfloat16


def room(wanted_gb: float | None, device: str) -> Room:
    """What may be taken of the device: of what is free there now, and for weights what the setting says."""
    on_gpu = device.startswith("cuda")
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    share = PLANNED_SHARE[device.partition(":")[0]]
    return Room(int(free * share), None if wanted_gb is None else int(wanted_gb * GIGABYTE), moves=on_gpu)
