"""What the language model in a checkpoint says: its text encoder is a Qwen3-VL without its head.

That head is the embedding of the words, so a generator around the resident encoder has no weight of its own. Pictures
become patches as the model's own processor cuts them, and the chat template is written out: neither torchvision nor a
processor's files are needed. Words are drawn from random numbers of their own, so that the same chat gets the same
answer and no picture's noise depends on it. Afterwards the encoder is as it was.
"""

import io
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from math import sqrt
from typing import Any

import numpy as np
import torch
from diffusers import Krea2Pipeline
from PIL import Image
from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

from krea_studio.engine.base import Chat
from krea_studio.errors import Unavailable
from krea_studio.settings import environment_variable

PICTURE_PIXELS = 384 * 384
# Against going round in circles, which a model that always takes the likeliest word is prone to.
REPETITION_PENALTY = 1.05

# Of every Qwen3-VL: sides of a patch and of the square of patches that becomes one token; a still picture counts twice.
_PATCH_PX, _MERGED, _FRAMES = 16, 2, 2
_SIDE_STEP_PX = _PATCH_PX * _MERGED
_END_TOKENS = ("<|im_end|>", "<|endoftext|>")


def write(pipeline: Krea2Pipeline, device: str, chat: Chat, check: Callable[[], None]) -> str:
    """The answer of the pipeline's language model, which is on `device`. `check` is called before every token and may
    raise to stop.

    Raises Unavailable where the answer takes longer than the chat's timeout.
    """
    check()
    end = time.monotonic() + chat.timeout_seconds
    encoder, tokenizer = pipeline.text_encoder, pipeline.tokenizer
    seen = [patchified(fitted(_opened(png))) for png in chat.pictures]
    counts = [rows * columns // _MERGED**2 for _, (_, rows, columns) in seen]
    read = tokenizer(chat_text(chat, counts), return_tensors="pt").input_ids
    inputs = {"input_ids": read.to(device), "attention_mask": torch.ones_like(read, device=device)}
    if seen:
        inputs |= {
            "mm_token_type_ids": (read == encoder.config.image_token_id).int().to(device),
            "pixel_values": torch.cat([patches for patches, _ in seen]).to(device),
            "image_grid_thw": torch.tensor([grid for _, grid in seen], device=device),
        }
    drawn = {"do_sample": True, "temperature": chat.temperature, "top_p": chat.top_p} if chat.temperature else {}

    def stops(ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        check()
        if time.monotonic() > end:
            raise Unavailable(
                f"The language model has not answered within {chat.timeout_seconds:g} seconds — try again, or raise "
                f"{environment_variable('expander_timeout_seconds')}"
            )
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    try:
        with torch.random.fork_rng([device] if device.startswith("cuda") else []):
            torch.manual_seed(chat.seed)
            written = generator(pipeline).generate(
                **inputs, **drawn, max_new_tokens=chat.max_tokens, stopping_criteria=[stops]
            )
    finally:
        encoder.rope_deltas = None  # places of this chat's pictures, which the model keeps
    return tokenizer.decode(written[0, read.shape[1] :], skip_special_tokens=True)


def generator(pipeline: Krea2Pipeline) -> Qwen3VLForConditionalGeneration:
    """The pipeline's text encoder with its head, which is its embedding: the same tensors, for use at once.

    It must not be moved, saved or kept: that would act on the encoder.
    """
    encoder, tokenizer = pipeline.text_encoder, pipeline.tokenizer
    config = deepcopy(encoder.config)
    config.tie_word_embeddings = True
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(config)
    model.model = encoder
    model.lm_head.weight = encoder.get_input_embeddings().weight
    end, pad = tokenizer.convert_tokens_to_ids(_END_TOKENS)
    model.generation_config = GenerationConfig(
        do_sample=False,
        repetition_penalty=REPETITION_PENALTY,
        eos_token_id=[end, pad],
        pad_token_id=pad,
    )
    return model.eval()


def fitted(picture: Image.Image) -> Image.Image:
    """A picture, at most four times as long as wide, with no more than PICTURE_PIXELS and sides that patches fill."""
    scale = min(1.0, sqrt(PICTURE_PIXELS / (picture.width * picture.height)))
    width, height = (max(1, int(side * scale) // _SIDE_STEP_PX) * _SIDE_STEP_PX for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def patchified(picture: Image.Image) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """The patches of an RGB picture, shape (rows · columns, 1536) in −1 … 1, and its grid (1, rows, columns).

    Equal to those of transformers' Qwen2VLImageProcessorPil; the four patches of a token follow one another.
    """
    rows, columns = picture.height // _PATCH_PX, picture.width // _PATCH_PX
    pixels = (torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 - 0.5) / 0.5
    squares = (rows // _MERGED, _MERGED, _PATCH_PX, columns // _MERGED, _MERGED, _PATCH_PX)
    patches = pixels.repeat(_FRAMES, 1, 1, 1).view(_FRAMES, 3, *squares).permute(2, 5, 3, 6, 1, 0, 4, 7)
    return patches.reshape(rows * columns, -1), (1, rows, columns)


def chat_text(chat: Chat, tokens: Sequence[int]) -> str:
    """One turn of Qwen3-VL's chat template: the system message, pictures of so many tokens, and the instruction."""
    system = f"<|im_start|>system\n{_plain(chat.system)}<|im_end|>\n" if chat.system else ""
    pictures = "".join(f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>" for count in tokens)
    return f"{system}<|im_start|>user\n{pictures}{_plain(chat.instruction)}<|im_end|>\n<|im_start|>assistant\n"


def _plain(text: str) -> str:
    """A text that cannot end its turn or pass for a picture: marks of the template are taken apart."""
    return text.replace("<|", "< |")


def _opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return picture.convert("RGB")
