"""The command `history`: find the pictures of a library, give them stars, delete them and bring them back.

A picture is called by its id or its file. Before anything is answered, the library's files were checked against its
rows, so that nothing is missing. Deleted pictures stay in the bin for 30 days.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from krea_studio.cli.parts import add_library_option, as_json, opened, plain, remark, tell
from krea_studio.errors import InvalidRequest
from krea_studio.library.history.search import Search, parse_search
from krea_studio.recipe.request import help_text
from krea_studio.validation import field_schema, shown

if TYPE_CHECKING:
    from krea_studio.library.records import Record
    from krea_studio.library.store import Library

# Field of a search → flag.
FLAGS = {
    "words": "--search",
    "variant": "--variant",
    "aspect_ratio": "--aspect-ratio",
    "creativity": "--creativity",
    "style": "--style",
    "moodboard": "--moodboard",
    "with_references": "--with-references",
    "starred": "--starred",
    "since": "--since",
    "until": "--until",
}
PLACEHOLDERS = {"words": "WORDS", "style": "NAME", "moodboard": "NAME", "since": "DATE", "until": "DATE"}
LIMIT = 50
PROMPT_CHARACTERS = 100  # of a line

Change = Callable[["Library", str], "Record"]


def add_history_command(commands: Any) -> None:
    """Add `history` and its own commands to the subparsers of the command line."""
    parser = commands.add_parser(
        "history",
        help="find pictures, give them stars, delete them and bring them back",
        description="List the pictures of the library, newest first. COMMANDs change them.",
        allow_abbrev=False,
    )
    for field, flag in FLAGS.items():
        _add_filter(parser, field, flag)
    parser.add_argument("--limit", default=str(LIMIT), metavar="N", help="How many at most (default: %(default)s)")
    _add_json(parser)
    add_library_option(parser)
    parser.set_defaults(run=_list, parser=parser)
    actions = parser.add_subparsers(dest="action", metavar="COMMAND")

    for name, change, text in (
        ("star", lambda library, picture: library.history.star(picture), "give pictures a star"),
        ("unstar", lambda library, picture: library.history.star(picture, on=False), "take the stars of pictures away"),
        ("delete", lambda library, picture: library.bin.delete(picture), "move pictures into the bin, for 30 days"),
        ("restore", lambda library, picture: library.bin.restore(picture), "bring pictures back from the bin"),
    ):
        action = _action(actions, name, _changing(change), text)
        action.add_argument("pictures", nargs="+", metavar="PICTURE", help="the id of a picture, or its file")
    action = _action(actions, "import", _import, "take in the pictures of a folder that carry recipes, as they are")
    action.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of pictures, with all folders in it")
    _add_json(action)
    _add_json(_action(actions, "bin", _list_bin, "list what is in the bin, deleted last first"))
    _add_json(_action(actions, "refused", _list_refused, "list what the content filter refused, newest first"))
    _add_json(_action(actions, "reported", _list_reported, "list what people reported on a shared page, newest first"))
    _action(actions, "empty-bin", _empty_bin, "remove for good what is in the bin")


def _add_filter(parser: argparse.ArgumentParser, field: str, flag: str) -> None:
    schema, text = field_schema(Search, field), help_text(field, Search)
    if schema.get("type") == "boolean":
        parser.add_argument(flag, dest=field, action="store_true", help=text)
    else:
        placeholder = "{" + ",".join(schema["enum"]) + "}" if "enum" in schema else PLACEHOLDERS[field]
        parser.add_argument(flag, dest=field, metavar=placeholder, help=text)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object a picture")


def _action(actions: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """A command of `history`."""
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    # Without a default of its own, which would replace what was given before the command.
    add_library_option(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run, parser=parser)
    return parser


@contextmanager
def _library(options: argparse.Namespace) -> Iterator[Library]:
    if options.action is not None and (filters := _filters(options)):
        raise InvalidRequest(f"{FLAGS[next(iter(filters))]} is for the list — leave it out with {options.action}")
    with opened(options) as services:
        services.library.checked()
        yield services.library


def _filters(options: argparse.Namespace) -> dict[str, Any]:
    return {field: value for field in FLAGS if (value := getattr(options, field)) not in (None, False)}


def _list(options: argparse.Namespace) -> int:
    search, limit = parse_search(_filters(options), name=FLAGS.__getitem__), _limit(options.limit)
    with _library(options) as library:
        for record in library.history.page(search, limit=limit).records:
            tell(_json(record) if options.json else _line(record))
    return 0


def _list_bin(options: argparse.Namespace) -> int:
    with _library(options) as library:
        for record in library.bin.records():
            tell(_json(record) if options.json else _line(record))
    return 0


def _list_refused(options: argparse.Namespace) -> int:
    with _library(options) as library:
        for each in library.refusals.of():
            at = each.created_at.isoformat()
            told = f"{at}  seed {each.seed}, {plain(each.checkpoint)}, of {plain(each.owner)}, {plain(each.classifier)}"
            tell(as_json({**vars(each), "created_at": at}) if options.json else f"{told} {each.score:.2f}")
    return 0


def _list_reported(options: argparse.Namespace) -> int:
    with _library(options) as library:
        for each in library.reports.all():
            record, at = library.get(each.picture), each.created_at.isoformat()
            if options.json:
                tell(as_json({**vars(each), "created_at": at, "path": str(record.path) if record else None}))
            else:
                picture = _line(record) if record else f"{plain(each.picture)}, which is not here any more"
                tell(f"{at}  by {plain(each.reporter)}: {picture}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from krea_studio.library.folder_import import import_folder  # it needs Pillow, and help needs none of it

    kinds: Counter[str] = Counter()
    with _library(options) as library:
        for found in import_folder(library, options.folder):
            kinds[found.kind] += 1
            told = {"file": found.path, "kind": found.kind, "reason": found.reason}
            if options.json:
                tell(_json(found.record, **told) if found.record else as_json(told))
            elif found.record:
                tell(_line(found.record))
            else:
                remark(found.reason)
    remark(", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "there is nothing in it")
    return 0


def _changing(change: Change) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        pictures = [_id(text) for text in options.pictures]
        with _library(options) as library:
            for picture in dict.fromkeys(pictures):
                tell(_line(change(library, picture)))
        return 0

    return run


def _empty_bin(options: argparse.Namespace) -> int:
    with _library(options) as library:
        count = library.bin.empty()
    tell(f"{count} picture{'' if count == 1 else 's'} removed for good")
    return 0


def _id(text: str) -> str:
    """The id that a person means, by itself or in the name of a file."""
    from krea_studio.library.records import ID, PICTURE

    if ID.fullmatch(text):
        return text
    named = PICTURE.fullmatch(Path(text).name)
    if not named:
        raise InvalidRequest(
            f"PICTURE is {shown(text)} — give the 16 digits that name a picture, or its file, as `history` prints it"
        )
    return named["id"]


def _limit(text: str) -> int:
    # `int` reads signs, underscores and other scripts' digits.
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if limit < 1:
        raise InvalidRequest(f"--limit is {shown(text)} — give a whole number above 0")
    return limit


def _line(record: Record) -> str:
    recipe = record.recipe
    told = [
        f"«{shorten(plain(recipe.prompt), PROMPT_CHARACTERS, placeholder='…')}»",
        f"seed {recipe.seed}",
        f"{recipe.width} × {recipe.height}",
        f"{recipe.variant} ({plain(recipe.checkpoint)})",
        "starred" if record.starred else "",
    ]
    return f"{record.path}  {', '.join(filter(None, told))}"


def _json(record: Record, **beside: Any) -> str:
    return as_json(
        {
            **beside,
            "id": record.id,
            "path": str(record.path),
            "created_at": record.created_at.isoformat(),
            "owner": record.owner,
            "starred": record.starred,
            "deleted_at": record.deleted_at.isoformat() if record.deleted_at else None,
            **record.as_json(),
        }
    )
