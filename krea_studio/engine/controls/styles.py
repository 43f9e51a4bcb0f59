"""The model side of styles: their adapters in a transformer, kept within a byte budget and weighed picture by picture.

A style that was used stays, switched off, so that the next run with it reads nothing. The least recently used ones
leave when the budget is reached; one that a run needs never does. Which file is which style is the library's part.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import ReferenceType, ref

from diffusers import Krea2Transformer2DModel

from krea_studio.engine.checkpoints.manager import LoadedPipeline
from krea_studio.engine.controls import adapters
from krea_studio.errors import Unavailable
from krea_studio.validation import shown


@dataclass(frozen=True)
class _Kept:
    """A style in a transformer, which may be gone since, and the bytes of its matrices there."""

    transformer: ReferenceType[Krea2Transformer2DModel]
    bytes: int


class Styles:
    """The styles of one device's pipelines. For one run at a time."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        # By the transformer's id and the adapter's name, least recently used first.
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()

    def prepare(self, loaded: LoadedPipeline, names: Mapping[str, str], file: Callable[[str], Path]) -> None:
        """Put these styles, identity → the name that people know, into the pipeline's transformer, switched off.

        `file` gives the file of one that is not there yet. Raises Unavailable, with the transformer as it was, for a
        file that is gone, cannot be read or is of another architecture.
        """
        transformer = loaded.pipeline.transformer
        self._forget_gone()
        needed = set()
        for identity, name in names.items():
            place = id(transformer), adapter_of(identity)
            if place not in self._kept:
                called = f"Style {shown(name)} cannot be used with {loaded.checkpoint.label}"
                path = file(identity)
                if not path.is_file():
                    raise Unavailable(f"{called}: its file {path} is gone — import it again")
                try:
                    adapters.ensure_loaded(loaded.pipeline, place[1], path)
                except Unavailable as error:
                    raise Unavailable(f"{called}. {error.message}") from None
                self._kept[place] = _Kept(ref(transformer), adapters.size_bytes(transformer, place[1]))
            self._kept.move_to_end(place)
            needed.add(place)
        for place, kept in list(self._kept.items()):
            if self.bytes > self._budget_bytes and place not in needed:
                if transformer := kept.transformer():
                    transformer.delete_adapters(place[1])
                del self._kept[place]

    def _forget_gone(self) -> None:
        """Styles whose transformer has left memory."""
        for place, kept in list(self._kept.items()):
            transformer = kept.transformer()
            if transformer is None or place[1] not in getattr(transformer, "peft_config", {}):
                del self._kept[place]

    @property
    def bytes(self) -> int:
        """Of all styles that are kept, over all transformers."""
        return sum(kept.bytes for kept in self._kept.values())


def adapter_of(identity: str) -> str:
    """The name of a style's adapter."""
    return f"style_{identity}"


def weights(styles: Mapping[str, float]) -> dict[str, float]:
    """The weight of each style, by identity, as that of its adapter."""
    # In one order, whatever theirs: sums of floating-point numbers depend on it.
    return {adapter_of(identity): styles[identity] for identity in sorted(styles)}
