"""What a peft config says of single layers: their alpha and their rank, by patterns of names or for all of them.

Patterns are regular expressions over the layers' names in the model that was trained, which may have been diffusers'
or Krea's own. They are a stranger's, so only those that end soon are tried; one that is not understood, or that no
layer has, is told, because a pattern that is silently left out is a style at another strength.
Source of the rule: peft's `utils/other.py`, `get_pattern_key`.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from krea_studio.engine.lora import beginnings
from krea_studio.engine.lora.beginnings import Beginning
from krea_studio.engine.lora.factors import Misfit
from krea_studio.engine.lora.formats import original_name
from krea_studio.validation import shown

MOST_PATTERNS = 1000
MOST_PATTERN_CHARACTERS = 120
# Plain names, escapes, sets of characters, alternatives, groups and repetitions; nothing that looks ahead or back.
_UNDERSTOOD = re.compile(r"(?:[\w.^$|()*+?-]|\\[.dw_-]|\[[\w-]+\])+", re.ASCII)
# What makes a search try many ways: so often in one pattern, in so many patterns of a file, and never one in another.
_BRANCHING = re.compile(r"[*+?(]")
_MOST_BRANCHES = 3
_MOST_BRANCHING_PATTERNS = 16
_REPEATED_GROUP = re.compile(r"\)[*+]")

# The tuners whose keys are read here; where the config names another, equal keys mean something else.
_TUNERS = ("LORA", "LOHA", "LOKR")
# Settings of peft by which a LoRA's two matrices are no change of one layer, or not all of it.
_VARIANTS = {
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "arrow_config": "Arrow, a choice among adapters",
    "alora_invocation_tokens": "an activated LoRA, which waits for certain words",
    "layer_replication": "a LoRA for layers that were replicated",
}


class LoraConfig:
    """The config of one file, for `layers` (diffusers names); `original` says that its keys have Krea's own names."""

    def __init__(self, stated: Mapping[str, Any], layers: Collection[str], original: bool) -> None:
        self._stated = stated
        spellings = [{layer: layer for layer in layers}, {layer: original_name(layer) for layer in layers}]
        self._spellings = spellings[::-1] if original else spellings
        self._found: dict[str, Mapping[str, Any]] = {}

    @property
    def root(self) -> bool:
        """Whether alpha is divided by the root of the rank (rsLoRA)."""
        return self._stated.get("use_rslora") is True

    @property
    def dora(self) -> bool:
        """Whether the layers are a DoRA's, with magnitudes."""
        return self._stated.get("use_dora") is True

    @property
    def problem(self) -> str | None:
        """Why the file cannot be used, by what its config says of it as a whole; None where it can."""
        tuner = self._stated.get("peft_type")
        if tuner is not None and tuner not in _TUNERS:
            return f"its config says that it is {shown(tuner)}, which is no LoRA — ask for a LoRA version"
        for setting, name in _VARIANTS.items():
            if self._stated.get(setting):
                return f"it is {name} ({setting} in its config), which is not known here — ask for a plain LoRA"
        return beginnings.why_unusable(self._stated.get("init_lora_weights"))

    @property
    def beginning(self) -> tuple[str, Beginning] | None:
        """What the adapter took off the weights when its training began, with its name; None where nothing."""
        return beginnings.known(self._stated.get("init_lora_weights"))

    def alpha(self, layer: str) -> float | None:
        """The alpha of a layer, None where none is stated. Raises Misfit where it cannot be made out."""
        return self._number(layer, "alpha_pattern", "lora_alpha", "alpha")

    def rank(self, layer: str) -> float | None:
        """The rank of a layer, None where none is stated. Raises Misfit where it cannot be made out."""
        rank = self._number(layer, "rank_pattern", "r")
        if rank is not None and rank <= 0:
            raise Misfit(f"its config states a rank of {rank:g}")
        return rank

    def _number(self, layer: str, patterns: str, *fields: str) -> float | None:
        values = (self._by_pattern(patterns).get(layer), *map(self._stated.get, fields))
        value = next((value for value in values if value is not None), None)
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, str | bool) or (number is not None and not math.isfinite(number)):
            raise Misfit(f"its config states {shown(value)} for {fields[0]}, which is no usable number")
        return number

    def _by_pattern(self, field: str) -> Mapping[str, Any]:
        """What the patterns of a field say, by layer; the first that a name has counts."""
        if field not in self._found:
            self._found[field] = self._matched(field)
        return self._found[field]

    def _matched(self, field: str) -> Mapping[str, Any]:
        stated = self._stated.get(field) or {}
        if not isinstance(stated, Mapping) or len(stated) > MOST_PATTERNS:
            raise Misfit(f"its config's {field} is no table of at most {MOST_PATTERNS:,} patterns")
        if sum(bool(_BRANCHING.search(pattern)) for pattern in stated) > _MOST_BRANCHING_PATTERNS:
            raise Misfit(f"its config's {field} has more than {_MOST_BRANCHING_PATTERNS} patterns that are no names")
        compiled = {pattern: _compiled(field, pattern) for pattern in stated}
        idle: list[str] = []
        for names in self._spellings:
            meant = {pattern: [k for k, name in names.items() if has.match(name)] for pattern, has in compiled.items()}
            idle = idle or [pattern for pattern, layers in meant.items() if not layers]
            if all(meant.values()):
                return {layer: stated[pattern] for pattern in reversed(meant) for layer in meant[pattern]}
        raise Misfit(f"its config's {field} has {shown(idle[0])}, which is the name of none of its layers")


def _compiled(field: str, pattern: str) -> re.Pattern[str]:
    """The expression that peft makes of a pattern. Raises Misfit for one that is none, or that might never end."""
    understood = (
        len(pattern) <= MOST_PATTERN_CHARACTERS
        and _UNDERSTOOD.fullmatch(pattern)
        and len(_BRANCHING.findall(pattern)) <= _MOST_BRANCHES
        and not _REPEATED_GROUP.search(pattern)
    )
    try:
        if understood:
            return re.compile(rf"(.*\.)?({pattern})$")
    except re.error:
        pass
    raise Misfit(f"its config's {field} has {shown(pattern)}, which is not understood here")
