"""What names the weights of a checkpoint: an identity that changes with their content and with nothing else.

A part is named by the content of the safetensors files that are loaded, wherever they lie, a checkpoint by its parts.
Files up to 64 MiB count to the last byte; of larger ones 256 blocks all over the file do, since training moves every
layer, and tens of gigabytes are named in about a second. The small files beside them are left out, which libraries
rewrite without a change. Free of torch, so that a recipe is compared before any model is loaded.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from krea_studio.engine.checkpoints.table import WEIGHTED_PARTS, Checkpoint, part_folder, supplier, weights_at
from krea_studio.engine.checkpoints.weight_files import WeightFiles

BLOCK_BYTES = 2**18
BLOCKS = 256
IDENTITY_DIGITS = 16


def weights_of(checkpoint: Checkpoint) -> str | None:
    """The identity of the weights that the checkpoint's files hold now; None where they are not all on this machine."""
    parts = {}
    for part in WEIGHTED_PARTS:
        folder = part_folder(supplier(checkpoint, part), part)
        try:
            if folder is None or (weights := weights_at(folder, part)).lacking:
                return None
            parts[part] = part_weights(weights)
        except (OSError, ValueError):
            return None
    return joined(parts)


def part_weights(weights: WeightFiles) -> str:
    """The identity of a part's weights. Raises OSError where a file cannot be read."""
    stats = [(path, path.stat()) for path in weights.files]
    return _named(_digest(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def joined(parts: Mapping[str, str]) -> str:
    """The identity of a checkpoint whose parts have these."""
    return _named(f"{part} {parts[part]}" for part in WEIGHTED_PARTS)


@lru_cache(maxsize=256)
def _digest(path: Path, size_bytes: int, _changed_ns: int) -> str:
    if size_bytes <= BLOCKS * BLOCK_BYTES:
        places = list(range(0, size_bytes, BLOCK_BYTES))
    else:
        places = [(size_bytes - BLOCK_BYTES) * k // (BLOCKS - 1) for k in range(BLOCKS)]
    digest = hashlib.sha256(f"{size_bytes} ".encode())
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


def _named(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:IDENTITY_DIGITS]
