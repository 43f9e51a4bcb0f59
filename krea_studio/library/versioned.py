"""What the library keeps as JSON, under the schema version by which a later studio knows how to read it."""

import json
from typing import Any

from pydantic import BaseModel

from krea_studio.errors import InvalidRequest
from krea_studio.validation import shown


def versioned_bytes(kept: BaseModel, version: int) -> bytes:
    """A model as JSON; `read_versioned` reads it."""
    data = {"schema_version": version, **kept.model_dump(mode="json")}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1).encode()


def read_versioned(content: bytes, name: str, kind: str, version: int) -> dict[str, Any]:
    """The fields in a JSON file called `name`, which holds `kind` (`a moodboard`); a model has yet to check them.

    Raises InvalidRequest where it is no JSON or has another schema version.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{shown(name)} is not valid JSON — use the original file") from None
    found = data.pop("schema_version", None) if isinstance(data, dict) else None
    if type(found) is not int or found != version:
        raise InvalidRequest(
            f"{shown(name)} holds {kind} of schema version {shown(found)}, this studio reads {version} — "
            "open it with the version of the studio that wrote it"
        )
    return data
