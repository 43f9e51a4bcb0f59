"""Steering by text: a slider as a direction in the text encoder's hidden states, found by contrasting prompts.

For each tapped layer the mean difference between prompts of the two poles gives a unit vector; a slider's value moves
every token that is read along it, by a share of the layer's own median token norm, since norms differ by a factor of
fifty between layers. The prompt itself stays as it is. Found once for each encoder and kept on disk.
(Mean-difference steering as in activation addition, Turner et al. 2023, arXiv 2308.10248.)
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import Krea2Pipeline
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from krea_studio.direction.sliders import Contrast
from krea_studio.engine.pipeline.prompts import PromptEmbedding, count_tokens
from krea_studio.files import whole

BATCH = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Direction:
    """`unit` of shape (text layers, text width): a unit vector a layer, from the negative pole to the positive one."""

    unit: torch.Tensor


def shifted(text: PromptEmbedding, moves: Sequence[tuple[Direction, float]]) -> PromptEmbedding:
    """The embedding moved along directions, each by its share of the layer's median token norm; masked rows stay."""
    if not moves:
        return text
    values = text.values.float()
    valid = text.read
    norms = torch.stack([layer[valid].norm(dim=-1).median() for layer in values.unbind(2)])
    total = sum(share * direction.unit.to(values.device) for direction, share in moves)
    moved = values + valid[..., None, None] * norms[:, None] * total
    return PromptEmbedding(moved.to(text.values.dtype), text.mask)


def find(
    pipeline: Krea2Pipeline,
    contrasts: Sequence[Contrast],
    cached: Path,
    report: Callable[[float], None],
    check: Callable[[], None],
) -> Direction:
    """The direction of these contrasts for the pipeline's encoder: from the file `cached`, or computed and put there.

    `report` is told the share that is done, `check` is called between batches and may raise to give up.
    """
    try:
        return Direction(load_file(cached)["unit"])
    except (OSError, SafetensorError, KeyError):
        pass
    total = torch.zeros(())
    for start in range(0, len(contrasts), BATCH):
        check()
        report(start / len(contrasts))
        some = contrasts[start : start + BATCH]
        total = (
            total
            + mean_states(pipeline, [c.positive for c in some])
            - mean_states(pipeline, [c.negative for c in some])
        )
    direction = Direction(total / total.norm(dim=-1, keepdim=True).clamp_min(1e-12))
    _keep(direction, cached)
    return direction


def contrasts_hash(contrasts: Sequence[Contrast]) -> str:
    """Names a list of contrasts by its words."""
    return hashlib.sha256(repr(contrasts).encode()).hexdigest()[:8]


@torch.no_grad()
def mean_states(pipeline: Krea2Pipeline, prompts: list[str]) -> torch.Tensor:
    """Sum over prompts of the mean hidden state of the tokens that are read, (text layers, text width)."""
    length = max(count_tokens(pipeline, prompt) for prompt in prompts)
    length += pipeline.prompt_template_encode_num_suffix_tokens
    values, mask = pipeline.get_text_hidden_states(prompts, max_sequence_length=length)
    weight = mask.to(torch.float32) / mask.sum(1, keepdim=True)
    return torch.einsum("bn,bntw->tw", weight, values.float()).cpu()


def _keep(direction: Direction, path: Path) -> None:
    try:
        with whole(path) as temporary:
            save_file({"unit": direction.unit.contiguous()}, temporary)
    except (OSError, SafetensorError) as error:
        log.warning("A text direction is not kept for the next start: %s", error)
