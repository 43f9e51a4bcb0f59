"""Which files of a part's folder are its weights: safetensors alone, in one file or in shards, full or of a variant.

The names are those that diffusers and transformers give: `model.safetensors`, `model.fp16.safetensors`, or shards with
`model.safetensors.index.json`. A folder may hold more than is loaded: half weights beside full ones, and pickles, which
can run code and are never read. Free of torch.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# Of several variants without full weights the first of these is taken, else the first by name.
_VARIANTS = ("bf16", "fp16")
_PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")


@dataclass(frozen=True)
class WeightFiles:
    """The weights of one part: the `variant` that they are, empty for full ones, and their `files`, sorted.

    `lacking` are the names of files that should be there and are not, `pickles` those of files that are never read.
    """

    variant: str
    files: tuple[Path, ...]
    lacking: tuple[str, ...]
    pickles: tuple[str, ...]


def weight_files(folder: Path, part: str) -> WeightFiles:
    """The weights in a part's folder, as stock classes find them there when they are given the variant.

    Raises ValueError for an index of shards that names something else than safetensors files of the folder, and OSError
    where one cannot be read.
    """
    base = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    names = {path.name for path in folder.glob("*") if path.is_file()}
    pickles = tuple(sorted(name for name in names if name.endswith(_PICKLES)))
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        whole = re.fullmatch(rf"{base}(?:\.(\w+))?\.safetensors", name)
        index = re.fullmatch(rf"{base}\.safetensors\.index(?:\.(\w+))?\.json", name)
        if whole:
            found.setdefault(whole[1] or "", []).append(name)
        elif index:
            found.setdefault(index[1] or "", []).append(name)
    if not found:
        shards = any(re.fullmatch(rf"{base}.*-\d+-of-\d+\.safetensors", name) for name in names)
        lacking = f"{base}.safetensors.index.json" if shards else f"{base}.safetensors"
        return WeightFiles("", (), (lacking,), pickles)
    variant = next((each for each in ("", *_VARIANTS) if each in found), min(found))
    # Where both are there, transformers takes the one file, diffusers the shards.
    name = sorted(found[variant], key=lambda name: name.endswith(".json") == (base == "model"))[0]
    wanted = _shards(folder / name) if name.endswith(".json") else [name]
    files = tuple(folder / each for each in wanted if each in names)
    return WeightFiles(variant, files, tuple(each for each in wanted if each not in names), pickles)


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    try:
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(f"{index.name} is no index of shards") from None
    for shard in shards:
        if not shard.endswith(".safetensors") or "/" in shard or "\\" in shard:
            raise ValueError(f"{index.name} names {shard[:200]!r}, which is no safetensors file beside it")
    if not shards:
        raise ValueError(f"{index.name} names no shards")
    return shards
