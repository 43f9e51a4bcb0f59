"""Memory that is freed is kept for the next tensor, and given back when asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
import psutil
from krea_studio.engine.allocator import give_back, keep_freed

keep_freed()
held = lambda: psutil.Process().memory_info().rss >> 20
before = held()
kept = [bytearray(4 << 20) for _ in range(100)]
full = held()
small = bytearray(1 << 20)  # on top of them, so that the end of the heap is not free
del kept
after = held()
give_back()
print(before, full, after, held())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about the C library of Linux")
def test_what_is_freed_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )
    before, full, after, given = map(int, done.stdout.split())
    assert full - before > 380 and full - after < 100, "a hundred tensors' worth is kept"
    assert given - before < 60, "and goes back"
