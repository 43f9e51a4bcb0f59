"""Rules for prompts, by category: what is asked for in words that leave no doubt.

They are data, `assets/safety/rules.toml`, which says how they are written; a studio's operator may add a file. Words
tell little of a picture, so the rules are few, and pictures are judged by themselves.
"""

import re
import threading
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from krea_studio.errors import Refused, Unavailable
from krea_studio.recipe.recipe import Shot
from krea_studio.safety.folding import folded, readings
from krea_studio.validation import refusal

OWN_RULES = Path(__file__).resolve().parents[2] / "assets" / "safety" / "rules.toml"


def _with_words(phrase: str) -> str:
    if not folded(phrase):
        raise ValueError("write it with a letter or a digit: signs alone would be found everywhere")
    return phrase


Phrase = Annotated[str, Field(min_length=2, max_length=200), AfterValidator(_with_words)]
_NEVER = r"(?!)"


class Category(BaseModel):
    """What is refused: a text with one of `phrases`, or with one of every list of `together`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    phrases: tuple[Phrase, ...] = ()
    together: tuple[tuple[Phrase, ...], ...] = ()


class RuleFile(BaseModel):
    """A file of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    harmless: tuple[Phrase, ...] = ()
    category: tuple[Category, ...] = ()


class Rules:
    """The rules of some files, which are read when a first text is looked at. Safe to use from several threads."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._reading = threading.Lock()
        self._rules: tuple[re.Pattern[str], list[tuple[str, list[re.Pattern[str]]]]] | None = None

    def category_of(self, text: str) -> str | None:
        """The name of the category that a text belongs to, None for one that may be drawn.

        Raises Unavailable where a file of rules cannot be used.
        """
        harmless, rules = self._read()
        ways = [harmless.sub(" ", way) for way in readings(text)]
        for name, needed in rules:
            if any(all(pattern.search(way) for pattern in needed) for way in ways):
                return name
        return None

    def require(self, texts: Iterable[tuple[str, str]]) -> None:
        """Raise Refused for the first text that may not be drawn, each with what it is called (`the prompt`)."""
        for what, text in texts:
            if text and (category := self.category_of(text)):
                raise Refused(
                    f"{what[0].upper()}{what[1:]} is refused by the content filter ({category}) — describe something "
                    "else; a mistake is for the studio's operator to mend"
                )

    def _read(self) -> tuple[re.Pattern[str], list[tuple[str, list[re.Pattern[str]]]]]:
        with self._reading:
            if self._rules is None:
                files = [read_rules(path) for path in self._paths]
                harmless = re.compile("|".join(_whole(each) for file in files for each in file.harmless) or _NEVER)
                rules = []
                for category in (each for file in files for each in file.category):
                    if category.phrases:
                        rules.append((category.name, [_any_of(category.phrases)]))
                    if category.together:
                        rules.append((category.name, [_any_of(group) for group in category.together]))
                self._rules = harmless, rules
            return self._rules


def read_rules(path: Path) -> RuleFile:
    """The rules in a file. Raises Unavailable, which says what is wrong with it."""
    try:
        return RuleFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        reason = error.strerror or str(error)
    except ValidationError as error:
        reason = refusal(error, RuleFile, str, "a file of rules").message
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise Unavailable(f"The rules in {path} cannot be used, and nothing is drawn without them: {reason}")


def texts_of(shot: Shot) -> dict[str, str]:
    """What a shot says in words, by what people call it, and all that is drawn toward as one text."""
    board = shot.moodboard.content if shot.moodboard else None
    toward = {
        "the prompt": shot.prompt,
        "the expansion": shot.expansion.text if shot.expansion else "",
        "the trigger word of a style": ", ".join(filter(None, (style.trigger for style in shot.styles))),
        "what the moodboard steers to": ", ".join(board.keywords) if board else "",
    }
    return {
        **toward,
        "the negative prompt": shot.negative_prompt,
        "what the moodboard avoids": ", ".join(board.avoids) if board else "",
        "the prompt with its style and moodboard": ", ".join(filter(None, toward.values())),
    }


def _any_of(phrases: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_disguised, phrases)))


def _disguised(phrase: str) -> str:
    """A pattern for a phrase, also where its words are written as one, or all letters of a word are apart.

    A word in two parts is not looked for, since the parts are words too often.
    """
    words = folded(phrase).split()
    joined = " ?".join(words)
    apart = " ".join(f"(?:{word}|{' '.join(word)})" for word in words)
    return rf"(?<!\S)(?:{joined}|{apart})s?(?!\S)"


def _whole(phrase: str) -> str:
    return rf"(?<!\S){folded(phrase)}s?(?!\S)"
