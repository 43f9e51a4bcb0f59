"""Whether a rewritten prompt still says what the person wrote, and what it says that nobody asked for.

Quoted text, numbers with what they count, names and the subject must survive any rewriting, and most of the other
words where it is to stay close. New quoted text and new names are left out, clause by clause. Words are compared by
their roots, and those of other alphabets by pairs of letters; synonyms are not known, so a faithful rewriting may
be refused, which costs a try, but one that lost something is found.
"""

import re
from difflib import get_close_matches
from itertools import islice, pairwise, takewhile

from krea_studio.expansion.words import (
    FOREIGN_WORDS,
    FUNCTION_WORDS,
    MADE_BY,
    WORD,
    is_english,
    masked,
    names,
    quoted,
    root,
    sentences,
    stem,
    word_set,
    words,
)
from krea_studio.validation import SHOWN_CHARACTERS, shown

KEPT_SHARE = 0.8  # of the words that say something, where a rewriting is to stay close
FREE_SHARE = 0.5  # and where it is free
_SHOWN_WORDS = 4

# Words of prompts that say nothing about the picture, units, and the number that may vanish.
_EMPTY_WORDS = word_set(
    """amazing awesome beautiful best cool create depict depicting draw generate gorgeous great hd high highly hq image
    one images incredible make masterpiece nice picture pictures please pretty quality really render scene show showing
    shows stunning super trending ultra uhd very want wonderful px mm cm th st nd rd"""
)
# Before "of" they say how a picture is made, not what it shows.
_MEDIUM_WORDS = word_set(
    """acrylic animation aquarelle art artwork cartoon charcoal closeup collage comic cover cyanotype design digital
    diorama drawing engraving etching film flat frame gouache graphic icon illustration image ink linocut
    lithograph logo model mosaic mural oil painting paper papercut pastel pattern pen pencil photo photograph
    photography picture pixel portrait poster print render rendering scene sculpture shot sign sketch snapshot
    sticker still style tapestry vector view wallpaper watercolor watercolour woodcut"""
)
_ENDS_PHRASE = word_set(
    """in on at to from into onto over under with without within by for as is are was were that which who whose while
    where when near beside behind before after above below between through across along around against among amid upon
    wearing holding"""
)
_JOINS = word_set("and or")
_NO_NAMES = word_set(
    """january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday christmas halloween easter earth moon sun milky way arctic antarctic alpine dslr slr
    raw dof iso pov bokeh"""
)
_SAYS_NO_NAME = word_set(
    "a an the hand some its their his her candlelight moonlight firelight daylight sunlight natural"
)
_NUMBER_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "dozen": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90, "hundred": 100, "thousand": 1000,
}  # fmt: skip
# German, French, Spanish and Italian; read where the prompt is not English, which has some of them as other words.
_FOREIGN_NUMBER_WORDS = {
    word: number
    for number, row in enumerate(
        ("zwei deux dos due", "drei trois tres tre", "vier quatre cuatro quattro", "fünf cinq cinco cinque",
         "sechs six seis sei", "sieben sept siete sette", "acht huit ocho otto", "neun neuf nueve nove",
         "zehn dix diez dieci"), 2,
    )
    for word in row.split()
}  # fmt: skip
_HAN_NUMBERS = {"二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10}
_HAN = "".join(_HAN_NUMBERS)
# Before a word for what is counted, which comes after every such number.
_HAN_NUMBER = re.compile(rf"(?<![{_HAN}])([{_HAN}])(?=[只隻个個条條头頭匹本张張朵棵位名座辆輛把片枚人つ])")
_GROUPS = {"pair": 2, "couple": 2, "both": 2, "twin": 2, "twins": 2, "duo": 2, "trio": 3, "triplets": 3, "quartet": 4}
_SINGLE = re.compile(r"\b(?:one|1|a single|single|a lone|lone) ", re.IGNORECASE)
_MANY = word_set("dozens several many few hundreds thousands multiple numerous various countless")
_UNITS = word_set("mm cm m km px k inch inches percent degrees")
_NO = re.compile(r"\b(?:no|without|not)(?: (?:any|an?|the))? ", re.IGNORECASE)
_DENIES = re.compile(
    r"\b(?:no|not|none|nor|without|never|nobody|nothing|neither|free of|devoid|empty|absent|absence|lack\w*|missing|"
    r"instead|rather|nowhere|deserted|\w+n['’]t)\b",
    re.IGNORECASE,
)
_DENIED_WITHIN = 40  # characters after a thing: "people are nowhere to be seen"
_COUNTED_WITHIN = 8  # words after a number in which what it counts is looked for
# 4k and 8k are wishes for quality, and one of a kind may lose its number.
_NUMBER = re.compile(
    r"\d+(?:[.,]\d+)*(?!\d*k\b)|\b(?:twen|thir|for|fif|six|seven|eigh|nine)ty-(?:one|two|three|four|five|six|seven|"
    r"eight|nine)\b|\b[^\W\d_]+\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[,.;:!?\n()]+(?!\d)")


def restored(text: str, prompt: str) -> str:
    """The text with the prompt's quoted text letter for letter, where case, apostrophes or a full stop differ."""
    own = {_loose(each): each for each in _quotations(prompt)}
    for start, end in reversed(quoted(text)):
        said = text[start:end]
        exact = own.get(_loose(said))
        if exact and exact != said:
            after = text[end + 1 :]
            ends = said[-1] == "," or not after.strip() or after.lstrip()[0].isupper()
            closing = said[-1] if said[-1] in ".,;" and exact[-1] != said[-1] and ends else ""
            text = text[:start] + exact + text[end : end + 1] + closing + after
    return text


def without_additions(text: str, prompt: str) -> tuple[str, list[str]]:
    """The text without clauses that bring in what nobody asked for, and what that was, in words.

    That is quoted text, names by their capitals or by how they are introduced, and words of another alphabet. A
    sentence whose first clause does so is left out whole.
    """
    additions = _Additions(text, prompt)
    kept, added = [], []
    for sentence in sentences(text):
        clauses = _clauses(sentence)
        new = [additions.of(clause, first=not k) for k, clause in enumerate(clauses)]
        if any(new):
            added += [each for found in new for each in found]
            clauses = [] if new[0] else [clause for clause, found in zip(clauses, new, strict=True) if not found]
            sentence = "".join(clauses).rstrip(" ,;")
            sentence += "." if sentence and sentence[-1] not in ".!?…" else ""
        if sentence:
            kept.append(sentence)
    return (" ".join(kept) if added else text), list(dict.fromkeys(added))


def lost(prompt: str, text: str, free: bool) -> list[str]:
    """What of a prompt a rewritten text lacks, in words; nothing where it holds the prompt as it is.

    Of all words that say something, KEPT_SHARE must be there, FREE_SHARE where it is `free`; of the subject, all. What
    there is one of must not become many, and what is denied must not appear.
    """
    if prompt in text:
        return []
    english, said = is_english(prompt), _Said(text, is_english(prompt))
    single, denied = (_after(_SINGLE, prompt), _after(_NO, prompt)) if english else ([], [])
    content = [word for word in content_words(prompt) if word not in denied]  # an empty beach has no people
    found = [f"the text {shown(each)}" for each in _quotations(prompt) if each not in _quotations(text)]
    counts = _numbers(prompt, english)
    found += [f"the number {number}" for number, counted in counts if not said.counts(number, counted)]
    found += [f"the single {noun}" for noun in single if said.has_many(noun)]
    found += [f"the words no {noun}" for noun in denied if said.affirms(noun)]
    named = [name for name in _own_names(prompt) if name.casefold() not in said.words] if english else []
    found += [f"the name {shown(' '.join(named))}"] if named else []
    joined = {word for pair in pairwise(words(prompt)) if "".join(pair) in said.words for word in pair}
    missing = [word for word in content if word not in joined and not said.says(word)]
    share = FREE_SHARE if free else KEPT_SHARE
    subject = [word for word in (_subject(prompt) if english else _first_words(prompt)) if word in missing]
    if len(content) - len(missing) < share * len(content):
        found += _told(missing, named)
    elif subject:
        found += _told(subject, named)
    elif len(content_words(text)) < KEPT_SHARE * (len(content) - len(joined) // 2):
        found.append("much of what the prompt says")
    return found


def content_words(text: str) -> list[str]:
    """The words of a text that say something about a picture, each once: no articles, no numbers, no praise."""
    empty = frozenset() if is_english(text) else FOREIGN_WORDS | _FOREIGN_NUMBER_WORDS.keys()
    return list(dict.fromkeys(word for word in words(_parted(text)) if word not in empty and _says_something(word)))


class _Additions:
    """Finds what a prompt did not ask for in parts of a text."""

    def __init__(self, text: str, prompt: str) -> None:
        self._own = {root(word) for word in words(prompt)}
        self._asked = _loose(prompt)
        self._capitals_tell = is_english(text) and not _is_title(text, prompt)
        self._foreign = any(map(_is_foreign, prompt))

    def of(self, clause: str, first: bool) -> list[str]:
        """What a clause brings in, in words; the `first` one of a sentence may begin with any capital letter."""
        new = [f"the text {shown(said)}" for said in _quotations(clause) if _loose(said) not in self._asked]
        plain = masked(clause)
        if self._capitals_tell:
            called = [name for name in names(plain, int(first)) if not all(map(self._is_known, words(name)))]
            new += [f"the name {shown(' '.join(called))}"] if called else []
        for found in MADE_BY.finditer(plain):
            then = WORD.search(plain, found.end())
            named = then[0].casefold() if then else ""
            # After "in the style of", a word in lower case is a genre far more often than an artist.
            known = root(named) in self._own or named in _SAYS_NO_NAME or not found[0].casefold().endswith("by")
            if not known and found[0].casefold() not in self._asked:
                new.append(shown(f"{found[0]} {named}"))
        if not self._foreign and any(map(_is_foreign, plain)):
            new.append("words of another language")
        return new

    def _is_known(self, word: str) -> bool:
        return root(word) in self._own or word in _NO_NAMES


class _Said:
    """A rewritten text of an English prompt or another, prepared for being asked what it says."""

    def __init__(self, text: str, english: bool) -> None:
        self.text, self._english = text.casefold(), english
        self.words = words(text)
        self._roots = {root(word) for word in words(_parted(text))}
        self._letters = "".join(self.words)
        self._numbers = _numbers(text, english, groups=True)

    def says(self, word: str) -> bool:
        """Whether a word is there: in another form, joined to another, or with a slip of the pen corrected."""
        if not word.isascii():
            pairs = [word[k : k + 2] for k in range(len(word) - 1)] or [word]
            return sum(pair in self.text for pair in pairs) >= 0.6 * len(pairs)
        beginning = word[: max(3, len(word) - 2)]
        if not self._english and len(word) > 3 and any(said.startswith(beginning) for said in self.words):
            return True  # in another case
        if root(word) in self._roots or (len(word) >= 5 and word in self._letters):
            return True
        if len(word) >= 3 and any(said.endswith(word) and len(said) >= len(word) + 4 for said in self.words):
            return True  # honeybee
        return len(word) >= 6 and bool(get_close_matches(word, self.words, 1, 0.85))

    def counts(self, number: str, counted: list[str]) -> bool:
        """Whether a number is there, before most of the roots that it counts."""
        after = [following for found, following in self._numbers if found == number]
        if not counted:
            return bool(after)
        return any(2 * len({*counted} & {*following}) > len({*counted}) for following in after)

    def has_many(self, noun: str) -> bool:
        """Whether more than one of a thing is counted, or said to be many, and nowhere a single one."""
        if noun in _after(_SINGLE, self.text):
            return False
        for match in _NUMBER.finditer(self.text):
            token = match[0]
            if token in _NUMBER_WORDS or token in _MANY or (token.isdecimal() and int(token) > 1):
                counted = _phrase(words(_CLAUSE_END.split(self.text[match.end() :][:200])[0]), one=True)
                if any(word != noun and stem(word) == stem(noun) for word in counted):
                    return True
        return False

    def affirms(self, noun: str) -> bool:
        """Whether a thing is said to be there: named in a sentence that does not deny it."""
        for sentence in sentences(self.text):
            found = [word for word in words(sentence) if root(word) == root(noun)]
            for place in re.finditer(rf"\b{re.escape(found[0])}\b", sentence) if found else ():
                around = sentence[: place.start()], sentence[place.end() :][:_DENIED_WITHIN]
                if not any(map(_DENIES.search, around)):
                    return True
        return False


def _after(marks: re.Pattern[str], prompt: str) -> list[str]:
    """The last word of each noun phrase of a prompt that follows one of the marks, outside quoted text."""
    plain = masked(prompt).casefold()
    phrases = [_phrase(words(_CLAUSE_END.split(plain[found.end() :])[0]), one=True) for found in marks.finditer(plain)]
    return [phrase[-1] for phrase in phrases if phrase]


def _first_words(prompt: str) -> list[str]:
    """The first words, two at most, that say something in a prompt of another language than English."""
    said, content = words(prompt), content_words(prompt)
    first = next((k for k, word in enumerate(said) if word in content), len(said))
    return list(takewhile(content.__contains__, said[first : first + 2]))


def _numbers(text: str, english: bool, groups: bool = False) -> list[tuple[str, list[str]]]:
    """The numbers of a text, digits and words alike, each with the roots of what it counts.

    Number words of other languages are read where it is not `english`. With `groups`, words such as pair count too, and
    the roots are those of all next words up to another number.
    """
    values = _NUMBER_WORDS | (_GROUPS if groups else {}) | ({} if english else _FOREIGN_NUMBER_WORDS)
    ends = _ENDS_PHRASE if english else _ENDS_PHRASE | FOREIGN_WORDS
    found: list[tuple[str, list[str]]] = [(str(_HAN_NUMBERS[each[1]]), []) for each in _HAN_NUMBER.finditer(text)]
    for match in _NUMBER.finditer(text):
        token = match[0].casefold()
        if token[0].isdigit():
            digits = token.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", token) else token
            number = str(int(digits)) if digits.isdecimal() else digits
        elif token in values:
            number = str(values[token])
        elif "-" in token:
            tens, ones = token.split("-")
            number = str(_NUMBER_WORDS[tens] + _NUMBER_WORDS.get(ones, 1))
        else:
            continue
        rest = _parted(text[match.end() :][:200])
        if groups:
            following = takewhile(lambda word: not (word.isdecimal() or word in _NUMBER_WORDS), words(rest))
            found.append((number, [root(word) for word in islice(following, _COUNTED_WITHIN)]))
        elif number not in ("0", "1"):
            said = words(_CLAUSE_END.split(rest)[0])
            # What is measured may be said with any words, and other alphabets are not read.
            plain = said and said[0] not in _UNITS and "." not in number and not _is_foreign(said[0][0])
            counted = _phrase(said, one=True, ends=ends) if plain else []
            found.append((number, [root(word) for word in counted[:3]]))
    return found


def _subject(prompt: str) -> list[str]:
    """The words of the first noun phrase, after the medium where one is named before "of"."""
    for clause in _CLAUSE_END.split(_parted(prompt)):
        said = words(clause)
        medium = [k for k, word in enumerate(said[1:], 1) if word == "of" and said[k - 1] in _MEDIUM_WORDS]
        phrase = _phrase(said[medium[0] + 1 if medium else 0 :])
        if any(word not in _MEDIUM_WORDS for word in phrase):
            return phrase
    return []


def _phrase(said: list[str], one: bool = False, ends: frozenset[str] = _ENDS_PHRASE) -> list[str]:
    """The words of a noun phrase that say something: up to a preposition, a relative clause or a verb in -ing.

    With `one`, it also ends at `and`, at the next number, and at any such verb.
    """
    found: list[str] = []
    for word, following in zip(said, [*said[1:], "in"], strict=False):
        over = word in ends or (one and (word in _JOINS or word in _NUMBER_WORDS or word.isdecimal()))
        if over or (found and word.endswith("ing") and (one or following in FUNCTION_WORDS)):
            break
        if _says_something(word):
            found.append(word)
    return found


def _says_something(word: str) -> bool:
    if word.isdecimal() or word in _NUMBER_WORDS or (word.isascii() and len(word) < 2):
        return False
    return word not in FUNCTION_WORDS and word not in _EMPTY_WORDS


def _own_names(prompt: str) -> list[str]:
    """Names in a prompt; a capital letter at its beginning counts where the next word has one too."""
    found = []
    for sentence in sentences(masked(prompt)):
        own = [name for name in names(sentence) if _says_something(name.casefold())]
        first, second = [*WORD.findall(sentence), "", ""][:2]
        if second in own and first.istitle() and _says_something(first.casefold()):
            own.insert(0, first)
        found += [name.removesuffix("'s").removesuffix("’s") for name in own]
    return list(dict.fromkeys(found))


def _is_title(text: str, prompt: str) -> bool:
    """Whether a text gives capital letters to words that the prompt writes without them."""
    plain = {word for word in WORD.findall(prompt) if word.islower() and len(word) > 3}
    found = [w for s in sentences(text) for w in WORD.findall(s)[1:] if w.casefold() in plain]
    return sum(word[0].isupper() for word in found) > len(found) / 2


def _clauses(sentence: str) -> list[str]:
    """The clauses of a sentence, each with the comma and the space after it; together they are the sentence."""
    ends = [found.end() for found in re.finditer(r"[,;]\s+", masked(sentence))]
    return [sentence[begin:end] for begin, end in pairwise([0, *ends, len(sentence)])]


def _quotations(text: str) -> list[str]:
    """Quoted text, each once; marks around a whole prompt of several words quote nothing."""
    spans = quoted(text)
    if len(spans) == 1 and spans[0] == (1, len(text) - 1) and len(text.split()) > 3:
        return []
    return list(dict.fromkeys(text[start:end] for start, end in spans))


def _loose(text: str) -> str:
    """A text without what a careful copyist may still change: case, kinds of apostrophes, spaces, a last full stop."""
    return " ".join(text.casefold().replace("’", "'").replace("‘", "'").split()).rstrip(" .,;")


def _parted(text: str) -> str:
    """A text with spaces between digits and letters: 1girl, 50mm."""
    return re.sub(r"(?<=\d)(?=[a-zA-Z])", " ", text)


def _is_foreign(character: str) -> bool:
    return character.isalpha() and ord(character) > 0x24F


def _told(missing: list[str], named: list[str]) -> list[str]:
    rest = [word for word in missing if word not in {name.casefold() for name in named}]
    more = f" and {len(rest) - _SHOWN_WORDS} more" if len(rest) > _SHOWN_WORDS else ""
    told = ", ".join(word[:SHOWN_CHARACTERS] for word in rest[:_SHOWN_WORDS])
    return [f"the word{'s' * (len(rest) > 1)} {told}{more}"] if rest else []
