"""The command `styles`: list, add, change and remove the styles of a library; and `--style` of `generate`.

What is printed first is a style as the list has it. Style files that lie in the settings' folder are taken in before
anything is listed; those that were refused are told on standard error. Looking into a file is the doctor's part.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
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
    with_number,
)
from krea_studio.direction.styles import OFFICIAL, OfficialStyle, StyleCard, found, matches, not_here, size_words
from krea_studio.errors import InvalidRequest
from krea_studio.library.names import folded
from krea_studio.library.styles.hub import WEIGHTS_SUFFIX
from krea_studio.recipe.request import StyleChoice, bounds, default, help_text

if TYPE_CHECKING:
    from krea_studio.library.styles.styles import Styles
    from krea_studio.services import Services
    from krea_studio.style_intake import Report, StyleIntake

ADD = "python -m krea_studio styles add"

LEAST_WEIGHT, MOST_WEIGHT = bounds("weight", StyleChoice)


def add_styles_command(commands: Any) -> None:
    """Add `styles` and its own commands to the subparsers of the command line."""
    parser = commands.add_parser(
        "styles",
        help="list trained styles (LoRAs), add and change them",
        description="List the styles of the library, and Krea's own that are not in it. COMMANDs change them.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a style")
    parser.add_argument(
        "--search", default="", metavar="TEXT", help="only those with these words in name, trigger, base or source"
    )
    parser.add_argument("--favourites", action="store_true", help="only favourites")
    add_library_option(parser)
    add_owner_option(parser)
    parser.set_defaults(run=_list, parser=parser)
    actions = parser.add_subparsers(dest="action", metavar="COMMAND")

    add = _action(actions, "add", _add, "look into a style file and take it in, or download one first", named=False)
    add.add_argument(
        "source",
        metavar="FILE|REPO",
        help="a .safetensors file, owner/name[@revision][:file] or an address on the Hugging Face Hub, or one of "
        f"Krea's own: {', '.join(OFFICIAL)}",
    )
    add.add_argument("--name", metavar="NAME", help="its name here (default: what the file says)")

    _action(actions, "remove", _remove, "remove a style with its weights")

    rename = _action(actions, "rename", _rename, "give a style another name")
    rename.add_argument("new", metavar="NEW", help="its new name")

    edit = _action(actions, "edit", _edit, "change a style's trigger words, suggested prompt or few steps")
    edit.add_argument("--trigger", metavar="WORDS", help=f"{help_text('trigger', StyleCard)}; empty for none")
    edit.add_argument("--prompt", metavar="TEXT", help=f"{help_text('suggested_prompt', StyleCard)}; empty for none")

    edit.add_argument("--speed", metavar="N|N,…", help=f"{help_text('speed', StyleCard)}")

    favourite = _action(actions, "favourite", _favourite, "make a style a favourite")
    favourite.add_argument("--off", action="store_true", help="no longer")

    cover = _action(actions, "cover", _cover, "show a style by a picture")
    cover.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file, such as a PNG, JPEG or HEIC")


def chosen_styles(texts: Iterable[str], library: Path) -> list[dict[str, Any]]:
    """What `--style NAME[:WEIGHT]` says, for the request's `styles`; the library of that folder has them.

    A text that is a style's name as a whole is that name, also where it ends in a number. Only looks, makes nothing.
    """
    from krea_studio.library.store import library_styles

    chosen = []
    for text in texts:
        name, weight = with_number(text)
        if weight is not None and any(folded(text) == folded(other) for other in library_styles(library).names()):
            name, weight = text, None
        chosen.append({"name": name} if weight is None else {"name": name, "weight": weight})
    return chosen


def take_in_folder(services: Services) -> None:
    """Take in what is new in the settings' folder of styles; what was refused or changed is told on standard error."""
    came = services.intake.import_folder()
    for card in came.renewed:
        remark(f"{card.name} has new weights: its file has changed")
    for path, refusal in came.refused.items():
        remark(f"{path} was left out: {refusal}")


def _action(
    actions: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, named: bool = True
) -> argparse.ArgumentParser:
    """A command of `styles`; one that is `named` works on the style that its first argument names."""
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    if named:
        parser.add_argument("name", metavar="NAME", help=help_text("name", StyleChoice))
    # Without a default of its own, which would replace what was given before the command.
    add_library_option(parser, default=argparse.SUPPRESS)
    add_owner_option(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run, parser=parser)
    return parser


def _list(options: argparse.Namespace) -> int:
    with opened(options) as services:
        take_in_folder(services)
        styles = services.library.styles.of(owner_of(options, services))
        cards = styles.cards()
        for card in found(cards, options.search, options.favourites):
            tell(as_json(_described(card, styles)) if options.json else _line(card))
        for official in () if options.favourites else not_here(cards):
            if matches(official, options.search):
                tell(as_json(_described_official(official)) if options.json else _line_of_official(official))
    return 0


def _add(options: argparse.Namespace) -> int:
    with opened(options) as services:
        card, report = _added(services.intake.of(owner_of(options, services)), options.source, options.name)
        tell(_line(card))
        for note in report.notes:
            remark(note)
    return 0


def _added(intake: StyleIntake, source: str, name: str | None) -> tuple[StyleCard, Report]:
    """The style that a file, a name of Krea's or a repository gives, tried in this order."""
    # What ends as a file of weights does was meant as one, and is missing; a repository has a colon before its file.
    if Path(source).exists() or (source.endswith(WEIGHTS_SUFFIX) and ":" not in source):
        return intake.import_file(source, name)
    if folded(source) in OFFICIAL:
        if name is not None:
            return intake.import_from_hub(OFFICIAL[folded(source)].repository, name)
        return intake.install(source)
    if "/" not in source:
        raise InvalidRequest(
            f"FILE|REPO is {source!r} — give a file that is there, owner/name on the Hub, or one of "
            f"{', '.join(OFFICIAL)}"
        )
    return intake.import_from_hub(source, name)


def _remove(options: argparse.Namespace) -> int:
    with opened(options) as services:
        services.library.styles.of(owner_of(options, services)).delete(options.name)
    return 0


def _rename(options: argparse.Namespace) -> int:
    return _changed(options, lambda styles: styles.rename(options.name, options.new))


def _edit(options: argparse.Namespace) -> int:
    if options.trigger is None and options.prompt is None and options.speed is None:
        raise InvalidRequest("There is nothing to edit — give --trigger, --prompt or --speed")
    return _changed(options, lambda styles: styles.edit(options.name, options.trigger, options.prompt, options.speed))


def _favourite(options: argparse.Namespace) -> int:
    return _changed(options, lambda styles: styles.set_favourite(options.name, not options.off))


def _cover(options: argparse.Namespace) -> int:
    return _changed(options, lambda styles: styles.set_cover(options.name, options.picture, remark))


def _changed(options: argparse.Namespace, change: Callable[[Styles], StyleCard]) -> int:
    with opened(options) as services:
        tell(_line(change(services.library.styles.of(owner_of(options, services)))))
    return 0


def _line(card: StyleCard) -> str:
    told = [
        f"trigger «{plain(card.trigger)}»" if card.trigger else "no trigger words",
        _weights(),
        f"for {plain(card.base)}" if card.base else "",
        plain(card.speed.words) if card.speed else "",
        size_words(card.bytes),
        plain(card.source),
        "favourite" if card.favourite else "",
        plain(whose(card.owner, card.team)),
    ]
    return f"{plain(card.name)}  {', '.join(filter(None, told))}"


def _line_of_official(style: OfficialStyle) -> str:
    return f"{style.name}  trigger «{style.trigger}», {_weights()}, {style.base}, not here yet: {ADD} {style.name}"


def _weights() -> str:
    return f"weight {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}".replace("-", "−")


def _described(card: StyleCard, styles: Styles) -> dict[str, Any]:
    cover = styles.cover(card)
    return _called(card) | {
        **card.model_dump(mode="json", exclude={"name", "trigger"}),
        "here": True,
        "path": str(styles.path(card.identity)),
        "cover": str(cover) if cover else None,
    }


def _described_official(style: OfficialStyle) -> dict[str, Any]:
    return _called(style) | {
        "stated_base": style.base,
        "source": f"Hub {style.repository}",
        "here": False,
        "add": f"{ADD} {style.name}",
    }


def _called(style: StyleCard | OfficialStyle) -> dict[str, Any]:
    weight = {"least": LEAST_WEIGHT, "most": MOST_WEIGHT, "default": default("weight", StyleChoice)}
    return {"name": style.name, "trigger": style.trigger, "weight": weight}
