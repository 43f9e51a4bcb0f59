"""The command `moodboard`: list, show, make, change, analyze and exchange the moodboards of a library.

Pictures and looks (clusters in JSON) are called by their numbers from 1, as `show` prints them. A command changes its
board as a whole or not at all. Standard output has the boards alone: text for people, or JSON.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krea_studio.cli.parts import (
    add_library_option,
    add_owner_option,
    as_json,
    opened,
    owner_of,
    plain,
    remark,
    tell,
    whose,
)
from krea_studio.direction.moodboards import Analysis, Moodboard, edited, phrases
from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.recipe.request import MoodboardChoice, help_text
from krea_studio.validation import shown

if TYPE_CHECKING:
    from krea_studio.library.moodboards import Moodboards
    from krea_studio.library.references import References

# Field of an analysis → flag.
EDIT_FLAGS = {
    "taste_profile": "--profile",
    "keywords": "--keywords",
    "avoids": "--avoids",
    "clusters": "--looks",
}
PICTURE = "a picture file, such as a PNG, JPEG or HEIC"
BOARD_NAME = help_text("name", MoodboardChoice)


def add_moodboard_command(commands: Any) -> None:
    """Add `moodboard` and its own commands to the subparsers of the command line."""
    parser = commands.add_parser("moodboard", help="keep moodboards and analyze them", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    parser.set_defaults(parser=parser)

    listing = _action(actions, "list", _list, "print all moodboards", named=False)
    listing.add_argument("--json", action="store_true", help="print one JSON object a moodboard")

    show = _action(actions, "show", _show, "print a moodboard: its pictures, and what was found in them")
    show.add_argument("--json", action="store_true", help="print JSON")

    create = _action(actions, "create", _create, "make a moodboard; with a bad picture, none is made")
    create.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help=PICTURE)

    add = _action(actions, "add", _add, "add pictures, all or none")
    add.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help=PICTURE)

    remove = _action(actions, "remove", _remove, "take pictures off a moodboard")
    remove.add_argument("numbers", nargs="+", metavar="NUMBER", help="number of a picture, as `show` prints it")

    rename = _action(actions, "rename", _rename, "give a moodboard another name")
    rename.add_argument("new", metavar="NEW", help="its new name")

    _action(actions, "delete", _delete, "delete a moodboard; its pictures stay, as recipes may need them")
    _action(actions, "analyze", _analyze, "find out what the pictures have in common, and print it as `show` does")
    _add_edit(actions)

    export = _action(actions, "export", _export, "write a moodboard with its pictures into a zip and print its path")
    export.add_argument("file", type=Path, metavar="FILE.zip", help="the zip; one that is there is replaced")

    importing = _action(actions, "import", _import, "take in a moodboard that was exported", named=False)
    importing.add_argument("file", type=Path, metavar="FILE.zip", help="a zip that `export` wrote")
    importing.add_argument(
        "--name", metavar="NAME", help="its name here (default: its own); a number is added where that is taken"
    )


def _add_edit(actions: Any) -> None:
    edit = _action(actions, "edit", _edit, "change what was found in a moodboard, and print it as `show` does")
    for field, metavar, text in (
        ("taste_profile", "TEXT", "what the pictures have in common, in sentences"),
        ("keywords", '"A, B"', "words that steer toward the moodboard; empty for none"),
        ("avoids", '"A, B"', "words to steer away from, where guidance is on; empty for none"),
        (
            "clusters",
            "1,3",
            "numbers of the looks that steer, as `show` prints them; all others are switched off",
        ),
    ):
        edit.add_argument(EDIT_FLAGS[field], dest=field, metavar=metavar, help=text)


def _action(
    actions: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, named: bool = True
) -> argparse.ArgumentParser:
    """A command of `moodboard`; one that is `named` works on the board that its first argument names."""
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    if named:
        parser.add_argument("name", metavar="NAME", help=BOARD_NAME)
    add_library_option(parser)
    add_owner_option(parser)
    parser.set_defaults(run=run, parser=parser)
    return parser


@contextmanager
def _boards(options: argparse.Namespace) -> Iterator[Moodboards]:
    with opened(options) as services:
        yield services.library.moodboards.of(owner_of(options, services))


def _list(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        for board in map(boards.get, boards.names()):
            tell(as_json(_summary(board)) if options.json else _line(board))
    return 0


def _show(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        board = boards.get(options.name)
        if options.json:
            tell(as_json(_described(board, boards.references), indent=2))
        else:
            _tell_all(board, boards.references)
    return 0


def _create(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        board = boards.create(options.name)
        if options.pictures:
            try:
                board = boards.add(board.name, options.pictures, remark)
            except BaseException:
                with suppress(StudioError):
                    boards.delete(board.name)
                raise
        tell(_line(board))
    return 0


def _add(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        tell(_line(boards.add(options.name, options.pictures, remark)))
    return 0


def _remove(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        board = boards.get(options.name)
        if not board.images:
            raise InvalidRequest(f"Moodboard {shown(board.name)} has no pictures — there is nothing to remove")
        places = _places(options.numbers, len(board.images), "NUMBER")
        tell(_line(boards.remove(board.name, *(board.images[place] for place in places))))
    return 0


def _rename(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        tell(_line(boards.rename(options.name, options.new)))
    return 0


def _delete(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        boards.delete(options.name)
    return 0


def _analyze(options: argparse.Namespace) -> int:
    with opened(options) as services:
        with _reporting() as report:
            board = services.studio.analyze(options.name, report, person=owner_of(options, services))
        _tell_all(board, services.library.references)
    return 0


def _edit(options: argparse.Namespace) -> int:
    given = {field: getattr(options, field) for field in EDIT_FLAGS if getattr(options, field) is not None}
    if not given:
        *flags, last = EDIT_FLAGS.values()
        raise InvalidRequest(f"There is nothing to edit — give {', '.join(flags)} or {last}")
    with _boards(options) as boards:
        board = boards.change_analysis(options.name, lambda analysis: _edited(analysis, given))
        _tell_all(board, boards.references)
    return 0


def _export(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        boards.export(options.name, options.file)
        tell(str(options.file))
    return 0


def _import(options: argparse.Namespace) -> int:
    with _boards(options) as boards:
        tell(_line(boards.import_(options.file, options.name)))
    return 0


def _edited(analysis: Analysis, given: dict[str, str]) -> Analysis:
    """The analysis with the fields that flags gave. Raises InvalidRequest for what it does not take."""
    changes: dict[str, Any] = dict(given)
    for field in ("keywords", "avoids"):
        if field in given:
            changes[field] = phrases(given[field])
    if "clusters" in given:
        on = _places(phrases(given["clusters"]), len(analysis.clusters), EDIT_FLAGS["clusters"])
        changes["clusters"] = [
            cluster.model_copy(update={"on": place in on}) for place, cluster in enumerate(analysis.clusters)
        ]
    return edited(analysis, changes, lambda field: EDIT_FLAGS.get(field, field))


def _places(numbers: Sequence[str], count: int, where: str) -> list[int]:
    """Numbers from 1 to `count` as places from 0, each once; `where` is what the person calls them."""
    found = []
    for number in numbers:
        # `int` reads signs, underscores and other scripts' digits; what `show` prints has none of them.
        place = int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 10 else -1
        if not 0 <= place < count:
            allowed = f"a whole number from 1 to {count}" if count > 1 else "1"
            raise InvalidRequest(f"{where} is {shown(number)} — give {allowed}")
        found.append(place)
    return list(dict.fromkeys(found))


def _state(board: Moodboard) -> str:
    if board.analysis is None:
        return "not analyzed"
    return "changed since it was analyzed" if board.changed else "analyzed"


def _line(board: Moodboard) -> str:
    count = len(board.images)
    told = [f"{count} picture{'' if count == 1 else 's'}", _state(board), plain(whose(board.owner, board.team))]
    return f"{plain(board.name)}  {', '.join(filter(None, told))}"


def _summary(board: Moodboard) -> dict[str, Any]:
    return {
        "name": board.name,
        "count": len(board.images),
        "analyzed": board.analysis is not None,
        "changed": board.changed,
        "owner": board.owner,
        "team": board.team,
    }


def _described(board: Moodboard, references: References) -> dict[str, Any]:
    """The board as JSON has it: pictures with their ids and paths, and what was found, null where nothing was."""
    paths = {image: _path(references, image) for image in board.images}
    pictures = [{"id": image, "path": str(path) if path else None} for image, path in paths.items()]
    return _summary(board) | {"pictures": pictures, "analysis": _described_analysis(board)}


def _described_analysis(board: Moodboard) -> dict[str, Any] | None:
    if board.analysis is None:
        return None
    found = board.analysis.model_dump(mode="json")
    clusters = [
        cluster | {"share": round(share, 4)} for cluster, share in zip(found["clusters"], board.shares(), strict=True)
    ]
    return found | {"clusters": clusters}


def _path(references: References, image: str) -> Path | None:
    try:
        return references.path(image)
    except InvalidRequest:
        return None


def _tell_all(board: Moodboard, references: References) -> None:
    """Print a board for people."""
    tell(_line(board))
    for number, image in enumerate(board.images, start=1):
        tell(f"  {number:>3}  {_path(references, image) or f'{image} is not in the library any more'}")
    if board.analysis is not None:
        _tell_found(board, board.analysis)


def _tell_found(board: Moodboard, found: Analysis) -> None:
    for title, values in (
        ("Profile", [found.taste_profile]),
        ("Keywords", found.keywords),
        ("Avoids", found.avoids),
        ("Palette", [f"{swatch.colour} {swatch.share:.0%}" for swatch in found.palette]),
    ):
        tell(f"{title}: {plain(', '.join(values)) or 'none'}")
    tell("Looks:")
    for number, (cluster, share) in enumerate(zip(found.clusters, board.shares(), strict=True), start=1):
        places = sorted(board.images.index(image) + 1 for image in board.present(cluster))
        members = (
            f"picture{'s' * (len(places) > 1)} {', '.join(map(str, places))}" if places else "no pictures any more"
        )
        tell(f"  {number:>3}  {share:.0%}, {'on' if cluster.on else 'off'}: {members}")
    tell(f"Written by: {plain(found.written_by)}")


@contextmanager
def _reporting() -> Iterator[Callable[[float], None]]:
    """What takes the share that is done, 0 … 1: a bar on stderr, when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda fraction: None
        return
    from tqdm import tqdm

    with tqdm(total=100, desc="analyzing", leave=False, bar_format="{desc} {bar} {n_fmt}%", dynamic_ncols=True) as bar:

        def report(fraction: float) -> None:
            bar.n = round(100 * fraction)
            bar.refresh()

        yield report
