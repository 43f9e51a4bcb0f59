"""Words of a text: their stems, the names among them, what stands in quotation marks, and whether it is English.

Names are told by their capital letters and by how they are introduced; there is no list of names. Capitals tell
nothing at the beginning of a sentence, nor in a language that gives them to all nouns. No language model, no
dictionary: every answer here is a heuristic that its callers may lean on only where being wrong does no harm.
"""

import re
import unicodedata
from itertools import pairwise
from math import ceil

_SPELLINGS = {"cosy": "cozy", "grey": "gray", "centre": "center", "theatre": "theater", "jewellery": "jewelry",
              "pyjamas": "pajamas", "moustache": "mustache", "tyre": "tire", "tyres": "tires"}  # fmt: skip
_OUR = re.compile(r"(?<=\w\w)our")  # colour, harbour; longer than the words where it is no spelling, such as hour
_IRREGULAR = {"people": "person", "children": "child", "mice": "mous", "feet": "foot", "teeth": "tooth"}


def word_set(words: str) -> frozenset[str]:
    """The words of a text with nothing but white space between them."""
    return frozenset(words.split())


# Capitalized words that name styles, periods, places of styles and techniques, not people or brands.
STYLE_WORDS = word_set(
    """academic african american art arts asian baroque bauhaus biedermeier british brutalist byzantine celtic century
    cgi chinese cmyk constructivist crafts crt cubism cubist cyanotype cyberpunk dada deco di diy dutch edwardian
    egyptian english european expressionism expressionist fauvism fauvist fi flemish french futurism futurist georgian
    german gothic greek hdr impressionism impressionist indian international islamic italian japanese korean latin led
    lo mannerist mediterranean memphis mexican mid minimalism minimalist modern modernism modernist moorish moroccan
    mughal noir nordic nouveau op orientalist ottoman persian pointillist polynesian pop postmodern pre prussian
    raphaelite renaissance rgb risograph rococo roman romantic romanticism russian sabi scandinavian sci soviet spanish
    steampunk stijl sumi surrealism surrealist swiss symbolist synthwave tibetan turkish ukiyo uv vaporwave venetian vhs
    victorian viennese wabi western y2k"""
)
MADE_BY = re.compile(
    r"\bin the (?:style|manner|spirit) of\b"
    r"|\b(?:art|artwork|work|works|film|films|photo|photos|photograph|photographs|painting|paintings|print|prints|"
    r"design|designs|illustration|illustrations|poster|posters|painted|drawn|illustrated|photographed|designed|"
    r"directed|shot|made|created) by\b|^by\b",
    re.IGNORECASE,
)
LIKENED_TO = re.compile(r"\b(?:inspired by|reminiscent of|à la|a la)\b", re.IGNORECASE)
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
# A full stop ends no sentence after an initial or an abbreviation, nor in quoted text where the sentence goes on.
_SENTENCE_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b(?:St|Mr|Ms|Dr|Jr|No|vs))(?<!\bMrs)[.!?…]"
    r"(?:(?=\s|$)|[\"”’»)]+(?=\s*(?:[^\sa-z]|$)))|[。！？][」』”]?"
)

_BEGINNING = re.compile(r"[:;–—(]")  # a capital letter may follow it as it does a full stop

# An apostrophe is no quotation mark, and neither is the sign for inches.
_QUOTED = re.compile(
    r'(?<!\d)"([^"\n]+(?:\n[^"\n]+){0,3})"|“([^“”]{1,400})”|„([^“”„]{1,400})[“”]|«([^«»]{1,400})»'
    r"|»([^«»\n]{1,400})«|「([^」]{1,400})」|『([^』]{1,400})』"
    r"|(?<!\w)'([^\n]{1,200}?)'(?!\w)|(?<!\w)‘([^\n]{1,200}?)’(?!\w)"
)

FUNCTION_WORDS = word_set(
    """a an the and or but nor of in on at to from into onto over under with without within by for as is are was were be
    been being it its he she his her him hers they them their this that these those there here which who whose whom
    while where when than then very just only some any each every all both other another near beside behind before
    after above below between through across along around against among amid upon off out up down not no so such too
    has have had do does did can could will would should may might must i me my we us our you your if also more most"""
)
# Of the languages with Latin letters in which prompts are written most; words that English has too are left out.
FOREIGN_WORDS = word_set(
    """der das und ein eine einen einem einer eines mit im ist auf dem den von vom zum zur unter über bei für nicht auch
    le les un une des du dans avec sur sous et est au aux pour chez vers qui que où ses
    el los las una unos unas con del y por para sobre bajo hacia entre sus
    il lo gli uno della dello delle dei degli nel nella sul sulla sotto di che ed
    um uma uns umas do dos da das no na nos nas em com ao sob
    am beim ins ans aufs
    het een van voor onder naar bij niet
    na w z ze pod nad przez jest oraz och ett av på under med för och som
    в во на с со под над и у из к за по от до без для о около"""
) - word_set("a an no do her for at on over under com")
_SHARED_WORDS = word_set("in")  # by English and others: they tell nothing
# Articles and particles of proper names, which say nothing about the language around them.
_IN_NAMES = re.compile(
    r"\b(?:Los|Las|Le|La|Les|El|Il)(?= [A-ZÀ-Þ])"
    r"|(\b[A-ZÀ-Þ][\w'’-]+)(?: (?:van|von|del|della|di|da|do|dos|das|du)(?: de[rn])?)(?= [A-ZÀ-Þ])"
)
# Scripts that put no spaces between words, and how many of their characters make one, about.
_UNSPACED = (
    (re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"), 2),
    (re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"), 5),
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without the possessive 's; hyphens part words."""
    return [word.removesuffix("'s").removesuffix("’s") for word in WORD.findall(text.casefold())]


def word_count(text: str) -> int:
    """How many words a text has between its spaces; about as many, where its script has none."""
    count = 0
    for script, length in _UNSPACED:
        text, characters = script.subn(" ", text)
        count += ceil(characters / length)
    return count + sum(any(map(str.isalnum, part)) for part in text.split()) if count else len(text.split())


def stem(word: str) -> str:
    """What the singular and the plural of an English noun have in common: `citi`, `leav`, `fox`, `hous`."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("men"):
        return word[:-2] + "an"
    if word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    word = word.removesuffix("e")
    return word[:-1] + {"y": "i", "f": "v"}.get(word[-1:], word[-1:])


def root(word: str) -> str:
    """What the forms of an English noun or verb have in common, in either spelling: `run`, `danc`, `color`, `gray`."""
    found = stem(_OUR.sub("or", _SPELLINGS.get(word, word)))
    for ending in ("ing", "ed"):
        if found.endswith(ending) and len(found) >= len(ending) + 3:
            found = found.removesuffix(ending).removesuffix("e")
            found = found[:-1] + "i" if found.endswith("y") else found
            break
    return found[:-1] if len(found) > 3 and found[-1] == found[-2] else found


def names(text: str, unmarked: int = 1) -> list[str]:
    """Words of a sentence that its capital letters make names, in their order; not those of STYLE_WORDS.

    `unmarked` is how many words at a beginning may have a capital letter without being names.
    """
    marked = [word for part in _BEGINNING.split(text) for word in WORD.findall(part)[unmarked:]]
    return [w for w in marked if w[0].isupper() and len(w) > 1 and not set(words(w)) <= STYLE_WORDS]


def quoted(text: str) -> list[tuple[int, int]]:
    """Where text in quotation marks stands: start and end of each, without the marks, in their order."""
    return [found.span(found.lastindex or 0) for found in _QUOTED.finditer(text)]


def is_english(text: str) -> bool:
    """Whether a text may be read as English: Latin letters, and more function words of its own than of others.

    A text without any function word, such as tags or a single noun, counts as English; articles in names are none.
    """
    letters = [c for c in text if c.isalpha()]
    if sum(not unicodedata.name(c, "").startswith("LATIN") for c in letters) > 0.1 * len(letters):
        return False
    found = [word for word in words(_IN_NAMES.sub(r"\1", text)) if word not in _SHARED_WORDS]
    foreign = sum(word in FOREIGN_WORDS for word in found)
    return not foreign or foreign < sum(word in FUNCTION_WORDS for word in found)


def masked(text: str) -> str:
    """The text with quoted text made unreadable: as long as before, of each only the last character as it was."""
    kept, begin = [], 0
    for start, end in quoted(text):
        kept += [text[begin:start], "x" * (end - start - 1)]
        begin = end - 1
    return "".join([*kept, text[begin:]])


def sentence_ends(text: str) -> list[int]:
    """Where the sentences of a text end, the last one only where it has its full stop; never inside quoted text."""
    return [found.end() for found in _SENTENCE_END.finditer(masked(text))]


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space around them."""
    ends = [0, *sentence_ends(text), len(text)]
    return [each for begin, end in pairwise(ends) if (each := text[begin:end].strip())]
