"""What a moodboard's pictures have in common, measured: words, a palette, and groups of pictures that look alike.

No model is asked. A word is said only where most pictures clearly show what it says, so a mixed board gets few of
them; the opposites of what is said are avoided. The words are those of the embedded checkpoints' small world where
they mean the same, and plain English of prompts otherwise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from krea_studio.direction.clusters import distances, grouped
from krea_studio.direction.colours import family, family_of, merged, named_shares, palette
from krea_studio.direction.looks import rgb
from krea_studio.direction.moodboards import MAX_CLUSTERS, MAX_IMAGES, MEASURED, Analysis, Cluster, Swatch
from krea_studio.direction.traits import Traits, traits
from krea_studio.errors import InvalidRequest

MAX_PROFILE_CHARACTERS, MAX_KEYWORDS, MAX_AVOIDS, MAX_SWATCHES = 450, 8, 5, 6
SHARED = 0.6  # share of the pictures that must show what a word says
_DIVIDED = 0.25  # share at either pole from which a board is of two minds
_MONOCHROME = 8.0  # chroma that a black and white picture stays below, faint toning included
_SWATCH_APART, _SWATCH_SHARE = 10.0, 0.015
_KEYWORD_COLOURS, _KEYWORD_SHARE = 3, 0.12
_TOLD_COLOURS, _TOLD_SHARE, _TOLD_LOOKS = 4, 0.05, 3
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")

LOW, MIDDLE, HIGH, VARIED = range(4)


@dataclass(frozen=True)
class Scale:
    """A measure with two poles: the limits from which on they are clear, and the words for them.

    `poles` are keywords; `told` is what prose calls the low, the middle and the high part, and all of it.
    """

    measure: Callable[[Traits], float]
    limits: tuple[float, float]
    poles: tuple[str, str]
    told: tuple[str, str, str, str]


# In the order in which keywords are said. Limits are set between the grades of the renderer's pictures, and such that
# ordinary photographs lie between them.
SCALES: dict[str, Scale] = {
    "vividness": Scale(
        lambda t: t.chroma,
        (30, 60),
        ("muted colors", "vivid colors"),
        ("muted", "natural", "vivid", "muted to vivid"),
    ),
    "contrast": Scale(
        lambda t: t.contrast,
        (50, 77),
        ("soft contrast", "high contrast"),
        ("soft", "moderate", "high", "soft to high"),
    ),
    "light": Scale(
        lambda t: t.lightness,
        (35, 76),
        ("dark tones", "light tones"),
        ("dark", "mid-toned", "light", "dark to light"),
    ),
    "density": Scale(
        lambda t: t.shapes,
        (26, 37),
        ("minimal", "crowded"),
        ("minimal", "balanced", "crowded", "minimal to crowded"),
    ),
    "motion": Scale(
        lambda t: t.lean,
        (0.42, 0.5),
        ("still", "dynamic"),
        ("still", "calm", "dynamic", "still to dynamic"),
    ),
    "surface": Scale(
        lambda t: t.grain / 2 - t.flatness / 0.55,
        (-1, 1),
        ("smooth surfaces", "grainy texture"),
        ("smooth", "lightly textured", "grainy", "smooth to grainy"),
    ),
    "temperature": Scale(
        lambda t: t.warmth,
        (-0.3, 0.6),
        ("cool colors", "warm colors"),
        ("cool", "", "warm", "warm and cool"),
    ),
}
_OF_COLOUR = ("vividness", "temperature")


def ignored(*_: object) -> None:
    """Does nothing with what it is told."""


def measured_analysis(
    images: Mapping[str, Image.Image],
    report: Callable[[float], None] = ignored,
    check: Callable[[], None] = ignored,
) -> Analysis:
    """Analyze the pictures of a board, by id, in any order: the same pictures give the same analysis.

    `report` is told the share that is done, 0 … 1, and `check` is called before every picture; it may raise to stop.
    Raises InvalidRequest for no pictures and for more than a board may have.
    """
    if not images:
        raise InvalidRequest("The moodboard has no pictures — add at least one and analyze it again")
    if len(images) > MAX_IMAGES:
        raise InvalidRequest(f"The moodboard has {len(images)} pictures — keep at most {MAX_IMAGES}")
    ids = sorted(images)
    board = []
    for done, picture in enumerate(ids, start=1):
        check()
        board.append(traits(images[picture]))
        report(done / len(ids))
    groups = grouped(distances(board), MAX_CLUSTERS)
    keywords, avoids = _words(board)
    return Analysis(
        taste_profile=_profile(board, [[board[i] for i in group] for group in groups]),
        keywords=keywords,
        avoids=avoids,
        palette=tuple(
            Swatch(colour="#{:02x}{:02x}{:02x}".format(*rgb(colour)), share=math.floor(share * 1000) / 1000)
            for colour, share in zip(*_swatches(board), strict=True)
        ),
        clusters=tuple(Cluster(images=tuple(ids[i] for i in group)) for group in groups),
        written_by=MEASURED,
    )


def _levels(board: Sequence[Traits]) -> dict[str, int]:
    """Where the pictures stand on each scale together; black and white has none of the scales of colour."""
    found = {}
    for name, scale in SCALES.items():
        values = np.array([scale.measure(traits) for traits in board])
        low, high = (values <= scale.limits[0]).mean(), (values >= scale.limits[1]).mean()
        clear = LOW if low >= SHARED else HIGH if high >= SHARED else MIDDLE
        found[name] = VARIED if clear == MIDDLE and min(low, high) >= _DIVIDED else clear
    if all(traits.chroma <= _MONOCHROME for traits in board):
        found = {name: level for name, level in found.items() if name not in _OF_COLOUR}
    return found


def _poles(levels: Mapping[str, int], opposite: bool = False) -> list[str]:
    """The words of the poles that are clear, or of the ones opposite to them."""
    return [SCALES[name].poles[(level == HIGH) != opposite] for name, level in levels.items() if level in (LOW, HIGH)]


def _words(board: Sequence[Traits]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keywords, colours first, and avoids."""
    levels = _levels(board)
    keywords, avoids = _poles(levels), _poles(levels, opposite=True)
    if "vividness" not in levels:
        return ("monochrome", *keywords)[:MAX_KEYWORDS], ("vivid colors", *avoids)[:MAX_AVOIDS]
    common = family(*_all_colours(board))
    colours = [common] if common else []
    for name, share in named_shares(*_swatches(board)).items():
        if share >= _KEYWORD_SHARE and (not common or family_of(name) != common):
            colours.append(name)
    return (*colours[:_KEYWORD_COLOURS], *keywords)[:MAX_KEYWORDS], tuple(avoids[:MAX_AVOIDS])


def _profile(board: Sequence[Traits], groups: Sequence[Sequence[Traits]]) -> str:
    """Four sentences of the same facts: colours, light, surfaces and composition, variety."""
    told = {name: SCALES[name].told[level] for name, level in _levels(board).items()}
    colour = ", ".join(told[name] for name in _OF_COLOUR if told.get(name))
    names = [(n, s) for n, s in named_shares(*_swatches(board)).items() if s >= _TOLD_SHARE][:_TOLD_COLOURS]
    facts = (
        f"A palette of {_listed([f'{name} ({share:.0%})' for name, share in names])}. "
        f"{told['light'].capitalize()}, with {told['contrast']} contrast and {colour or 'no'} colors. "
        f"Surfaces are {told['surface']}, compositions {told['density']} and {told['motion']}. "
    )
    full, brief = (facts + _told_looks(groups, words) for words in (2, 0))
    return full if len(full) <= MAX_PROFILE_CHARACTERS else brief


def _told_looks(groups: Sequence[Sequence[Traits]], words: int) -> str:
    """How many looks there are, with up to `words` words for what tells each from the others."""
    if len(groups) == 1:
        return f"All {len(groups[0])} pictures share one look." if len(groups[0]) > 1 else "Measured on one picture."
    clear = [_poles(_levels(group)) for group in groups]
    told: list[str] = []
    for group, own in zip(groups[:_TOLD_LOOKS], clear, strict=False):
        noun = "" if told else " pictures" if len(group) > 1 else " picture"
        names = list(named_shares(*_swatches(group)))[:2]
        differing = [word for word in own if not all(word in others for others in clear)][:words]
        told.append(f"{len(group)}{noun} in {_listed(names)}" + (f" ({', '.join(differing)})" if differing else ""))
    if len(groups) > len(told):
        told.append(f"{_NUMBERS[len(groups) - len(told)]} more")
    return f"{_NUMBERS[len(groups)].capitalize()} looks: {'; '.join(told)}."


def _swatches(board: Sequence[Traits]) -> tuple[np.ndarray, np.ndarray]:
    """The palette of the whole board, every picture counting the same, without traces."""
    colours, shares = palette(*_all_colours(board), count=2 * MAX_SWATCHES)
    kept = shares >= _SWATCH_SHARE
    return merged(colours[kept], shares[kept], MAX_SWATCHES, _SWATCH_APART)


def _all_colours(board: Sequence[Traits]) -> tuple[np.ndarray, np.ndarray]:
    """The colours of all pictures, and the share of each in the board."""
    return np.concatenate([t.colours for t in board]), np.concatenate([t.shares for t in board]) / len(board)


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
