"""Analyses that a language model wrote: what it is asked for, and what of its answer is kept.

A model answers with more or less than it was asked for, and it likes to say what the pictures show and who made them.
A moodboard steers by its look alone, so words that name subjects, people, brands or artists are left out. Names are
told by the model's own list of them, by their capital letters and by how they are introduced.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from krea_studio.direction.analysis import MAX_AVOIDS, MAX_KEYWORDS, MAX_PROFILE_CHARACTERS
from krea_studio.direction.colours import COLOUR_NAMES
from krea_studio.errors import InvalidRequest
from krea_studio.expansion.words import LIKENED_TO, MADE_BY, WORD, names, sentences, stem, word_set, words
from krea_studio.recipe.request import clean_text
from krea_studio.validation import shown

MAX_PHRASE_CHARACTERS = 60
MAX_KEPT_OUT = 40  # of each kind
READ_CHARACTERS = 50_000  # of an answer, from its end; what comes before is thoughts
KEPT_OUT = ("subjects", "names")
FIELDS = ("taste_profile", "keywords", "avoids", *KEPT_OUT)

INSTRUCTION = (
    "Look at these pictures together: they are one moodboard. Describe only the look that they share: palette, light, "
    "texture, medium, composition and mood. Never describe what they show, and never name people, brands, artists, "
    "studios or titles.\n"
    "Answer with one JSON object and nothing else, with exactly these fields:\n"
    '{"taste_profile": "two to four sentences about the shared look, at most 450 characters", '
    '"keywords": ["six to eight short phrases, lower case, that give a new picture this look"], '
    '"avoids": ["up to five short phrases, lower case, for looks that would not belong here"], '
    '"subjects": ["what the pictures show, a word or two each, so that it can be kept out"], '
    '"names": ["people, brands, artists, studios and titles that these pictures remind of, so that they can be kept '
    'out"]}'
)
# A model that always takes the likeliest word answers the same to the same question.
INSTRUCTION_AGAIN = INSTRUCTION + "\nBegin with { and end with }. Be brief: name five subjects at most, each once."

# Words about looks that may stand in a subject's name and still say nothing about subjects.
_LOOK_WORDS = word_set(
    """abstract art background black bold bright clean close-up color colors colour colours composition contrast dark
    deep detail digital drawing film flat geometric glow glowing grain graphic illustration image ink large light
    lighting line lines minimal minimalist mosaic mood muted natural neon oil paint painting paper papercut pastel
    pattern photo photograph photography picture portrait poster print red scene shadow shadows shape shapes simple
    small soft still style surface texture textures tone tones vintage vivid warm watercolor watercolour"""
) | frozenset(name for name in COLOUR_NAMES if " " not in name)
_FILLERS = word_set("the and with from into onto over under for its their that this near some various other")
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")


@dataclass(frozen=True)
class Written:
    """What is kept of a model's analysis."""

    taste_profile: str
    keywords: tuple[str, ...]
    avoids: tuple[str, ...]


def parse_written(text: str) -> Written:
    """What is usable of a model's raw answer to `INSTRUCTION`.

    The answer may think aloud, put its JSON into a fence or into prose, and leave trailing commas. The profile is cut
    at a sentence, phrases that are too long are dropped rather than cut. Raises InvalidRequest, and nothing else, where
    neither a profile nor a keyword is left.
    """
    found = _answer(text)
    banned = _subject_words(phrase for kept_out in KEPT_OUT for phrase in _phrases(found.get(kept_out))[:MAX_KEPT_OUT])
    keywords, avoids = _phrases(found.get("keywords")), _phrases(found.get("avoids"))
    unmarked = _unmarked([*keywords, *avoids])
    kept = [p for p in keywords if _about_the_look(p, banned, unmarked)]
    spared = {p.casefold() for p in kept}
    opposed = [p for p in avoids if p.casefold() not in spared and _about_the_look(p, banned, unmarked)]
    said = found.get("taste_profile")
    said = _plain(said) if isinstance(said, str) else ""
    profile = _cut(_sentences(said, banned))
    if not kept and not profile:
        reason = (
            "all that it says names subjects or people"
            if keywords or said
            else "it says nothing in taste_profile and keywords"
        )
        raise InvalidRequest(f"The model's analysis cannot be used: {reason} — analyze again, or without a model")
    return Written(profile, tuple(kept[:MAX_KEYWORDS]), tuple(opposed[:MAX_AVOIDS]))


def _answer(text: str) -> dict[str, Any]:
    """The last JSON object in the answer that has one of the fields."""
    said = text.rpartition("</think>")[2][-READ_CHARACTERS:]
    said = _TRAILING_COMMA.sub("", said)
    decoder, found, start = json.JSONDecoder(), None, said.find("{")
    while start >= 0:
        end = start + 1
        try:
            value, stop = decoder.raw_decode(said, start)
        except (ValueError, RecursionError):
            pass
        else:
            if any(field in value for field in FIELDS):
                found, end = value, stop
        start = said.find("{", end)
    if found is None:
        raise InvalidRequest(
            f"The model's analysis cannot be used: {shown(said.strip())} holds no JSON object with "
            f"{', '.join(FIELDS)} — analyze again, or without a model"
        )
    return found


def _plain(text: str) -> str:
    """One line without control characters, halves of surrogate pairs and what surrounds a phrase."""
    text = text.encode("utf-8", "ignore").decode("utf-8")
    return " ".join(str(clean_text(text)).split()).strip(" \"'“”‘’`*#•-,;")


def _phrases(value: object) -> list[str]:
    """The texts in a list, or in a line with commas, that are short enough; each once, whatever its capitals."""
    entries = re.split(r"[,;\n]", value) if isinstance(value, str) else value if isinstance(value, list) else []
    plain = [_plain(entry).rstrip(".") for entry in entries if isinstance(entry, str)]
    fitting = [phrase for phrase in plain if len(phrase) <= MAX_PHRASE_CHARACTERS and WORD.search(phrase)]
    once: dict[str, str] = {}
    for phrase in fitting:
        once.setdefault(phrase.casefold(), phrase)
    return list(once.values())


def _subject_words(subjects: Iterable[str]) -> frozenset[str]:
    named = {word for subject in subjects for word in words(subject)}
    return frozenset(stem(word) for word in named - _LOOK_WORDS - _FILLERS if len(word) > 2)


def _unmarked(phrases: Sequence[str]) -> int:
    """How many words of a phrase may have a capital letter without being names, given how the answer uses them.

    None where phrases begin in lower case, one where they begin like sentences, all where they are set like titles.
    """
    titles = [all(word[0].isupper() for word in WORD.findall(phrase) if len(word) > 3) for phrase in phrases]
    if sum(titles) > len(phrases) / 2:
        return MAX_PHRASE_CHARACTERS
    return int(sum(phrase[:1].isupper() for phrase in phrases) > len(phrases) / 2)


def _about_the_look(text: str, banned: frozenset[str], unmarked: int) -> bool:
    """Whether a text names neither a subject nor, by capital letters after the `unmarked` words, somebody."""
    if MADE_BY.search(text) or LIKENED_TO.search(text) or any(stem(word) in banned for word in words(text)):
        return False
    return not names(text, unmarked)


def _sentences(text: str, banned: frozenset[str]) -> list[str]:
    return [s for s in sentences(text) if WORD.search(s) and _about_the_look(s, banned, 1)]


def _cut(said: Sequence[str]) -> str:
    """As many whole sentences as fit; of a first one that does not fit by itself, as many words."""
    kept = ""
    for sentence in said:
        if len(kept) + len(sentence) + 1 > MAX_PROFILE_CHARACTERS:
            break
        kept = f"{kept} {sentence}".strip()
    if kept or not said:
        return kept
    return said[0][: MAX_PROFILE_CHARACTERS - 1].rpartition(" ")[0].rstrip(" ,;:") + "…"
