"""`python -m krea_studio …`: the command line."""

import gc
import sys

from krea_studio.startup import uncollected

with uncollected():
    from krea_studio.cli.main import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        # What is left goes with the process. Python would look through all of torch for garbage first, for a second.
        gc.freeze()
