"""The licence of Krea 2's published weights, and whether it was accepted by whoever runs this studio.

It is shown with its use policy, and accepted once for a library, before any published weights are loaded. An acceptance
counts for the text that ships; where that changes, it is asked for again. The embedded checkpoints are not under it.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from krea_studio.errors import Unavailable
from krea_studio.files import make_folder, write_error, write_whole

NAME = "Krea 2 Community License Agreement, v.1, 22 June 2026"
TEXT = Path(__file__).resolve().parents[1] / "assets" / "safety" / "krea-2-community-license.txt"
"""The agreement's whole text, as published."""
USE_POLICY = "https://www.krea.ai/krea-2-use-policy"
FILE = "licence.json"
COMMAND = "python -m krea_studio accept-licence"

SUMMARY = (
    "Krea 2's published weights, and models made from them, are under a licence of Krea's own. Who runs them agrees to "
    "it. Among its terms, in short; its text alone counts:",
    "Commercial use only while your whole company has less than 1,000,000 US dollars of revenue in a year (2.3).",
    "Who offers the model, or a service that contains it, gives a copy of the agreement on and keeps its notice (3.1).",
    "Content filters are a duty, and removing safety measures is forbidden (4.1, 4.2).",
    "Where law asks for it, you say that pictures were made by a machine (4.3).",
    f"The use policy is part of it (4.4): {USE_POLICY}",
    "You answer for what you make, and to Krea for claims of others (5.3, 8).",
    "Krea may end it with 30 days' notice (9.2).",
)
"""What a person reads before accepting: an introduction, and a line for each term."""


class Licence:
    """Whether the licence was accepted for the library in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @property
    def accepted(self) -> bool:
        """Whether the text that ships was accepted here; looked up each time, as another process may have done so."""
        try:
            kept = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(kept, dict) and kept.get("sha256") == _identity()

    def accept(self) -> None:
        """Note that whoever runs the studio accepts the licence, now. Raises StorageError."""
        kept = {"licence": NAME, "sha256": _identity(), "accepted_at": datetime.now(UTC).isoformat()}
        try:
            make_folder(self._path.parent)
            write_whole(self._path, json.dumps(kept, indent=1).encode())
        except OSError as error:
            raise write_error(error, self._path.parent) from None

    def require(self, label: str) -> None:
        """Raise Unavailable where the weights called `label` may not be loaded yet."""
        if not self.accepted:
            raise Unavailable(unaccepted(label))


def unaccepted(label: str) -> str:
    """Why the weights called `label` are not loaded, and what to do."""
    return (
        f"{label} is under Krea 2's licence, which has not been accepted here — who runs this studio reads it by "
        f"{COMMAND}, or at the foot of the page, and accepts it"
    )


def _identity() -> str:
    return hashlib.sha256(TEXT.read_bytes()).hexdigest()
