"""Pages of the documentation that are made from the studio's own tables and limits: `python -m krea_studio document`.

A page is a list of sections, each a function that gives Markdown. What it says is read from where the studio itself
reads it, so a page that is written anew is true.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from krea_studio.direction.moodboards import MAX_IMAGES
from krea_studio.engine.checkpoints import cards, weight_files
from krea_studio.engine.checkpoints.activations import Run
from krea_studio.engine.checkpoints.formats import layers as layer_formats
from krea_studio.engine.checkpoints.formats import models_folder
from krea_studio.engine.checkpoints.formats.model_file import SUFFIXES
from krea_studio.engine.checkpoints.memory import PLANNED_SHARE, Plan
from krea_studio.engine.lora import beginnings, factors, files, strangers
from krea_studio.engine.lora import formats as key_formats
from krea_studio.expansion import chat_server, server_refusals
from krea_studio.files import CLUTTER, write_error, write_whole
from krea_studio.library import references
from krea_studio.library.foreign import texts, tools
from krea_studio.library.moodboard_files import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_PIXELS
from krea_studio.library.pictures import colour, formats, loader, metadata
from krea_studio.library.pictures.containers import MAX_PROFILE_BYTES
from krea_studio.recipe.recipe import schema_version
from krea_studio.recipe.request import bounds

FOLDER = Path(__file__).resolve().parents[1] / "docs"
COMMAND = "python -m krea_studio document"
MEBIBYTE = 2**20
WIDTH = 120


def write_pages(folder: Path = FOLDER) -> list[Path]:
    """Write every page into `folder` and return their paths. Raises StorageError where one cannot be written."""
    paths = []
    for name, page in PAGES.items():
        path = folder / name
        try:
            write_whole(path, page().encode())
        except OSError as error:
            raise write_error(error, path, "The page") from None
        paths.append(path)
    return paths


def what_it_takes_in() -> str:
    """The page on all that a person may give the studio."""
    head = f"# What it takes in\n\nWritten by `{COMMAND}` from the tables and limits that the studio itself goes by."
    return "\n\n".join([head, *(section() for section in TAKEN_IN)]) + "\n"


def pictures() -> str:
    """Which picture files are taken in, and within which limits."""
    rows = [(each.name, ", ".join(f"`{ending}`" for ending in each.endings), each.told) for each in formats.FORMATS]
    side = round(references.WORKING_PIXELS**0.5)
    return _section(
        "Pictures",
        "For style references, moodboards, covers and the training of styles. What a file is, its content says, not "
        "its name.",
        _table(("format", "usual endings", "what of it"), rows),
        f"A file has at most {loader.MAX_FILE_BYTES // MEBIBYTE} MiB, a picture at most {loader.MAX_PIXELS:,} pixels "
        f"and at least {loader.MIN_SIDE_PX} a side; this is checked before a pixel is decoded. Animations and "
        "sequences are refused.",
        "What comes out is RGB in sRGB of 8 bits, upright by what the file says of its orientation, transparency on "
        "white, and nothing else of the file: no place, no time, no camera.",
        f"Up to {bounds('style_references')[1]:.0f} style references, and up to {MAX_IMAGES} pictures of a moodboard, "
        f"are kept with as many pixels as {side} × {side} or fewer. Of a picture longer than {references.WIDEST}:1, as "
        "panoramas are, the middle is used; that is told, and a part that you crop yourself is used instead.",
    )


def colours() -> str:
    """What is known of colours, and what becomes of them."""
    names = {"L": "grey", "LAB": "Lab"}
    profiles = ", ".join(names.get(mode, mode) for mode in colour.MODES.values())
    return _section(
        "Colours",
        f"Converted to sRGB are ICC profiles ({profiles}) of up to {MAX_PROFILE_BYTES // MEBIBYTE} MiB, such as "
        f"Display P3, Adobe RGB and ProPhoto, and the code points of ITU-T H.273 for primaries "
        f"({_numbers(colour.PRIMARIES)}) and curves ({_numbers(colour.CURVES)}): relative to the white "
        f"points, with black kept black. Of high dynamic range, what is brighter than paper white, "
        f"{colour.PAPER_WHITE_NITS} cd/m², becomes white.",
        "A picture without any of these is taken as sRGB. So is one whose profile is damaged or does not fit it, and "
        "that is told.",
    )


def folders() -> str:
    """What is passed over in folders and zips."""
    return _section(
        "Folders and zips",
        f"Passed over, where several files come in at once, are {', '.join(f'`{name}`' for name in CLUTTER)}: Macs, "
        "Windows and file servers put them there.",
        f"The zip of a moodboard has at most {MAX_ARCHIVE_BYTES // MEBIBYTE} MiB, packed and unpacked, and "
        f"{MAX_ARCHIVE_PIXELS:,} pixels. It may have been packed again, with a folder around all that is in it or with "
        "backslashes in its names.",
        "A folder to train a style on has pictures, each with its caption in a text of the same name, right in it or "
        "in the one folder that it holds.",
    )


def recipes() -> str:
    """Which pictures bring their settings back."""
    return _section(
        "Pictures with a recipe",
        f"A PNG of the studio's, of at most {metadata.MAX_FILE_BYTES // MEBIBYTE} MiB, brings its settings back: a "
        f"recipe of schema 1 to {schema_version()} and at most {metadata.MAX_RECIPE_CHARACTERS:,} characters, wherever "
        "in the file another tool moved it. Its pixels are not decoded, and every fact in it is checked.",
    )


def other_tools() -> str:
    """Which other tools' pictures bring their settings, and what becomes of them."""
    (_, most_steps), (_, most_guidance) = bounds("steps"), bounds("guidance_scale")
    return _section(
        "Pictures of other tools",
        f"*Load settings from a picture* takes {tools.KINDS} files as these tools save them. The studio's own recipe "
        "comes first; a picture that carries several tools' texts is read by the first row that knows it.",
        _table(("tool", "where it writes its settings"), [(each.name, each.written) for each in tools.TOOLS]),
        f"A file has at most {metadata.MAX_FILE_BYTES // MEBIBYTE} MiB, a text in it at most "
        f"{texts.MAX_TEXT_BYTES // MEBIBYTE} MiB, unpacked. Its pixels are not decoded, so what is hidden in them is "
        "not found.",
        "Taken over are prompt, negative prompt, seed, steps, guidance and size. These tools' CFG scale c is a "
        f"guidance of c − 1 here, so 1 is off; above {most_guidance:g} it is {most_guidance:g}, and steps above "
        f"{most_steps} are {most_steps}. A size becomes the nearest aspect ratio. The variant is that of the Krea 2 "
        "model that is named, else Medium where there was guidance and Turbo where there was none. Everything else, "
        "such as LoRAs with their weights, samplers and upscalers, is told with its value. So is whatever is set "
        "otherwise than it was there. The same seed draws another picture here than there.",
        "A ComfyUI graph is followed from the picture that it saves back to the noise. What comes out of a node that "
        "is not known here is not guessed: the node is named. Of a workflow whose graph was removed, groups of nodes "
        "(subgraphs) are not looked into.",
    )


def styles() -> str:
    """Which LoRA files are taken in, and which are named and refused."""
    containers = _names(prefix for prefix, _ in key_formats.CONTAINERS)
    fused = [f"`{name}` as {_names(layers)}" for name, layers in key_formats.FUSED.items()]
    undone = ", ".join(name for name, _ in beginnings.KNOWN.values())
    lost = ", ".join(dict.fromkeys(name for name, _, _ in beginnings.LOST.values() if name not in undone))
    kinds = dict.fromkeys(kind for kind, _ in factors.KINDS)
    return _section(
        "Styles (LoRA files)",
        f"Safetensors files of at most {files.MOST_BYTES / 1e9:g} GB and {files.MOST_TENSORS:,} tensors of "
        f"{', '.join(sorted(files.FLOATS))}, or a folder of peft's with its config. What is in them is turned into "
        f"factors of a plain LoRA: {', '.join(kinds)}; DoRA's magnitudes are read beside them. Of a change that has "
        f"more than {factors.EXACT_RANK} ranks, at most {factors.MOST_LEFT_OUT:.0%} may be left out, which is told. "
        "`inspect-style` says what is in a file, and what becomes of it.",
        f"Layers are found by diffusers' names and by Krea's own, behind {containers} in any order, and behind what "
        f"PyTorch puts into names ({_names(key_formats.WRAPPERS)}). Fused layers part: {'; '.join(fused)}.",
        f"An adapter that changed the weights it began with is set right where those are here ({undone}), and refused "
        f"where what it took off cannot be known ({lost}).",
        f"Named for what they are, and refused: {', '.join(dict.fromkeys(strangers.TUNERS.values()))}; and LoRAs of "
        "other models.",
    )


def checkpoints() -> str:
    """Which checkpoint folders and files of weights are loaded."""
    plain = [*layer_formats.PLAIN.values(), *layer_formats.FLOAT8.values()]
    packed = [layer_formats.INT8, layer_formats.ROTATED, layer_formats.MXFP8, layer_formats.NVFP4]
    return _section(
        "Checkpoints",
        "Folders and repositories of the Hub as `Krea2Pipeline.save_pretrained` writes them. Weights are safetensors, "
        "in one file or in shards with their index, full ones before variants "
        f"({_names(weight_files.VARIANTS)} before others). Pickles ({_names(weight_files.PICKLES)}) are never read.",
        f"Files of a transformer alone, or of all parts ({_names(SUFFIXES)}), also of a folder of models with "
        f"{_names(models_folder.MODEL_FOLDERS)}: layers of {', '.join(plain)}, the last two also with scales, "
        f"{', '.join(packed)}, and of ggml's {', '.join(sorted(layer_formats.GGML))}; mixed in one file, by Krea's own "
        "names or by diffusers'. `inspect-model` says what is in a file, and what it needs beside it.",
    )


def chat_servers() -> str:
    """Which servers write prompts out."""
    return _section(
        "Chat servers",
        f"Servers that speak OpenAI's chat completions, with answers of up to {chat_server.MOST_BYTES // MEBIBYTE} "
        f"MiB. What a server refuses is left out or asked for by its newer name, for as long as the studio runs: "
        f"{_names(server_refusals.FIELDS)}, and the system message. Thoughts, marked or in parts of their own, are "
        "never drawn.",
    )


def memory() -> str:
    """The page on which cards the published model runs on."""
    head = f"# Memory\n\nWritten by `{COMMAND}`: every cell is what the studio itself would plan."
    return "\n\n".join([head, plan_words(), sizes(), *map(cards_table, cards.RUNS)]) + "\n"


def plan_words() -> str:
    """What the cells of the tables mean."""
    return _section(
        "Plans",
        "A run has three stages: the text encoder reads, the transformer draws, the VAE decodes. The first plan of "
        "this list is taken whose every stage fits with what it computes.",
        _table(
            ("cell", "what is on the device", "what it costs"),
            [
                ("fits", "all weights, all the time", "nothing"),
                (
                    "encoder visits",
                    "transformer and VAE; the text encoder comes beside them",
                    "a copy for a new prompt",
                ),
                ("encoder swaps", "transformer and VAE; the text encoder comes instead", "two copies for a new prompt"),
                ("turns", "one model at a time", "copies of all models for every picture"),
                ("encoder on CPU", "transformer and VAE; the text encoder never comes", "seconds for a new prompt"),
                ("streamed", "the transformer's blocks come one by one", "a copy of the transformer for every step"),
                ("no", "", "not possible; a smaller format or a larger card"),
            ],
        ),
        "With `tiles` a picture is decoded tile by tile, which has the same pixels and takes up to twice as long. The "
        "number is the most that is on the device at a time, in GB (10⁹ bytes). What is in main memory instead is at "
        "most all of the weights.",
        f"A card of n GB has n GiB. {cards.TAKEN_BYTES / cards.GIBIBYTE:.1f} GiB are counted as taken by desktop, "
        f"driver and CUDA before the start, and {PLANNED_SHARE['cuda']:.0%} of the rest are planned with. These "
        "plans are arithmetic: what runs need was counted on models without memory, and no card of these was tried.",
    )


def sizes() -> str:
    """The arithmetic behind the tables."""
    weights = []
    for form in cards.FORMATS:
        of = cards.demand_of(form).weights
        parts = (of.transformer, of.text_encoder, of.vae, of.whole, of.streamed)
        weights.append((form.name, *(f"{part / 1e9:.2f}" for part in parts)))
    needs = []
    for form in cards.FORMATS[:2]:
        for run in cards.RUNS:
            beside = cards.demand_of(form).beside(run)
            stages = (beside.reading, beside.drawing, beside.decoding, beside.tiles)
            needs.append((form.name, _run(run), *(f"{stage / 1e9:.2f}" for stage in stages)))
    return _section(
        "Sizes in GB",
        "Weights of the published model; a streamed transformer has two blocks and all that is no block on the device.",
        _table(("format", "transformer", "text encoder", "VAE", "together", "streamed transformer"), weights),
        "What a run needs beside them; packed layers are unpacked while they compute, the other packed formats alike.",
        _table(("format", "run", "reading", "drawing", "decoding", "in tiles"), needs),
    )


def cards_table(run: Run) -> str:
    """The plans of every card and format for a run."""
    rows = [(form.name, *map(_cell, cards.plans_of(form, run))) for form in cards.FORMATS]
    return _section(_run(run), _table(("format", *(f"{card} GB" for card in cards.CARDS_GB)), rows))


_CELLS = {
    ("resident", "none"): "fits",
    ("encoder aside", "beside"): "encoder visits",
    ("encoder aside", "instead"): "encoder swaps",
    ("encoder aside", "never"): "encoder on CPU",
    ("offload", "none"): "turns",
    ("streamed", "beside"): "streamed",
    ("streamed", "never"): "streamed, encoder on CPU",
}


def _cell(plan: Plan) -> str:
    if plan.placement == "refuse":
        return "no"
    return f"{_CELLS[plan.placement, plan.visit]}{', tiles' if plan.tiled else ''} {plan.peak / 1e9:.1f}"


def _run(run: Run) -> str:
    references = f", {run.references} references" if run.references else ""
    return f"{run.width} × {run.height}{references}"


TAKEN_IN: Sequence[Callable[[], str]] = (
    pictures,
    colours,
    folders,
    recipes,
    other_tools,
    styles,
    checkpoints,
    chat_servers,
)
"""The sections of `what_it_takes_in`, in their order."""

PAGES: Mapping[str, Callable[[], str]] = {"what_it_takes_in.md": what_it_takes_in, "memory.md": memory}
"""Every page that is written here, by the name of its file in `docs`."""


def _section(heading: str, *parts: str) -> str:
    """Paragraphs and tables under a heading; paragraphs are wrapped as the other pages are."""
    wrapped = (part if part.startswith("|") else textwrap.fill(part, WIDTH, break_on_hyphens=False) for part in parts)
    return "\n\n".join([f"## {heading}", *wrapped])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _names(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _numbers(table: Mapping[int, object]) -> str:
    return ", ".join(map(str, sorted(table)))
