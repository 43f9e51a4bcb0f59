"""Reading the parts of a checkpoint from disk or the Hub, with one clear line for everything that can be wrong.

Checks that cost little come first and touch no other checkpoint: the index, every part's class, the headers of all
weight files (which give the exact size in memory, and away a truncated file), whether the parts are of one model. What
is loaded stays unchanged: stock classes, evaluation mode, in main memory.
"""

import json
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from math import prod
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from torch import nn
from transformers import AutoConfig, AutoTokenizer, Qwen3VLModel

from krea_studio.engine.base import Loading
from krea_studio.engine.checkpoints.formats import loading
from krea_studio.engine.checkpoints.formats.containers import open_container
from krea_studio.engine.checkpoints.formats.model_file import ModelFile, model_file
from krea_studio.engine.checkpoints.identity import joined, part_weights
from krea_studio.engine.checkpoints.table import (
    INDEX_FILE,
    PARTS,
    PREVIEW_FILE,
    WEIGHTED_PARTS,
    Checkpoint,
    config_folder,
    index_path,
    lacking,
    missing,
    sees,
    supplier,
    unfit,
    weights_at,
    writes,
)
from krea_studio.engine.checkpoints.weight_files import weight_files
from krea_studio.errors import Unavailable
from krea_studio.validation import shown

MODEL_CLASSES = {"vae": AutoencoderKLQwenImage, "text_encoder": Qwen3VLModel, "transformer": Krea2Transformer2DModel}
# What a part's config may call itself; the text encoder is also published with its language head, which is not loaded.
CLASS_NAMES = {
    "vae": ("AutoencoderKLQwenImage",),
    "text_encoder": ("Qwen3VLModel", "Qwen3VLForConditionalGeneration", "qwen3_vl"),
    "transformer": ("Krea2Transformer2DModel",),
}
# Of the model index, what the stock pipeline is made with beside its parts.
_SETTINGS = ("text_encoder_select_layers", "is_distilled", "patch_size")
PART_LABELS = {
    "scheduler": "scheduler",
    "tokenizer": "tokenizer",
    "vae": "image decoder",
    "text_encoder": "text encoder",
    "transformer": "transformer",
}

# Of a part on the Hub; pickles stay where they are.
FILE_KINDS = (".safetensors", ".json", ".txt", ".model", ".jinja", PREVIEW_FILE)
# The package that reads a quantized part, by what its config calls the method.
QUANTIZERS = {"bitsandbytes": "bitsandbytes", "torchao": "torchao", "quanto": "optimum-quanto", "sdnq": "sdnq"}

_UNREAD = "copy or download the checkpoint again"
_UNREAD_QUANTIZED = "which needs its own device and package: use those, or give a checkpoint that is not quantized"

# Loading is told through events; bars on the server's terminal would only repeat it.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


@dataclass(frozen=True)
class PartSource:
    """Where a part is: its identity (equal means the same weights), its folder, and its size in memory in bytes.

    `weights` names its weights by their content; empty for a part without any. `variant` is that of its files. Of a
    part in a single `file`, the folder is that of its config.
    """

    identity: Hashable
    folder: Path
    bytes: int
    weights: str = ""
    variant: str = ""
    file: ModelFile | None = None

    @property
    def writes(self) -> bool:
        """Whether this text encoder also writes."""
        return writes(self.folder)

    @property
    def sees(self) -> bool:
        """Whether this text encoder also writes about pictures."""
        return sees(self.folder) if self.file is None else sees(self.file.path, self.folder)


@dataclass(frozen=True)
class Located:
    """A checkpoint whose files are all here and look sound: its model index, and where each part is."""

    checkpoint: Checkpoint
    index: dict[str, Any]
    parts: Mapping[str, PartSource]

    @property
    def weights(self) -> str:
        """The identity of the checkpoint's weights."""
        return joined({part: source.weights for part, source in self.parts.items()})


def locate(
    checkpoint: Checkpoint, precision: torch.dtype, report: Callable[[Loading], None], check: Callable[[], None]
) -> Located:
    """Find every part, downloading what a Hub checkpoint lacks here, and look at the files without reading weights.

    `check` is called between parts and may raise to give up. Raises Unavailable for whatever is missing or damaged.
    """
    reason = missing(checkpoint)
    if reason is not None:
        raise Unavailable(reason)
    index = _read_json(_index_path(checkpoint))
    if checkpoint.distilled is not None:
        index["is_distilled"] = checkpoint.distilled
    if index.get("_class_name") != "Krea2Pipeline":
        raise Unavailable(
            f"{checkpoint.source} is a {index.get('_class_name', 'folder of unknown kind')}, not a Krea2Pipeline — "
            "give a Krea 2 checkpoint"
        )
    parts = {}
    for part in PARTS:
        check()
        holder = supplier(checkpoint, part)
        place = dict(holder.places).get(part)
        if place is not None and place.is_file():
            parts[part] = _in_file(part, model_file(place), config_folder(holder, part), precision)
            continue
        folder = place or _part_folder(holder, part, report)
        if reason := unfit(holder, part, folder):
            raise Unavailable(reason)
        parts[part] = _checked(part, folder, precision) if part in WEIGHTED_PARTS else _small(part, folder)
    _require_fit(checkpoint, index, {part: source.folder for part, source in parts.items()})
    return Located(checkpoint, index, parts)


def load_part(
    located: Located, part: str, precision: torch.dtype, progress: Callable[[float], None] = lambda share: None
) -> Any:
    """Read one part: a tokenizer, a scheduler or a model in main memory. Raises Unavailable when it cannot be read.

    `progress` is told the share of a single file that is read, 0…1, and may raise to give up.
    """
    source = located.parts[part]
    folder = source.folder
    if source.file is not None:
        return loading.load(source.file, part, folder, precision, progress)
    with _readable(folder):
        if part == "scheduler":
            return FlowMatchEulerDiscreteScheduler.from_pretrained(folder)
        if part == "tokenizer":
            return _tokenizer(folder)
    method = _quantized_by(_read_json(folder / "config.json"))
    with _readable(folder, _UNREAD if method is None else f"it is quantized by {shown(method)}, {_UNREAD_QUANTIZED}"):
        if method == "sdnq":
            import_module("sdnq")  # by which alone transformers learns of it
        model, report = MODEL_CLASSES[part].from_pretrained(
            folder,
            dtype=precision,
            local_files_only=True,
            use_safetensors=True,
            variant=source.variant or None,
            output_loading_info=True,
        )
    # The vision tower of the text encoder reads no prompt, and may be left out to save a tenth of its size.
    lacking = [key for key in report["missing_keys"] if not key.startswith("visual.")]
    wrong = [*lacking, *report.get("mismatched_keys", ())]
    if wrong:
        raise Unavailable(
            f"The weights in {folder} do not match their config.json ({len(wrong)} differ, first {wrong[0]}) — "
            "copy or download the checkpoint again"
        )
    # A scale beside a layer's weight, for example, without which the weight is not the layer's.
    own = model.state_dict().keys()
    foreign = [key for key in report["unexpected_keys"] if f"{key.rpartition('.')[0]}.weight" in own]
    if foreign:
        raise Unavailable(
            f"The weights in {folder} have more for their layers than such a model reads ({len(foreign)} tensors, "
            f"first {foreign[0]}), as quantized ones do — give a checkpoint that is not quantized"
        )
    # peft does so at the first adapter, and torch.matmul rounds otherwise where a weight could have a gradient.
    return model.requires_grad_(False)


def _tokenizer(folder: Path) -> Any:
    # Else a tokenizer with code of its own would ask on the server's terminal whether to run that.
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def token_counter(holder: Checkpoint) -> Krea2Pipeline:
    """A stock pipeline with the tokenizer of `holder`, downloaded where it is not here, and no other part.

    It has the chat template, so that a prompt's tokens can be counted. Raises Unavailable when it cannot be read.
    """
    folder = dict(holder.places).get("tokenizer") or _part_folder(holder, "tokenizer", lambda event: None)
    with _readable(folder):
        tokenizer = _tokenizer(folder)
    return Krea2Pipeline(scheduler=None, vae=None, text_encoder=None, tokenizer=tokenizer, transformer=None)


def place(model: nn.Module, device: str, progress: Callable[[float], None] = lambda share: None) -> None:
    """Put a model on a device, tensor by tensor, into memory of its own.

    Stock classes leave in main memory what still lies in the file: it would change with the file, and end the process
    where that gets shorter. It is copied then, and on a slow share read just now. `progress` is told the share that is
    done, 0…1, after each tensor, and may raise to give up. A quantised model moves as its package does it.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        if device != "cpu":  # where it is; some packages refuse to be asked
            model.to(device)
        return
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}  # tied ones once
    whole, done = sum(tensor.nbytes for tensor in tensors.values()) or 1, 0
    for tensor in tensors.values():
        own = tensor.is_meta or tensor.untyped_storage().resizable()  # torch's own memory is
        tensor.data = tensor.data.to(device) if own or device != "cpu" else tensor.data.clone()
        done += tensor.nbytes
        progress(done / whole)


def assemble(located: Located, parts: Mapping[str, Any]) -> Krea2Pipeline:
    """The stock pipeline from its parts. Raises Unavailable for an image decoder that was saved blank."""
    pipeline = _pipeline(located.index, {part: parts[part] for part in PARTS})
    pipeline.set_progress_bar_config(disable=True)
    # Some copies of this VAE on the Hub were saved with these weights zeroed; their pictures are plain brown.
    if not pipeline.vae.post_quant_conv.weight.any():
        raise Unavailable(
            f"The image decoder of {located.checkpoint.label} is blank (post_quant_conv is all zero) — download it "
            "again"
        )
    return pipeline


def _pipeline(index: Mapping[str, Any], parts: Mapping[str, Any]) -> Krea2Pipeline:
    return Krea2Pipeline(**parts, **{key: index[key] for key in _SETTINGS if index.get(key) is not None})


def _require_fit(checkpoint: Checkpoint, index: Mapping[str, Any], folders: Mapping[str, Path]) -> None:
    """Raise Unavailable where the configs of the parts, in these folders, are not of one model."""
    drawn, decoder = (
        _with_defaults(MODEL_CLASSES[part], _read_json(folders[part] / "config.json"))
        for part in ("transformer", "vae")
    )
    with _readable(folders["text_encoder"]):
        text = AutoConfig.from_pretrained(folders["text_encoder"], local_files_only=True).get_text_config()
    with _readable(_index_path(checkpoint)):
        empty = _pipeline(index, dict.fromkeys(PARTS))
        layers = empty.text_encoder_select_layers
        pairs = {
            "channels of a token": (drawn["in_channels"], decoder["z_dim"] * empty.patch_size**2),
            "width of the text": (drawn["text_hidden_dim"], text.hidden_size),
            "number of text layers": (drawn["num_text_layers"], len(layers)),
        }
        there = all(0 <= layer <= text.num_hidden_layers for layer in layers)
    for what, (transformer, others) in pairs.items():
        if transformer != others:
            raise Unavailable(
                f"The parts of {checkpoint.label} do not fit: {what} is {transformer} in the transformer and {others} "
                "in the other parts — use parts of one model"
            )
    if not there:
        raise Unavailable(
            f"The parts of {checkpoint.label} do not fit: text layers {layers} are asked of a text encoder with "
            f"{text.num_hidden_layers} — use parts of one model"
        )


def _with_defaults(kind: type, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What a config states, and what the stock class takes where it states nothing."""
    own = {name: each.default for name, each in signature(kind).parameters.items()}
    return own | {name: value for name, value in stated.items() if value is not None}


def _index_path(checkpoint: Checkpoint) -> Path:
    if path := index_path(checkpoint):
        return path
    with _reachable(checkpoint.source):
        return Path(hf_hub_download(checkpoint.source, INDEX_FILE))


def _part_folder(holder: Checkpoint, part: str, report: Callable[[Loading], None]) -> Path:
    if holder.folder is not None:
        return holder.folder / part
    report(Loading(f"{holder.label}: files of the {PART_LABELS[part]}"))
    kinds = [f"{part}/*{kind}" for kind in FILE_KINDS]
    with _reachable(holder.source):
        folder = Path(snapshot_download(holder.source, allow_patterns=kinds)) / part
        with _readable(folder):
            lacked = lacking(folder, part)
        if lacked:
            # Without a network a download that was broken off passes for a whole one; the file's own says why. What the
            # repository itself lacks is told of its files.
            with suppress(RemoteEntryNotFoundError):
                hf_hub_download(holder.source, f"{part}/{lacked}")
    return folder


@contextmanager
def _reachable(repository: str) -> Iterator[None]:
    """Turn what the Hub's client raises into Unavailable."""
    try:
        yield
    except GatedRepoError:
        raise Unavailable(
            f"{repository} is gated — accept the licence at https://huggingface.co/{repository}, then set HF_TOKEN "
            "to a token of that account"
        ) from None
    except RepositoryNotFoundError:
        raise Unavailable(
            f"There is no repository {repository} on the Hub for this account — check the name; for a private one "
            "set HF_TOKEN"
        ) from None
    except RemoteEntryNotFoundError:
        raise Unavailable(
            f"{repository} has no {INDEX_FILE} — give a repository that Krea2Pipeline.save_pretrained wrote"
        ) from None
    # The last two for a proxy in the environment of a kind that is not spoken here.
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ImportError, ValueError) as error:
        if constants.HF_HUB_OFFLINE:
            reason = "HF_HUB_OFFLINE is set"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unavailable(
            f"{repository} is not on this machine and cannot be downloaded ({reason}) — check the network and the "
            "free disk space, or choose an embedded checkpoint"
        ) from None


def _small(part: str, folder: Path) -> PartSource:
    """A part without weights."""
    return PartSource((part, str(folder.resolve()), ""), folder, 0)


def _checked(part: str, folder: Path, precision: torch.dtype) -> PartSource:
    """A part with weights. Raises Unavailable for another class, damaged files, and what cannot be read here."""
    config = _read_json(folder / "config.json")
    found = config.get("_class_name") or next(iter(config.get("architectures") or ()), config.get("model_type"))
    if found not in CLASS_NAMES[part]:
        raise Unavailable(f"{folder} holds a {found}, not a {CLASS_NAMES[part][0]} — give a Krea 2 checkpoint")
    _require_plain(folder, config)
    with _readable(folder):
        files = weight_files(folder, part)
    size_bytes = sum(_tensor_count(file) for file in files.files) * precision.itemsize
    with _readable(folder):
        weights = part_weights(files)
    # With the weights: a folder may get others while those that it had are in memory.
    return PartSource((part, str(folder.resolve()), weights), folder, size_bytes, weights, files.variant)


def _in_file(part: str, file: ModelFile, config: Path, precision: torch.dtype) -> PartSource:
    """A part of a single file."""
    loading.require_fitting(file, part, config)
    with _readable(file.path):
        weights = part_weights(weights_at(file.path, part))
    identity = (part, str(file.path), weights, str(config))
    return PartSource(identity, config, file.bytes_in_memory(part, precision.itemsize), weights, "", file)


def _require_plain(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise Unavailable where the stock class would read other weights than the part's own, or cannot read them."""
    if config.get("quantization_config") is not None:
        method = _quantized_by(config)
        package = QUANTIZERS.get(method) if isinstance(method, str) else None
        if package is None or not _is_installed(package):
            remedy = f"run pip install {package}, or give" if package else "give"
            raise Unavailable(
                f"{folder} is quantized by the method {shown(method)}, which cannot be read here — {remedy} a "
                "checkpoint that is not quantized"
            )
    if "transformers_weights" in config:
        raise Unavailable(
            f"{folder / 'config.json'} names other weights, {shown(str(config['transformers_weights']))}, than its "
            "part's own — take transformers_weights out of it"
        )
    if (folder / "adapter_config.json").exists():
        raise Unavailable(
            f"{folder} has an adapter beside its weights (adapter_config.json), which would bend every picture unseen "
            "— merge it or take it out, and load it as a style"
        )


def _quantized_by(config: Mapping[str, Any]) -> object:
    """The method that a part's config says it is quantized by; None where it says none."""
    quantized = config.get("quantization_config")
    return quantized.get("quant_method") if isinstance(quantized, dict) else None


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _tensor_count(file: Path) -> int:
    """Numbers in a weight file, from its header. Raises Unavailable when the file is damaged."""
    # Not by safetensors, which maps the whole file and fails where that is larger than memory.
    return sum(prod(stored.shape) for stored in open_container(file).tensors.values())


def _read_json(path: Path) -> dict[str, Any]:
    with _readable(path):
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        return found


@contextmanager
def _readable(path: Path, remedy: str = _UNREAD) -> Iterator[None]:
    """Turn what reading files raises into Unavailable, with the path, the reader's own words and a `remedy`."""
    try:
        yield
    except FileNotFoundError as error:
        raise Unavailable(f"{error.filename or path} is missing — copy or download the checkpoint again") from None
    except Exception as error:  # the readers of four libraries raise all kinds, tokenizers even bare Exception
        reason = " ".join(str(error).split())[:200]
        raise Unavailable(f"{path} cannot be read ({reason}) — {remedy}") from None
