"""What a studio has done since it began, in numbers: no prompts, no names."""

import threading
from collections import Counter

from krea_studio.runs.entry import Entry
from krea_studio.runs.run import Kind, State


class Counts:
    """Runs that ended by kind and outcome, pictures that were drawn and for how long. Safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs: Counter[tuple[Kind, State]] = Counter()
        self.drawn = 0
        self.seconds = 0.0

    def ended(self, entry: Entry) -> None:
        """A run has ended."""
        with self._lock:
            self.runs[entry.kind, entry.state] += 1

    def drew(self, seconds: float) -> None:
        """A picture was drawn in so many seconds; whether it may be kept is not known yet."""
        with self._lock:
            self.drawn += 1
            self.seconds += seconds
