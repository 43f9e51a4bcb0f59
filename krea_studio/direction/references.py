"""Style references and moodboard pictures as one list of pictures to attend to, each with its strength.

Strengths run from −2 to 2; 0 is nothing, and a picture named twice counts once, with the sum. All strengths of one
shot share a bound, so that four references and a moodboard cannot drown the prompt. Free of torch: how a picture is
attended to is the engine's part.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from krea_studio.recipe.recipe import Recipe, Shot

MECHANISM = "reference attention 3"
"""Goes into the recipe; the number counts changes that alter pictures."""

MOST_STRENGTH = 2.0
BOARD_STRENGTH = 1.4  # of all of a moodboard's representatives together, at moodboard strength 1
_SAYS_NOTHING = {
    "a",
    "at",
    "an",
    "air",
    "colors",
    "empty",
    "hot",
    "in",
    "on",
    "over",
    "sign",
    "some",
    "the",
    "under",
    "with",
}


@dataclass(frozen=True)
class AttendedPicture:
    """A picture by its id, its strength of either sign, and whether it is one of a moodboard's representatives."""

    image: str
    strength: float
    of_board: bool = False


def attended_pictures(shot: Shot) -> tuple[AttendedPicture, ...]:
    """What a shot attends to, in an order that does not depend on the request's; empty when all strengths are 0."""
    strengths: dict[tuple[bool, str], float] = defaultdict(float)
    for reference in sorted(shot.style_references, key=lambda each: (each.image, each.strength)):
        strengths[False, reference.image] += reference.strength
    if shot.moodboard is not None and shot.moodboard.content is not None:
        for each in shot.moodboard.content.representatives:
            strengths[True, each.image] += BOARD_STRENGTH * shot.moodboard.strength * each.share
    named = {key: strength for key, strength in sorted(strengths.items()) if strength}
    scale = min(1.0, MOST_STRENGTH / max(sum(map(abs, named.values())), MOST_STRENGTH))
    return tuple(AttendedPicture(image, strength * scale, of_board) for (of_board, image), strength in named.items())


def known_words(words: Sequence[str], vocabulary: Mapping[str, Sequence[str]] | None) -> tuple[str, ...]:
    """Those of a moodboard's words that steer a model: all, or with a small vocabulary those that hold a word of it.

    To a model of a small world other words are noise, which a keyword must not be.
    """
    if vocabulary is None:
        return tuple(words)
    known = {
        word for group, phrases in vocabulary.items() if group != "examples" for p in phrases for word in p.split()
    }
    return tuple(each for each in words if known & (set(each.lower().split()) - _SAYS_NOTHING))


def board_words(shot: Shot, vocabulary: Mapping[str, Sequence[str]] | None) -> tuple[str, str, float]:
    """The words of the shot's moodboard that a model of this vocabulary knows: toward, away, and how far.

    Above 0 these are its keywords and avoids. Below 0 its keywords are to be avoided, and nothing is known to seek.
    """
    if shot.moodboard is None or shot.moodboard.content is None:
        return "", "", 0.0
    content, strength = shot.moodboard.content, shot.moodboard.strength
    keywords, avoids = (", ".join(known_words(words, vocabulary)) for words in (content.keywords, content.avoids))
    return (keywords, avoids, strength) if strength > 0 else ("", keywords, -strength)


def other_mechanism(recipe: Recipe) -> str:
    """What a person should know when a recipe's references worked otherwise than they do here; empty if not."""
    there = recipe.reference_mechanism
    if there in (None, MECHANISM):
        return ""
    return f"References worked by {there} there, by {MECHANISM} here: expect a different picture."


def references_text(recipe: Recipe) -> str:
    """A picture's references and moodboard in one line, with their strengths; empty without any."""
    told = []
    strengths = [each.strength for each in recipe.style_references]
    if strengths:
        told.append(f"style reference{'s' * (len(strengths) > 1)} at {', '.join(map(percent, strengths))}")
    if board := recipe.moodboard:
        told.append(f"moodboard «{board.name}» at {percent(board.strength)}")
    return ", ".join(told)


def percent(strength: float) -> str:
    """A strength as people read it: 0.5 → `50 %`."""
    return f"{round(100 * strength)} %".replace("-", "−")
