"""The table of checkpoints, and where each part of one comes from.

A checkpoint is a row of the table, a local folder, or a repository on the Hugging Face Hub, in the layout that
`Krea2Pipeline.save_pretrained` writes. A row may name a base: parts that it does not hold itself come from there, and
two checkpoints whose part comes from the same place share it in memory. Free of torch, so that the page can name
checkpoints and say what is missing before any model code is loaded. Reading weights is `parts`'s part.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from krea_studio.engine.base import CheckpointInfo, Vocabulary
from krea_studio.engine.checkpoints.weight_files import weight_files
from krea_studio.errors import Unavailable
from krea_studio.weights import read_header

ASSETS = Path(__file__).resolve().parents[3] / "assets" / "checkpoints"
INDEX_FILE = "model_index.json"
PREVIEW_FILE = "preview.npy"  # may lie beside the VAE; no weights, since no picture depends on it

# In the order in which they are loaded: what is quickly checked first, the largest last.
PARTS = ("scheduler", "tokenizer", "vae", "text_encoder", "transformer")
WEIGHTED_PARTS = ("vae", "text_encoder", "transformer")
# What Raw and Turbo publish twice, byte for byte; a scheduler is small and keeps state, so each checkpoint has its own.
SHARED_PARTS = ("tokenizer", "vae", "text_encoder")

# Of every published Qwen3-VL. A text encoder with fewer tokens was made for one purpose, not to write.
_WRITERS_TOKENS = 151_936
# Qwen3-VL 2B and 4B tie their head to the embedding; 8B and larger, 4096 and wider, do not.
_WIDEST_TIED = 2560
_WRITERS_NAME = 200  # characters, as many as an analysis keeps of it
_MOST_HEADER_BYTES = 100_000_000  # of safetensors itself

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint; `source` is a folder's path or a Hub repository id, `base` the row that has its missing parts.

    `adapters_of` names the checkpoint whose LoRAs are made for this one too; None where it has its own.
    """

    name: str
    label: str
    source: str
    base: str | None = None
    note: str = ""
    adapters_of: str | None = None

    @property
    def folder(self) -> Path | None:
        """The local folder, whether it exists or not; None for a Hub repository."""
        return None if _REPOSITORY.fullmatch(self.source) else Path(self.source)

    @property
    def embedded(self) -> bool:
        """Whether it ships with the studio."""
        return self.folder is not None and self.folder.is_relative_to(ASSETS)

    @property
    def info(self) -> CheckpointInfo:
        vocabulary = _vocabulary() if self.embedded else None
        return CheckpointInfo(self.name, self.label, self.source, self.note, self.embedded, vocabulary)


_SMALL_WORLD = "Trained by this project on pictures it draws itself. It knows a small world: use its words."

CHECKPOINTS: dict[str, Checkpoint] = {
    row.name: row
    for row in (
        Checkpoint("mini-medium", "Mini Medium", str(ASSETS / "mini-medium"), note=_SMALL_WORLD),
        Checkpoint("mini-large", "Mini Large", str(ASSETS / "mini-large"), base="mini-medium", note=_SMALL_WORLD),
        Checkpoint(
            "mini-turbo",
            "Mini Turbo",
            str(ASSETS / "mini-turbo"),
            base="mini-medium",
            note=_SMALL_WORLD,
            adapters_of="mini-medium",
        ),
        Checkpoint("krea-2-raw", "Krea 2 Raw", "krea/Krea-2-Raw", note="The open undistilled checkpoint, for a GPU."),
        Checkpoint(
            "krea-2-turbo",
            "Krea 2 Turbo",
            "krea/Krea-2-Turbo",
            base="krea-2-raw",
            note="The open checkpoint for 8 steps without guidance, for a GPU.",
            adapters_of="krea-2-raw",
        ),
    )
}


def resolve(text: str) -> Checkpoint:
    """The checkpoint that a setting names: a row of the table, an existing folder, or else a Hub repository id.

    Raises Unavailable when it is none of the three.
    """
    if text in CHECKPOINTS:
        return CHECKPOINTS[text]
    folder = Path(text).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        return Checkpoint(str(folder), folder.name, str(folder), note="A local folder.")
    if _REPOSITORY.fullmatch(text):
        return Checkpoint(text, text.split("/")[1], text, note="A repository on the Hugging Face Hub.")
    raise Unavailable(
        f"There is no checkpoint {text!r} — give one of {', '.join(CHECKPOINTS)}, an existing folder, "
        "or a Hub repository id such as krea/Krea-2-Turbo"
    )


def supplier(checkpoint: Checkpoint, part: str) -> Checkpoint:
    """The checkpoint whose source holds `part`: itself, or its base where it has one and lacks the part."""
    if checkpoint.base is None:
        return checkpoint
    folder = checkpoint.folder
    own = part not in SHARED_PARTS if folder is None else (folder / part).is_dir()
    return checkpoint if own else supplier(CHECKPOINTS[checkpoint.base], part)


def writer(checkpoint: Checkpoint, seeing: bool = False) -> str | None:
    """The name of its language model, where that writes, and sees if it is to; None where not, or nothing is known.

    Only a text encoder that is on this machine counts: nobody who wants some words asked for a download.
    """
    folder = part_folder(supplier(checkpoint, "text_encoder"), "text_encoder")
    name = checkpoint.source if checkpoint.folder is None else checkpoint.label
    able = folder and (sees(folder) if seeing else writes(folder))
    return f"Qwen3-VL of {name}"[:_WRITERS_NAME] if able else None


def writes(text_encoder: Path) -> bool:
    """Whether a text encoder's folder has a Qwen3-VL that writes with its embedding as head, as its config says.

    The smaller ones were published so; a larger one has a head of its own, which no pipeline keeps, and would write
    noise with its embedding. Their own `tie_word_embeddings` cannot tell: without the head it is often not written.
    """
    try:
        config = json.loads((text_encoder / "config.json").read_text("utf-8"))
        text = config["text_config"]
        published = text["vocab_size"] >= _WRITERS_TOKENS and text["hidden_size"] <= _WIDEST_TIED
        return config["model_type"] == "qwen3_vl" and published
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def sees(text_encoder: Path) -> bool:
    """Whether it also has a vision tower, as the headers of its weights say.

    Without one it would load as well, and see noise.
    """
    try:
        files = weight_files(text_encoder, "text_encoder").files
        return writes(text_encoder) and any("visual." in tensor for file in files for tensor in _tensors(file))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def missing(checkpoint: Checkpoint) -> str | None:
    """Why the checkpoint cannot be loaded, as far as a look at files can tell; None when nothing is known to lack.

    Whether a gated repository lets this account in is only known when it is asked.
    """
    if checkpoint.folder is None:
        return _missing_from_hub_cache(checkpoint)
    if not checkpoint.folder.is_dir():
        return f"{checkpoint.label} is missing: no folder {checkpoint.folder} — restore it or choose another checkpoint"
    if not (checkpoint.folder / INDEX_FILE).is_file():
        return f"{checkpoint.folder} has no {INDEX_FILE} — give a folder that Krea2Pipeline.save_pretrained wrote"
    for part in PARTS:
        holder = supplier(checkpoint, part)
        if reason := unfit(holder, part, Path(holder.source) / part):
            return reason
    return None


def lacking(folder: Path, part: str) -> str | None:
    """The name of a file that a part's folder lacks; None where none is known to be missing.

    Raises ValueError and OSError as `weight_files` does.
    """
    if part not in WEIGHTED_PARTS:
        return None if any(folder.glob("*.json")) else f"{part}_config.json"
    if not (folder / "config.json").is_file():
        return "config.json"
    return next(iter(weight_files(folder, part).lacking), None)


def unfit(holder: Checkpoint, part: str, folder: Path) -> str | None:
    """Why a part's folder of its supplier cannot be loaded, as far as the names in it tell; None where it may be."""
    try:
        lacked = lacking(folder, part)
    except (ValueError, OSError):
        return None  # whoever reads it says what is wrong
    if lacked is None:
        return None
    if part in WEIGHTED_PARTS and lacked != "config.json":
        weights = weight_files(folder, part)
        if weights.pickles and not weights.files:
            return (
                f"{holder.label} has {part}/{weights.pickles[0]}, a pickle, which may run any code and is never read, "
                f"and no {lacked} — take a copy with safetensors, or write one with save_pretrained"
            )
        if weights.files:
            return (
                f"{holder.label} lacks {part}/{lacked}, one of {len(weights.files) + len(weights.lacking)} shards, in "
                f"{folder.parent} — copy or download that file again"
            )
    return f"{holder.label} lacks {part}/{lacked} in {folder.parent} — copy or download the checkpoint again"


def part_folder(holder: Checkpoint, part: str) -> Path | None:
    """Where a weighted part of its supplier is on this machine; None while it is on the Hub only."""
    if holder.folder is not None:
        return holder.folder / part
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(holder.source, f"{part}/config.json")
    return Path(config).parent if isinstance(config, str) else None


def _tensors(file: Path) -> Mapping[str, object]:
    """What a safetensors file states of its tensors, under their names."""
    with file.open("rb") as weights:
        return read_header(weights, _MOST_HEADER_BYTES).tensors


def _missing_from_hub_cache(checkpoint: Checkpoint) -> str | None:
    from huggingface_hub import constants, try_to_load_from_cache

    if not constants.HF_HUB_OFFLINE:
        return None
    for part in PARTS:
        holder = supplier(checkpoint, part)
        index = try_to_load_from_cache(holder.source, INDEX_FILE)
        if not isinstance(index, str):
            return (
                f"{holder.source} is not on this machine and HF_HUB_OFFLINE is set — "
                "download it once with network access, or choose an embedded checkpoint"
            )
        if reason := unfit(holder, part, Path(index).parent / part):
            return f"{reason.partition(' — ')[0]}, and HF_HUB_OFFLINE is set — download the rest with network access"
    return None


@cache
def _vocabulary() -> Vocabulary | None:
    try:
        return json.loads((ASSETS / "vocabulary.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
