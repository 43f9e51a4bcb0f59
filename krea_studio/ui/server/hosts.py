"""Under which names the page is reached, and from which pages it may be asked.

A website can have its own name point to this machine, and then ask a server here as if it were its own. So a server
answers under the names that are known to be its own alone, and to scripts of its own pages alone. An address in digits
is no such name: no website has one that leads elsewhere. Programs say no origin, and need none.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from krea_studio.settings import is_loopback
from krea_studio.validation import shown

SHARE_LINKS = ".gradio.live"  # where Gradio's tunnels end
USUAL_PORTS = {"http": 80, "https": 443}
NAME_IT = "if it is this studio's, add it to KREA_STUDIO_HOSTS where the studio runs"


@dataclass(frozen=True)
class Hosts:
    """The names of a server that listens on `listening`: what follows from that, and those that were `named`."""

    listening: str
    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, listening: str, named: Iterable[str] = (), environment: Mapping[str, str] = os.environ) -> "Hosts":
        """Those of the settings, and those that a Space has."""
        names = (*named, *environment.get("SPACE_HOST", "").split(","))
        return cls(listening, frozenset(filter(None, (name.strip().lower() for name in names))))

    def knows(self, name: str) -> bool:
        """Whether this server is reached under a name or an address."""
        if name == self.listening.lower() or name in self.named or name.endswith(SHARE_LINKS) or is_loopback(name):
            return True
        if is_loopback(self.listening):
            return False
        own = socket.gethostname().lower()
        return _is_address(name) or name in (own, f"{own}.local")

    def refusal(self, host: str, forwarded: str, origin: str | None) -> str:
        """Why a request is refused, as one line; empty where it is not.

        `host` and `forwarded` are its headers Host and X-Forwarded-Host, `origin` the one of that name.
        """
        asked = [each.strip() for each in (host, *forwarded.split(",")) if each.strip()]
        for each in asked or [""]:
            name, _ = _parted(f"//{each}")
            if not self.knows(name):
                return f"This studio is not reached as {shown(name or each)} — {NAME_IT}."
        if origin is None:
            return ""
        name, port = _parted(origin)
        if name in self.named or any((name, port) in _places(each) for each in asked):
            return ""
        return f"Pages of {shown(origin)} may not use this studio — open its own page; {NAME_IT}."


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _parted(address: str) -> tuple[str, int | None]:
    """Host and port of an address, the usual one of its scheme where it says none; no host for what is no address."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").removesuffix("."), parts.port or USUAL_PORTS.get(parts.scheme)
    except ValueError:
        return "", None


def _places(host: str) -> list[tuple[str, int | None]]:
    """Where a Host header is: a proxy in front of the studio may have taken off the encryption."""
    name, port = _parted(f"//{host}")
    return [(name, port)] if port else [(name, usual) for usual in USUAL_PORTS.values()]
