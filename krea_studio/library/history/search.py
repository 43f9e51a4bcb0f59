"""What is looked for in the history: one type for the page, the command line and scripts.

Words are plain text, whatever signs are in them: a picture is found where its prompt, its expanded prompt and its
styles' trigger words have them all, each from its beginning. Days are those of the machine's own time.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS
from krea_studio.recipe.request import Frozen, Name, Text, label
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import refusal, shown

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST_YEAR, LAST_YEAR = 1971, 9998  # a day of these has a beginning and an end in every time zone
ALL_TIME = (-(2**62), 2**62)
WHEN = "give a day such as 2026-11-29, or a time such as 2026-11-29T18:30"


def moment_of(when: datetime) -> int:
    """A time as whole microseconds since 1970 in UTC; without a time zone it is the machine's own."""
    return (when.astimezone(UTC) - EPOCH) // MICROSECOND


def time_of(moment: int) -> datetime:
    """The time in UTC that `moment_of` made a number of."""
    return EPOCH + moment * MICROSECOND


def _when(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        try:
            value = date.fromisoformat(text) if len(text) <= len("2026-11-29") else datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(WHEN) from None
    if value is None:
        return None
    if not isinstance(value, date):
        raise ValueError(WHEN)
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"give a year from {FIRST_YEAR} to {LAST_YEAR}")
    return value


When = Annotated[Any, BeforeValidator(_when)]
"""A `date`, or a `datetime`, which is a date too."""


class Search(Frozen):
    """Which pictures; an empty one means all. `parse_search` makes one from plain data with errors for people."""

    words: Text = Field(
        default="",
        max_length=1000,
        strict=True,
        title="Words",
        description="Words of the prompt, the expanded prompt or trigger words, each from its beginning",
    )
    variant: Literal[*VARIANTS] | None = Field(  # type: ignore[valid-type]
        default=None, title="Variant", description="Only pictures that this model drew"
    )
    aspect_ratio: Literal[*ASPECT_RATIOS] | None = Field(  # type: ignore[valid-type]
        default=None, title="Aspect ratio", description="Only pictures of this shape"
    )
    creativity: Literal["raw", "low", "medium", "high"] | None = Field(
        default=None, title="Creativity", description="Only pictures whose prompt was written out so freely"
    )
    style: Name | None = Field(default=None, title="Style", description="Only pictures with the style of this name")
    moodboard: Name | None = Field(
        default=None, title="Moodboard", description="Only pictures with the moodboard of this name"
    )
    with_references: bool = Field(
        default=False, strict=True, title="With references", description="Only pictures with style references"
    )
    starred: bool = Field(default=False, strict=True, title="Starred", description="Only pictures with a star")
    since: When = Field(default=None, title="Since", description="Only pictures from this day or time on")
    until: When = Field(default=None, title="Until", description="Only pictures up to this day or time")

    @property
    def moments(self) -> tuple[int, int]:
        """The keys of its pictures lie between these two, both left out."""
        return moments_between(self.since, self.until)


def parse_search(data: dict[str, Any], name: Callable[[str], str] = lambda field: label(field, Search)) -> Search:
    """A search from plain data, as it comes from a page, a command line or JSON.

    Raises InvalidRequest, one line that names the field, the value and what is allowed. `name` turns a field into the
    words for it in that line.
    """
    if not isinstance(data, dict):
        raise InvalidRequest(f"{shown(data)} is not a search — give an object with {', '.join(Search.model_fields)}")
    try:
        return Search.model_validate(data)
    except ValidationError as error:
        raise refusal(error, Search, name, "a search") from None


def moments_between(since: date | None, until: date | None) -> tuple[int, int]:
    """The last moment before `since` and the first one after `until`, a day or a time each, or open where None."""
    first, last = ALL_TIME
    if since is not None:
        first = _beginning(since) - 1
    if isinstance(until, datetime):
        last = moment_of(until) + 1
    elif until is not None:
        last = _beginning(until + timedelta(days=1))
    return first, last


def _beginning(when: date) -> int:
    return moment_of(when if isinstance(when, datetime) else datetime.combine(when, time()))
