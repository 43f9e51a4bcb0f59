"""The C library's memory: what one tensor frees is kept for the next, and given back when a checkpoint leaves.

By default glibc hands everything large back to the system at once, which has to clear each page again when the next
tensor of the same size asks for it. On a CPU that takes as long as the small steps of a model themselves. Where the C
library is another one, nothing happens here.
"""

import ctypes
import sys
from functools import cache
from typing import Any

KEPT_TENSOR_BYTES = 256 * 2**20  # larger ones go back at once
KEPT_BYTES = 2**30  # at most, at the end of the heap
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed() -> None:
    """From now on keep what is freed; to be called before the first tensor. Raises nothing."""
    if library := _glibc():
        library.mallopt(_M_MMAP_THRESHOLD, KEPT_TENSOR_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """Give the system back whatever is free. Raises nothing."""
    if library := _glibc():
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library of this process, where it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
