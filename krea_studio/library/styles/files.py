"""Styles as files: the JSON of a card, what names a file's weights, and the card of a file that ships with the studio.

Of a safetensors file only the header is understood here; the tensors are bytes. Whether they are a style at all is for
the doctor to say, who wrote or checked every file that is kept.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ValidationError

from krea_studio.direction.styles import SHIPPED, StyleCard
from krea_studio.errors import InvalidRequest
from krea_studio.library.names import plain_name
from krea_studio.library.versioned import read_versioned, versioned_bytes
from krea_studio.recipe.request import StyleChoice, label
from krea_studio.validation import refusal, shown
from krea_studio.weights import Header, read_header

SCHEMA_VERSION, OLDEST_VERSION = 2, 1
"""Version 2 added whose a style is. What is everybody's is written as before, for studios that know no other."""
READ_BYTES = 2**20

MADE_FOR = "made_for"
"""In the metadata of a file: the labels of the checkpoints that it fits, with commas between them."""


def style_name(name: object) -> str:
    """A style's name: one line without control characters or outer spaces. Raises InvalidRequest."""
    return _valid({"name": plain_name(name)}, StyleChoice).name


def changed_card(card: StyleCard, **changes: object) -> StyleCard:
    """A card with some of its fields replaced. Raises InvalidRequest for what a field does not take."""
    return _valid(dict(card) | changes, StyleCard)


def card_bytes(card: StyleCard) -> bytes:
    """A card as JSON; `parse_card` reads it."""
    if card.owner:
        return versioned_bytes(card, SCHEMA_VERSION)
    return versioned_bytes(card, OLDEST_VERSION, exclude={"owner", "team"})


def parse_card(content: bytes, name: str) -> StyleCard:
    """The card in a JSON file called `name`. Raises InvalidRequest where it holds none that this studio reads."""
    return _valid(read_versioned(content, name, "a style", SCHEMA_VERSION, OLDEST_VERSION), StyleCard)


def weights_identity(path: Path) -> str:
    """32 hexadecimal digits of the hash of all tensors: their names, types, shapes and values.

    What the file says of itself does not count: it is written in no certain order, and people change it. Raises
    InvalidRequest for what is no safetensors file, OSError where it cannot be read.
    """
    with path.open("rb") as file:
        tensors = _header(file, path).tensors
        digest = hashlib.sha256(json.dumps(tensors, sort_keys=True).encode())
        while content := file.read(READ_BYTES):
            digest.update(content)
    return digest.hexdigest()[:32]


def stated(path: Path) -> Mapping[str, str]:
    """What a safetensors file says of itself.

    Raises InvalidRequest for what is no safetensors file, OSError where it cannot be read.
    """
    with path.open("rb") as file:
        return _header(file, path).metadata


def shipped_card(path: Path) -> StyleCard:
    """The card of a file that ships with the studio, from what it says of itself.

    Raises InvalidRequest where it says no name or is no safetensors file, OSError where it cannot be read.
    """
    said = stated(path)
    rank, alpha = said.get("rank", ""), said.get("alpha", "")
    return _valid(
        {
            "name": plain_name(said.get("name")),
            "identity": weights_identity(path),
            "bytes": path.stat().st_size,
            "trigger": said.get("trigger", ""),
            "suggested_prompt": said.get("suggested_prompt", ""),
            "made_for": tuple(filter(None, said.get(MADE_FOR, "").split(", "))),
            "stated_base": said.get("trained_on", ""),
            "rank": f"{rank}, alpha {alpha}" if alpha else rank,
            "source": SHIPPED,
        },
        StyleCard,
    )


def _header(file: BinaryIO, path: Path) -> Header:
    try:
        return read_header(file)
    except ValueError:
        raise InvalidRequest(f"{shown(path.name)} is no safetensors file — use the original file") from None


def _valid(data: Any, model: type[BaseModel]) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise refusal(error, model, lambda field: f"The style's {label(field, model).lower()}", "a style") from None
