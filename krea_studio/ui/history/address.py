"""What the tab History shows, as the page's address has it: filters, place, the picture that is open, or the bin.

The address is the one place where this is kept: links, Back, a reload and a second tab all show what it says. It may
come from anybody, so it is read leniently where only a place is meant, and filters go through `parse_search`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from krea_studio.errors import InvalidRequest
from krea_studio.library.history.search import Search, parse_search
from krea_studio.recipe.request import label
from krea_studio.validation import field_schema

TAB = "history"
MOST_FIELDS = 50
SWITCHES = tuple(name for name in Search.model_fields if field_schema(Search, name).get("type") == "boolean")
ON = "true"


@dataclass(frozen=True)
class Address:
    """`wanted` are the given fields of a search, not yet checked; `after` and `before` keys where a page begins.

    `picture` is the id of the open one, and `bin` tells that the bin is open instead of the history.
    """

    wanted: Mapping[str, Any] = field(default_factory=dict)
    after: int | None = None
    before: int | None = None
    picture: str = ""
    bin: bool = False

    @classmethod
    def of(cls, query: str) -> Self:
        """What a query string names, whatever else is in it."""
        try:
            given = dict(parse_qsl(query.removeprefix("?"), max_num_fields=MOST_FIELDS))
        except ValueError:
            given = {}
        wanted = {
            name: given[name] == ON or given[name] if name in SWITCHES else given[name]
            for name in Search.model_fields
            if given.get(name)
        }
        after, before = (_key(given.get(name, "")) for name in ("after", "before"))
        return cls(wanted, after, before, given.get("picture", ""), given.get("bin") == ON)

    @property
    def query(self) -> str:
        """The query string that names it."""
        keys = {name: key for name, key in (("after", self.after), ("before", self.before)) if key is not None}
        others = {name: value for name, value in (("picture", self.picture), ("bin", self.bin)) if value}
        named = {**self.wanted, **keys, **others}
        told = {name: ON if value is True else value for name, value in named.items()}
        return "?" + urlencode({"tab": TAB, **told}, errors="surrogatepass")

    @property
    def refusals(self) -> dict[str, str]:
        """What is wrong with each field of the search, by field."""
        found = {}
        for name, value in self.wanted.items():
            try:
                parse_search({name: value}, named)
            except InvalidRequest as error:
                found[name] = error.message
        return found

    @property
    def search(self) -> Search:
        """What is looked for. Raises InvalidRequest."""
        return parse_search(dict(self.wanted), named)

    def at(self, after: int | None = None, before: int | None = None) -> "Address":
        """The page of the same search that begins there; the first one without a key."""
        return replace(self, after=after, before=before, picture="")

    def opening(self, picture: str) -> "Address":
        """The same place with this picture open, or with none."""
        return replace(self, picture=picture)


def named(field: str) -> str:
    """What the control of a field is called: the box for words is what people look for as the search."""
    return "Search" if field == "words" else label(field, Search)


def tab_of(query: str) -> str:
    """The tab that a query string names; empty where it names none."""
    try:
        return dict(parse_qsl(query.removeprefix("?"), max_num_fields=MOST_FIELDS)).get("tab", "")
    except ValueError:
        return ""


def _key(text: str) -> int | None:
    """The key of a picture in a text; None where there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
