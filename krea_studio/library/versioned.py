"""What the library keeps as JSON, under the schema version by which a later studio knows how to read it."""

import json
from typing import Any

from pydantic import BaseModel

from krea_studio.errors import InvalidRequest
from krea_studio.validation import shown


def versioned_bytes(kept: BaseModel, version: int, exclude: set[str] | None = None) -> bytes:
    """A model as JSON, without the fields of `exclude`; `read_versioned` reads it."""
    data = {"schema_version": version, **kept.model_dump(mode="json", exclude=exclude)}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1).encode()


def read_versioned(content: bytes, name: str, kind: str, version: int, oldest: int | None = None) -> dict[str, Any]:
    """The fields in a JSON file called `name`, which holds `kind` (`a moodboard`); a model has yet to check them.

    From `oldest` on versions differ by fields alone whose defaults say what was meant before there were any. Raises
    InvalidRequest where it is no JSON or has another schema version.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{shown(name)} is not valid JSON — use the original file") from None
    found = data.pop("schema_version", None) if isinstance(data, dict) else None
    if type(found) is not int or not (version if oldest is None else oldest) <= found <= version:
        raise InvalidRequest(
            f"{shown(name)} holds {kind} of schema version {shown(found)}, this studio reads {version} — "
            "open it with the version of the studio that wrote it"
        )
    return data
