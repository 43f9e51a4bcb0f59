"""What the doctor found in a style's file: facts, notes and problems, as data, as JSON and as lines for a person.

Also what the file says of itself in its metadata, in the words of the trainers that write them and in the studio's own.
A statement is only told, never trusted: which checkpoints a style fits is found by its layers.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from krea_studio.direction.speed import Speed
from krea_studio.direction.styles import StyleFacts, rank_words
from krea_studio.engine.lora.files import plain_line
from krea_studio.engine.lora.layers import Architecture
from krea_studio.recipe.request import bounds

MOST_CHARACTERS = 300
"""How much of a name, a base or trigger words in a file's metadata is kept."""
MOST_PROMPT_CHARACTERS = int(bounds("suggested_prompt", StyleFacts)[1])
"""How much of a suggested prompt: as much as a style may have."""

_NAMES = ("name", "modelspec.title", "ss_output_name")
_BASES = ("trained_on", "modelspec.architecture", "ss_base_model_version", "base_model", "ss_sd_model_name")
_TRIGGERS = ("trigger", "modelspec.trigger_phrase", "trigger_words", "trigger_word")
_PROMPTS = ("suggested_prompt", "modelspec.usage_hint")
_TAG_FREQUENCY = "ss_tag_frequency"
# A tag on fewer of the training pictures than this is one subject of them, not the style's word.
_TRIGGER_SHARE = 0.9


@dataclass(frozen=True)
class Stated:
    """What a file says of itself; empty where it says nothing.

    `trigger_guessed` is true where no field names trigger words and they are the tag that nearly all captions had.
    """

    name: str = ""
    base_model: str = ""
    trigger: str = ""
    suggested_prompt: str = ""
    trigger_guessed: bool = False

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> "Stated":
        """From the metadata of a safetensors file, whoever wrote them."""
        name, base, trigger = (_first(metadata, keys) for keys in (_NAMES, _BASES, _TRIGGERS))
        prompt = _first(metadata, _PROMPTS, MOST_PROMPT_CHARACTERS)
        guess = "" if trigger else _usual_tag(metadata.get(_TAG_FREQUENCY, ""))
        return cls(name, base, trigger or guess, prompt, bool(guess))

    @property
    def metadata(self) -> dict[str, str]:
        """The same under the studio's own names, without what the file does not say."""
        said = {
            "name": self.name,
            "trained_on": self.base_model,
            "trigger": "" if self.trigger_guessed else self.trigger,
            "suggested_prompt": self.suggested_prompt,
        }
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True)
class Effect:
    """How much a style changes a layer at weight 1: the Frobenius norms of ΔW, as shares of the weights' own norms.

    `relative_to` is the label of the checkpoint whose weights were compared with; where none are on this machine it is
    empty, and the numbers are the norms themselves.
    """

    largest: float
    mean: float
    relative_to: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """The doctor's report on one file.

    `matched` + `dropped` + `unmatched` are all keys. `fits` are the architectures that the style is made for, `base` is
    the one whose weights a DoRA was resolved with. `left_out` is the share of the change, in Frobenius norm, that two
    thin matrices could not hold. `speed` is what the file says of few steps. `problems` are reasons to refuse; each is
    a phrase that goes on from the file's name.
    """

    path: Path
    bytes: int
    stated: Stated = Stated()
    speed: Speed | None = None
    formats: Sequence[str] = ()
    kinds: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    ranks: tuple[int, int] | None = None
    alphas: tuple[float, float] | None = None
    modules: Mapping[str, int] = field(default_factory=dict)
    matched: int = 0
    dropped: Mapping[str, str] = field(default_factory=dict)
    unmatched: Sequence[str] = ()
    fits: Sequence[Architecture] = ()
    base: Architecture | None = None
    effect: Effect | None = None
    left_out: float = 0.0
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def accepted(self) -> bool:
        """Whether every key is accounted for, all values are numbers, and the style has an effect where it fits."""
        return not self.problems

    @property
    def keys(self) -> int:
        """Number of tensors in the file."""
        return self.matched + len(self.dropped) + len(self.unmatched)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "path": str(self.path).encode("utf-8", "backslashreplace").decode(),
            "bytes": self.bytes,
            "accepted": self.accepted,
            "problems": list(self.problems),
            "fits": [architecture.name for architecture in self.fits],
            "format": list(self.formats),
            "kind": list(self.kinds),
            "dtype": list(self.dtypes),
            "rank": list(self.ranks or ()),
            "alpha": list(self.alphas or ()),
            "modules": dict(self.modules),
            "keys": {
                "all": self.keys,
                "matched": self.matched,
                "dropped": dict(self.dropped),
                "unmatched": list(self.unmatched),
            },
            "effect": self.effect and asdict(self.effect),
            "left_out": self.left_out,
            "base_weights": self.base and self.base.name,
            "stated": asdict(self.stated),
            "speed": self.speed and self.speed.model_dump(mode="json"),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The report for a person, one thing a line, the verdict first."""
        made_for = ["made for " + ", ".join(architecture.label for architecture in self.fits)] if self.fits else []
        verdict = "accepted" if self.accepted else "refused"
        told = {
            "format": "; ".join((", ".join(self.kinds), *self.formats)) if self.formats else "",
            "values": ", ".join(self.dtypes),
            "rank": rank_words(self.ranks, self.alphas),
            "layers": _layers(self.modules),
            "keys": f"{self.keys:,}: {self.matched:,} matched, {len(self.dropped):,} left out, "
            f"{len(self.unmatched):,} unmatched"
            if self.keys
            else "",
            "effect": _effect(self.effect),
            "name": self.stated.name,
            "base": self.stated.base_model,
            "trigger": self.stated.trigger + (" (guessed from its captions)" if self.stated.trigger_guessed else ""),
            "prompt": self.stated.suggested_prompt,
            "few steps": plain_line(self.speed.words, MOST_CHARACTERS) if self.speed else "",
        }
        lines = [
            ", ".join((f"{plain_line(self.path.name, MOST_CHARACTERS)}: {verdict}", *made_for, f"{self.bytes:,} bytes"))
        ]
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"{name}: {text}" for name, text in told.items() if text]
        return lines + [f"note: {note}" for note in self.notes]


def _first(metadata: Mapping[str, str], keys: Iterable[str], most_characters: int = MOST_CHARACTERS) -> str:
    return next((text for text in (_plain(metadata.get(key, ""), most_characters) for key in keys) if text), "")


def _plain(text: str, most_characters: int = MOST_CHARACTERS) -> str:
    """One printable line; what writers of metadata put for nothing is nothing."""
    text = plain_line(text, most_characters)
    return "" if text in ("None", "null") else text


def _usual_tag(frequency: str) -> str:
    """The tag that nearly all training pictures had, from kohya's counts: folder → tag → number of pictures."""
    try:
        counts: dict[str, int] = {}
        for folder in json.loads(frequency).values():
            for tag, count in folder.items():
                counts[tag.strip()] = counts.get(tag.strip(), 0) + int(count)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return ""
    # The number of pictures is not stated; a tag that all of them had is the commonest, and stands out.
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] < 2 or (len(ranked) > 1 and ranked[1][1] > _TRIGGER_SHARE * ranked[0][1]):
        return ""
    return _plain(ranked[0][0])


def _layers(modules: Mapping[str, int]) -> str:
    """Kinds of the blocks' layers one by one, the other parts of the transformer as a whole."""
    counts: Counter[str] = Counter()
    for kind, count in modules.items():
        counts[kind if kind.startswith(("attn.", "ff.")) else kind.split(".")[0]] += count
    return f"{counts.total()}: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()) if counts else ""


def _effect(effect: Effect | None) -> str:
    if effect is None:
        return ""
    if effect.relative_to:
        return (
            f"changes a layer by {effect.mean:.2%} of the weights of {effect.relative_to} on average, "
            f"by {effect.largest:.2%} at most"
        )
    return f"norm of a layer's change {effect.mean:.3g} on average, {effect.largest:.3g} at most"
