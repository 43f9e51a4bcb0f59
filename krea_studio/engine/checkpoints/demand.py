"""What a checkpoint demands of memory, by its files: the weights of its models and its dimensions. Reads headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krea_studio.engine.checkpoints.activations import COPIES, Activations, Dimensions, Run, activations, dimensions
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, transformer_shapes
from krea_studio.engine.checkpoints.memory import Weights
from krea_studio.errors import Unavailable

if TYPE_CHECKING:
    from krea_studio.engine.checkpoints.parts import Located

BLOCKS = "transformer_blocks."
# Of a streamed transformer: the block that works, and the one that comes next.
BLOCKS_AT_ONCE = 2


@dataclass(frozen=True)
class Demand:
    """The weights of a checkpoint and what decides its activations."""

    weights: Weights
    dimensions: Dimensions

    def beside(self, run: Run) -> Activations:
        """What a run needs beside the weights."""
        return activations(self.dimensions, run)


def demand(located: Located, number_bytes: int) -> Demand:
    """What a checkpoint demands in a precision of so many bytes a number.

    Raises Unavailable for a config that cannot be read.
    """
    drawer, reader, vae = (located.parts[part] for part in ("transformer", "text_encoder", "vae"))
    packed = {part: source.file.largest_packed(part) for part, source in located.parts.items() if source.file}
    try:
        drawing, reading, decoding = (
            _config(part, located.parts[part].folder) for part in ("transformer", "text_encoder", "vae")
        )
        of = dimensions(
            drawing,
            reading,
            decoding,
            patch=located.index.get("patch_size") or 2,
            number_bytes=number_bytes,
            largest_layer=packed.get("transformer", 0),
            largest_text_layer=packed.get("text_encoder", 0),
            copies_bytes=round(COPIES * vae.bytes),
        )
        in_blocks = drawer.bytes * blocks_share(drawing)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"The configs of {located.checkpoint.label} cannot be read ({type(error).__name__}: {error}) — copy or "
            "download the checkpoint again"
        ) from None
    if drawer.file:
        in_blocks = drawer.file.bytes_in_memory("transformer", number_bytes, BLOCKS)
    return Demand(
        Weights(drawer.bytes, reader.bytes, vae.bytes, streamed(drawer.bytes, round(in_blocks), of.blocks)), of
    )


def _config(part: str, folder: Path) -> dict[str, Any]:
    """A part's config, with what the published one says where it says nothing."""
    own, published = (json.loads((place / "config.json").read_text("utf-8")) for place in (folder, PUBLISHED / part))
    return published | own


def streamed(whole_bytes: int, blocks_bytes: int, blocks: int) -> int:
    """What is on the device at a time of a transformer whose blocks come and go."""
    return whole_bytes - blocks_bytes * max(0, blocks - BLOCKS_AT_ONCE) // blocks


def blocks_share(config: Mapping[str, Any]) -> float:
    """The share of a transformer's numbers that is in its blocks."""
    counts = {name: prod(shape) for name, shape in transformer_shapes(dict(config)).items()}
    return sum(count for name, count in counts.items() if name.startswith(BLOCKS)) / sum(counts.values())
