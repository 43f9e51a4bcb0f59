"""Styles: what a trained style (LoRA) is for people, and how they find one among many.

A card says what the doctor found in a file, where it came from and how to call it; the weights themselves are named by
their content and kept by the library. Krea's own styles are listed with their trigger words and where they are to be
had; nothing of them is shipped. Knows nothing of files and tensors: how a style bends a picture is the engine's part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from krea_studio.direction.references import percent
from krea_studio.direction.speed import Speed
from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import Frozen, Name, StyleChoice, StyleIdentity, Text
from krea_studio.recipe.variants import VARIANTS
from krea_studio.validation import shown

SHIPPED = "ships with the studio"
"""The source of a style that does; no other style has it."""

OFFICIAL_LICENCE = "Krea 2 Community License"

Fact = Annotated[Text, Field(max_length=500, strict=True)]


class StyleFacts(Frozen):
    """What is known of a style when it is taken in.

    `made_for` are labels of the checkpoints that it fits, `stated_base` is what its file says it was trained on,
    `rank` and `format` are the doctor's words; `speed` is known only of styles that were made for few steps.
    """

    trigger: Text = Field(
        default="", max_length=200, strict=True, title="Trigger words", description="Words that call the style"
    )
    suggested_prompt: Text = Field(
        default="", max_length=2000, strict=True, title="Suggested prompt", description="A prompt that shows it well"
    )
    made_for: tuple[Fact, ...] = Field(default=(), max_length=50)
    stated_base: Fact = ""
    rank: Fact = ""
    source: Fact = ""
    format: Fact = ""
    notes: tuple[Fact, ...] = Field(default=(), max_length=50)
    speed: Speed | None = Field(
        default=None,
        title="Few steps",
        description="For how many steps it is made, where it is for few, or at which sigmas; empty for any number",
    )


class StyleCard(StyleFacts):
    """A style of the library. `identity` names its weights, which take `bytes`.

    It is its `owner`'s alone unless that shares it with the `team`; without an owner it is everybody's.
    """

    name: Name = Field(title="Name", description="Name of the style")
    identity: StyleIdentity
    bytes: int = Field(ge=0, strict=True)
    favourite: bool = Field(default=False, strict=True)
    owner: str = Field(default="", max_length=200, strict=True)
    team: bool = Field(default=False, strict=True)

    @property
    def shipped(self) -> bool:
        """Whether it came with the studio."""
        return self.source == SHIPPED

    @property
    def base(self) -> str:
        """What it is for, in words for people: the checkpoints that it fits, or else what its file says."""
        return ", ".join(self.made_for) or self.stated_base


@dataclass(frozen=True)
class OfficialStyle:
    """A style that Krea published: its repository on the Hub, and the file in it that holds the weights."""

    name: str
    label: str
    trigger: str

    @property
    def repository(self) -> str:
        return f"krea/Krea-2-LoRA-{self.name}"

    @property
    def file(self) -> str:
        return f"{self.name}.safetensors"

    @property
    def base(self) -> str:
        return "trained on Krea 2 Raw, made for Krea 2 Turbo"


# Names and trigger words as their cards on the Hub give them.
OFFICIAL: dict[str, OfficialStyle] = {
    row.name: row
    for row in (
        OfficialStyle("darkbrush", "Dark brush", "monochrome ink wash style"),
        OfficialStyle("dotmatrix", "Dot matrix", "monochrome stippling style"),
        OfficialStyle("kidsdrawing", "Kids' drawing", "naive expressive sketch style"),
        OfficialStyle("neondrip", "Neon drip", "textured abstract style"),
        OfficialStyle("rainywindow", "Rainy window", "rainy window style"),
        OfficialStyle("retroanime", "Retro anime", "Purple retro anime style"),
        OfficialStyle("softwatercolor", "Soft watercolor", "art deco watercolor style"),
        OfficialStyle("sunsetblur", "Sunset blur", "ethereal motion blur style"),
        OfficialStyle("vintagetarot", "Vintage tarot", "vintage tarot style"),
    )
}


def official_of(repository: str) -> OfficialStyle | None:
    """The official style of a Hub repository; None for any other repository. Case makes no difference on the Hub."""
    return next((each for each in OFFICIAL.values() if each.repository.casefold() == repository.casefold()), None)


def hub_source(repository: str, revision: str) -> str:
    """The source of a style that was downloaded."""
    return f"Hub {repository} at {revision}"


def not_here(cards: Iterable[StyleCard]) -> tuple[OfficialStyle, ...]:
    """The official styles that none of these cards came from."""
    sources = [card.source.casefold() for card in cards]
    return tuple(
        each
        for each in OFFICIAL.values()
        if not any(source.startswith(hub_source(each.repository, "").casefold()) for source in sources)
    )


def matches(style: StyleCard | OfficialStyle, text: str) -> bool:
    """Whether every word of `text` is in the style's name, trigger words, base or source; case makes no difference."""
    texts = (
        (style.name, style.trigger, style.base, style.stated_base, style.source)
        if isinstance(style, StyleCard)
        else (style.name, style.label, style.trigger, style.base, style.repository)
    )
    told = " ".join(texts).casefold()
    return all(word in told for word in text.casefold().split())


def found(cards: Iterable[StyleCard], text: str = "", favourites: bool = False, base: str = "") -> list[StyleCard]:
    """The cards that `matches`, in their order; only favourites, and only those for a `base`, where asked."""
    return [
        card
        for card in cards
        if matches(card, text) and (card.favourite or not favourites) and (not base or base in _bases_of(card))
    ]


def rank_words(ranks: tuple[float, float] | None, alphas: tuple[float, float] | None) -> str:
    """Least and greatest rank and alpha of a style's layers: `4 to 8, alpha 4`; empty where no rank is known."""
    if ranks is None:
        return ""
    return _range(ranks) + (f", alpha {_range(alphas)}" if alphas else "")


def size_words(size_bytes: int) -> str:
    """A number of bytes in kB, MB or GB (powers of ten)."""
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= bytes_each:
            return f"{size_bytes / bytes_each:.1f} {unit}"
    return f"{size_bytes / 1e3:.1f} kB"


def refused(file_name: str, problems: Iterable[str]) -> InvalidRequest:
    """What to say where the doctor refused a file; problems are phrases that go on from its name."""
    return InvalidRequest(f"{shown(file_name)} is refused: {'; '.join(problems)}")


def styles_text(styles: Sequence[StyleChoice]) -> str:
    """A picture's styles in one line, with their weights: `style woodcut 80 %`; empty without any."""
    told = [f"{each.name} {percent(each.weight)}" for each in _used(styles)]
    return f"style{'s' * (len(told) > 1)} {', '.join(told)}" if told else ""


def other_styles(styles: Sequence[StyleChoice], cards: Sequence[StyleCard]) -> str:
    """What to know where weights that a recipe's styles name are not among these cards; empty if all are."""
    here = {card.identity for card in cards}
    names = {card.name.casefold() for card in cards}
    told = []
    for each in _used(styles):
        if each.identity is None or each.identity in here:
            continue
        if each.name.casefold() in names:
            told.append(f"Style «{each.name}» is another file here than the one that drew this picture")
        else:
            told.append(f"Style «{each.name}» is not in the library")
    return "; ".join(told) + (": import that file again, or leave the style out." if told else "")


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def _bases_of(card: StyleCard) -> Sequence[str]:
    return card.made_for or ([card.stated_base] if card.stated_base else [])


def _used(styles: Sequence[StyleChoice]) -> list[StyleChoice]:
    """Those that have an effect."""
    return [each for each in styles if each.weight]


def made_for_another(card: StyleCard, variant: str, checkpoint: str) -> str:
    """What to know where a style was not made for the checkpoint that runs a variant, by its label; empty otherwise."""
    if not card.made_for or checkpoint in card.made_for:
        return ""
    return f"Made for {card.base}, not for {checkpoint}, which runs {VARIANTS[variant].label} here."


def chosen_card(choice: StyleChoice, cards: Sequence[StyleCard]) -> StyleCard | None:
    """The card of a chosen style, whatever its name is here; one without weights of its own goes by its name."""
    if choice.identity is not None:
        return next((card for card in cards if card.identity == choice.identity), None)
    return next((card for card in cards if card.name.casefold() == choice.name.casefold()), None)
