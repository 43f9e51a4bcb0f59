"""Texts as they are compared with rules: through case, accents, look-alike letters and signs that stand for letters.

What looks like a Latin letter becomes it, in texts and in rules alike, so a rule in any script finds itself.
"""

import re

from krea_studio.library.history.words import words_of

_LOOK_ALIKES = str.maketrans(
    {
        **dict(zip("авгеикмнопрстухьѕіјһԁԛԝѵ", "abreukmhonpctyxbsijhdqwv", strict=True)),
        **dict(zip("αβγδεζηικμνορστυχωϳ", "abydeznikmvopstuxwj", strict=True)),
        **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)),
        **dict(zip("ıłøđħŧƅɑɡɩɐəɔɛʃօսհց", "ilodhtbagiaecesouhg", strict=True)),
        "æ": "ae",
        "œ": "oe",
    }
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BOXED = str.maketrans({chr(first + at): letter for first in (0x1F170, 0x1F1E6) for at, letter in enumerate(_LETTERS)})
_STRUCK_OUT = dict.fromkeys(range(0x334, 0x339))  # lines through letters
_APOSTROPHES = dict.fromkeys(map(ord, "'’ʼ"))  # within a word
# What signs stand for; the last ones for i or l, but where they end a word.
_SIGNS = str.maketrans("034578@$€", "oeastbase")
_EITHER = re.compile(r"1|[!|](?=[!|]*[^\W_])")


def readings(text: str) -> list[str]:
    """The ways in which a text may be read, each as folded words with a space between them; without doubles."""
    text = text.translate(_BOXED).translate(_STRUCK_OUT)
    signed = text.translate(_SIGNS)
    ways = [text, *(_EITHER.sub(letter, signed) for letter in "il")]
    return list(dict.fromkeys(folded(way) for way in ways))


def folded(text: str) -> str:
    """The words of a text, folded, with a space between them."""
    return " ".join(words_of(" ".join(words_of(text.translate(_APOSTROPHES))).translate(_LOOK_ALIKES)))
