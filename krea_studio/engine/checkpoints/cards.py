"""Which cards the published model runs on, by the functions that plan a run; nothing here is loaded or measured anew.

Sizes are those of the files that people have (Comfy-Org's, of GGUF vantagewithai's, and the published repository's, as
their headers and listings give them), which is what the models take in memory.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from krea_studio.engine.checkpoints.activations import COPIES, Run, dimensions
from krea_studio.engine.checkpoints.demand import Demand, blocks_share, streamed
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED
from krea_studio.engine.checkpoints.memory import PLANNED_SHARE, Plan, Room, Weights, plan

CARDS_GB = (8, 12, 16, 24, 32, 48, 80)
GIBIBYTE = 2**30
# What a desktop, the driver and CUDA itself have taken before anything is loaded.
TAKEN_BYTES = 700 * 2**20
RUNS = (Run(1024, 1024), Run(1024, 1024, 4), Run(2048, 2048), Run(2048, 2048, 4))
VAE_BYTES = 253_806_966
_LARGEST_LAYER, _LARGEST_TEXT_LAYER = 6144 * 16384, 2560 * 9728


@dataclass(frozen=True)
class Format:
    """A format of the published model: bytes of its transformer and of the text encoder beside it, and if packed."""

    name: str
    transformer: int
    text_encoder: int
    packed: bool = True


FORMATS = (
    Format("bf16", 25_641_671_952, 8_875_631_616, packed=False),
    Format("fp8_scaled", 13_141_730_784, 5_242_467_968),
    Format("int8_convrot", 13_492_686_496, 5_242_467_968),
    Format("Q4_K", 7_490_000_000, 5_242_467_968),
    Format("nvfp4", 7_673_668_448, 5_242_467_968),
)


def demand_of(form: Format) -> Demand:
    """What the published model demands in a format."""
    drawing, reading, decoding = (
        json.loads((PUBLISHED / part / "config.json").read_text("utf-8"))
        for part in ("transformer", "text_encoder", "vae")
    )
    of = dimensions(
        drawing,
        reading,
        decoding,
        patch=2,
        number_bytes=2,
        largest_layer=_LARGEST_LAYER if form.packed else 0,
        largest_text_layer=_LARGEST_TEXT_LAYER if form.packed else 0,
        copies_bytes=round(COPIES * VAE_BYTES),
    )
    in_blocks = round(form.transformer * blocks_share(drawing))
    return Demand(
        Weights(form.transformer, form.text_encoder, VAE_BYTES, streamed(form.transformer, in_blocks, of.blocks)), of
    )


def room_of(card_gb: int) -> Room:
    """What may be planned with on a card of so many GiB."""
    return Room(int((card_gb * GIBIBYTE - TAKEN_BYTES) * PLANNED_SHARE["cuda"]), moves=True)


def plans_of(form: Format, run: Run) -> Iterator[Plan]:
    """The plan of each card, in their order."""
    needed = demand_of(form)
    for card_gb in CARDS_GB:
        yield plan(needed.weights, needed.beside(run), room_of(card_gb))
