"""The device's threads let others go first: page and browser on the same cores do not wait for a picture."""

import os
import sys
import threading
from contextlib import suppress

NICENESS = 5  # more than the others'


def let_others_go_first() -> None:
    """Lower this thread's priority, and so that of the threads which compute for it, where the system has such."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
