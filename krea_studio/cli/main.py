"""The command line: generate pictures, inspect one, serve the page, measure.

Flags, choices and help come from the fields of GenerationRequest. Every refusal is one line on stderr that names the
value and what is allowed, and nothing is written then. Exit codes: 0 done, 1 failed, 2 bad input, 3 not available
here, 4 storage, 5 refused by the content filter, 130 stopped. Standard output holds results only; torch is loaded when
a valid request is about to run. Help answers at once: this module imports what the parsers need, and what a command
needs is imported when it runs.
"""

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel

from krea_studio import __version__
from krea_studio.cli.accounts import add_accounts_command
from krea_studio.cli.flags import FLAGS, MOODBOARD_FLAG, RANDOM_FLAGS, REFERENCE_FLAG, SPEED_FLAG, STYLE_FLAG
from krea_studio.cli.history import add_history_command
from krea_studio.cli.licence import add_licence_command
from krea_studio.cli.models import add_models_commands
from krea_studio.cli.moodboards import add_moodboard_command
from krea_studio.cli.parts import as_json, remark, tell
from krea_studio.cli.space import add_space_command
from krea_studio.cli.style_doctor import add_inspect_style_command
from krea_studio.cli.styles import add_styles_command
from krea_studio.errors import InvalidRequest, Refused, Stopped, StorageError, StudioError, Unavailable
from krea_studio.recipe.axes import KINDS
from krea_studio.recipe.request import (
    SLIDERS,
    GenerationRequest,
    MoodboardChoice,
    StyleChoice,
    StyleReference,
    bounds,
    default,
    help_text,
)
from krea_studio.recipe.sweep import MOST_CELLS
from krea_studio.settings import Settings, environment_variable, load_settings
from krea_studio.startup import uncollected, without_proxies
from krea_studio.validation import allowed, field_schema, shown

EXIT_CODES: dict[type[StudioError], int] = {
    InvalidRequest: 2,
    Unavailable: 3,
    StorageError: 4,
    Refused: 5,
    Stopped: 130,
}

# Commands with options of their own, which their module's `main` takes as they are; it returns an exit code.
MEASURES = (
    "speed", "startup", "sliders", "references", "moodboards", "creativity", "styles", "adapters", "durability",
    "expansion", "weights", "gpu", "library", "safety", "spaces", "reliability",
)  # fmt: skip
TRAINING = {
    "train-slider": "train a slider LoRA on a checkpoint",
    "train-style": "train a style LoRA on a folder of captioned pictures",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` are those after the program's name."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal shows ×, and no result is lost over it
    try:
        # argparse would keep an option that comes first to itself, so these do not reach it.
        if arguments and arguments[0] in TRAINING:
            return _run_module("training", arguments[0].removeprefix("train-"), arguments[1:])
        options, unknown = _parser().parse_known_args(arguments)
        if unknown:
            options.parser.error(f"{shown(' '.join(unknown))} is not known here")
        return options.run(options)
    except StudioError as error:
        return _report(error)
    except KeyboardInterrupt:
        return _report(Stopped("Stopped — pictures that were finished are kept"))
    except BrokenPipeError:
        # Who read the output has seen enough; without a reader Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _report(error: StudioError) -> int:
    print("error: " + " ".join(error.message.split()), file=sys.stderr)
    return EXIT_CODES.get(type(error), 1)


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are errors of the studio: one line, no usage text before it."""

    def error(self, message: str) -> NoReturn:
        raise InvalidRequest(f"{message} — {self.format_usage()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m krea_studio", description="Krea Studio: pictures from words, on this machine.")
    parser.add_argument("--version", action="version", version=f"Krea Studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_generate(commands)
    _add_sweep(commands)

    inspect = commands.add_parser(
        "inspect",
        help="print the recipe of a picture as JSON",
        description="Print the recipe of a picture as JSON, and on standard error what draws otherwise here today.",
        allow_abbrev=False,
    )
    inspect.add_argument("file", type=Path, metavar="FILE.png", help="a picture that this studio made")
    inspect.set_defaults(run=_inspect, parser=inspect)

    add_history_command(commands)
    add_moodboard_command(commands)
    add_styles_command(commands)
    add_inspect_style_command(commands)
    add_models_commands(commands)
    add_licence_command(commands)
    add_accounts_command(commands)

    serve = commands.add_parser("serve", help="serve the page", allow_abbrev=False)
    for field in ("host", "port"):
        option = Settings.model_fields[field]
        serve.add_argument(f"--{field}", help=f"{option.description} (default: {option.default})")
    serve.set_defaults(run=_serve, parser=serve)
    add_space_command(commands)

    document = commands.add_parser(
        "document",
        help="write the pages of the documentation that are made from the studio's own tables",
        allow_abbrev=False,
    )
    document.add_argument("--folder", type=Path, metavar="DIR", help="where they go (default: the project's docs)")
    document.set_defaults(run=_document, parser=document)

    for name, what in TRAINING.items():
        commands.add_parser(name, help=what)

    measure = commands.add_parser("measure", help="measure the engine on this machine", allow_abbrev=False)
    measure.add_argument("measure", choices=MEASURES, help="what to measure")
    measure.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="its own options; try --help there")
    measure.set_defaults(run=_measure, parser=measure)
    return parser


def _add_generate(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        help="make pictures",
        description="Make one to four pictures. Each is kept as a PNG with its recipe inside.",
        allow_abbrev=False,
    )
    _add_wishes(parser, FLAGS, "the recipe of this picture")
    parser.add_argument("--random", dest="random_mode", action="store_true", help=help_text("random_mode"))
    parser.add_argument(
        "--lock", dest="locked_sliders", metavar="SLIDER,…", help=f"{help_text('locked_sliders')}: {', '.join(SLIDERS)}"
    )
    parser.set_defaults(run=_generate, parser=parser)


def _add_sweep(commands: Any) -> None:
    parser = commands.add_parser(
        "sweep",
        help="make a picture of every combination of a few settings' values, and a sheet of all",
        description="Make a picture of every combination of one to three settings' values, each kept as any other, and "
        "a sheet of all. An axis is NAME=VALUES: a list with commas, or a range START:STOP:STEP of numbers. "
        f"Names are {', '.join(_axis_help(name) for name in KINDS)}.",
        allow_abbrev=False,
    )
    flags = {field: flag for field, flag in FLAGS.items() if field not in ("batch", *RANDOM_FLAGS)}
    _add_wishes(parser, flags, "the sweep of this sheet, or the recipe of this picture")
    for flag, where in (("--x", "from left to right"), ("--y", "from top to bottom"), ("--z", "from sheet to sheet")):
        parser.add_argument(flag, metavar="NAME=VALUES", help=f"what varies {where}")
    parser.add_argument(
        "--most",
        type=int,
        default=MOST_CELLS,
        metavar="N",
        help="refuse more pictures than this (default: %(default)s)",
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="where the sheet goes (default: among the library's sheets)"
    )
    parser.set_defaults(run=_sweep, parser=parser, random_mode=False, batch=None, **dict.fromkeys(RANDOM_FLAGS))


def _axis_help(name: str) -> str:
    return f"{name} ({KINDS[name].help})" if KINDS[name].help else name


def _add_wishes(parser: argparse.ArgumentParser, flags: Mapping[str, str], again: str) -> None:
    """What a picture may be asked for by, and where it goes; `again` is what `--from` takes."""
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help=f"{help_text('prompt')}; optional with --from")
    for field, flag in flags.items():
        parser.add_argument(flag, dest=field, metavar=_placeholder(field), help=_flag_help(field))
    parser.add_argument(
        REFERENCE_FLAG,
        dest="references",
        metavar="PATH[:STRENGTH]",
        action="append",
        help=f"a picture whose look is taken over, {_range_text(StyleReference, 'strength')}; up to four times",
    )
    parser.add_argument(
        MOODBOARD_FLAG,
        dest="moodboard",
        metavar="NAME[:STRENGTH]",
        help=f"a moodboard of the library that gives the direction, {_range_text(MoodboardChoice, 'strength')}",
    )
    parser.add_argument(
        STYLE_FLAG,
        dest="styles",
        metavar="NAME[:WEIGHT]",
        action="append",
        help=f"a style of the library, {_range_text(StyleChoice, 'weight')}; up to {bounds('styles')[1]} times",
    )
    parser.add_argument(
        SPEED_FLAG,
        dest="few_steps",
        action="store_true",
        help="draw with the steps and sigmas, and without guidance, that the chosen style was made for",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE.png",
        help=f"run {again} again; other flags replace parts of it, and another --variant brings its own steps and "
        "guidance scale",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the pictures, their thumbnails and records in this folder instead of the library, which stays where "
        "styles, moodboards and references are",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a picture")


def _range_text(model: type[BaseModel], field: str) -> str:
    low, high = bounds(field, model)
    return f"{low:g} to {high:g}, 0 has no effect (default: {default(field, model):g})"


def _placeholder(field: str) -> str:
    schema = field_schema(GenerationRequest, field)
    if "enum" in schema:
        return "{" + ",".join(schema["enum"]) + "}"
    return {"string": "TEXT", "array": "N,…"}.get(schema["type"], "N")


def _flag_help(field: str) -> str:
    text = f"{help_text(field)} ({allowed(GenerationRequest, field)})"
    if default(field) not in (None, ""):
        text += f" (default: {default(field)})"
    return text.replace("%", "%%")


def _generate(options: argparse.Namespace) -> int:
    from krea_studio.cli.generate import generate

    return generate(options)


def _sweep(options: argparse.Namespace) -> int:
    from krea_studio.cli.sweep import sweep

    return sweep(options)


def _inspect(options: argparse.Namespace) -> int:
    from krea_studio.library.pictures.metadata import read_recipe
    from krea_studio.redrawing import differences
    from krea_studio.services import build_engine

    recipe = read_recipe(options.file)
    for note in differences(recipe, build_engine(load_settings())):
        remark(note)
    print(as_json(recipe.as_json(), indent=2))
    return 0


def _serve(options: argparse.Namespace) -> int:
    chosen = {field: getattr(options, field) for field in ("host", "port") if getattr(options, field) is not None}
    settings = load_settings(
        chosen, name=lambda field: f"--{field}" if field in chosen else environment_variable(field)
    )
    with uncollected(), without_proxies():
        from krea_studio.ui.server.launch import serve

    serve(settings)
    return 0


def _document(options: argparse.Namespace) -> int:
    from krea_studio.documents import FOLDER, write_pages

    for path in write_pages(options.folder or FOLDER):
        tell(str(path))
    return 0


def _measure(options: argparse.Namespace) -> int:
    return _run_module("measures", options.measure, options.rest)


def _run_module(room: str, name: str, arguments: Sequence[str]) -> int:
    if find_spec(f"krea_studio.{room}") is None:
        raise Unavailable(
            f"{shown(name)} is no part of this copy of the studio — run it in a checkout of the repository"
        )
    # Help and mistakes are answered here, before the module imports torch.
    import_module(f"krea_studio.{room}.options").parsed(name, arguments)
    return import_module(f"krea_studio.{room}.{name}").main(arguments)
