"""What a safetensors file states before its tensors, read without torch and without a tensor.

A file begins with eight bytes, the length of a header of JSON: each tensor's type, shape and place, and in
`__metadata__` what the file says of itself. Whether the tensors are any good is for others to say.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MOST_HEADER_BYTES = 16 * 2**20
"""Of a LoRA's header, many times what one of a thousand layers needs."""
METADATA = "__metadata__"

# What a file begins with that somebody took for weights; safetensors has a number there and then `{`.
_OTHER_KINDS = (
    (b"PK\x03\x04", "a zip archive, which is how PyTorch packs pickles"),
    *((bytes([0x80, protocol]), "a Python pickle") for protocol in range(2, 6)),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"<", "a web page"),
    (b"{", "JSON"),
)


@dataclass(frozen=True)
class Header:
    """`tensors` by name as the file states them, its own `metadata`, and the byte `start` at which tensors begin."""

    tensors: Mapping[str, Any]
    metadata: Mapping[str, str]
    start: int


def read_header(file: BinaryIO, most_bytes: int = MOST_HEADER_BYTES) -> Header:
    """The header of an open file, which is then read up to its tensors.

    Raises ValueError for what is no safetensors file, or states a header of more than `most_bytes`.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= most_bytes:
        raise ValueError(f"A header of {length:,} bytes, of at most {most_bytes:,}")
    content = file.read(length)
    if len(content) < length:
        raise ValueError(f"Only {len(content):,} bytes of a header of {length:,}")
    try:
        header = json.loads(content)
    except RecursionError:
        raise ValueError("A header that is nested too deeply") from None
    if not isinstance(header, dict) or not isinstance(header.get(METADATA, {}), dict):
        raise ValueError("A header that is no table of tensors")
    metadata = header.pop(METADATA, {})
    return Header(header, metadata, 8 + length)


def other_kind(start: bytes) -> str | None:
    """What a file is instead of weights, in words, by its first bytes; None where they do not tell."""
    # A safetensors header may be 128 or 60 bytes and more by any multiple of 256, which begins like some of these.
    if start[8:9] == b"{" and not any(start[3:8]):
        return None
    return next((kind for beginning, kind in _OTHER_KINDS if start.lstrip().startswith(beginning)), None)
