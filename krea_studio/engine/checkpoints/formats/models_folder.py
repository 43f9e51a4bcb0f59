"""A folder of models as ComfyUI, SwarmUI and InvokeAI keep it: what lies in it, and where a checkpoint's parts are.

Files may be anybody's, so one that cannot be read is told with its reason and holds nothing else up, and a link that
leads back is followed once. Reads headers only.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, Shapes
from krea_studio.engine.checkpoints.formats.model_file import DECODER, SUFFIXES, TEXT_ENCODER, model_file, report
from krea_studio.errors import Unavailable

MODEL_FOLDERS = ("diffusion_models", "unet", "checkpoints")
# Of each part the folders of a models folder, and what the names of its files begin with, the most faithful first.
_PLACES = {
    TEXT_ENCODER: (("text_encoders", "clip"), ("qwen3vl_4b_bf16", "qwen3vl_4b", "qwen3-vl-4b", "qwen3_vl_4b")),
    DECODER: (("vae",), ("qwen_image_vae", "wan_2.1_vae", "wan2.1_vae")),
}
TO_GET = {
    TEXT_ENCODER: "put qwen3vl_4b_bf16.safetensors or qwen3vl_4b_fp8_scaled.safetensors into text_encoders",
    DECODER: "put qwen_image_vae.safetensors into vae",
    "tokenizer": "put tokenizer.json and its config, from the folder tokenizer of krea/Krea-2-Raw, into tokenizer",
}
"""What to do where a part is in no models folder; the folders are within that."""
_MOST_FILES = 10_000
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


def models_folder(file: Path, setting: Path | None) -> Path:
    """The models folder that a file's other parts are looked for in: the setting, else the one that it lies in."""
    if setting is not None:
        return setting
    return next((parent.parent for parent in file.parents if parent.name in MODEL_FOLDERS), file.parent)


def parts_in(folder: Path, file: Path) -> dict[str, Path]:
    """Text encoder, image decoder, tokenizer and scheduler for a file, from a models folder, ComfyUI and what ships."""
    found = {"scheduler": PUBLISHED / "scheduler"}
    for part, (places, beginnings) in _PLACES.items():
        candidates = [
            path
            for place in (*(folder / name for name in places), folder, file.parent)
            for path in sorted(place.glob("*") if place.is_dir() else ())
            if path.suffix in SUFFIXES and path.name.lower().startswith(beginnings)
        ]
        candidates.sort(
            key=lambda path: next(k for k, each in enumerate(beginnings) if path.name.lower().startswith(each))
        )
        if path := next((path for path in candidates if _holds(path, part)), None):
            found[part] = path
    # ComfyUI has the tokenizer in its own code, beside its models folder; Qwen 2.5 and 3 have the same words.
    for place in (folder / "tokenizer", folder.parent / "comfy" / "text_encoders" / "qwen25_tokenizer"):
        if "tokenizer" not in found and any((place / name).is_file() for name in _TOKENIZER_FILES):
            found["tokenizer"] = place
    return found


def listed(folder: Path, shapes: Mapping[str, Shapes]) -> Iterator[dict[str, Any]]:
    """The `report` of every file of weights in a folder and its folders, in the order of their paths.

    Raises Unavailable where the folder cannot be read.
    """
    if not folder.is_dir():
        raise Unavailable(f"There is no folder {folder} — give a models folder, or set KREA_STUDIO_MODELS to one")
    for path in _files(folder):
        yield report(path, shapes)


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(place) / name for name in names if name.lower().endswith(SUFFIXES)]
        if len(found) > _MOST_FILES:
            break
    return sorted(found)[:_MOST_FILES]


def _holds(path: Path, part: str) -> bool:
    try:
        return part in model_file(path).parts
    except Unavailable:
        return False
