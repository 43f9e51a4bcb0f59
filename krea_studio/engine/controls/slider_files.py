"""Slider LoRAs on disk: where those of a checkpoint lie, and what their headers say, without loading weights.

A file is a safetensors LoRA in diffusers' own key names (`transformer.….lora_A.weight`), so that other tools read it
too; its metadata name the slider, the checkpoint that it was trained on, and the adapter weight at value 100. Free of
torch: the page tells by what a slider works before any model is loaded.
"""

import hashlib
import io
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from krea_studio.direction.sliders import SLIDER_LORA, TEXT_DIRECTION
from krea_studio.engine.abilities import Ability
from krea_studio.engine.checkpoints.table import Checkpoint
from krea_studio.errors import StudioError, Unavailable
from krea_studio.recipe.request import SLIDERS
from krea_studio.validation import shown
from krea_studio.weights import read_header

SHIPPED = Path(__file__).resolve().parents[3] / "assets" / "sliders"
SUFFIX = ".safetensors"
IDENTITY_DIGITS = 12


@dataclass(frozen=True)
class SliderFile:
    """One slider LoRA. `maximum_weight` is the adapter weight at value 100; `identity` changes with the file."""

    path: Path
    slider: str
    trained_on: str
    maximum_weight: float
    identity: str


def path_in(folder: Path, checkpoint: Checkpoint, slider: str) -> Path:
    """Where a folder of slider LoRAs keeps that of a checkpoint: `FOLDER/CHECKPOINT/SLIDER.safetensors`."""
    name = checkpoint.adapters_of or checkpoint.name
    name = Path(name).name if Path(name).is_absolute() else name.replace("/", "--")
    return folder / name / (slider + SUFFIX)


def find(checkpoint: Checkpoint, slider: str, own_folder: Path) -> Path | None:
    """The slider's LoRA for this checkpoint: the person's own before the shipped one, None where there is none."""
    candidates = (path_in(folder, checkpoint, slider) for folder in (own_folder, SHIPPED))
    return next((path for path in candidates if path.is_file()), None)


def described(checkpoint: Checkpoint, own_folder: Path) -> dict[str, Ability]:
    """For each slider by what it works on this checkpoint, or what is wrong with its file."""
    abilities = {}
    for slider in SLIDERS:
        path = find(checkpoint, slider, own_folder)
        abilities[slider] = Ability(by=TEXT_DIRECTION)
        try:
            if path is not None:
                abilities[slider] = Ability(by=SLIDER_LORA, identity=read(path, slider).identity)
        except StudioError as error:
            abilities[slider] = Ability(reason=error.message)
    return abilities


def read(path: Path, slider: str) -> SliderFile:
    """What the file says of itself. Raises Unavailable for a damaged or half-written file and for no slider's LoRA."""
    try:
        stat = path.stat()
        return _read(path, slider, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise Unavailable(
            f"The slider LoRA {path} cannot be read ({error.strerror}) — check the file and its permissions"
        ) from None


@lru_cache(maxsize=64)
def _read(path: Path, slider: str, size_bytes: int, _changed: int) -> SliderFile:
    damaged = Unavailable(
        f"The slider LoRA {path} is damaged or only half written ({size_bytes:,} bytes) — train or copy it again, "
        "or remove it to steer by text"
    )
    content = path.read_bytes()
    try:
        header = read_header(io.BytesIO(content))
        end = header.start + max(tensor["data_offsets"][1] for tensor in header.tensors.values())
    except (ValueError, TypeError, KeyError, IndexError):
        raise damaged from None
    if end != size_bytes:
        raise damaged
    said = header.metadata
    if said.get("slider") != slider:
        raise Unavailable(
            f"{path} is not the LoRA of {slider}: its metadata say {shown(said.get('slider'))} — "
            f"name it after its slider, one of {', '.join(SLIDERS)}, or train it with `train-slider {slider}`"
        )
    try:
        weight = float(said.get("maximum_weight", ""))
    except ValueError:
        weight = math.nan
    if not 0 < weight < 100:
        raise Unavailable(
            f"{path} states no usable maximum_weight ({shown(said.get('maximum_weight'))}) — train it again"
        )
    identity = hashlib.sha256(content).hexdigest()[:IDENTITY_DIGITS]
    return SliderFile(path, slider, said.get("trained_on", ""), weight, identity)
