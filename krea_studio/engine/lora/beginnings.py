"""How peft's adapters begin: most change nothing at first, some take their beginning off the weights.

Such an adapter is a difference from weights that nobody else has: put on the checkpoint's own, it changes them by its
beginning too. PiSSA and OLoRA begin with what follows from the weights, so that it can be taken off again; the others
begin with what depends on the pictures of the training, on chance or on a quantizer, and cannot be used.

Source: peft 0.21, `tuners/lora/layer.py`; its `subtract_mutated_init` makes plain LoRAs in the same way, but needs the
adapter as it began.
"""

from collections.abc import Callable

import torch

from krea_studio.engine.lora.factors import Factors
from krea_studio.validation import shown


def _principal(weight: torch.Tensor, rank: int, scale: float) -> Factors:
    """PiSSA (arXiv 2404.02948): the largest singular values."""
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    return Factors(right[:rank], left[:, :rank] * values[:rank])


def _orthonormal(weight: torch.Tensor, rank: int, scale: float) -> Factors:
    """OLoRA (arXiv 2406.01775): the first columns and rows of the QR decomposition, times the adapter's scale."""
    columns, rows = torch.linalg.qr(weight)
    return Factors(rows[:rank], columns[:, :rank] * scale)


Beginning = Callable[[torch.Tensor, int, float], Factors]
KNOWN: dict[str, tuple[str, Beginning]] = {"pissa": ("PiSSA", _principal), "olora": ("OLoRA", _orthonormal)}
# What leaves the weights as they are, and what takes off something that nobody can know afterwards.
_PLAIN = ("gaussian", "eva", "orthogonal", "mica")
_CONVERTED = "ask for a plain LoRA, which peft saves with path_initial_model_for_weight_conversion"
LOST = {
    "pissa_niter": ("PiSSA", "was drawn at random", _CONVERTED),
    "corda": ("CorDA", "depends on the training's own data", _CONVERTED),
    "lora_ga": ("LoRA-GA", "depends on the training's own data", _CONVERTED),
    "loftq": ("LoftQ", "depends on how they were quantized", "ask for a plain LoRA"),
}


def known(stated: object) -> tuple[str, Beginning] | None:
    """The name of what an adapter with this for `init_lora_weights` took off the weights, and what gives it; else None.

    It makes of a weight (out, in), a rank and a scale the adapter's change, scale counted in, when training began.
    """
    return KNOWN.get(stated.casefold()) if isinstance(stated, str) else None


def why_unusable(stated: object) -> str | None:
    """Why an adapter whose config states this for `init_lora_weights` cannot be used; None where it can."""
    if stated is None or isinstance(stated, bool):
        return None
    text = stated.casefold() if isinstance(stated, str) else ""
    if text in (*_PLAIN, *KNOWN):
        return None
    for begin, (name, why, advice) in LOST.items():
        if text.startswith(begin):
            return (
                f"it is a {name} adapter, which fits only weights that were changed when its training began, and what "
                f"was taken off them {why} — {advice}"
            )
    return f"its config states {shown(stated)} for init_lora_weights, which is not known here — ask for a plain LoRA"
