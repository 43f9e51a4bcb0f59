"""What was computed and may be wanted again, within a budget of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything that knows its size."""

    @property
    def bytes(self) -> int: ...


T = TypeVar("T", bound=Sized)


class ByteCache(Generic[T]):
    """Values by key, the least recently used out first when `budget_bytes` are full. For one thread at a time.

    What was used since the last `new_round` never leaves for something newer, which is then not kept: of a round that
    is larger than the budget, and comes again in the same order, as much as fits is found again.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._rounds: dict[Hashable, int] = {}
        self._round = 0

    def new_round(self) -> None:
        """What was used so far may leave from now on."""
        self._round += 1

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made when it is not kept."""
        found = self._kept.get(key)
        if found is None:
            found = make()
            if not self._make_room(found.bytes):
                return found
            self._kept[key] = found
            self.bytes += found.bytes
        self._kept.move_to_end(key)
        self._rounds[key] = self._round
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._rounds.clear()
        self.bytes = 0

    def _make_room(self, wanted: int) -> bool:
        if wanted > self.budget_bytes:
            return False
        oldest = iter(list(self._kept))
        while self.bytes + wanted > self.budget_bytes:
            key = next(oldest, None)
            if key is None or self._rounds[key] == self._round:
                return False
            self.bytes -= self._kept.pop(key).bytes
            del self._rounds[key]
        return True
