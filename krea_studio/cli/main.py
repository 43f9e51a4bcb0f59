"""The command line: generate pictures, inspect one, serve the page, measure.

Flags, choices and help come from the fields of GenerationRequest. Every refusal is one line on stderr that names the
value and what is allowed, and nothing is written then. Exit codes: 0 done, 1 failed, 2 bad input, 3 not available
here, 4 storage, 130 stopped. Standard output holds results only; torch is loaded when a valid request is about to run.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel

from krea_studio import __version__
from krea_studio.cli.moodboards import add_moodboard_command
from krea_studio.cli.parts import Progress, as_json, plain, with_number
from krea_studio.cli.style_doctor import add_inspect_style_command
from krea_studio.cli.styles import STYLE_FLAG, add_styles_command, chosen_styles, take_in_folder
from krea_studio.direction.references import references_text
from krea_studio.direction.sliders import values_text
from krea_studio.direction.styles import chosen_card, made_for_another, other_styles, styles_text
from krea_studio.errors import InvalidRequest, Stopped, StorageError, StudioError, Unavailable
from krea_studio.library.loader import load_picture
from krea_studio.library.metadata import read_recipe
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.records import Record
from krea_studio.library.references import Reference, References
from krea_studio.library.store import MOODBOARD_FOLDER, REFERENCE_FOLDER
from krea_studio.recipe.plan import require_plannable
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import (
    SLIDERS,
    GenerationRequest,
    MoodboardChoice,
    StyleChoice,
    StyleReference,
    bounds,
    default,
    help_text,
    parse_request,
)
from krea_studio.redrawing import differences
from krea_studio.services import Services, build_engine, build_services
from krea_studio.settings import Settings, environment_variable, load_settings
from krea_studio.studio import Saved, StudioEvent
from krea_studio.validation import allowed, field_schema, shown

EXIT_CODES: dict[type[StudioError], int] = {InvalidRequest: 2, Unavailable: 3, StorageError: 4, Stopped: 130}

# Request field → flag. The other fields of a request have no plain text form yet.
FLAGS = {
    "variant": "--variant",
    "aspect_ratio": "--aspect-ratio",
    "resolution": "--resolution",
    "seed": "--seed",
    "batch": "--count",
    "steps": "--steps",
    "guidance_scale": "--guidance-scale",
    "negative_prompt": "--negative-prompt",
    "creativity": "--creativity",
    "intensity": "--intensity",
    "complexity": "--complexity",
    "movement": "--movement",
    "spread": "--spread",
    "exploration_seed": "--exploration-seed",
}
REFERENCE_FLAG, MOODBOARD_FLAG = "--reference", "--moodboard"
# Flags that say how random mode draws; without it they would have no effect.
RANDOM_FLAGS = {"locked_sliders": "--lock", "spread": "--spread", "exploration_seed": "--exploration-seed"}

# Commands with options of their own, which their module's `main` takes as they are; it returns an exit code.
MEASURES = ("speed", "sliders", "references", "moodboards", "creativity", "styles")
TRAINING = {
    "train-slider": "train a slider LoRA on a checkpoint",
    "train-style": "train a style LoRA on a folder of captioned pictures",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` are those after the program's name."""
    arguments = sys.argv[1:] if arguments is None else arguments
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

    inspect = commands.add_parser(
        "inspect",
        help="print the recipe of a picture as JSON",
        description="Print the recipe of a picture as JSON, and on standard error what draws otherwise here today.",
        allow_abbrev=False,
    )
    inspect.add_argument("file", type=Path, metavar="FILE.png", help="a picture that this studio made")
    inspect.set_defaults(run=_inspect, parser=inspect)

    add_moodboard_command(commands)
    add_styles_command(commands)
    add_inspect_style_command(commands)

    serve = commands.add_parser("serve", help="serve the page", allow_abbrev=False)
    for field in ("host", "port"):
        option = Settings.model_fields[field]
        serve.add_argument(f"--{field}", help=f"{option.description} (default: {option.default})")
    serve.set_defaults(run=_serve, parser=serve)

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
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help=f"{help_text('prompt')}; optional with --from")
    for field, flag in FLAGS.items():
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
    parser.add_argument("--random", dest="random_mode", action="store_true", help=help_text("random_mode"))
    parser.add_argument(
        "--lock", dest="locked_sliders", metavar="SLIDER,…", help=f"{help_text('locked_sliders')}: {', '.join(SLIDERS)}"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE.png",
        help="run the recipe of this picture again; other flags replace parts of it, and another --variant brings its "
        "own steps and guidance scale",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the pictures, their thumbnails and records in this folder instead of the library, which stays where "
        "styles, moodboards and references are",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a picture")
    parser.set_defaults(run=_generate, parser=parser)


def _range_text(model: type[BaseModel], field: str) -> str:
    low, high = bounds(field, model)
    return f"{low:g} to {high:g}, 0 has no effect (default: {default(field, model):g})"


def _placeholder(field: str) -> str:
    schema = field_schema(GenerationRequest, field)
    return "{" + ",".join(schema["enum"]) + "}" if "enum" in schema else {"string": "TEXT"}.get(schema["type"], "N")


def _flag_help(field: str) -> str:
    text = f"{help_text(field)} ({allowed(GenerationRequest, field)})"
    if default(field) not in (None, ""):
        text += f" (default: {default(field)})"
    return text.replace("%", "%%")


def _flag_of(field: str) -> str:
    """A field as the person at the command line knows it."""
    others = {
        "random_mode": "--random",
        "style_references": REFERENCE_FLAG,
        "moodboard": MOODBOARD_FLAG,
        "styles": STYLE_FLAG,
    }
    return {**FLAGS, **RANDOM_FLAGS, **others}.get(field, field.upper())


def _value(field: str, text: str) -> Any:
    """The flag's text as the field's own type; text that is no number stays text, and the request refuses it."""
    convert = {"integer": int, "number": float}.get(field_schema(GenerationRequest, field)["type"], str)
    try:
        return convert(text)
    except ValueError:
        return text


def _moodboard(text: str, library: Path) -> tuple[str, float | None]:
    """`with_number`, but for a text that as a whole is the name of a board in the library."""
    name, strength = with_number(text)
    if strength is not None:
        # Only looked at: the request may still be refused, and nothing is written then.
        boards = Moodboards(library / MOODBOARD_FOLDER, References(library / REFERENCE_FOLDER))
        with suppress(InvalidRequest):
            return boards.get(text).name, None
    return name, strength


def _references(options: argparse.Namespace) -> list[tuple[Reference, float | None]]:
    """The pictures that the flags name, read but not kept yet, each with its strength if one was given."""
    found = []
    for text in options.references or ():
        path, strength = with_number(text)
        if strength is not None and not Path(path).exists() and Path(text).exists():
            path, strength = text, None
        found.append((Reference.of(load_picture(path)), strength))
    return found


def _request(
    options: argparse.Namespace,
    recipe: Recipe | None,
    references: Sequence[tuple[Reference, float | None]],
    library: Path,
    styles: Sequence[dict[str, Any]],
) -> GenerationRequest:
    """The request that the flags describe, on top of `recipe` where there is one; `library` has the moodboards."""
    given = {
        field: _value(field, getattr(options, field))
        for field in ("prompt", *FLAGS)
        if getattr(options, field) is not None
    }
    if references:
        given["style_references"] = [_chosen(strength, image=picture.id) for picture, strength in references]
    if options.moodboard is not None:
        name, strength = _moodboard(options.moodboard, library)
        given["moodboard"] = _chosen(strength, name=name)
    if styles:
        given["styles"] = styles
    if options.locked_sliders is not None:
        given["locked_sliders"] = [name.strip() for name in options.locked_sliders.split(",") if name.strip()]
    if options.random_mode:
        given["random_mode"] = True
    else:
        for field, flag in RANDOM_FLAGS.items():
            if field in given:
                raise InvalidRequest(
                    f"{flag} {shown(getattr(options, field))} works in random mode only — add --random"
                )
    wishes: dict[str, Any] = {}
    if recipe is not None:
        wishes = recipe.request().model_dump()
        if given.get("variant", wishes["variant"]) != wishes["variant"]:
            wishes |= {"steps": None, "guidance_scale": None}
        if any(given.get(field, wishes[field]) != wishes[field] for field in ("prompt", "creativity")):
            wishes["expansion"] = None  # it was written for the other prompt
    request = parse_request(wishes | given, name=_flag_of)
    require_plannable(request)
    return request


def _chosen(strength: float | None, **named: str) -> dict[str, Any]:
    return named if strength is None else {**named, "strength": strength}


def _generate(options: argparse.Namespace) -> int:
    recipe = read_recipe(options.source) if options.source else None
    references = _references(options)
    settings = load_settings()
    styles = chosen_styles(options.styles or (), settings.library)
    request = _request(options, recipe, references, settings.library, styles)
    if options.out is not None:
        _require_folder(options.out)
    services = build_services(settings, options.out)
    if options.styles:
        take_in_folder(services)
    for picture, _ in references:
        services.library.references.keep(picture)
    for note in _notes(recipe, request, services):
        print(f"note: {plain(note)}", file=sys.stderr)
    with closing(services.library), Progress() as progress:

        def show(event: StudioEvent) -> None:
            if isinstance(event, Saved):
                progress.pause()
                if (expansion := event.record.recipe.expansion) and expansion.notice:
                    print(f"note: {plain(expansion.notice)}", file=sys.stderr)
                print(_json(event.record) if options.json else _line(event.record), flush=True)
            else:
                progress.show(event)

        services.studio.generate(request, tell=show)
    return 0


def _require_folder(out: Path) -> None:
    """Refuse a folder named by the person that cannot be written, as the bad input that it is."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"--out is {shown(str(out))} ({error.strerror}) — name a folder that can be made"
        ) from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise InvalidRequest(f"--out is {shown(str(out))}, which you may not write — name a folder that you may write")


def _notes(recipe: Recipe | None, request: GenerationRequest, services: Services) -> Iterator[str]:
    """What a person should know before a run: how it differs from a recipe's, styles made for another checkpoint."""
    checkpoint, cards = services.engine.checkpoint_of(request.variant), services.library.styles.cards()
    if recipe is not None:
        yield from differences(recipe, services.engine, request.variant)
        if other := other_styles(request.styles, cards):
            yield other
    for style in request.styles:
        card = chosen_card(style, cards)
        if card is not None and (other := made_for_another(card, request.variant, checkpoint.label)):
            yield f"{card.name}: {other}"


def _json(record: Record) -> str:
    return as_json({"path": str(record.path), **record.as_json()})


def _line(record: Record) -> str:
    recipe = record.recipe
    told = [values_text(recipe), references_text(recipe), styles_text(recipe.styles)]
    if recipe.expansion and recipe.expansion.text != recipe.prompt:
        told.append(f"drawn as «{plain(recipe.expansion.text)}»")
    return (
        f"{record.path}  seed {recipe.seed}, {recipe.width} × {recipe.height}, {recipe.variant} ({recipe.checkpoint}), "
        f"{record.seconds:.1f} s" + "".join(f", {text}" for text in told if text)
    )


def _inspect(options: argparse.Namespace) -> int:
    recipe = read_recipe(options.file)
    for note in differences(recipe, build_engine(load_settings())):
        print(f"note: {plain(note)}", file=sys.stderr)
    print(as_json(recipe.as_json(), indent=2))
    return 0


def _serve(options: argparse.Namespace) -> int:
    chosen = {field: getattr(options, field) for field in ("host", "port") if getattr(options, field) is not None}
    settings = load_settings(
        chosen, name=lambda field: f"--{field}" if field in chosen else environment_variable(field)
    )
    from krea_studio.ui.server.launch import serve

    serve(settings)
    return 0


def _measure(options: argparse.Namespace) -> int:
    return _run_module("measures", options.measure, options.rest)


def _run_module(room: str, name: str, arguments: Sequence[str]) -> int:
    return import_module(f"krea_studio.{room}.{name}").main(arguments)
