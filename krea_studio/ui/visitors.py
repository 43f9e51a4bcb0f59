"""The page's border: which person a request of Gradio's is.

Whoever signed in is known by that name. On a page that strangers may open everybody else is known by an entry that
the page itself wrote into the browser; on one's own machine everybody is the same person.
"""

import re
from dataclasses import replace

import gradio as gr

from krea_studio.accounts.accounts import Account
from krea_studio.people import LOCAL, Person, member
from krea_studio.ui.server.sign_in import ACCOUNT, payer_of

UNKNOWN = Person("browser-unknown")
"""Who names no browser, or another than this page gave out; nobody is shown these pictures."""
BROWSER = re.compile(r"[0-9a-f]{32}")


class Visitors:
    """Tells persons apart; `shared`: strangers may open the page."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared

    def person(self, visitor: gr.Request, browser: str = "") -> Person:
        """Who asks, with the entry of their browser where the page reads it."""
        if not self.shared:
            return replace(LOCAL, id=visitor.username or LOCAL.id)
        if visitor.username:
            return member(visitor.username, admin=_is_admin(visitor))
        return Person(f"browser-{browser}") if is_browser(browser) else UNKNOWN

    def payer(self, visitor: gr.Request) -> Person:
        """Whose share it comes out of what this visitor brings in or takes out; see `payer_of`."""
        if visitor.username:
            return self.person(visitor)
        request = getattr(visitor, "request", None)
        return payer_of(request.scope if request else {}, self.shared)


def is_browser(text: str | None) -> bool:
    """Whether a text is an entry that the page gives out."""
    return bool(BROWSER.fullmatch(text or ""))


def _is_admin(visitor: gr.Request) -> bool:
    request = getattr(visitor, "request", None)
    account: Account | None = request.scope.get(ACCOUNT) if request else None
    return account is not None and account.admin
