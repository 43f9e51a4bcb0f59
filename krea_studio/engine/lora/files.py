"""The one way by which a LoRA file is opened: safetensors only, looked at before it is read, and read tensor by tensor.

The file is a stranger's. What is no plain file, too large, a pickle, or cut short is refused from its first bytes, and
nothing in it is ever run. The header gives names, shapes and metadata; of the values only what is asked for is brought
into memory. Knows nothing of layers and formats: `formats` tells what the names mean.
"""

import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.validation import shown
from krea_studio.weights import MOST_HEADER_BYTES, other_kind

MOST_BYTES = 2 * 10**9
MOST_TENSORS = 20_000
MOST_NAME_CHARACTERS = 250
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
NUMBERS = FLOATS | {f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)}
"""safetensors has others, which torch reads in other shapes or as no single number."""

_GGUF_MAGIC, _GGUF = b"GGUF", "a GGUF file"
_PEFT_FILE, _PEFT_CONFIG, _MOST_CONFIG_BYTES = "adapter_model.safetensors", "adapter_config.json", 200_000
# diffusers' `lora_base.LORA_ADAPTER_METADATA_KEY`: the peft config of a model, or of each part under the part's name.
_DIFFUSERS_CONFIG, _DIFFUSERS_PART = "lora_adapter_metadata", "transformer."


@dataclass(frozen=True)
class Stored:
    """A tensor as the header describes it; `dtype` in safetensors' words, such as `BF16`."""

    dtype: str
    shape: tuple[int, ...]


class LoraFile:
    """An open LoRA file: its size in bytes, its metadata, and its tensors under their keys, described but not read.

    `config` is peft's, empty where there is none; `config_problem` says why one that is there cannot be read.
    """

    def __init__(self, path: Path, size_bytes: int, reader: Any) -> None:
        self.path, self.bytes, self._reader = path, size_bytes, reader
        self.metadata: Mapping[str, str] = reader.metadata() or {}
        self.tensors: dict[str, Stored] = {}
        keys = list(reader.keys())
        longest = max(map(len, keys), default=0)
        if len(keys) > MOST_TENSORS or longest > MOST_NAME_CHARACTERS:
            raise InvalidRequest(
                f"{shown(path.name)} has {len(keys):,} tensors with names of up to {longest:,} characters, of at most "
                f"{MOST_TENSORS:,} and {MOST_NAME_CHARACTERS} — it is no sound LoRA, get it again"
            )
        for key in keys:
            described = reader.get_slice(key)
            self.tensors[key] = Stored(described.get_dtype(), tuple(described.get_shape()))
        self.config: Mapping[str, Any] = {}
        self.config_problem = ""
        try:
            self.config = _config(path, self.metadata)
        except ValueError as error:
            self.config_problem = str(error)

    def read(self, key: str) -> torch.Tensor:
        """The values of one tensor, as they are stored. Raises InvalidRequest when they cannot be read."""
        with _understood(self.path):
            return self._reader.get_tensor(key)


def plain_line(text: str, most_characters: int) -> str:
    """A stranger's text as one line that any terminal can print."""
    printable = (c if c.isprintable() else " " for c in text[: 4 * most_characters])
    return " ".join("".join(printable).split())[:most_characters]


def require_plain(path: Path) -> int:
    """The file's size in bytes. Raises InvalidRequest where there is no plain file, StorageError where it is closed."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # A path with a NUL is a ValueError.
        raise InvalidRequest(f"{shown(str(path))} does not exist — give a LoRA, a .safetensors file") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a plain file"
        raise InvalidRequest(f"{shown(str(path))} is {kind} — give a LoRA, a .safetensors file")
    return found.st_size


@contextmanager
def opened(path: Path) -> Iterator[LoraFile]:
    """The file while the context lasts.

    Raises InvalidRequest for no plain file, more than MOST_BYTES, anything but safetensors and a damaged file;
    StorageError where it may not be read.
    """
    size_bytes = require_plain(path)
    if size_bytes > MOST_BYTES:
        raise InvalidRequest(
            f"{shown(path.name)} has {size_bytes:,} bytes, more than the {MOST_BYTES:,} that a LoRA may have — "
            "give a smaller one; a whole model is no LoRA"
        )
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise _unreadable(path, error) from None
    _require_safetensors(path, start, size_bytes)
    with _understood(path):
        reader = safe_open(path, framework="pt")
    with reader:
        with _understood(path):
            file = LoraFile(path, size_bytes, reader)
        yield file


def _require_safetensors(path: Path, start: bytes, size_bytes: int) -> None:
    if not start:
        raise InvalidRequest(f"{shown(path.name)} is empty — download or copy it again")
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and 2 <= length <= MOST_HEADER_BYTES:
        return
    if kind := _GGUF if start.startswith(_GGUF_MAGIC) else other_kind(start):
        raise InvalidRequest(
            f"{shown(path.name)} is {kind} — give a .safetensors file; pickles are never opened, they can run code"
        )
    if start[8:9] == b"{":
        raise InvalidRequest(
            f"{shown(path.name)} states a header of {length:,} bytes, of at most {MOST_HEADER_BYTES:,} — "
            "it is no sound LoRA, get it again"
        )
    raise InvalidRequest(
        f"{shown(path.name)} is no safetensors file ({size_bytes:,} bytes) — give a .safetensors file, whole"
    )


def _config(path: Path, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """The peft config that the file states in its metadata, or that lies beside it; empty where there is none.

    It matters where keys have no alpha: diffusers and peft then take it from there. Raises ValueError, with the reason
    and what to do, where one is there and cannot be read.
    """
    if _DIFFUSERS_CONFIG in metadata:
        stated = _json_table(_DIFFUSERS_CONFIG, metadata[_DIFFUSERS_CONFIG].encode())
        # A pipeline saves each part's under its name, a transformer its own as it is.
        own = {key: value for key, value in stated.items() if "." not in key}
        part = {
            key.removeprefix(_DIFFUSERS_PART): value for key, value in stated.items() if key.startswith(_DIFFUSERS_PART)
        }
        return own | part
    beside = path.with_name(_PEFT_CONFIG)
    if path.name != _PEFT_FILE:
        return {}
    try:
        with beside.open("rb") as file:
            content = file.read(_MOST_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unread_config(_PEFT_CONFIG, error.strerror or str(error)) from None
    return _json_table(_PEFT_CONFIG, content)


def _json_table(name: str, content: bytes) -> dict[str, Any]:
    """JSON in UTF-8, 16 or 32, with a byte order mark or without. Raises ValueError, which names it and says why."""
    try:
        if len(content) > _MOST_CONFIG_BYTES:
            raise ValueError(f"it has more than {_MOST_CONFIG_BYTES:,} bytes")
        stated = json.loads(content)
        if not isinstance(stated, dict):
            raise ValueError("it is no table of settings")
    except (ValueError, RecursionError) as error:
        raise _unread_config(name, plain_line(str(error), 200)) from None
    return stated


def _unread_config(name: str, reason: str) -> ValueError:
    return ValueError(f"its {name}, which says how strong it is, cannot be read ({reason}) — get it again with it")


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Turn what the reader raises into one line."""
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from None
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        reason = plain_line(str(error), 200)
        raise InvalidRequest(
            f"{shown(path.name)} is damaged or only half there ({reason}) — download or copy it again"
        ) from None


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{shown(str(path))} cannot be read ({error.strerror or error}) — check the file and its permissions"
    )
