"""What a picture is found by in the full-text index: its words, and marks for all else that a search may name.

A mark is one word of the index, such as `:variant:turbo`, which no word of a text is or begins with. So words, filters
and owner are one question to one index, which SQLite answers newest first and as far as a page needs. What has no
effect, such as a style at weight 0, leaves no mark.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from krea_studio.library.history.search import Search
from krea_studio.library.history.words import words_of
from krea_studio.library.names import folded, plain_name
from krea_studio.recipe.recipe import Recipe

TOKENIZER = "ascii tokenchars ':%_.-~'"
"""SQLite's simplest: texts are split already, and these are what marks have beside letters and digits."""
MARKED = ("variant", "aspect_ratio", "creativity", "style", "moodboard")
ON = ("with_references", "starred")
NOTHING = '":nothing"'


@dataclass(frozen=True)
class Indexed:
    """A picture's row of the index, by its columns. A phrase is looked for in one of them."""

    prompt: str
    expansion: str
    triggers: str
    marks: str

    @classmethod
    def of(cls, recipe: Recipe, owner: str, starred: bool) -> "Indexed":
        """What a picture of this recipe is found by."""
        return cls(
            prompt=_text(recipe.prompt),
            expansion=_text(recipe.expansion.text) if recipe.expansion else "",
            triggers=_text("\n".join(each.trigger or "" for each in recipe.styles if each.weight > 0)),
            marks=" ".join(_marks_of(recipe, owner, starred)),
        )

    @classmethod
    def of_unread(cls, prompt: str, variant: str, owner: str) -> "Indexed":
        """What a picture is found by whose recipe cannot be read."""
        return cls(_text(prompt), "", "", f"{_mark('variant', variant)} {_owned(owner)}")


def question(search: Search, owner: str | None) -> str:
    """A search within the pictures of `owner`, or of all (None), as FTS5 is asked; empty where it means all of them.

    Days are no part of it.
    """
    marks = [_mark(field, _named(value)) for field in MARKED if (value := getattr(search, field)) is not None]
    marks += [_mark(field, "true") for field in ON if getattr(search, field)]
    asked = [f'"{mark}"' for mark in marks]
    if search.words:
        asked += dict.fromkeys(_phrases(search.words)) or [NOTHING]
    if asked and owner is not None:
        asked.append(f'"{_owned(owner)}"')
    return " AND ".join(asked)


def _phrases(text: str) -> Iterator[str]:
    """What stands between spaces, as words in a row, the last of them perhaps a longer one's beginning."""
    for part in text.split():
        if words := words_of(part):
            # A single letter begins too many words to be of use, and a character of its own begins none.
            yield f'"{" ".join(words)}"' + (" *" if len(words[-1]) > 1 else "")


def _marks_of(recipe: Recipe, owner: str, starred: bool) -> Iterator[str]:
    yield _mark("variant", recipe.variant)
    yield _mark("aspect_ratio", recipe.aspect_ratio)
    yield _mark("creativity", recipe.creativity)
    yield from (_mark("style", _named(style.name)) for style in recipe.styles if style.weight)
    if recipe.moodboard and recipe.moodboard.strength:
        yield _mark("moodboard", _named(recipe.moodboard.name))
    if any(reference.strength for reference in recipe.style_references):
        yield _mark("with_references", "true")
    if starred:
        yield _mark("starred", "true")
    yield _owned(owner)


def _named(name: str) -> str:
    return folded(str(plain_name(name)))


def _mark(kind: str, value: str) -> str:
    return f":{kind}:{quote(value, safe='', errors='surrogatepass')}"


def _owned(owner: str) -> str:
    # The tokenizer makes no difference between upper and lower case, and owners do.
    return f":owner:{owner.encode('utf-8', 'surrogatepass').hex()}"


def _text(text: str) -> str:
    return " ".join(words_of(text))
