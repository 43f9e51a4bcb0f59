"""What the commands share: the library that they work on, and how they print.

Standard output has results alone: text for people, or JSON. A terminal that is not UTF-8 gets escapes, and no text of a
stranger reaches it with control characters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krea_studio.people import LOCAL, Person, member
from krea_studio.recipe.request import clean_text
from krea_studio.settings import Settings, environment_variable, load_settings

if TYPE_CHECKING:
    from krea_studio.services import Services


def add_library_option(parser: argparse.ArgumentParser, default: object = None) -> None:
    """Add `--library DIR`; `default` is what the option is where it is not given."""
    library = Settings.model_fields["library"]
    parser.add_argument(
        "--library",
        type=Path,
        metavar="DIR",
        default=default,
        help=f"{library.description} (default: the setting)",
    )


def add_owner_option(parser: argparse.ArgumentParser, default: object = None) -> None:
    """Add `--owner NAME`; `default` is what the option is where it is not given."""
    parser.add_argument(
        "--owner",
        metavar="NAME",
        default=default,
        help="an account: what is there for it, and what comes in is its own (default: all, and everybody's)",
    )


def owner_of(options: argparse.Namespace, services: Services) -> Person:
    """For whom a command is done: the account that `--owner` names, or the operator. Raises InvalidRequest."""
    if options.owner is None:
        return LOCAL
    from krea_studio.accounts.accounts import Accounts

    account = Accounts(services.settings.library).get(options.owner)
    return member(account.name, account.admin)


def whose(owner: str, team: bool) -> str:
    """Whose a moodboard or style is, for the list; empty for what is everybody's."""
    return f"{owner}'s{', shared with the team' * team}" if owner else ""


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Services]:
    """The studio over the library that the options choose."""
    chosen = {} if options.library is None else {"library": options.library}
    settings = load_settings(chosen, name=lambda field: "--library" if field in chosen else environment_variable(field))
    from krea_studio.services import build_services  # heavy, and help needs none of it

    services = build_services(settings)
    with closing(services.library):
        yield services


def with_number(text: str) -> tuple[str, float | None]:
    """`NAME:0.7` → name and number; a text without a number after its last colon is a name only."""
    name, _, number = text.rpartition(":")
    try:
        return (name, float(number)) if name else (text, None)
    except ValueError:
        return text, None


def tell(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def remark(text: str) -> None:
    """Print what is worth knowing beside the results, on standard error."""
    print(f"note: {plain(text)}", file=sys.stderr)


def plain(text: str) -> str:
    """A kept text as one line without control characters: a stranger's could take over the terminal."""
    return " ".join(str(clean_text(text)).split())


def as_json(value: dict[str, Any], indent: int | None = None) -> str:
    """An object as JSON that standard output can show; escapes read back as the same text."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent)
