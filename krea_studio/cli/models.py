"""The commands `inspect-model` and `models`: what files of weights are, and whether the studio runs them.

Exit code 0 where a file can be used, 1 where it is refused; the report is on standard output either way, as lines or as
JSON. Reads no weights; `models` also tells where they would go in memory, for which it loads the model code.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from krea_studio.cli.parts import as_json, plain, tell
from krea_studio.direction.styles import size_words
from krea_studio.engine.base import MemoryPlan
from krea_studio.engine.checkpoints.formats.model_file import TRANSFORMER, report
from krea_studio.engine.checkpoints.formats.models_folder import listed
from krea_studio.engine.checkpoints.table import known_shapes, missing, resolve
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import InvalidRequest
from krea_studio.settings import load_settings

REFUSED = 1


def add_models_commands(commands: Any) -> None:
    """Add `inspect-model` and `models` to the subparsers of the command line."""
    inspect = commands.add_parser(
        "inspect-model",
        help="say what a file of weights is and whether it runs here",
        description="Say which models a .safetensors or .gguf file holds, in which formats, and what is wrong with it. "
        "Exit code 1 means that the file is refused.",
        allow_abbrev=False,
    )
    inspect.add_argument("file", type=Path, metavar="FILE", help="a .safetensors or .gguf file")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=_inspect_model, parser=inspect)
    models = commands.add_parser(
        "models",
        help="list the files of weights in a models folder",
        description="List the .safetensors and .gguf files of a folder of models, such as ComfyUI's, what each is, and "
        "where its weights would go in memory.",
        allow_abbrev=False,
    )
    models.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="the folder (default: KREA_STUDIO_MODELS)"
    )
    models.add_argument("--json", action="store_true", help="print one JSON object a file")
    models.set_defaults(run=_models, parser=models)


def _inspect_model(options: argparse.Namespace) -> int:
    settings = load_settings()
    found = report(options.file, known_shapes(settings))
    if not found["refused"] and TRANSFORMER in found["parts"]:
        found["lacks"] = missing(resolve(str(options.file), settings.base, settings.models)) or ""
    tell(as_json(found, indent=2) if options.json else "\n".join(_lines(found)))
    return REFUSED if found["refused"] else 0


def _models(options: argparse.Namespace) -> int:
    settings = load_settings()
    folder = options.folder or settings.models
    if folder is None:
        raise InvalidRequest("No folder is given — name one, or set KREA_STUDIO_MODELS to your folder of models")
    engine = LocalEngine(settings)
    for found in listed(folder, known_shapes(settings)):
        if not found["refused"] and TRANSFORMER in found["parts"]:
            found["memory"] = _memory(engine.plan_of(found["file"]))
        tell(as_json(found) if options.json else _line(found))
    return 0


def _memory(plan: MemoryPlan) -> dict[str, Any]:
    """A plan as data, with the line that people read."""
    known = plan.bytes is not None
    return {**asdict(plan), "fits": known and plan.placement != "refuse", "told": plan.told}


def _lines(found: Mapping[str, Any]) -> list[str]:
    """What a person reads of a report."""
    lines = [f"{plain(found['file'])}: {_size(found)}"]
    for part, facts in found.get("parts", {}).items():
        of = f" of {facts['model']}" if facts["model"] else ""
        prefix = f", after the prefix {plain(facts['prefix'])}" if facts["prefix"] else ""
        lines.append(f"  {part.replace('_', ' ')}{of}: {_formats(facts)}{prefix}")
        lines += [f"    left out: {plain(name)} ({reason})" for name, reason in facts["left_out"].items()]
    if "transformer" in found.get("parts", {}):
        guess = {"turbo": "Turbo", "medium": "Raw"}.get(found["variant_guess"])
        lines.append(f"  by its name {guess}; the tensors cannot tell" if guess else "  Raw or Turbo: nothing tells")
    if found.get("lacks"):
        lines.append(f"  does not run yet: {plain(found['lacks'])}")
    else:
        lines.append(f"  refused: {plain(found['refused'])}" if found["refused"] else "  can be used")
    return lines


def _line(found: Mapping[str, Any]) -> str:
    if found["refused"]:
        # A reason names the file, which is enough.
        return "a LoRA: " + plain(found["file"]) if found["lora"] else "refused: " + plain(found["refused"])
    parts = "; ".join(f"{part.replace('_', ' ')}: {_formats(facts)}" for part, facts in found["parts"].items())
    memory = f"; {plain(found['memory']['told'])}" if "memory" in found else ""
    return f"{parts}: {plain(found['file'])}, {_size(found)}{memory}"


def _formats(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} × {form}" for form, count in facts["formats"].items())


def _size(found: Mapping[str, Any]) -> str:
    return size_words(found["bytes"])
