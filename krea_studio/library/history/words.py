"""Texts as the words that they are found by, whatever script they are in.

Case, accents and the ways of writing a character make no difference. A character of a script that puts no spaces
between its words is a word of its own, and so is an emoji: who looks for part of a Chinese, Japanese or Thai sentence
looks for its characters in a row. SQLite's own tokenizers do less: unicode61 takes such a sentence for one word, breaks
words of others at their vowel signs and drops emoji, and trigram finds nothing shorter than three characters, in a
larger index.
"""

import re
import unicodedata
from collections.abc import Callable

UNSPACED = re.compile(
    "[\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u2e80-\u9fff\ua960-\uaadf\uac00-\ud7ff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
"""From Thai to Myanmar, Khmer, Chinese, Japanese and Korean, whose words grow endings of their own."""
UNSEEN = re.compile("[\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Selectors of how a character looks; those of category Cf, such as joiners, are as little part of a word."""
KNOWN_CHARACTERS = 20_000
SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")


def words_of(text: str) -> list[str]:
    """The words of a text in their order, folded; empty where it has no letter, digit or emoji.

    No word holds anything of ASCII but letters in lower case and digits.
    """
    # Folding case may decompose, and decomposing may give capitals.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", decomposed.translate(_BARE)).translate(_SPACED).split()


def _bare(character: str) -> str:
    """A character of a decomposed text, empty for an accent, and for the vowel points of Hebrew and Arabic."""
    # Marks of other classes make another letter of one.
    combining = unicodedata.combining(character)
    return "" if combining >= 200 or 10 <= combining <= 35 else character


def _spaced(character: str) -> str:
    """A character as part of a word, between spaces where it is one, or a space where it is part of none."""
    category = unicodedata.category(character)
    if category == "Cf" or UNSEEN.match(character):
        return ""
    if category in ("So", "Cn") or SKIN_TONES.match(character):  # Python may not know the newest emoji yet
        return f" {character} "
    if category[0] in "LMN" or category == "Co":
        return f" {character} " if UNSPACED.match(character) else character
    return " "


class _Table(dict[int, str]):
    """What a function makes of characters, for `str.translate`; kept for so many as a library may well have."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function

    def __missing__(self, code: int) -> str:
        found = self._function(chr(code))
        if len(self) < KNOWN_CHARACTERS:
            self[code] = found
        return found


_BARE, _SPACED = _Table(_bare), _Table(_spaced)
