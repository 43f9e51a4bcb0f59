"""The table of checkpoints, and where each part of one comes from.

A checkpoint is a row of the table, a local folder, or a repository on the Hugging Face Hub, in the layout that
`Krea2Pipeline.save_pretrained` writes, or a single file of weights (`formats`). A row may name a base: parts that it
does not hold itself come from there, and two checkpoints whose part comes from the same place share it in memory. Free
of torch, so that the page can name checkpoints and say what is missing before any model code is loaded. Reading weights
is `parts`'s part.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from krea_studio.engine.base import CheckpointInfo, Vocabulary
from krea_studio.engine.checkpoints.formats import model_file as files
from krea_studio.engine.checkpoints.formats.configs import PUBLISHED, Shapes, published_shapes, transformer_shapes
from krea_studio.engine.checkpoints.formats.models_folder import TO_GET, models_folder, parts_in
from krea_studio.engine.checkpoints.weight_files import WeightFiles, weight_files
from krea_studio.errors import Unavailable
from krea_studio.settings import Settings
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

# The row whose parts a single file takes where they were downloaded before.
_PUBLISHED_PARTS = "krea-2-raw"
_CONFIGS = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint; `source` is a folder's path or a Hub repository id, `base` the row that has its missing parts.

    `adapters_of` names the checkpoint whose LoRAs are made for this one too; None where it has its own. Of a single
    file `places` has the file or folder of each part that is known, and `distilled` says whether it is run as Turbo;
    None where the model index does.
    """

    name: str
    label: str
    source: str
    base: str | None = None
    note: str = ""
    adapters_of: str | None = None
    places: tuple[tuple[str, Path], ...] = ()
    distilled: bool | None = None

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


def resolve(
    text: str, base: str | None = None, models: Path | None = None, distilled: bool | None = None
) -> Checkpoint:
    """The checkpoint that a setting names: a row, an existing folder or file, or else a Hub repository id.

    A single file's other parts come from the checkpoint `base` or the folder `models`; `distilled` says whether it is
    run as Turbo, which otherwise its name tells. Raises Unavailable when the text names none of the four.
    """
    if text in CHECKPOINTS:
        return CHECKPOINTS[text]
    folder = Path(text).expanduser()
    if text.lower().endswith(files.SUFFIXES):
        return _single_file(folder.resolve(), base, models, distilled)
    if folder.is_dir():
        folder = folder.resolve()
        return Checkpoint(str(folder), folder.name, str(folder), note="A local folder.")
    if _REPOSITORY.fullmatch(text):
        return Checkpoint(text, text.split("/")[1], text, note="A repository on the Hugging Face Hub.")
    raise Unavailable(
        f"There is no checkpoint {text!r} — give one of {', '.join(CHECKPOINTS)}, an existing folder, a .safetensors "
        "or .gguf file, or a Hub repository id such as krea/Krea-2-Turbo"
    )


def _single_file(path: Path, base: str | None, models: Path | None, distilled: bool | None) -> Checkpoint:
    """The checkpoint of a file: its parts from itself, a base on this machine, a models folder, or a download."""
    file = files.model_file(path)
    if files.TRANSFORMER not in file.parts:
        raise Unavailable(
            f"{path} holds {' and '.join(file.parts)} and no transformer — name the transformer's file, which finds "
            "this one in the models folder"
        )
    places = dict.fromkeys(file.parts, path)
    here = parts_in(models_folder(path, models), path)
    for part in PARTS:
        if part not in places and not (base and _whole(resolve(base), part)):
            if part in here:
                places[part] = here[part]
            elif not base and (place := _whole(CHECKPOINTS[_PUBLISHED_PARTS], part)):
                places[part] = place
    adapters_of = _PUBLISHED_PARTS
    if base and (described := resolve(base)) and _config_of_base(path, described):
        adapters_of = described.adapters_of or described.name
    guess = file.variant
    if distilled is None:
        distilled = guess == "turbo"
    formats = ", ".join(f"{count} × {form}" for form, count in file.parts[files.TRANSFORMER].formats.items())
    note = f"A single file, run as {'Turbo' if distilled else 'Raw'} ({formats})."
    if guess and (guess == "turbo") != distilled:
        note += f" Its name says {guess}: name it for that variant, if it is."
    return Checkpoint(
        str(path), path.name, str(path), base, note, adapters_of, tuple(sorted(places.items())), distilled
    )


def is_licensed(checkpoint: Checkpoint) -> bool:
    """Whether its weights are under the published ones' licence, as far as a look at files tells.

    So is all that the Hub has, and what has the shape of the published transformer: nobody else trained such.
    """
    if checkpoint.embedded:
        return False
    if checkpoint.places:
        base = resolve(checkpoint.base) if checkpoint.base else None
        return base is None or not _config_of_base(Path(checkpoint.source), base)
    return checkpoint.folder is None or _shapes(checkpoint) in (None, published_shapes())


def config_folder(checkpoint: Checkpoint, part: str) -> Path:
    """The folder whose config.json describes a part of a single file: the base's, where it fits, else what ships."""
    if checkpoint.base is not None:
        base = resolve(checkpoint.base)
        folder = part_folder(supplier(base, part), part)
        own = part != files.TRANSFORMER or _config_of_base(Path(checkpoint.source), base)
        if own and folder is not None and (folder / "config.json").is_file():
            return folder
    return PUBLISHED / part


def index_path(checkpoint: Checkpoint) -> Path | None:
    """The model index of a checkpoint on this machine; of a single file that of its base, where that describes it."""
    if not checkpoint.places:
        return checkpoint.folder / INDEX_FILE if checkpoint.folder else None
    base = resolve(checkpoint.base) if checkpoint.base else None
    if base is not None and base.folder is not None and _config_of_base(Path(checkpoint.source), base):
        return base.folder / INDEX_FILE
    return PUBLISHED / INDEX_FILE


def known_shapes(settings: Settings) -> dict[str, Shapes]:
    """The shapes of transformers that a single file may be of, beside the published one, by the checkpoint's name."""
    own = [resolve(settings.base)] if settings.base else []
    checkpoints = (*(row for row in CHECKPOINTS.values() if row.embedded), *own)
    return {each.name: shapes for each in checkpoints if (shapes := _shapes(each)) is not None}


def _config_of_base(path: Path, base: Checkpoint) -> bool:
    """Whether the transformer of a file has the shapes of its base's, and not those of the published one."""
    weights, shapes = files.model_file(path).parts[files.TRANSFORMER], _shapes(base)
    return shapes is not None and files.differing(weights, shapes) is None and shapes != published_shapes()


def _shapes(checkpoint: Checkpoint) -> Shapes | None:
    """Of every parameter of a checkpoint's transformer, by its config; None where that is not here or not one."""
    folder = part_folder(supplier(checkpoint, files.TRANSFORMER), files.TRANSFORMER)
    try:
        return transformer_shapes(json.loads((folder / "config.json").read_text("utf-8"))) if folder else None
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError):
        return None


def _whole(checkpoint: Checkpoint, part: str) -> Path | None:
    """Where a part is on this machine with all of its files; None where it is not."""
    place = part_folder(supplier(checkpoint, part), part)
    try:
        return place if place is not None and lacking(place, part) is None else None
    except (OSError, ValueError):
        return None


def supplier(checkpoint: Checkpoint, part: str) -> Checkpoint:
    """The checkpoint whose source holds `part`: itself, or its base where it has one and lacks the part."""
    if checkpoint.base is None or part in dict(checkpoint.places):
        return checkpoint
    if checkpoint.places:
        return supplier(resolve(checkpoint.base), part)
    folder = checkpoint.folder
    own = part not in SHARED_PARTS if folder is None else (folder / part).is_dir()
    return checkpoint if own else supplier(CHECKPOINTS[checkpoint.base], part)


def writer(checkpoint: Checkpoint, seeing: bool = False) -> str | None:
    """The name of its language model, where that writes, and sees if it is to; None where not, or nothing is known.

    Only a text encoder that is on this machine counts: nobody who wants some words asked for a download.
    """
    holder = supplier(checkpoint, "text_encoder")
    place = part_folder(holder, "text_encoder")
    name = checkpoint.source if checkpoint.folder is None else checkpoint.label
    config = config_folder(holder, "text_encoder") if holder.places else None
    able = place and (sees if seeing else writes)(place, config)
    return f"Qwen3-VL of {name}"[:_WRITERS_NAME] if able else None


def writes(text_encoder: Path, config_folder: Path | None = None) -> bool:
    """Whether a text encoder has a Qwen3-VL that writes with its embedding as head, as its config says.

    The config is in the encoder's folder; of a single file it is in another.

    The smaller ones were published so; a larger one has a head of its own, which no pipeline keeps, and would write
    noise with its embedding. Their own `tie_word_embeddings` cannot tell: without the head it is often not written.
    """
    try:
        config = json.loads(((config_folder or text_encoder) / "config.json").read_text("utf-8"))
        text = config["text_config"]
        published = text["vocab_size"] >= _WRITERS_TOKENS and text["hidden_size"] <= _WIDEST_TIED
        return config["model_type"] == "qwen3_vl" and published
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def sees(text_encoder: Path, config_folder: Path | None = None) -> bool:
    """Whether it also has a vision tower, as the headers of its weights say.

    Without one it would load as well, and see noise.
    """
    try:
        if text_encoder.is_file():
            return writes(text_encoder, config_folder) and files.sees(files.model_file(text_encoder).parts)
        found = weight_files(text_encoder, "text_encoder").files
        return writes(text_encoder) and any("visual." in tensor for file in found for tensor in _tensors(file))
    except (OSError, ValueError, TypeError, RecursionError, Unavailable):
        return False


def missing(checkpoint: Checkpoint) -> str | None:
    """Why the checkpoint cannot be loaded, as far as a look at files can tell; None when nothing is known to lack.

    Whether a gated repository lets this account in is only known when it is asked.
    """
    if checkpoint.places:
        return _missing_beside(checkpoint)
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


def _missing_beside(checkpoint: Checkpoint) -> str | None:
    """What a single file lacks, with which file to put where."""
    places = dict(checkpoint.places)
    file = files.model_file(Path(checkpoint.source))
    weights = file.parts[files.TRANSFORMER]
    if reason := files.unknown(file, files.TRANSFORMER):
        return f"{checkpoint.source} cannot be used: {reason} — {files.GET_AGAIN}"
    own = checkpoint.base is not None and _config_of_base(Path(checkpoint.source), resolve(checkpoint.base))
    if not own and (reason := files.differing(weights, published_shapes())):
        return f"{checkpoint.source} cannot be used: it is no Krea 2: {reason} — {files.GET_AGAIN}"
    absent = [part for part in PARTS if part not in places]
    if absent and checkpoint.base is None:
        return (
            f"{checkpoint.label} has no {', '.join(absent).replace('_', ' ')} beside it — "
            f"{', '.join(TO_GET[part] for part in absent)}, in the models folder that KREA_STUDIO_MODELS names, or set "
            "KREA_STUDIO_BASE to a checkpoint folder that has them"
        )
    for part in PARTS:
        holder = supplier(checkpoint, part)
        place = places[part] if part in places else holder.folder and holder.folder / part
        if place is not None and not place.is_file() and (reason := unfit(holder, part, place)):
            return f"{reason}, or {TO_GET[part]} in the models folder" if part in TO_GET else reason
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
    """Where a part of its supplier is on this machine, its folder or file; None while it is on the Hub only."""
    if holder.places:
        return dict(holder.places).get(part)
    if holder.folder is not None:
        return holder.folder / part
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(holder.source, f"{part}/{_CONFIGS.get(part, 'config.json')}")
    return Path(config).parent if isinstance(config, str) else None


def weights_at(place: Path, part: str) -> WeightFiles:
    """The files of weights of a part that is a folder or a file. Raises as `weight_files` does."""
    return WeightFiles("", (place,), (), ()) if place.is_file() else weight_files(place, part)


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
