"""The tokenizer and the text encoder of the embedded checkpoints.

The pipeline drops exactly 34 tokens of its chat template before a prompt and keeps 5 after it; a byte-level BPE that
has seen the template whole-word gives these numbers, and any other text still splits into bytes without loss. The
encoder learns, besides predicting the next token, to gather at the template's end what the caption named.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3VLModel

from krea_studio.training import loop
from krea_studio.training.checkpoints import architecture
from krea_studio.training.world.captions import ATTRIBUTES, Caption, caption
from krea_studio.training.world.scenes import random_scene

PREFIX = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, "
    "spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
PREFIX_TOKENS, SUFFIX_TOKENS = 34, 5
SPECIAL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
BATCH = 48
STEPS = 400
FIRST_SEED = 7_000_000


def train_tokenizer(captions: int = 20_000) -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE over captions and the template. Raises if the template's token counts are off."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1600,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    template = (PREFIX + SUFFIX).replace("<|im_start|>", " ").replace("<|im_end|>", " ").split("\n")
    corpus = [_caption(FIRST_SEED + k).text for k in range(captions)]
    tokenizer.train_from_iterator(corpus + [line.strip() for line in template] * 2000, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=SPECIAL_TOKENS[1:],
        padding_side="right",
        model_max_length=1024,
    )
    counts = len(fast(PREFIX).input_ids), len(fast(SUFFIX).input_ids)
    if counts != (PREFIX_TOKENS, SUFFIX_TOKENS):
        raise RuntimeError(f"the template has {counts} tokens, the pipeline needs {(PREFIX_TOKENS, SUFFIX_TOKENS)}")
    return fast


def _caption(seed: int) -> Caption:
    return caption(random_scene(seed), random.Random(f"caption-{seed}"))


def tokenize(tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and validity, (batch, length), in the pipeline's layout: prefix, prompt, padding, suffix."""
    front = tokenizer([PREFIX + p for p in prompts], padding=True, return_tensors="pt")
    back = tokenizer([SUFFIX] * len(prompts), return_tensors="pt")
    ids = torch.cat([front.input_ids, back.input_ids], 1)
    return ids, torch.cat([front.attention_mask, back.attention_mask], 1).bool()


def hidden_states(encoder: Qwen3VLModel, ids: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All hidden states (layers + 1) of shape (batch, length, width); padding takes no position, as in the pipeline."""
    positions = (valid.long().cumsum(-1) - 1).clamp(min=0).expand(3, -1, -1)
    out = encoder(
        input_ids=ids, attention_mask=valid, position_ids=positions, output_hidden_states=True, use_cache=False
    )
    return out.hidden_states


@torch.no_grad()
def encode(
    encoder: Qwen3VLModel, tokenizer: PreTrainedTokenizerFast, prompts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Conditioning (batch, length, taps, width) and validity (batch, length) of prompts, without the prefix."""
    ids, valid = (t.to(encoder.device) for t in tokenize(tokenizer, prompts))
    states = hidden_states(encoder, ids, valid)
    taps = torch.stack([states[k] for k in architecture.TEXT_TAPS], 2)
    return taps[:, PREFIX_TOKENS:], valid[:, PREFIX_TOKENS:]


class _Reader(nn.Module):
    """The encoder with one classifier an attribute on the last token of the last tap."""

    def __init__(self, encoder: Qwen3VLModel):
        super().__init__()
        self.encoder = encoder
        width = architecture.TEXT_WIDTH
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(values) + 1) for name, values in ATTRIBUTES.items()})


def train_encoder(
    tokenizer: PreTrainedTokenizerFast, folder: Path, device: str, steps: int = STEPS, seed: int = 0
) -> Qwen3VLModel:
    """Train the text encoder from scratch (or go on) and return it."""
    torch.manual_seed(seed)
    encoder = architecture.text_encoder(len(tokenizer))
    for name, token in (("image_token_id", "<|image_pad|>"), ("video_token_id", "<|video_pad|>"),
                        ("vision_start_token_id", "<|vision_start|>"), ("vision_end_token_id", "<|vision_end|>")):  # fmt: skip
        setattr(encoder.config, name, tokenizer.convert_tokens_to_ids(token))
    encoder.visual.requires_grad_(False)
    reader = _Reader(encoder).to(device)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        captions = [_caption(FIRST_SEED + step * BATCH + k) for k in range(BATCH)]
        ids, valid = (t.to(device) for t in tokenize(tokenizer, [c.text for c in captions]))
        states = hidden_states(encoder, ids, valid)
        seen = states[architecture.TEXT_TAPS[-1]][:, -1]
        loss = torch.zeros((), device=device)
        for name, values in ATTRIBUTES.items():
            # The last class stands for "not named".
            target = [values.index(c.named[name]) if name in c.named else len(values) for c in captions]
            loss = loss + F.cross_entropy(reader.heads[name](seen), torch.tensor(target, device=device))
        logits = states[-1] @ encoder.get_input_embeddings().weight.T
        following = ids[:, 1:].masked_fill(~(valid[:, 1:] & valid[:, :-1]), -100)
        return loss + 0.5 * F.cross_entropy(logits[:, :-1].flatten(0, 1), following.flatten(), ignore_index=-100)

    loop.run("text encoder", reader, loss_of, loop.Schedule(steps, 2e-3), folder, seed, decay=0.995)
    return encoder.requires_grad_(False).eval()
