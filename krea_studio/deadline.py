"""How long the pictures of one request may be drawn."""

import time

from krea_studio.errors import Stopped


class Clock:
    """Counts the seconds that are spent drawing; waiting in line and loading weights are not."""

    def __init__(self, deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        self.spent = 0.0
        self._since: float | None = None

    def start(self) -> None:
        self._since = time.monotonic()

    def pause(self) -> None:
        if self._since is not None:
            self.spent, self._since = self.spent + time.monotonic() - self._since, None

    def check(self) -> None:
        """Raise Stopped when the deadline has passed."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        if self.spent + running > self.deadline_seconds:
            raise Stopped(
                f"The run took longer than {self.deadline_seconds:g} seconds and was ended — ask for fewer images or "
                "steps or a smaller size, or raise KREA_STUDIO_DEADLINE_SECONDS"
            )
