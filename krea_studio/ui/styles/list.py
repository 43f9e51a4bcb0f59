"""The list of styles on the tab: what its filter offers, and which styles words and filter mean, each by a key."""

from collections.abc import Sequence

from krea_studio.direction.styles import OfficialStyle, StyleCard, found, matches, not_here
from krea_studio.recipe.variants import VARIANTS

ALL, FAVOURITES, TO_DOWNLOAD = "all", "favourites", "official"
FITS = {f"fits-{name}": name for name in VARIANTS}
# What the filter shows: label → value.
FILTERS = {
    "All styles": ALL,
    "Favourites": FAVOURITES,
    **{f"Made for {VARIANTS[name].label} here": value for value, name in FITS.items()},
    "Krea's own, to download": TO_DOWNLOAD,
}
OFFICIAL_KEY = "official:"

Style = StyleCard | OfficialStyle


def key_of(style: Style) -> str:
    """What the page calls a style by."""
    return OFFICIAL_KEY + style.name if isinstance(style, OfficialStyle) else style.identity


def meant(cards: Sequence[StyleCard], search: str, show: str, base: str) -> dict[str, Style]:
    """The styles that words and filter mean, by their keys: of these cards, and of Krea's own that are not among them.

    `base` is what those are for that are meant; empty where that makes no difference.
    """
    mine = [] if show == TO_DOWNLOAD else found(cards, search, show == FAVOURITES, base)
    others = [each for each in not_here(cards) if matches(each, search)] if show in (ALL, TO_DOWNLOAD) else []
    both: list[Style] = [*mine, *others]
    return {key_of(style): style for style in both}
