"""The phrasebook: expands a prompt by rules, without a model, in plain English or in the words of a small world.

What the person wrote stays as it is, letter for letter; phrases come before or after it. A group of things, such as
light, that the prompt names already is left alone, and no phrase opposes a fact that the prompt or another phrase
states. What is added depends on prompt, level and seed alone, and neighbouring seeds get different things. It reads
words, not sentences: "no moon" names the sky too, so that nothing is added to it, and denies what a moon would say.
A prompt that is detailed already gets nothing.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from krea_studio.direction.sliders import Vocabulary
from krea_studio.errors import InvalidRequest
from krea_studio.expansion.creativity import PHRASEBOOK, is_detailed
from krea_studio.expansion.phrases import (
    AFLOAT,
    AT_SEA,
    CUES,
    OPPOSED,
    PHRASES,
    SMALL_WORLD_CUES,
    SMALL_WORLD_GROUPS,
    Cue,
    Phrase,
)
from krea_studio.expansion.words import is_english, sentence_ends, words

# How many things are added at least and at most, where so many are missing.
ADDED = {"low": (1, 1), "medium": (2, 3), "high": (4, 6)}
# The order in which things are missed; at low, nothing else is.
_GAPS = ("medium", "light")
_ORDER = ("medium", "palette", "light", "composition", "lens", "density", "motion")
_SMALL_WORLD_GAPS = ("rendering style", "setting", "sky")
_SMALL_WORLD_ORDER = ("rendering style", "palette", "setting", "sky", "how vivid", "how much motion", "how dense")
_DETAILS = ("density", "how dense", "motion", "how much motion")
_USUAL = 4  # of the missing groups, in their order, that medium chooses from
_LED_BY = 4  # phrases that the first group must have, for a batch of four to differ

_READING_ORDER = (*_SMALL_WORLD_GAPS, *_GAPS, "palette", "how vivid", "composition", "lens", *_DETAILS)
_MEDIA, _PLACES = ("medium", "rendering style"), ("setting", "sky")
_OPPOSITES = {a: {b for pair in OPPOSED if a in pair for b in pair if b != a} for pair in OPPOSED for a in pair}
_MARK = "▮"  # stands for words that are read already
_PLACE = re.compile(
    r"\b(?:in|on|at|inside|under|beneath|beside|near|over|above|across|among|through|behind|before|by|along|atop|within)"
    rf"(?: (?:a|an|the|his|her|its|their|some|my|this|that))*+ (?!{_MARK})\w"
)
# Before a cue, up to what ends the reach of the "no".
_DENIED = re.compile(
    r"\b(?:no|not|without|never|nor|neither|isn't|aren't|doesn't|don't|free of|instead of|rather than)"
    r"(?: (?:in|on|at|by|of))?(?: (?!(?:in|on|at|by|of|with|under|and|but|just|only|from|over|near)\b)[\w']+){0,3} $"
)
# What begins with an article, and not with a word for pictures, may have its medium before it.
_TAKES_MEDIUM = re.compile(r"(?:an?|the) (?!(?:[\w-]+ ){0,2}(?:picture|image|poster|view|shot|portrait|scene) of\b)\S")


@dataclass(frozen=True)
class Reading:
    """What a prompt names: groups of things, and facts that hold across groups, or that it says do not."""

    groups: frozenset[str]
    facts: frozenset[str]
    denied: frozenset[str] = frozenset()


class Phrasebook:
    """The `Expander` that needs no model.

    `vocabulary` is that of a checkpoint with a small world, None for any other checkpoint.
    """

    writer = PHRASEBOOK

    def __init__(self, vocabulary: Vocabulary | None = None) -> None:
        self.model = "plain English" if vocabulary is None else "small world"
        self._reader = _Reader(vocabulary is not None)
        self._order: tuple[str, ...] = _ORDER
        self._gaps: tuple[str, ...] = _GAPS
        self._phrases: Mapping[str, Sequence[Phrase]] = PHRASES
        if vocabulary is not None:
            self._order, self._gaps = _SMALL_WORLD_ORDER, _SMALL_WORLD_GAPS
            self._phrases = {
                group: [Phrase(word, self._reader.read(word).facts) for word in vocabulary.get(group, ())]
                for group in _SMALL_WORLD_ORDER
            }

    def read(self, prompt: str) -> Reading:
        """What a prompt names already, in the groups of this phrasebook's world."""
        return self._reader.read(prompt)

    def write(
        self,
        prompt: str,
        level: str,
        seed: int,
        check: Callable[[], None],
        again: bool = False,
        fits: Callable[[str], bool] = lambda text: True,
    ) -> str:
        """The prompt with as many phrases before and after it as fit; itself where nothing is missing.

        `again` changes nothing: nothing can have been lost. Raises InvalidRequest for a prompt that is not English.
        """
        check()
        if not is_english(prompt):
            raise InvalidRequest("The phrasebook knows English only — write in English, or choose another writer")
        added = self.additions(prompt, level, seed)
        while added and not fits(_joined(prompt, added)):
            added.popitem()
        return _joined(prompt, added)

    def additions(self, prompt: str, level: str, seed: int) -> dict[str, str]:
        """What is added to an English prompt: group → phrase, the most telling one first."""
        if is_detailed(prompt):
            return {}
        reading = self._reader.read(prompt)
        draw = random.Random(f"phrasebook-{level}-{seed}-{prompt}")
        facts = set(reading.facts)
        open_groups = {
            group: found
            for group in (self._gaps if level == "low" else self._order)
            if group not in reading.groups and (found := self._fitting(group, level, facts, reading.denied, prompt))
        }
        most = draw.randint(*ADDED[level])
        added: dict[str, str] = {}
        for group in _drawn(open_groups, level, draw):
            fitting = self._fitting(group, level, facts, reading.denied, prompt)
            if len(added) == most or not fitting:
                continue
            if added:
                phrase = draw.choice(fitting)
            else:
                # Each seed takes the next one of an order of the prompt's own.
                bold = [each for each in fitting if each.bold]
                fitting = bold if len(bold) >= _LED_BY else fitting
                phrase = random.Random(f"{level}-{prompt}").sample(fitting, len(fitting))[seed % len(fitting)]
            added[group] = phrase.text
            facts |= phrase.facts
        return added

    def _fitting(
        self, group: str, level: str, facts: Iterable[str], denied: frozenset[str], prompt: str
    ) -> list[Phrase]:
        """The phrases of a group that a level may add, that oppose no fact and say nothing that is denied."""
        phrases = self._phrases[group]
        if group in _MEDIA:
            said = words(prompt)  # no neon sign of a sign
            phrases = [each for each in phrases if words(each.text)[-1] not in said]
        if level == "low":
            phrases = [each for each in phrases if each.neutral] or phrases
        if group.startswith("how "):
            # From least to most: what is usual lies between the ends, and the middle says nothing.
            phrases = [*phrases[:2], *phrases[-2:]] if level == "high" else phrases[1:-1]
        if group == "setting" and level != "high":
            afloat = bool(re.search(rf"\b(?:{'|'.join(AFLOAT)})", prompt.casefold()))
            phrases = [each for each in phrases if (each.text == AT_SEA) == afloat]
        barred = denied.union(*(_OPPOSITES.get(fact, ()) for fact in facts))
        return [each for each in phrases if not each.facts & barred and (level == "high" or not each.bold)]


def _drawn(groups: Mapping[str, Sequence[Phrase]], level: str, draw: random.Random) -> list[str]:
    """The groups in the order in which they are added to.

    First the one that tells seeds apart, always the same for a prompt and level; at medium the usual ones come next.
    """
    if not groups:
        return []
    lead = next((group for group, found in groups.items() if len(found) >= _LED_BY), next(iter(groups)))
    others = [group for group in groups if group != lead]
    usual = len(others) if level == "high" else _USUAL - 1
    return [lead, *(group for part in (others[:usual], others[usual:]) for group in draw.sample(part, len(part)))]


class _Reader:
    """Finds cues in a prompt, the longest first, each word read once."""

    def __init__(self, small_world: bool) -> None:
        self._small_world = small_world
        self._cues: dict[str, list[Cue]] = {}
        own = {_normalized(word) for cue in SMALL_WORLD_CUES for word in cue.words} if small_world else set()
        for cue in (*SMALL_WORLD_CUES, *CUES) if small_world else CUES:
            for word in map(_normalized, cue.words):
                if cue in SMALL_WORLD_CUES or word not in own:
                    self._cues.setdefault(word, []).append(cue)
        longest_first = sorted(self._cues, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?:s|es)?(?!\w)")

    def read(self, prompt: str) -> Reading:
        text = _normalized(prompt)
        found: list[Cue] = []
        missing: list[Cue] = []
        for match in self._pattern.finditer(text):
            (missing if _DENIED.search(text[: match.start()]) else found).extend(self._cues[match[1]])
        groups = {cue.group for cue in (*found, *missing)}
        if self._small_world:
            if _PLACE.search(self._pattern.sub(_MARK, text)):
                groups.add("setting")
            groups = {group for group, same in SMALL_WORLD_GROUPS.items() if same in groups}
        facts = frozenset(fact for cue in found for fact in cue.facts)
        # A thing that is not there, such as a mountain, denies nothing else.
        denied = frozenset(fact for cue in missing if cue.group for fact in cue.facts)
        return Reading(frozenset(groups - {""}), facts, denied - facts)


def _normalized(text: str) -> str:
    text = text.casefold().replace("’", "'").replace("-", " ").replace("_", " ")
    return " ".join(re.sub(r"\d+\s*mm\b", "mm", text).split())


def _joined(prompt: str, added: Mapping[str, str]) -> str:
    """The prompt with phrases where they read well.

    The medium stands before a prompt that begins with an article. Places follow directly where the prompt is one
    phrase; everything else comes after commas, or as a sentence of its own after a sentence.
    """
    rest, text = {group: added[group] for group in _READING_ORDER if group in added}, prompt
    medium = next((group for group in _MEDIA if group in rest), "")
    if medium and _TAKES_MEDIUM.match(prompt):
        words = rest.pop(medium)
        text = f"{_article(words) if medium == 'medium' else ''}{words} of {prompt}"
    if not re.search(r"[,.;:!?\n…]", prompt):
        text = " ".join([text, *(rest.pop(group) for group in _PLACES if group in rest)])
        if "palette" in rest:
            rest["palette"] = f"in {rest['palette']}"
    if not rest:
        return text
    listed = ", ".join(rest.values())
    if ends := sentence_ends(prompt):
        return f"{text}{'' if ends[-1] == len(prompt) else '.'} {listed[0].upper()}{listed[1:]}."
    return f"{text}{'' if prompt.endswith((',', ';', ':')) else ','} {listed}"


def _article(words: str) -> str:
    return "an " if words[0] in "aeiou" else "a "
