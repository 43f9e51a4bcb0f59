"""Under which names the page is reached, and from which pages it may be asked.

A website can have its own name point to this machine, and then ask a server here as if it were its own. So a server
answers under the names that are known to be its own alone, and to scripts of its own pages alone. An address in digits
is no such name: no website has one that leads elsewhere. Programs say no origin, and need none.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from krea_studio.settings import is_loopback
from krea_studio.validation import shown

SHARE_LINKS = ".gradio.live"  # where Gradio's tunnels end
# A name, or an address of IPv6 in brackets, perhaps with its zone.
HOST = re.compile(r"(?P<name>[\w.-]+|\[[0-9a-f:.]+(%[\w.-]+)?\])(:(?P<port>\d{0,5}))?", re.ASCII | re.IGNORECASE)
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
        short = own.split(".")[0]
        return _is_address(name) or name in (own, short, f"{short}.local")

    def refusal(self, host: str, forwarded: str, origin: str | None) -> str:
        """Why a request is refused, as one line; empty where it is not.

        `host` and `forwarded` are its headers Host and X-Forwarded-Host, `origin` the one of that name.
        """
        asked = [each.strip() for each in (host, *forwarded.split(",")) if each.strip()]
        for each in asked or [""]:
            name, _ = _parted(each)
            if not self.knows(name):
                return f"This studio is not reached as {shown(name or each)} — {NAME_IT}."
        if origin is None:
            return ""
        scheme, _, place = origin.partition("://")
        name, port = _parted(place, USUAL_PORTS.get(scheme))
        if name in self.named or any((name, port) in _places(each) for each in asked):
            return ""
        return f"Pages of {shown(origin)} may not use this studio — open its own page; {NAME_IT}."


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _parted(host: str, usual: int | None = None) -> tuple[str, int | None]:
    """Name and port of a host, the usual one where it says none; no name for what is no host."""
    found = HOST.fullmatch(host)
    if not found:
        return "", None
    return found["name"].strip("[]").removesuffix(".").lower(), int(found["port"] or 0) or usual


def _places(host: str) -> list[tuple[str, int | None]]:
    """Where a Host header is: a proxy in front of the studio may have taken off the encryption."""
    return [_parted(host, usual) for usual in USUAL_PORTS.values()]
