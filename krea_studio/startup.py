"""A start that does not look for garbage where there is none.

Importing torch, diffusers or Gradio makes hundreds of thousands of objects that all stay, and Python's cyclic collector
goes through them again and again: a quarter of the time that the imports take.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold back the process's cyclic collector for imports; what they made is not looked through right after either."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            # Frozen and thawed, all that is there counts as old: it is collected as ever, but in no young generation.
            gc.freeze()
            gc.unfreeze()
            gc.enable()
