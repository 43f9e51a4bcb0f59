"""The command `accounts`: who may sign in to a studio that is open to a team."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import TYPE_CHECKING, Any

from krea_studio.cli.parts import add_library_option, as_json, opened, remark, tell
from krea_studio.errors import InvalidRequest

if TYPE_CHECKING:
    from krea_studio.accounts.accounts import Accounts


def add_accounts_command(commands: Any) -> None:
    """Add `accounts` with its actions to the subparsers of the command line."""
    parser = commands.add_parser(
        "accounts",
        help="who may sign in to a studio that is open to a team",
        description="Who may sign in, with KREA_STUDIO_SIGN_IN=accounts. They are kept in the library's folder, in a "
        "file that only its owner can read. Passwords are asked for, or read from a line of the input.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = _action(actions, "add", _add, "make an account")
    add.add_argument("name", metavar="NAME", help="what its pictures are filed under")
    add.add_argument("--admin", action="store_true", help="sees how much all make, may end runs and remove accounts")
    add.add_argument(
        "--back",
        action="store_true",
        help="the name was removed before; it has its pictures again, and hf:NAME may sign in by Hugging Face again",
    )
    listed = _action(actions, "list", _list, "list all accounts")
    listed.add_argument("--json", action="store_true", help="print one JSON object for each")
    for name, run, told in (
        ("password", _change, "give an account another password, and sign it out everywhere"),
        ("remove", _remove, "remove an account; its pictures stay in the library"),
    ):
        action = _action(actions, name, run, told)
        action.add_argument("name", metavar="NAME")
    action.add_argument("--with-pictures", action="store_true", help="remove its pictures too, for good")


def _action(actions: Any, name: str, run: Any, told: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=told, description=told, allow_abbrev=False)
    add_library_option(parser)
    parser.set_defaults(run=run, parser=parser)
    return parser


def _accounts(options: argparse.Namespace) -> Accounts:
    from krea_studio.accounts.accounts import Accounts
    from krea_studio.settings import load_settings

    return Accounts(options.library or load_settings().library)


def _add(options: argparse.Namespace) -> int:
    from krea_studio.accounts.accounts import HUB

    accounts = _accounts(options)
    if options.back and options.name.startswith(HUB):
        accounts.let_back(options.name)
        tell(f"{options.name} may sign in by Hugging Face again.")
        return 0
    accounts.require_name(options.name)  # before anybody is asked
    account = accounts.add(options.name, _password(), options.admin, options.back)
    tell(f"{account.name} may sign in{' as an admin' * account.admin}.")
    return 0


def _list(options: argparse.Namespace) -> int:
    for account in _accounts(options).all():
        if options.json:
            tell(as_json({"name": account.name, "admin": account.admin, "added_at": account.added_at.isoformat()}))
        else:
            tell(f"{account.name}{', admin' * account.admin}, since {account.added_at:%Y-%m-%d}")
    return 0


def _change(options: argparse.Namespace) -> int:
    accounts = _accounts(options)
    accounts.get(options.name)  # before anybody is asked
    accounts.set_password(options.name, _password())
    tell(f"{options.name} has a new password, and is signed out everywhere.")
    return 0


def _remove(options: argparse.Namespace) -> int:
    accounts = _accounts(options)
    if not options.with_pictures:
        account = accounts.remove(options.name)
        tell(f"{account.name} is removed. Pictures of that name stay in the library, and nobody else gets it.")
        return 0
    account = accounts.get(options.name)
    with opened(options) as services:
        accounts.close(account.name)
        count = services.library.remove_all_of(account.name)
    accounts.remove(account.name, with_pictures=True)  # last, so that it can be tried again
    tell(f"{account.name} is removed, with {count} picture{'s' * (count != 1)}.")
    remark("a server that runs just now may still draw for it; on its tab Team such runs are ended first")
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise InvalidRequest("No password was given — give one, twice the same") from None
    if password != again:
        raise InvalidRequest("The two passwords are not the same — give one, twice the same")
    return password
