"""What a file of tensors states before its values: safetensors and GGUF, read alike, without torch and without a value.

A GGUF file begins with a magic word, counts, key-value pairs and a table of tensors (ggml's `docs/gguf.md`, versions 2
and 3); shapes are there with the fastest axis first and here with it last, as everywhere else. Files may be anybody's:
every count is bounded and every tensor lies within the file, or it is refused.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import BinaryIO

from krea_studio.errors import Unavailable
from krea_studio.validation import shown
from krea_studio.weights import other_kind, read_header

MOST_HEADER_BYTES = 100_000_000  # of safetensors itself
MOST_TENSORS = 100_000
MOST_NAME_CHARACTERS = 500  # three times as many as any model's have
_MOST_PAIRS = 100_000
_MOST_TEXT_BYTES = 2**24
_MOST_TEXTS = 2_000_000  # in an array; a large vocabulary has a tenth
_MAGIC = b"GGUF"
_ALIGNMENT_BYTES = 32
_PIECE_BYTES = 2**24  # a slow share gives as much in about a second

# Bytes of one value, by safetensors' names.
_VALUE_BYTES = {
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 1),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
}
# ggml's types: number → name, values a block, bytes a block (ggml-common.h).
GGML_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}
# GGUF's types of a key's value: number → struct's letter; 8 is a text, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: its number format (`BF16`, `F8_E4M3`, `Q4_K`), its shape, and where its bytes are."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Container:
    """A file as its header describes it: `kind` is `safetensors` or `gguf`, `bytes` its size on disk.

    The same object as long as the file is unchanged.
    """

    path: Path
    kind: str
    bytes: int
    tensors: Mapping[str, Stored] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)

    def read(self, name: str) -> bytearray:
        """The bytes of one tensor, as they are stored. Raises Unavailable where they cannot be read."""
        content = bytearray(self.tensors[name].bytes)
        self.read_into(name, memoryview(content))
        return content

    def read_into(self, name: str, buffer: memoryview, check: Callable[[], None] = lambda: None) -> None:
        """As `read`, into memory of the same size that is there already; `check` may raise between pieces of it."""
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.tensors[name].begin)
                done = 0
                while done < len(buffer) and (more := file.readinto(buffer[done : done + _PIECE_BYTES])):
                    done += more
                    check()
        except OSError as error:
            raise Unavailable(
                f"{self.path} cannot be read ({error.strerror or error}) — check the file and its permissions"
            ) from None
        if done < len(buffer):
            raise _damaged(self.path, f"{shown(name)} ends after {done:,} of {len(buffer):,} bytes")


def open_container(path: Path) -> Container:
    """The header of a file. Raises Unavailable for what is neither container, cut short, or cannot be read."""
    try:
        stat = path.stat()
        return _opened(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror or error}) — check the path and the file") from None


@lru_cache(maxsize=256)
def _opened(path: Path, size_bytes: int, _changed_ns: int) -> Container:
    if not path.is_file():
        raise Unavailable(f"{path} is no file — give a .safetensors or .gguf file")
    with path.open("rb") as file:
        start = file.read(32)
        file.seek(0)
        if other := other_kind(start):
            raise Unavailable(f"{path} is {other} — get the model as a .safetensors or .gguf file")
        kind = "gguf" if start[:4] == _MAGIC else "safetensors"
        try:
            tensors, metadata = _gguf(file, size_bytes) if kind == "gguf" else _safetensors(file)
        except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
            raise _damaged(path, str(error)) from None
    longest = max(map(len, tensors), default=0)
    if longest > MOST_NAME_CHARACTERS:
        raise _damaged(path, f"it has names of {longest:,} characters, of at most {MOST_NAME_CHARACTERS}")
    for name, stored in tensors.items():
        if stored.begin + stored.bytes > size_bytes:
            raise _damaged(
                path, f"it has {size_bytes:,} bytes and {shown(name)} ends at {stored.begin + stored.bytes:,}"
            )
    return Container(path, kind, size_bytes, tensors, metadata)


def _damaged(path: Path, reason: str) -> Unavailable:
    return Unavailable(f"{path} is damaged or only half there ({reason[:200]}) — copy or download it again")


def _safetensors(file: BinaryIO) -> tuple[dict[str, Stored], Mapping[str, str]]:
    header = read_header(file, MOST_HEADER_BYTES)
    if len(header.tensors) > MOST_TENSORS:
        raise ValueError(f"{len(header.tensors):,} tensors, of at most {MOST_TENSORS:,}")
    tensors = {}
    for name, stated in header.tensors.items():
        shape, (begin, end) = tuple(stated["shape"]), stated["data_offsets"]
        if {int} != {type(n) for n in (*shape, begin, end)} or min(begin, end, *shape) < 0:
            raise ValueError(f"{shown(name)} has no sound shape or place")
        width = _VALUE_BYTES.get(stated["dtype"])
        if width is not None and end - begin != width * prod(shape):
            raise ValueError(f"{shown(name)} has {end - begin:,} bytes for the shape {shape}")
        tensors[name] = Stored(stated["dtype"], shape, header.start + begin, max(end - begin, 0))
    return tensors, {str(key): str(value) for key, value in header.metadata.items()}


def _gguf(file: BinaryIO, size_bytes: int) -> tuple[dict[str, Stored], dict[str, str]]:
    file.read(4)
    version, tensor_count, pair_count = _unpack(file, "<IQQ")
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version}, of which 2 and 3 are read")
    if tensor_count > MOST_TENSORS or pair_count > _MOST_PAIRS:
        raise ValueError(f"{tensor_count:,} tensors and {pair_count:,} keys, of at most {MOST_TENSORS:,}")
    metadata: dict[str, str] = {}
    for _ in range(pair_count):
        key = _text(file)
        value = _value(file, _unpack(file, "<I")[0], size_bytes)
        if value is not None:
            metadata[key] = value
    found: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(tensor_count):
        name = _text(file)
        (axes,) = _unpack(file, "<I")
        if axes > 8:
            raise ValueError(f"{shown(name)} has {axes} axes")
        shape = tuple(reversed(_unpack(file, f"<{axes}Q")))
        number, offset = _unpack(file, "<IQ")
        found.append((name, shape, number, offset))
    alignment = int(metadata.get("general.alignment", _ALIGNMENT_BYTES))
    if not 1 <= alignment <= 2**20:
        raise ValueError(f"an alignment of {alignment} bytes")
    start = -(-file.tell() // alignment) * alignment
    tensors = {}
    for name, shape, number, offset in found:
        kind, values, width = GGML_TYPES.get(number, (f"type {number}", 1, 0))
        if shape and shape[-1] % values:
            raise ValueError(f"{shown(name)} has rows of {shape[-1]}, of which {kind} has blocks of {values}")
        tensors[name] = Stored(kind, shape, start + offset, prod(shape) // values * width)
    return tensors, metadata


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    content = file.read(struct.calcsize(form))
    return struct.unpack(form, content)


def _text(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    if length > _MOST_TEXT_BYTES:
        raise ValueError(f"a text of {length:,} bytes")
    content = file.read(length)
    if len(content) < length:
        raise ValueError("it ends within a text")
    return content.decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int, size_bytes: int) -> str | None:
    """A key's value as text; None for an array, which is passed over."""
    if kind == _TEXT:
        return _text(file)
    if kind in _SCALARS:
        return str(_unpack(file, f"<{_SCALARS[kind]}")[0])
    if kind != _ARRAY:
        raise ValueError(f"a value of the unknown type {kind}")
    inner, count = _unpack(file, "<IQ")
    if count > (_MOST_TEXTS if inner == _TEXT else size_bytes):
        raise ValueError(f"an array of {count:,} values")
    if inner in _SCALARS:
        file.seek(count * struct.calcsize(_SCALARS[inner]), 1)
    elif inner == _TEXT:
        for _ in range(count):
            _text(file)
    else:
        raise ValueError("an array of arrays")
    return None
