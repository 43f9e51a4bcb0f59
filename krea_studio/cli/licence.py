"""The command `accept-licence`: the licence of Krea 2's published weights, read and accepted once for a library."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from typing import Any

from krea_studio.cli.parts import add_library_option, tell
from krea_studio.errors import InvalidRequest

QUESTION = "Do you accept it? Type yes: "


def add_licence_command(commands: Any) -> None:
    """Add `accept-licence` to the subparsers of the command line."""
    parser = commands.add_parser(
        "accept-licence",
        help="read and accept the licence of Krea 2's published weights",
        description="Read the licence of Krea 2's published weights, and accept it for whoever runs this studio. It is "
        "asked for once, before any of them are loaded; the embedded checkpoints are not under it.",
        allow_abbrev=False,
    )
    parser.add_argument("--yes", action="store_true", help="accept it without being asked")
    parser.add_argument("--text", action="store_true", help="print the whole text, and accept nothing")
    add_library_option(parser)
    parser.set_defaults(run=_accept, parser=parser)


def _accept(options: argparse.Namespace) -> int:
    from krea_studio.licence import NAME, SUMMARY, TEXT, Licence
    from krea_studio.settings import load_settings

    if options.text:
        tell(TEXT.read_text("utf-8"))
        return 0
    licence = Licence(options.library or load_settings().library)
    introduction, *terms = SUMMARY
    tell("\n".join([NAME, "", introduction, *(f"- {term}" for term in terms), "", f"Its whole text: {TEXT}", ""]))
    if licence.accepted:
        tell("It was accepted here before.")
        return 0
    if not options.yes:
        if not sys.stdin.isatty():
            raise InvalidRequest("Nobody is here to be asked — add --yes to accept the licence")
        answer = ""
        with suppress(EOFError):  # Ctrl+D is no yes
            answer = input(QUESTION)
        if answer.strip().lower() != "yes":
            raise InvalidRequest("The licence was not accepted — published weights are not loaded")
    licence.accept()
    tell("Accepted. Published weights may be loaded now.")
    return 0
