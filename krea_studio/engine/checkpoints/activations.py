"""What a run needs of the device beside weights: arithmetic on a model's dimensions and the picture's size.

Free of torch and of files. The factors are those of stock diffusers in eager mode, counted tensor by tensor on models
of the published dimensions without memory (`tests/engine/checkpoints/test_activations.py` counts them again). What
libraries take for themselves, such as the workspace of a convolution, is left to the share of the device that is not
planned with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A tile of the decoder with its margin, in pixels.
TILE_PIXELS = (64 + 2 * 13) ** 2 * 8**2
# What unpacks a packed layer keeps for each number of a piece of it, at most; see `formats.packed`.
UNPACKING_BYTES = 14
UNPACKED_AT_ONCE = 2**24
# The longest that the text encoder reads or writes: a prompt has up to 546 tokens, a chat with pictures up to these.
READ_TOKENS = 2048
REFERENCE_PIXELS = 1024 * 1024
# Of the blocks, the share that attends to references; `reference_attention.Preset` says the same.
ATTENDING = 0.75
# The decoder's and the encoder's copies for still pictures, of the VAE's own weights; see `pipeline.single_frame`.
COPIES = 0.36


@dataclass(frozen=True)
class Run:
    """What of a run decides how much memory it takes: the picture's size in pixels, and how many references it has.

    A moodboard counts as one reference, since its pictures are read smaller.
    """

    width: int = 1024
    height: int = 1024
    references: int = 0


USUAL = Run()


@dataclass(frozen=True)
class Dimensions:
    """A checkpoint's dimensions, and the bytes of a number in its precision.

    Widths are in numbers, `token_px` is a token's side and `largest_*` the numbers of the largest packed layer, 0 for
    none.
    """

    width: int
    key_width: int
    feed_forward: int
    blocks: int
    token_px: int
    channels: int
    text_width: int
    text_layers: int
    number_bytes: int
    largest_layer: int = 0
    largest_text_layer: int = 0
    copies_bytes: int = 0


@dataclass(frozen=True)
class Activations:
    """Bytes beside weights while the text encoder reads, the transformer draws, the VAE decodes: whole or in tiles."""

    reading: int
    drawing: int
    decoding: int
    tiles: int


def dimensions(
    transformer: Mapping[str, Any], text_encoder: Mapping[str, Any], vae: Mapping[str, Any], patch: int, **others: int
) -> Dimensions:
    """The dimensions that configs of the three models state; `others` are fields of Dimensions that these do not know.

    Raises KeyError or TypeError for a config of something else.
    """
    text = text_encoder.get("text_config", text_encoder)
    head = transformer["attention_head_dim"]
    return Dimensions(
        width=head * transformer["num_attention_heads"],
        key_width=head * transformer["num_key_value_heads"],
        feed_forward=transformer["intermediate_size"],
        blocks=transformer["num_layers"],
        token_px=patch * 2 ** len(vae["temperal_downsample"]),
        channels=vae["base_dim"],
        text_width=text["hidden_size"],
        text_layers=text["num_hidden_layers"],
        **others,
    )


def activations(of: Dimensions, run: Run) -> Activations:
    """What a run of one picture at a time needs beside weights, by stage."""
    picture_px = run.width * run.height
    tokens = picture_px // of.token_px**2 + READ_TOKENS // 4
    kept = min(TILE_PIXELS, picture_px) * _pixel_bytes(of) + 3 * picture_px * (1 + 2 * of.number_bytes)
    read = _pixel_bytes(of) * REFERENCE_PIXELS if run.references else 0
    return Activations(
        reading=of.copies_bytes
        + READ_TOKENS * (of.text_layers + 1) * of.text_width * of.number_bytes
        + _unpacking(of, of.largest_text_layer),
        drawing=of.copies_bytes
        + max(read, tokens * _token_bytes(of) + _references(of, run, tokens))
        + _unpacking(of, of.largest_layer),
        decoding=of.copies_bytes + picture_px * _pixel_bytes(of),
        tiles=of.copies_bytes + kept,
    )


def _pixel_bytes(of: Dimensions) -> int:
    """Of one pixel while the VAE works at the full size: for each channel a tensor, and what its norm makes of it."""
    return of.channels * (10 + 3 * of.number_bytes // 2)


def _token_bytes(of: Dimensions) -> int:
    """Of one token inside a block: turning the queries in float32, or the feed-forward, whichever takes more."""
    turning = 13 * of.number_bytes * of.width
    feeding = of.number_bytes * (2 * of.width + 3 * of.feed_forward)
    return max(turning, feeding)


def _references(of: Dimensions, run: Run, tokens: int) -> int:
    """Keys and values of every reference in every block that attends, and what attending makes of the tokens."""
    if not run.references:
        return 0
    each = REFERENCE_PIXELS // of.token_px**2
    captured = run.references * each * 2 * of.key_width * round(of.blocks * ATTENDING)
    attended = tokens * (5 + run.references) * of.width + each * 2 * of.width
    return (captured + attended) * of.number_bytes


def _unpacking(of: Dimensions, numbers: int) -> int:
    return numbers * of.number_bytes + min(numbers, UNPACKED_AT_ONCE) * UNPACKING_BYTES
